"""Paths from measured neighbours, each followed back to where it comes from and seen from there by other receivers."""

from __future__ import annotations

import itertools
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from raymap.config import ModelConfig
from raymap.data.path_table import PathTable
from raymap.models.followed_paths import FollowedPaths, follow
from raymap.models.path_interpolation import COLUMNS, inverse_distance, numbers, to_table
from raymap.models.path_predictor import PathPredictor

#: Neighbours of inverse distance weighting.
AROUND = 16
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
        around = self._around(measured, receivers_m)
        followed = follow(measured, self.config.num_neighbours, self.config.uses_map)
        if not followed.told.any() or not len(receivers_m):
            return to_table(around[0], measured, receivers_m)
        agreed = followed.vote(receivers_m)
        if self.config.mode == "mean":
            told = np.concatenate([agreed, around[1:]])
            told = np.where(np.isfinite(told), told, around[0])
            agreed = around[0] + np.einsum("knpc,kc->npc", told - around[0], self._trust(measured, followed))
        else:
            agreed = agreed[1]
        return to_table(np.where(np.isfinite(agreed), agreed, around[0]), measured, receivers_m)

    def _around(self, measured: PathTable, receivers_m: np.ndarray, besides: bool = False) -> np.ndarray:
        """(K, N, P, 5) what is told by others than virtual sources; the first is told of where nobody knows more.

        ``besides``: as in :func:`inverse_distance`.
        """
        return inverse_distance(measured, receivers_m, AROUND, besides)[None]

    def _trust(self, measured: PathTable, followed: FollowedPaths) -> np.ndarray:
        """(K + 1, 5) shares of the consensus' mean, of its likeliest, and of what else :meth:`_around` tells but the
        first, for every column, the same for all ranks.

        Least squares at measured receivers, each told by the others alone; where few can say :meth:`_few`.
        """
        rows = np.flatnonzero(followed.told.any(1))
        rows = rows[np.linspace(0, len(rows) - 1, min(_MOST_ASKED, len(rows))).astype(int)]
        asked = measured.take(rows)
        around = self._around(measured, asked.receivers_m, besides=True)
        told = np.concatenate([followed.vote(asked.receivers_m, besides=rows), around[1:]]) - around[0]
        missed = numbers(asked) - around[0]
        trust = np.zeros((len(told), missed.shape[-1]))
        for columns in COLUMNS.values():
            x, y = told[..., columns].reshape(len(told), -1), missed[..., columns].ravel()
            known = np.isfinite(x).all(axis=0) & np.isfinite(y)
            x, y = x[:, known], y[known]
            can_say = len(y) >= _LEAST_ASKED * len(columns) and np.abs(x).max() > 1e-6
            trust[:, columns] = (_shares(x, y) if can_say else self._few(len(told)))[:, None]
        return trust

    @staticmethod
    def _few(num: int) -> np.ndarray:
        """(num,) shares where few can say what they should be: all of the consensus' mean."""
        return np.eye(num)[0]

    @property
    def network_calls(self) -> int:
        return 0


def _shares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(K,) a ≥ 0 with Σ a ≤ 1 of the least |Σ aₖxₖ − y|², for ``x`` (K, N) of few K and ``y`` (N,).

    The least over all choices of who has a share at all and whether the shares fill 1, each by its normal equations.
    """
    square, product = x @ x.T, x @ y
    shares, least = np.zeros(len(x)), 0.0
    for num, filled in itertools.product(range(1, len(x) + 1), (False, True)):
        for who in itertools.combinations(range(len(x)), num):
            left, right = np.ones((num + 1, num + 1)), np.append(product[[*who]], 1.0)
            left[:num, :num], left[num, num] = square[np.ix_(who, who)], 0.0
            rows = slice(num + filled)
            found = np.zeros(len(x))
            found[[*who]] = np.linalg.lstsq(left[rows, rows], right[rows], rcond=None)[0][:num]
            cost = found @ square @ found - 2 * found @ product
            if cost < least and found.min() >= 0 and found.sum() <= 1 + 1e-9:
                shares, least = found, cost
    return shares
