"""A folder belongs to the plan it was made with; items come back from the cluster one row each, errors included."""

import json

import numpy as np
import pytest

from raymap.config import Settings
from raymap.data import parallel
from raymap.data.sources import SceneRef, WorkItem


class Plan(Settings):
    """Two fields, the second added later."""

    cell_m: float
    kind: str = "srm"


def test_a_plan_is_kept_and_another_is_refused_by_field(tmp_path):
    for _ in range(2):
        parallel.keep_plan(tmp_path / "out", "card.json", Plan(cell_m=4.0))
    assert json.loads((tmp_path / "out/plan.json").read_text()) == {"cell_m": 4.0, "kind": "srm"}
    for plan, field in ((Plan(cell_m=2.0), "cell_m was 4.0, now 2.0"), (Plan(cell_m=4, kind="mrm"), "kind was 'srm'")):
        with pytest.raises(ValueError, match=f"out was made with another plan: {field}.*take another folder"):
            parallel.keep_plan(tmp_path / "out", "card.json", plan)


def test_a_plan_from_before_a_field_existed_counts_as_its_default(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text('{"cell_m": 4.0}')
    parallel.keep(path, Plan(cell_m=4.0), "plan")
    with pytest.raises(ValueError, match="another plan: kind was 'srm', now 'drm'"):
        parallel.keep(path, Plan(cell_m=4.0, kind="drm"), "plan")
    path.write_text('{"cell_m": 4.0, "colour": 3}')
    with pytest.raises(ValueError, match="colour was 3, now None"):
        parallel.keep(path, Plan(cell_m=4.0), "plan")


def test_a_dataset_without_a_plan_is_left_alone(tmp_path):
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a dataset that was not made from a plan"):
        parallel.keep_plan(tmp_path, "card.json", Plan(cell_m=4.0))
    assert not (tmp_path / "plan.json").exists()


def item(seed):
    return WorkItem(split="train", shard=f"{seed}.parquet", scenes=(SceneRef("generated", seed), SceneRef("munich", 1)))


def test_items_travel_whole_and_every_one_comes_back(ray_local):
    def seeds(item, offset):
        """Defined here, so that it travels by value: workers cannot import a test module."""
        if item.scenes[0].index < 0:
            raise ValueError(f"{item.shard}: no such seed")
        return {"shard": item.shard, "sum": sum(ref.index for ref in item.scenes) + offset}

    found = parallel.each(seeds, [item(seed) for seed in range(5)], "seeds", offset=10)
    assert sorted((row["shard"], row["sum"]) for row in found) == [(f"{seed}.parquet", seed + 11) for seed in range(5)]
    assert list(parallel.each(seeds, [], "seeds", offset=0)) == []
    with pytest.raises(ray_local.exceptions.RayTaskError, match="-1.parquet: no such seed"):
        list(parallel.each(seeds, [item(-1)], "seeds", offset=0))


def test_a_stream_keeps_the_order_of_its_rows(ray_local):
    def doubled(columns, factor):
        yield {"value": columns["value"] * factor}

    for materialize in (False, True):
        rows = [{"value": value} for value in range(40)]
        dataset = parallel.stream(doubled, rows, materialize=materialize, factor=2)
        assert [row["value"] for row in dataset.iter_rows()] == (2 * np.arange(40)).tolist()
