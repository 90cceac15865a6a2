"""How a trained diffusion is best sampled: quality against latency, and which ensembles give an honest error bar.

Runs in one process on maps held in memory, so that latencies are those of the model and of nothing else.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from pydantic import Field

from raymap import units
from raymap.config import Settings
from raymap.data.batch import MapBatch, from_columns
from raymap.data.reader import LoadedMaps, ShardReader
from raymap.data.schema import DatasetCard
from raymap.evaluation import uncertainty
from raymap.evaluation.intervals import clustered_mean, clustered_ratio
from raymap.evaluation.summary import column
from raymap.models import base, ensemble
from raymap.models.ensemble import Recipe
from raymap.runtime import cluster, cost, provenance
from raymap.runtime.evaluate import sample_seeds, score_batch

BATCH_SIZE = 16
#: Column of ``metrics.score_maps`` -> its name in the study.
SCORES = {"raw/all/nmse": "nmse", "raw/all/rmse_db": "rmse_db", "raw/all/ssim": "ssim", "raw/all/psnr": "psnr"}
#: Members of the ensembles that are compared: (steps, stochastic).
KINDS = ((1, False), (2, False), (2, True), (3, True))


class Study(Settings):
    """What is sampled how, on which maps."""

    model: str = Field("runs/demo/model", description="folder of a RadioDiff or K2")
    data: str = Field("runs/demo/data", description="dataset folder")
    split: str = Field("test", description="what is scored")
    fitted_on: str = Field("val", description="split that factors of spreads are fitted on")
    max_maps: int = Field(96, ge=2, description="maps scored, evenly from the whole split; as many are fitted on")
    max_slow_maps: int = Field(16, ge=2, description="maps scored with more than ten steps")
    steps: tuple[int, ...] = Field((1, 2, 3, 5, 10, 50), description="network calls per stage")
    num_members: int = Field(8, ge=4, description="members of the larger ensembles; the smaller ones are half")
    pool_m: float = Field(8.0, ge=0, description="variances of members are averaged over about this distance [m]")


class Maps(NamedTuple):
    """Some maps of a split: their columns and batch, and what they are compared with, (N, H, W) each."""

    columns: dict[str, np.ndarray]
    batch: MapBatch
    true_db: np.ndarray
    outdoor: np.ndarray
    lit: np.ndarray

    @property
    def scenes(self) -> np.ndarray:
        """(N,) names."""
        return self.columns["scene"]


def run(study: Study) -> dict[str, Any]:
    """The numbers of the study, see :func:`curve` and :func:`ensembles`, with where they come from.

    Raises ValueError for a split that the dataset does not have, or a model that does not sample in steps.
    """
    model = base.load(study.model).to(cluster.device())
    card = DatasetCard.load(study.data)
    known, maps = (
        load(study.data, split, study.max_maps, dominant_path=model.config.reads("dominant_path"))
        for split in (study.fitted_on, study.split)
    )
    return {
        "dataset": f"{card.name} ({card.fingerprint[:12]})",
        "split": study.split,
        "model": f"{model.config.kind} ({base.model_hash(Path(study.model))})",
        "commit": provenance.git_commit(),
        "hardware": provenance.hardware(),
        "num_maps": len(maps.batch),
        "num_scenes": len(set(maps.scenes)),
        "curve": curve(model, maps, study),
        **ensembles(model, known, maps, study),
    }


def load(data: str, split: str, max_maps: int, *, dominant_path: bool = False) -> Maps:
    """At most ``max_maps`` maps, evenly from the split, so that all its scenes take part.

    ``dominant_path``: as :func:`raymap.data.shards.stream`, with its errors.
    """
    loaded = ShardReader(data, split, dominant_path=dominant_path).load()
    chosen = np.unique(np.linspace(0, len(loaded) - 1, min(max_maps, len(loaded))).round().astype(int))
    columns = {name: values[chosen] for name, values in loaded.columns.items()}
    batch = from_columns(columns)
    true_db = np.clip(units.gain_db_from_signal(batch.gain[:, 0].numpy()), units.GAIN_FLOOR_DB, units.GAIN_CEILING_DB)
    return Maps(columns, batch, true_db, batch.valid[:, 0].numpy(), (batch.line_of_sight[:, 0] > 0).numpy())


def curve(model: base.Predictor, maps: Maps, study: Study) -> list[dict[str, Any]]:
    """One entry per way of sampling: ``steps``, ``stochastic``, ``views``, ``network_calls``, ``latency_ms`` of one
    map, the means of :data:`SCORES` with intervals, and against the first entry, paired on the same maps,
    ``nmse_ratio`` and ``ssim_change``.

    All with one view, so that steps are what differs; the first is one step, the last the model as it is configured.
    """
    ways: list[dict[str, Any]] = [{"steps": 1, "stochastic": False, "views": 1}]
    ways += [
        {"steps": steps, "stochastic": stochastic, "views": 1}
        for stochastic, steps in itertools.product((False, True), study.steps)
        if steps > 1  # the last step draws no noise, so one step is the same either way
    ]
    first, entries = None, []
    for way in [*ways, {"steps": None, "stochastic": None, "views": None}]:
        with model.with_sampling(**way):
            slow = (way["steps"] or 0) > 10
            part = _thinned(maps, study.max_slow_maps) if slow else maps
            rows = _score(model, part)
            spent = cost.of(model, maps.batch[:1].blind().to(cluster.device()), repeats=1 if slow else 5)
        first = rows if first is None else first
        entries.append(
            {
                "name": name_of(way),
                **way,
                **{key: spent[key] for key in ("network_calls", "latency_ms")},
                **_means(rows, first),
            }
        )
        print(f"[sampling] {name_of(way)}: NMSE {entries[-1]['nmse']['mean']:.4f}", flush=True)
    return entries


def name_of(entry: dict[str, Any]) -> str:
    """What a person calls a way of sampling."""
    if entry["steps"] is None:
        return "as configured"
    return f"{entry['steps']} step{'s' * (entry['steps'] > 1)}" + ", stochastic" * bool(entry["stochastic"])


def _thinned(maps: Maps, num: int) -> Maps:
    """Evenly chosen maps of those that are there."""
    chosen = np.unique(np.linspace(0, len(maps.batch) - 1, min(num, len(maps.batch))).round().astype(int))
    columns = {name: values[chosen] for name, values in maps.columns.items()}
    return Maps(columns, from_columns(columns), *(raster[chosen] for raster in maps[2:]))


def _score(model: base.Predictor, maps: Maps) -> pd.DataFrame:
    rows = []
    for columns in LoadedMaps(maps.columns).iter_batches(batch_size=BATCH_SIZE):
        scores = score_batch(model, from_columns(columns).to(cluster.device()), sample_seeds(columns))
        keys = zip(columns["scene"], columns["tx_id"], scores, strict=True)
        rows += [{"scene": str(scene), "tx_id": int(tx_id), **row} for scene, tx_id, row in keys]
    return pd.DataFrame(rows).set_index(["scene", "tx_id"], drop=False)


def _means(rows: pd.DataFrame, first: pd.DataFrame) -> dict[str, Any]:
    first = first.loc[rows.index]
    ours, theirs = (column(table, "raw/all/nmse") for table in (rows, first))
    change = column(rows, "raw/all/ssim")[0] - column(first, "raw/all/ssim")[0]
    return {
        **{name: clustered_mean(*column(rows, key)) for key, name in SCORES.items()},
        "nmse_ratio": clustered_ratio(ours[0], theirs[0], ours[1], theirs[1]),
        "ssim_change": clustered_mean(change, ours[1]),
    }


def ensembles(model: base.Predictor, known: Maps, maps: Maps, study: Study) -> dict[str, Any]:
    """``{"ensembles": [entry, ...], "recipe": ..., "factor_alone": ...}``: all that were tried, and the recipes of the
    best error bars among them, with and without a floor by line of sight; chosen on the maps that they were fitted on.

    ``known``: maps of the validation split, on which factors and floors are fitted; ``maps``: those that are scored.
    Every entry is what :func:`_judge` says of one recipe; the first two are spreads that no ensemble is needed for.
    """
    entries: list[dict[str, Any]] = []
    for steps, stochastic in KINDS:
        large = Recipe(num=study.num_members, steps=steps, stochastic=stochastic, pool_m=study.pool_m)
        drawn = [_members(model, some, large) for some in (known, maps)]
        for num in (study.num_members // 2, study.num_members):
            recipe = large.model_copy(update={"num": num})
            found = [Drawn(some, all_members[:num]) for some, all_members in zip((known, maps), drawn, strict=True)]
            if not entries:
                entries += [_judge(name, recipe, *found) for name in ("the same everywhere", "by line of sight")]
            for pooled in (recipe.model_copy(update={"pool_m": 0.0}), recipe):
                entries.append(_judge("members", pooled, *found))
            entries.append(_judge("members and line of sight", recipe, *found))
        print(f"[sampling] {entries[-1]['name']}: {entries[-1]['coverage']['mean']:.3f} hold 90 %", flush=True)
    return {"ensembles": entries, "recipe": _best(entries, "members and line of sight"), "factor_alone": _best(entries)}


def _best(entries: list[dict[str, Any]], *others: str) -> dict[str, Any]:
    """The recipe of fewest calls whose interval score on the maps that it was fitted on is within 2 % of the least."""
    candidates = [entry for entry in entries if entry["source"] in ("members", *others)]
    least = min(entry["fitted_score"] for entry in candidates)
    near = [entry for entry in candidates if entry["fitted_score"] <= 1.02 * least]
    return min((entry["recipe"] for entry in near), key=lambda recipe: recipe["num"] * recipe["steps"])


class Drawn(NamedTuple):
    """Maps and the members drawn for them, (K, N, 1, H, W) in [-1, 1]."""

    maps: Maps
    members: torch.Tensor

    def bars(self, spread_db: torch.Tensor | np.ndarray, num: float = np.inf) -> uncertainty.Bars:
        """Against the truth, with the members' mean."""
        mean_db = units.gain_db_from_signal(self.members.mean(dim=0))[:, 0].numpy()
        return uncertainty.compare(mean_db, np.asarray(spread_db), self.maps.true_db, self.maps.outdoor, num)

    def spread(self, recipe: Recipe) -> np.ndarray:
        """(N, H, W) of the members, before any factor [dB]."""
        return ensemble.spread(self.members, self.maps.batch, recipe)[:, 0].numpy()

    def calibrated(self, recipe: Recipe, spread_db: np.ndarray) -> uncertainty.Bars:
        """With the recipe's factor and floor."""
        spread = torch.from_numpy(spread_db)[:, None]
        return self.bars(ensemble.calibrated(spread, self.maps.batch, recipe)[:, 0])


def _members(model: base.Predictor, maps: Maps, recipe: Recipe) -> torch.Tensor:
    parts = []
    for columns in LoadedMaps(maps.columns).iter_batches(batch_size=BATCH_SIZE):
        batch = from_columns(columns).to(cluster.device())
        parts.append(ensemble.members(model, batch, sample_seeds(columns), recipe).float().cpu())
    return torch.cat(parts, dim=1)


def _judge(source: str, recipe: Recipe, known: Drawn, found: Drawn) -> dict[str, Any]:
    """One source of error bars: fitted on ``known``, judged on ``found``.

    ``raw_*``: what the members themselves promise (exact for K members of a Gaussian). The rest is after fitting:
    ``coverage`` of the 90 % interval, its ``width_db``, ``interval_score`` [dB], ``crps_db``, ``cells`` and ``maps``
    (Spearman's ρ of error and spread, ``if_honest``: had the spread been exact), ``reliability``.
    """
    recipe = _fitted(source, recipe, known)
    bars = found.calibrated(recipe, found.spread(recipe))
    plain = recipe.model_copy(update={"pool_m": 0.0})
    raw = found.bars(found.spread(plain), recipe.num)
    members_db = units.gain_db_from_signal(found.members[:, :, 0]).numpy()
    mean, scenes = uncertainty.mean_over, found.maps.scenes
    honest = uncertainty.if_honest(bars)
    per_map = {
        "coverage": uncertainty.coverage(bars),
        "raw_coverage": uncertainty.coverage(raw),
        "width_db": mean(2 * uncertainty.half_width(bars), bars.outdoor),
        "interval_score": uncertainty.interval_score(bars),
        "crps_db": mean(uncertainty.gaussian_crps(bars.error, bars.spread), bars.outdoor),
        "raw_crps_db": mean(uncertainty.ensemble_crps(members_db, found.maps.true_db), bars.outdoor),
        "mean_abs_db": mean(np.abs(bars.error), bars.outdoor),
        "cells": uncertainty.correlation_over_cells(bars),
        "cells_if_honest": uncertainty.correlation_over_cells(honest),
    }
    fitted = known.calibrated(recipe, known.spread(recipe))
    return {
        "name": _name_of_bars(source, recipe),
        "source": source,
        "recipe": recipe.model_dump(mode="json"),
        "fitted_score": float(np.nanmean(uncertainty.interval_score(fitted))),
        **{name: clustered_mean(values, scenes) for name, values in per_map.items()},
        "maps": _finite(uncertainty.correlation_over_maps(bars)),
        "maps_if_honest": _finite(uncertainty.correlation_over_maps(honest)),
        "reliability": uncertainty.reliability(bars, scenes),
        "raw_reliability": uncertainty.reliability(raw, scenes),
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _fitted(source: str, recipe: Recipe, known: Drawn) -> Recipe:
    """The recipe with factor and floors from known maps, of which a source uses those that it is named for."""
    spread_db, lit = known.spread(recipe), known.maps.lit
    if source == "members":
        return recipe.model_copy(update={"factor": uncertainty.fit_factor(known.bars(spread_db))})
    if source == "members and line of sight":
        factor, floor_db = uncertainty.fit_law(known.bars(spread_db), [lit, ~lit])
        return recipe.model_copy(update={"factor": factor, "floor_db": tuple(floor_db)})
    flat = known.bars(np.ones_like(spread_db))
    groups = (lit, ~lit) if source == "by line of sight" else (np.ones_like(lit), np.ones_like(lit))
    floor_db = tuple(uncertainty.fit_factor(flat._replace(outdoor=flat.outdoor & group)) for group in groups)
    return recipe.model_copy(update={"factor": 0.0, "floor_db": floor_db})


def _name_of_bars(source: str, recipe: Recipe) -> str:
    if "members" not in source:
        return f"no members: {source}"
    how = f"{recipe.num} x {name_of(recipe.model_dump())}" + ", pooled" * (recipe.pool_m > 0)
    return how + " + line of sight" * ("line of sight" in source)
