"""Who sees whom on a grid of opaque cells: exact, mirror-symmetric, reciprocal.

Positions are (row, column) in cells from the grid's top left corner, so the centre of cell (r, c) is (r+½, c+½).

**The rule.** A segment is blocked when it meets the open inside of a blocked cell, or when it squeezes through a
lattice point (or runs along a grid line) with blocked cells on both sides. Grazing a single corner or wall does not
block. The rule names neither a direction nor an order, hence the eight symmetries of the square and the swap of both
ends hold exactly, provided the arithmetic is exact: positions are rounded to 1/1024 of a cell, so that every product
compared below fits the 53 bits of a double, and two different slopes never round to the same double.

Two computations of the one rule: `segment_clear` walks the cells of one segment (Amanatides & Woo, "A fast voxel
traversal algorithm for ray tracing", Eurographics 1987); `visible_cells` sweeps the whole map row by row and carries
the slopes still open, at a cost proportional to the cells seen.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Positions are rounded to this part of a cell, which keeps all comparisons exact up to maps of 8192 cells.
POSITION_QUANTUM = 1.0 / 1024.0


def snap(row_col: tuple[float, float], shape: tuple[int, int]) -> tuple[float, float]:
    """A position in cells rounded to `POSITION_QUANTUM` and kept that far from the rim of a grid of ``shape`` cells."""
    limits = np.asarray(shape) - POSITION_QUANTUM
    snapped = np.round(np.asarray(row_col, float) / POSITION_QUANTUM) * POSITION_QUANTUM
    row, column = np.clip(snapped, POSITION_QUANTUM, limits)
    return float(row), float(column)


def line_of_sight(blocked: np.ndarray, row_col: tuple[float, float]) -> np.ndarray:
    """Cells whose centre is seen from one position.

    ``blocked``: (H, W) bool, opaque cells; ``row_col``: position in cells, (0, 0) = top left corner of the grid.
    Returns (H, W) bool; blocked cells are never seen, and a position inside a blocked cell sees nothing.
    Raises ValueError for a mask that is not 2-D or a position outside the grid.
    """
    blocked = np.ascontiguousarray(blocked, dtype=bool)
    if blocked.ndim != 2:
        raise ValueError(f"blocked must be (H, W), got shape {blocked.shape}")
    if not (0 <= row_col[0] < blocked.shape[0] and 0 <= row_col[1] < blocked.shape[1]):
        raise ValueError(f"position (row {row_col[0]}, column {row_col[1]}) lies outside a grid of {blocked.shape}")
    seen = np.zeros(blocked.shape, bool)
    cells = np.empty(blocked.size, np.int64)
    num_seen = visible_cells(blocked, *snap(row_col, blocked.shape), cells)
    seen.ravel()[cells[:num_seen]] = True
    return seen


def line_of_sight_batch(blocked: np.ndarray, rows_cols: np.ndarray) -> np.ndarray:
    """`line_of_sight` for a batch: ``blocked`` (B, H, W) bool and ``rows_cols`` (B, 2) give (B, H, W) bool."""
    if len(blocked) != len(rows_cols):
        raise ValueError(f"{len(blocked)} masks but {len(rows_cols)} positions")
    seen = np.zeros(np.shape(blocked), bool)
    for index in range(len(blocked)):
        seen[index] = line_of_sight(blocked[index], (rows_cols[index][0], rows_cols[index][1]))
    return seen


@njit(cache=True, nogil=True)
def first_cell(start: float, delta: float) -> int:
    """Index along one axis of the cell entered when leaving ``start`` in the direction of ``delta``."""
    if delta < 0:
        return int(np.ceil(start)) - 1
    return int(np.floor(start))


@njit(cache=True, nogil=True)
def _line_clear(blocked, axis, line, start, end):
    """A segment that runs along grid line number ``line``: blocked where both sides are; outside counts as blocked."""
    low, high = min(start, end), max(start, end)
    for along in range(int(np.floor(low)), int(np.ceil(high))):
        if axis == 0:  # along the rows
            one = line < 1 or blocked[along, line - 1]
            other = line >= blocked.shape[1] or blocked[along, line]
        else:
            one = line < 1 or blocked[line - 1, along]
            other = line >= blocked.shape[0] or blocked[line, along]
        if one and other:
            return False
    return True


@njit(cache=True, nogil=True)
def segment_clear(blocked, row0, column0, row1, column1):
    """Whether one position sees another by the rule above; ``blocked`` (H, W) bool, positions snapped and inside."""
    d_row, d_column = row1 - row0, column1 - column0
    if d_row == 0.0 and row0 == np.floor(row0):
        return _line_clear(blocked, 1, int(row0), column0, column1)
    if d_column == 0.0 and column0 == np.floor(column0):
        return _line_clear(blocked, 0, int(column0), row0, row1)
    row, column = first_cell(row0, d_row), first_cell(column0, d_column)
    last_row, last_column = first_cell(row1, -d_row), first_cell(column1, -d_column)
    step_row, step_column = (1 if d_row >= 0 else -1), (1 if d_column >= 0 else -1)
    size_row, size_column = abs(d_row), abs(d_column)
    # Times to the next grid lines, both multiplied by |d_row|·|d_column|: no division, hence exact ties.
    next_row = ((row + 1) - row0 if d_row >= 0 else row0 - row) * size_column
    next_column = ((column + 1) - column0 if d_column >= 0 else column0 - column) * size_row
    while True:
        if blocked[row, column]:
            return False
        if row == last_row and column == last_column:
            return True
        if column == last_column or (row != last_row and next_row < next_column):
            row += step_row
            next_row += size_column
        elif row == last_row or next_column < next_row:
            column += step_column
            next_column += size_row
        else:
            if blocked[row + step_row, column] and blocked[row, column + step_column]:
                return False
            row += step_row
            column += step_column
            next_row += size_column
            next_column += size_row


@njit(cache=True, nogil=True)
def walk(row0, column0, row1, column1, rows, columns, times):
    """The cells a segment passes, in order: writes them to ``rows``, ``columns`` (n int64) and returns their number.

    ``times`` (n float64): the part of the segment, 0 to 1, at which it enters each cell. Through a lattice point it
    goes to the cell diagonally opposite. The arrays need room for the cells of one row and one column of the grid.
    """
    d_row, d_column = row1 - row0, column1 - column0
    row, column = first_cell(row0, d_row), first_cell(column0, d_column)
    last_row, last_column = first_cell(row1, -d_row), first_cell(column1, -d_column)
    step_row, step_column = (1 if d_row >= 0 else -1), (1 if d_column >= 0 else -1)
    grow_row = abs(d_column) if d_column != 0.0 else 1.0  # as in `segment_clear`, but also for one size of zero
    grow_column = abs(d_row) if d_row != 0.0 else 1.0
    next_row = ((row + 1) - row0 if d_row >= 0 else row0 - row) * grow_row
    next_column = ((column + 1) - column0 if d_column >= 0 else column0 - column) * grow_column
    rows[0], columns[0], times[0] = row, column, 0.0
    count = 1
    while row != last_row or column != last_column:
        move_row = row != last_row and (column == last_column or next_row <= next_column)
        move_column = column != last_column and (row == last_row or next_column <= next_row)
        times[count] = (next_row if move_row else next_column) / (grow_row * grow_column)
        if move_row:
            row += step_row
            next_row += grow_row
        if move_column:
            column += step_column
            next_column += grow_column
        rows[count], columns[count] = row, column
        count += 1
    return count


@njit(cache=True, nogil=True)
def _slope_low(left, near, far):
    """Lowest slope of a run of blocked cells whose left end is at offset ``left``, between depths near and far."""
    if left >= 0.0:
        return left / far
    return left / near if near > 0.0 else -np.inf


@njit(cache=True, nogil=True)
def _push(intervals, count, low, high):
    if count == len(intervals):
        grown = np.empty((2 * count, 2), np.float64)
        grown[:count] = intervals
        intervals = grown
    intervals[count, 0] = low
    intervals[count, 1] = high
    return intervals, count + 1


@njit(cache=True, nogil=True)
def _next_run(flat, base, stride, cell, last):
    """The next run of blocked cells of a row from ``cell`` on, as (begin, end); begin > last if there is none."""
    while cell <= last and not flat[base + cell * stride]:
        cell += 1
    begin = cell
    while cell <= last and flat[base + cell * stride]:
        cell += 1
    return begin, cell


@njit(cache=True, nogil=True)
def _cut(flat, base, stride, size, origin, near, far, low, high, intervals, count):
    """The slopes of [low, high] that one row of cells leaves open, appended to ``intervals``."""
    depth = max(near, 0.0)
    first = max(int(np.floor(origin + min(low * depth, low * far))) - 1, 0)
    last = min(int(np.floor(origin + max(high * depth, high * far))) + 1, size - 1)
    open_from = low
    cell = first
    while open_from <= high:
        begin, cell = _next_run(flat, base, stride, cell, last)
        if begin > last:
            break
        shade_low = _slope_low(begin - origin, near, far)
        shade_high = -_slope_low(origin - cell, near, far)
        if shade_high <= low:
            continue
        if shade_low >= high:
            break
        if shade_low >= open_from:
            intervals, count = _push(intervals, count, open_from, shade_low)
        open_from = max(open_from, shade_high)
    if open_from <= high:
        intervals, count = _push(intervals, count, open_from, high)
    return intervals, count


@njit(cache=True, nogil=True)
def _seen_in_row(blocked, flat, base, stride, size, origin, middle, low, high, diagonal, position, cells, count):
    """Append the flat indices of the cells of one row whose centres are seen through the open slopes [low, high]."""
    # One cell more on both sides, because these two products are rounded; the slopes below are exact.
    first = max(int(np.floor(origin - 0.5 + low * middle)), 0)
    last = min(int(np.ceil(origin - 0.5 + high * middle)), size - 1)
    for cell in range(first, last + 1):
        index = base + cell * stride
        if flat[index]:
            continue
        if cell < first + 2 or cell > last - 2:  # cells further in lie strictly inside
            slope = (cell + 0.5 - origin) / middle
            if slope < low or slope > high or (abs(slope) == 1.0 and not diagonal):
                continue
            # On the rim of the open slopes the ray grazes a corner: only the walk knows what is on its other side.
            if slope in (low, high):
                row, column = index // blocked.shape[1], index % blocked.shape[1]
                if not segment_clear(blocked, position[0], position[1], row + 0.5, column + 0.5):
                    continue
        cells[count] = index
        count += 1
    return count


@njit(cache=True, nogil=True)
def _sweep_quarter(blocked, flat, position, along_rows, sign, cells, count):
    """Append the cells seen in one quarter of the plane, line of cells by line of cells away from the position."""
    num_rows, num_columns = blocked.shape
    row, column = position
    depth_origin, origin = (row, column) if along_rows else (column, row)
    num_lines, size = (num_rows, num_columns) if along_rows else (num_columns, num_rows)
    line_stride, stride = (num_columns, 1) if along_rows else (1, num_columns)
    now, later = np.empty((64, 2)), np.empty((64, 2))
    num_now = 1
    now[0, 0], now[0, 1] = -1.0, 1.0
    line = first_cell(depth_origin, sign)
    while 0 <= line < num_lines and num_now > 0:
        base = line * line_stride
        middle = sign * (line + 0.5 - depth_origin)
        num_later = 0
        for index in range(num_now):
            low, high = now[index, 0], now[index, 1]
            if middle > 0.0:  # only one of the two quarters that share the diagonals hands them out
                count = _seen_in_row(
                    blocked, flat, base, stride, size, origin, middle, low, high, along_rows, position, cells, count
                )
            later, num_later = _cut(
                flat, base, stride, size, origin, middle - 0.5, middle + 0.5, low, high, later, num_later
            )
        now, later = later, now
        num_now = num_later
        line += sign
    return count


@njit(cache=True, nogil=True)
def visible_cells(blocked, row, column, cells):
    """Write the flat indices of all cells seen from a snapped position to ``cells`` (H·W int64); returns their number.

    Four quarters of the plane (down, up, right, left), each swept away from the position. In a quarter the slope of a
    ray is at most 1, so within the last half cell it stays inside the cell it goes to, and whether that cell is seen
    depends on the earlier lines of cells alone.
    """
    flat = blocked.ravel()
    num_cells = 0
    own_row, own_column = int(np.floor(row)), int(np.floor(column))
    at_centre = row == own_row + 0.5 and column == own_column + 0.5
    if at_centre and not blocked[own_row, own_column]:  # the one centre that lies in no quarter
        cells[0] = own_row * blocked.shape[1] + own_column
        num_cells = 1
    for along_rows in (True, False):
        for sign in (1, -1):
            num_cells = _sweep_quarter(blocked, flat, (row, column), along_rows, sign, cells, num_cells)
    return num_cells
