"""Convex building corners from a mask: where a path may bend around a building. Mirror-symmetric to the last bit.

The outline of the buildings is a rectilinear polygon on the integer lattice of cell corners. It is simplified by
Douglas-Peucker (Cartographica 10, 1973), whose result usually depends on where one starts and on which of two equally
far points is split first. Here it does not: the anchors are *all* vertices farthest from the polygon's centre, a split
takes the first *and* the last of the farthest points, and all comparisons are between integers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from raymap.physics.visibility import POSITION_QUANTUM

# Headings on the lattice, rows downwards: east, south, west, north.
_STEP_ROW = np.array([0, 1, 0, -1])
_STEP_COLUMN = np.array([1, 0, -1, 0])


@njit(cache=True, nogil=True)
def is_edge(built, row, column, heading):
    """Whether the lattice edge leaving (row, column) has a building on its right and none on its left."""
    num_rows, num_columns = built.shape
    # Of the cells around the lattice point: up-left, up-right, down-right, down-left.
    up, down, left, right = row > 0, row < num_rows, column > 0, column < num_columns
    up_left = up and left and built[row - 1, column - 1]
    up_right = up and right and built[row - 1, column]
    down_right = down and right and built[row, column]
    down_left = down and left and built[row, column - 1]
    if heading == 0:
        return down_right and not up_right
    if heading == 1:
        return down_left and not down_right
    if heading == 2:
        return up_left and not down_left
    return up_right and not up_left


@njit(cache=True, nogil=True)
def trace(built, row, column, visited, ring):
    """Follow one outline eastwards from (row, column); its turning points go to ``ring`` (n, 2). Returns n.

    Cells that touch at a corner belong together (left turns first): nothing passes between them.
    """
    num_points = 0
    start_row, start_column, heading = row, column, 0
    while True:
        if heading == 0:
            visited[row, column] = True
        row += _STEP_ROW[heading]
        column += _STEP_COLUMN[heading]
        for turn in (3, 0, 1):
            following = (heading + turn) % 4
            if is_edge(built, row, column, following):
                break
        if following != heading:
            ring[num_points, 0], ring[num_points, 1] = row, column
            num_points += 1
        heading = following
        if row == start_row and column == start_column and heading == 0:
            return num_points


@njit(cache=True, nogil=True)
def _farthest(ring, begin, end, tolerance):
    """First and last of the points strictly between ``begin`` and ``end`` (indices modulo n) farthest from the chord.

    Returns (-1, -1) when none is farther than ``tolerance`` lattice units. Distances to the chord as a segment,
    compared as integers: squared and multiplied by the squared length of the chord.
    """
    num = len(ring)
    row0, column0 = ring[begin % num]
    d_row, d_column = ring[end % num, 0] - row0, ring[end % num, 1] - column0
    length2 = d_row * d_row + d_column * d_column
    scale = max(length2, 1)
    best = tolerance * tolerance * float(scale)
    first, last = -1, -1
    for index in range(begin + 1, end):
        a_row, a_column = ring[index % num, 0] - row0, ring[index % num, 1] - column0
        along = a_row * d_row + a_column * d_column
        if along < 0 or length2 == 0:
            size = (a_row * a_row + a_column * a_column) * scale
        elif along > length2:
            size = ((a_row - d_row) ** 2 + (a_column - d_column) ** 2) * scale
        else:
            size = (a_row * d_column - a_column * d_row) ** 2
        if size > best:
            best, first, last = float(size), index, index
        elif size == best and first >= 0:
            last = index
    return first, last


@njit(cache=True, nogil=True)
def _simplify(ring, tolerance, keep):
    """Mark in ``keep`` (n) bool the vertices that Douglas-Peucker keeps of a closed ring (n, 2) int64."""
    num = len(ring)
    total_row, total_column = ring[:, 0].sum(), ring[:, 1].sum()
    size = (num * ring[:, 0] - total_row) ** 2 + (num * ring[:, 1] - total_column) ** 2
    anchors = np.nonzero(size == size.max())[0]
    keep[:] = False
    stack = np.empty((3 * num + 8, 2), np.int64)
    depth = 0
    for index in range(len(anchors)):
        keep[anchors[index]] = True
        stack[depth, 0] = anchors[index]
        stack[depth, 1] = anchors[index + 1] if index + 1 < len(anchors) else anchors[0] + num
        depth += 1
    while depth > 0:
        depth -= 1
        begin, end = stack[depth]
        first, last = _farthest(ring, begin, end, tolerance)
        if first < 0:
            continue
        keep[first % num] = keep[last % num] = True
        stack[depth, 0], stack[depth, 1] = begin, first
        stack[depth + 1, 0], stack[depth + 1, 1] = last, end
        depth += 2
        if last > first:
            stack[depth, 0], stack[depth, 1] = first, last
            depth += 1


@njit(cache=True, nogil=True)
def _push_out(before, here, after, push):
    """(is convex, row, column): a vertex moved ``push`` along its outward bisector; buildings on the right."""
    in_row, in_column = float(here[0] - before[0]), float(here[1] - before[1])
    out_row, out_column = float(after[0] - here[0]), float(after[1] - here[1])
    turn = in_column * out_row - in_row * out_column  # > 0: a right turn
    if turn < 0 or (turn == 0 and in_row * out_row + in_column * out_column > 0):
        return False, 0.0, 0.0
    in_size = np.sqrt(in_row * in_row + in_column * in_column)
    out_size = np.sqrt(out_row * out_row + out_column * out_column)
    row, column = in_row / in_size - out_row / out_size, in_column / in_size - out_column / out_size
    size = np.sqrt(row * row + column * column)
    # np.rint is odd, so a mirrored corner is pushed to the mirrored place exactly
    row = here[0] + np.rint(push * row / size / POSITION_QUANTUM) * POSITION_QUANTUM
    column = here[1] + np.rint(push * column / size / POSITION_QUANTUM) * POSITION_QUANTUM
    return True, row, column


@njit(cache=True, nogil=True)
def _is_open(built, row, column):
    """Whether a position lies inside the grid and touches no built cell."""
    if not (0.0 < row < built.shape[0] and 0.0 < column < built.shape[1]):
        return False
    for r in range(int(np.ceil(row)) - 1, int(np.floor(row)) + 1):
        for c in range(int(np.ceil(column)) - 1, int(np.floor(column)) + 1):
            if built[r, c]:
                return False
    return True


@njit(cache=True, nogil=True)
def convex_corners(built, tolerance, push, anchor):
    """Where a path may bend around the buildings of a mask: (K, 8) float64, two positions (row, column) in cells and
    the directions, of length 1, of the two walls that start there.

    ``built``: (H, W) bool; ``tolerance``: of the outline's simplification [cells]. The first position, ``push`` cells
    out of the building along the corner's bisector, is where the corner sees from; the second, ``anchor`` cells out, is
    where lengths and angles are measured. Corners that land outside the grid or in another building are dropped.
    """
    num_rows, num_columns = built.shape
    visited = np.zeros((num_rows + 1, num_columns + 1), np.bool_)
    ring = np.empty((2 * (num_rows + 1) * (num_columns + 1), 2), np.int64)
    keep = np.empty(len(ring), np.bool_)
    corners = np.empty((len(ring), 8), np.float64)
    num_corners = 0
    for row in range(num_rows):
        for column in range(num_columns):
            if visited[row, column] or not is_edge(built, row, column, 0):
                continue
            num = trace(built, row, column, visited, ring)
            _simplify(ring[:num], tolerance, keep[:num])
            kept = ring[:num][keep[:num]]
            for index in range(len(kept)):
                following = kept[(index + 1) % len(kept)]
                convex, r, c = _push_out(kept[index - 1], kept[index], following, push)
                if convex and _is_open(built, r, c):
                    corners[num_corners, 0], corners[num_corners, 1] = r, c
                    _, r, c = _push_out(kept[index - 1], kept[index], following, anchor)
                    corners[num_corners, 2], corners[num_corners, 3] = r, c
                    for wall, end in enumerate((kept[index - 1], following)):
                        r, c = float(end[0] - kept[index, 0]), float(end[1] - kept[index, 1])
                        size = np.sqrt(r * r + c * c)
                        corners[num_corners, 4 + 2 * wall], corners[num_corners, 5 + 2 * wall] = r / size, c / size
                    num_corners += 1
    return corners[:num_corners].copy()
