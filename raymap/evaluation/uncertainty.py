"""How honest an error bar is: coverage, correlation with the error, proper scores, and what mends it.

A map comes with a mean m and a spread s in every cell, both from K predictions (members). Were truth and members drawn
from one Gaussian, (truth - m) / (s·√(1 + 1/K)) would follow Student's t with K - 1 degrees of freedom, so the interval
m ± t·√(1 + 1/K)·s is what such members promise; the usual ±1.645·s of four members would hold 76 % where 90 % are
promised. A spread that was fitted to errors is no longer that of K members: K = ∞, and m ± 1.645·s is the promise.

All arrays are numpy; maps are (B, H, W), ``outdoor`` (B, H, W) bool says which cells count, values share one unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from raymap.evaluation.intervals import clustered_mean

#: Share of cells that an error bar shall hold, and what it is fitted for.
LEVEL = 0.9
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
#: Fits look at no more cells than this, evenly taken; the third digit of a coverage does not need more.
_MAX_CELLS = 100_000


class Bars(NamedTuple):
    """Error bars against errors: ``error`` = truth - mean and ``spread``, (B, H, W) each; ``outdoor``: what counts.

    ``num``: K members that the spread was computed from, or infinity.
    """

    error: np.ndarray
    spread: np.ndarray
    outdoor: np.ndarray
    num: float = math.inf


def compare(mean, spread, true, outdoor, num: float = math.inf) -> Bars:
    """Error bars of predicted maps against the true ones, (B, H, W) each.

    Raises ValueError for shapes that differ, a mask that is not bool, values that are not finite (in the truth:
    outdoors), a spread below 0 and fewer than two members.
    """
    mean, spread, true, outdoor = (np.asarray(values) for values in (mean, spread, true, outdoor))
    if outdoor.ndim != 3 or outdoor.dtype != bool:
        raise ValueError(f"outdoor must be (B, H, W) of bool, got {outdoor.shape} of {outdoor.dtype}")
    for name, values, where in (("mean", mean, ...), ("spread", spread, ...), ("true", true, outdoor)):
        if values.shape != outdoor.shape:
            raise ValueError(f"{name} has shape {values.shape}, outdoor has {outdoor.shape}")
        if not np.isfinite(values[where]).all():
            raise ValueError(f"{name} holds values that are not finite")
    if (spread < 0).any():
        raise ValueError(f"a spread is 0 or more, the least here is {spread.min()}")
    if num < 2:
        raise ValueError(f"a spread needs at least two members, got {num}")
    return Bars(np.where(outdoor, true, 0.0) - mean.astype(np.float64), spread.astype(np.float64), outdoor, num)


def half_width(bars: Bars, level: float = LEVEL) -> np.ndarray:
    """(B, H, W) half of the central interval: t(K - 1)·√(1 + 1/K)·s. Raises ValueError for a level not in (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    upper = 0.5 + level / 2
    quantile = stats.norm.ppf(upper) if math.isinf(bars.num) else stats.t.ppf(upper, bars.num - 1)
    return float(quantile) * math.sqrt(1 + 1 / bars.num) * bars.spread


def coverage(bars: Bars, level: float = LEVEL) -> np.ndarray:
    """(B,) share of each map's outdoor cells whose truth lies in the interval; NaN for a map without any."""
    return mean_over(np.abs(bars.error) <= half_width(bars, level), bars.outdoor)


def reliability(bars: Bars, scenes, levels: Sequence[float] = LEVELS) -> list[dict]:
    """Promised against held: ``{"level", "mean", "low", "high", "num"}`` for each of ``levels``.

    ``scenes``: (B,) names; the intervals are clustered by them (``intervals.clustered_mean``).
    """
    return [{"level": level, **clustered_mean(coverage(bars, level), scenes)} for level in levels]


def interval_score(bars: Bars, level: float = LEVEL) -> np.ndarray:
    """(B,) mean interval score, least for the narrowest honest bars; in the unit of the map.

    Width plus 2 / (1 - level) times how far the truth lies outside (Gneiting and Raftery, JASA 2007, eq. 43). Unlike
    coverage it cannot be bettered by a spread that says nothing about where the errors are.
    """
    half = half_width(bars, level)
    missed = np.maximum(np.abs(bars.error) - half, 0.0)
    return mean_over(2 * half + 2 / (1 - level) * missed, bars.outdoor)


def fit_factor(bars: Bars, level: float = LEVEL) -> float:
    """What the spread must be multiplied by for its intervals to hold the share ``level`` of these cells.

    The quantile ``level`` of |error| over the half width: split conformal prediction with the scaled residual as its
    score (Lei et al., JASA 2018), so on maps like these the promise holds whatever the errors' distribution. Fit it on
    maps that the model was not trained on.

    Raises ValueError if no cell is outdoors, or if more cells than the rest of the share have an error but no spread.
    """
    error, half = _cells(bars, np.abs(bars.error), half_width(bars, level))
    # Where nothing is spread and nothing is wrong, as on the floor of the scale, any factor will do.
    ratio = np.divide(error, half, out=np.where(error > 0, np.inf, 0.0), where=half > 0)
    factor = float(np.quantile(ratio, level, method="higher"))
    if not math.isfinite(factor):
        raise ValueError(f"more than {1 - level:.0%} of the cells have an error but no spread: no factor helps")
    return factor


def fit_law(bars: Bars, groups: Sequence[np.ndarray], level: float = LEVEL) -> tuple[float, list[float]]:
    """A factor on the spread and one amount to add per group of cells, which make the interval score least.

    ``groups``: (B, H, W) bool masks, e.g. where the transmitter is seen and where not. It is the quantile regression of
    |error| on the spread and the groups (Koenker and Bassett, Econometrica 1978), with coefficients of 0 or more, whose
    pinball loss is the interval score. Raises ValueError if no cell is outdoors.
    """
    error, half, *masks = _cells(bars, np.abs(bars.error), half_width(bars, level), *groups)
    unit = half_width(bars._replace(spread=np.ones(())), level)
    features = np.stack([half, *(unit * mask for mask in masks)])
    size = features.mean(axis=1).clip(min=1e-12)
    start = np.quantile(error, level) / len(features) / size

    def score(amounts: np.ndarray) -> float:
        width = np.abs(amounts * start) @ features
        return float(np.mean(width + np.maximum(error - width, 0.0) / (1 - level)))

    accuracy = {"maxiter": 400, "xatol": 1e-3, "fatol": 1e-5 * score(np.ones(len(features)))}
    found = np.abs(optimize.minimize(score, np.ones(len(features)), method="Nelder-Mead", options=accuracy).x) * start
    return float(found[0]), [float(value) for value in found[1:]]


def ensemble_crps(members, true) -> np.ndarray:
    """Fair continuous ranked probability score of an ensemble, cell by cell; (K, ...) against (...), unit of the map.

    mean |x_i - y| - Σ_i Σ_j |x_i - x_j| / (2·K·(K - 1)): an estimate of the score of the distribution the members are
    drawn from, which does not reward having more of them (Ferro, QJRMS 2014). For one certain forecast it is the
    absolute error. Raises ValueError for fewer than two members.
    """
    members, true = np.sort(np.asarray(members, np.float64), axis=0), np.asarray(true, np.float64)
    num = len(members)
    if num < 2:
        raise ValueError(f"the fair score needs at least two members, got {num}")
    ranks = np.arange(num).reshape(-1, *[1] * true.ndim)
    pairs = ((2 * ranks - num + 1) * members).sum(axis=0)  # Σ |x_i - x_j| over i < j
    return np.abs(members - true).mean(axis=0) - pairs / (num * (num - 1))


def gaussian_crps(error, spread) -> np.ndarray:
    """Continuous ranked probability score of N(mean, spread²), cell by cell (Gneiting et al., MWR 2005, eq. 5).

    With z = error / spread: spread·(z·(2Φ(z) - 1) + 2φ(z) - 1/√π); the absolute error where the spread is 0.
    """
    error, spread = np.abs(np.asarray(error, np.float64)), np.asarray(spread, np.float64)
    z = np.divide(error, spread, out=np.zeros_like(error), where=spread > 0)
    score = spread * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / math.sqrt(math.pi))
    return np.where(spread > 0, score, error)


def rank_correlation(first, second) -> float:
    """Spearman's ρ of two (N,) arrays, ties shared; NaN for fewer than three values or if one does not vary."""
    first, second = (stats.rankdata(values) for values in (first, second))
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


def correlation_over_cells(bars: Bars) -> np.ndarray:
    """(B,) Spearman's ρ of |error| and spread over each map's outdoor cells."""
    rows = zip(bars.error, bars.spread, bars.outdoor, strict=True)
    return np.array([rank_correlation(np.abs(error)[kept], spread[kept]) for error, spread, kept in rows])


def correlation_over_maps(bars: Bars) -> float:
    """Spearman's ρ over maps of the root mean square error and the root mean square spread, outdoors."""
    errors, spreads = (np.sqrt(mean_over(values**2, bars.outdoor)) for values in (bars.error, bars.spread))
    kept = np.isfinite(errors)
    return rank_correlation(errors[kept], spreads[kept])


def if_honest(bars: Bars, seed: int = 0) -> Bars:
    """The same spreads with each error drawn from what they promise: the best that they could score.

    Errors are drawn even if their size is known, so no spread correlates with them perfectly.
    """
    rng = np.random.default_rng(seed)
    shape = bars.error.shape
    drawn = rng.standard_normal(shape) if math.isinf(bars.num) else rng.standard_t(bars.num - 1, shape)
    return bars._replace(error=math.sqrt(1 + 1 / bars.num) * bars.spread * drawn)


def mean_over(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(B,) means of (B, H, W) over a mask, NaN where it is empty."""
    num = mask.sum(axis=(1, 2))
    total = np.where(mask, values, 0.0).sum(axis=(1, 2))
    return np.divide(total, num, out=np.full(len(num), np.nan), where=num > 0)


def _cells(bars: Bars, *rasters: np.ndarray) -> list[np.ndarray]:
    """The outdoor cells of each raster, thinned evenly to a number that is quick to fit. ValueError without any."""
    num = int(bars.outdoor.sum())
    if not num:
        raise ValueError("there is no outdoor cell to fit on")
    return [raster[bars.outdoor][:: -(-num // _MAX_CELLS)] for raster in rasters]
