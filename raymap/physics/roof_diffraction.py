"""Loss over the roofs on the straight line from a transmitter to every cell, by Bullington's construction.

The profile of buildings between both ends is replaced by the one knife edge where the transmitter's horizon meets the
receiver's: ITU-R P.526-15 §4.5.2, method of §4.5.4 for line of sight left aside since only shadowed cells are asked.
A hint at what comes over the roofs, for networks; not the law that generated maps are made with.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from raymap.physics.visibility import snap, walk
from raymap.units import wavelength_m


def roof_loss_db(
    building_m: np.ndarray,
    row_col: tuple[float, float],
    cell_m: float,
    *,
    tx_m: float,
    frequency_hz: float,
    receiver_m: float = 1.5,
) -> np.ndarray:
    """Bullington's loss [dB] over the buildings on the straight line to every open cell, (H, W) float32 ≥ 0.

    J(ν) + (1 - exp(-J(ν)/6))·(10 + 0.02·d) with d in km (ITU-R P.526-15 eq. 54 and 31). 0 where no building is on the
    line and in blocked cells.

    ``building_m``: (H, W) heights, 0 outdoors; ``row_col``: in cells, a centre is r+½; ``tx_m``, ``receiver_m``:
    heights of both ends above ground. Raises ValueError for heights, a cell or a frequency that are not positive.
    """
    numbers = {"cell_m": cell_m, "tx_m": tx_m, "frequency_hz": frequency_hz, "receiver_m": receiver_m}
    for name, value in numbers.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}")
    row, column = snap(row_col, building_m.shape)
    heights = np.ascontiguousarray(building_m, np.float64)
    nu, distance_m = _equivalent_edge(heights, row, column, cell_m, tx_m, receiver_m, wavelength_m(frequency_hz))
    edge_db = knife_edge_db(nu)
    loss_db = edge_db + (1.0 - np.exp(-edge_db / 6.0)) * (10.0 + 0.02 * distance_m / 1000.0)
    return loss_db.astype(np.float32)


def roof_loss_batch(
    building_m: np.ndarray, rows_cols: np.ndarray, cell_m: float, tx_m: np.ndarray, frequency_hz: np.ndarray
) -> np.ndarray:
    """:func:`roof_loss_db` of (B, H, W) maps with (B, 2) positions, (B,) heights [m] and frequencies: (B, H, W)."""
    rows = zip(building_m, rows_cols, tx_m, frequency_hz, strict=True)
    return np.stack(
        [
            roof_loss_db(heights, tuple(place), cell_m, tx_m=float(height), frequency_hz=float(frequency))
            for heights, place, height, frequency in rows
        ]
    )


def knife_edge_db(nu: np.ndarray) -> np.ndarray:
    """J(ν) = 6.9 + 20·log10(√((ν-0.1)² + 1) + ν - 0.1) for ν > -0.78, else 0 [dB] (ITU-R P.526-15 eq. 31)."""
    deep = np.maximum(nu, -0.78)
    loss_db = 6.9 + 20.0 * np.log10(np.sqrt((deep - 0.1) ** 2 + 1.0) + deep - 0.1)
    return np.where(nu > -0.78, np.maximum(loss_db, 0.0), 0.0)


@njit(cache=True, nogil=True)
def _equivalent_edge(building_m, row0, column0, cell_m, tx_m, receiver_m, wavelength_m):
    """ν of Bullington's edge for every open cell, -inf where no building is on the line; and the distance [m]."""
    height, width = building_m.shape
    nu = np.full((height, width), -np.inf)
    distance_m = np.zeros((height, width))
    room = 2 * (height + width)
    rows, columns, times = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.float64)
    for row in range(height):
        for column in range(width):
            if building_m[row, column] > 0.0:
                continue
            count = walk(row0, column0, row + 0.5, column + 0.5, rows, columns, times)
            length_m = cell_m * np.hypot(row + 0.5 - row0, column + 0.5 - column0)
            distance_m[row, column] = length_m
            from_tx, from_receiver = -np.inf, -np.inf  # slopes of both horizons
            for index in range(count):
                top_m = building_m[rows[index], columns[index]]
                if top_m <= 0.0:
                    continue
                enters, leaves = times[index], times[index + 1] if index + 1 < count else 1.0
                for time in (enters, leaves):
                    if 0.0 < time < 1.0:
                        from_tx = max(from_tx, (top_m - tx_m) / (time * length_m))
                        from_receiver = max(from_receiver, (top_m - receiver_m) / ((1.0 - time) * length_m))
            # Below this sum the horizons lie under the direct line and their crossing says nothing.
            if from_tx + from_receiver <= 0.0:
                continue
            at_m = (receiver_m - tx_m + from_receiver * length_m) / (from_tx + from_receiver)
            if not 0.0 < at_m < length_m:
                continue
            above_m = from_tx * at_m - (receiver_m - tx_m) * at_m / length_m
            nu[row, column] = above_m * np.sqrt(2.0 * length_m / (wavelength_m * at_m * (length_m - at_m)))
    return nu, distance_m
