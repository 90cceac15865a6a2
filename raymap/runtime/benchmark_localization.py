"""How far receivers are led astray by each training's maps: Table III, on towns of its own with more transmitters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from raymap.data import shards
from raymap.data.schema import CARD_FILE, DatasetCard
from raymap.data.sources import Counts, MapPlan
from raymap.evaluation.localization import NOISE_DB
from raymap.runtime import cluster
from raymap.runtime.localize import score_points
from raymap.storage import whole

#: Transmitters that a receiver hears, and how far off what it measures is [dB].
RULE = {"num_transmitters": 5, "noise_db": NOISE_DB}


def plan(benchmark: MapPlan) -> MapPlan:
    """The test towns of a benchmark's plan, tiles that do not overlap, each with the transmitters of :data:`RULE`."""
    changes = {
        "name": f"{benchmark.name}-localization",
        "train_cities": (),
        "num_generated": Counts(test=benchmark.num_generated.test),
        "num_transmitters": Counts(test=RULE["num_transmitters"]),
        "test_stride_m": benchmark.shape[0] * benchmark.cell_m,
    }
    return MapPlan(**{**benchmark.model_dump(), **changes})


def keep(folder: Path, models: Mapping[str, str | Path], benchmark: MapPlan, data: Path) -> Path:
    """Let ``models`` (name -> folder) locate receivers and keep the points in a training's ``folder``; their file.

    ``benchmark``: the plan whose test cities are meant, of the right kind. ``data``: folder of the dataset, made now if
    there is none.
    """
    path = _path(folder)
    if not (data / CARD_FILE).is_file():
        cluster.connect(min_cpus=2)
        shards.generate(plan(benchmark), data)
    points = score_points(models, str(data), "test", **RULE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        points.assign(dataset=DatasetCard.load(data).fingerprint).to_parquet(temporary, index=False)
    return path


def load(folder: Path) -> pd.DataFrame | None:
    """What :func:`keep` wrote into a training's folder, None if it has not."""
    path = _path(folder)
    return pd.read_parquet(path) if path.is_file() else None


def _path(folder: Path) -> Path:
    return folder / "scores" / "localization.parquet"
