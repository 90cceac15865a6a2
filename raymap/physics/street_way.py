"""How much the shortest way through the streets turns.

The way is a taut string from the transmitter to a cell around the buildings of a grid, found with its bends at cells'
centres by Theta* (Nash, Daniel, Koenig & Felner, "Theta*: any-angle path planning on grids", AAAI 2007): a cell takes
over the last bend of a neighbour if it sees that bend itself, else the neighbour becomes a bend. Cells are taken in the
order of their eikonal length, so one pass settles nearly all of them, and a second the rest.

Street microcells lose most of their power where the way turns (Berg, "A recursive method for street microcell path loss
calculations", PIMRC 1995, grows a loss from the angles alone). The shortest way is geometry, as the detour is: of all
ways neither that of least loss nor one over the roofs, hence not the dominant path.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from raymap.physics import eikonal
from raymap.physics.visibility import line_of_sight, segment_clear, snap

#: Ways whose lengths differ by less are equally long, and the one that turns less is taken [cells].
_TIE_CELLS = 1e-6


def turning_deg(blocked: np.ndarray, row_col: tuple[float, float]) -> np.ndarray:
    """Sum of the angles [deg] by which the shortest way to every cell turns: (H, W) float32.

    ``blocked``: (H, W) bool; ``row_col``: position in cells, a centre is r+½. 0 in line of sight and in blocked cells,
    infinite where no way leads. Bends lie half a cell off the corners, and one turn may be spread over several cells;
    of ways of one length any may be taken. Raises ValueError as :func:`raymap.physics.visibility.line_of_sight`.
    """
    blocked = np.ascontiguousarray(blocked, bool)
    seen = line_of_sight(blocked, row_col)
    travel = np.where(blocked | seen, np.inf, eikonal.travel_m(blocked, row_col, 1.0)).ravel()
    order = np.argsort(travel, kind="stable")[: np.isfinite(travel).sum()]
    length = np.where(seen, eikonal.straight_cells(blocked.shape, row_col), np.inf)
    turned = np.where(seen, 0.0, np.inf)
    _follow(blocked, order, *snap(row_col, blocked.shape), length, turned, np.full(blocked.shape, -1, np.int64))
    return np.where(blocked, 0.0, np.degrees(turned)).astype(np.float32)


def turning_batch(blocked: np.ndarray, rows_cols: np.ndarray) -> np.ndarray:
    """:func:`turning_deg` of (B, H, W) maps with (B, 2) positions: (B, H, W)."""
    return np.stack([turning_deg(map_, tuple(place)) for map_, place in zip(blocked, rows_cols, strict=True)])


@njit(cache=True, nogil=True)
def _follow(blocked, order, row, column, length, turned, bend):
    """Fill the rasters in place for the cells of ``order``; those in line of sight are filled and know no bend (-1).

    ``length`` of the way [cells], how much it has ``turned`` [rad], flat index of the cell of its last ``bend``.
    """
    height, width = blocked.shape
    tried = np.empty(18, np.int64)
    for _ in range(2):
        for index in order:
            r, c = index // width, index % width
            tried[0], tried[1], num = index, bend[r, c], 2
            for near_r in range(max(r - 1, 0), min(r + 2, height)):
                for near_c in range(max(c - 1, 0), min(c + 2, width)):
                    if length[near_r, near_c] == np.inf:
                        continue
                    for candidate in (bend[near_r, near_c], near_r * width + near_c):
                        if candidate < 0 or _holds(tried, num, candidate):
                            continue
                        tried[num] = candidate
                        num += 1
                        at_r, at_c = candidate // width, candidate % width
                        total = length[at_r, at_c] + np.hypot(r - at_r, c - at_c)
                        if total > length[r, c] + _TIE_CELLS:
                            continue
                        if not segment_clear(blocked, at_r + 0.5, at_c + 0.5, r + 0.5, c + 0.5):
                            continue
                        before = bend[at_r, at_c]
                        from_r, from_c = (before // width + 0.5, before % width + 0.5) if before >= 0 else (row, column)
                        turn = _turn(at_r + 0.5 - from_r, at_c + 0.5 - from_c, r - at_r, c - at_c)
                        if total < length[r, c] - _TIE_CELLS or turned[at_r, at_c] + turn < turned[r, c]:
                            length[r, c], turned[r, c] = total, turned[at_r, at_c] + turn
                            bend[r, c] = candidate


@njit(cache=True, nogil=True)
def _holds(values, num, wanted):
    for index in range(num):  # noqa: SIM110  (numba takes no generator)
        if values[index] == wanted:
            return True
    return False


@njit(cache=True, nogil=True)
def _turn(in_row, in_column, out_row, out_column):
    """Angle [rad] in [0, π] between two directions."""
    cross = in_row * out_column - in_column * out_row
    return np.arctan2(abs(cross), in_row * out_row + in_column * out_column)
