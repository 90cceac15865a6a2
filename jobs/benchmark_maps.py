"""What maps cost: rate per core by kind and size, bytes per map, speed-up from 1 to 2 workers, and a million maps.

    python jobs/benchmark_maps.py [--kinds [srm,drm,mrm]] [--sizes [64,128,256]] [--out benchmark_maps.json]

Ground is 256 m x 256 m at every size: 64 cells of 4 m (solved on 2 m, as datasets are), 128 of 2 m, 256 of 1 m. Times
are CPU seconds of this process, kernels compiled before; workers are Ray tasks on a cluster of that many CPUs. Sionna
RT (``raymap[sionna]``) traces one of the same maps per size.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.data import schema, shards, sources
from raymap.data.sources import Counts, MapPlan
from raymap.runtime import cluster, provenance

_SIDE_M = 256.0
_MILLION = 1_000_000
#: Cores of the nodes that a million maps are planned on, and hours they may take.
_NODE_CORES, _DEADLINE_H = 64, 24.0


class Job(Settings):
    """What to measure."""

    kinds: tuple[Literal["srm", "drm", "mrm"], ...] = ("srm", "drm", "mrm")
    sizes: tuple[int, ...] = Field((64, 128, 256), description="cells along one side of 256 m")
    num_scenes: int = Field(4, ge=1, description="generated towns per size, 4 transmitters each")
    workers: tuple[int, ...] = Field((1, 2), description="sizes of the clusters compared; empty: none")
    traced_rays: int = Field(
        10_000, ge=0, description="rays of Sionna RT on one of the same maps per size; 0: leave it"
    )
    num_scaled: int = Field(192, ge=1, description="generated towns of 128² srm that the clusters make")
    out: Path | None = Field(None, description="JSON file to write")


def plan(kind: str, size: int, num_scenes: int, scenes_per_shard: int = 1) -> MapPlan:
    """Generated towns only."""
    cell_m = _SIDE_M / size
    return MapPlan(
        name=f"{kind}-{size}", kind=kind, shape=(size, size), cell_m=cell_m, solve_cell_m=min(cell_m, 2.0),
        num_generated=Counts(train=num_scenes), scenes_per_shard=scenes_per_shard,
    )  # fmt: skip


def measure(kind: str, size: int, num_scenes: int) -> dict:
    """CPU seconds and bytes per map of one kind and size on one core."""
    chosen = plan(kind, size, num_scenes)
    items = sources.work(chosen)
    sources.rows(sources.work(plan(kind, size, 1))[0], chosen)  # compiles, or reads the compiled kernels
    began, num_maps = time.process_time(), 0
    for item in items:
        made, failures = sources.rows(item, chosen)
        if failures:
            raise RuntimeError(f"{failures[0].what}: {failures[0].reason}")
        num_maps += len(made)
    seconds = (time.process_time() - began) / num_maps
    with tempfile.TemporaryDirectory() as folder:
        shards.write({"train": made}, folder, name="size", kind=kind, shape=chosen.shape, cell_m=chosen.cell_m,
                     sources=("generated towns",), attribution="")  # fmt: skip
        num_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet")) / len(made)
    return {"kind": kind, "size": size, "seconds": seconds, "maps_per_s": 1 / seconds, "bytes": num_bytes}


def measure_sionna(size: int, num_rays: int) -> dict:
    """CPU seconds of Sionna RT for the first map that :func:`measure` makes: every outdoor cell, three interactions."""
    from raymap.propagation import ray_tracing

    chosen = plan("srm", size, 1)
    scene, transmitter, _ = schema.nouns(sources.rows(sources.work(chosen)[0], chosen)[0][0])
    options = ray_tracing.Options(num_rays=num_rays)
    few = ray_tracing.Options(num_rays=100)
    ray_tracing.solve(scene.coarsen(scene.grid.shape[0] // 16, transmitter), transmitter, options=few)  # compiles
    began = time.process_time()
    ray_tracing.solve(scene, transmitter, options=options)
    seconds = time.process_time() - began
    return {"kind": "sionna", "size": size, "rays": num_rays, "seconds": seconds, "maps_per_s": 1 / seconds}


def speed_up(num_workers: int, num_scenes: int) -> float:
    """Wall seconds of ``shards.generate`` on a local cluster of ``num_workers`` CPUs, whose processes have started.

    A new process takes seconds to import and to load the compiled kernels, while those that run make the first shards:
    the warm-up is long enough that all of them had work.
    """
    import ray

    cluster.prepare_environment()
    ray.init(address="local", num_cpus=num_workers, logging_level="WARNING")
    try:
        with tempfile.TemporaryDirectory() as folder:
            shards.generate(plan("srm", 128, 64 * num_workers), f"{folder}/warm")
            began = time.perf_counter()
            shards.generate(plan("srm", 128, num_scenes, scenes_per_shard=8), f"{folder}/timed")
            return time.perf_counter() - began
    finally:
        ray.shutdown()


def million(row: dict) -> dict:
    """Core-hours and bytes of a million maps, and nodes of 64 cores that make them in a day."""
    core_hours = _MILLION * row["seconds"] / 3600
    return {
        "core_hours": core_hours,
        "gigabytes": _MILLION * row["bytes"] / 1e9,
        "nodes": max(1, -(-core_hours // (_NODE_CORES * _DEADLINE_H))),
    }


def main(argv: Sequence[str]) -> dict:
    """Print the tables and write the JSON if asked to."""
    job = from_command_line(Job(), argv, prog="benchmark_maps.py")
    rows = [measure(kind, size, job.num_scenes) for kind in job.kinds for size in job.sizes]
    print("| kind | cells | maps/s/core | CPU s per map | bytes per map |\n|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['kind']} | {row['size']}² | {row['maps_per_s']:.1f} | {row['seconds']:.3f} | {row['bytes']:,.0f} |"
        )
    traced = [measure_sionna(size, job.traced_rays) for size in job.sizes] if job.traced_rays else []
    for row in traced:
        label = f"Sionna RT, {row['rays']:,} rays"
        print(f"| {label} | {row['size']}² | {row['maps_per_s']:.3f} | {row['seconds']:.1f} | – |")
    largest = {row["kind"]: million(row) | {"size": row["size"]} for row in rows if row["size"] == max(job.sizes)}
    print(f"\n| 1,000,000 maps | core-hours | GB | nodes of {_NODE_CORES} cores, {_DEADLINE_H:g} h |")
    print("|---|---|---|---|")
    for kind, plan_of in largest.items():
        hours, size = plan_of["core_hours"], plan_of["size"]
        print(f"| {kind} {size}² | {hours:,.0f} | {plan_of['gigabytes']:,.0f} | {plan_of['nodes']:.0f} |")
    seconds = {num: speed_up(num, job.num_scaled) for num in job.workers}
    for num, taken in seconds.items():
        print(f"{num} workers: {taken:.1f} s, {seconds[job.workers[0]] / taken:.2f} times the first")
    found = {"hardware": provenance.hardware(), "commit": provenance.git_commit(), "rates": rows + traced,
             "million": largest,
             "workers_s": {str(num): taken for num, taken in seconds.items()}}  # fmt: skip
    if job.out:
        job.out.write_text(json.dumps(found, indent=2) + "\n")
        print(f"written: {job.out}")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
