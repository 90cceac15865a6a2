"""Where to put transmitters in a scene: outdoors, away from the edge, not shut in a courtyard, well apart."""

from __future__ import annotations

import zlib

import numpy as np
from scipy.ndimage import label

from raymap.scene import Scene, Transmitter

#: A connected outdoor part counts as streets if it has at least this share of the largest part's area; smaller ones
#: are closed courtyards, from where hardly any of the map can be served.
MIN_PART = 0.10
#: First distance asked between transmitters, in units of the spacing that would fill the free area evenly.
_START_SPACING = 0.8
#: The distance shrinks by this factor whenever no free cell is far enough from all transmitters.
_SHRINK = 0.7


def place(
    scene: Scene, num: int, seed: int, height_m: float = 1.5, margin: float = 0.2, power_dbm: float = 23.0
) -> list[Transmitter]:
    """``num`` transmitters at the centres of distinct outdoor cells.

    They lie at least ``margin`` (a share of each side) from the edge (0.2: rows and columns 51 to 204 of 256, about as
    in RadioMapSeer), and not in closed courtyards (parts of the outdoors under ``MIN_PART`` of the largest one). They
    are drawn at random, each as far from the earlier ones as the free area allows for ``num`` in all. Deterministic in
    scene, ``num`` and ``seed``; scenes of different names differ even at equal seeds. Raises ValueError if ``num`` or
    ``margin`` is out of range, or, naming the scene, if it has fewer than ``num`` such cells.
    """
    if num < 1:
        raise ValueError(f"num must be at least 1, got {num}")
    if not 0 <= margin < 0.5:
        raise ValueError(f"margin must be a share from 0 to below 0.5, got {margin}")
    free = np.argwhere(streets(scene) & _window(scene, margin))
    if len(free) < num:
        raise ValueError(
            f"scene {scene.name!r} has room for {len(free)} transmitters in its central window, {num} are wanted"
        )
    rng = np.random.default_rng([seed, zlib.crc32(scene.name.encode())])
    cell_m = scene.grid.cell_m
    return [
        Transmitter(((column + 0.5) * cell_m, (row + 0.5) * cell_m, height_m), power_dbm)
        for row, column in _spread(rng, free, num).tolist()
    ]


def _spread(rng: np.random.Generator, free: np.ndarray, num: int) -> np.ndarray:
    """(num, 2) of the (F, 2) cells, drawn at random from those far enough from all drawn before."""
    spacing = _START_SPACING * np.sqrt(len(free) / num)
    nearest = np.full(len(free), np.inf)
    chosen = []
    for _ in range(num):
        # A drawn cell has nearest 0 and can never be drawn again: distinct cells are at least 1 apart.
        while not (far := np.flatnonzero(nearest >= max(spacing, 1.0))).size:
            spacing *= _SHRINK
        cell = free[far[rng.integers(far.size)]]
        chosen.append(cell)
        nearest = np.minimum(nearest, np.hypot(*(free - cell).T))
    return np.array(chosen)


def streets(scene: Scene) -> np.ndarray:
    """(H, W) bool: outdoor cells of connected parts that are no closed courtyard (see ``MIN_PART``)."""
    parts, _ = label(scene.outdoor)
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    return (areas >= max(1.0, MIN_PART * areas.max()))[parts]


def _window(scene: Scene, margin: float) -> np.ndarray:
    """(H, W) bool: cells whose centres lie at least ``margin`` of each side away from the edge."""
    rows, columns = ((np.arange(size) + 0.5) / size for size in scene.grid.shape)
    inside = [(share >= margin) & (share <= 1 - margin) for share in (rows, columns)]
    return inside[0][:, None] & inside[1][None, :]
