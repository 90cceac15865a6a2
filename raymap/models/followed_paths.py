"""Measured paths followed back to where they come from, and what those around a place say of the paths there."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

from raymap import units
from raymap.data.path_table import UNKNOWN_KIND, PathTable
from raymap.models import path_sight
from raymap.models.path_sight import Sight
from raymap.physics import agreement, consensus, virtual_sources
from raymap.scene import PathKind

#: Neighbours by whose paths an unknown kind is told.
_JUDGES = 6
#: Before it is known what words are worth: what surfaces say is believed of a path where it explains so large a share
#: of those who list it, and this is left of the word of neighbours for a path that surfaces hide.
_EXPLAINED, _HIDDEN = 0.85, 0.02
#: Measured receivers that say what words are worth: most, and the least of listed and of missing paths that can say.
_MOST_ASKED, _LEAST_KNOWN = 4000, 100
#: Probabilities are not told nearer to 0 and 1.
_SURE = 1e-4
#: Receivers that a thread completes at a time.
_CHUNK = 2048


class FollowedPaths(NamedTuple):
    """Measured receivers that may tell of paths, and their paths followed back, as `consensus.gather` takes them.

    ``weights``: of the marks of a path, by which it is there or not (:meth:`learned`); None while they are not known.
    """

    receivers_m: np.ndarray
    anchor_m: np.ndarray
    lead_m: np.ndarray
    power_db: np.ndarray
    told: np.ndarray
    kind: np.ndarray
    num_neighbours: int
    sight: Sight | None = None
    weights: np.ndarray | None = None

    def vote(self, wanted_m: np.ndarray, besides: np.ndarray | None = None) -> np.ndarray:
        """(2, T, P, 5) mean and likeliest as `numbers`, NaN where nobody knows. ``besides``: (T,) rows not asked."""
        out = np.empty((2, len(wanted_m), self.told.shape[1], 5))
        rows, distance_m = self._neighbours(wanted_m, besides)

        def fill(start: int) -> None:
            part = slice(start, start + _CHUNK)
            groups, _marks = self._believed(wanted_m[part], rows[part], distance_m[part])
            consensus.settle(groups, out[:, part])

        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            list(threads.map(fill, range(0, len(wanted_m), _CHUNK)))
        return out

    def learned(self, direction: np.ndarray, length_m: np.ndarray) -> FollowedPaths:
        """The same, with weights by which measured receivers are told best by the others which paths they list.

        ``direction`` (N, P, 3) and ``length_m`` (N, P) of the measured paths. Logistic regression of whether a path is
        listed; paths that a full list may just lack room for do not count. Unchanged where too few can say.
        """
        from sklearn.linear_model import LogisticRegression

        rows = np.flatnonzero(self.told.any(1))
        rows = rows[np.linspace(0, len(rows) - 1, min(_MOST_ASKED, len(rows))).astype(int)]
        groups, marks = self._believed(self.receivers_m[rows], *self._neighbours(self.receivers_m[rows], rows))
        listed = agreement.listed(
            groups, direction[rows], length_m[rows], self.power_db[rows], self.told[rows], self.told.all(1)[rows]
        )[_there(groups)]
        known = listed >= 0
        if min((listed == 1).sum(), (listed == 0).sum()) < _LEAST_KNOWN:
            return self
        found = LogisticRegression(max_iter=1000).fit(marks[known], listed[known])
        return self._replace(weights=np.append(found.coef_[0], found.intercept_))

    def _neighbours(self, wanted_m: np.ndarray, besides: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the nearest receivers that tell of paths, −1 for those ``besides``, and their distances [m]."""
        from scipy.spatial import cKDTree

        has = np.flatnonzero(self.told.any(1))
        num = min(self.num_neighbours + (besides is not None), len(has))
        tree, threads = cKDTree(self.receivers_m[has]), torch.get_num_threads()
        distance_m, rows = tree.query(wanted_m, k=range(1, num + 1), workers=threads)
        rows = has[rows]
        if besides is not None:
            last = np.argsort(rows == besides[:, None], axis=1, kind="stable")
            rows, distance_m = (np.take_along_axis(array, last, axis=1) for array in (rows, distance_m))
            rows = np.where(rows == besides[:, None], -1, rows)
        return rows, distance_m

    def _believed(self, wanted_m, rows, distance_m) -> tuple[consensus.Groups, np.ndarray]:
        """The groups at places with what is believed of them, and the marks (K, F) by which it is."""
        groups = consensus.Groups.empty(len(wanted_m))
        near = self.sight.near if self.sight else np.zeros((len(self.told), 0), np.int64)
        visible = self.sight.visible if self.sight else np.zeros((*self.told.shape, 0), bool)
        consensus.gather(
            wanted_m, rows, distance_m, self.receivers_m, self.anchor_m, self.lead_m, self.power_db, self.told,
            self.told.all(1), near, visible, groups,
        )  # fmt: skip
        there = place, _group = _there(groups)
        member, path = groups.first[there].T
        power_doubt_db, word, of_witnesses = groups.belief[there][:, [1, 2, 10]].T
        explained, seen = np.zeros(len(place)), np.zeros(len(place), bool)
        if self.sight:
            explained = self.sight.explained[member, path]
            seen = self.sight.sees(wanted_m[place], member, path)
        else:
            of_witnesses = word
        away_m = np.linalg.norm(self.receivers_m[member] - wanted_m[place], axis=1)
        kinds = self.kind[member, path][:, None] == (PathKind.REFLECTION, PathKind.SCATTERING, PathKind.DIFFRACTION)
        marks = np.column_stack([
            _logit(word), _logit(of_witnesses), np.log(power_doubt_db), np.log(away_m + 0.1), explained * seen,
            explained * ~seen, explained > 0, kinds, kinds * _logit(word)[:, None],
        ])  # fmt: skip
        if self.weights is not None:
            believed = 1.0 / (1.0 + np.exp(-(marks @ self.weights[:-1] + self.weights[-1])))
        else:
            believed = np.where(explained > _EXPLAINED, np.where(seen, of_witnesses, _HIDDEN * word), word)
        groups.belief[(*there, 2)] = believed
        return groups, marks


def _there(groups: consensus.Groups) -> tuple[np.ndarray, np.ndarray]:
    """Place and number of every group."""
    return np.nonzero(np.arange(consensus.MAX_GROUPS) < groups.count[:, None])


def _logit(probability: np.ndarray) -> np.ndarray:
    sure = np.clip(probability, _SURE, 1.0 - _SURE)
    return np.log(sure / (1.0 - sure))


# The last table's are kept: whoever asks for many receivers asks for some at a time.
@functools.lru_cache(maxsize=1)
def follow(measured: PathTable, num_neighbours: int, uses_map: bool = False) -> FollowedPaths:
    """The paths of ``measured``, of which so many neighbours tell; with ``uses_map`` among the surfaces it knows of.

    Raises ValueError if it is to use the map of a table that has none.
    """
    direction = virtual_sources.directions(measured.zenith_rad, measured.azimuth_rad)
    receivers_m = measured.receivers_m[:, None]
    image_m = virtual_sources.image_sources(receivers_m, direction, measured.delay_s)
    point_m, lead_m = virtual_sources.scatterers(receivers_m, measured.transmitter_m, direction, measured.delay_s)
    told = measured.valid & np.isfinite(measured.values).all(-1)
    bends = np.isin(measured.kind, [PathKind.SCATTERING, PathKind.DIFFRACTION])
    unknown = told & (measured.kind == UNKNOWN_KIND)
    if unknown.any():
        bends |= unknown & _bends(measured, told, direction, image_m, point_m, lead_m)
    anchor_m = np.where(bends[..., None], point_m, image_m)
    lead_m = np.where(bends, lead_m, 0.0)
    guessed = np.where(bends, PathKind.SCATTERING, PathKind.REFLECTION)
    kind = np.where(measured.kind == UNKNOWN_KIND, guessed, measured.kind)
    sight = path_sight.of(measured, told, direction, kind) if uses_map else None
    if sight:
        known = np.isfinite(sight.lead_m)
        anchor_m = np.where(known[..., None], sight.anchor_m, anchor_m)
        lead_m = np.where(known, sight.lead_m, lead_m)
    numbers_known = [np.nan_to_num(array.astype(np.float64)) for array in (anchor_m, lead_m, measured.power_db)]
    found = FollowedPaths(measured.receivers_m, *numbers_known, told, kind, num_neighbours, sight)
    if sight is None or not told.any():
        return found
    length_m = units.SPEED_OF_LIGHT_M_S * measured.delay_s.astype(np.float64)
    # Without a map there is nothing to weigh: the word of neighbours is what they told.
    return found.learned(np.nan_to_num(direction), np.nan_to_num(length_m))


def _bends(measured, told, direction, image_m, point_m, lead_m) -> np.ndarray:
    """(N, P) bool: whether a point explains the paths of the nearest receivers better than an image does."""
    from scipy.spatial import cKDTree

    has = np.flatnonzero(told.any(1))
    num = min(_JUDGES + 1, len(has))
    rows = has[cKDTree(measured.receivers_m[has]).query(measured.receivers_m, k=range(1, num + 1))[1]]
    length_m = np.nan_to_num(units.SPEED_OF_LIGHT_M_S * measured.delay_s.astype(np.float64))
    direction, image_m, point_m, lead_m = (np.nan_to_num(array) for array in (direction, image_m, point_m, lead_m))
    wrong = [
        agreement.disagreement(rows, measured.receivers_m, anchor_m, lead, direction, length_m, told)
        for anchor_m, lead in ((image_m, np.zeros_like(lead_m)), (point_m, lead_m))
    ]
    return wrong[1] < wrong[0]
