"""More workers, the same training: by DDP, and with weights cut over them, which halves what each of two holds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from raymap import recipes
from raymap.config import WorkersConfig
from raymap.models import base
from raymap.runtime.trainer import STATE_FILE, Trainer

TRAINING = Path(__file__).with_name("train_sharded.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    done = subprocess.run([sys.executable, str(TRAINING), str(folder)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def state(folder):
    return torch.load(folder / STATE_FILE, weights_only=True)


@pytest.mark.parametrize("name", ["sharded_on", "ddp_on"])
def test_it_ends_where_data_parallel_training_ends(folder, name):
    """Two steps cut, then two more cut or not, from a checkpoint: the weights of four steps of DDP."""
    straight, found = state(folder / "ddp"), state(folder / name)
    assert found["position"] == straight["position"]
    assert found["model"].keys() == straight["model"].keys()
    for part in ("model", "ema"):
        moved = distance(straight[part], state(folder / "sharded")[part])
        assert distance(straight[part], found[part]) < 1e-3 * moved


def distance(one, other):
    return sum(float((tensor.double() - other[name]).square().sum()) for name, tensor in one.items()) ** 0.5


@pytest.mark.parametrize("world", [2, 4])
def test_the_same_maps_over_more_workers_give_the_same_losses(folder, world):
    """But for the noise that each draws, and means over outdoor cells, which each takes of its own maps."""
    alone, together = (np.array(json.loads((folder / f"losses{num}.json").read_text())) for num in (1, world))
    assert alone[-10:].mean() < 0.6 * alone[:3].mean(), "it learns"
    for part in (slice(0, 5), slice(10, 20), slice(30, 40)):
        assert together[part].mean() == pytest.approx(alone[part].mean(), rel=0.1)


def test_a_worker_holds_its_part(folder):
    whole, part = map(int, (folder / "held.txt").read_text().split())
    assert 0.45 * whole < part < 0.6 * whole


def test_its_model_is_the_average_and_whole(folder):
    model, ema = base.load(folder / "sharded_on"), state(folder / "sharded_on")["ema"]
    assert all(torch.equal(tensor, ema[f"module.{name}"]) for name, tensor in model.state_dict().items())


def test_methods_of_several_parts_are_refused_by_name(tmp_path):
    job = recipes.rmegan("debug").model_copy(update={"storage": str(tmp_path)})
    run = job.run("first", workers=WorkersConfig(num=2, sharded=True))
    with pytest.raises(ValueError, match=r"sharded is for models of one part; rmegan\S* has 2"):
        Trainer(run, rank=0, world=2)
