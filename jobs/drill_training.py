"""Drills of a training on two nodes: processes and nodes that die, a cable that is cut, a node that is slow.

    python jobs/drill_training.py                              # each fault once, some twenty minutes
    python jobs/drill_training.py --what node,network
    python jobs/drill_training.py --what random --num_steps 6000 --num 20

The nodes are those of ``nodes.py`` on this machine, which needs Linux and root. The training is the regression method's
at the debug size, one worker on each node, and is left to itself after its fault; only for a driver that was killed is
the same command given again. ``store`` is more maps than the object stores hold, ``random`` many faults in a row. Every
training is compared with an undisturbed one before it. Writes ``drill_training.json`` into ``--out``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from nodes import Node, Nodes, reason_against
from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.data import shards, sources
from raymap.runtime import cluster, provenance

HERE = Path(__file__).parent


class Job(Settings):
    """Which faults, in how long a training."""

    what: str = Field("worker,node,shrink,network,driver,slow,store", description="faults, with commas between")
    num_steps: int = Field(1200, ge=100)
    checkpoint_every: int = Field(100, ge=1)
    back_s: float = Field(20.0, ge=0, description="until a node that was killed is started again")
    cut_s: float = Field(20.0, ge=0, description="how long the cable is cut")
    num: int = Field(20, ge=1, description="faults of random")
    store_mb: int = Field(80, ge=80, description="of store: each node's object store")
    num_towns: int = Field(800, ge=1, description="of store: training towns of four maps")
    seed: int = Field(0, description="of random")
    out: Path = Field(Path("runs/drills"), description="folder for results")


class Training:
    """The command on the head node, as a user gives it."""

    def __init__(self, job: Job, nodes: Nodes, data: Path, folder: Path, *options: str) -> None:
        self.job, self.nodes, self.log, self.commands = job, nodes, folder / "training.log", 0
        folder.mkdir(parents=True)
        self.command = [
            sys.executable, str(HERE / "train_baseline.py"), "--method", "regression", "--size", "debug",
            "--storage", str(folder), "--data.folder", str(data), "--map.optim.num_steps", str(job.num_steps),
            "--map.optim.checkpoint_every", str(job.checkpoint_every), "--map.optim.log_every", "10",
            "--workers.num", "2", "--workers.spread", "--workers.max_failures", "-1", *options,
        ]  # fmt: skip
        self.begun = time.monotonic()
        self.start()

    def start(self) -> None:
        """Give the command (again)."""
        self.commands += 1
        self.process = self.nodes.head.run(self.command, self.log)

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def step(self) -> int:
        """The last step that was told."""
        steps = re.findall(r"step (\d+)/", self.text)
        return int(steps[-1]) if steps else 0

    @property
    def is_over(self) -> bool:
        return f"step {self.job.num_steps}/{self.job.num_steps}" in self.text

    def wait_for_step(self, step: int, timeout_s: float = 1500) -> None:
        """Until so many steps are done. Raises RuntimeError if the command ends before, or in so long a time."""
        begun = time.monotonic()
        while self.step < step and not self.is_over:
            if self.process.poll() is not None or time.monotonic() - begun > timeout_s:
                raise RuntimeError(f"stands at step {self.step}, wanted {step}:\n{self.text[-4000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL for the driver."""
        for process in psutil.Process(self.process.pid).children():
            process.kill()
        self.process.wait()

    def found(self) -> dict[str, Any]:
        """Wait for the end; what came of it."""
        self.wait_for_step(self.job.num_steps)
        seconds = time.monotonic() - self.begun
        status = self.process.wait()
        # A line of progress, or the step at which a training went on.
        marks = [(int(a or b), bool(b)) for a, b in re.findall(r"step (\d+)/|resumed at step (\d+)", self.text)]
        repeated = [last - to for (last, _), (to, resumed) in itertools.pairwise(marks) if resumed]
        return {
            "status": status, "commands": self.commands, "seconds": seconds, "restarts": len(repeated),
            "steps_repeated": sum(map(abs, repeated)), "loss": self._last(r"step \d+/\d+  loss ([0-9.]+)"),
            "val_loss": self._last(r"validation loss ([0-9.]+)"), "told": self._told(),
        }  # fmt: skip

    def _last(self, pattern: str) -> float:
        return float(re.findall(pattern, self.text)[-1])

    def _told(self) -> list[str]:
        """Lines that say what happened, each kind once."""
        words = ("died", "Error", "resumed at", "unhealthy", "retry", "RETRY", "lost", "failed")
        lines = [re.sub(r"\x1b\[\d+m", "", line).strip()[:200] for line in self.text.splitlines()]
        kinds = {re.sub(r"\d+", "#", line): line for line in lines if any(word in line for word in words)}
        return list(kinds.values())[:12]


def worker(job: Job, training: Training, node: Node) -> None:
    """One of the two training processes is killed, wherever it is; waits for one where there is none just now."""
    while not training.is_over:
        victims = [process for each in training.nodes.nodes for process in each.processes("RayTrainWorker")]
        if victims:
            victims[-1].kill()
            return
        time.sleep(0.1)


def lost(job: Job, training: Training, node: Node) -> None:
    """A node ends with all its processes, and comes back later."""
    node.kill()
    time.sleep(job.back_s)
    node.start()


def shrink(job: Job, training: Training, node: Node) -> None:
    """A node ends and does not come back; the one that is left has room for one worker only."""
    node.kill()


def network(job: Job, training: Training, node: Node) -> None:
    """The node's cable is cut for a while."""
    with node.cut():
        time.sleep(job.cut_s)
    if training.nodes.alive() < len(training.nodes.nodes):
        # Ray takes a node that it gave up for gone for good; whoever runs nodes starts it again.
        node.kill()
        node.start()


def driver(job: Job, training: Training, node: Node) -> None:
    """The driver is killed; the same command again."""
    training.kill()
    training.start()


def slow(job: Job, training: Training, node: Node) -> None:
    """A node's worker has half of its time from then on."""
    (victim,) = node.processes("RayTrainWorker")
    with contextlib.suppress(psutil.NoSuchProcess):
        while not training.is_over:
            victim.send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            victim.send_signal(signal.SIGCONT)
            time.sleep(0.5)


FAULTS: dict[str, Callable[[Job, Training, Node], None]] = {
    "worker": worker, "node": lost, "shrink": shrink, "network": network, "driver": driver, "slow": slow,
}  # fmt: skip


def many(job: Job, training: Training, node: Node) -> list[str]:
    """Random faults in a row, between each and the next so many steps as chance has it."""
    rng, done = random.Random(job.seed), []
    short = job.model_copy(update={"back_s": 3.0, "cut_s": 5.0})
    for number in range(job.num):
        name = rng.choice(("worker", "node", "network", "driver"))
        training.wait_for_step(min(training.step + rng.randrange(20, 2 * job.checkpoint_every), job.num_steps - 20))
        if training.is_over:
            break
        print(f"{number + 1}/{job.num}: {name} at step {training.step}", flush=True)
        FAULTS[name](short, training, node)
        done.append(name)
    return done


def _generate(folder: Path, num_towns: int | None = None) -> None:
    """The debug size's dataset, or one of more towns, made without the nodes."""
    plan = sources.plan("debug")
    if num_towns:
        counts = plan.num_generated.model_copy(update={"train": num_towns})
        plan = plan.model_copy(update={"num_generated": counts})
    cluster.connect(min_cpus=2)
    shards.generate(plan, folder)
    import ray

    ray.shutdown()


def main(argv: list[str]) -> dict[str, Any]:
    """Run the drills; returns what the JSON holds. Ends with a message where there can be no nodes."""
    job = from_command_line(Job(), argv, prog="drill_training.py")
    if reason := reason_against():
        raise SystemExit(f"no nodes on this machine: {reason}")
    chosen = job.what.split(",")
    if unknown := set(chosen) - {*FAULTS, "random", "store"}:
        raise SystemExit(f"unknown fault {sorted(unknown)[0]!r}; allowed: {', '.join([*FAULTS, 'random', 'store'])}")
    found: dict[str, Any] = {"command": provenance.command("jobs/drill_training.py", argv),
                             "commit": provenance.git_commit(), "hardware": provenance.hardware()}  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="raymap-drill-") as name:
        folder = Path(name)
        _generate(folder / "data")
        if "store" in chosen:
            _generate(folder / "many", job.num_towns)
        for drill in ("undisturbed", *chosen):
            is_full = drill == "store"
            with Nodes(cpus=4, object_store_mb=job.store_mb if is_full else 200) as nodes:
                options = ("--workers.least", "1", "--workers.cpus_each", "3") if drill == "shrink" else ()
                data = folder / ("many" if is_full else "data")
                training = Training(job, nodes, data, folder / drill, *options)
                if drill == "random":
                    found[drill] = {"faults": many(job, training, nodes.nodes[1])}
                elif drill in FAULTS:
                    training.wait_for_step(job.num_steps // 2 - job.checkpoint_every // 4)
                    FAULTS[drill](job, training, nodes.nodes[1])
                found[drill] = {**found.get(drill, {}), **training.found(), "spilled_mb": nodes.spilled_mb()}
            found[drill]["lost_s"] = found[drill]["seconds"] - found["undisturbed"]["seconds"]
            print(json.dumps({drill: found[drill]}, indent=1), flush=True)
            job.out.mkdir(parents=True, exist_ok=True)
            (job.out / "drill_training.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
