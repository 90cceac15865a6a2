"""What Ray Tune costs: the same trainings as trials of a sweep, and one after the other without it.

    python jobs/benchmark_tune.py --size small --num_trials 4 --job.map.optim.num_steps 384

Options are those of ``tune_k2.py``; settings are drawn at random and every trial goes to its end, one at a time. Order:
sweep, loop, loop, sweep, so that a machine that slows down slows both alike. What both share (cluster, dataset, stages
that no setting changes) is there before the clock starts. Writes ``overhead.json`` into the sweep's folder.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from raymap.config import Settings, from_command_line, sized
from raymap.recipes import sweeps
from raymap.runtime import cluster, method, provenance, sweep_trial
from raymap.runtime.sweep import Sweep, sweep
from raymap.space import overridden


def main(argv: list[str]) -> dict:
    """Measure; returns what ``overhead.json`` holds. The sweep's folder is emptied first."""
    plan = from_command_line(*sized(sweeps.k2_sweep, argv, default="demo"), prog="benchmark_tune.py")
    plan = plan.model_copy(update={"search": "random", "scheduler": "none", "parallel": 1})
    shutil.rmtree(plan.folder, ignore_errors=True)
    cluster.connect(min_cpus=sweep_trial.cpus_of(plan.job) + 1)
    job = sweep_trial.prepared(plan.job, plan.space, plan.folder, plan.tracking)
    seconds: dict[str, list[float]] = {"sweep": [], "loop": []}
    trials: list[dict] = []
    for what in ("sweep", "loop", "loop", "sweep"):
        name = f"{what}-{len(seconds[what])}"
        begun = time.monotonic()
        if what == "sweep":
            part = plan.model_copy(update={"name": name, "storage": str(plan.folder), "job": job})
            sweep(part)
            trials = sweep_trial.read_all(part.folder)
        else:
            loop(job, plan.folder / name, trials, plan)
        seconds[what].append(time.monotonic() - begun)
        print(f"[{name}] {seconds[what][-1]:.1f} s", flush=True)
    found = {
        "command": provenance.command("jobs/benchmark_tune.py", argv), "commit": provenance.git_commit(),
        "hardware": provenance.hardware(), "num_trials": plan.num_trials,
        "num_steps": sweep_trial.last_stage(job).optim.num_steps, "seconds": seconds,
        "overhead": sum(seconds["sweep"]) / sum(seconds["loop"]) - 1,
    }  # fmt: skip
    (plan.folder / "overhead.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"{plan.num_trials} trainings: {100 * found['overhead']:+.1f} % by Tune")
    return found


def loop(job: Settings, folder: Path, trials: list[dict], plan: Sweep) -> None:
    """The trials' trainings, one after the other."""
    for trial in trials:
        about = {"name": str(trial["number"]), "storage": str(folder), "tracking": plan.tracking}
        method.train(overridden(job, trial["history"][0]["overrides"]).model_copy(update=about))


if __name__ == "__main__":
    main(sys.argv[1:])
