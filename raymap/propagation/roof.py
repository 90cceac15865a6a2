"""The over-roof path: the taut string over the buildings in the vertical plane. Kernels of `dominant_path`."""

from __future__ import annotations

import numpy as np
from numba import njit

from raymap.physics.visibility import walk
from raymap.propagation.street import bend_loss_db


@njit(cache=True, nogil=True)
def _add_point(hull, count, along, height):
    """Append a point to an upper convex hull (n, 2) of (distance, height); returns the new number of points."""
    while count >= 2:
        rise, run = hull[count - 1, 1] - hull[count - 2, 1], hull[count - 1, 0] - hull[count - 2, 0]
        if rise * (along - hull[count - 2, 0]) > (height - hull[count - 2, 1]) * run:
            break
        count -= 1
    hull[count, 0], hull[count, 1] = along, height
    return count + 1


@njit(cache=True, nogil=True)
def _hull_of_profile(height_m, rows, columns, times, num, distance_m, from_m, to_m, hull):
    """Upper hull of the heights under a walk of ``num`` cells, between both ends; returns its number of points.

    A point is added wherever the height changes, at the higher of both cells. Through a lattice point between two
    buildings the lower one has to be passed, as `visibility.segment_clear` sees it.
    """
    hull[0, 0], hull[0, 1] = 0.0, from_m
    count = 1
    before = height_m[rows[0], columns[0]]
    for index in range(1, num):
        row, column = rows[index], columns[index]
        here = height_m[row, column]
        squeeze = 0.0
        if row != rows[index - 1] and column != columns[index - 1]:
            squeeze = min(height_m[row, columns[index - 1]], height_m[rows[index - 1], column])
        if here != before or squeeze > here:
            count = _add_point(hull, count, times[index] * distance_m, max(here, before, squeeze))
        before = here
    return _add_point(hull, count, distance_m, to_m)


@njit(cache=True, nogil=True)
def _length_and_bends(hull, count, table_db):
    """Length [m] of a string over ``count`` points and the sum of the losses [dB] at its bends."""
    length_m, bends_db, before_deg = 0.0, 0.0, 0.0
    for index in range(1, count):
        run, rise = hull[index, 0] - hull[index - 1, 0], hull[index, 1] - hull[index - 1, 1]
        length_m += np.sqrt(run * run + rise * rise)
        slope_deg = np.degrees(np.arctan2(rise, run))
        if index > 1:
            bends_db += bend_loss_db(abs(before_deg - slope_deg), table_db)
        before_deg = slope_deg
    return length_m, bends_db


@njit(cache=True, nogil=True)
def roof_cost(height_m, wanted, row, column, cell_m, from_m, to_m, slope, table_db, credit_db):
    """Cost [dB], the loss without PL(1 m), of the path over the roofs to the ``wanted`` cells, (H, W) float64.

    slope·log10 L + Σ wr(φ) − credit over the bends of the string, with L its length in space, but never below
    slope·log10 d of the horizontal distance d; without any bend exactly that. Infinite elsewhere.
    """
    cost_db = np.full(height_m.shape, np.inf)
    room = height_m.shape[0] + height_m.shape[1]
    rows, columns, times = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room)
    hull = np.empty((room + 1, 2))
    for r in range(height_m.shape[0]):
        for c in range(height_m.shape[1]):
            if not wanted[r, c]:
                continue
            d_row, d_column = r + 0.5 - row, c + 0.5 - column
            distance_m = cell_m * np.sqrt(d_row * d_row + d_column * d_column)
            num = walk(row, column, r + 0.5, c + 0.5, rows, columns, times)
            count = _hull_of_profile(height_m, rows, columns, times, num, distance_m, from_m, to_m, hull)
            cost_db[r, c] = slope * np.log10(max(distance_m, 1.0))
            if count > 2:
                length_m, bends_db = _length_and_bends(hull, count, table_db)
                cost_db[r, c] = max(cost_db[r, c], slope * np.log10(max(length_m, 1.0)) + bends_db - credit_db)
    return cost_db
