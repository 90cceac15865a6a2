"""Methods of paths compared: trained on a share of the receivers of every scene, scored at all others.

::

    source ──► channels ──► receivers drawn, by rate and seed ──► measured.parquet ──► fit(run) ──► paths at the rest
                                                                                        │
    page  ◄── means over draws ◄── one row (scores, seconds, memory) per trial ◄────────┘

A trial is a channel, a rate, a draw and a method. Trials run side by side, each a task on one CPU of the cluster; what
is finished stays in its folder, so that the same command goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field, SerializeAsAny, field_validator, model_validator

from raymap.config import (
    ModelConfig,
    OptimConfig,
    PointsConfig,
    PointsScene,
    Run,
    Settings,
    Stage,
    TrackingConfig,
    WorkersConfig,
)  # fmt: skip
from raymap.data import mesh_file, parallel, path_file, path_sources, traces
from raymap.data.path_columns import Columns
from raymap.data.path_table import PathTable
from raymap.evaluation import path_metrics, paths_page
from raymap.models import base
from raymap.models.base import Predictor
from raymap.models.path_predictor import PathPredictor
from raymap.runtime import cluster, cost, provenance, track
from raymap.runtime.train import fit
from raymap.storage import write_text

ROW_FILE = "row.json"


class Trial(Settings):
    """One method on one draw of one channel; ``trained``: the folder of its model, if it was trained before."""

    scene: str
    rate: float
    seed: int
    method: str
    title: str
    model: SerializeAsAny[ModelConfig]
    optim: OptimConfig
    trained: str = ""

    @field_validator("model", mode="before")
    @classmethod
    def _model_by_kind(cls, value: object) -> object:
        return ModelConfig.from_dict(value) if isinstance(value, dict) else value


class PathStudy(Settings):
    """Which methods are compared on which scenes, how much is measured, and where results go."""

    sources: dict[str, str] = Field(description="name -> folder or file (raymap.data.path_sources)")
    columns: Columns | None = Field(None, description="of sources that are tables")
    surroundings: dict[str, str] = Field({}, description="name of a source -> file of the surfaces around")
    num_paths: int = Field(5, ge=1, description="paths of a receiver, strongest first")
    rates: tuple[float, ...] = Field(
        (0.1,), min_length=1, description="shares of the receivers that are measured; 0 for those who can without"
    )
    num_draws: int = Field(5, ge=1, description="random draws of the measured receivers, seeds 0, 1, ...")
    num_scored: int | None = Field(
        None, ge=2, description="so many of the others are scored, drawn with the seed; default: all"
    )
    methods: dict[str, tuple[str, Stage[ModelConfig]]] = Field(description="name -> title, and how it is trained")
    models: dict[str, str] = Field({}, description="title -> folder of a model that is trained already")
    out: str = Field(description="folder for trainings, rows and predictions")

    @model_validator(mode="after")
    def _surround_what_there_is(self) -> PathStudy:
        if unknown := set(self.surroundings) - set(self.sources):
            raise ValueError(f"surroundings of {sorted(unknown)[0]!r}, which is no source: {', '.join(self.sources)}")
        return self

    @field_validator("rates")
    @classmethod
    def _are_shares(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if wrong := [rate for rate in rates if not 0 <= rate < 1]:
            raise ValueError(f"a rate is a share of the receivers between 0 and 1, got {wrong[0]:g}")
        return rates

    @property
    def compared(self) -> dict[str, tuple[str, Stage[ModelConfig], str]]:
        """Name -> title, settings, and folder if it is trained already: models first, then methods."""
        models = {}
        for title, folder in self.models.items():
            weights = hashlib.sha256((Path(folder) / base.WEIGHTS_FILE).read_bytes()).hexdigest()
            stage = Stage[ModelConfig](model=base.load(folder).config, optim=OptimConfig(num_steps=0))
            models[f"model-{weights[:12]}"] = title, stage, str(Path(folder).resolve())
        return models | {name: (*method, "") for name, method in self.methods.items()}


def run(study: PathStudy) -> pd.DataFrame:
    """Run every trial that is not finished; returns the rows of all, as ``path_metrics.summarise`` takes them.

    Raises as :func:`raymap.data.path_sources.read`, at once, and what a trial raises.
    """
    scenes = _scenes(study)
    trials = [
        Trial(
            scene=scene, rate=rate, seed=seed, method=method, title=title, model=stage.model, optim=stage.optim,
            trained=trained,
        )
        for scene in scenes
        for rate in study.rates
        for seed in range(study.num_draws)
        for method, (title, stage, trained) in study.compared.items()
        if _can(stage.model, rate)
    ]  # fmt: skip
    todo = [trial for trial in trials if not _is_done(study, trial)]
    print(f"[paths] {len(trials)} trials of {len(scenes)} scenes, {len(todo)} to run", flush=True)
    if todo:
        cluster.connect(min_cpus=1)
        track.prepare(_tracking(study), study.out)
        for number, row in enumerate(parallel.each(_tried, todo, "trials", study=study), 1):
            print(f"[paths] {number}/{len(todo)} {row['done']}", flush=True)
    rows = [json.loads((folder_of(study, trial) / ROW_FILE).read_text()) for trial in trials]
    return pd.DataFrame(rows)


def _can(model: ModelConfig, rate: float) -> bool:
    return rate > 0 or not Predictor.classes[model.kind].needs_measured


def _is_done(study: PathStudy, trial: Trial) -> bool:
    file = folder_of(study, trial) / ROW_FILE
    return file.is_file() and json.loads(file.read_text()).get("num_scored") == study.num_scored


def folder_of(study: PathStudy, trial: Trial) -> Path:
    """Where a trial keeps its training, its row and, of the first draw, what it predicts."""
    return _draw_folder(study, trial) / trial.method


def _draw_folder(study: PathStudy, trial: Trial) -> Path:
    return Path(study.out).resolve() / trial.scene / f"{trial.rate:g}" / str(trial.seed)


def _scenes(study: PathStudy) -> dict[str, PathTable]:
    """Every channel of every source, under the source's name, and the channel's where a source has several."""
    found = {}
    for name, source in study.sources.items():
        around = study.surroundings.get(name)
        tables = path_sources.read(source, study.num_paths, study.columns, surroundings=around)
        found |= {name if len(tables) == 1 else f"{name}-{channel}": table for channel, table in tables.items()}
    return found


def draw(table: PathTable, rate: float, seed: int) -> tuple[PathTable, PathTable]:
    """(measured, all others): a share of the receivers, drawn with the seed; none of them at a rate of 0.

    Raises ValueError if one of the two would have fewer than two receivers.
    """
    num = round(rate * len(table))
    if rate > 0 and min(num, len(table) - num) < 2:
        raise ValueError(f"a rate of {rate:g} of {len(table)} receivers measures {num}; two must be, and two not")
    order = np.random.default_rng(seed).permutation(len(table))
    return table.take(np.sort(order[:num])), table.take(np.sort(order[num:]))


def _scored(study: PathStudy, table: PathTable, rate: float, seed: int) -> tuple[PathTable, PathTable]:
    """(measured, those of the others that are scored)."""
    measured, others = draw(table, rate, seed)
    if study.num_scored and study.num_scored < len(others):
        rows = np.random.default_rng([seed, 1]).choice(len(others), study.num_scored, replace=False)
        others = others.take(np.sort(rows))
    return measured, others


def _tried(trial: Trial, study: PathStudy) -> dict[str, str]:
    """Run a trial and keep its row."""
    folder = folder_of(study, trial)
    measured, others = _scored(study, _scenes(study)[trial.scene], trial.rate, trial.seed)
    begun = time.monotonic()
    model = _fitted(trial, measured, folder, study)
    fitted = time.monotonic()
    predicted = model.complete(measured, others.receivers_m)
    row = {
        "scene": trial.scene, "rate": trial.rate, "method": trial.title, "seed": trial.seed,
        "num_scored": study.num_scored,
        **path_metrics.scores(others, predicted),
        "fit_s": fitted - begun, "predict_ms": 1e3 * (time.monotonic() - fitted) / len(others),
        "peak_memory_mb": cost.peak_memory_mb(), "parameters": sum(p.numel() for p in model.parameters()),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    if trial.seed == 0:
        path_file.write(folder / "predicted.parquet", predicted)
    write_text(folder / ROW_FILE, json.dumps(row, indent=1) + "\n")
    return {"done": f"{trial.scene} {trial.rate:g} draw {trial.seed} {trial.title}: {row['all/mixed/mse']:.4g}"}


def _fitted(trial: Trial, measured: PathTable, folder: Path, study: PathStudy) -> PathPredictor:
    """The method, trained on what is measured if it learns anything."""
    if trial.trained:
        return base.load(trial.trained)
    model = base.build(trial.model)
    if not model.parts():
        return model.eval()
    scene = written(measured, trial.model, _draw_folder(study, trial), Path(study.out).resolve() / trial.scene)
    return base.load(
        fit(
            Run(
                name=trial.method, storage=str(folder.parent), model=trial.model, optim=trial.optim,
                data=PointsConfig(scenes=(scene,)),
                workers=WorkersConfig(num=0), seed=trial.seed, tracking=_tracking(study),
            )
        )
    )  # fmt: skip


def written(measured: PathTable, model: ModelConfig, folder: Path, around: Path) -> PointsScene:
    """What a training of ``model`` on ``measured`` reads: ``measured.parquet`` in ``folder``, written if there is none.

    With the surfaces in the folder ``around`` if the model uses a map and the table has one.
    """
    file, surroundings = folder / "measured.parquet", ""
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path_file.write(file, measured)
    if getattr(model, "uses_map", False) and measured.surroundings is not None:
        surroundings = str(around / traces.SURROUNDINGS_FILE)
        mesh_file.write(Path(surroundings), measured.surroundings)
    return PointsScene(file=str(file), surroundings=surroundings)


def _tracking(study: PathStudy) -> TrackingConfig:
    """One store for all trials."""
    return TrackingConfig(uri=track.default_uri(study.out), experiment="paths")


def write_page(study: PathStudy, rows: pd.DataFrame, page: Path, command: str) -> dict:
    """The rows of :func:`run` as a page, numbers beside it. Returns what its JSON holds.

    Ratios are to Kriging, if it is compared. A scene called S1 or S2 stands beside the paper's.
    """
    titles = [title for title, *_ in study.compared.values()]
    scenes = {}
    for scene, table in _scenes(study).items():
        runs = rows[rows["scene"] == scene].drop(columns=["scene", "num_scored"])
        scenes[scene] = {
            "about": _about(table, study.num_scored), "data": _fingerprint(table, study.num_scored), "runs": runs,
            "paper": scene if scene in ("S1", "S2") else None, "example": _example(study, scene, table),
        }  # fmt: skip
    reference = "Kriging" if "Kriging" in titles else None
    return paths_page.write(
        page, {"reference": reference, "scenes": scenes}, commit=provenance.git_commit(),
        hardware=provenance.hardware(), command=command,
    )  # fmt: skip


def _fingerprint(table: PathTable, num_scored: int | None) -> str:
    """Of all that scores depend on but the method."""
    digest = hashlib.sha256(f"{num_scored} {table.frequency_hz} {table.transmitter_m.tolist()}".encode())
    meshes = table.surroundings.meshes if table.surroundings else ()
    around = (array for mesh in meshes for array in (mesh.vertices_m, mesh.faces))
    for array in (table.receivers_m, table.values, table.kind, table.valid, *around):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


def _about(table: PathTable, num_scored: int | None) -> str:
    """A sentence on a scene."""
    low, high = table.receivers_m.min(axis=0), table.receivers_m.max(axis=0)
    width_m, depth_m = (high - low)[:2]
    reached = table.valid.any(axis=1).mean()
    return (
        f"{len(table):,} receivers on {width_m:.0f} x {depth_m:.0f} m, {100 * reached:.1f} % of them reached, by "
        f"{table.valid.sum() / max(1, table.valid.any(axis=1).sum()):.1f} paths on average; "
        f"{table.frequency_hz / 1e9:g} GHz, transmitter {table.transmitter_m[2]:g} m high."
        + (f" Of the others at most {num_scored:,} are scored, drawn anew for every draw." if num_scored else "")
    )


def _example(study: PathStudy, scene: str, table: PathTable) -> dict:
    """The first draw at the rate nearest to 10 %, by every method."""
    rate = min(study.rates, key=lambda rate: abs(rate - 0.1))
    folder = Path(study.out).resolve() / scene / f"{rate:g}" / "0"
    predicted = {
        title: path_file.read(folder / method / "predicted.parquet")
        for method, (title, stage, _trained) in study.compared.items()
        if _can(stage.model, rate)
    }
    return {"rate": rate, "true": _scored(study, table, rate, 0)[1], "predicted": predicted}
