"""What stands on the straight line from a transmitter to every cell: how many buildings, how thick, how long ago.

Cheap hints at how deep a cell lies in shadow; inputs of networks, not a propagation model. Numbers and thickness of
walls on the direct ray are what winning entries of indoor path loss challenges were built on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from raymap.physics.visibility import snap, walk


class Obstruction(NamedTuple):
    """Per cell, each (H, W) float32; 0 where nothing is in the way and in blocked cells.

    ``crossed``: number of separate blocked runs on the ray. ``thickness_m``: length of the ray inside them [m].
    ``shadow_m``: length of the ray from where it first enters one to the cell [m].
    """

    crossed: np.ndarray
    thickness_m: np.ndarray
    shadow_m: np.ndarray


def obstruction(blocked: np.ndarray, row_col: tuple[float, float], cell_m: float) -> Obstruction:
    """The straight rays from ``row_col`` (row, column in cells, a centre is r+½) to every open cell's centre.

    ``blocked``: (H, W) bool. Raises ValueError as :func:`raymap.physics.visibility.snap` does for a position off the
    grid.
    """
    row, column = snap(row_col, blocked.shape)
    crossed, thickness, shadow = _rays(np.ascontiguousarray(blocked, bool), row, column)
    return Obstruction(crossed, thickness * np.float32(cell_m), shadow * np.float32(cell_m))


def obstruction_batch(blocked: np.ndarray, rows_cols: np.ndarray, cell_m: float) -> Obstruction:
    """:func:`obstruction` of (B, H, W) maps with (B, 2) positions; every field (B, H, W)."""
    parts = [obstruction(map_, tuple(place), cell_m) for map_, place in zip(blocked, rows_cols, strict=True)]
    return Obstruction(*(np.stack(field) for field in zip(*parts, strict=True)))


@njit(cache=True, nogil=True)
def _rays(blocked, row0, column0):
    """Counts and, in cells, lengths for every open cell."""
    height, width = blocked.shape
    crossed = np.zeros((height, width), np.float32)
    thickness = np.zeros((height, width), np.float32)
    shadow = np.zeros((height, width), np.float32)
    room = 2 * (height + width)
    rows, columns, times = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.float64)
    for row in range(height):
        for column in range(width):
            if blocked[row, column]:
                continue
            length = np.hypot(row + 0.5 - row0, column + 0.5 - column0)
            count = walk(row0, column0, row + 0.5, column + 0.5, rows, columns, times)
            inside, first = False, -1.0
            for index in range(count):
                now = blocked[rows[index], columns[index]]
                if now:
                    leaves = times[index + 1] if index + 1 < count else 1.0
                    thickness[row, column] += length * (leaves - times[index])
                    if not inside:
                        crossed[row, column] += 1
                    if first < 0.0:
                        first = times[index]
                inside = now
            if first >= 0.0:
                shadow[row, column] = length * (1.0 - first)
    return crossed, thickness, shadow
