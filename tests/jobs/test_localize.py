"""The job from its command line, on Ray, with a dataset that has enough transmitters."""

import json

from raymap.data import shards, sources
from raymap.data.sources import Counts
from raymap.evaluation.localization import TRUE_MAPS
from raymap.models import base
from raymap.models.pathloss import FreeSpace
from raymap.runtime.evaluate import LAWS


def test_receivers_are_located_on_ray(load_job, ray_local, tmp_path, capsys):
    plan = sources.plan("debug").model_copy(
        update={"num_generated": Counts(train=4, test=3), "num_transmitters": Counts(train=2, test=4),
                "scenes_per_shard": 2}
    )  # fmt: skip
    shards.generate(plan, tmp_path / "data")
    base.save(FreeSpace(FreeSpace.Config()), tmp_path / "model")
    argv = ["--model", f"friis={tmp_path / 'model'}", "--data", str(tmp_path / "data"), "--num_transmitters", "3",
            "--num_points", "200", "--out", str(tmp_path / "out")]  # fmt: skip
    found = load_job("localize").main(argv)
    assert list(found["methods"]) == [*LAWS, "friis", TRUE_MAPS]
    means = {name: scores["all"]["mean_m"] for name, scores in found["methods"].items()}
    assert {mean["num"] for mean in means.values()} == {600}
    assert min(means, key=lambda name: means[name]["mean"]) == TRUE_MAPS
    assert means["friis"] == means["Free space"]
    assert json.loads((tmp_path / "out" / "localization.json").read_text()) == found
    assert "| true maps |" in capsys.readouterr().out
