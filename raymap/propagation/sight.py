"""Which cells a point sees among straight walls: the visibility polygon, filled wedge by wedge.

`physics.visibility` answers the same question on the raster, where a slanted wall is a flight of stairs that hides the
cells along it. Here the walls are segments. Positions are (x, y) = (column, row) in cells.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from raymap.propagation.beams import (
    ANGLE,
    BOUNCES,
    CORNER,
    INSIDE,
    LENGTH,
    NUM_FIELDS,
    POWER,
    fan_of_corner,
)
from raymap.propagation.ground import first_wall
from raymap.propagation.street import length_inside
from raymap.propagation.wedge import far_pattern, tabled_share

#: Cell centres inside a straightened outline (``buried``) are seen up to this far behind the wall [cells].
_SLACK = 0.75
#: Angles in the table of a corner's pattern.
_ANGLES = 720
#: Keeps sources off lines of cell centres and lattice lines, which belong to two wedges.
_NUDGE_X, _NUDGE_Y = 1.37e-7, 0.71e-7


@njit(cache=True, nogil=True, error_model="numpy")
def _directions(segments, x, y):
    """Unit vectors (n, 2) from a point to all wall ends and along the axes, by rising angle, then the first again."""
    num = len(segments) + 4
    rays = np.empty((num, 2))
    for index in range(len(segments)):
        dx, dy = segments[index, 0] - x, segments[index, 1] - y
        size = np.sqrt(dx * dx + dy * dy)
        rays[index, 0], rays[index, 1] = dx / size, dy / size
    rays[num - 4 :] = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    angles = np.arctan2(rays[:, 1], rays[:, 0])
    order = np.argsort(angles)
    ordered = np.empty((num + 1, 2))
    ordered[:num] = rays[order]
    ordered[num] = ordered[0]
    return ordered


@njit(cache=True, nogil=True, error_model="numpy")
def _reach_y(segments, wall, x, y, ray, num_rows):
    """The y at which a ray meets the line of a wall (kept to the wall's extent), or the map's rim for no wall."""
    if wall < 0:
        return float(num_rows) if ray[1] > 0 else 0.0
    x0, y0, x1, y1 = segments[wall]
    sx, sy = x1 - x0, y1 - y0
    cross = ray[0] * sy - ray[1] * sx
    t = ((x0 - x) * sy - (y0 - y) * sx) / cross if cross != 0.0 else np.inf
    at = y + t * ray[1] if t < 1e12 else y1
    return min(max(at, min(y0, y1)), max(y0, y1))


@njit(cache=True, nogil=True, error_model="numpy")
def _at_row(x, dy, ray, num_columns):
    """The x of a ray at the height ``dy`` above its start, kept to the map and a cell around it."""
    at = x + dy * ray[0] / ray[1] if ray[1] != 0.0 else np.inf * ray[0]
    return min(max(at, -1.0), num_columns + 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(ground, wall, x, y, a, b, open_cells, buried, cells, count):
    """Append the open cells whose centre lies in the wedge between rays ``a`` and ``b`` and before the wall."""
    down = a[1] + b[1] > 0.0
    reach_a = _reach_y(ground.segments, wall, x, y, a, ground.num_rows)
    reach_b = _reach_y(ground.segments, wall, x, y, b, ground.num_rows)
    if down:
        first, last = int(np.floor(y)), int(np.floor(max(reach_a, reach_b) + 1.0))
    else:
        first, last = int(np.floor(min(reach_a, reach_b) - 1.0)), int(np.floor(y))
    nx, ny, wx, wy = 0.0, 0.0, 0.0, 0.0
    if wall >= 0:
        wx, wy = ground.segments[wall, 0], ground.segments[wall, 1]
        nx, ny = ground.segments[wall, 3] - wy, wx - ground.segments[wall, 2]
        size = np.sqrt(nx * nx + ny * ny)
        nx, ny = nx / size, ny / size
    for row in range(max(first, 0), min(last, ground.num_rows - 1) + 1):
        dy = row + 0.5 - y
        if (dy > 0.0) != down:
            continue
        one, other = _at_row(x, dy, a, ground.num_columns), _at_row(x, dy, b, ground.num_columns)
        low, high = min(one, other), max(one, other)
        for column in range(max(int(np.ceil(low - 0.5)), 0), min(int(np.ceil(high - 0.5)), ground.num_columns)):
            if not open_cells[row, column]:
                continue
            if wall >= 0:
                outside = (column + 0.5 - wx) * nx + (row + 0.5 - wy) * ny
                if outside < (-_SLACK if buried[row, column] else 0.0):
                    continue
            cells[count] = row * ground.num_columns + column
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def cells_in_sight(ground, x, y, open_cells, buried, cells):
    """Write the flat indices of the ``open_cells`` (H, W) bool seen from (x, y) to ``cells``; returns their number."""
    x, y = x + _NUDGE_X, y + _NUDGE_Y
    rays = _directions(ground.segments, x, y)
    limit = 2.0 * (ground.num_rows + ground.num_columns)
    count, since, wall = 0, 0, -2
    for index in range(len(rays) - 1):
        dx, dy = rays[index, 0] + rays[index + 1, 0], rays[index, 1] + rays[index + 1, 1]
        size = np.sqrt(dx * dx + dy * dy)
        if abs(rays[index, 0] * rays[index + 1, 1] - rays[index, 1] * rays[index + 1, 0]) < 1e-12:
            continue
        ahead, _ = first_wall(
            ground.segments, ground.starts, ground.items, ground.num_rows, ground.num_columns,
            x, y, dx / size, dy / size, limit,
        )  # fmt: skip
        on_axis = rays[index, 0] == 0.0 or rays[index, 1] == 0.0
        if ahead != wall or on_axis:
            if wall > -2:
                count = _fill(ground, wall, x, y, rays[since], rays[index], open_cells, buried, cells, count)
            since, wall = index, ahead
    return _fill(ground, wall, x, y, rays[since], rays[-1], open_cells, buried, cells, count)


@njit(cache=True, nogil=True, error_model="numpy")
def sees(ground, x, y, to_x, to_y):
    """Whether no wall crosses the straight line between two points."""
    dx, dy = to_x - x, to_y - y
    distance = np.sqrt(dx * dx + dy * dy)
    if distance < 1e-9:
        return True
    wall, at = first_wall(
        ground.segments, ground.starts, ground.items, ground.num_rows, ground.num_columns,
        x, y, dx / distance, dy / distance, distance,
    )  # fmt: skip
    return wall < 0 or at >= distance


@njit(cache=True, nogil=True, error_model="numpy")
def corners_in_sight(ground, x, y):
    """Arrivals (M, 6) of the direct rays from (x, y) at the corners that it sees."""
    arrivals = np.empty((len(ground.corners), NUM_FIELDS))
    num = 0
    for index in range(len(ground.corners)):
        to_x, to_y = ground.corners[index, 2], ground.corners[index, 3]
        length = np.sqrt((to_x - x) ** 2 + (to_y - y) ** 2)
        if length < 1e-6 or not sees(ground, x, y, to_x, to_y):
            continue
        arrivals[num, CORNER], arrivals[num, POWER], arrivals[num, LENGTH] = index, 1.0, length
        arrivals[num, ANGLE], arrivals[num, BOUNCES] = np.arctan2(y - to_y, x - to_x), 0
        arrivals[num, INSIDE] = length_inside(ground.vehicle, y, x, to_y, to_x)
        num += 1
    return arrivals[:num]


@njit(cache=True, nogil=True, error_model="numpy")
def _light(ground, edge, sources, tables, cells, diffracted):
    """Add what one corner sends straight to the cells it sees, at their centres."""
    for cell in cells:
        row, column = cell // ground.num_columns, cell % ground.num_columns
        dx, dy = column + 0.5 - edge[2], row + 0.5 - edge[3]
        length = np.sqrt(dx * dx + dy * dy)
        turn = (edge[4] - np.arctan2(dy, dx)) % (2.0 * np.pi)
        inside = length_inside(ground.vehicle, edge[3], edge[2], row + 0.5, column + 0.5)
        for index in range(len(sources)):
            total = max(length + sources[index, LENGTH], ground.metre)
            if sources[index, POWER] < ground.weakest * total * total:
                continue
            share = tabled_share(
                turn, sources[index, ANGLE], edge[5], length, sources[index, LENGTH], ground.wavenumber, ground.gamma,
                tables[0, index], tables[1, index],
            )  # fmt: skip
            power = sources[index, POWER] * min(share * total * total, 1.0)
            if ground.vehicle.size > 0:
                power *= np.exp(-min(ground.vehicle_rate * (inside + sources[index, INSIDE]), ground.vehicle_limit))
            diffracted[cell] += power / (total * total + ground.rise2)


@njit(cache=True, nogil=True, error_model="numpy")
def light_corners(ground, arrivals, offsets, num_rays, max_interactions, open_cells, buried, reflected, diffracted):
    """What all corners send: straight to cells into ``diffracted``, after reflections into ``reflected``, both (H·W).

    ``arrivals`` (M, 6) sorted by corner; ``offsets`` (K,) in [0, 1): of each corner's fan.
    """
    cells = np.empty(open_cells.size, np.int64)
    begin = 0
    while begin < len(arrivals):
        corner = int(arrivals[begin, CORNER])
        end = begin
        while end < len(arrivals) and int(arrivals[end, CORNER]) == corner:
            end += 1
        edge, sources = ground.corners[corner], arrivals[begin:end].copy()
        begin = end
        tables = np.empty((2, len(sources), _ANGLES))
        sources[:, ANGLE] = (edge[4] - sources[:, ANGLE]) % (2.0 * np.pi)  # from the face on
        for index in range(len(sources)):
            far_pattern(sources[index, ANGLE], edge[5], ground.gamma, tables[0, index], tables[1, index])
        seen = cells[: cells_in_sight(ground, edge[2], edge[3], open_cells, buried, cells)]
        _light(ground, edge, sources, tables, seen, diffracted)
        fan_of_corner(ground, edge, sources, tables, offsets[corner], num_rays, max_interactions, reflected)
