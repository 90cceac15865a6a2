"""Means, quantiles and ratios, with intervals that know that images (or points) of one scene resemble each other.

Eighty transmitters in one city are not eighty independent trials. All intervals here therefore treat the scene as the
unit that was drawn (Liang and Zeger, Biometrika 1986; small-sample factor and t quantile as in Cameron and Miller,
Journal of Human Resources 2015). They need no equal numbers of images per scene.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats


def clustered_mean(values, clusters, level: float = 0.95) -> dict[str, float | int | None]:
    """Mean over images with an interval clustered by scene: ``{"mean", "low", "high", "num"}``.

    ``values``: (N,) floats; ``clusters``: (N,) names or numbers of the scenes. Values that are not finite (an empty
    region, the infinite PSNR of a perfect one) are left out; ``num`` counts what is left. With G scenes, n images,
    mean m and

        e_s = Σ (x_i - m) over the images i of scene s,      SE² = G / (G - 1) · Σ_s e_s² / n²

    the interval is m ± t(G - 1)·SE. It is symmetric and not cut at a metric's bounds. With one scene nothing is known
    of the spread between scenes: low and high are None; with no value, mean too.

    Raises ValueError if the two differ in length or the level is not between 0 and 1.
    """
    values, clusters = _checked(values, clusters, level)
    if not len(values):
        return {"mean": None, "low": None, "high": None, "num": 0}
    mean = float(values.mean())
    names, index = np.unique(clusters, return_inverse=True)
    half = _half_width(_cluster_sums(values - mean, index, len(names)) / len(values), level)
    return {
        "mean": mean,
        "low": None if half is None else mean - half,
        "high": None if half is None else mean + half,
        "num": len(values),
    }


def clustered_ratio(values, base_values, clusters, base_clusters, level: float = 0.95) -> dict[str, float | int | None]:
    """Mean of ``values`` over mean of ``base_values``, paired by scene: ``{"mean", "low", "high", "num"}``.

    Both arrays hold one number ≥ 0 per image, with the scene of each in ``clusters`` and ``base_clusters``; both must
    cover the same scenes with the same number of images each (after leaving out values that are not finite). Images
    need not be in one order. For log R = log(m / b) the delta method gives every scene the influence

        u_s = (1 / n) · Σ (x_i - m) / m - (1 / n) · Σ (y_i - b) / b,      SE² = G / (G - 1) · Σ_s u_s²

    and the interval is R·exp(± t(G - 1)·SE). Pairing counts: a hard scene is hard for both and cancels. With one scene
    low and high are None; so they are for R = 0, whose logarithm does not exist. ``mean`` is None if b = 0 or nothing
    is left.

    Raises ValueError if lengths differ, a value is negative, or the scenes or their numbers of images differ.
    """
    values, clusters = _checked(values, clusters, level)
    base_values, base_clusters = _checked(base_values, base_clusters, level)
    names, index, counts = np.unique(clusters, return_inverse=True, return_counts=True)
    base_names, base_index, base_counts = np.unique(base_clusters, return_inverse=True, return_counts=True)
    if not (np.array_equal(names, base_names) and np.array_equal(counts, base_counts)):
        raise ValueError(
            f"a ratio needs both sides scored on the same images: {len(values)} images in {len(names)} scenes "
            f"against {len(base_values)} in {len(base_names)}"
        )
    if min(values.min(initial=0.0), base_values.min(initial=0.0)) < 0:
        raise ValueError("a ratio of means needs values of 0 or more")
    num = len(values)
    result: dict[str, float | int | None] = {"mean": None, "low": None, "high": None, "num": num}
    if not num or base_values.mean() == 0:
        return result
    mean, base_mean = float(values.mean()), float(base_values.mean())
    result["mean"] = mean / base_mean
    if mean == 0:
        return result
    influence = _cluster_sums(values / mean - 1.0, index, len(names))
    influence = influence - _cluster_sums(base_values / base_mean - 1.0, base_index, len(names))
    half = _half_width(influence / num, level)
    if half is not None:
        result["low"], result["high"] = mean / base_mean * math.exp(-half), mean / base_mean * math.exp(half)
    return result


def clustered_quantile(values, clusters, share: float, level: float = 0.95) -> dict[str, float | int | None]:
    """Quantile with an interval clustered by scene: ``{"quantile", "low", "high", "num"}``.

    ``values``, ``clusters`` and what is left out as in :func:`clustered_mean`; ``share``: 0.5 for the median. The
    interval is Woodruff's (JASA 1952): that of the share of values at or below the quantile, which is a mean and has a
    clustered interval, turned back into values. It ends at the least and the greatest of them. With few scenes it is
    too narrow far from the median: in simulations for the share 0.9, 8 scenes hold the truth in 83 %, 20 in 94 %.

    Raises ValueError as :func:`clustered_mean`, and for a share that is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    values, clusters = _checked(values, clusters, level)
    if not len(values):
        return {"quantile": None, "low": None, "high": None, "num": 0}
    quantile = float(np.quantile(values, share))
    below = clustered_mean(values <= quantile, clusters, level)
    low = high = None
    if below["low"] is not None:
        half = below["high"] - below["mean"]
        low, high = (float(np.quantile(values, min(max(share + shift, 0.0), 1.0))) for shift in (-half, half))
    return {"quantile": quantile, "low": low, "high": high, "num": len(values)}


def _checked(values, clusters, level: float) -> tuple[np.ndarray, np.ndarray]:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    values, clusters = np.asarray(values, dtype=np.float64), np.asarray(clusters)
    if values.ndim != 1 or values.shape != clusters.shape:
        raise ValueError(f"values {values.shape} and clusters {clusters.shape} must be two lists of one length")
    kept = np.isfinite(values)
    return values[kept], clusters[kept]


def _cluster_sums(values: np.ndarray, index: np.ndarray, num_clusters: int) -> np.ndarray:
    return np.bincount(index, weights=values, minlength=num_clusters)


def _half_width(influence: np.ndarray, level: float) -> float | None:
    """Half of the t-interval for one influence per cluster (they sum to zero); None for fewer than two clusters."""
    num_clusters = len(influence)
    if num_clusters < 2:
        return None
    standard_error = math.sqrt(num_clusters / (num_clusters - 1) * float(np.sum(influence**2)))
    return float(stats.t.ppf(0.5 + level / 2, num_clusters - 1)) * standard_error
