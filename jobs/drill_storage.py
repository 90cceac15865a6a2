"""Drills of a training's storage: a bucket that fails, is slow or away; a disk that is full; a checkpoint cut in half.

    python jobs/drill_storage.py                        # all of them, some ten minutes
    python jobs/drill_storage.py --what errors,away

Each is `jobs/train_k2.py --size debug`: the dataset, the autoencoder, DM1, its outlines, DM2, and scores on unseen
towns, everything stored where the drill is. Its model is compared with
that of an undisturbed training in a folder. The bucket is moto's S3 server on this machine (``pip install
moto[server]``); the full disk is a small tmpfs, which needs root.
Writes ``drill_storage.json`` into ``--out``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bucket import Bucket
from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.models import base
from raymap.runtime import cluster, provenance
from raymap.storage import place

TRAINING = Path(__file__).with_name("train_k2.py")


class Job(Settings):
    """Which drills."""

    what: str = Field("errors,slow,away,full,half", description="drills, with commas between")
    errors: float = Field(0.05, ge=0, lt=1, description="share of the requests that fail, in the drill of that name")
    slow_s: float = Field(0.3, ge=0, description="longest delay of an answer, in the drill of that name [s]")
    away_s: float = Field(20.0, ge=0, description="how long the server is away, in the drill of that name [s]")
    out: Path = Field(Path("runs/drills"), description="folder for results")


class Training:
    """The command, as a user gives it; its output goes into a file."""

    def __init__(self, storage: str, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.storage, self.log, self.commands = storage, folder / "training.log", 0
        self.command = [sys.executable, str(TRAINING), "--size", "debug", "--storage", storage,
                        "--tracking.uri", f"sqlite:///{folder}/mlflow.db", "--workers.max_failures", "2"]  # fmt: skip
        self.environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | dict(
            environ or {}
        )
        self.begun = time.perf_counter()

    def start(self) -> subprocess.Popen:
        """Give the command (again)."""
        self.commands += 1
        with self.log.open("a") as output:
            return subprocess.Popen(self.command, stdout=output, stderr=subprocess.STDOUT, env=self.environ)

    def wait_for(self, text: str, process: subprocess.Popen) -> None:
        """Until the output has this text; raises RuntimeError if the training ends before."""
        while text not in self.log.read_text():
            if process.poll() is not None:
                raise RuntimeError(f"the training ended before {text!r}:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)

    def found(self, status: int) -> dict[str, Any]:
        """What came of it."""
        model = place(self.storage) / "debug" / "model"
        return {"status": status, "commands": self.commands, "seconds": time.perf_counter() - self.begun,
                "model": base.model_hash(model) if status == 0 else None, "told": self.told()}  # fmt: skip

    def told(self) -> list[str]:
        """Lines that say what went wrong."""
        words = ("Error", "No space", "resumed at", "set aside", "AWS")
        lines = [line.strip()[:240] for line in self.log.read_text().splitlines() if any(w in line for w in words)]
        return list(dict.fromkeys(lines))[:8]


def undisturbed(job: Job, folder: Path) -> dict[str, Any]:
    """In a folder of a disk that is well."""
    training = Training(str(folder / "runs"), folder)
    return training.found(training.start().wait())


def _in_bucket(
    folder: Path, meanwhile: Callable[[Bucket, Training, subprocess.Popen], None], **ill: Any
) -> dict[str, Any]:
    with Bucket(**ill) as bucket, bucket.in_environment():
        training = Training(f"{bucket.uri}/runs", folder, bucket.environ)
        process = training.start()
        meanwhile(bucket, training, process)
        found = training.found(process.wait())
        return {**found, "requests": bucket.requests, "failed": bucket.failed}


def errors(job: Job, folder: Path) -> dict[str, Any]:
    """Some requests are answered 500 or 503."""
    return _in_bucket(folder, lambda *_: None, errors=job.errors)


def slow(job: Job, folder: Path) -> dict[str, Any]:
    """Every answer is kept back for a while."""
    return _in_bucket(folder, lambda *_: None, slow_s=job.slow_s)


def away(job: Job, folder: Path) -> dict[str, Any]:
    """Nobody listens for a while, from the first checkpoint of DM1 on."""

    def leave(bucket: Bucket, training: Training, process: subprocess.Popen) -> None:
        training.wait_for("[outline] step 2/", process)
        with bucket.away():
            time.sleep(job.away_s)

    return _in_bucket(folder, leave)


@contextlib.contextmanager
def _small_disk(folder: Path, size_mb: int) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full(job: Job, folder: Path) -> dict[str, Any]:
    """No room for the first checkpoint of DM1; the command ends with a message. With room again it is given again."""
    with _small_disk(folder / "disk", 256) as disk:
        training = Training(str(disk / "runs"), folder)
        process = training.start()
        training.wait_for("[autoencoder] step 6/6", process)
        free = shutil.disk_usage(disk).free
        (disk / "ballast").write_bytes(b"\0" * (free - 4 * 2**20))
        first = process.wait()
        (disk / "ballast").unlink()
        return {"first_status": first, **training.found(training.start().wait())}


def half(job: Job, folder: Path) -> dict[str, Any]:
    """The training is killed, and what it was writing lies there in half: it must not be taken for whole."""
    training = Training(str(folder / "runs"), folder)
    process = training.start()
    training.wait_for("[outline] step 4/", process)
    process.kill()
    process.wait()
    kept = sorted((folder / "runs/debug/outline/checkpoints").glob("step_*"))
    cut = kept[-1].with_name("step_00000005")
    shutil.copytree(kept[-1], cut)
    for file in cut.iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return training.found(training.start().wait())


def main(argv: list[str]) -> dict[str, Any]:
    """Run the drills; returns what the JSON holds."""
    job = from_command_line(Job(), argv, prog="drill_storage.py")
    drills = {"errors": errors, "slow": slow, "away": away, "full": full, "half": half}
    chosen = job.what.split(",")
    if unknown := set(chosen) - set(drills):
        raise ValueError(f"unknown drill {sorted(unknown)[0]!r}; allowed: {', '.join(drills)}")
    os.environ.update(cluster.prepare_environment())
    found: dict[str, Any] = {"command": provenance.command("jobs/drill_storage.py", argv),
                             "commit": provenance.git_commit(), "hardware": provenance.hardware()}  # fmt: skip
    for name, drill in {"undisturbed": undisturbed, **{name: drills[name] for name in chosen}}.items():
        with tempfile.TemporaryDirectory(prefix="raymap-drill-") as folder:
            found[name] = drill(job, Path(folder))
        found[name]["same_model"] = found[name]["model"] == found["undisturbed"]["model"]
        print(json.dumps({name: found[name]}, indent=1), flush=True)
    job.out.mkdir(parents=True, exist_ok=True)
    (job.out / "drill_storage.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
