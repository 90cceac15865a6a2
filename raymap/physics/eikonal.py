"""How far a wave front travels: the eikonal equation |∇τ| = n on a grid of open and built cells.

The eikonal equation is what the Helmholtz equation leaves of the phase at high frequency (Born & Wolf, *Principles of
Optics*, §3.1): its solution is the length of the quickest way, cells of a building counted n times. With n infinite
that is the shortest way through the streets; with n small, walls are crossed where they are thin, which finds the
passages that a coarse grid has closed. How much longer than the straight line the way is tells how far a wave goes
around corners. It is geometry alone, with neither a loss per bend nor a way over the roofs, hence not the dominant
path itself.

Solved by fast sweeping (Zhao, "A fast sweeping method for eikonal equations", Math. Comp. 74, 2005) from the exact
lengths in line of sight.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from raymap.physics.visibility import line_of_sight, snap

#: Sweeps end when no cell's length shrinks by more than this [cells].
_TOLERANCE_CELLS = 1e-3


def travel_m(blocked: np.ndarray, row_col: tuple[float, float], cell_m: float, *, index: float = np.inf) -> np.ndarray:
    """Length of the quickest way from a position to every cell's centre [m], blocked cells counted ``index`` times.

    ``blocked``: (H, W) bool; ``row_col``: position in cells, a centre is r+½. Returns (H, W) float32. With an infinite
    ``index`` infinite in blocked cells and in courtyards that no open way leads to. First-order accurate: behind a
    corner up to a few percent too long. Raises ValueError for an index below 1 and as
    :func:`raymap.physics.visibility.line_of_sight`.
    """
    if not index >= 1.0:
        raise ValueError(f"index must be at least 1, got {index}")
    seen = line_of_sight(blocked, row_col)
    length = np.where(seen, straight_cells(blocked.shape, row_col), np.inf)
    _sweep(np.where(blocked, float(index), 1.0), seen, length)
    return (length * cell_m).astype(np.float32)


def detour_m(blocked: np.ndarray, row_col: tuple[float, float], cell_m: float, *, index: float = np.inf) -> np.ndarray:
    """How much longer than the straight line the way of :func:`travel_m` is [m]: (H, W) float32.

    0 in line of sight and in blocked cells, infinite where no way leads. Errors as :func:`travel_m`.
    """
    extra = travel_m(blocked, row_col, cell_m, index=index) - cell_m * straight_cells(blocked.shape, row_col)
    return np.where(blocked, 0.0, np.maximum(extra, 0.0)).astype(np.float32)


def detour_batch(blocked: np.ndarray, rows_cols: np.ndarray, cell_m: float, *, index: float = np.inf) -> np.ndarray:
    """:func:`detour_m` of (B, H, W) maps with (B, 2) positions: (B, H, W)."""
    pairs = zip(blocked, rows_cols, strict=True)
    return np.stack([detour_m(map_, tuple(place), cell_m, index=index) for map_, place in pairs])


def straight_cells(shape: tuple[int, int], row_col: tuple[float, float]) -> np.ndarray:
    """Distance of every cell's centre from a position [cells]: (H, W)."""
    row, column = snap(row_col, shape)
    rows, columns = np.indices(shape) + 0.5
    return np.hypot(rows - row, columns - column)


@njit(cache=True, nogil=True)
def _sweep(index, known, length):
    """Lower ``length`` (H, W) [cells] in place to the solution, sweeping in all four orders until it rests."""
    height, width = length.shape
    change = np.inf
    while change > _TOLERANCE_CELLS:
        change = 0.0
        for order in range(4):
            for i in range(height):
                row = i if order & 1 == 0 else height - 1 - i
                for j in range(width):
                    column = j if order & 2 == 0 else width - 1 - j
                    if known[row, column] or index[row, column] == np.inf:
                        continue
                    best = _upwind(length, row, column, index[row, column])
                    if best < length[row, column]:
                        change = max(change, length[row, column] - best)
                        length[row, column] = best


@njit(cache=True, nogil=True)
def _upwind(length, row, column, index):
    """Godunov's solution of |∇τ| = index at a cell from its four neighbours."""
    height, width = length.shape
    across, along = np.inf, np.inf
    if row > 0:
        along = length[row - 1, column]
    if row + 1 < height:
        along = min(along, length[row + 1, column])
    if column > 0:
        across = length[row, column - 1]
    if column + 1 < width:
        across = min(across, length[row, column + 1])
    low, high = min(along, across), max(along, across)
    if high - low >= index:
        return low + index
    return 0.5 * (low + high + np.sqrt(2.0 * index * index - (high - low) ** 2))
