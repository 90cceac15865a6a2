"""Is what a sweep found better, or lucky? Trained anew from several seeds, beside the job as it was before.

Trials are chosen by the same validation maps that they are told by, so the best of many looks better than it is. Both
settings are trained from the same seeds and scored on maps that neither training nor choice has seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from raymap.config import TrackingConfig
from raymap.data.schema import DatasetCard
from raymap.evaluation import paired
from raymap.evaluation.intervals import clustered_mean
from raymap.runtime.benchmark_entries import TEST_SPLITS
from raymap.runtime.evaluate import score_rows
from raymap.runtime.method import MethodJob, train
from raymap.space import overridden
from raymap.storage import whole, write_text

CONFIRM_FOLDER, CONFIRM_FILE = "confirm", "confirm.json"
FOUND, BEFORE = "settings found", "settings of the job"
KEY = "raw/all/nmse"


def confirm(
    job: MethodJob,
    overrides: Mapping[str, Any],
    folder: Path,
    tracking: TrackingConfig,
    seeds: int,
    num_steps: int | None,
) -> dict[str, Any]:
    """Train ``job`` with and without ``overrides`` from ``seeds`` seeds each; returns what ``confirm.json`` holds.

    ``job``: as its sweep's trials begin with it, so stages that no setting changes are shared. ``num_steps``: of the
    stage that draws the map, if not the job's. What is trained and scored already stays. Raises
    ValueError for a dataset without a test split, else as :func:`raymap.runtime.method.train`.
    """
    _unseen(job.resolved_data.folder)
    where = folder / CONFIRM_FOLDER
    if num_steps is not None:
        job = overridden(job, {"map.optim.num_steps": num_steps})
    scored = []
    for seed in range(seeds):
        for title, values in ((FOUND, overrides), (BEFORE, {})):
            name = f"{title.split()[-1]}-{seed}"
            about = {"name": name, "storage": str(where), "seed": seed, "tracking": tracking}
            scored.append(_scores(overridden(job, values).model_copy(update=about), title))
    rows = pd.concat(scored)
    found = {
        "overrides": dict(overrides), "seeds": seeds, "num_steps": job.map.optim.num_steps,
        "splits": {str(split): _compared(part) for split, part in rows.groupby("split", sort=False)},
    }  # fmt: skip
    write_text(folder / CONFIRM_FILE, json.dumps(found, indent=2) + "\n")
    return found


def _scores(job: MethodJob, title: str) -> pd.DataFrame:
    """One row per unseen map, of a job that is trained if it is not yet."""
    out = job.folder / "scores.parquet"
    if not out.is_file():
        model, data = train(job), job.resolved_data
        parts = [
            score_rows({title: str(model)}, data.folder, split, outline=data.outline, true_outlines=data.true_outlines,
                       measurements=data.measurements).assign(split=split, seed=job.seed)
            for split in _unseen(data.folder)
        ]  # fmt: skip
        with whole(out) as temporary:
            pd.concat(parts).to_parquet(temporary, index=False)
    return pd.read_parquet(out)


def _unseen(data: str) -> list[str]:
    splits = DatasetCard.load(data).splits
    found = [split for split in TEST_SPLITS if split in splits]
    if not found:
        raise ValueError(f"nothing in {data} is unseen: it has {', '.join(splits)}, but no {' or '.join(TEST_SPLITS)}")
    return found


def _compared(rows: pd.DataFrame) -> dict[str, Any]:
    """Of one split: every method's NMSE, by seed too, and whether one is better.

    The maps may tell two sets of trainings apart that differ by their seeds alone, so the seeds have to agree, too.
    """
    methods = {}
    for title, part in rows.groupby("method", sort=False):
        by_map = part.groupby(["scene", "tx_id"], as_index=False)[KEY].mean()
        methods[str(title)] = {
            **clustered_mean(by_map[KEY], by_map["scene"]), "by_seed": part.groupby("seed")[KEY].mean().tolist(),
        }  # fmt: skip
    compared = paired.compare(rows, BEFORE, KEY)
    try:
        verdict = paired.verdicts(compared)[FOUND]
    except ValueError as error:
        verdict = f"not told: {error}"
    by_seed = zip(methods[FOUND]["by_seed"], methods[BEFORE]["by_seed"], strict=True)
    if len({found < before for found, before in by_seed}) > 1:
        verdict = "seeds disagree"
    entry = compared["methods"][FOUND]
    return {"num_maps": entry["num_images"], "num_scenes": entry["num_scenes"], "p": entry["p"], "verdict": verdict,
            "methods": methods}  # fmt: skip
