"""Paths from measured neighbours, each followed back to where it comes from and seen from there by other receivers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field

from raymap import units
from raymap.config import ModelConfig
from raymap.data.path_table import UNKNOWN_KIND, PathTable
from raymap.models.path_interpolation import COLUMNS, inverse_distance, numbers, to_table
from raymap.models.path_predictor import PathPredictor
from raymap.physics import consensus, virtual_sources
from raymap.scene import PathKind

#: Neighbours by whose paths an unknown kind is told, and of inverse distance weighting.
_JUDGES, _AROUND = 6, 16
#: Measured receivers that say how far the consensus is to be trusted: most, and the least that can say.
_MOST_ASKED, _LEAST_ASKED = 4000, 30
#: Receivers that a thread completes at a time.
_CHUNK = 2048


class VirtualSources(PathPredictor):
    """Every path of the nearest measured receivers, seen from its virtual source, and what they agree on.

    A path is followed back to an image of the transmitter, or to the point where it is scattered or bent; of an unknown
    kind to whichever of the two explains the paths of its receiver's neighbours better
    (:mod:`raymap.physics.virtual_sources`). Who of the neighbours sees it tells whether it is there
    (:mod:`raymap.physics.consensus`).

    ``mode`` "likeliest" has at every rank the path that is most likely there. "mean" has the least squared error: the
    mean over all that could be there, the likeliest, and the mean of the neighbours' numbers, as much of each as would
    have been right at the measured receivers, told by the others. Where no path can be followed, as delay or angles are
    not known, numbers are means of the neighbours' by inverse distance. What is filled is in
    :meth:`PathPredictor.complete`.
    """

    turns_with_scene: ClassVar[bool] = True

    class Config(ModelConfig):
        kind: Literal["virtual_sources"] = "virtual_sources"
        inputs: tuple[str, ...] = ()
        mode: Literal["mean", "likeliest"] = "mean"
        num_neighbours: int = Field(32, ge=1)

    def complete(self, measured: PathTable, receivers_m: np.ndarray) -> PathTable:
        """As in :class:`PathPredictor`."""
        self.require_measured(measured)
        receivers_m = np.ascontiguousarray(receivers_m, np.float64)
        around = inverse_distance(measured, receivers_m, _AROUND)
        followed = _follow(measured)
        if not followed.told.any() or not len(receivers_m):
            return to_table(around, measured, receivers_m)
        mean, likeliest = followed.vote(receivers_m, self.config.num_neighbours)
        agreed = likeliest
        if self.config.mode == "mean":
            of_mean, of_likeliest = self._trust(measured, followed)
            agreed = around + of_mean * (mean - around) + of_likeliest * (likeliest - around)
        return to_table(np.where(np.isfinite(agreed), agreed, around), measured, receivers_m)

    def _trust(self, measured: PathTable, followed: _Followed) -> np.ndarray:
        """(2, 5) shares of the consensus' mean and of its likeliest, for every column, the same for all ranks.

        Least squares at measured receivers, each told by the others alone; all of the mean where few can say.
        """
        rows = np.flatnonzero(followed.told.any(1))
        rows = rows[np.linspace(0, len(rows) - 1, min(_MOST_ASKED, len(rows))).astype(int)]
        asked = measured.take(rows)
        around = inverse_distance(measured, asked.receivers_m, _AROUND, besides=True)
        ahead = followed.vote(asked.receivers_m, self.config.num_neighbours, besides=rows) - around
        missed = numbers(asked) - around
        trust = np.zeros((2, missed.shape[-1]))
        for columns in COLUMNS.values():
            x, y = ahead[..., columns].reshape(2, -1), missed[..., columns].ravel()
            known = np.isfinite(x).all(axis=0) & np.isfinite(y)
            x, y = x[:, known], y[known]
            can_say = len(y) >= _LEAST_ASKED * len(columns) and np.abs(x).max() > 1e-6
            trust[:, columns] = (_shares(x, y) if can_say else np.array([1.0, 0.0]))[:, None]
        return trust

    @property
    def network_calls(self) -> int:
        return 0


class _Followed(NamedTuple):
    """Measured receivers that may tell of paths, and their paths followed back, as `consensus.vote` takes them."""

    receivers_m: np.ndarray
    anchor_m: np.ndarray
    lead_m: np.ndarray
    power_db: np.ndarray
    told: np.ndarray

    def vote(self, wanted_m, num_neighbours, besides=None) -> np.ndarray:
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

        def fill(start: int) -> None:
            part = slice(start, start + _CHUNK)
            consensus.vote(
                wanted_m[part], rows[part], distance_m[part], self.receivers_m, self.anchor_m, self.lead_m,
                self.power_db, self.told, full, out.shape[2], out[:, part],
            )  # fmt: skip

        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            list(threads.map(fill, range(0, len(wanted_m), _CHUNK)))
        return out


def _shares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(2,) a ≥ 0 with a₁ + a₂ ≤ 1 of the least |a₁x₁ + a₂x₂ − y|², for ``x`` (2, N) and ``y`` (N,)."""
    from scipy.optimize import nnls

    shares, _rest = nnls(x.T, y)
    if shares.sum() <= 1.0:
        return shares
    apart = x[0] - x[1]
    first = np.clip(apart @ (y - x[1]) / max(apart @ apart, 1e-12), 0.0, 1.0)
    return np.array([first, 1.0 - first])


def _follow(measured: PathTable) -> _Followed:
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
    numbers_known = [np.nan_to_num(array.astype(np.float64)) for array in (anchor_m, lead_m, measured.power_db)]
    return _Followed(measured.receivers_m, *numbers_known, told)


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
