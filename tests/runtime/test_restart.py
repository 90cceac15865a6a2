"""Two workers survive kill -9 of their driver, of one of them, of a node: they go on, and end where they would have."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from jobs.nodes import Nodes, reason_against
from raymap.models import base

DRIVER = Path(__file__).with_name("fit_autoencoder.py")
NUM_STEPS = 80

pytestmark = pytest.mark.ray


class Training:
    """The driver in a process group of its own, with its output in a file."""

    def __init__(self, folder: Path, data: Path, *options: str, nodes: Nodes | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.log = folder, folder / f"driver-{time.monotonic_ns()}.log"
        command = [sys.executable, str(DRIVER), str(folder), str(data), str(NUM_STEPS), "2", *options]
        environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        if nodes is not None:
            self.process = nodes.head.run(command, self.log)
            return
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=environ
            )
        self.descendants: list[psutil.Process] = []

    def wait_for(self, pattern: str, timeout_s: float = 240) -> re.Match:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = re.search(pattern, self.log.read_text())
            if found:
                return found
            assert self.process.poll() is None, f"the driver ended early:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.1)
        raise AssertionError(f"{pattern!r} did not appear in {timeout_s} s:\n{self.log.read_text()[-4000:]}")

    def wait_for_checkpoint(self) -> None:
        """Until a checkpoint is registered, not merely on disk."""
        snapshot = self.folder / "debug/autoencoder/checkpoints/checkpoint_manager_snapshot.json"
        deadline = time.monotonic() + 240
        while not (snapshot.is_file() and "step_" in snapshot.read_text()):
            assert self.process.poll() is None, f"the driver ended early:\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"no checkpoint in 240 s:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.05)

    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "RayTrainWorker" in " ".join(child.cmdline())]

    def end(self) -> str:
        assert self.process.wait(timeout=300) == 0, self.log.read_text()[-4000:]
        return self.log.read_text()

    def kill(self) -> None:
        """kill -9 of the driver and, without the minute Ray takes to notice, of what it had started."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=30)


def last(pattern: str, text: str) -> str:
    return re.findall(pattern, text)[-1]


def final_loss(log: str) -> float:
    return float(last(rf"step {NUM_STEPS}/{NUM_STEPS}  loss ([0-9.]+)", log))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, tiny_city, quiet_machine):
    training = Training(tmp_path_factory.mktemp("uninterrupted"), tiny_city)
    return training.end(), training.folder


def weights(folder: Path):
    return base.load(folder / "debug/autoencoder/model").state_dict()


def assert_same_outcome(log: str, folder: Path, uninterrupted) -> None:
    """Same number of steps, same loss, same weights up to rounding: nothing was lost, repeated or drawn anew."""
    straight_log, straight_folder = uninterrupted
    assert f"step {NUM_STEPS}/{NUM_STEPS}" in log
    assert final_loss(log) == pytest.approx(final_loss(straight_log), rel=0.02)
    distance = sum(float((a - b).square().sum()) for a, b in zip(
        weights(folder).values(), weights(straight_folder).values(), strict=True))  # fmt: skip
    size = sum(float(tensor.square().sum()) for tensor in weights(straight_folder).values())
    assert distance < 1e-4 * size


def test_killed_driver_resumes_by_the_same_command_and_ends_the_same(tmp_path, tiny_city, uninterrupted):
    """Maps that are prepared anew in every epoch come in the order of those that are kept."""
    first = Training(tmp_path / "runs", tiny_city, "anew")
    first.wait_for_checkpoint()
    first.kill()
    second = Training(tmp_path / "runs", tiny_city, "anew")
    log = second.end()
    resumed_at = int(last(r"resumed at step (\d+)", log))
    assert 0 < resumed_at < NUM_STEPS
    assert_same_outcome(log, tmp_path / "runs", uninterrupted)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert [run.info.status for run in runs] == ["FINISHED"], "the resumed training continues its MLflow run"


@pytest.fixture(scope="module")
def nodes(tiny_city, quiet_machine):
    """Two nodes with addresses of their own, the second with a custom resource."""
    if reason := reason_against():
        pytest.skip(f"no nodes on this machine: {reason}")
    with Nodes(cpus=4, resources={1: {"data": 4}}) as nodes:
        yield nodes


def test_a_node_that_is_lost_costs_steps_since_the_last_checkpoint(tmp_path, tiny_city, uninterrupted, nodes):
    """A worker on each node; one ends without a word, and another takes its place later: nobody does anything."""
    training = Training(tmp_path / "runs", tiny_city, "spread", nodes=nodes)
    training.wait_for_checkpoint()
    assert [len(node.processes("RayTrainWorker")) for node in nodes.nodes] == [1, 1]
    nodes.nodes[1].kill()
    nodes.nodes[1].start()
    log = training.end()
    told_before = int(last(r"step (\d+)/", log[: log.index("resumed at")]))
    assert told_before - 2 * 20 <= int(last(r"resumed at step (\d+)", log)) < NUM_STEPS
    assert_same_outcome(log, tmp_path / "runs", uninterrupted)
    nodes.wait_for(2)


PREPARED = """
import ray
from raymap.data import parallel
from raymap.runtime import cluster

cluster.connect(needs={"data": 1})

def where(columns):
    yield {"node": [ray.util.get_node_ip_address()] * len(columns["row"])}

for resource in ("data", None):
    made = parallel.stream(where, [{"row": n} for n in range(16)], materialize=True, resource=resource)
    print(resource, *sorted({row["node"] for row in made.take_all()}))
"""


def test_data_is_prepared_where_the_resource_is(nodes, tmp_path):
    log = tmp_path / "prepared.log"
    assert nodes.head.run([sys.executable, "-c", PREPARED], log).wait(timeout=120) == 0, log.read_text()
    assert f"data {nodes.nodes[1].ip}\n" in log.read_text()
    assert "None " in log.read_text(), "without a resource any node will do"


DEALT = """
import threading

import ray
from raymap.config import WorkersConfig
from raymap.data import parallel
from raymap.runtime import cluster, train

cluster.connect()
nodes = {node["NodeManagerAddress"]: node["NodeID"] for node in ray.nodes() if node["Alive"]}

def where(columns):
    import time

    import numpy as np

    time.sleep(0.1)  # or one node would be done before the other has begun
    num = len(columns["row"])
    maps = np.zeros((num, 500_000), np.uint8)  # what is below 100 KB lies at the driver and is near to nobody
    yield {"row": columns["row"], "node": [ray.util.get_node_ip_address()] * num, "map": maps}

for near in (False, True):
    made = parallel.stream(where, [{"row": n} for n in range(40)], materialize=True)
    config = train.data_config(WorkersConfig(num=2, near_data=near))
    dealt = config.configure({"train": made}, 2, None, [*nodes.values()])
    got = [None, None]

    def take(worker):
        got[worker] = list(dealt[worker]["train"].iter_rows())

    threads = [threading.Thread(target=take, args=(worker,)) for worker in range(2)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    on_node = [sum(row["node"] == ip for rows in got for row in rows) for ip in nodes]
    local = [sum(row["node"] == ip for row in rows) for rows, ip in zip(got, nodes)]
    print("near" if near else "same", *(row["row"] for row in got[0]))
    print("local", sum(local), "of", sum(min(20, count) for count in on_node))
"""


def test_maps_are_dealt_out_in_the_same_order_or_by_where_they_are(nodes, tmp_path):
    """The default does not look at nodes, and gives worker 0 every second block; ``near_data`` does."""
    log = tmp_path / "dealt.log"
    assert nodes.head.run([sys.executable, "-c", DEALT], log).wait(timeout=120) == 0, log.read_text()
    text = log.read_text()
    assert f"same {' '.join(map(str, range(0, 40, 2)))}\n" in text
    (by_chance, _), (near, possible) = ((int(a), int(b)) for a, b in re.findall(r"local (\d+) of (\d+)", text))
    assert near > by_chance and near >= 0.7 * possible


@pytest.mark.skipif(reason_against() is None, reason="a whole node is lost above, and so its worker")
def test_killed_worker_is_replaced_from_the_last_checkpoint(tmp_path, tiny_city, uninterrupted):
    """Both workers restart."""
    training = Training(tmp_path / "runs", tiny_city)
    training.wait_for_checkpoint()
    training.workers()[0].kill()
    log = training.end()
    assert 0 < int(last(r"resumed at step (\d+)", log)) < NUM_STEPS
    assert_same_outcome(log, tmp_path / "runs", uninterrupted)


def test_a_finished_run_is_not_trained_again(uninterrupted, tiny_city):
    _log, folder = uninterrupted
    model = folder / "debug/autoencoder/model/model.safetensors"
    before = model.stat().st_mtime_ns
    log = Training(folder, tiny_city).end()
    assert "finished before" in log
    assert model.stat().st_mtime_ns == before
