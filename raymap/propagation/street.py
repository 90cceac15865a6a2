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

# The fields of a label: length [m], sum of bend losses [dB], arrival direction [cells], length inside vehicles [m].
LENGTH, LOSS, D_ROW, D_COLUMN, VEHICLE, NUM_FIELDS = 0, 1, 2, 3, 4, 5
_MAX_TIES = 4


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
def straight_vehicle_m(vehicle, lit, row, column, cell_m):
    """Length [m] inside vehicles of the straight line from the transmitter to every ``lit`` cell, (H, W) float64."""
    inside_m = np.zeros(lit.shape)
    for r in range(lit.shape[0]):
        for c in range(lit.shape[1]):
            if lit[r, c]:
                inside_m[r, c] = cell_m * length_inside(vehicle, row, column, r + 0.5, c + 0.5)
    return inside_m


@njit(cache=True, nogil=True)
def _neighbours(blocked, corners):
    """Corners in sight of each corner: (K, K) int64, filled from the left, and their numbers (K,) int64."""
    num = len(corners)
    neighbours = np.empty((num, num), np.int64)
    counts = np.zeros(num, np.int64)
    for i in range(num):
        for j in range(i + 1, num):
            if corners[i, 0] == corners[j, 0] and corners[i, 1] == corners[j, 1]:
                continue
            if segment_clear(blocked, corners[i, 0], corners[i, 1], corners[j, 0], corners[j, 1]):
                neighbours[i, counts[i]] = j
                neighbours[j, counts[j]] = i
                counts[i] += 1
                counts[j] += 1
    return neighbours, counts


@njit(cache=True, nogil=True)
def _start(blocked, vehicle, corners, row, column, cell_m, labels, counts):
    """Give the corners that the transmitter itself sees their first label."""
    for j in range(len(corners)):
        d_row, d_column = corners[j, 0] - row, corners[j, 1] - column
        if (d_row == 0.0 and d_column == 0.0) or not segment_clear(blocked, row, column, corners[j, 0], corners[j, 1]):
            continue
        labels[j, 0, LENGTH] = cell_m * np.sqrt(d_row * d_row + d_column * d_column)
        labels[j, 0, D_ROW], labels[j, 0, D_COLUMN] = d_row, d_column
        labels[j, 0, VEHICLE] = cell_m * length_inside(vehicle, row, column, corners[j, 0], corners[j, 1])
        counts[j] = 1


@njit(cache=True, nogil=True)
def _relax(corners, neighbours, num_neighbours, labels, counts, fresh, cell_m, slope, table_db, best, now, num_now):
    """Extend the ``fresh`` last labels of every corner by one bend; the best per corner and its ties go to ``now``."""
    for i in range(len(corners)):
        for index in range(counts[i] - fresh[i], counts[i]):
            source_m, source_db = labels[i, index, LENGTH], labels[i, index, LOSS]
            in_row, in_column = labels[i, index, D_ROW], labels[i, index, D_COLUMN]
            for j in neighbours[i, : num_neighbours[i]]:
                d_row, d_column = corners[j, 0] - corners[i, 0], corners[j, 1] - corners[i, 1]
                length_m = source_m + cell_m * np.sqrt(d_row * d_row + d_column * d_column)
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
                    num_now[j] += 1


@njit(cache=True, nogil=True)
def _never_wins(label, labels, count, slope, table_db):
    """Whether a label is worse than one of ``labels`` (M, 5) of the same corner for every continuation.

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
            row, column = corners[j, 0], corners[j, 1]
            label[VEHICLE] += cell_m * length_inside(vehicle, row - label[D_ROW], column - label[D_COLUMN], row, column)
            labels[j, counts[j]] = label
            counts[j] += 1
        fresh[j] = counts[j] - known


@njit(cache=True, nogil=True)
def corner_labels(blocked, vehicle, corners, row, column, cell_m, slope, table_db, max_bends, ceiling_db):
    """The labels worth keeping of all corners (K, 2): (K, M, 5) float64, and their numbers (K,) int64.

    ``slope`` = 10·n; ``table_db``: loss per bend at 0, 1, ..., 180, 180 degrees, then its steepest slope [dB/deg];
    paths with more than ``max_bends`` bends or a cost above ``ceiling_db`` are not followed.
    """
    num = len(corners)
    labels = np.zeros((num, _MAX_TIES * max_bends, NUM_FIELDS))
    counts = np.zeros(num, np.int64)
    neighbours, num_neighbours = _neighbours(blocked, corners)
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
def _light(vehicle, row, column, cells, labels, best_db, lit, cell_m, slope, table_db, cost_db, vehicle_m):
    """Offer the paths that end at one corner, ``labels`` (M, 5), to the cells it sees."""
    for cell in cells:
        r, c = cell // lit.shape[1], cell % lit.shape[1]
        if lit[r, c] or best_db + table_db[0] > cost_db[r, c]:
            continue
        d_row, d_column = r + 0.5 - row, c + 0.5 - column
        distance_m = cell_m * np.sqrt(d_row * d_row + d_column * d_column)
        for index in range(len(labels)):
            cost = slope * np.log10(labels[index, LENGTH] + distance_m) + labels[index, LOSS]
            if cost + table_db[0] > cost_db[r, c]:
                continue
            cost += bend_loss_db(bend_deg(labels[index, D_ROW], labels[index, D_COLUMN], d_row, d_column), table_db)
            if cost > cost_db[r, c]:
                continue
            inside_m = labels[index, VEHICLE]
            if vehicle.size > 0:
                inside_m += cell_m * length_inside(vehicle, row, column, r + 0.5, c + 0.5)
            if cost < cost_db[r, c] or inside_m < vehicle_m[r, c]:
                vehicle_m[r, c] = inside_m
            cost_db[r, c] = cost


@njit(cache=True, nogil=True)
def street_cost(blocked, vehicle, corners, labels, counts, lit, cell_m, slope, table_db, ceiling_db):
    """Cost [dB] of the best street path to every cell and its length inside vehicles [m], both (H, W) float64.

    ``lit`` (H, W) bool: cells that need no street path. Where no path exists the cost is ``ceiling_db``. Of equally
    good paths the one with less vehicle counts.
    """
    cost_db = np.full(blocked.shape, ceiling_db)
    vehicle_m = np.zeros(blocked.shape)
    cells = np.empty(blocked.size, np.int64)
    best_db = np.full(len(corners), ceiling_db)
    for i in range(len(corners)):
        for index in range(counts[i]):
            best_db[i] = min(best_db[i], slope * np.log10(labels[i, index, LENGTH]) + labels[i, index, LOSS])
    for i in np.argsort(best_db):  # good corners first: most cells then refuse the others at a glance
        if counts[i] == 0:
            continue
        row, column = corners[i, 0], corners[i, 1]
        seen = cells[: visible_cells(blocked, row, column, cells)]
        _light(
            vehicle, row, column, seen, labels[i, : counts[i]], best_db[i], lit, cell_m, slope, table_db,
            cost_db, vehicle_m,
        )  # fmt: skip
    return cost_db, vehicle_m
