"""Paths from measured neighbours, each followed back to where it comes from and seen from there by other receivers."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from raymap.config import ModelConfig
from raymap.data.path_table import PathTable
from raymap.models.followed_paths import FollowedPaths, follow
from raymap.models.path_interpolation import COLUMNS, inverse_distance, numbers, to_table
from raymap.models.path_predictor import PathPredictor

#: Neighbours of inverse distance weighting.
_AROUND = 16
#: Measured receivers that say how far the consensus is to be trusted: most, and the least that can say.
_MOST_ASKED, _LEAST_ASKED = 4000, 30


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

    With ``uses_map`` paths are followed among the surfaces that the table of what is measured knows of
    (:mod:`raymap.propagation.retraced`). Whether one is at a place follows from whether its source can be seen from
    there, how far that explains who lists it, and the word of the neighbours; what each is worth, measured receivers
    tell.
    """

    turns_with_scene: ClassVar[bool] = True

    class Config(ModelConfig):
        kind: Literal["virtual_sources"] = "virtual_sources"
        inputs: tuple[str, ...] = ()
        mode: Literal["mean", "likeliest"] = "mean"
        num_neighbours: int = Field(48, ge=1)
        uses_map: bool = Field(False, description="what stands around hides paths, and is known")

    def complete(self, measured: PathTable, receivers_m: np.ndarray) -> PathTable:
        """As in :class:`PathPredictor`. Raises ValueError if the map is to be used and ``measured`` has none."""
        self.require_measured(measured)
        receivers_m = np.ascontiguousarray(receivers_m, np.float64)
        around = inverse_distance(measured, receivers_m, _AROUND)
        followed = follow(measured, self.config.num_neighbours, self.config.uses_map)
        if not followed.told.any() or not len(receivers_m):
            return to_table(around, measured, receivers_m)
        mean, likeliest = followed.vote(receivers_m)
        agreed = likeliest
        if self.config.mode == "mean":
            of_mean, of_likeliest = self._trust(measured, followed)
            agreed = around + of_mean * (mean - around) + of_likeliest * (likeliest - around)
        return to_table(np.where(np.isfinite(agreed), agreed, around), measured, receivers_m)

    def _trust(self, measured: PathTable, followed: FollowedPaths) -> np.ndarray:
        """(2, 5) shares of the consensus' mean and of its likeliest, for every column, the same for all ranks.

        Least squares at measured receivers, each told by the others alone; all of the mean where few can say.
        """
        rows = np.flatnonzero(followed.told.any(1))
        rows = rows[np.linspace(0, len(rows) - 1, min(_MOST_ASKED, len(rows))).astype(int)]
        asked = measured.take(rows)
        around = inverse_distance(measured, asked.receivers_m, _AROUND, besides=True)
        ahead = followed.vote(asked.receivers_m, besides=rows) - around
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


def _shares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(2,) a ≥ 0 with a₁ + a₂ ≤ 1 of the least |a₁x₁ + a₂x₂ − y|², for ``x`` (2, N) and ``y`` (N,)."""
    from scipy.optimize import nnls

    shares, _rest = nnls(x.T, y)
    if shares.sum() <= 1.0:
        return shares
    apart = x[0] - x[1]
    first = np.clip(apart @ (y - x[1]) / max(apart @ apart, 1e-12), 0.0, 1.0)
    return np.array([first, 1.0 - first])
