"""Two nodes with addresses of their own: a training works on both, and goes on when one is lost."""

import re
import sys
import time
from pathlib import Path

import pytest

from jobs.nodes import Nodes, reason_against

DRIVER = Path(__file__).with_name("fit_autoencoder.py")
NUM_STEPS = 160

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(reason_against() is not None, reason=f"no nodes on this machine: {reason_against()}"),
]


@pytest.fixture(scope="module")
def nodes(tiny_city, quiet_machine):
    with Nodes(cpus=4) as nodes:
        yield nodes


class Training:
    def __init__(self, nodes, folder, data):
        folder.mkdir()
        self.log = folder / "driver.log"
        command = [sys.executable, str(DRIVER), str(folder), str(data), str(NUM_STEPS), "2", "spread"]
        self.process = nodes.head.run(command, self.log)

    def wait_for(self, pattern, timeout_s=120):
        deadline = time.monotonic() + timeout_s
        while not re.search(pattern, self.log.read_text()):
            assert self.process.poll() is None, f"the driver ended early:\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"{pattern!r} did not appear:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.1)

    def end(self):
        assert self.process.wait(timeout=180) == 0, self.log.read_text()[-4000:]
        return self.log.read_text()


def final_loss(log):
    return float(re.findall(rf"step {NUM_STEPS}/{NUM_STEPS}  loss ([0-9.]+)", log)[-1])


@pytest.fixture(scope="module")
def undisturbed(nodes, tiny_city, tmp_path_factory):
    training = Training(nodes, tmp_path_factory.mktemp("undisturbed") / "runs", tiny_city)
    training.wait_for("step 10/")
    held = [len(node.processes("RayTrainWorker")) for node in nodes.nodes]
    return training.end(), held


def test_both_nodes_work(undisturbed):
    log, held = undisturbed
    assert held == [1, 1]
    assert f"step {NUM_STEPS}/{NUM_STEPS}" in log


def test_a_node_that_is_lost_costs_steps_since_the_last_checkpoint(nodes, undisturbed, tiny_city, tmp_path):
    """It ends without a word; another takes its place; the training goes on by itself to the same end."""
    training = Training(nodes, tmp_path / "runs", tiny_city)
    training.wait_for(r"step 70/")
    nodes.nodes[1].kill()
    nodes.nodes[1].start()
    log = training.end()
    resumed_at = int(re.findall(r"resumed at step (\d+)", log)[-1])
    last_before = int(re.findall(r"step (\d+)/", log[: log.index("resumed at")])[-1])
    # One checkpoint may be on its way when the node is lost.
    assert last_before - 2 * 20 <= resumed_at < NUM_STEPS
    assert final_loss(log) == pytest.approx(final_loss(undisturbed[0]), rel=0.15)
