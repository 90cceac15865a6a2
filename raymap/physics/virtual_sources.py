"""Paths followed back to where they seem to come from, and seen from there by other receivers.

A receiver r measures a path of length D = c·τ from direction u (a unit vector from r to where it comes from). Two
places on the ray r + t·u stay where they are while the receiver moves:

- the **image** of the transmitter, t = D: exact for the line of sight and any number of reflections by flat walls
  (Allen & Berkley, "Image method for efficiently simulating small-room acoustics", J. Acoust. Soc. Am. 65, 1979);
- the **point** p at which a path bends once, scattered or bent by an edge: t + |p − transmitter| = D, whose solution is
  t = (D² − |w|²) / (2·(D + u·w)) with w = r − transmitter.

Both are an *anchor* a and a *lead*, the length of the way before it: 0 for an image, |p − transmitter| for a point.
Another receiver r' has a path of length lead + |a − r'| from the direction of a. Its power is that of spherical waves
that spread from the anchor, so it changes by 20·log10(|a − r| / |a − r'|).
"""

from __future__ import annotations

import numpy as np

from raymap import units

#: No leg is shorter [m], so that powers stay finite where a receiver stands on an anchor.
SHORTEST_LEG_M = 0.01


def directions(zenith_rad: np.ndarray, azimuth_rad: np.ndarray) -> np.ndarray:
    """(..., 3) float64 unit vectors: sin z·cos a, sin z·sin a, cos z. NaN where an angle is."""
    zenith, azimuth = np.asarray(zenith_rad, np.float64), np.asarray(azimuth_rad, np.float64)
    return np.stack([np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)], axis=-1)


def image_sources(receivers_m: np.ndarray, direction: np.ndarray, delay_s: np.ndarray) -> np.ndarray:
    """(..., 3) images of the transmitter [m], r + c·τ·u, of paths at receivers (..., 3) [m]."""
    length_m = units.SPEED_OF_LIGHT_M_S * np.asarray(delay_s, np.float64)
    return receivers_m + length_m[..., None] * direction


def scatterers(
    receivers_m: np.ndarray, transmitter_m: np.ndarray, direction: np.ndarray, delay_s: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where paths bend if they do once: places (..., 3) [m], and their leads (...,), the way before them [m].

    A path no longer than the straight way bends nowhere; its place is that of the transmitter, with no lead.
    """
    length_m = units.SPEED_OF_LIGHT_M_S * np.asarray(delay_s, np.float64)
    straight_m = receivers_m - np.asarray(transmitter_m, np.float64)
    over = length_m**2 - (straight_m**2).sum(-1)
    along = 2.0 * (length_m + (direction * straight_m).sum(-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        leg_m = np.where(along > 0, over / along, length_m)
    # Rounding to float32 makes a straight path a little shorter or longer, and its bend anything.
    bent = over > 1e-5 * length_m**2
    leg_m = np.where(bent, np.minimum(np.maximum(leg_m, SHORTEST_LEG_M), length_m), length_m)
    return receivers_m + leg_m[..., None] * direction, length_m - leg_m


def seen_from(
    anchor_m: np.ndarray, lead_m: np.ndarray, receivers_m: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What receivers (..., 3) [m] measure of anchors (..., 3): delay [s], zenith and azimuth [rad], last leg [m]."""
    ray_m = np.asarray(anchor_m, np.float64) - receivers_m
    leg_m = np.maximum(np.linalg.norm(ray_m, axis=-1), SHORTEST_LEG_M)
    zenith_rad = np.arctan2(np.hypot(ray_m[..., 0], ray_m[..., 1]), ray_m[..., 2])
    azimuth_rad = np.arctan2(ray_m[..., 1], ray_m[..., 0])
    return (lead_m + leg_m) / units.SPEED_OF_LIGHT_M_S, zenith_rad, azimuth_rad, leg_m


def moved_power_db(power_db: np.ndarray, leg_m: np.ndarray, new_leg_m: np.ndarray) -> np.ndarray:
    """Power [dB] of a path whose last leg, from its anchor, becomes ``new_leg_m`` long: plus 20·log10(leg/new leg)."""
    return power_db + 20.0 * np.log10(leg_m / new_leg_m)
