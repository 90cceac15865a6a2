"""How wrong a method of paths is likely to be at every receiver, told by what was measured and nothing else.

measured ──► folds, each told by the others ──► errors ──► those of the nearest, times distance ──► times one factor
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from raymap.data.path_table import PARAMETERS, PER_UNIT, PathTable
from raymap.models.path_predictor import PathPredictor

#: Measured receivers around a place whose errors make the one expected there.
_NUM_AROUND = 8
#: What the mean of all counts beside each of them: enough that nothing is told to be zero by chance.
_WEIGHT_OF_ALL = 0.1
#: An error may grow as one of these powers of the distance to the nearest measured receiver, told by the bound of
#: nine in ten.
_EXPONENTS, _SHARE = (0.0, 0.25, 0.5, 0.75), 0.9
_ZENITH, _AZIMUTH = PARAMETERS.index("zenith_rad"), PARAMETERS.index("azimuth_rad")


def spread(
    model: PathPredictor,
    measured: PathTable,
    receivers_m: np.ndarray,
    num_folds: int = 5,
    quantile: float | None = None,
) -> np.ndarray:
    """(N, P, 4) float64, the error to expect of every number that ``model`` tells of ``receivers_m`` (N, 3) [m].

    In dB, s, rad, rad, in the order of ``path_table.PARAMETERS``: the rms error, or with a ``quantile`` between 0 and 1
    the bound below which this share of absolute errors lies. NaN where no measured receiver can tell.
    :func:`fold_errors` and :meth:`FoldErrors.spread` are its two steps, and say how, and what is raised.
    """
    return fold_errors(model, measured, num_folds).spread(receivers_m, quantile)


def can_tell(measured: PathTable, num_folds: int = 5) -> bool:
    """Whether so many receivers have a path of known power that errors can be told by ``num_folds`` folds."""
    return _lit(measured).sum() >= 2 * num_folds


def mixed_square(rms: np.ndarray) -> np.ndarray:
    """(N,) expected mixed squared error of rms errors (N, P, 4): mean over what is known, in dB, ns, degrees squared.

    As Liu et al. pool them, "PINN and GNN-based RF Map Construction for Wireless Communication Systems", section IV.
    Raises ValueError where nothing is known of a receiver.
    """
    known = np.isfinite(rms)
    if not known.any((1, 2)).all():
        raise ValueError(f"of {int((~known.any((1, 2))).sum())} of {len(rms)} receivers no error is known")
    return np.nansum((rms * PER_UNIT) ** 2, axis=(1, 2)) / known.sum((1, 2))


class FoldErrors(NamedTuple):
    """What a method gets wrong at measured receivers (M, 3) [m] that it was not told of.

    ``distance_m``: (M,) to the nearest receiver that it was told of. ``error``: (M, P, 4) float64, predicted − measured
    [dB, s, rad, rad], azimuths in [−π, π); NaN where a number was not measured or not predicted.
    """

    receivers_m: np.ndarray
    distance_m: np.ndarray
    error: np.ndarray

    def spread(self, receivers_m: np.ndarray, quantile: float | None = None) -> np.ndarray:
        """As :func:`spread`. A receiver's is the same whatever others are asked for with it.

        At a place d metres from the nearest measured receiver the error is c·s, s = d^γ · mean(|e| / d_e^γ) over the 8
        nearest receivers that can tell, their errors e and distances d_e, and a little of the mean of all. Each
        parameter has its c and γ, for which every measured receiver is told by the others: γ in 0 to ¾ has the least
        pinball loss of the bound of nine in ten (Koenker and Bassett, Econometrica 1978), and c makes Σ(c·s)² = Σe², or
        lets the share ``quantile`` lie within c·s (split conformal prediction: Lei et al., JASA 2018). Distances count
        from what one receiver in twenty has, so that the error does not vanish where it was measured. No angle is more
        than π. Raises ValueError for a ``quantile`` that is not between 0 and 1.
        """
        if quantile is not None and not 0 < quantile < 1:
            raise ValueError(f"quantile must lie between 0 and 1, got {quantile:g}")
        receivers_m = np.asarray(receivers_m, np.float64)
        own, asked = self._reach(receivers_m)
        found = np.full((len(receivers_m), *self.error.shape[1:]), np.nan)
        nearest: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        for parameter in range(len(PARAMETERS)):
            ranks = {}
            for rank, size in enumerate(np.abs(self.error[..., parameter]).T):
                known = np.isfinite(size)
                if known.any():
                    mask = known.tobytes()
                    nearest[mask] = nearest.get(mask) or _nearest(self.receivers_m[known], receivers_m)
                    ranks[rank] = (size[known], own[known], *nearest[mask])
            if ranks:
                exponent, factor = _law([part[:3] for part in ranks.values()], quantile)
                for rank, (size, at, _others, around) in ranks.items():
                    found[:, rank, parameter] = factor * _carried(size, at, around, asked, exponent)
        found[..., [_ZENITH, _AZIMUTH]] = np.minimum(found[..., [_ZENITH, _AZIMUTH]], np.pi)
        return found

    def _reach(self, receivers_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(M,) and (N,) distances to what was told, in those that are usual."""
        from scipy.spatial import cKDTree

        least_m, usual_m = np.maximum(np.quantile(self.distance_m, (0.05, 0.5)), 1e-3)
        asked_m = cKDTree(self.receivers_m).query(receivers_m)[0]
        return np.maximum(self.distance_m, least_m) / usual_m, np.maximum(asked_m, least_m) / usual_m


def fold_errors(model: PathPredictor, measured: PathTable, num_folds: int = 5) -> FoldErrors:
    """Every measured receiver as ``model`` completes it from the receivers of the other folds, always the same folds.

    A method that was trained on these receivers has seen them: its errors come out too small, and are honest only of a
    method that learns nothing or was trained elsewhere. Raises ValueError for fewer than two folds, and if not at least
    two receivers a fold have a path of known power.
    """
    from scipy.spatial import cKDTree

    lit = _lit(measured)
    if num_folds < 2:
        raise ValueError(f"num_folds must be 2 or more, got {num_folds}")
    if not can_tell(measured, num_folds):
        raise ValueError(
            f"{int(lit.sum())} measured receivers have a path of known power; {num_folds} folds need {2 * num_folds}"
        )
    # Those who hear something are dealt first, so that every fold has its share of them.
    order = np.random.default_rng(0).permutation(len(measured))
    order = order[np.argsort(~lit[order], kind="stable")]
    fold = np.empty(len(measured), int)
    fold[order] = np.arange(len(measured)) % num_folds
    error, distance_m = np.full(measured.values.shape, np.nan), np.zeros(len(measured))
    for out in (fold == number for number in range(num_folds)):
        told, places_m = measured.take(~out), measured.receivers_m[out]
        with torch.no_grad():
            predicted = model.complete(told, places_m)
        error[out] = predicted.values.astype(np.float64) - measured.values[out]
        distance_m[out] = cKDTree(told.receivers_m).query(places_m)[0]
    error[..., _AZIMUTH] = (error[..., _AZIMUTH] + np.pi) % (2 * np.pi) - np.pi
    return FoldErrors(measured.receivers_m, distance_m, error)


def _lit(measured: PathTable) -> np.ndarray:
    return (measured.valid & np.isfinite(measured.power_db)).any(1)


def _nearest(places_m: np.ndarray, wanted_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the nearest places (M, 3): of every place without itself, (M, K'), and of the wanted ones, (N, K)."""
    from scipy.spatial import cKDTree

    tree, num = cKDTree(places_m), min(_NUM_AROUND, len(places_m))
    others = tree.query(places_m, k=range(1, min(_NUM_AROUND + 1, len(places_m)) + 1))[1]
    itself = others == np.arange(len(places_m))[:, None]
    others = np.take_along_axis(others, np.argsort(itself, axis=1, kind="stable"), axis=1)[:, :-1]
    return others, tree.query(wanted_m, k=range(1, num + 1))[1]


def _carried(size: np.ndarray, at: np.ndarray, rows: np.ndarray, wanted: np.ndarray, exponent: float) -> np.ndarray:
    """(N,) s, from errors (M,) ``at`` their distances to ``wanted`` (N,) ones; ``rows``: (N, K) who is asked."""
    level = size / at**exponent
    return (level[rows].sum(1) + _WEIGHT_OF_ALL * level.mean()) / (rows.shape[1] + _WEIGHT_OF_ALL) * wanted**exponent


def _law(ranks: list[tuple[np.ndarray, np.ndarray, np.ndarray]], quantile: float | None) -> tuple[float, float]:
    """γ and c of one parameter from errors, distances and who else is near, of all ranks."""
    size = np.concatenate([size for size, _at, _others in ranks])
    best = (np.inf, 0.0, size)
    for exponent in _EXPONENTS:
        told = np.concatenate([_carried(size, at, others, at, exponent) for size, at, others in ranks])
        bound = _factor(size, told, _SHARE) * told
        loss = float(np.mean(bound + np.maximum(size - bound, 0.0) / (1 - _SHARE)))
        best = min(best, (loss, exponent, told), key=lambda one: one[0])
    _loss, exponent, told = best
    if quantile is not None:
        return exponent, _factor(size, told, quantile)
    return exponent, float(np.sqrt((size**2).sum() / max((told**2).sum(), np.finfo(float).tiny)))


def _factor(size: np.ndarray, told: np.ndarray, share: float) -> float:
    # Where nothing is told nothing was wrong, and any factor will do.
    return float(np.quantile(np.divide(size, told, out=np.zeros_like(size), where=told > 0), share, method="higher"))
