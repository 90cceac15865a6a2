"""MLflow: parameters, losses, pictures and models of a run; the driver opens and ends a run, rank 0 logs into it.

Nothing waits for MLflow: what is logged goes through an :class:`Outbox` in the run's folder, so that a training neither
stops nor loses a point while the store is away. What is still not written at the end is told, stays in the folder, and
is sent when the same command runs again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raymap.config import Run, Settings, TrackingConfig, flatten
from raymap.runtime import provenance, registry
from raymap.runtime.outbox import Message, Outbox, Refused, left_in
from raymap.storage import BucketPath, Place, here, place, write_text

log = logging.getLogger(__name__)
RUN_FILE = "mlflow.json"
#: Points that MLflow takes in one call.
POINTS_AT_ONCE = 1000
#: Longest value of a parameter.
PARAMETER_LENGTH = 6000
#: How long one call to a tracking server may take [s], and how often the client asks again by itself.
REQUEST = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
#: Answers of the store that will be the same tomorrow.
_FINAL = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED", "UNAUTHENTICATED")


def default_uri(storage: str) -> str:
    """sqlite beside the runs; absolute, because every worker has another working directory.

    Raises ValueError for storage in a bucket, which holds no database.
    """
    if isinstance(place(storage), BucketPath):
        raise ValueError(
            f"a bucket ({storage}) holds no database of runs: give --tracking.uri, the address of an `mlflow server`, "
            f"or sqlite:////FOLDER/mlflow.db where all processes are on one machine"
        )
    return f"sqlite:///{Path(storage).resolve() / 'mlflow.db'}"


def _outbox_of(folder: Place) -> Path:
    """Where what is not sent yet waits: in the run's folder; for one in a bucket, in the home of whoever trains."""
    if isinstance(folder, Path):
        return folder / "outbox"
    return Path.home() / ".raymap" / "outbox" / f"{folder.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"


class Tracker:
    """One MLflow run, reachable from any process that sees its ``folder``, by its plain ``state``."""

    def __init__(self, uri: str, folder: str | Place, run_id: str = "") -> None:
        self.uri, self.folder, self._run_id = uri, place(folder), run_id
        self.outbox = Outbox(_outbox_of(self.folder), self._send)
        self._client = None

    @property
    def state(self) -> dict[str, str]:
        return {"uri": self.uri, "folder": str(self.folder), "run_id": self.run_id}

    @property
    def run_id(self) -> str:
        """The run's name in MLflow; empty until the store has answered for the first time."""
        remembered = self.folder / RUN_FILE
        if not self._run_id and remembered.is_file():
            self._run_id = json.loads(remembered.read_text())["run_id"]
        return self._run_id

    @property
    def client(self):
        """MLflow's own, that raises what goes wrong."""
        if self._client is None:
            self._client = client(self.uri)
        return self._client

    def status(self) -> str:
        """What the store takes the run for ("RUNNING", "FINISHED", ...); empty if it does not answer."""
        try:
            return self.client.get_run(self.run_id).info.status
        except Exception as error:
            log.warning("MLflow at %s does not answer (%s)", self.uri, error)
            return ""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Log scalars of one step."""
        points = {name: float(value) for name, value in values.items()}
        self.outbox.put({"kind": "metrics", "step": step, "time_ms": int(time.time() * 1000), "points": points})

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Set parameters, which MLflow never lets be changed."""
        texts = {name: str(value)[:PARAMETER_LENGTH] for name, value in values.items()}
        self.outbox.put({"kind": "parameters", "values": texts})

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self.outbox.put({"kind": "tags", "values": dict(values)})

    def artifact(self, name: str, content: bytes, folder: str = "") -> None:
        """Log content as an artifact of that name, in a folder of the run's artifacts."""
        path = self._own(name)
        path.write_bytes(content)
        self.outbox.put({"kind": "artifact", "path": str(path), "to": folder, "own": True})

    def file(self, path: Path) -> None:
        """Log a file, or a folder under its name, as an artifact. It must stay where it is until it is sent."""
        to = path.name if path.is_dir() else ""
        self.outbox.put({"kind": "artifact", "path": str(path), "to": to, "own": False})

    def model(self, folder: str | Place, card: registry.Card | None = None) -> None:
        """Log a model folder as artifact ``model``, which raymap.load and mlflow.pyfunc both open.

        With a ``card`` it also becomes the next version of the registered model that the card names.
        """
        target = self._own("model")
        with here(folder) as files:
            registry.write(files, target, card)
        self.outbox.put({"kind": "artifact", "path": str(target), "to": "model", "own": True})
        if card is not None:
            self.outbox.put({"kind": "register", "card": card.model_dump(mode="json")})

    def end(self, status: str, patience_s: float = 30.0) -> None:
        """Mark the run FINISHED, FAILED or KILLED; waits so long for a store that does not answer, and tells."""
        self.outbox.take_over()
        self.outbox.put({"kind": "status", "status": status, "time_ms": int(time.time() * 1000)})
        self.close(patience_s)
        if self.outbox.refused:
            log.warning("MLflow at %s refused %d messages, which are lost", self.uri, self.outbox.refused)

    def close(self, patience_s: float = 5.0) -> None:
        """Send what is not sent yet, and say what could not be."""
        left = self.outbox.close(patience_s)
        if left:
            log.warning(
                "MLflow at %s has not taken %s; they are kept in %s and sent when the same command runs again",
                self.uri, _counted(left), self.outbox.folder,
            )  # fmt: skip

    def _own(self, name: str) -> Path:
        """Where to put something that only MLflow needs, until it is sent."""
        path = self.outbox.folder / "files" / uuid.uuid4().hex[:12] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _send(self, messages: Sequence[Message]) -> int:
        """Deliver the first message, or all metrics that follow each other."""
        from mlflow.exceptions import MlflowException

        try:
            return getattr(self, f"_send_{messages[0]['kind']}")(messages)
        except FileNotFoundError as error:
            raise Refused(error) from error
        except MlflowException as error:
            if error.error_code in _FINAL:
                raise Refused(error) from error
            raise ConnectionError(f"MLflow at {self.uri} does not answer ({str(error)[:300]})") from error

    def _known_run(self) -> str:
        if not self.run_id:
            raise ConnectionError(f"MLflow at {self.uri} has not given {self.folder.name} a run yet")
        return self.run_id

    def _send_create(self, messages: Sequence[Message]) -> int:
        message = messages[0]
        if not self.run_id:
            experiment = _experiment(self.client, message["experiment"], message["artifacts"])
            parent = {"mlflow.parentRunId": message["parent"]} if message["parent"] else {}
            created = self.client.create_run(
                experiment, run_name=message["name"], tags=parent, start_time=message["time_ms"]
            )
            remembered = self.folder / RUN_FILE
            known = {"uri": self.uri, "run_id": created.info.run_id, "name": message["name"]}
            write_text(remembered, json.dumps(known))
        return 1

    def _send_resume(self, messages: Sequence[Message]) -> int:
        self.client.update_run(self._known_run(), status="RUNNING")
        return 1

    def _send_metrics(self, messages: Sequence[Message]) -> int:
        from mlflow.entities import Metric

        points: list[Metric] = []
        sent = 0
        for message in messages:
            of_one = message.get("points")
            if of_one is None or (sent and len(points) + len(of_one) > POINTS_AT_ONCE):
                break
            points += [Metric(name, value, message["time_ms"], message["step"]) for name, value in of_one.items()]
            sent += 1
        for first in range(0, len(points), POINTS_AT_ONCE):
            self.client.log_batch(self._known_run(), metrics=points[first : first + POINTS_AT_ONCE])
        return sent

    def _send_parameters(self, messages: Sequence[Message]) -> int:
        from mlflow.entities import Param

        values = [Param(name, value) for name, value in messages[0]["values"].items()]
        for first in range(0, len(values), 100):
            self.client.log_batch(self._known_run(), params=values[first : first + 100])
        return 1

    def _send_tags(self, messages: Sequence[Message]) -> int:
        from mlflow.entities import RunTag

        self.client.log_batch(self._known_run(), tags=[RunTag(*pair) for pair in messages[0]["values"].items()])
        return 1

    def _send_artifact(self, messages: Sequence[Message]) -> int:
        path, to = Path(messages[0]["path"]), messages[0]["to"] or None
        if path.is_dir():
            self.client.log_artifacts(self._known_run(), str(path), to)
        else:
            self.client.log_artifact(self._known_run(), str(path), to)
        if messages[0]["own"]:
            shutil.rmtree(path.parent)
        return 1

    def _send_register(self, messages: Sequence[Message]) -> int:
        registry.register(self.client, self._known_run(), registry.Card.model_validate(messages[0]["card"]))
        return 1

    def _send_status(self, messages: Sequence[Message]) -> int:
        self.client.set_terminated(self._known_run(), messages[0]["status"], messages[0]["time_ms"])
        return 1


def _counted(messages: Sequence[Message]) -> str:
    """What kinds of messages these are, for people."""
    points = sum(len(message["points"]) for message in messages if message["kind"] == "metrics")
    others = [message["kind"] for message in messages if message["kind"] != "metrics"]
    parts = [f"{points} points"] if points else []
    parts += [f"{others.count(kind)} x {kind}" for kind in dict.fromkeys(others)]
    return ", ".join(parts)


def client(uri: str | None = None):
    """MLflow's client of a store, which gives up soon on a server that does not answer."""
    # Imported here: MLflow takes seconds, and most processes of a cluster never log.
    for name, value in REQUEST.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def start(run: Run, folder: Place, tags: Mapping[str, str]) -> Tracker:
    """Open the MLflow run of a training, or the one it had before it was interrupted (remembered in ``folder``)."""
    return open_run(run.name, folder, run.tracking, run.storage, run, {**provenance.tags(), **tags})


def open_run(
    name: str, folder: Place, tracking: TrackingConfig, storage: str, settings: Settings, tags: Mapping[str, str]
) -> Tracker:
    """A tracker of a run called ``name`` with the ``settings`` as parameters; the one before, if it is remembered."""
    uri = tracking.uri or default_uri(storage)
    remembered = folder / RUN_FILE
    folder.mkdir(parents=True, exist_ok=True)
    if remembered.is_file() and json.loads(remembered.read_text())["uri"] != uri:
        remembered.unlink()
    tracker = Tracker(uri, folder)
    waiting = left_in(tracker.outbox.folder)
    if tracker.run_id or any(message["kind"] == "create" for message in waiting):
        tracker.outbox.take_over()
        tracker.outbox.put({"kind": "resume"})
        return tracker
    if waiting:
        outbox = tracker.outbox.folder
        aside = outbox.rename(outbox.with_name(f"{outbox.name}-{int(time.time())}"))
        log.warning("what was never sent to another MLflow store now lies in %s", aside)
    tracker.outbox.put({
        "kind": "create", "uri": uri, "name": name, "experiment": tracking.experiment, "parent": tracking.parent,
        "artifacts": _artifacts(tracking, storage), "time_ms": int(time.time() * 1000),
    })  # fmt: skip
    tracker.parameters(flatten(settings))
    tracker.tags(tags)
    # A store that answers has made its tables now, before several workers would do so at once.
    tracker.outbox.flush(timeout_s=60 if uri.startswith("sqlite") else 10)
    return tracker


def send_leftovers(folder: Place) -> None:
    """Send what an earlier training in this folder could not; nothing if there is nothing."""
    remembered, outbox = folder / RUN_FILE, _outbox_of(folder)
    waiting = left_in(outbox)
    uris = [message["uri"] for message in waiting if message["kind"] == "create"]
    if remembered.is_file():
        uris = [json.loads(remembered.read_text())["uri"]]
    if waiting and uris:
        tracker = Tracker(uris[0], folder)
        tracker.outbox.take_over()
        tracker.close(patience_s=30)


def prepare(tracking: TrackingConfig, storage: str) -> None:
    """Make the store and its experiment now, where several runs would otherwise do so at once and break each other."""
    uri = tracking.uri or default_uri(storage)
    try:
        _experiment(client(uri), tracking.experiment, _artifacts(tracking, storage))
    except Exception as error:
        log.warning("MLflow at %s does not answer (%s); trainings go on without it", uri, error)


def _experiment(client, name: str, artifacts: str | None) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return experiment.experiment_id
    return client.create_experiment(name, artifact_location=artifacts)


def _artifacts(tracking: TrackingConfig, storage: str) -> str | None:
    """With a database the artifacts lie beside the runs; a tracking server decides for itself."""
    folder = place(storage) / "mlartifacts"
    if (tracking.uri or "").startswith("http"):
        return None
    return str(folder) if isinstance(folder, BucketPath) else folder.as_uri()
