"""MLflow: parameters, losses, pictures and models of a run; the driver opens and ends a run, rank 0 logs into it."""

from __future__ import annotations

import json
import logging
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from raymap.config import Run, TrackingConfig, flatten

log = logging.getLogger(__name__)
RUN_FILE = "mlflow.json"


def default_uri(storage: str) -> str:
    """sqlite beside the runs; absolute, because every worker has another working directory."""
    return f"sqlite:///{Path(storage).resolve() / 'mlflow.db'}"


def git_commit(folder: Path | None = None) -> str:
    """Commit of the checkout that holds ``folder`` (default: this package), "+" if files differ, or "unknown"."""
    where = str(folder or Path(__file__).parent)
    try:
        head = subprocess.run(["git", "-C", where, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
        dirty = subprocess.run(["git", "-C", where, "status", "--porcelain", "-uno"], capture_output=True, text=True)
    except OSError:
        return "unknown"
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "") if head.returncode == 0 else "unknown"


def hardware() -> str:
    """One line: processor, logical cores and GPU of this machine."""
    import os

    import torch

    name = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in cpu_info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    gpu = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    return f"{name}, {os.cpu_count()} cores{gpu}"


class Tracker:
    """One MLflow run, reachable from any process by its plain ``state``.

    Training goes on when the store does not answer: what could not be written is counted, and said once at the end.
    """

    def __init__(self, uri: str, run_id: str) -> None:
        # Imported here: MLflow takes seconds, and most processes of a cluster never log.
        from mlflow import MlflowClient

        self.uri, self.run_id, self.lost = uri, run_id, 0
        self.client = MlflowClient(tracking_uri=uri)

    @property
    def state(self) -> dict[str, str]:
        return {"uri": self.uri, "run_id": self.run_id}

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Log scalars of one step in one call."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        points = [Metric(name, float(value), now_ms, step) for name, value in values.items()]
        self._attempt(lambda: self.client.log_batch(self.run_id, metrics=points), len(points))

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        for name, value in values.items():
            self._attempt(lambda name=name, value=value: self.client.set_tag(self.run_id, name, value))

    def picture(self, name: str, png: bytes) -> None:
        """Log a PNG as artifact ``samples/<name>.png``."""
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.png"
            path.write_bytes(png)
            self._attempt(lambda: self.client.log_artifact(self.run_id, str(path), "samples"))

    def model(self, folder: Path) -> None:
        """Log a model folder as artifact ``model``: an MLflow model that raymap.load and mlflow.pyfunc both open."""
        import tempfile

        import mlflow

        with tempfile.TemporaryDirectory() as target:
            mlflow.pyfunc.save_model(
                path=f"{target}/model",
                loader_module="raymap.runtime.track",
                data_path=str(folder),
                pip_requirements=["raymap"],
            )
            self._attempt(lambda: self.client.log_artifacts(self.run_id, f"{target}/model", "model"))

    def end(self, status: str) -> None:
        """Mark the run FINISHED, FAILED or KILLED, and say what could not be logged."""
        self._attempt(lambda: self.client.set_terminated(self.run_id, status))
        if self.lost:
            log.warning("MLflow at %s did not take %d points of run %s", self.uri, self.lost, self.run_id)

    def _attempt(self, write, points: int = 1) -> None:
        from mlflow.exceptions import MlflowException

        try:
            write()
        except (MlflowException, OSError) as error:
            if not self.lost:
                log.warning("MLflow at %s does not answer (%s); training goes on without it", self.uri, error)
            self.lost += points


def start(run: Run, folder: Path, tags: Mapping[str, str]) -> Tracker:
    """Open the MLflow run of a training, or the one it had before it was interrupted (remembered in ``folder``)."""
    uri = run.tracking.uri or default_uri(run.storage)
    remembered = folder / RUN_FILE
    if remembered.is_file():
        state = json.loads(remembered.read_text())
        if state["uri"] == uri:
            tracker = Tracker(**state)
            tracker.client.update_run(tracker.run_id, status="RUNNING")
            return tracker
    tracker = Tracker(uri, "")
    created = tracker.client.create_run(_experiment(tracker.client, run.tracking, run.storage), run_name=run.name)
    tracker.run_id = created.info.run_id
    for name, value in flatten(run).items():
        tracker.client.log_param(tracker.run_id, name, str(value)[:6000])
    versions = {"python": sys.version.split()[0], "hardware": hardware(), "git_commit": git_commit()}
    tracker.tags({**versions, **tags})
    folder.mkdir(parents=True, exist_ok=True)
    remembered.write_text(json.dumps(tracker.state))
    return tracker


def prepare(tracking: TrackingConfig, storage: str) -> None:
    """Make the store and its experiment now, where several runs would otherwise do so at once and break each other."""
    _experiment(Tracker(tracking.uri or default_uri(storage), "").client, tracking, storage)


def _experiment(client, tracking: TrackingConfig, storage: str) -> str:
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is not None:
        return experiment.experiment_id
    return client.create_experiment(tracking.experiment, artifact_location=_artifacts(tracking, storage))


def _artifacts(tracking: TrackingConfig, storage: str) -> str | None:
    """With a database the artifacts lie beside the runs; a tracking server decides for itself."""
    served = (tracking.uri or "").startswith("http")
    return None if served else (Path(storage).resolve() / "mlartifacts").as_uri()


def fetch(uri: str, tracking_uri: str | None = None) -> Path:
    """Local folder of a model named as "models:/name@alias" or "runs:/id/model"."""
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=tracking_uri))
    return folder / mlflow.models.Model.load(folder).flavors["python_function"]["data"]


def _load_pyfunc(folder: str):
    """MLflow's door to a logged model: a predictor whose ``predict`` takes the columns of a dataset's rows."""
    from raymap.models import base

    return _ColumnPredictor(base.load(Path(folder)))


class _ColumnPredictor:
    def __init__(self, model) -> None:
        self.model = model

    def predict(self, columns, params: dict | None = None):
        """Columns of a shard, no gain needed, (B, ...) -> path gain (B, H, W) [dB]. ``params``: {"seed": int}."""
        import numpy as np
        import torch

        from raymap import units
        from raymap.data.columns import add_dominant_path, add_physics, from_columns

        columns = add_physics({name: np.asarray(value) for name, value in columns.items()})
        if self.model.config.reads("dominant_path"):
            columns = add_dominant_path(columns)
        batch = from_columns(columns)
        seed = int((params or {}).get("seed", 0))
        with torch.no_grad():
            signal = self.model.predict(batch.blind(), [seed + index for index in range(len(batch))])
        return units.gain_db_from_signal(signal.numpy()[:, 0])
