"""Making datasets: equal plans make equal maps, a second run makes only what is missing, splits stay apart."""

import json

import numpy as np
import pytest

from raymap.data import schema, sources
from raymap.data.reader import ShardReader, quarantined
from raymap.data.schema import DatasetCard
from raymap.data.sources import Counts, MapPlan, SceneRef, WorkItem
from raymap.scene import Grid, Scene

TINY = ["--size", "debug", "--shape", "[24,24]", "--num_generated.train", "3", "--num_generated.val", "1",
        "--num_generated.test", "1", "--scenes_per_shard", "2"]  # fmt: skip
PLAN = MapPlan(name="tiny", num_generated=Counts(train=3, val=1), shape=(16, 24), cell_m=8.0, solve_cell_m=4.0)


@pytest.fixture(scope="module")
def job(load_job):
    return load_job("generate_maps")


def test_a_dataset_is_made_once_and_mended(ray_local, job, tmp_path, monkeypatch, capsys):
    argv = [*TINY, "--folder", str(tmp_path / "data")]
    card = job.main(argv)
    assert {name: (len(s.scenes), s.num_rows) for name, s in card.splits.items()} == {
        "train": (3, 6), "val": (1, 1), "test": (1, 1),
    }  # fmt: skip
    assert "train" in capsys.readouterr().out
    assert ShardReader(tmp_path / "data", "train").load().columns["gain_db"].shape == (6, 24, 24)

    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").glob("*/*.parquet")}
    assert len(times) == 4
    gone = tmp_path / "data/train/00001.parquet"
    gone.unlink()
    (tmp_path / "data/val/00000.parquet").write_bytes(b"PAR1 half a shard")
    (tmp_path / "data/dataset.json").unlink()
    (tmp_path / "data/train/.00001.parquet.abc.tmp").write_bytes(b"PAR1")
    assert job.main(argv) == card
    changed = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == {gone, tmp_path / "data/val/00000.parquet"}

    with pytest.raises(ValueError, match=r"another plan: cell_m was 8.0, now 4.0"):
        job.main([*argv, "--cell_m", "4", "--solve_cell_m", "4"])

    real_work = sources.work
    broken = WorkItem(split="train", shard="train/00009.parquet", scenes=(SceneRef("generated", -1),))
    monkeypatch.setattr(sources, "work", lambda plan: [*real_work(plan), broken])
    again = job.main([*TINY, "--folder", str(tmp_path / "again")])
    assert again.fingerprint == card.fingerprint
    (entry,) = quarantined(tmp_path / "again")
    assert entry["what"] == "generated -1" and "must not be negative" in entry["reason"]


def test_a_dynamic_dataset_is_made_once_and_pairs_with_the_static_one(ray_local, job, tmp_path, capsys):
    def made(kind, folder):
        card = job.main([*TINY, "--kind", kind, "--folder", str(tmp_path / folder)])
        return card, ShardReader(tmp_path / folder, "train").load().columns

    card, dynamic = made("drm", "drm")
    assert card.kind == "drm" and "\ndrm, 24x24 cells" in capsys.readouterr().out
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "drm").glob("*/*.parquet")}
    gone = tmp_path / "drm/train/00000.parquet"
    gone.unlink()
    assert made("drm", "drm")[0] == card
    assert {path for path, time in times.items() if path.stat().st_mtime_ns != time} == {gone}

    with pytest.raises(ValueError, match="another plan: kind was 'drm', now 'srm'"):
        made("srm", "drm")
    static_card, static = made("srm", "srm")
    assert static_card.kind == "srm" and static_card.fingerprint != card.fingerprint
    assert static_card.split("train").scenes == card.split("train").scenes
    for name in ("scene", "tx_id", "tx_xyz_m", "building_m", "valid"):
        np.testing.assert_array_equal(static[name], dynamic[name])
    assert dynamic["vehicle_m"].any() and (dynamic["gain_db"] <= static["gain_db"]).all()


def test_rows_are_drawn_from_the_seed():
    def made(plan):
        return [row for item in sources.work(plan) for row in sources.rows(item, plan)[0]]

    first, second = made(PLAN), made(PLAN.model_copy(update={"scenes_per_shard": 1}))
    assert len(first) == 3 * 4 + 2
    for one, other in zip(first, second, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in schema.COLUMNS)
    other_seed = made(PLAN.model_copy(update={"seed": 1}))
    assert not {row["scene"] for row in other_seed} & {row["scene"] for row in first}
    assert first[0]["gain_db"].shape == (16, 24) and first[0]["cell_m"] == 8


def test_transmitters_stand_outdoors_on_the_stored_grid():
    items = sources.work(PLAN)
    rows, failures = sources.rows(items[0], PLAN)
    assert failures == []
    for row in rows:
        assert schema.fault(row, PLAN.shape, PLAN.cell_m) is None


def test_a_scene_that_fails_costs_that_scene(monkeypatch):
    item = sources.work(PLAN)[0]
    good, _ = sources.rows(item, PLAN)
    solve, lost = sources.dominant_path.solve, good[4]["scene"]

    def fragile(scene, transmitter):
        if scene.name == lost:
            raise RuntimeError("no way through")
        return solve(scene, transmitter)

    monkeypatch.setattr(sources.dominant_path, "solve", fragile)
    rows, failures = sources.rows(item, PLAN)
    assert [(row["scene"], row["tx_id"]) for row in rows] == [
        (row["scene"], row["tx_id"]) for row in good if row["scene"] != lost
    ]
    assert failures == [(f"generated {item.scenes[1].index}", "RuntimeError: no way through")]


def grid_of_tiles(rows, columns, size_m=256.0, stride_m=128.0):
    return tuple(
        Scene(f"r{r}c{c}", Grid((4, 4), size_m / 4, (c * stride_m - 500.0, r * stride_m)), np.zeros((4, 4)))
        for r in range(rows)
        for c in range(columns)
    )


@pytest.mark.parametrize("stride_m", [64.0, 128.0, 256.0])
def test_train_and_val_tiles_share_no_ground(stride_m):
    tiles = grid_of_tiles(8, 9, stride_m=stride_m)[:-1]  # the corner tile itself is missing
    split = sources.split_by_ground(tiles, 384.0)
    assert split["val"] and len(split["train"]) > len(split["val"])
    assert not set(split["val"]) & set(split["train"])
    for i in split["train"]:
        for j in split["val"]:
            apart_m = np.abs(np.subtract(tiles[i].grid.origin_m, tiles[j].grid.origin_m))
            assert apart_m.max() >= 256.0
    # Only tiles that reach into the corner are lost: those that overlap some val tile or lie between them.
    corner = np.max([np.add(tiles[j].grid.origin_m, 256.0) for j in split["val"]], axis=0)
    for k in set(range(len(tiles))) - set(split["val"]) - set(split["train"]):
        assert (np.add(tiles[k].grid.origin_m, 256.0) > corner - 384.0).all()


def test_no_corner_keeps_every_tile():
    assert sources.split_by_ground(grid_of_tiles(3, 3), 0.0) == {"train": list(range(9)), "val": []}


def test_no_town_is_in_two_splits():
    plan = sources.plan("full").model_copy(update={"train_cities": (), "test_cities": (), "seed": 3})
    refs = [ref for item in sources.work(plan) for ref in item.scenes]
    assert len(set(refs)) == len(refs) == sum(plan.num_generated.model_dump().values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"solve_cell_m": 3.0}, "must be a multiple of solve_cell_m"),
        ({"solve_cell_m": 16.0}, "must be a multiple of solve_cell_m"),
        ({"train_cities": ("munich",), "test_cities": ("munich",)}, "both train_cities and test_cities: munich"),
        ({"train_cities": ("munich",)}, "city tiles are square"),
        ({"train_cities": ("munich",), "shape": (64, 64), "val_corner_m": 100.0}, "holds no tile of 512 m"),
        ({"train_cities": ("atlantis",)}, "munich"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        MapPlan.model_validate({**PLAN.model_dump(), **changes})


def test_every_size_is_a_plan_and_others_are_named(tmp_path):
    for size in ("debug", "demo", "small", "full"):
        plan = sources.plan(size)
        assert MapPlan.model_validate(json.loads(plan.model_dump_json())) == plan
    with pytest.raises(ValueError, match="unknown size 'huge'; known: debug, demo, small, full"):
        sources.plan("huge")


def test_a_folder_without_a_card_is_incomplete(tmp_path):
    with pytest.raises(FileNotFoundError, match="not finished"):
        DatasetCard.load(tmp_path)
