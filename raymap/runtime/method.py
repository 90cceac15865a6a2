"""A method as one job: its stages in order, each resumable, and the finished model.

::

    MethodJob       the map stage alone (a network that needs no other)
    CurriculumJob   first net or phase, map stage: RadioUNet, RME-GAN
    LatentJob       autoencoder, map stage: RadioDiff
    K2Job           autoencoder, DM1, DM1's outlines of the training maps, DM2, both as K2: RadioDiff-k²
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args

import numpy as np
import torch
from pydantic import Field

from raymap import units
from raymap.config import DataConfig, ModelConfig, Run, Settings, Stage, TrackingConfig, WorkersConfig
from raymap.data import shards
from raymap.data.batch import from_columns
from raymap.data.schema import CARD_FILE, DatasetCard, require_multipath
from raymap.data.sources import MapPlan
from raymap.models import base
from raymap.models.k2 import K2
from raymap.models.radiodiff import RadioDiff
from raymap.models.vae import Vae
from raymap.runtime import cluster, model_card, track
from raymap.runtime.evaluate import sample_seeds, score
from raymap.runtime.train import Listener, fit
from raymap.storage import Place, place

StageName = Literal["autoencoder", "first", "outline", "map"]
MapT = TypeVar("MapT", bound=ModelConfig)


class MethodJob(Settings, Generic[MapT]):
    """A method that is one network: what its stages share, and the stage that draws the map."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="folder of the whole job under storage")
    storage: str = Field("runs", description="folder or bucket (s3://, gs://) under which runs are kept")
    data: DataConfig
    plan: MapPlan | None = Field(None, description="what to generate if the data folder holds no dataset")
    map: Stage[MapT]
    workers: WorkersConfig = WorkersConfig()
    tracking: TrackingConfig = TrackingConfig()
    trained: dict[StageName, str] = Field({}, description="stage -> folder of a model to use instead of training it")
    seed: int = 0

    @property
    def folder(self) -> Place:
        """Absolute folder of the job; its stages, model and report lie in it."""
        return place(self.storage) / self.name

    @property
    def resolved_data(self) -> DataConfig:
        """``data`` with the absolute folder of the dataset."""
        folder = place(self.data.folder) if self.data.folder else self.folder / "data"
        return self.data.model_copy(update={"folder": str(folder)})

    @property
    def resolved_tracking(self) -> TrackingConfig:
        """``tracking`` with one store for all stages: beside the jobs, unless a URI is given."""
        return self.tracking.model_copy(update={"uri": self.tracking.uri or track.default_uri(self.storage)})

    @property
    def stages(self) -> tuple[StageName, ...]:
        """The stages that this method has, in the order of training."""
        return tuple(name for name in get_args(StageName) if hasattr(self, name))

    def run(self, stage: StageName, **changes: object) -> Run:
        """The run of one stage. ``changes`` replace fields of the Run."""
        chosen: Stage = getattr(self, stage)
        shared = {
            "data": self.resolved_data,
            "workers": self.workers,
            "tracking": self.resolved_tracking,
            "seed": self.seed,
        }
        values = {"name": stage, "storage": str(self.folder), "model": chosen.model, "optim": chosen.optim, **shared}
        return Run(**{**values, **changes})

    def model(self) -> ModelConfig:
        """Config of the finished model."""
        return self.map.model


class CurriculumJob(MethodJob[MapT], Generic[MapT]):
    """A network in two parts or phases: the first, trained by itself, and the whole, which starts from it."""

    first: Stage[MapT]


class LatentJob(MethodJob[RadioDiff.Config]):
    """A diffusion in the latents of an autoencoder."""

    autoencoder: Stage[Vae.Config]


class K2Job(LatentJob):
    """The three trainings of RadioDiff-k²: autoencoder, outline stage (DM1), map stage (DM2)."""

    outline: Stage[RadioDiff.Config]
    warm_start: bool = Field(True, description="DM2's denoiser starts from DM1's; the paper trains both from nothing")

    def model(self) -> K2.Config:
        return K2.Config(outline=self.outline.model, map=self.map.model)


class DrawOutlines:
    """A Ray Data stage: columns of scenes in, DM1's ``outline_predicted`` (B, H, W) in [0, 1] out."""

    def __init__(self, model: str, precision: str) -> None:
        self.device = cluster.device()
        self.model, self.bf16 = base.load(model).to(self.device), precision == "bf16"

    def __call__(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        batch = from_columns(columns).blind().to(self.device)
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            outline = self.model.predict(batch, sample_seeds(columns))
        return {**columns, "outline_predicted": units.grey_from_signal(outline.float().cpu().numpy()[:, 0])}


def train(job: MethodJob, listener: Listener | None = None, begin_at: Path | None = None) -> Place:
    """Train every stage that is not trained yet; returns the finished model's folder.

    ``listener`` and ``begin_at`` go to the stage that draws the map; these and errors as
    :func:`raymap.runtime.train.fit`.
    """
    before = train_before(job, job.stages)
    model, start_from = job.folder / "model", {}
    for name in ("autoencoder", "first"):
        if name in before:
            start_from[name] = str(before[name])
    last = {"start_from": start_from, "listener": listener, "begin_at": begin_at}
    if "outline" not in job.stages:
        return _stage(job, "map", "environment -> map", **last)
    outline = before["outline"]
    data = job.resolved_data.model_copy(update={"predicted_outlines": str(_outlines_of(job, outline))})
    if job.warm_start:
        start_from["body"] = str(outline)
    gain = _stage(job, "map", "DM2: environment + outline -> map", data=data, **last)
    two_stage = K2(job.model())
    two_stage.start_from("outline", base.load(outline))
    two_stage.start_from("map", base.load(gain))
    base.save(two_stage, model, {"name": job.name, "data": job.resolved_data.model_dump(mode="json"), "seed": job.seed})
    return model


def train_before(job: MethodJob, stages: Collection[StageName]) -> dict[StageName, Place]:
    """Make the dataset and train those of the ``stages`` that come before the map's; stage -> trained model.

    With DM1 also the outlines that it draws for DM2.
    """
    make_dataset(job)
    found: dict[StageName, Place] = {}
    if "autoencoder" in job.stages and "autoencoder" in stages:
        found["autoencoder"] = _stage(job, "autoencoder", "autoencoder")
    if "first" in job.stages and "first" in stages:
        found["first"] = _stage(job, "first", "first net: environment -> map")
    if "outline" in job.stages and "outline" in stages:
        start_from = {"autoencoder": str(found["autoencoder"])}
        found["outline"] = _stage(job, "outline", "DM1: environment -> outline", start_from=start_from)
        _draw_outlines(job, found["outline"])
    return found


def train_and_score(job: MethodJob, title: str) -> Place:
    """:func:`train`, then scores on the test split, a report and an MLflow run; returns the finished model's folder."""
    model = train(job)
    print(f"[{job.name}] scores on the test split", flush=True)
    data = job.resolved_data
    found = score({title: model}, data.folder, "test", job.folder / "report", measurements=data.measurements)
    _log_report(job, model, found, title)
    print(f"[{job.name}] report: {job.folder / 'report' / 'report.html'}", flush=True)
    return model


def _stage(
    job: MethodJob,
    name: StageName,
    what: str,
    listener: Listener | None = None,
    begin_at: Path | None = None,
    **changes: Any,
) -> Place:
    """The trained model of a stage: the one that ``job.trained`` names, or one trained now."""
    number = f"{job.stages.index(name) + 1}/{len(job.stages)}"
    if name in job.trained:
        print(f"[{job.name}] {number} {what}: {job.trained[name]}", flush=True)
        return place(job.trained[name])
    print(f"[{job.name}] {number} {what}", flush=True)
    return fit(job.run(name, **changes), listener, begin_at)


def _outlines_of(job: K2Job, outline: Place) -> Place:
    """Where a DM1's outlines of the maps that DM2 learns from lie: beside it."""
    return outline.parent / f"outlines-{DatasetCard.load(job.resolved_data.folder).fingerprint[:12]}"


def _draw_outlines(job: K2Job, outline: Place) -> None:
    print(f"[{job.name}] DM1 draws the outlines that DM2 learns from", flush=True)
    card = DatasetCard.load(job.resolved_data.folder)
    shards.write_outlines(
        job.resolved_data.folder,
        [split for split in ("train", "val") if split in card.splits],
        DrawOutlines,
        _outlines_of(job, outline),
        made_by=base.model_hash(outline),
        predict_kwargs={"model": str(outline), "precision": job.outline.optim.precision},
        num_gpus=job.workers.gpus_each,
        dominant_path=job.outline.model.reads("dominant_path"),
        measurements=job.data.measurements,
    )


def make_dataset(job: MethodJob) -> DatasetCard:
    """The job's dataset, generated now if there is none.

    Raises FileNotFoundError without data or plan, ValueError if the job asks for an input that this kind has not.
    """
    folder = place(job.resolved_data.folder)
    known = job.plan is None or (folder / CARD_FILE).is_file()
    about = DatasetCard.load(folder) if known else job.plan
    if job.data.dominant_path:
        require_multipath(about.name, about.kind)
    if known:
        return about
    cluster.connect(min_cpus=job.workers.num * job.workers.cpus_each + 1)
    print(f"[{job.name}] making the dataset {job.plan.name!r} in {folder}", flush=True)
    return shards.generate(job.plan, folder)


def _log_report(job: MethodJob, model: Place, found: dict, title: str) -> None:
    """The finished model with its scores and report as one MLflow run of its own, and registered by its kind."""
    run: Run = Run(
        name=job.name,
        storage=job.storage,
        model=job.model(),
        data=job.resolved_data,
        tracking=job.resolved_tracking,
        seed=job.seed,
    )
    card = DatasetCard.load(job.resolved_data.folder)
    tracker = track.start(run, job.folder, {"dataset_fingerprint": card.fingerprint, "dataset": card.name})
    scores = next(iter(reversed(found["methods"].values())))
    flat = {
        f"test/{metric}": score["mean"] for metric, score in scores["raw"]["all"].items() if score["mean"] is not None
    }
    tracker.metrics(0, flat)
    for picture in sorted((job.folder / "report" / "pictures").glob("*.png")):
        tracker.artifact(picture.name, picture.read_bytes(), "samples")
    tracker.artifact("report.html", (job.folder / "report" / "report.html").read_bytes())
    tracker.model(model, model_card.of(title, job.model(), card, found))
    tracker.end("FINISHED")
