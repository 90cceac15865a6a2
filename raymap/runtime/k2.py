"""RadioDiff-k² as one job: autoencoder, DM1, DM1's outlines of the training maps, DM2, both as K2, scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from raymap import units
from raymap.config import DataConfig, Run, Settings, Stage, TrackingConfig, WorkersConfig
from raymap.data import shards
from raymap.data.batch import from_columns
from raymap.data.schema import CARD_FILE, DatasetCard
from raymap.data.sources import MapPlan
from raymap.models import base
from raymap.models.k2 import K2
from raymap.models.radiodiff import RadioDiff
from raymap.models.vae import Vae
from raymap.runtime import cluster, track
from raymap.runtime.evaluate import sample_seeds, score
from raymap.runtime.train import fit


class K2Job(Settings):
    """The three trainings of RadioDiff-k² and what they share: autoencoder, outline stage (DM1), map stage (DM2)."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="folder of the whole job under storage")
    storage: str = Field("runs", description="folder under which runs are kept")
    data: DataConfig
    plan: MapPlan | None = Field(None, description="what to generate if the data folder holds no dataset")
    autoencoder: Stage[Vae.Config]
    outline: Stage[RadioDiff.Config]
    map: Stage[RadioDiff.Config]
    workers: WorkersConfig = WorkersConfig()
    tracking: TrackingConfig = TrackingConfig()
    seed: int = 0

    @property
    def folder(self) -> Path:
        """Absolute folder of the job; its stages, model and report lie in it."""
        return Path(self.storage).resolve() / self.name

    @property
    def resolved_data(self) -> DataConfig:
        """``data`` with the absolute folder of the dataset."""
        folder = Path(self.data.folder).resolve() if self.data.folder else self.folder / "data"
        return self.data.model_copy(update={"folder": str(folder)})

    @property
    def resolved_tracking(self) -> TrackingConfig:
        """``tracking`` with one store for all stages: beside the jobs, unless a URI is given."""
        return self.tracking.model_copy(update={"uri": self.tracking.uri or track.default_uri(self.storage)})

    def run(self, stage: Literal["autoencoder", "outline", "map"], **changes: object) -> Run:
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

    def model(self) -> K2.Config:
        """Config of the finished two-stage model."""
        return K2.Config(outline=self.outline.model, map=self.map.model)


class DrawOutlines:
    """A Ray Data stage: columns of scenes in, DM1's ``outline_predicted`` (B, H, W) in [0, 1] out."""

    def __init__(self, model: str, precision: str) -> None:
        self.device = cluster.device()
        self.model, self.bf16 = base.load(Path(model)).to(self.device), precision == "bf16"

    def __call__(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        batch = from_columns(columns).blind().to(self.device)
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            outline = self.model.predict(batch, sample_seeds(columns))
        return {**columns, "outline_predicted": units.grey_from_signal(outline.float().cpu().numpy()[:, 0])}


def train_k2(job: K2Job) -> Path:
    """Train every stage that is not trained yet, score the result on the test split; returns the model's folder.

    Errors as :func:`raymap.runtime.train.fit`.
    """
    cluster.connect(min_cpus=job.workers.num * job.workers.cpus_each + 1)
    card = _dataset(job)
    print(f"[{job.name}] 1/5 autoencoder", flush=True)
    autoencoder = fit(job.run("autoencoder"))
    print(f"[{job.name}] 2/5 DM1: environment -> outline", flush=True)
    outline = fit(job.run("outline", start_from={"autoencoder": str(autoencoder)}))
    print(f"[{job.name}] 3/5 DM1 draws the outlines that DM2 learns from", flush=True)
    drawn = job.folder / "outlines"
    shards.write_outlines(
        job.resolved_data.folder,
        [split for split in ("train", "val") if split in card.splits],
        DrawOutlines,
        drawn,
        made_by=f"{job.name}/outline {base.weights_hash(outline)}",
        predict_kwargs={"model": str(outline), "precision": job.outline.optim.precision},
        num_gpus=job.workers.gpus_each,
    )
    print(f"[{job.name}] 4/5 DM2: environment + outline -> map", flush=True)
    data = job.resolved_data.model_copy(update={"predicted_outlines": str(drawn)})
    gain = fit(job.run("map", start_from={"autoencoder": str(autoencoder)}, data=data))
    model = _assemble(job, outline, gain)
    print(f"[{job.name}] 5/5 scores on the test split", flush=True)
    found = score({"RadioDiff-k²": model}, job.resolved_data.folder, "test", job.folder / "report")
    _log_report(job, model, found)
    print(f"[{job.name}] report: {job.folder / 'report' / 'report.html'}", flush=True)
    return model


def _dataset(job: K2Job) -> DatasetCard:
    """The job's dataset, generated now if there is none. Raises FileNotFoundError without data or plan."""
    folder = Path(job.resolved_data.folder)
    if not (folder / CARD_FILE).is_file() and job.plan is not None:
        print(f"[{job.name}] 0/5 making the dataset {job.plan.name!r} in {folder}", flush=True)
        return shards.generate(job.plan, folder)
    return DatasetCard.load(folder)


def _assemble(job: K2Job, outline: Path, gain: Path) -> Path:
    """Both trained stages as one K2 model folder."""
    folder = job.folder / "model"
    model = K2(job.model())
    model.start_from("outline", base.load(outline))
    model.start_from("map", base.load(gain))
    base.save(model, folder, {"name": job.name, "data": job.resolved_data.model_dump(mode="json"), "seed": job.seed})
    return folder


def _log_report(job: K2Job, model: Path, found: dict) -> None:
    """The finished model with its scores and report as one MLflow run of its own."""
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
        tracker.picture(picture.stem, picture.read_bytes())
    tracker.model(model)
    tracker.end("FINISHED")
