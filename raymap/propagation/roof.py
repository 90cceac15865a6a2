"""The over-roof path: the taut string over the buildings in the vertical plane. Kernels of `dominant_path`."""

from __future__ import annotations

import numpy as np
from numba import njit

from raymap.physics.visibility import first_cell
from raymap.propagation.street import add_knots, bend_loss_db


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
def _hull_of_profile(height_m, row0, column0, row1, column1, distance_m, from_m, to_m, hull):
    """Upper hull of the heights under a segment, between both ends; returns its number of points.

    The walk is `visibility.walk`, here without writing down the cells, most of which change nothing. A point is added
    wherever the height changes, at the higher of both cells. Through a lattice point between two buildings the lower
    one has to be passed, as `visibility.segment_clear` sees it.
    """
    d_row, d_column = row1 - row0, column1 - column0
    row, column = first_cell(row0, d_row), first_cell(column0, d_column)
    last_row, last_column = first_cell(row1, -d_row), first_cell(column1, -d_column)
    step_row, step_column = (1 if d_row >= 0 else -1), (1 if d_column >= 0 else -1)
    grow_row = abs(d_column) if d_column != 0.0 else 1.0
    grow_column = abs(d_row) if d_row != 0.0 else 1.0
    next_row = ((row + 1) - row0 if d_row >= 0 else row0 - row) * grow_row
    next_column = ((column + 1) - column0 if d_column >= 0 else column0 - column) * grow_column
    hull[0, 0], hull[0, 1] = 0.0, from_m
    count = 1
    before = height_m[row, column]
    while row != last_row or column != last_column:
        move_row = row != last_row and (column == last_column or next_row <= next_column)
        move_column = column != last_column and (row == last_row or next_column <= next_row)
        reached = next_row if move_row else next_column
        squeeze = 0.0
        if move_row and move_column:
            squeeze = min(height_m[row + step_row, column], height_m[row, column + step_column])
        if move_row:
            row += step_row
            next_row += grow_row
        if move_column:
            column += step_column
            next_column += grow_column
        here = height_m[row, column]
        if here != before or squeeze > here:
            along_m = reached / (grow_row * grow_column) * distance_m
            count = _add_point(hull, count, along_m, max(here, before, squeeze))
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
    hull = np.empty((room + 1, 2))
    for r in range(height_m.shape[0]):
        for c in range(height_m.shape[1]):
            if not wanted[r, c]:
                continue
            d_row, d_column = r + 0.5 - row, c + 0.5 - column
            distance_m = cell_m * np.sqrt(d_row * d_row + d_column * d_column)
            count = _hull_of_profile(height_m, row, column, r + 0.5, c + 0.5, distance_m, from_m, to_m, hull)
            cost_db[r, c] = slope * np.log10(max(distance_m, 1.0))
            if count > 2:
                length_m, bends_db = _length_and_bends(hull, count, table_db)
                cost_db[r, c] = max(cost_db[r, c], slope * np.log10(max(length_m, 1.0)) + bends_db - credit_db)
    return cost_db


@njit(cache=True, nogil=True)
def roof_terms(height_m, wanted, row, column, cell_m, from_m, to_m, knots_deg):
    """What the cost of the path over the roofs is made of, as `street.street_terms` has it for the street.

    Returns the length in space [m], (H, W) float64, 0 elsewhere and without any bend, and the weights of a table at
    ``knots_deg`` (N,), (H, W, N) float64.
    """
    length_m = np.zeros(height_m.shape)
    weights = np.zeros((*height_m.shape, len(knots_deg)))
    room = height_m.shape[0] + height_m.shape[1]
    hull = np.empty((room + 1, 2))
    for r in range(height_m.shape[0]):
        for c in range(height_m.shape[1]):
            if not wanted[r, c]:
                continue
            d_row, d_column = r + 0.5 - row, c + 0.5 - column
            distance_m = cell_m * np.sqrt(d_row * d_row + d_column * d_column)
            count = _hull_of_profile(height_m, row, column, r + 0.5, c + 0.5, distance_m, from_m, to_m, hull)
            before_deg = 0.0
            for index in range(1, count if count > 2 else 0):
                run, rise = hull[index, 0] - hull[index - 1, 0], hull[index, 1] - hull[index - 1, 1]
                length_m[r, c] += np.sqrt(run * run + rise * rise)
                slope_deg = np.degrees(np.arctan2(rise, run))
                if index > 1:
                    add_knots(abs(before_deg - slope_deg), knots_deg, weights[r, c])
                before_deg = slope_deg
    return length_m, weights
