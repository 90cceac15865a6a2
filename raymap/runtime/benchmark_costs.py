"""What a prediction by each of the benchmark's methods costs, measured one after the other in one run.

Scores are made whenever a training ends, beside whatever else the machine does; latencies measured then cannot be
compared. These can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from raymap.config import DataConfig
from raymap.data.batch import from_columns
from raymap.data.columns import add_dominant_path
from raymap.evaluation.summary import COSTS
from raymap.models import base
from raymap.runtime import benchmark_examples, cost, provenance
from raymap.storage import write_text


def measure(path: Path, models: Mapping[str, Mapping[str, Path]], data: Mapping[str, DataConfig], split: str) -> dict:
    """Costs of ``models`` (kind of maps -> method -> folder) on one map each of ``data`` (kind -> dataset).

    The map is the first that the benchmark's page shows of ``split``. Writes them to ``path`` and returns them: kind ->
    method -> what ``runtime.cost.of`` tells, beside ``commit`` and ``hardware``.
    """
    found: dict = {"commit": provenance.git_commit(), "hardware": provenance.hardware(), "kinds": {}}
    for kind, folders in models.items():
        columns = {name: values[:1] for name, values in benchmark_examples.choose(data[kind], split).items()}
        costs = found["kinds"].setdefault(kind, {})
        for method, folder in folders.items():
            model = base.load(folder)
            seen = add_dominant_path(columns) if model.config.reads("dominant_path") else columns
            costs[method] = cost.of(model, from_columns(seen).blind())
            print(f"[benchmark] {kind} {method}: {costs[method]['latency_ms']:.0f} ms", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(found, indent=1) + "\n")
    return found


def put(rows: pd.DataFrame, path: Path, kind: str) -> pd.DataFrame:
    """The rows of a table with the costs that :func:`measure` wrote to ``path``, if it did, in place of their own."""
    if not path.is_file():
        return rows
    costs = json.loads(path.read_text())["kinds"].get(kind, {})
    changed = {}
    for key in COSTS:
        own = rows[key] if key in rows else pd.Series(np.nan, rows.index)
        told = rows["method"].map({method: found[key] for method, found in costs.items()})
        changed[key] = told.astype(float).fillna(own.astype(float))
    return rows.assign(**changed)
