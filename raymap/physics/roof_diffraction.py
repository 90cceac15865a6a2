"""The way over the roofs on the straight line from a transmitter to every cell: how steeply a string pulled taut over
them rises and falls, and its loss by the two methods of ITU-R P.526.

Bullington's construction replaces the buildings between both ends by the one knife edge where the transmitter's
horizon meets the receiver's (§4.5.2). The cascaded method takes the edge that reaches deepest into the Fresnel zone and
then the deepest on either side of it (§4.5.1, after Deygout). Hints at what comes over the roofs, for networks; neither
is the law that generated maps are made with.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from raymap.physics.visibility import snap, walk
from raymap.units import wavelength_m

#: Below this ν an edge costs nothing.
_NU_MIN = -0.78


class RoofLoss(NamedTuple):
    """Per cell, each (H, W) float32; 0 where no building is on the line and in blocked cells.

    Losses [dB] ≥ 0 by both methods. ``rise_deg``, ``fall_deg``: angles against the horizontal in (-90°, 90°) at which
    the string leaves the transmitter and reaches the receiver, positive where it comes from above.
    """

    bullington_db: np.ndarray
    cascaded_db: np.ndarray
    rise_deg: np.ndarray
    fall_deg: np.ndarray


def roof_loss(
    building_m: np.ndarray,
    row_col: tuple[float, float],
    cell_m: float,
    *,
    tx_m: float,
    frequency_hz: float,
    receiver_m: float = 1.5,
) -> RoofLoss:
    """Loss over the buildings on the straight line to every open cell, with d the distance in km.

    Bullington: J(ν) + (1 - exp(-J(ν)/6))·(10 + 0.02·d), ITU-R P.526-15 eq. 54.
    Cascaded: J(νp) + (1 - exp(-J(νp)/6))·(J(νt) + J(νr) + 10 + 0.04·d), eq. 45 to 47, with the deepest edge p and the
    deepest ones t and r between it and either end.

    ``building_m``: (H, W) heights, 0 outdoors; ``row_col``: in cells, a centre is r+½; ``tx_m``, ``receiver_m``:
    heights of both ends above ground. Raises ValueError for heights, a cell or a frequency that are not positive.
    """
    numbers = {"cell_m": cell_m, "tx_m": tx_m, "frequency_hz": frequency_hz, "receiver_m": receiver_m}
    for name, value in numbers.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}")
    row, column = snap(row_col, building_m.shape)
    heights = np.ascontiguousarray(building_m, np.float64)
    nu, slopes, distance_m = _edges(heights, row, column, cell_m, tx_m, receiver_m, wavelength_m(frequency_hz))
    one, deepest, near, far = knife_edge_db(nu)
    distance_km = distance_m / 1000.0
    bullington_db = one + (1.0 - np.exp(-one / 6.0)) * (10.0 + 0.02 * distance_km)
    cascaded_db = deepest + (1.0 - np.exp(-deepest / 6.0)) * (near + far + 10.0 + 0.04 * distance_km)
    rise_deg, fall_deg = np.degrees(np.arctan(slopes))
    return RoofLoss(*(raster.astype(np.float32) for raster in (bullington_db, cascaded_db, rise_deg, fall_deg)))


def roof_loss_batch(
    building_m: np.ndarray, rows_cols: np.ndarray, cell_m: float, tx_m: np.ndarray, frequency_hz: np.ndarray
) -> RoofLoss:
    """:func:`roof_loss` of (B, H, W) maps with (B, 2) positions, (B,) heights [m] and frequencies; fields (B, H, W)."""
    parts = [
        roof_loss(heights, tuple(place), cell_m, tx_m=float(height), frequency_hz=float(frequency))
        for heights, place, height, frequency in zip(building_m, rows_cols, tx_m, frequency_hz, strict=True)
    ]
    return RoofLoss(*(np.stack(field) for field in zip(*parts, strict=True)))


def knife_edge_db(nu: np.ndarray) -> np.ndarray:
    """J(ν) = 6.9 + 20·log10(√((ν-0.1)² + 1) + ν - 0.1) for ν > -0.78, else 0 [dB] (ITU-R P.526-15 eq. 31)."""
    deep = np.maximum(nu, _NU_MIN)
    loss_db = 6.9 + 20.0 * np.log10(np.sqrt((deep - 0.1) ** 2 + 1.0) + deep - 0.1)
    return np.where(nu > _NU_MIN, np.maximum(loss_db, 0.0), 0.0)


@njit(cache=True, nogil=True)
def _nu(above_m, before_m, after_m, wavelength_m):
    """ν = h·√(2(d1+d2)/(λ·d1·d2)), eq. 26, of an edge h above the line between two points d1 and d2 away."""
    return above_m * np.sqrt(2.0 * (before_m + after_m) / (wavelength_m * before_m * after_m))


@njit(cache=True, nogil=True)
def _deepest(at_m, top_m, first, last, from_m, from_height_m, to_m, to_height_m, wavelength_m):
    """Number of the edge of [first, last) that reaches deepest above the line between two points, -1 if none; its ν."""
    found, deepest = -1, -np.inf
    for index in range(first, last):
        before_m, after_m = at_m[index] - from_m, to_m - at_m[index]
        if before_m <= 0.0 or after_m <= 0.0:
            continue
        line_m = from_height_m + (to_height_m - from_height_m) * before_m / (to_m - from_m)
        nu = _nu(top_m[index] - line_m, before_m, after_m, wavelength_m)
        if nu > deepest:
            found, deepest = index, nu
    return found, deepest


@njit(cache=True, nogil=True)
def _horizons(at_m, top_m, count, length_m, tx_m, receiver_m):
    """Steepest slopes from the transmitter and from the receiver to an edge (eq. 48 and 51)."""
    from_tx, from_receiver = -np.inf, -np.inf
    for index in range(count):
        from_tx = max(from_tx, (top_m[index] - tx_m) / at_m[index])
        from_receiver = max(from_receiver, (top_m[index] - receiver_m) / (length_m - at_m[index]))
    return from_tx, from_receiver


@njit(cache=True, nogil=True)
def _meeting(from_tx, from_receiver, length_m, tx_m, receiver_m, wavelength_m):
    """ν of the edge where both horizons meet (eq. 52 and 53), -inf where they meet under the direct line."""
    if from_tx + from_receiver <= 0.0:
        return -np.inf
    meet_m = (receiver_m - tx_m + from_receiver * length_m) / (from_tx + from_receiver)
    if not 0.0 < meet_m < length_m:
        return -np.inf
    above_m = from_tx * meet_m - (receiver_m - tx_m) * meet_m / length_m
    return _nu(above_m, meet_m, length_m - meet_m, wavelength_m)


@njit(cache=True, nogil=True)
def _edges(building_m, row0, column0, cell_m, tx_m, receiver_m, wavelength_m):
    """ν of Bullington's edge, the deepest one and those on its two sides, (4, H, W), -inf for none; slopes of both
    horizons (2, H, W); distance [m]."""
    height, width = building_m.shape
    slopes = np.zeros((2, height, width))
    nu = np.full((4, height, width), -np.inf)
    distance_m = np.zeros((height, width))
    room = 2 * (height + width)
    rows, columns, times = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.float64)
    at_m, top_m = np.empty(2 * room), np.empty(2 * room)
    for row in range(height):
        for column in range(width):
            if building_m[row, column] > 0.0:
                continue
            cells = walk(row0, column0, row + 0.5, column + 0.5, rows, columns, times)
            length_m = cell_m * np.hypot(row + 0.5 - row0, column + 0.5 - column0)
            distance_m[row, column] = length_m
            count = 0
            for index in range(cells):
                here_m = building_m[rows[index], columns[index]]
                if here_m <= 0.0:
                    continue
                leaves = times[index + 1] if index + 1 < cells else 1.0
                for time in (times[index], leaves):
                    if 0.0 < time < 1.0:
                        at_m[count], top_m[count] = time * length_m, here_m
                        count += 1
            if count == 0:
                continue
            rise, fall = _horizons(at_m, top_m, count, length_m, tx_m, receiver_m)
            slopes[0, row, column], slopes[1, row, column] = rise, fall
            nu[0, row, column] = _meeting(rise, fall, length_m, tx_m, receiver_m, wavelength_m)
            main, nu[1, row, column] = _deepest(at_m, top_m, 0, count, 0.0, tx_m, length_m, receiver_m, wavelength_m)
            if main >= 0:
                _, nu[2, row, column] = _deepest(at_m, top_m, 0, main, 0.0, tx_m, at_m[main], top_m[main], wavelength_m)
                _, nu[3, row, column] = _deepest(
                    at_m, top_m, main + 1, count, at_m[main], top_m[main], length_m, receiver_m, wavelength_m
                )
    return nu, slopes, distance_m
