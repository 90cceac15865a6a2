"""What distribution costs: Ray against a plain loop, more workers, data against appetite, checkpoints, starting up.

    python jobs/benchmark.py --what distribution                     # about 15 minutes on two cores
    python jobs/benchmark.py --what distribution --num_steps 400 --repeats 3

Every training is DM1's stage of a size on generated towns. The plain loop is the same network, loss, optimizer, average
and batches, held in memory, in a process without Ray. Both have one thread, run in turns, and their rates are those of
``log_every`` steps each, the first two of which are left out. Writes a page and its numbers.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from raymap import recipes
from raymap.config import Run, Settings, TrackingConfig, WorkersConfig, from_command_line
from raymap.data import shards
from raymap.data.reader import ShardReader
from raymap.data.sources import Counts
from raymap.evaluation.distribution_page import page
from raymap.runtime import cluster, provenance, track
from raymap.runtime.cost import flops
from raymap.runtime.train import fit, folder_of
from raymap.runtime.trainer import Trainer

#: Rates at the start of a training that are left out: caches and threads are cold.
_COLD = 3


class Job(Settings):
    """What to measure, how long."""

    size: str = Field("demo", description=f"one of {', '.join(recipes.K2_SIZES)}")
    num_steps: int = Field(200, ge=50, description="steps of every training")
    repeats: int = Field(3, ge=1, description="turns of plain loop and Ray")
    num_towns: int = Field(192, ge=8, description="generated towns, 4 transmitters each")
    workers: tuple[int, ...] = Field((1, 2, 4), description="numbers of workers for the scaling")
    page: Path = Field(
        Path("docs/distribution_measured.md"), description="page to write; its numbers beside it (.json)"
    )


def main(argv: list[str]) -> dict[str, Any]:
    """Measure everything and write the page; returns its numbers."""
    job = from_command_line(Job(), argv, prog="benchmark.py --what distribution")
    found: dict[str, Any] = {
        "command": provenance.command("jobs/benchmark.py", ["--what", "distribution", *argv]),
        "commit": provenance.git_commit(), "hardware": provenance.hardware(), "num_steps": job.num_steps,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun = time.perf_counter()
        cluster.connect(min_cpus=max(job.workers) + 1)
        found["cluster_start_s"] = time.perf_counter() - begun
        plan = recipes.k2(job.size).plan.model_copy(
            update={"num_generated": Counts(train=job.num_towns, val=4), "train_cities": (), "test_cities": ()}
        )
        shards.generate(plan, folder / "data")
        found |= overhead(job, folder)
        found["scaling"] = list(scaling(job, folder))
        found["ingest"] = ingest(job, folder)
        found["large"] = large(folder)
    job.page.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    job.page.write_text(page(found))
    print(job.page.read_text())
    return found


def run_of(job: Job, folder: Path, name: str, num_workers: int = 1, batch_size: int | None = None) -> Run:
    """DM1's training on the towns; ``batch_size`` over all workers, by default the recipe's."""
    method = recipes.k2(job.size)
    timed = {"num_steps": job.num_steps, "log_every": 10, "checkpoint_every": max(1, job.num_steps // 4)}
    optim = method.outline.optim.model_copy(update=timed)
    data = method.data.model_copy(
        update={"folder": str(folder / "data"), "batch_size": batch_size or method.data.batch_size}
    )
    return method.run(
        "outline", name=name, storage=str(folder / "runs"), data=data, optim=optim,
        workers=WorkersConfig(num=num_workers), tracking=TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db"),
    )  # fmt: skip


def plain(values: dict[str, Any]) -> None:
    """A training in this process without Ray, its maps in memory."""
    torch.set_num_threads(1)
    run = Run.model_validate(values)
    trainer = Trainer(run, rank=0, world=1)
    reader = {"outline": run.data.outline}
    trainer.feed.train = ShardReader(run.data.folder, "train", **reader).load()
    trainer.feed.val = ShardReader(run.data.folder, "val", **reader).load()
    trainer.tracker = track.start(run, folder_of(run), {})
    trainer.report = lambda metrics, written: None
    trainer.prepare()
    trainer.run_to_end()
    trainer.tracker.end("FINISHED")


def _history(run: Run) -> dict[str, list[Any]]:
    """What a run logged: name -> MLflow's points in the order of steps."""
    tracker = track.Tracker(run.tracking.uri, folder_of(run))
    names = tracker.client.get_run(tracker.run_id).data.metrics
    return {
        name: sorted(tracker.client.get_metric_history(tracker.run_id, name), key=lambda point: point.step)
        for name in names
    }


def _values(history: dict[str, list[Any]]) -> dict[str, list[float]]:
    return {name: [point.value for point in points] for name, points in history.items()}


def on_ray(run: Run) -> dict[str, Any]:
    """The same by :func:`fit`; what was logged, when the call was made and how large a checkpoint is."""
    begun = time.time()
    model = fit(run)
    history = _history(run)
    told, first = _values(history), history["samples_per_s"][0].timestamp / 1000
    ten_s = run.optim.log_every * run.data.batch_size / told["samples_per_s"][0]
    (checkpoint, *_) = sorted((model.parent / "checkpoints").rglob("state.pt"))
    size = sum(file.stat().st_size for file in checkpoint.parent.iterdir())
    return {"told": told, "start_s": first - ten_s - begun, "checkpoint_mb": size / 2**20,
            "checkpoint_s": told["seconds/checkpoint"][-1] / len(told["val/loss"])}  # fmt: skip


def overhead(job: Job, folder: Path) -> dict[str, Any]:
    """Plain loop and Ray with one worker, in turns."""
    steps_ms: dict[str, list[float]] = {"plain": [], "ray": []}
    waits, ray = [], {}
    for turn in range(job.repeats):
        alone, run = (run_of(job, folder, f"{name}-{turn}") for name in ("plain", "ray"))
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            process.submit(plain, alone.model_dump(mode="json")).result()
        steps_ms["plain"] += _steps_ms(alone, _values(_history(alone)))
        ray = on_ray(run)
        steps_ms["ray"] += _steps_ms(run, ray["told"])
        waits += ray["told"]["data_wait_share"][_COLD:]
    return {
        "step_ms": {name: statistics.median(found) for name, found in steps_ms.items()},
        "spread_ms": {name: [float(v) for v in np.percentile(found, (10, 90))] for name, found in steps_ms.items()},
        "data_wait_share": statistics.median(waits),
        **{name: ray[name] for name in ("start_s", "checkpoint_mb", "checkpoint_s")},
    }


def _steps_ms(run: Run, told: Mapping[str, list[float]]) -> list[float]:
    return [1000 * run.data.batch_size / rate for rate in told["samples_per_s"][_COLD:]]


def scaling(job: Job, folder: Path) -> Iterator[dict[str, Any]]:
    """Maps per second of more workers, with the same batch over all (strong) and the same batch each (weak)."""
    whole = recipes.k2(job.size).data.batch_size
    for num in job.workers:
        for kind, batch_size in {"strong": whole, "weak": whole * num}.items():
            if kind == "weak" and num == 1:
                continue
            run = run_of(job, folder, f"{kind}-{num}", num, batch_size)
            told = on_ray(run)["told"]
            yield {
                "kind": kind, "workers": num, "batch_size": batch_size, "loss": told["train/loss"][-1],
                "val_loss": told["val/loss"][-1],
                "maps_per_s": statistics.median(told["samples_per_s"][_COLD:]),
            }  # fmt: skip


def ingest(job: Job, folder: Path) -> dict[str, float]:
    """Maps per second that Ray Data reads, checks and computes lines of sight and outlines of, and their bytes."""
    method = recipes.k2(job.size)
    stream = shards.stream(folder / "data", "train", outline=method.data.outline)
    rates = []
    for _ in range(3):
        begun = time.perf_counter()
        count = sum(len(batch["scene"]) for batch in stream.iter_batches(batch_format="numpy", batch_size=32))
        rates.append(count / (time.perf_counter() - begun))
    reader = ShardReader(folder / "data", "train", outline=method.data.outline)
    list(reader)  # compiles
    begun = time.perf_counter()
    alone = sum(len(columns["scene"]) for columns in reader) / (time.perf_counter() - begun)
    stored = sum(file.stat().st_size for file in (folder / "data" / "train").glob("*.parquet"))
    return {"maps_per_s": max(rates), "one_process_maps_per_s": alone, "bytes_per_map": stored / count}


def large(folder: Path) -> dict[str, float]:
    """The full size, for the projection: operations and reading of a map, and the gradients that workers exchange."""
    method = recipes.k2("full")
    plan = method.plan.model_copy(update={"num_generated": Counts(train=4), "train_cities": (), "test_cities": ()})
    shards.generate(plan, folder / "large")
    reader = ShardReader(folder / "large", "train", outline=method.data.outline)
    reader.load()  # compiles
    begun = time.perf_counter()
    maps = reader.load()
    read_s = time.perf_counter() - begun
    data = method.data.model_copy(update={"folder": str(folder / "large"), "batch_size": 2})
    trainer = Trainer(method.run("outline", data=data, workers=WorkersConfig(), storage=str(folder)), rank=0, world=1)
    trainer.feed.train = maps
    trainer.prepare()
    batch = next(trainer.stream())
    files = (folder / "large" / "train").glob("*.parquet")
    return {
        "flop_per_map": flops(lambda: trainer.one_step(batch)) / len(batch),
        "parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "batch_size": method.data.batch_size, "side": batch.building.shape[-1],
        "one_process_maps_per_s": len(maps) / read_s, "bytes_per_map": sum(f.stat().st_size for f in files) / len(maps),
    }  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
