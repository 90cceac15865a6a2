"""What surfaces let be seen of measured paths: where each comes from, and from which receivers that can be seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raymap import units
from raymap.data.path_table import PathTable
from raymap.physics import agreement
from raymap.propagation import retraced, surroundings
from raymap.propagation.surroundings import Surroundings

#: Neighbours of whom it is known which paths they could see.
_WITNESSES = 16


class Sight(NamedTuple):
    """Of the paths of N measured receivers.

    ``anchor_m`` (N, P, 3), ``lead_m`` (N, P) and ``source_m`` (N, P, 3) are those of
    :mod:`raymap.propagation.retraced`, NaN where no source was found. ``visible``: (N, P, M) bool, to which of the
    receivers ``near`` (N, M) it is. ``explained``: (N, P), the share of those among them who list the path to whom it
    is, 0 without a source.
    """

    surroundings: Surroundings
    anchor_m: np.ndarray
    lead_m: np.ndarray
    source_m: np.ndarray
    near: np.ndarray
    visible: np.ndarray
    explained: np.ndarray

    def sees(self, wanted_m: np.ndarray, rows: np.ndarray, paths: np.ndarray) -> np.ndarray:
        """(K,) bool: whether places (K, 3) [m] see the source of each a path, ``paths`` (K,) of receivers ``rows``."""
        return retraced.sees(self.surroundings, wanted_m, self.anchor_m[rows, paths], self.source_m[rows, paths])


def of(measured: PathTable, told: np.ndarray, direction: np.ndarray, kind: np.ndarray) -> Sight:
    """The sight of paths that can be followed, ``told`` (N, P), from ``direction`` (N, P, 3) and of ``kind`` (N, P).

    Raises ValueError if ``measured`` knows of no surfaces.
    """
    from scipy.spatial import cKDTree

    if measured.surroundings is None:
        raise ValueError("no map of what stands around comes with what is measured, and this method uses one")
    around, receivers_m = surroundings.of(measured.surroundings), measured.receivers_m
    rows = np.nonzero(told)[0]
    length_m = np.nan_to_num(units.SPEED_OF_LIGHT_M_S * measured.delay_s.astype(np.float64))
    found = retraced.retrace(
        around, receivers_m[rows], measured.transmitter_m, direction[told], length_m[told], kind[told]
    )
    anchor_m, source_m = (np.full((*told.shape, 3), np.nan) for _ in range(2))
    lead_m = np.full(told.shape, np.nan)
    anchor_m[told], lead_m[told], source_m[told] = found
    num = min(_WITNESSES + 1, len(measured))
    near = cKDTree(receivers_m).query(receivers_m, k=range(1, num + 1))[1][:, 1:]
    visible = np.zeros((*told.shape, num - 1), bool)
    others, places = receivers_m[near[rows]].reshape(-1, 3), np.repeat(np.arange(len(rows)), num - 1)
    seen = retraced.sees(around, others, found.anchor_m[places], found.source_m[places])
    visible[told] = seen.reshape(len(rows), num - 1)
    known = [np.nan_to_num(array) for array in (anchor_m, lead_m, direction)]
    share = agreement.explained(near, visible, receivers_m, *known, length_m, told)
    return Sight(around, anchor_m, lead_m, source_m, near, visible, np.where(np.isfinite(lead_m), share, 0.0))
