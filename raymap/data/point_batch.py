"""What a method of paths sees in training: measured receivers, and others of which it is asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from raymap.data.path_table import PathTable


@dataclass(frozen=True, eq=False)
class PointBatch:
    """Two tables of one transmitter: what is ``measured``, and what is true where it is ``asked``.

    ``share_done``: of the training, in [0, 1], by which weights of a loss may grow.
    """

    measured: PathTable
    asked: PathTable
    share_done: float = 1.0

    def __len__(self) -> int:
        """Receivers that are asked for."""
        return len(self.asked)

    def to(self, device: object) -> PointBatch:
        """The batch itself: tables are numpy, and networks move what they read of them."""
        return self


def nearest(measured_m: np.ndarray, receivers_m: np.ndarray, num: int, *, others: bool = False) -> np.ndarray:
    """(N, num) int64: rows of the nearest of ``measured_m`` (M, 3), nearest first, for each of ``receivers_m`` (N, 3).

    ``others``: the receivers are the measured ones, and none is its own neighbour. Where there are fewer, the furthest
    is repeated. Raises ValueError if there is none.
    """
    if len(measured_m) <= others:
        raise ValueError(f"no neighbour among {len(measured_m)} measured receivers")
    _distance_m, rows = cKDTree(measured_m).query(receivers_m, k=range(1, min(num + others, len(measured_m)) + 1))
    if others:
        # Where two receivers share a place, either may be told to be nearest to itself.
        own = rows == np.arange(len(rows))[:, None]
        own[~own.any(axis=1), -1] = True
        rows = rows[~own].reshape(len(rows), -1)
    return np.pad(rows, [(0, 0), (0, num - rows.shape[1])], mode="edge").astype(np.int64)


def cuts(table: PathTable, batch_size: int, hidden: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """One pass over a table: rows of (what is measured, what is asked for), every receiver asked for once.

    The table is cut into neighbourhoods of at most ``batch_size`` receivers, so that memory does not grow with it, and
    each of those into parts of about a share ``hidden``, one of which is asked for while the others are seen. All that
    is the same every time, so that what is computed of a batch can be kept. Raises ValueError if there are fewer than
    two receivers on either side.
    """
    num_parts = max(2, round(1 / hidden))
    found = []
    for rows in _neighbourhoods(table.receivers_m[:, :2], batch_size):
        part = np.random.default_rng(len(rows)).permutation(len(rows)) % num_parts
        if len(rows) < 2 * num_parts:
            raise ValueError(
                f"{len(rows)} receivers with a share of {hidden:g} hidden are too few: it takes two to ask for and two "
                f"to see in each of {num_parts} parts"
            )
        found += [(rows[part != number], rows[part == number]) for number in range(num_parts)]
    return found


def _neighbourhoods(places_m: np.ndarray, most: int) -> list[np.ndarray]:
    """Rows of (N, 2) places, ascending, halved along the longer side until no more than ``most`` are together."""
    waiting, found = [np.arange(len(places_m))], []
    while waiting:
        rows = waiting.pop()
        if len(rows) <= most:
            found.append(np.sort(rows))
            continue
        axis = int(np.ptp(places_m[rows], axis=0).argmax())
        order = rows[np.argsort(places_m[rows, axis], kind="stable")]
        waiting += [order[len(order) // 2 :], order[: len(order) // 2]]
    return found
