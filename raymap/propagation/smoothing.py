"""The median by which a simulator smooths its map before it writes it down."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def outdoor_median(gain_db, outdoor, reach):
    """Every outdoor cell becomes the median of the outdoor cells at most ``reach`` cells away in either direction.

    ``gain_db`` (H, W) float64, ``outdoor`` (H, W) bool; returns a new (H, W) float64. Of an even number the higher of
    the two middle values counts. Other cells keep theirs and never count. Turns and mirrors with its input exactly.
    """
    num_rows, num_columns = gain_db.shape
    smooth_db = gain_db.copy()
    near_db = np.empty((2 * reach + 1) ** 2)
    for row in range(num_rows):
        for column in range(num_columns):
            if not outdoor[row, column]:
                continue
            count = 0
            for r in range(max(row - reach, 0), min(row + reach + 1, num_rows)):
                for c in range(max(column - reach, 0), min(column + reach + 1, num_columns)):
                    if not outdoor[r, c]:
                        continue
                    value, place = gain_db[r, c], count
                    while place > 0 and near_db[place - 1] > value:
                        near_db[place] = near_db[place - 1]
                        place -= 1
                    near_db[place] = value
                    count += 1
            smooth_db[row, column] = near_db[count // 2]
    return smooth_db
