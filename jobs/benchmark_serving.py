"""What serving costs: an endpoint on Ray Serve against the same model called in this process, in one run.

    python jobs/benchmark_serving.py                                  # minutes; a local Ray of its own
    python jobs/benchmark_serving.py --out docs/serving.json --page docs/serving_measured.md

Latency of one map at a time and throughput of many clients, the same for the model itself at its best batch, answers
over sizes and steps, and, where sionna-rt can run, the time that Sionna RT takes for the same block.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from load_test import Asked, load, told
from load_test import Job as Load
from pydantic import Field

import raymap
from raymap.config import Settings, from_command_line
from raymap.evaluation.markdown import table
from raymap.propagation import ray_tracing
from raymap.runtime import cluster, provenance
from raymap.scene import Transmitter
from raymap.serving import tiles
from raymap.serving.settings import Serving

FREQUENCY_HZ = 5.9e9


class Job(Settings):
    """What is measured, how often."""

    port: int = 8123
    tile: str = "san-francisco-1"
    large: str = Field("munich-centre", description="tile of 256 x 256 cells")
    batches: tuple[int, ...] = Field(
        (1, 2, 4, 8, 16, 32), min_length=1, description="transmitters of a call, in process"
    )
    repeats: int = Field(40, ge=3, description="of every latency")
    seconds: float = Field(30.0, gt=0, description="of every load")
    clients: int = Field(32, ge=1)
    steps: tuple[int, ...] = Field((1, 2, 4, 10), min_length=1)
    sionna: bool = Field(True, description="also trace the block with Sionna RT")
    serving: Serving = Serving()
    out: Path | None = Field(None, description="JSON file to write")
    page: Path | None = Field(None, description="Markdown page to write")


def main(argv: list[str]) -> dict[str, Any]:
    """Measure; returns what ``--out`` holds."""
    job = from_command_line(Job(), argv, prog="benchmark_serving.py")
    found: dict[str, Any] = {
        "command": provenance.command("jobs/benchmark_serving.py", argv), "commit": provenance.git_commit(),
        "hardware": provenance.hardware(), "clients": job.clients,
    }  # fmt: skip
    cluster.connect(min_cpus=job.serving.num_cpus + 0.5)
    from ray import serve

    url = f"http://127.0.0.1:{job.port}"
    deploy(job, job.serving)
    own = Own(job)
    # In turns, so that a slow spell of the machine hits both.
    found["latency_ms"] = in_turns(job, own, url)
    found["served"] = loaded(job, url)
    found["by_steps"] = by_steps(job, url)
    deploy(job, one_at_a_time(job.serving))
    found["served_one_at_a_time"] = loaded(job, url)
    serve.shutdown()
    found["own"] = own.by_batch(job)
    if job.sionna:
        found["sionna_s"] = traced(job)
    if job.out is not None:
        job.out.write_text(json.dumps(found, indent=1) + "\n")
    page = written(found)
    if job.page is not None:
        job.page.write_text(page)
    print(page)
    return found


def deploy(job: Job, serving: Serving) -> None:
    """The endpoint with these settings, ready."""
    from ray import serve

    from raymap.serving.app import build

    serve.start(http_options={"port": job.port})
    serve.run(build(serving.model_dump(mode="json")), name="raymap")
    warm = Load(url=f"http://127.0.0.1:{job.port}", tile=job.tile, clients=1, seconds=3)
    for _ in range(60):
        if told(asyncio.run(load(warm)), 1)["statuses"].keys() == {"200"}:
            return
    raise RuntimeError("the endpoint does not answer")


def one_at_a_time(serving: Serving) -> Serving:
    """The same without batches."""
    stages = {name: getattr(serving, name).model_copy(update={"max_batch_size": 1}) for name in ("outline", "map")}
    return serving.model_copy(update=stages)


class Own:
    """The model in this process, as ``raymap.predict`` calls it, with all cores."""

    def __init__(self, job: Job) -> None:
        self.model, self.scene = raymap.load("k2-small"), tiles.scene(job.tile, FREQUENCY_HZ)
        self.asked = Asked(Load(tile=job.tile))

    def __call__(self, num: int) -> float:
        """Seconds of one call for ``num`` transmitters."""
        places = [self.asked()["transmitters"][0] for _ in range(num)]
        transmitters = [Transmitter((place["x_m"], place["y_m"], 1.5)) for place in places]
        begun = time.perf_counter()
        raymap.predict(self.model, self.scene, transmitters)
        return time.perf_counter() - begun

    def by_batch(self, job: Job) -> dict[str, float]:
        """Transmitters of a call -> maps per second."""
        return {str(num): num / float(np.median([self(num) for _ in range(5)])) for num in job.batches}


def in_turns(job: Job, own: Own, url: str) -> dict[str, float]:
    """Median of one map at a time [ms], over HTTP and in process by one thread and by all."""
    cores, one = torch.get_num_threads(), Load(url=url, tile=job.tile, clients=1, seconds=1)
    served, direct = [], {"one thread": [], "all cores": []}
    own(1)
    for _ in range(max(3, job.repeats // 5)):
        served += [1000 * took for _sent, took, status in asyncio.run(load(one)) if status == 200]
        for name, threads in (("one thread", 1), ("all cores", cores)):
            torch.set_num_threads(threads)
            direct[name] += [1000 * own(1) for _ in range(5)]
    return {"served": float(np.median(served)), **{name: float(np.median(values)) for name, values in direct.items()}}


def loaded(job: Job, url: str) -> dict[str, Any]:
    """Many clients."""
    return told(asyncio.run(load(Load(url=url, tile=job.tile, clients=job.clients, seconds=job.seconds))), job.seconds)


def by_steps(job: Job, url: str) -> list[dict[str, Any]]:
    """Latency of one map at a time over sizes and steps."""
    rows = []
    for tile in (job.tile, job.large):
        for steps in job.steps:
            one = Load(url=url, tile=tile, clients=1, seconds=max(3.0, job.repeats / 10), steps=steps)
            found = told(asyncio.run(load(one)), one.seconds)
            rows.append({"tile": tile, "shape": tiles.scene(tile, FREQUENCY_HZ).grid.shape, "steps": steps,
                         "p50_ms": found["p50_ms"], "p90_ms": found["p90_ms"]})  # fmt: skip
    return rows


def traced(job: Job) -> dict[str, float] | None:
    """Seconds that Sionna RT takes for one map of each block, the second of two calls; None where it cannot run."""
    found = {}
    for tile in (job.tile, job.large):
        scene = tiles.scene(tile, FREQUENCY_HZ)
        row, column = np.argwhere(scene.outdoor)[scene.outdoor.sum() // 2]
        place = Transmitter(((column + 0.5) * scene.grid.cell_m, (row + 0.5) * scene.grid.cell_m, 1.5))
        try:
            for _ in range(2):
                begun = time.perf_counter()
                ray_tracing.solve(scene, place)
                found[tile] = time.perf_counter() - begun
        except (ImportError, RuntimeError) as error:
            print(f"Sionna RT cannot run here: {error}")
            return None
    return found


def written(found: dict[str, Any]) -> str:
    """The results for people."""
    latency, own = found["latency_ms"], found["own"]
    best = max(own, key=own.get)
    served, single = found["served"], found["served_one_at_a_time"]
    lines = [
        "# Serving, measured", "", f"`{found['command']}`, commit {found['commit']}, {found['hardware']}.", "",
        f"One map at a time, median: {latency['served']:.0f} ms over HTTP; in process {latency['one thread']:.0f} ms "
        f"by one thread, as a replica has it, and {latency['all cores']:.0f} ms by all cores. HTTP and two stages in "
        f"processes of their own: {latency['served'] - latency['one thread']:+.0f} ms.", "",
        f"{found['clients']} clients at once: {served['per_s']:.1f} maps/s, p50 {served['p50_ms']:.0f} ms, p99 "
        f"{served['p99_ms']:.0f} ms; without batches {single['per_s']:.1f} maps/s. In process, all cores:", "",
        *table(["transmitters of a call", *own], [["maps/s", *(f"{value:.1f}" for value in own.values())]]), "",
        f"Served against its best batch ({best}): {100 * served['per_s'] / own[best]:.0f} %. Batches give the model in "
        f"process {own[best] / own['1']:.2f} times what single maps do, and the endpoint "
        f"{served['per_s'] / single['per_s']:.2f} times.", "",
        "Latency of one map at a time over HTTP, by cells and network calls per stage:", "",
        *table(["cells", "steps", "p50 [ms]", "p90 [ms]"], [
            [" x ".join(map(str, row["shape"])), str(row["steps"]), f"{row['p50_ms']:.0f}", f"{row['p90_ms']:.0f}"]
            for row in found["by_steps"]
        ]), "",
    ]  # fmt: skip
    if found.get("sionna_s"):
        times = ", ".join(f"{seconds:.1f} s ({name})" for name, seconds in found["sionna_s"].items())
        lines += [f"Sionna RT for one map of the same blocks, all cores: {times}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
