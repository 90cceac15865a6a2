"""Which maps become rows of which shard, and what an exported folder must say to be restored."""

import json
from pathlib import Path

import numpy as np
import pytest

from raymap.data import radiomapseer, radiomapseer_export, radiomapseer_import, schema
from raymap.data.radiomapseer_import import ImportPlan
from raymap.data.schema import Failure
from raymap.scene import Grid, RadioMap, Scene, Transmitter


def _row(name: str, tx_id: int) -> dict:
    grid = Grid((32, 32), 8.0)
    building_m = np.zeros(grid.shape, np.float32)
    building_m[5:9, 3 : 20 + len(name)] = 25.0
    scene = Scene(name, grid, building_m)
    distance = np.hypot(*(np.indices(grid.shape) - np.reshape((15, 10 + tx_id), (2, 1, 1))))
    radio_map = RadioMap((-48.0 - 2.0 * distance).astype(np.float32), scene.outdoor)
    return schema.row(scene, tx_id, Transmitter(((10 + tx_id) * 8.0 + 3.0, 125.0, 1.5)), radio_map)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two towns of three transmitters in train, one of one in test."""
    rows = {"train": [_row(name, k) for name in ("a", "bb") for k in (1, 4, 6)], "test": [_row("ccc", 0)]}
    radiomapseer_export.write(
        tmp_path / "out", rows, name="towns", kind="srm", enlarge=True, sources=("towns",), attribution="whose"
    )
    return tmp_path / "out"


def _plan(folder: Path, **change) -> ImportPlan:
    return ImportPlan(**{"folder": str(folder), "split": "exported", "cell_m": 8.0, "rows_per_shard": 4, **change})


def test_items_cover_every_map_once_in_order(folder):
    items = radiomapseer_import.work(_plan(folder))
    assert [item.shard for item in items] == ["train/00000.parquet", "train/00001.parquet", "test/00000.parquet"]
    assert [pair for item in items for pair in item.pairs] == radiomapseer.pairs(folder)
    (item,) = radiomapseer_import.work(_plan(folder, split="test", rows_per_shard=99))
    assert item.split == "test" and len(item.pairs) == 7


def test_rows_of_items_are_the_rows_in_order(folder):
    plan = _plan(folder)
    found = []
    for item in radiomapseer_import.work(plan):
        made, failures = radiomapseer_import.rows(item, plan)
        assert not failures
        found += made
    assert [(row["scene"], row["tx_id"]) for row in found] == [
        *((name, k) for name in ("a", "bb") for k in (1, 4, 6)), ("ccc", 0),
    ]  # fmt: skip
    wanted = _row("bb", 4)
    assert np.array_equal(found[4]["tx_xyz_m"], wanted["tx_xyz_m"])
    assert np.array_equal(found[4]["building_m"], wanted["building_m"])
    about = radiomapseer_import.about(plan)
    assert (about["shape"], about["kind"], about["attribution"]) == ((32, 32), "srm", "whose")


def test_a_broken_file_costs_the_maps_that_need_it(folder):
    plan = _plan(folder)
    (folder / "gain/DPM/1_1.png").write_bytes(b"\x89PNG")
    (folder / "antenna/2.json").write_text("[" * 5000)
    entries = list(radiomapseer_import.entries(radiomapseer.pairs(folder), plan))
    lost = [entry for entry in entries if isinstance(entry, Failure)]
    assert [entry.what for entry in lost] == [
        "map 1, transmitter 1", *(f"map 2, transmitter {k}" for k in range(3)),
    ]  # fmt: skip
    assert "gain/DPM/1_1.png" in lost[0].reason and "antenna/2.json" in lost[1].reason
    assert len(entries) - len(lost) == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda maps: maps[0]["transmitters"][0].update(xyz_m=[8.0, 8.0, 1.5]), "has the transmitter elsewhere"),
        (lambda maps: maps[0].update(transmitters=[]), "does not know this map"),
        (lambda maps: maps.pop(0), "does not know this map"),
    ],
)
def test_a_list_of_scenes_that_does_not_fit_is_not_believed(folder, change, reason):
    path = folder / radiomapseer.EXPORT_FILE
    export = json.loads(path.read_text())
    change(export["maps"])
    path.write_text(json.dumps(export))
    (entry,) = radiomapseer_import.entries([(1, 0)], _plan(folder))
    assert isinstance(entry, Failure) and reason in entry.reason


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"simulation": "IRT4"}, "IRT4: no such folder"),
        ({"split": "radiounet2"}, "unknown split 'radiounet2'"),
        ({"cell_m": 0.3}, "multiple of 1 m, got 0.3"),
        ({"variant": 2}, "no variants, got variant 2"),
    ],
)
def test_plans_that_do_not_fit_the_folder_are_refused(folder, change, cause):
    with pytest.raises((ValueError, FileNotFoundError), match=cause):
        radiomapseer_import.about(_plan(folder, **change))
