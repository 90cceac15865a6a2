"""The alias that is served moves only to a version that is better on unseen maps, and whoever asks is told why."""

import json
import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest

from raymap.data import shards
from raymap.data.batch import batches
from raymap.models.pathloss import FreeSpace, LogDistance
from raymap.runtime import promote
from raymap.runtime.promote import KEY, Promotion, decide

JOB = Path(__file__).parents[2] / "jobs/promote.py"


def scores(champion, challenger):
    """NMSE of two methods on one map of every scene."""
    return pd.DataFrame([
        {"method": method, "scene": f"s{number}", "tx_id": 0, KEY: value}
        for method, values in (("champion", champion), ("challenger", challenger))
        for number, value in enumerate(values)
    ])  # fmt: skip


def test_better_in_all_scenes_is_better_and_in_half_of_them_is_not():
    old = [0.1 + 0.01 * number for number in range(8)]
    less, mixed = [0.9 * value for value in old], [value * (0.9 if n % 2 else 1.1) for n, value in enumerate(old)]
    moved = decide(scores(old, less), "champion", "challenger")
    assert moved["moved"] and "is better: mean NMSE 0.1215 against 0.135, less in 8 of 8 scenes" in moved["reason"]
    assert not decide(scores(old, mixed), "champion", "challenger")["moved"]
    assert not decide(scores(less, old), "champion", "challenger")["moved"]
    few = decide(scores(old[:3], less[:3]), "champion", "challenger")
    assert not few["moved"] and few["reason"].startswith("not compared: too few scenes")


def aliases(client):
    return {alias: str(version) for alias, version in client.get_registered_model("law").aliases.items()}


@pytest.mark.usefixtures("ray_local")
def test_promotion_moves_the_alias_once_and_says_why_not_the_other_time(
    town, write_towns, register_model, tmp_path, monkeypatch, capsys
):
    data = write_towns(tmp_path / "data", test=[row for seed in range(7) for row in town(seed)])
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    law = LogDistance(LogDistance.Config())
    law.prepare(batches(shards.stream(data, "test"), 64))
    client = register_model(tmp_path / "first", uri, FreeSpace(FreeSpace.Config()))
    register_model(tmp_path / "second", uri, law)
    assert aliases(client) == {"champion": "1", "challenger": "2"}

    asked = Promotion(name="law", data=data, tracking_uri=uri, out=str(tmp_path / "out"))
    found = promote.promote(asked)
    assert found["moved"] and aliases(client) == {"champion": "2"}
    assert client.get_model_version("law", "2").tags == {"promoted": "true", "promotion": found["reason"]}
    assert json.loads((tmp_path / "out/promotion.json").read_text()) == found
    assert (tmp_path / "out/report.html").is_file()
    with pytest.raises(ValueError, match=r"no version of 'law' has the alias 'challenger'; aliases: champion \(versi"):
        promote.promote(asked)

    register_model(tmp_path / "third", uri, FreeSpace(FreeSpace.Config()))
    options = {"name": "law", "data": data, "tracking_uri": uri, "out": str(tmp_path / "again")}
    command = [str(JOB), *(part for key, value in options.items() for part in (f"--{key}", value))]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(JOB), run_name="__main__")
    assert ended.value.code == 1
    assert "version 3 of law stays challenger: the challenger is worse" in capsys.readouterr().out
    assert aliases(client) == {"champion": "2", "challenger": "3"}
