"""Boxes on a raster: what they touch, and which cells they cover most. Kernels of `vehicles`.

A box is a convex quadrilateral (4, 2): corners (x, y) in order, in metres or in cells.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _reach(quad, x, y):
    """Lowest and highest x·px + y·py over the corners (px, py) of a quadrilateral (4, 2)."""
    low = high = x * quad[0, 0] + y * quad[0, 1]
    for i in range(1, 4):
        value = x * quad[i, 0] + y * quad[i, 1]
        low, high = min(low, value), max(high, value)
    return low, high


@njit(cache=True, nogil=True)
def _apart(first, second, margin):
    """Whether two convex quadrilaterals (4, 2) leave a straight gap of ``margin`` along an edge of one of them."""
    for i in range(8):
        quad = first if i < 4 else second
        x, y = quad[i % 4, 1] - quad[(i + 1) % 4, 1], quad[(i + 1) % 4, 0] - quad[i % 4, 0]
        first_low, first_high = _reach(first, x, y)
        second_low, second_high = _reach(second, x, y)
        needed = margin * np.sqrt(x * x + y * y)
        if first_high + needed <= second_low or second_high + needed <= first_low:
            return True
    return False


@njit(cache=True, nogil=True)
def _on_solid(quad, solid, cell_m, margin):
    """Whether a quadrilateral (4, 2) [m] comes closer than ``margin`` to a solid cell."""
    (left, right), (top, bottom) = _reach(quad, 1.0, 0.0), _reach(quad, 0.0, 1.0)
    square = np.empty((4, 2))
    for row in range(max(0, int((top - margin) / cell_m)), min(solid.shape[0], int((bottom + margin) / cell_m) + 1)):
        for column in range(
            max(0, int((left - margin) / cell_m)), min(solid.shape[1], int((right + margin) / cell_m) + 1)
        ):
            if not solid[row, column]:
                continue
            for i in range(4):
                square[i, 0] = (column + (i in (1, 2))) * cell_m
                square[i, 1] = (row + (i in (2, 3))) * cell_m
            if not _apart(quad, square, margin):
                return True
    return False


@njit(cache=True, nogil=True)
def fits(corners, solid, cell_m, margin):
    """(N,) bool: which footprints (N, 4, 2) [m] to keep, in order: inside the map, off solid cells and those kept."""
    keep = np.zeros(len(corners), np.bool_)
    for index in range(len(corners)):
        quad = corners[index]
        (left, right), (top, bottom) = _reach(quad, 1.0, 0.0), _reach(quad, 0.0, 1.0)
        if left < 0.0 or top < 0.0 or right > solid.shape[1] * cell_m or bottom > solid.shape[0] * cell_m:
            continue
        fit = not _on_solid(quad, solid, cell_m, margin)
        for other in range(index):
            if fit and keep[other]:
                # Longer than any vehicle, so that most pairs are passed over at a glance.
                far = abs(corners[other, 0, 0] - quad[0, 0]) + abs(corners[other, 0, 1] - quad[0, 1]) > 60.0
                fit = far or _apart(quad, corners[other], margin)
        keep[index] = fit
    return keep


@njit(cache=True, nogil=True)
def _clip(points, count, axis, limit, sign, kept):
    """Copy what of a polygon lies on one side of a line along an axis to ``kept``; returns its number of corners."""
    num = 0
    for i in range(count):
        before = (i - 1) % count
        side_before, side_here = sign * (points[before, axis] - limit), sign * (points[i, axis] - limit)
        if (side_before >= 0) != (side_here >= 0):
            share = side_before / (side_before - side_here)
            kept[num, 0] = points[before, 0] + share * (points[i, 0] - points[before, 0])
            kept[num, 1] = points[before, 1] + share * (points[i, 1] - points[before, 1])
            num += 1
        if side_here >= 0:
            kept[num, 0], kept[num, 1] = points[i, 0], points[i, 1]
            num += 1
    return num


@njit(cache=True, nogil=True)
def _area_in_cell(quad, row, column, one, other):
    """Area [cells] of a convex quadrilateral (4, 2) inside one cell; ``one`` and ``other`` (16, 2) are room to work."""
    count = _clip(quad, 4, 0, column, 1.0, one)
    count = _clip(one, count, 0, column + 1.0, -1.0, other)
    count = _clip(other, count, 1, row, 1.0, one)
    count = _clip(one, count, 1, row + 1.0, -1.0, other)
    doubled = 0.0
    for i in range(count):
        j = (i + 1) % count
        doubled += other[i, 0] * other[j, 1] - other[j, 0] * other[i, 1]
    return abs(doubled) / 2


@njit(cache=True, nogil=True)
def mark(corners, heights_m, out_m):
    """Write vehicles (N, 4, 2), in cells, into ``out_m`` (H, W) by the rule of `vehicles.rasterize`."""
    owed = 0.0
    one, other = np.empty((16, 2)), np.empty((16, 2))
    for index in range(len(corners)):
        quad = corners[index]
        (left, right), (top, bottom) = _reach(quad, 1.0, 0.0), _reach(quad, 0.0, 1.0)
        first_row, last_row = max(0, int(top)), min(out_m.shape[0] - 1, int(bottom))
        first_column, last_column = max(0, int(left)), min(out_m.shape[1] - 1, int(right))
        share = np.zeros((max(0, last_row - first_row + 1), max(0, last_column - first_column + 1)))
        for i in range(share.shape[0]):
            for j in range(share.shape[1]):
                share[i, j] = _area_in_cell(quad, float(first_row + i), float(first_column + j), one, other)
                owed += share[i, j]
        for _ in range(int(owed + 0.5)):
            best, best_i, best_j = 0.0, -1, -1
            for i in range(share.shape[0]):
                for j in range(share.shape[1]):
                    # The tolerance decides ties between cells covered alike in the same way on every machine.
                    if share[i, j] > best + 1e-9 and out_m[first_row + i, first_column + j] == 0:
                        best, best_i, best_j = share[i, j], i, j
            if best_i < 0:
                break
            out_m[first_row + best_i, first_column + best_j] = heights_m[index]
            owed -= 1.0
