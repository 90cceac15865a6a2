"""Where the time goes: latency against the published network, training against the peak of its convolutions.

    python jobs/benchmark_speed.py                                  # the small size; minutes on two cores
    python jobs/benchmark_speed.py --size full --out speed.json
    python jobs/benchmark_speed.py --model runs/small/model --data runs/small/data
    python jobs/benchmark_speed.py --clock cpu                      # one thread's own time: others use the machine

Weights are random unless a trained ``--model`` is given, which the time does not depend on. Without ``--data``,
generated towns are made for the training steps.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from raymap import recipes
from raymap.config import Settings, from_command_line
from raymap.data import generated, shards, sites
from raymap.data.batch import from_scenes
from raymap.data.sources import Counts
from raymap.models import base
from raymap.nn.autoencoder import Autoencoder
from raymap.runtime import cluster, provenance, speed
from raymap.runtime.method import K2Job
from raymap.runtime.trainer import Trainer
from raymap.scene import Grid

SIDE = 256


class Job(Settings):
    """What to measure."""

    size: str = Field("small", description=f"one of {', '.join(recipes.K2_SIZES)}")
    model: Path | None = Field(None, description="folder of a trained K2 to predict with; default: random weights")
    data: Path | None = Field(None, description="dataset folder for the training steps; default: generated towns")
    num_towns: int = Field(96, ge=8, description="generated towns, 4 transmitters each")
    num_steps: int = Field(25, ge=1, description="training steps that are timed")
    repeats: int = Field(5, ge=1, description="repeats of everything else, of which the best counts")
    published: bool = Field(True, description="also time a network of the published model's operation count")
    threads: int = Field(0, ge=0, description="threads of a prediction; 0: all cores. A training worker has its own")
    clock: Literal["wall", "cpu"] = Field("wall", description="cpu: processor time of this process, with one thread")
    out: Path | None = Field(None, description="JSON file to write")


def latency(job: Job, method: K2Job, clock: speed.Clock) -> dict:
    """Ours and the published network in both precisions."""
    model = base.load(job.model) if job.model else base.build(method.model()).eval()
    scene = generated.city(0, Grid((SIDE, SIDE), model.cell_m))
    places, dominant_path = sites.place(scene, 1, 0), model.config.reads("dominant_path")
    inputs = {"inputs": lambda: from_scenes([scene], places, dominant_path=dominant_path)}
    inputs_s = min(speed.seconds(inputs, job.repeats, clock)["inputs"])
    print(f"\nThe inputs of one map of {SIDE} x {SIDE} cells from its scene: {inputs_s:.2f} s on one core.\n")
    batch = inputs["inputs"]()
    found = {f"ours {p}": speed.prediction(model, batch, p, job.repeats, clock) for p in ("fp32", "bf16")}
    if job.published:
        coder = recipes.k2("paper").autoencoder.model
        decoder = Autoencoder(
            coder.channels, coder.layers_per_block, coder.latent_channels, coder.patch, coder.linear
        )  # fmt: skip
        published = speed.Published(decoder)
        found |= {f"published {p}": published.measure(p, 1, clock) for p in ("fp32", "bf16")}
    return found


def training(job: Job, method: K2Job, clock: speed.Clock) -> dict:
    """Steps of one worker of the map stage on a Ray Data stream, as ``fit`` takes them."""
    workers = max(method.workers.num, 1)
    torch.set_num_threads(max(1, int(method.workers.cpus_each)))
    cluster.connect(min_cpus=2)
    with tempfile.TemporaryDirectory() as folder:
        data = method.data.model_copy(update={"folder": str(job.data or folder)})
        if not job.data:
            towns = Counts(train=job.num_towns)
            plan = method.plan.model_copy(update={"num_generated": towns, "train_cities": (), "test_cities": ()})
            shards.generate(plan, folder)
        run = method.run("map", data=data.model_copy(update={"batch_size": data.batch_size // workers}))
        trainer = Trainer(run, rank=0, world=1)
        trainer.feed.train = shards.stream(
            data.folder, "train", outline=data.outline, true_outlines=True, materialize=True
        )
        trainer.prepare()
        return speed.training(trainer, job.num_steps, job.repeats, clock) | {"batch_size": run.data.batch_size}


def show_latency(found: dict) -> None:
    """Markdown tables of predictions."""
    print(f"| one map of {SIDE} x {SIDE} | TFLOP | s | published: times the operations | times the seconds |")
    print("|---|---|---|---|---|")
    for name, row in found.items():
        reference = found.get(f"published {name.split()[1]}")
        times = [f"{reference[key] / row[key]:.1f}" if reference else "" for key in ("flop", "seconds")]
        print(f"| {name} | {row['flop'] / 1e12:.3f} | {row['seconds']:.2f} | {' | '.join(times)} |")
    if "published fp32" in found:
        print(f"\nThe published model is told to take {speed.PUBLISHED_FLOP / 1e12:g} TFLOP.")
    for name, row in found.items():
        print(f"\n| {name} | times | GFLOP each | ms each | share |\n|---|---|---|---|---|")
        parts = row.get("parts") or {f"{s}: {p}": v for s, of in row["stages"].items() for p, v in of.items()}
        known = {"denoiser": speed.PUBLISHED_CALLS, "decode": speed.PUBLISHED_DECODES}
        left = 1.0
        for part, values in parts.items():
            num = values.get("times") or known[part]
            share = num * values["seconds"] / row["seconds"]
            left -= share
            print(f"| {part} | {num} | {values['flop'] / 1e9:.1f} | {1e3 * values['seconds']:.0f} | {share:.0%} |")
        print(f"| rest | | | | {left:.0%} |")


def show_training(found: dict) -> None:
    """Markdown tables of training."""
    print("\n| training step | |\n|---|---|")
    print(f"| maps per step and worker | {found['batch_size']} |")
    print(f"| operations | {found['step_flop'] / 1e9:.1f} GFLOP |")
    print(f"| seconds, median | {found['step_s']:.3f} |")
    print(f"| rate | {found['flop_per_s'] / 1e9:.0f} GFLOP/s |")
    print(
        f"| peak: its {found['num_convolutions']} convolutions alone | {found['peak_flop_per_s'] / 1e9:.0f} GFLOP/s |"
    )
    print(f"| share of peak | {found['share_of_peak']:.0%} |")
    print(f"| share of peak, fastest step | {found['best_share_of_peak']:.0%} |")
    print(f"| wait for data | {found['wait_share']:.1%} |")
    total = sum(found["phases"].values())
    print("\n| phase | ms | share |\n|---|---|---|")
    for name, time_s in found["phases"].items():
        print(f"| {name} | {1e3 * time_s:.1f} | {time_s / total:.0%} |")


def main(argv: list[str]) -> dict:
    """Print the tables and write the JSON if asked to."""
    job = from_command_line(Job(), argv, prog="benchmark_speed.py")
    clock = time.perf_counter if job.clock == "wall" else time.process_time
    default = torch.get_num_threads() if job.clock == "wall" else 1
    method = recipes.k2(job.size)
    torch.set_num_threads(job.threads or default)
    found = {"hardware": provenance.hardware(), "commit": provenance.git_commit(), "clock": job.clock,
             "threads": torch.get_num_threads(), "size": job.size}  # fmt: skip
    print(f"{found['hardware']}; {found['threads']} threads; {job.clock} clock; size {job.size}\n")
    found["latency"] = latency(job, method, clock)
    show_latency(found["latency"])
    found["training"] = training(job, method, clock)
    show_training(found["training"])
    if job.out:
        job.out.write_text(json.dumps(found, indent=2) + "\n")
        print(f"\nwritten: {job.out}")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
