"""Drills of the endpoint on a local Ray Serve: too much to do, dying processes, a new version, a step of load.

    python jobs/drill_serving.py --what overload --seconds 600     # twice the requests that it can answer
    python jobs/drill_serving.py --what kills --seconds 180        # a stage's process killed every 30 s
    python jobs/drill_serving.py --what redeploy --seconds 60      # deployed anew in the middle
    python jobs/drill_serving.py --what autoscale --seconds 60     # nothing, a load, nothing

Writes ``drill_WHAT.json`` into ``--out``, and for autoscale a picture of the replicas over time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import psutil
from load_test import Job as Load
from load_test import load, told
from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.evaluation.drawing import DPI, INK, SERIES, png
from raymap.runtime import cluster, provenance
from raymap.serving.limits import Limits
from raymap.serving.settings import Serving, Stage

What = Literal["overload", "kills", "redeploy", "autoscale"]
#: How often processes and replicas are looked at [s].
LOOK_S = 1.0


class Job(Settings):
    """Which drill, how long."""

    what: What = "overload"
    seconds: float = Field(60.0, gt=0)
    clients: int = Field(8, ge=1, description="of kills, redeploy and autoscale")
    every_s: float = Field(30.0, gt=0, description="between two kills")
    port: int = 8124
    seed: int = 0
    out: Path = Field(Path("runs/drills"), description="folder for results")


def main(argv: list[str]) -> dict[str, Any]:
    """Run one drill; returns what its JSON holds."""
    job = from_command_line(Job(), argv, prog="drill_serving.py")
    cluster.connect(min_cpus=5)
    from ray import serve

    serve.start(http_options={"port": job.port})
    deploy(settings(job.what))
    asked = Load(url=f"http://127.0.0.1:{job.port}", clients=job.clients, seconds=job.seconds)
    asyncio.run(load(asked.model_copy(update={"clients": 2, "seconds": 5.0})))
    drills = {"overload": overload, "kills": kills, "redeploy": redeploy, "autoscale": autoscale}
    found = {"command": provenance.command("jobs/drill_serving.py", argv), "commit": provenance.git_commit(),
             "hardware": provenance.hardware(), **drills[job.what](job, asked)}  # fmt: skip
    job.out.mkdir(parents=True, exist_ok=True)
    (job.out / f"drill_{job.what}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({key: value for key, value in found.items() if key != "looks"}, indent=1))
    serve.shutdown()
    return found


def settings(what: What) -> Serving:
    """The endpoint of a drill: one replica of each stage, but where replicas are to come and go."""
    if what != "autoscale":
        return Serving()
    stage = Stage(num_cpus=0.5, max_replicas=3, target_ongoing_requests=2, upscale_delay_s=2, downscale_delay_s=10,
                  max_ongoing_requests=8, max_batch_size=4)  # fmt: skip
    return Serving(outline=stage, map=stage, limits=Limits())


def deploy(serving: Serving) -> None:
    """The endpoint with these settings, in place of what there was."""
    from ray import serve

    from raymap.serving.app import build

    serve.run(build(serving.model_dump(mode="json")), name="raymap")


def replicas(stage: str = "") -> list[psutil.Process]:
    """Processes of the deployments, or of one."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(f"ServeReplica:raymap:{stage}" in word for word in process.info["cmdline"] or ()):
            found.append(process)
    return found


class Looks(threading.Thread):
    """What there is to see while the load runs, every second."""

    def __init__(self, look: Callable[[], dict[str, Any]]) -> None:
        super().__init__(daemon=True)
        self.look, self.seen, self.over, self.begun = look, [], threading.Event(), time.perf_counter()

    def run(self) -> None:
        while not self.over.wait(LOOK_S):
            self.seen.append({"s": round(time.perf_counter() - self.begun, 1), **self.look()})

    def end(self) -> list[dict[str, Any]]:
        self.over.set()
        self.join()
        return self.seen


def memory_mb() -> dict[str, float]:
    """Of all deployments' processes together."""
    return {"mb": round(sum(process.memory_info().rss for process in replicas()) / 2**20, 1)}


def overload(job: Job, asked: Load) -> dict[str, Any]:
    """Twice what many clients get answered; then how long until a request is answered as before."""
    closed = asked.model_copy(update={"clients": 32, "seconds": 20.0})
    able = told(asyncio.run(load(closed)), closed.seconds)
    one = asked.model_copy(update={"clients": 1, "seconds": 3.0})
    calm = told(asyncio.run(load(one)), one.seconds)
    looks = Looks(memory_mb)
    looks.start()
    done = asyncio.run(load(asked.model_copy(update={"rate": 2 * able["per_s"]})))
    over = time.perf_counter()
    while True:
        after = told(asyncio.run(load(one.model_copy(update={"seconds": 0.2}))), 0.2)
        if after["p50_ms"] is not None and after["p50_ms"] < 2 * calm["p50_ms"]:
            break
    seen = looks.end()
    tenth = max(1, len(seen) // 10)
    return {
        "able_per_s": able["per_s"], "asked_per_s": 2 * able["per_s"], **told(done, job.seconds),
        "recovered_s": time.perf_counter() - over, "early_mb": seen[tenth]["mb"], "late_mb": seen[-tenth]["mb"],
        "looks": seen,
    }  # fmt: skip


def kills(job: Job, asked: Load) -> dict[str, Any]:
    """One of the stages' processes at a time, by chance."""
    rng, killed, over = random.Random(job.seed), [], threading.Event()

    def kill() -> None:
        while not over.wait(job.every_s):
            stage = rng.choice(("Outline", "Map"))
            for process in replicas(stage)[:1]:
                os.kill(process.pid, signal.SIGKILL)
                killed.append(stage)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    done = asyncio.run(load(asked))
    over.set()
    return {"killed": killed, **told(done, job.seconds)}


def redeploy(job: Job, asked: Load) -> dict[str, Any]:
    """Other settings in the middle of a load, which makes every process anew."""
    other = Serving(precision="bf16")
    timer = threading.Timer(job.seconds / 3, deploy, [other])
    timer.start()
    done = asyncio.run(load(asked))
    timer.join()
    return told(done, job.seconds)


def autoscale(job: Job, asked: Load) -> dict[str, Any]:
    """Replicas of both stages before, under and after a load."""
    from ray import serve

    def look() -> dict[str, Any]:
        deployments = serve.status().applications["raymap"].deployments
        return {name: deployments[name].replica_states.get("RUNNING", 0) for name in ("Outline", "Map")}

    looks = Looks(look)
    looks.start()
    time.sleep(10)
    done = asyncio.run(load(asked))
    time.sleep(45)
    seen = looks.end()
    job.out.mkdir(parents=True, exist_ok=True)
    (job.out / "autoscale.png").write_bytes(_drawn(seen, (10.0, 10.0 + job.seconds)))
    return {**told(done, job.seconds), "most": {name: max(one[name] for one in seen) for name in ("Outline", "Map")},
            "looks": seen}  # fmt: skip


def _drawn(seen: list[dict[str, Any]], load_s: tuple[float, float]) -> bytes:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8.0, 2.8), dpi=DPI, facecolor="white", layout="constrained")
    axis = figure.subplots()
    axis.axvspan(*load_s, color="#eef1f4", label="load")
    for number, name in enumerate(("Outline", "Map")):
        axis.step([one["s"] for one in seen], [one[name] for one in seen], where="post", label=name,
                  color=SERIES[number], linewidth=1.8, linestyle=("-", "--")[number])  # fmt: skip
    axis.set_xlabel("time [s]", color=INK)
    axis.set_ylabel("replicas", color=INK)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    return png(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
