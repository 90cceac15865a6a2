"""RadioUNet's third training as a user runs it: on Ray, from a saved model and measured cells alone."""

import json

import pytest
import torch

import raymap
from raymap import recipes
from raymap.data import generated, schema, shards, sites
from raymap.models import base
from raymap.propagation import dominant_path
from raymap.scene import Grid


def rows(first):
    for seed in range(first, first + 4):
        scene = generated.city(seed, Grid((32, 32), 8.0))
        place = sites.place(scene, 1, 0)[0]
        yield schema.row(scene, 0, place, dominant_path.solve(scene, place))


@pytest.mark.ray
def test_the_second_net_alone_learns_from_what_was_measured(tmp_path, ray_local, load_job):
    shards.write({"train": rows(0), "test": rows(10)}, tmp_path / "data", name="tiny", kind="srm", shape=(32, 32),
                 cell_m=8.0, sources=("made up",), attribution="")  # fmt: skip
    torch.manual_seed(0)
    before = base.build(recipes.radiounet("debug").map.model)
    base.save(before, tmp_path / "trained")
    model = load_job("finetune_sparse").main(
        ["--model", str(tmp_path / "trained"), "--data.folder", str(tmp_path / "data"), "--storage", str(tmp_path),
         "--data.batch_size", "4", "--optim.num_steps", "4", "--optim.warmup_steps", "1"]
    )  # fmt: skip
    after = raymap.load(model)
    assert after.config.sparse_loss
    moved = {
        name.split(".")[0]
        for name, weight in after.named_parameters()
        if not torch.equal(weight, before.get_parameter(name))
    }
    assert moved == {"second"}
    found = json.loads((tmp_path / "radiounet-sparse/report/metrics.json").read_text())
    assert list(found["methods"])[-2:] == ["RadioUNet", "RadioUNet, sparse"]
