"""Walls from a mask: straight segments at any angle, not stairs, because a reflection needs the wall's true normal.

The outline of the buildings is a rectilinear polygon of unit edges on the lattice of cell corners. The midpoints of the
edges of a rasterised straight wall lie within half a cell of it (the rule of the cell centre), and exactly on it at
multiples of 45°. So the outline is cut into chains of edges whose midpoints lie on lines: of all ways to cut, the one
with the least Σ (squared distances − what a raster makes of a straight wall) [cells²] + `CORNER_COST` per chain, found
by dynamic programming (Bellman, "On the approximation of curves by line segments using dynamic programming", CACM 4,
1961). Neighbouring lines are intersected.

**Tolerance.** Walls along the axes and diagonals are exact. Of others the position is met within half a cell, and the
direction to a median of 0.6° where the shorter side of a house has 22 cells, 1.5° where it has 12 (worst 4° and 5°).
Bays and steps of one cell are levelled. Outlines that straightening would lose (buildings of a few cells) stay as the
raster has them. Kernels work in cells: x = column, y = row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from raymap.propagation.corners import is_edge, trace

#: What one more segment must save in squared distances to be worth it [cells²].
CORNER_COST = 1.5
#: Mean squared distance that costs nothing: of positions spread evenly over one cell [cells²] ...
_FREE_ERROR = 1.0 / 12.0
#: ... on so many edges of a chain at most.
_FREE_EDGES = 48.0
#: Outlines whose straightened area would differ by more than this share, as those of a few cells', keep their stairs.
_AREA_SLACK = 0.2
#: Outline vertices that turn by less do not diffract [deg].
MIN_TURN_DEG = 10.0
#: Diffracting corners are seen from a point this far out of the building [cells].
PUSH_CELLS = 0.05


class Walls(NamedTuple):
    """Geometry of a map in cells, (x, y) = (column, row).

    ``segments`` (W, 4): (x0, y0, x1, y1), building to the right (seen along the segment with y downwards).
    ``corners`` (K, 6): convex vertices x, y; the point PUSH_CELLS outside them, x, y; the direction [rad] of the face
    from which angles are measured through the open space; n, the open angle over π (1.5 for a right angle).
    ``open_share`` (H, W): part of each cell outside the polygons. ``buried`` (H, W) bool: cell centres inside them.
    """

    segments: np.ndarray
    corners: np.ndarray
    open_share: np.ndarray
    buried: np.ndarray


def from_mask(built: np.ndarray) -> Walls:
    """The walls of a (H, W) bool mask of buildings."""
    built = np.ascontiguousarray(built, bool)
    rings, ends = _outlines(built)
    segments, corners = _segments(rings, ends, built.shape[0], built.shape[1])
    open_share, buried = _cover(segments, built.shape[0], built.shape[1])
    return Walls(segments, corners, open_share, buried)


@njit(cache=True, nogil=True, error_model="numpy")
def _outlines(built):
    """Turning points (x, y) of all outlines, (N, 2) float64, and the end of each outline in them."""
    num_rows, num_columns = built.shape
    visited = np.zeros((num_rows + 1, num_columns + 1), np.bool_)
    ring = np.empty((2 * (num_rows + 1) * (num_columns + 1), 2), np.int64)
    points = np.empty((len(ring), 2))
    ends = np.empty(built.size + 1, np.int64)
    num_points, num_rings = 0, 0
    for row in range(num_rows):
        for column in range(num_columns):
            if visited[row, column] or not is_edge(built, row, column, 0):
                continue
            num = trace(built, row, column, visited, ring)
            for index in range(num):
                points[num_points, 0], points[num_points, 1] = ring[index, 1], ring[index, 0]
                num_points += 1
            ends[num_rings] = num_points
            num_rings += 1
    return points[:num_points].copy(), ends[:num_rings].copy()


@njit(cache=True, nogil=True, error_model="numpy")
def _moments(ring, num_rows, num_columns):
    """Sums over the unit edges' midpoints up to every vertex: (n + 1, 6) n, x, y, xx, yy, xy; and runs on the rim."""
    num = len(ring)
    sums = np.zeros((num + 1, 6))
    rim = np.empty(num, np.bool_)
    for index in range(num):
        x0, y0 = ring[index, 0] - ring[0, 0], ring[index, 1] - ring[0, 1]
        x1, y1 = ring[(index + 1) % num, 0] - ring[0, 0], ring[(index + 1) % num, 1] - ring[0, 1]
        size = abs(x1 - x0) + abs(y1 - y0)
        x, y, spread = 0.5 * (x0 + x1), 0.5 * (y0 + y1), size * (size * size - 1.0) / 12.0
        sums[index + 1, 0] = sums[index, 0] + size
        sums[index + 1, 1] = sums[index, 1] + size * x
        sums[index + 1, 2] = sums[index, 2] + size * y
        sums[index + 1, 3] = sums[index, 3] + size * x * x + (spread if y0 == y1 else 0.0)
        sums[index + 1, 4] = sums[index, 4] + size * y * y + (spread if x0 == x1 else 0.0)
        sums[index + 1, 5] = sums[index, 5] + size * x * y
        at_x, at_y = x0 + ring[0, 0], y0 + ring[0, 1]
        rim[index] = (x0 == x1 and (at_x == 0 or at_x == num_columns)) or (y0 == y1 and (at_y == 0 or at_y == num_rows))
    return sums, rim


@njit(cache=True, nogil=True, error_model="numpy")
def _line(sums, begin, end):
    """Least-squares line of the runs begin..end-1: squared error, centre x, y and direction x, y (either sense)."""
    count = sums[end, 0] - sums[begin, 0]
    x, y = (sums[end, 1] - sums[begin, 1]) / count, (sums[end, 2] - sums[begin, 2]) / count
    xx = (sums[end, 3] - sums[begin, 3]) - count * x * x
    yy = (sums[end, 4] - sums[begin, 4]) - count * y * y
    xy = (sums[end, 5] - sums[begin, 5]) - count * x * y
    error = 0.5 * (xx + yy - np.sqrt((xx - yy) ** 2 + 4.0 * xy * xy))
    angle = 0.5 * np.arctan2(2.0 * xy, xx - yy)
    return max(error, 0.0), x, y, np.cos(angle), np.sin(angle)


@njit(cache=True, nogil=True, error_model="numpy")
def _cuts(sums, rim):
    """Vertices (from 0 to n) at which the best chains begin and end."""
    num = len(rim)
    best = np.full(num + 1, np.inf)
    before = np.zeros(num + 1, np.int64)
    best[0] = 0.0
    for end in range(1, num + 1):
        for begin in range(end - 1, -1, -1):
            if rim[begin] != rim[end - 1]:
                break
            error = _line(sums, begin, end)[0] if begin < end - 1 else 0.0
            if error - _FREE_EDGES * _FREE_ERROR + CORNER_COST >= best[end]:
                break  # errors only grow with the chain
            excess = max(error - min(sums[end, 0] - sums[begin, 0], _FREE_EDGES) * _FREE_ERROR, 0.0)
            if best[begin] + excess + CORNER_COST < best[end]:
                best[end] = best[begin] + excess + CORNER_COST
                before[end] = begin
    cuts = np.empty(num + 1, np.int64)
    count, at = 0, num
    while at > 0:
        cuts[count] = at
        count += 1
        at = before[at]
    cuts[count] = 0
    return cuts[: count + 1][::-1].copy()


@njit(cache=True, nogil=True, error_model="numpy")
def _without_tips(sums, begin, end):
    """A chain without two runs at both ends if what remains is exactly straight: a diagonal, whose tips are not."""
    if end - begin > 8 and _line(sums, begin + 2, end - 2)[0] < 1e-6:
        return begin + 2, end - 2
    return begin, end


@njit(cache=True, nogil=True, error_model="numpy")
def _vertex(here, x0, y0, dx0, dy0, x1, y1, dx1, dy1):
    """Where two fitted lines meet, if that is near the lattice vertex ``here``; else between its feet on both."""
    cross = dx0 * dy1 - dy0 * dx1
    if abs(cross) > 0.17:
        t = ((x1 - x0) * dy1 - (y1 - y0) * dx1) / cross
        x, y = x0 + t * dx0, y0 + t * dy0
        if (x - here[0]) ** 2 + (y - here[1]) ** 2 <= 4.0:
            return x, y
    t0 = (here[0] - x0) * dx0 + (here[1] - y0) * dy0
    t1 = (here[0] - x1) * dx1 + (here[1] - y1) * dy1
    return 0.5 * (x0 + t0 * dx0 + x1 + t1 * dx1), 0.5 * (y0 + t0 * dy0 + y1 + t1 * dy1)


@njit(cache=True, nogil=True, error_model="numpy")
def straightened(ring, num_rows, num_columns):
    """(m, 2) vertices of the straightened outline and (m,) whether the side that follows lies on the map's rim."""
    num = len(ring)
    centre_x, centre_y = ring[:, 0].mean(), ring[:, 1].mean()
    start = np.argmax((ring[:, 0] - centre_x) ** 2 + (ring[:, 1] - centre_y) ** 2)
    turned = np.concatenate((ring[start:], ring[:start]))
    sums, rim = _moments(turned, num_rows, num_columns)
    cuts = _cuts(sums, rim)
    num_sides = len(cuts) - 1
    lines = np.empty((num_sides, 4))
    for side in range(num_sides):
        begin, end = _without_tips(sums, cuts[side], cuts[side + 1])
        _, x, y, dx, dy = _line(sums, begin, end)
        first, last = turned[cuts[side]], turned[cuts[side + 1] % num]
        if cuts[side + 1] == cuts[side] + 1:
            size = abs(last[0] - first[0]) + abs(last[1] - first[1])
            dx, dy = (last[0] - first[0]) / size, (last[1] - first[1]) / size
        lines[side] = np.array([x + turned[0, 0], y + turned[0, 1], dx, dy])
    vertices = np.empty((num_sides, 2))
    on_rim = np.empty(num_sides, np.bool_)
    for side in range(num_sides):
        a, b = lines[side - 1], lines[side]
        vertices[side] = _vertex(turned[cuts[side]], a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3])
        on_rim[side] = rim[cuts[side]]
    area = _area(turned)
    if num_sides < 3 or abs(_area(vertices) - area) > _AREA_SLACK * abs(area):
        return turned, rim
    return vertices, on_rim


@njit(cache=True, nogil=True, error_model="numpy")
def _area(ring):
    """Signed area of a polygon (n, 2) [cells²]."""
    total = 0.0
    for index in range(len(ring)):
        x0, y0 = ring[index - 1]
        x1, y1 = ring[index]
        total += 0.5 * (x0 * y1 - x1 * y0)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _segments(points, ends, num_rows, num_columns):
    """All polygons' sides (W, 4) and diffracting corners (K, 6), see `Walls`."""
    segments = np.empty((len(points), 4))
    corners = np.empty((len(points), 6))
    num_segments, num_corners, begin = 0, 0, 0
    for end in ends:
        vertices, on_rim = straightened(points[begin:end], num_rows, num_columns)
        begin = end
        num = len(vertices)
        for index in range(num):
            here, after, before = vertices[index], vertices[(index + 1) % num], vertices[index - 1]
            if (after[0] - here[0]) ** 2 + (after[1] - here[1]) ** 2 > 1e-12:
                segments[num_segments] = np.array([here[0], here[1], after[0], after[1]])
                num_segments += 1
            if on_rim[index] or on_rim[index - 1]:
                continue
            in_x, in_y, out_x, out_y = here[0] - before[0], here[1] - before[1], after[0] - here[0], after[1] - here[1]
            turn = np.arctan2(in_x * out_y - in_y * out_x, in_x * out_x + in_y * out_y)
            if turn < np.radians(MIN_TURN_DEG):
                continue
            face, n = np.arctan2(out_y, out_x), 1.0 + turn / np.pi
            x, y = (
                here[0] + PUSH_CELLS * np.cos(face - 0.5 * n * np.pi),
                here[1] + PUSH_CELLS * np.sin(face - 0.5 * n * np.pi),
            )
            if 0.0 < x < num_columns and 0.0 < y < num_rows:
                corners[num_corners] = np.array([here[0], here[1], x, y, face, n])
                num_corners += 1
    return segments[:num_segments].copy(), corners[:num_corners].copy()


@njit(cache=True, nogil=True, error_model="numpy")
def _cover(segments, num_rows, num_columns):
    """Share of each cell outside the polygons, exact, and which centres lie inside them (even-odd)."""
    change = np.zeros((num_rows, num_columns + 1))
    odd = np.zeros((num_rows, num_columns + 1), np.int64)
    for index in range(len(segments)):
        x0, y0, x1, y1 = segments[index]
        if y0 == y1:
            continue
        # Building to the right, y down: a side that runs up has the building at larger x.
        sign = -1.0 if y1 > y0 else 1.0
        if y1 < y0:
            x0, y0, x1, y1 = x1, y1, x0, y0
        slope = (x1 - x0) / (y1 - y0)
        for row in range(max(int(np.floor(y0)), 0), min(int(np.floor(y1)), num_rows - 1) + 1):
            top, bottom = max(y0, float(row)), min(y1, row + 1.0)
            if y0 <= row + 0.5 < y1:
                at = x0 + (row + 0.5 - y0) * slope
                odd[row, min(max(int(np.ceil(at - 0.5)), 0), num_columns)] += 1
            _add_strip(change[row], x0 + (top - y0) * slope, x0 + (bottom - y0) * slope, sign * (bottom - top))
    share = np.empty((num_rows, num_columns))
    buried = np.empty((num_rows, num_columns), np.bool_)
    for row in range(num_rows):
        filled, crossings = 0.0, 0
        for column in range(num_columns):
            filled += change[row, column]
            crossings += odd[row, column]
            share[row, column] = min(max(1.0 - filled, 0.0), 1.0)
            buried[row, column] = crossings % 2 == 1
    return share, buried


@njit(cache=True, nogil=True, error_model="numpy")
def _add_strip(change, from_x, to_x, height):
    """Adds what lies to the right of a piece of a side within one row: ``change`` is summed along the row later."""
    last = len(change) - 1
    low, high = min(max(min(from_x, to_x), 0.0), last), min(max(max(from_x, to_x), 0.0), last)
    first, final = int(np.floor(low)), int(np.floor(high))
    before = 0.0
    for column in range(first, min(final, last - 1) + 1):
        # Mean over the strip's height of the part of this cell right of the side, by the trapezoid's exact integral.
        after = _mean_right(low, high, column)
        change[column] += height * (after - before)
        before = after
    if first <= last - 1:
        end = min(final, last - 1) + 1
        change[end] += height * (1.0 - before)


@njit(cache=True, nogil=True, error_model="numpy")
def _mean_right(low, high, column):
    """Mean of clip(column + 1 − x, 0, 1) for x uniform in [low, high]."""
    if high - low < 1e-12:
        return min(max(column + 1.0 - low, 0.0), 1.0)
    total = 0.0
    a, b = max(low, float(column)), min(high, column + 1.0)
    if low < column:
        total += min(high, float(column)) - low
    if b > a:
        total += (b - a) * (column + 1.0 - 0.5 * (a + b))
    return total / (high - low)
