"""Measured paths followed back to where they come from, and what those around a place say of the paths there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

from raymap import units
from raymap.data.path_table import UNKNOWN_KIND, PathTable
from raymap.physics import consensus, virtual_sources
from raymap.propagation import retraced, surroundings
from raymap.propagation.surroundings import Surroundings
from raymap.scene import PathKind

#: Neighbours by whose paths an unknown kind is told, and those of whom it is known which paths they could see.
_JUDGES, _WITNESSES = 6, 16
#: What is known of surfaces is believed of a path where it explains so large a share of the neighbours that list it.
_EXPLAINED = 0.85
#: What is left of the word of neighbours for a path that surfaces hide.
_HIDDEN = 0.02
#: Receivers that a thread completes at a time.
_CHUNK = 2048


class Sight(NamedTuple):
    """What surfaces let be seen of the paths of N measured receivers.

    ``source_m``: (N, P, 3) as in :mod:`raymap.propagation.retraced`. ``visible``: (N, P, M), to which of the receivers
    ``near`` (N, M). ``explained``: (N, P) bool, whether that agrees with who lists it. ``at_edge``: (N, P) diffraction.
    """

    surroundings: Surroundings
    source_m: np.ndarray
    near: np.ndarray
    visible: np.ndarray
    explained: np.ndarray
    at_edge: np.ndarray

    def look(self, groups: consensus.Groups, wanted_m: np.ndarray, anchor_m: np.ndarray) -> None:
        """Changes what is believed of ``groups`` at ``wanted_m`` (T, 3) [m] by what can be seen from there.

        Hidden paths are there hardly ever. Of visible ones those neighbours are believed who could see them; of
        diffraction, whose power changes so fast that many drop out of the lists, all neighbours too.
        """
        place, group = np.nonzero(np.arange(consensus.MAX_GROUPS) < groups.count[:, None])
        member = tuple(groups.first[place, group].T)
        seen = retraced.sees(self.surroundings, wanted_m[place], anchor_m[member], self.source_m[member])
        word, of_witnesses = groups.belief[place, group, 2], groups.belief[place, group, 10]
        there = np.where(seen, of_witnesses * np.where(self.at_edge[member], word, 1.0), _HIDDEN * word)
        groups.belief[place, group, 2] = np.where(self.explained[member], there, word)


class FollowedPaths(NamedTuple):
    """Measured receivers that may tell of paths, and their paths followed back, as `consensus.gather` takes them."""

    receivers_m: np.ndarray
    anchor_m: np.ndarray
    lead_m: np.ndarray
    power_db: np.ndarray
    told: np.ndarray
    sight: Sight | None = None

    def vote(self, wanted_m: np.ndarray, num_neighbours: int, besides: np.ndarray | None = None) -> np.ndarray:
        """(2, T, P, 5) mean and likeliest as `numbers`, NaN where nobody knows. ``besides``: (T,) rows not asked."""
        from scipy.spatial import cKDTree

        has = np.flatnonzero(self.told.any(1))
        num = min(num_neighbours + (besides is not None), len(has))
        distance_m, rows = cKDTree(self.receivers_m[has]).query(wanted_m, k=range(1, num + 1))
        rows = has[rows]
        if besides is not None:
            last = np.argsort(rows == besides[:, None], axis=1, kind="stable")
            rows, distance_m = (np.take_along_axis(array, last, axis=1) for array in (rows, distance_m))
            rows = np.where(rows == besides[:, None], -1, rows)
        out = np.empty((2, len(wanted_m), self.told.shape[1], 5))
        full = self.told.all(1)
        near = self.sight.near if self.sight else np.zeros((len(full), 0), np.int64)
        visible = self.sight.visible if self.sight else np.zeros((*self.told.shape, 0), bool)

        def fill(start: int) -> None:
            part = slice(start, start + _CHUNK)
            groups = consensus.Groups.empty(len(wanted_m[part]))
            consensus.gather(
                wanted_m[part], rows[part], distance_m[part], self.receivers_m, self.anchor_m, self.lead_m,
                self.power_db, self.told, full, near, visible, groups,
            )  # fmt: skip
            if self.sight:
                self.sight.look(groups, wanted_m[part], self.anchor_m)
            consensus.settle(groups, out[:, part])

        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            list(threads.map(fill, range(0, len(wanted_m), _CHUNK)))
        return out


def follow(measured: PathTable, uses_map: bool = False) -> FollowedPaths:
    """The paths of ``measured``; with ``uses_map`` among the surfaces that it knows of.

    Raises ValueError if it is to use the map of a table that has none.
    """
    if uses_map and measured.surroundings is None:
        raise ValueError("no map of what stands around comes with what is measured, and this method uses one")
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
    sight = None
    if uses_map:
        kind = np.where(
            measured.kind != UNKNOWN_KIND, measured.kind, np.where(bends, PathKind.SCATTERING, PathKind.REFLECTION)
        )
        anchor_m, lead_m, sight = _sight(measured, told, direction, kind, anchor_m, lead_m)
    numbers_known = [np.nan_to_num(array.astype(np.float64)) for array in (anchor_m, lead_m, measured.power_db)]
    return FollowedPaths(measured.receivers_m, *numbers_known, told, sight)


def _sight(measured, told, direction, kind, anchor_m, lead_m) -> tuple[np.ndarray, np.ndarray, Sight]:
    """Anchors and leads, those of surfaces where they tell, and what can be seen."""
    from scipy.spatial import cKDTree

    around, receivers_m = surroundings.of(measured.surroundings), measured.receivers_m
    rows, paths = np.nonzero(told)
    length_m = np.nan_to_num(units.SPEED_OF_LIGHT_M_S * measured.delay_s.astype(np.float64))
    found = retraced.retrace(
        around, receivers_m[rows], measured.transmitter_m, direction[told], length_m[told], kind[told]
    )
    anchor_m, lead_m, source_m = anchor_m.copy(), lead_m.copy(), np.full(anchor_m.shape, np.nan)
    source_m[told] = found.source_m
    known = np.isfinite(found.lead_m)
    anchor_m[rows[known], paths[known]], lead_m[rows[known], paths[known]] = found.anchor_m[known], found.lead_m[known]
    num = min(_WITNESSES + 1, len(measured))
    near = cKDTree(receivers_m).query(receivers_m, k=range(1, num + 1))[1][:, 1:]
    visible = np.zeros((*told.shape, num - 1), bool)
    others, places = receivers_m[near[rows]].reshape(-1, 3), np.repeat(np.arange(len(rows)), num - 1)
    visible[told] = retraced.sees(
        around, others, anchor_m[told][places], source_m[told][places]
    ).reshape(len(rows), num - 1)  # fmt: skip
    share = consensus.explained(
        near, visible, receivers_m, np.nan_to_num(anchor_m), np.nan_to_num(lead_m), np.nan_to_num(direction), length_m,
        told,
    )  # fmt: skip
    explained = (share >= _EXPLAINED) & np.isfinite(source_m).all(-1)
    sight = Sight(around, source_m, near, visible, explained, measured.kind == PathKind.DIFFRACTION)
    return anchor_m, lead_m, sight


def _bends(measured, told, direction, image_m, point_m, lead_m) -> np.ndarray:
    """(N, P) bool: whether a point explains the paths of the nearest receivers better than an image does."""
    from scipy.spatial import cKDTree

    has = np.flatnonzero(told.any(1))
    num = min(_JUDGES + 1, len(has))
    rows = has[cKDTree(measured.receivers_m[has]).query(measured.receivers_m, k=range(1, num + 1))[1]]
    length_m = np.nan_to_num(units.SPEED_OF_LIGHT_M_S * measured.delay_s.astype(np.float64))
    direction, image_m, point_m, lead_m = (np.nan_to_num(array) for array in (direction, image_m, point_m, lead_m))
    wrong = [
        consensus.disagreement(rows, measured.receivers_m, anchor_m, lead, direction, length_m, told)
        for anchor_m, lead in ((image_m, np.zeros_like(lead_m)), (point_m, lead_m))
    ]
    return wrong[1] < wrong[0]
