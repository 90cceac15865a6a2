"""From one row per image to the numbers of ``metrics.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from raymap.evaluation.intervals import clustered_mean, clustered_ratio
from raymap.evaluation.metrics import CONVENTIONS

#: Columns that describe what a method costs, and how its rows become one number; those of :data:`_COUNTS` are whole.
COSTS = {
    "latency_ms": "median",
    "maps_per_s": "median",
    "peak_memory_mb": "max",
    "flop": "max",
    "parameters": "max",
    "network_calls": "max",
}
_COUNTS = ("flop", "parameters", "network_calls")
#: What is also scored where it can be: ``metrics.outline_agreement``, ``metrics.helmholtz_residual``.
_EXTRAS = ("outline", "helmholtz")


def summarise(rows, *, dataset: str, split: str, commit: str, command: str, hardware: str) -> dict:
    """The content of ``metrics.json``.

    ``rows``: a pandas DataFrame, a pyarrow Table or a list of dicts, one row per method and image, with columns
    ``method``, ``scene``, the flat keys of ``metrics.score_maps`` (``"raw/all/nmse"``) and optionally those of
    ``metrics.outline_agreement`` (``"outline/dtc"``) and :data:`COSTS`. Other columns are ignored.

    Returns ``{dataset, split, commit, command, hardware, num_scenes, num_images, methods}``, with
    ``methods[name][convention][region][metric] = {mean, low, high, num}`` (95 % interval clustered by scene),
    ``methods[name]["outline"][metric]`` and ``["helmholtz"]`` likewise where scored, and the costs as numbers or None.
    ``num_images`` is the highest number of rows any method has; methods keep the order in which they first appear.

    Raises ValueError if there are no rows or ``method`` or ``scene`` is missing.
    """
    table = frame(rows)
    methods = {str(name): _summarise_method(part) for name, part in table.groupby("method", sort=False)}
    return {
        "dataset": dataset,
        "split": split,
        "commit": commit,
        "command": command,
        "hardware": hardware,
        "num_scenes": int(table["scene"].nunique()),
        "num_images": int(table["method"].value_counts().max()),
        "methods": methods,
    }


def ratio_to_better_floor(rows, floors: Sequence[str], key: str = "raw/all/nmse") -> dict:
    """Every method's error as a multiple of the better floor's: below 1 is better than the floor.

    ``rows`` as in :func:`summarise`; ``floors``: names of the cheap methods that anything learned has to beat;
    ``key``: a column in which less is better. The better floor is the one with the lower mean.

    Returns ``{"key", "floors", "floor", "ratios"}`` with ``floor`` the name of the better one and
    ``ratios[method] = {mean, low, high, num}``. The ratio is of means, not a mean of ratios; its 95 % interval is
    paired and clustered by scene (``intervals.clustered_ratio``).

    Raises ValueError if a floor or the column is missing, no floor has a score, or methods were scored on different
    images.
    """
    table = frame(rows)
    if key not in table:
        raise ValueError(f"no column {key!r} in the rows")
    parts = {str(name): part for name, part in table.groupby("method", sort=False)}
    missing = [name for name in floors if name not in parts]
    if missing or not floors:
        raise ValueError(f"floors {missing or list(floors)} are not among the methods {list(parts)}")
    means = {name: clustered_mean(*column(parts[name], key))["mean"] for name in floors}
    means = {name: mean for name, mean in means.items() if mean is not None}
    if not means:
        raise ValueError(f"no floor of {list(floors)} has a score in {key!r}")
    floor = min(means, key=means.__getitem__)
    base_values, base_scenes = column(parts[floor], key)
    ratios = {}
    for name, part in parts.items():
        values, scenes = column(part, key)
        try:
            ratios[name] = clustered_ratio(values, base_values, scenes, base_scenes)
        except ValueError as error:
            raise ValueError(f"{name!r} against floor {floor!r} in {key!r}: {error}") from error
    return {"key": key, "floors": list(floors), "floor": floor, "ratios": ratios}


def write_metrics(folder, summary: dict) -> Path:
    """Write ``metrics.json`` into a folder, which is made if need be; returns its path.

    Strict JSON: what is not finite has become null. Raises TypeError for values JSON does not know.
    """
    path = Path(folder) / "metrics.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_strict(summary), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def frame(rows) -> pd.DataFrame:
    """Rows (DataFrame, pyarrow Table, list of dicts) as a DataFrame. Raises ValueError as :func:`summarise` does."""
    table = rows if isinstance(rows, pd.DataFrame) else rows.to_pandas() if hasattr(rows, "to_pandas") else None
    table = pd.DataFrame(list(rows)) if table is None else table
    missing = [name for name in ("method", "scene") if name not in table]
    if table.empty or missing:
        raise ValueError(f"rows need columns 'method' and 'scene' and at least one row; missing: {missing or 'rows'}")
    if table[["method", "scene"]].isna().any(axis=None):
        raise ValueError("every row needs a method and a scene; some are empty")
    return table


def _summarise_method(part: pd.DataFrame) -> dict:
    result: dict = {}
    for key in part.columns:
        path = str(key).split("/")
        is_map, is_extra = len(path) == 3 and path[0] in CONVENTIONS, len(path) == 2 and path[0] in _EXTRAS
        if not (is_map or is_extra):
            continue
        score = clustered_mean(*column(part, key))
        if is_extra and score["num"] == 0:
            continue
        leaf = result
        for name in path[:-1]:
            leaf = leaf.setdefault(name, {})
        leaf[path[-1]] = score
    for key, how in COSTS.items():
        values = pd.to_numeric(part[key]).dropna() if key in part else pd.Series(dtype=float)
        cost = float(values.agg(how)) if len(values) else None
        result[key] = int(cost) if key in _COUNTS and cost is not None else cost
    return _strict(result)


def column(part: pd.DataFrame, key: str) -> tuple[np.ndarray, np.ndarray]:
    """One column as (N,) float64, NaN where empty, and the scene of each row."""
    return pd.to_numeric(part[key]).to_numpy(np.float64, na_value=np.nan), part["scene"].to_numpy()


def _strict(value):
    """The same tree in plain Python types, with None for numbers that are not finite."""
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
