"""What can be seen of a city from a receiver, told so that a city that is turned looks the same.

Directions count from the horizontal one to the transmitter, so that a network that learned of them in one city reads
them in another (:mod:`raymap.models.scene_paths`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raymap.propagation import surroundings
from raymap.propagation.meshes import MeshScene
from raymap.propagation.surroundings import Surroundings

#: Rays look this high above the horizon [rad], in so many horizontal directions each.
ELEVATIONS_RAD, NUM_AZIMUTHS = np.deg2rad([0.0, 20.0]), 32
#: And towards the transmitter this high, over roofs and at them.
TOWARDS_RAD = np.deg2rad(np.arange(5.0, 90.0, 10.0))
#: Numbers of a receiver, and of each of its directions.
NUM_PLACE, NUM_AROUND = 6 + len(TOWARDS_RAD), 5
#: Farther is not looked [m].
_FAR_M = 500.0
#: Whether a surface is lit is looked at so far in front of it [m], and what is nearer than this to there hides nothing.
_BEFORE_M, _SLACK_M = 0.05, 0.02


class Environment(NamedTuple):
    """Of N receivers: ``place`` (N, 15) and ``around`` (N, 2, 32, 5), float32, all of the order of 1.

    ``place``: ln of the distance to the transmitter [m], its elevation [rad], its height above the receiver [30 m],
    whether it is in sight, how much of the straight way is free from here and from there, and ln(1 + m) of free way at
    nine elevations towards it. ``around``, by elevation and horizontal direction, counter-clockwise from that to the
    transmitter: ln(1 + m)/3 of free way, whether a surface ends it, whether the transmitter lights that, and how much
    longer than the straight way the way over it is, as ln(1 + m)/3 and [100 m], of which ten at most.
    """

    place: np.ndarray
    around: np.ndarray


def environment(scene: MeshScene, transmitter_m: np.ndarray, receivers_m: np.ndarray) -> Environment:
    """What receivers (N, 3) see around themselves, looking for a transmitter (3,) [m] among the surfaces of a scene.

    Raises ImportError without embreex (the ``geo`` extra).
    """
    around = surroundings.of(scene)
    receivers_m = np.ascontiguousarray(receivers_m, np.float64)
    ray_m = transmitter_m - receivers_m
    straight_m = np.maximum(np.linalg.norm(ray_m, axis=1), 1e-3)
    direction = ray_m / straight_m[:, None]
    ahead_rad = np.arctan2(ray_m[:, 1], ray_m[:, 0])
    there_m = np.broadcast_to(transmitter_m, receivers_m.shape)
    free_m = [around.free_m(receivers_m, direction), around.free_m(there_m, -direction)]
    towards = [np.log1p(np.minimum(around.free_m(receivers_m, _along(ahead_rad, up)), _FAR_M)) for up in TOWARDS_RAD]
    place = [
        np.log(straight_m), np.arctan2(ray_m[:, 2], np.hypot(ray_m[:, 0], ray_m[:, 1])), ray_m[:, 2] / 30.0,
        free_m[0] >= straight_m - surroundings.SLACK_M, *(np.minimum(free / straight_m, 1.0) for free in free_m),
        *towards,
    ]  # fmt: skip
    turns_rad = 2 * np.pi * np.arange(NUM_AZIMUTHS) / NUM_AZIMUTHS
    seen = [
        _seen(around, transmitter_m, receivers_m, _along(ahead_rad + turn, up), straight_m)
        for up in ELEVATIONS_RAD
        for turn in turns_rad
    ]
    shape = (len(receivers_m), len(ELEVATIONS_RAD), NUM_AZIMUTHS, NUM_AROUND)
    return Environment(
        np.stack(place, axis=1).astype(np.float32), np.stack(seen, axis=1).reshape(shape).astype(np.float32)
    )


def _along(azimuth_rad: np.ndarray, elevation_rad: float) -> np.ndarray:
    level = np.cos(elevation_rad)
    up = np.full(len(azimuth_rad), np.sin(elevation_rad))
    return np.stack([np.cos(azimuth_rad) * level, np.sin(azimuth_rad) * level, up], axis=1)


def _seen(around: Surroundings, transmitter_m, receivers_m, direction, straight_m) -> np.ndarray:
    """(N, 5) of one direction."""
    free_m = around.free_m(receivers_m, direction)
    ends, free_m = np.isfinite(free_m), np.minimum(free_m, _FAR_M)
    before_m = receivers_m + (free_m - _BEFORE_M)[:, None] * direction
    from_m = np.linalg.norm(before_m - transmitter_m, axis=1)
    lit = around.free_m(
        np.broadcast_to(transmitter_m, before_m.shape), (before_m - transmitter_m) / np.maximum(from_m, 1e-3)[:, None]
    )
    longer_m = np.maximum(free_m + from_m - straight_m, 0.0)
    return np.stack(
        [
            np.log1p(free_m) / 3, ends, ends & (lit >= from_m - _SLACK_M), np.log1p(longer_m) / 3,
            np.minimum(longer_m / 100.0, 10.0),
        ],
        axis=1,
    )  # fmt: skip
