"""Trace the multipath of a PINN-GNN scenario with Sionna RT and keep the strongest paths of every receiver.

    python jobs/trace_paths.py --scenario S1 --out runs/s1
    python jobs/trace_paths.py --scenario S2 --city florence --seed 3 --spacing_m 4 --out runs/s2

Needs the extra ``raymap[sionna]`` and, without a GPU, LLVM 19 or newer. Running the same command again traces only what
is missing. ``raymap.data.traces.read(FOLDER)`` reads the result; ``--deepmimo`` writes it as a DeepMIMO folder too.
"""

import sys
import time
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.data import deepmimo, mesh_file, scenarios, traces
from raymap.propagation import ray_tracing
from raymap.scene import PathKind


class Job(Settings):
    """What is traced, how finely, and where it goes."""

    scenario: Literal["S1", "S2"] = "S1"
    city: Literal["munich", "florence", "etoile"] | None = Field(None, description="of S2; default: the scenario's")
    seed: int = Field(0, ge=0, description="draws the window and the place of the base station")
    spacing_m: float | None = Field(None, gt=0, description="grid of the receivers [m]; default: the scenario's")
    max_depth: int = Field(3, ge=0, description="most interactions on a path")
    num_rays: int = Field(10_000, ge=1)
    scattering: float | None = Field(
        None, ge=0, le=1, description="share of the reflected amplitude scattered; default: the scenario's"
    )
    part_size: int = Field(4096, ge=1, description="receivers per file")
    max_parts: int | None = Field(None, ge=0, description="stop after so many new files")
    threads: int = Field(1, ge=1, description="CPU threads of the tracer")
    out: Path = Field(Path("runs/trace"), description="folder for the paths")
    deepmimo: Path | None = Field(None, description="folder to write the finished trace to in DeepMIMO's layout")


def main(argv: list[str]) -> int:
    """Traces what is missing, prints coverage and rate, and returns the number of receivers traced now."""
    job = from_command_line(Job(), argv, prog="trace_paths.py")
    scene, transmitter, receivers_m, num_paths = scenarios.scenario(job.scenario, job.seed, job.spacing_m, job.city)
    scattering = scenarios.SCATTERING[job.scenario] if job.scattering is None else job.scattering
    num_parts = -(-len(receivers_m) // job.part_size)
    about = {
        **job.model_dump(exclude={"city", "out", "max_parts", "threads", "deepmimo"}),
        "scattering": scattering,
        "scene": scene.name,
        "frequency_hz": scene.frequency_hz,
        "transmitter_m": list(transmitter.xyz_m),
        "num_receivers": len(receivers_m),
        "num_paths": num_paths,
        "num_parts": num_parts,
    }
    traces.start(job.out, about)
    mesh_file.write(job.out / traces.SURROUNDINGS_FILE, scene)
    todo = traces.missing(job.out, num_parts)[: job.max_parts]
    num_traced = 0
    if todo:
        options = ray_tracing.Options(job.max_depth, job.num_rays)
        world = ray_tracing.to_sionna(scene, scattering_coefficient=scattering)
        set_threads(job.threads)
        began, cpu = time.perf_counter(), time.process_time()
        for part in todo:
            places_m = receivers_m[part * job.part_size : (part + 1) * job.part_size]
            found = ray_tracing.paths(world, transmitter, places_m, num_paths, options=options)
            traces.write_part(job.out, part, places_m, found)
            num_traced += len(places_m)
            print(f"part {part + 1}/{num_parts}: {found.valid.any(1).mean():.1%} of {len(places_m)} receivers reached")
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(f"{num_traced} receivers in {seconds:.1f} s, {1e3 * cpu / num_traced:.2f} CPU-ms each")
    summarise(job.out)
    if job.deepmimo:
        deepmimo.write(job.deepmimo, traces.read(job.out).channel, ray_tracer="sionna-rt")
        print(f"written: {job.deepmimo}")
    return num_traced


def set_threads(num: int) -> None:
    """Bounds the threads of Sionna's compiler and tracer."""
    import drjit

    drjit.set_thread_count(num)


def summarise(folder: Path) -> None:
    """Prints how many receivers have paths, how many, and of which kinds."""
    _, receivers_m, paths, about = traces.read(folder, partial=True)
    if not len(receivers_m):
        print("nothing traced yet")
        return
    print(f"{len(receivers_m)} of {about['num_receivers']} receivers traced, {paths.valid.any(1).mean():.1%} reached")
    print(f"paths per reached receiver: {paths.valid.sum() / max(paths.valid.any(1).sum(), 1):.2f}")
    for kind in PathKind:
        share = (paths.kind == kind)[paths.valid].mean() if paths.valid.any() else 0.0
        first = ((paths.kind == kind) & paths.valid)[:, 0].mean()
        print(f"  {kind.name.lower():<14}{share:8.1%} of paths, strongest of {first:6.1%} of receivers")
    strongest_db = paths.gain_db[paths.valid[:, 0], 0]
    if strongest_db.size:
        print("strongest path {:.1f} to {:.1f} dB".format(*np.percentile(strongest_db, (0, 100))))
    print(f"written: {folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
