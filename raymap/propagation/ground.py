"""The ground that rays cross: walls sorted into cells, and the first wall on a straight line.

Positions are (x, y) = (column, row) in cells. A ray walks the cells of the raster (Amanatides and Woo, "A fast voxel
traversal algorithm for ray tracing", Eurographics 1987) and is cut with the few walls of each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

_EDGE = 1e-9


class Ground(NamedTuple):
    """What rays meet, in cells: walls and corners by cell, vehicles, and the constants of the radio link.

    ``segments``, ``corners``: see `walls.Walls`; ``starts``, ``items``: segments by cell (`index_segments`), and the
    same for the corners of the cell and its neighbours. ``vehicle``: (H, W) bool or empty. ``gamma``: reflection
    coefficient at equal steps of the cosine of incidence. ``wavenumber`` [rad/cell]; ``vehicle_rate`` [1/cell] and
    ``vehicle_limit``: exponents of power; ``metre`` [cells]: shortest length that counts; ``rise2``: squared difference
    of the ends' heights [cells²]; ``weakest``: power that is not followed further [1/cells²].
    """

    segments: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    corners: np.ndarray
    corner_starts: np.ndarray
    corner_items: np.ndarray
    vehicle: np.ndarray
    gamma: np.ndarray
    num_rows: int
    num_columns: int
    wavenumber: float
    vehicle_rate: float
    vehicle_limit: float
    metre: float
    rise2: float
    weakest: float


@njit(cache=True, nogil=True, error_model="numpy")
def _cells_of(x0, y0, x1, y1, num_rows, num_columns, cells):
    """Flat indices of the cells that a segment touches, with a little slack; returns their number."""
    if y1 < y0:
        x0, y0, x1, y1 = x1, y1, x0, y0
    count = 0
    for row in range(max(int(np.floor(y0 - _EDGE)), 0), min(int(np.floor(y1 + _EDGE)), num_rows - 1) + 1):
        low, high = min(x0, x1), max(x0, x1)
        if y1 - y0 > 1e-6:
            a = x0 + (min(max(row - _EDGE, y0), y1) - y0) / (y1 - y0) * (x1 - x0)
            b = x0 + (min(max(row + 1 + _EDGE, y0), y1) - y0) / (y1 - y0) * (x1 - x0)
            low, high = min(a, b), max(a, b)
        first, last = max(int(np.floor(low - 1e-6)), 0), min(int(np.floor(high + 1e-6)), num_columns - 1)
        for column in range(first, last + 1):
            cells[count] = row * num_columns + column
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def index_segments(segments, num_rows, num_columns):
    """Segments by cell: ``starts`` (H·W + 1) into ``items``, numbers of segments. Points are segments of no length."""
    starts = np.zeros(num_rows * num_columns + 1, np.int64)
    cells = np.empty(3 * (num_rows + num_columns) + 16, np.int64)
    for index in range(len(segments)):
        x0, y0, x1, y1 = segments[index]
        for cell in cells[: _cells_of(x0, y0, x1, y1, num_rows, num_columns, cells)]:
            starts[cell + 1] += 1
    starts = np.cumsum(starts)
    items, filled = np.empty(starts[-1], np.int64), starts[:-1].copy()
    for index in range(len(segments)):
        x0, y0, x1, y1 = segments[index]
        for cell in cells[: _cells_of(x0, y0, x1, y1, num_rows, num_columns, cells)]:
            items[filled[cell]] = index
            filled[cell] += 1
    return starts, items


@njit(cache=True, nogil=True, error_model="numpy")
def hit(segments, items, begin, end, x, y, dx, dy, leave, limit):
    """Nearest of some segments met by a ray up to ``limit``: its number (-1: none) and the distance.

    ``leave``: the segment that the ray starts on.
    """
    nearest, wall = limit + _EDGE, -1
    for position in range(begin, end):
        index = items[position]
        if index == leave:
            continue
        x0, y0 = segments[index, 0], segments[index, 1]
        sx, sy = segments[index, 2] - x0, segments[index, 3] - y0
        cross = dx * sy - dy * sx
        if cross == 0.0:
            continue
        t = ((x0 - x) * sy - (y0 - y) * sx) / cross
        if t <= _EDGE or t >= nearest:
            continue
        u = ((x0 - x) * dy - (y0 - y) * dx) / cross
        if -_EDGE <= u <= 1.0 + _EDGE:
            nearest, wall = t, index
    return wall, nearest


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def enter(x, y, dx, dy):
    """The cell (row, column) in which a ray starts, and the distances to its next grid lines and between them."""
    column, row = int(np.floor(x + _EDGE * dx)), int(np.floor(y + _EDGE * dy))
    gap_x = 1.0 / abs(dx) if dx != 0.0 else np.inf
    gap_y = 1.0 / abs(dy) if dy != 0.0 else np.inf
    next_x, next_y = np.inf, np.inf
    if dx != 0.0:
        next_x = (column + 1 - x if dx > 0 else x - column) * gap_x
    if dy != 0.0:
        next_y = (row + 1 - y if dy > 0 else y - row) * gap_y
    return row, column, next_x, next_y, gap_x, gap_y


@njit(cache=True, nogil=True, error_model="numpy")
def first_wall(segments, starts, items, num_rows, num_columns, x, y, dx, dy, limit):
    """The first wall on a ray within ``limit`` cells: its number and distance; (-1, distance) at the map's rim."""
    row, column, next_x, next_y, gap_x, gap_y = enter(x, y, dx, dy)
    now = 0.0
    while 0 <= row < num_rows and 0 <= column < num_columns and now < limit:
        cell = row * num_columns + column
        now = min(next_x, next_y)
        if starts[cell] < starts[cell + 1]:
            wall, distance = hit(segments, items, starts[cell], starts[cell + 1], x, y, dx, dy, -1, now)
            if wall >= 0:
                return wall, distance
        if next_x <= next_y:
            next_x += gap_x
            column += 1 if dx > 0 else -1
        else:
            next_y += gap_y
            row += 1 if dy > 0 else -1
    return -1, now
