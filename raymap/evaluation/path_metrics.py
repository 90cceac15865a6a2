"""Errors of predicted paths against the true ones, as scores of one prediction and as means over several.

Path l is compared with path l, both strongest first, as in Liu et al., "PINN and GNN-based RF Map Construction for
Wireless Communication Systems", section IV. Its MSE pools powers [dB], delays [ns] and both angles [deg], whatever
their units; this *mixed* form is scored here too, beside every parameter by itself.

A pair counts where the true path exists and its number is known. Where the prediction has no such path, the error is
that of 0 dB, of 0 ns, of the zenith at the farther end of [0°, 180°] and of the opposite azimuth. What is predicted is
seldom that far off, so leaving paths out does not pay. How many are left out, and how many are made up, is scored too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from raymap.data.path_table import PARAMETERS, PER_UNIT, PathTable
from raymap.evaluation.intervals import clustered_mean, clustered_ratio
from raymap.evaluation.summary import frame

#: What of a path is scored, in the order of ``path_table.PARAMETERS``, and the unit of its errors.
UNITS = {"power": "dB", "delay": "ns", "zenith": "deg", "azimuth": "deg"}
_ZENITH, _AZIMUTH = PARAMETERS.index("zenith_rad"), PARAMETERS.index("azimuth_rad")
#: Shares of paths whose absolute error is at most the score of that name.
QUANTILES = {"p50": 0.5, "p90": 0.9}
#: Columns of runs that tell what a method costs, and how its draws become one number.
COSTS = {"fit_s": "median", "predict_ms": "median", "peak_memory_mb": "max", "parameters": "max"}


def in_units(table: PathTable) -> np.ndarray:
    """(N, P, 4) float64, the numbers of every path in :data:`UNITS`; NaN where they are not known."""
    return table.values.astype(np.float64) * PER_UNIT


def errors(true: PathTable, predicted: PathTable) -> np.ndarray:
    """(N, P, 4) float64, predicted − true in :data:`UNITS`; NaN where no path is true or its number is not known.

    Azimuth errors are wrapped into [−180°, 180°). A path that is true but not predicted has the errors that stand at
    the head of this file.

    Raises ValueError for tables of other receivers or of other numbers of paths, nothing to compare with, and a
    predicted path of which a number is missing that is compared.
    """
    _require_pair(true, predicted)
    wanted, told = in_units(true), in_units(predicted)
    missing = np.isfinite(wanted) & predicted.valid[..., None] & ~np.isfinite(told)
    if missing.any():
        receiver, path, parameter = np.argwhere(missing)[0]
        raise ValueError(
            f"{int(missing.sum())} numbers of predicted paths are not known, the first {PARAMETERS[parameter]} of path "
            f"{path + 1} at receiver {receiver}; a predicted path needs all of {', '.join(PARAMETERS)}"
        )
    error = told - wanted
    error[..., _AZIMUTH] = (error[..., _AZIMUTH] + 180.0) % 360.0 - 180.0
    left_out = -wanted
    left_out[..., _ZENITH] = np.where(wanted[..., _ZENITH] < 90.0, 180.0, 0.0) - wanted[..., _ZENITH]
    left_out[..., _AZIMUTH] = np.where(np.isfinite(wanted[..., _AZIMUTH]), -180.0, np.nan)
    return np.where(predicted.valid[..., None], error, left_out)


def scores(true: PathTable, predicted: PathTable) -> dict[str, float]:
    """What one prediction scores. Flat keys ``"{paths}/{parameter}/{score}"``, NaN where nothing can be compared.

    ``paths``: ``all``, or ``path1`` to ``pathP`` alone. ``parameter``: those of :data:`UNITS`, and ``mixed``, all
    four pooled. With x the true numbers (azimuths in (−180°, 180°]) and e the errors of what is compared:

    - ``mse`` mean of e², in the unit squared; ``rmse`` its root; ``nmse`` Σe² / Σx²
    - ``p50``, ``p90``: quantiles of \\|e\\|, in the unit; not of ``mixed``

    Of existence: ``paths/missed``, the share of true paths that are not predicted; ``paths/invented``, the share of
    predicted paths that are not true; ``paths/wrong``, the share of all N·P places where one table has a path and the
    other none; ``receivers/wrong_number``, the share of receivers with another number of paths than is true.

    Raises ValueError as :func:`errors`.
    """
    error = errors(true, predicted)
    size = np.where(np.isfinite(error), in_units(true), np.nan)
    found: dict[str, float] = {}
    places = {"all": slice(None)} | {f"path{path + 1}": slice(path, path + 1) for path in range(true.num_paths)}
    for name, place in places.items():
        found |= _pooled(f"{name}/mixed", error[:, place], size[:, place])
        for index, parameter in enumerate(UNITS):
            one = error[:, place, index]
            found |= _pooled(f"{name}/{parameter}", one, size[:, place, index])
            known = np.abs(one[np.isfinite(one)])
            for key, share in QUANTILES.items():
                found[f"{name}/{parameter}/{key}"] = float(np.quantile(known, share)) if len(known) else np.nan
    return found | _existence(true.valid, predicted.valid)


def rows(true: PathTable, predicted: PathTable) -> pd.DataFrame:
    """One row per true path, by receiver and path: squared errors, for intervals over receivers.

    Columns ``receiver`` (its place in the table), ``path`` (1 is the strongest), ``told`` (whether it is predicted),
    and in the units squared ``power``, ``delay``, ``zenith``, ``azimuth`` and their mean ``mixed``, over what is known
    (else NaN). ``intervals.clustered_mean(rows["mixed"], rows["receiver"])`` has the mean ``all/mixed/mse`` of
    :func:`scores` where all numbers of true paths are known. Raises ValueError as :func:`errors`.
    """
    square = errors(true, predicted) ** 2
    known = np.isfinite(square)
    mixed = np.divide(
        np.nansum(square, axis=-1), known.sum(-1), out=np.full(true.valid.shape, np.nan), where=known.any(-1)
    )
    receiver, path = np.nonzero(true.valid)
    table = {"receiver": receiver, "path": path + 1, "told": predicted.valid[true.valid], "mixed": mixed[true.valid]}
    return pd.DataFrame(table | dict(zip(UNITS, square[true.valid].T, strict=True)))


def summarise(runs, reference: str | None = None) -> dict:
    """Means over random draws with 95 % intervals: scene -> rate -> method -> numbers; rates ascend, as ``"0.05"``.

    ``runs``: a DataFrame or a list of dicts, a row per scene, sampling rate, method and draw, with columns ``scene``,
    ``rate`` (share of receivers that are measured), ``method``, ``seed`` (of the draw; equal seeds are the same draw
    for all methods), the keys of :func:`scores`, and optionally :data:`COSTS`. Of every method:

    - ``scores``: key -> ``{"mean", "low", "high", "num"}``, the t-interval over draws (``intervals.clustered_mean``
      with the draw as cluster); num is of draws. It speaks of other draws in this scene, not of other scenes
    - ``ratios``: key -> the same of the mean over that of ``reference``, for every ``mse``, paired over the draws that
      both have (``intervals.clustered_ratio``); empty for the reference, and where it was not run
    - ``costs``: the median or most of every cost, None where none is told

    Raises ValueError for missing columns, a rate outside [0, 1], a draw that a method has twice, and a reference
    that is in no run.
    """
    table = frame(runs)
    missing = [name for name in ("rate", "seed") if name not in table]
    if missing:
        raise ValueError(f"runs have no column {', '.join(map(repr, missing))}")
    wrong = table["rate"][~table["rate"].between(0, 1)]
    if len(wrong):
        raise ValueError(f"a sampling rate must lie in [0, 1], got {wrong.iloc[0]}")
    draw = ["scene", "rate", "method", "seed"]
    if table.duplicated(draw).any():
        raise ValueError(f"a draw is there twice: {table.loc[table.duplicated(draw), draw].iloc[0].to_dict()}")
    if reference is not None and reference not in set(table["method"]):
        raise ValueError(f"reference {reference!r} is not among the methods {[*table['method'].unique()]}")
    return {
        str(scene): {
            f"{rate:g}": {
                str(method): _method(run, None if method == reference else runs_at[runs_at["method"] == reference])
                for method, run in runs_at.groupby("method", sort=False)
            }
            for rate, runs_at in part.groupby("rate")
        }
        for scene, part in table.groupby("scene", sort=False)
    }


def _require_pair(true: PathTable, predicted: PathTable) -> None:
    if true.valid.shape != predicted.valid.shape:
        raise ValueError(f"predicted are (receivers, paths) = {predicted.valid.shape}, true are {true.valid.shape}")
    if not np.allclose(true.receivers_m, predicted.receivers_m, rtol=0, atol=1e-3):
        raise ValueError("predicted paths are at other receivers than the true ones, by more than 1 mm")
    if not np.isfinite(true.values).any():
        raise ValueError(f"there is nothing to compare with: {len(true)} receivers without a known number of a path")


def _pooled(key: str, error: np.ndarray, size: np.ndarray) -> dict[str, float]:
    """MSE, RMSE and NMSE of what is finite."""
    num, square, whole = int(np.isfinite(error).sum()), float(np.nansum(error**2)), float(np.nansum(size**2))
    mse = square / num if num else np.nan
    return {f"{key}/mse": mse, f"{key}/rmse": mse**0.5, f"{key}/nmse": square / whole if whole else np.nan}


def _existence(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    def share(of: np.ndarray, among: np.ndarray) -> float:
        return float((of & among).sum() / among.sum()) if among.any() else np.nan

    return {
        "paths/missed": share(~predicted, true),
        "paths/invented": share(~true, predicted),
        "paths/wrong": float((true != predicted).mean()),
        "receivers/wrong_number": float((true.sum(1) != predicted.sum(1)).mean()),
    }


def _method(part: pd.DataFrame, base: pd.DataFrame | None) -> dict:
    keys = [key for key in part.columns if "/" in str(key)]
    seeds = part["seed"].to_numpy()
    found: dict = {"scores": {key: clustered_mean(part[key], seeds) for key in keys}, "ratios": {}}
    if base is not None and len(base):
        found["ratios"] = {key: _ratio(part, base, key) for key in keys if key.endswith("/mse")}
    known: dict[str, Sequence] = {key: part[key].dropna() if key in part else () for key in COSTS}
    found["costs"] = {key: float(known[key].agg(how)) if len(known[key]) else None for key, how in COSTS.items()}
    return found


def _ratio(part: pd.DataFrame, base: pd.DataFrame, key: str) -> dict:
    """Over the draws in which both have a score."""
    pairs = part[["seed", key]].merge(base[["seed", key]], on="seed", suffixes=("", " of base")).dropna()
    return clustered_ratio(pairs[key], pairs[f"{key} of base"], pairs["seed"], pairs["seed"])
