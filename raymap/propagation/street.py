"""The street path: from the transmitter around building corners, in the plane. Kernels of `dominant_path`.

A path has a length L, a sum W of diffraction losses and an arrival direction; its cost, the loss without the constant,
is 10·n·log10 L + W. That is not additive, so no shortest-path search applies: labels are relaxed by number of bends,
the best label per corner and number is kept (ties as well, up to four, for exact symmetry), and labels that can never
win again are dropped. Positions are (row, column) in cells, lengths in metres, losses in dB.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from raymap.physics.visibility import segment_clear, visible_cells, walk

# The fields of a label: length [m], sum of bend losses [dB], arrival direction [cells], length inside vehicles [m], and
# the label it came from as corner·M + index, -1 from the transmitter itself.
LENGTH, LOSS, D_ROW, D_COLUMN, VEHICLE, PARENT, NUM_FIELDS = 0, 1, 2, 3, 4, 5, 6
_MAX_TIES = 4
#: Sine of the angle by which walls taken from a raster may lie on the wrong side of a path that passes them.
_WALL_SLACK = 0.2


@njit(cache=True, nogil=True)
def bend_deg(in_row, in_column, out_row, out_column):
    """Angle [deg] in [0, 180] between two directions; 0 if one of them is zero."""
    cross = in_row * out_column - in_column * out_row
    dot = in_row * out_row + in_column * out_column
    return np.degrees(np.arctan2(abs(cross), dot))


@njit(cache=True, nogil=True)
def bend_loss_db(angle_deg, table_db):
    """Loss [dB] at an angle [deg] in [0, 180], linear in a table at 0, 1, ..., 180, 180 degrees."""
    index = int(angle_deg)
    return table_db[index] + (angle_deg - index) * (table_db[index + 1] - table_db[index])


@njit(cache=True, nogil=True)
def length_inside(mask, row0, column0, row1, column1):
    """Length [cells] of a segment inside the True cells of ``mask`` (H, W) bool; an empty mask means none."""
    if mask.size == 0:
        return 0.0
    room = mask.shape[0] + mask.shape[1]
    rows, columns, times = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room + 1, np.float64)
    count = walk(row0, column0, row1, column1, rows, columns, times)
    times[count] = 1.0
    inside = 0.0
    for index in range(count):
        if mask[rows[index], columns[index]]:
            inside += times[index + 1] - times[index]
    d_row, d_column = row1 - row0, column1 - column0
    return inside * np.sqrt(d_row * d_row + d_column * d_column)


@njit(cache=True, nogil=True)
def passing_side(corner, d_row, d_column, size):
    """On which side a line through a ``corner`` (8,) with direction (d_row, d_column) of length ``size`` passes it.

    1 and 2: both walls lie on one side of the line or on the other, within `_WALL_SLACK`; 3: either, 0: the line runs
    into the building. A taut string that bends at the corner passes it on the same side before and after.
    """
    one = d_row * corner[5] - d_column * corner[4]
    other = d_row * corner[7] - d_column * corner[6]
    slack = _WALL_SLACK * size
    side = 0
    if one >= -slack and other >= -slack:
        side += 1
    if one <= slack and other <= slack:
        side += 2
    return side


@njit(cache=True, nogil=True)
def straight_vehicle_m(vehicle, lit, row, column, cell_m):
    """Length [m] inside vehicles of the straight line from the transmitter to every ``lit`` cell, (H, W) float64."""
    inside_m = np.zeros(lit.shape)
    for r in range(lit.shape[0]):
        for c in range(lit.shape[1]):
            if lit[r, c]:
                inside_m[r, c] = cell_m * length_inside(vehicle, row, column, r + 0.5, c + 0.5)
    return inside_m


@njit(cache=True, nogil=True)
def corners_in_sight(blocked, corners):
    """Corners in sight of each of (K, 8): (K, K) int32, filled from the left, and their numbers (K,) int64.

    Only pairs whose line passes both without running into either building: no taut path uses another.
    """
    num = len(corners)
    seen = np.empty((num, num), np.int32)
    counts = np.zeros(num, np.int64)
    for i in range(num):
        for j in range(i + 1, num):
            if corners[i, 0] == corners[j, 0] and corners[i, 1] == corners[j, 1]:
                continue
            d_row, d_column = corners[j, 2] - corners[i, 2], corners[j, 3] - corners[i, 3]
            size = np.sqrt(d_row * d_row + d_column * d_column)
            if passing_side(corners[i], d_row, d_column, size) == 0:
                continue
            if passing_side(corners[j], d_row, d_column, size) == 0:
                continue
            if segment_clear(blocked, corners[i, 0], corners[i, 1], corners[j, 0], corners[j, 1]):
                seen[i, counts[i]] = j
                seen[j, counts[j]] = i
                counts[i] += 1
                counts[j] += 1
    return seen, counts


@njit(cache=True, nogil=True)
def _start(blocked, vehicle, corners, row, column, cell_m, labels, counts):
    """Give the corners that the transmitter itself sees their first label."""
    for j in range(len(corners)):
        d_row, d_column = corners[j, 2] - row, corners[j, 3] - column
        if (d_row == 0.0 and d_column == 0.0) or not segment_clear(blocked, row, column, corners[j, 0], corners[j, 1]):
            continue
        size = np.sqrt(d_row * d_row + d_column * d_column)
        if passing_side(corners[j], d_row, d_column, size) == 0:
            continue
        labels[j, 0, LENGTH] = cell_m * size
        labels[j, 0, D_ROW], labels[j, 0, D_COLUMN] = d_row, d_column
        labels[j, 0, VEHICLE] = cell_m * length_inside(vehicle, row, column, corners[j, 0], corners[j, 1])
        labels[j, 0, PARENT] = -1.0
        counts[j] = 1


@njit(cache=True, nogil=True)
def _relax(corners, neighbours, num_neighbours, labels, counts, fresh, cell_m, slope, table_db, best, now, num_now):
    """Extend the ``fresh`` last labels of every corner by one bend; the best per corner and its ties go to ``now``."""
    for i in range(len(corners)):
        for index in range(counts[i] - fresh[i], counts[i]):
            source_m, source_db = labels[i, index, LENGTH], labels[i, index, LOSS]
            in_row, in_column = labels[i, index, D_ROW], labels[i, index, D_COLUMN]
            side = passing_side(corners[i], in_row, in_column, np.sqrt(in_row * in_row + in_column * in_column))
            for j in neighbours[i, : num_neighbours[i]]:
                d_row, d_column = corners[j, 2] - corners[i, 2], corners[j, 3] - corners[i, 3]
                size = np.sqrt(d_row * d_row + d_column * d_column)
                if passing_side(corners[i], d_row, d_column, size) & side == 0:
                    continue
                length_m = source_m + cell_m * size
                length_db = slope * np.log10(length_m)
                if length_db + source_db + table_db[0] > best[j]:
                    continue
                loss_db = source_db + bend_loss_db(bend_deg(in_row, in_column, d_row, d_column), table_db)
                if length_db + loss_db < best[j]:
                    best[j] = length_db + loss_db
                    num_now[j] = 0
                if length_db + loss_db == best[j] and num_now[j] < _MAX_TIES:
                    now[j, num_now[j], LENGTH], now[j, num_now[j], LOSS] = length_m, loss_db
                    now[j, num_now[j], D_ROW], now[j, num_now[j], D_COLUMN] = d_row, d_column
                    now[j, num_now[j], VEHICLE] = labels[i, index, VEHICLE]
                    now[j, num_now[j], PARENT] = i * labels.shape[1] + index
                    num_now[j] += 1


@njit(cache=True, nogil=True)
def _never_wins(label, labels, count, slope, table_db):
    """Whether a label is worse than one of ``labels`` (M, 6) of the same corner for every continuation.

    Two arrivals that differ by an angle δ differ by at most steepest·δ (and at most w(180°) − w(0)) in their next
    bend, and the lead of the shorter in 10·n·log10(L + d) is largest at d = 0 and gone at d = ∞: both ends are checked.
    """
    for index in range(count):
        angle_deg = bend_deg(label[D_ROW], label[D_COLUMN], labels[index, D_ROW], labels[index, D_COLUMN])
        margin_db = min(table_db[180] - table_db[0], table_db[-1] * angle_deg)
        behind_db = label[LOSS] - labels[index, LOSS]
        if behind_db > margin_db and behind_db + slope * np.log10(label[LENGTH] / labels[index, LENGTH]) > margin_db:
            return True
    return False


@njit(cache=True, nogil=True)
def _adopt(vehicle, corners, cell_m, slope, table_db, now, num_now, labels, counts, fresh):
    """Append the new labels that may still win to ``labels``; ``fresh`` becomes their number per corner."""
    for j in range(len(corners)):
        known = counts[j]
        for index in range(num_now[j]):
            label = now[j, index]
            if _never_wins(label, labels[j], known, slope, table_db):
                continue
            i = int(label[PARENT]) // labels.shape[1]
            label[VEHICLE] += cell_m * length_inside(
                vehicle, corners[i, 0], corners[i, 1], corners[j, 0], corners[j, 1]
            )
            labels[j, counts[j]] = label
            counts[j] += 1
        fresh[j] = counts[j] - known


@njit(cache=True, nogil=True)
def corner_labels(
    blocked, vehicle, corners, neighbours, num_neighbours, row, column, cell_m, slope, table_db, max_bends, ceiling_db
):
    """The labels worth keeping of all corners (K, 8): (K, M, 6) float64, and their numbers (K,) int64.

    ``corners`` come from `corners.convex_corners`, ``neighbours`` and ``num_neighbours`` from `corners_in_sight`;
    ``slope`` = 10·n; ``table_db``: loss per bend at 0, 1, ..., 180, 180 degrees, then its steepest slope [dB/deg];
    paths with more than ``max_bends`` bends or a cost above ``ceiling_db`` are not followed.
    """
    num = len(corners)
    labels = np.zeros((num, _MAX_TIES * max_bends, NUM_FIELDS))
    counts = np.zeros(num, np.int64)
    _start(blocked, vehicle, corners, row, column, cell_m, labels, counts)
    fresh = counts.copy()
    now = np.empty((num, _MAX_TIES, NUM_FIELDS))
    for _ in range(max_bends - 1):
        best = np.full(num, ceiling_db)
        num_now = np.zeros(num, np.int64)
        _relax(corners, neighbours, num_neighbours, labels, counts, fresh, cell_m, slope, table_db, best, now, num_now)
        _adopt(vehicle, corners, cell_m, slope, table_db, now, num_now, labels, counts, fresh)
        if fresh.sum() == 0:
            break
    return labels, counts


@njit(cache=True, nogil=True)
def _vehicle_to_cell(vehicle, corners, labels, choice, r, c, cell_m):
    """Length [m] inside vehicles of the path to a cell that ends with label ``choice`` = corner·M + index."""
    corner, index = choice // labels.shape[1], choice % labels.shape[1]
    last = length_inside(vehicle, corners[corner, 0], corners[corner, 1], r + 0.5, c + 0.5)
    return labels[corner, index, VEHICLE] + cell_m * last


@njit(cache=True, nogil=True)
def _light(vehicle, corners, i, cells, all_labels, count, best_db, lit, cell_m, slope, table_db, cost_db, choice):
    """Offer the ``count`` paths that end at corner ``i`` to the cells it sees."""
    corner, labels, first = corners[i], all_labels[i, :count], i * all_labels.shape[1]
    costs_db, in_sight, width = cost_db.ravel(), lit.ravel(), lit.shape[1]
    sides = np.empty(len(labels), np.int64)
    for index in range(len(labels)):
        d_row, d_column = labels[index, D_ROW], labels[index, D_COLUMN]
        sides[index] = passing_side(corner, d_row, d_column, np.sqrt(d_row * d_row + d_column * d_column))
    for cell in cells:
        if in_sight[cell] or best_db + table_db[0] > costs_db[cell]:
            continue
        r = cell // width
        c = cell - r * width
        d_row, d_column = r + 0.5 - corner[2], c + 0.5 - corner[3]
        size = np.sqrt(d_row * d_row + d_column * d_column)
        side = passing_side(corner, d_row, d_column, size)
        distance_m = cell_m * size
        for index in range(len(labels)):
            if side & sides[index] == 0:
                continue
            cost = slope * np.log10(labels[index, LENGTH] + distance_m) + labels[index, LOSS]
            if cost + table_db[0] > cost_db[r, c]:
                continue
            cost += bend_loss_db(bend_deg(labels[index, D_ROW], labels[index, D_COLUMN], d_row, d_column), table_db)
            if cost > cost_db[r, c]:
                continue
            if cost == cost_db[r, c]:
                if vehicle.size == 0 or choice[r, c] < 0:
                    continue
                held_m = _vehicle_to_cell(vehicle, corners, all_labels, choice[r, c], r, c, cell_m)
                if _vehicle_to_cell(vehicle, corners, all_labels, first + index, r, c, cell_m) >= held_m:
                    continue
            choice[r, c] = first + index
            cost_db[r, c] = cost


@njit(cache=True, nogil=True)
def street_cost(blocked, vehicle, corners, labels, counts, lit, cell_m, slope, table_db, ceiling_db):
    """Cost [dB] of the best street path to every cell, its length inside vehicles [m], both (H, W) float64; its label.

    ``lit`` (H, W) bool: cells that need no street path. Where no path exists the cost is ``ceiling_db`` and the label,
    (H, W) int64 of corner·M + index, is -1. Of equally good paths the one with less vehicle counts.
    """
    cost_db = np.full(blocked.shape, ceiling_db)
    vehicle_m = np.zeros(blocked.shape)
    choice = np.full(blocked.shape, -1, np.int64)
    cells = np.empty(blocked.size, np.int64)
    best_db = np.full(len(corners), ceiling_db)
    for i in range(len(corners)):
        for index in range(counts[i]):
            best_db[i] = min(best_db[i], slope * np.log10(labels[i, index, LENGTH]) + labels[i, index, LOSS])
    for i in np.argsort(best_db):  # good corners first: most cells then refuse the others at a glance
        if counts[i] == 0:
            continue
        seen = cells[: visible_cells(blocked, corners[i, 0], corners[i, 1], cells)]
        _light(vehicle, corners, i, seen, labels, counts[i], best_db[i], lit, cell_m, slope, table_db, cost_db, choice)
    if vehicle.size > 0:
        for r in range(blocked.shape[0]):
            for c in range(blocked.shape[1]):
                if choice[r, c] >= 0:
                    vehicle_m[r, c] = _vehicle_to_cell(vehicle, corners, labels, choice[r, c], r, c, cell_m)
    return cost_db, vehicle_m, choice


@njit(cache=True, nogil=True)
def add_knots(angle_deg, knots_deg, weights):
    """Add to ``weights`` (N,) how much of each entry of a table at ``knots_deg`` (N,) the loss at an angle takes."""
    last = len(knots_deg) - 1
    upper = 1
    while upper < last and knots_deg[upper] < angle_deg:
        upper += 1
    share = min((angle_deg - knots_deg[upper - 1]) / (knots_deg[upper] - knots_deg[upper - 1]), 1.0)
    weights[upper - 1] += 1.0 - share
    weights[upper] += share


@njit(cache=True, nogil=True)
def street_terms(corners, labels, choice, cell_m, knots_deg):
    """What the cost of each cell's best street path is made of, following its ``choice`` back to the transmitter.

    Returns its length [m], (H, W) float64, 0 without a path, and the sum over its bends of the weights of a table at
    ``knots_deg`` (N,), (H, W, N) float64, so that its loss is slope·log10 L + weights · table.
    """
    length_m = np.zeros(choice.shape)
    weights = np.zeros((*choice.shape, len(knots_deg)))
    num_labels = labels.shape[1]
    for r in range(choice.shape[0]):
        for c in range(choice.shape[1]):
            if choice[r, c] < 0:
                continue
            here = choice[r, c]
            corner = here // num_labels
            out_row, out_column = r + 0.5 - corners[corner, 2], c + 0.5 - corners[corner, 3]
            distance_m = cell_m * np.sqrt(out_row * out_row + out_column * out_column)
            length_m[r, c] = labels[corner, here % num_labels, LENGTH] + distance_m
            while here >= 0:
                label = labels[here // num_labels, here % num_labels]
                angle_deg = bend_deg(label[D_ROW], label[D_COLUMN], out_row, out_column)
                add_knots(angle_deg, knots_deg, weights[r, c])
                out_row, out_column = label[D_ROW], label[D_COLUMN]
                here = int(label[PARENT])
    return length_m, weights
