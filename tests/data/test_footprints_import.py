"""Tiles of a town become rows of shards, no other file is taken for the town, and all kinds of maps obey their laws."""

import json

import numpy as np
import pytest

pytest.importorskip("rasterio", reason="footprints need the extra geo")
pytest.importorskip("pyproj", reason="footprints need the extra geo")
pytest.importorskip("shapely", reason="footprints need the extra geo")

from raymap.data import footprints, footprints_import, place, schema, shards, sources
from raymap.data.footprints_import import ImportPlan
from raymap.units import free_space_loss_db

SMALL = {"shape": (16, 16), "cell_m": 8.0, "solve_cell_m": 4.0, "num_transmitters": 1}


def write(path, size=5):
    """A town of ``size`` times ``size`` houses of 36 m by 32 m every 60 m, the last one of an unreadable height."""
    lon_m, lat_m = 1 / (111_320 * np.cos(np.radians(48.1))), 1 / 111_320
    features = []
    for west, south in (60.0 * np.argwhere(np.ones((size, size)))).tolist():
        corners = ((0, 0), (36, 0), (36, 32), (0, 32), (0, 0))
        ring = [[11.5 + (west + x) * lon_m, 48.1 + (south + y) * lat_m] for x, y in corners]
        properties = {"building": "yes", "height": str(10 + len(features) % 7)}
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    features[-1]["properties"]["height"] = "tall"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def plan(tmp_path):
    return footprints_import.pinned(ImportPlan(geojson=str(write(tmp_path / "town.geojson")), **SMALL))


def changed(plan, **changes):
    return ImportPlan.model_validate({**plan.model_dump(), **changes})


def test_items_cover_every_tile_once_and_the_file_s_failures_once(plan):
    town = footprints_import.town(plan)
    wanted = [tile.scene for tile in place.tiles(town, (32, 32), 128.0)]
    items = footprints_import.work(changed(plan, tiles_per_shard=2))
    assert [item.shard for item in items] == [f"test/{number:05d}.parquet" for number in range(len(items))]
    assert [tile.name for item in items for tile in item.tiles] == [scene.name for scene in wanted]
    assert len(items) == 2 and [len(item.tiles) for item in items] == [2, 2]
    failures, scenes = [], []
    for item in items:
        made, failed = footprints_import.rows(item, plan)
        failures += failed
        scenes += made
    assert [failure.what for failure in failures] == ["feature 24"]
    for row, scene in zip(scenes, wanted, strict=True):
        assert row["scene"] == scene.name
        np.testing.assert_array_equal(row["building_m"], scene.coarsen(2).building_m)


def test_the_town_is_read_once(plan, monkeypatch):
    items = footprints_import.work(changed(plan, tiles_per_shard=1))
    monkeypatch.setattr(footprints, "read", None)
    assert all(footprints_import.rows(item, plan)[0] for item in items)


def test_another_file_under_the_same_name_is_refused(plan, tmp_path):
    (item,) = footprints_import.work(plan)
    write(tmp_path / "town.geojson", size=4)
    for refused in (lambda: footprints_import.work(plan), lambda: footprints_import.rows(item, plan)):
        with pytest.raises(ValueError, match="town.geojson is another file than the plan is for"):
            refused()
    again = footprints_import.pinned(changed(plan, geojson_sha256=""))
    assert again.geojson_sha256 != plan.geojson_sha256 and footprints_import.town(again).num_buildings == 15
    (tmp_path / "town.geojson").unlink()
    with pytest.raises(FileNotFoundError, match="town.geojson: no such file"):
        footprints_import.town(again)


def test_a_dataset_is_not_continued_with_another_file_or_setting(plan, tmp_path):
    out = tmp_path / "out"
    shards.parallel.keep_plan(out, schema.CARD_FILE, plan)
    write(tmp_path / "town.geojson", size=4)
    other = footprints_import.pinned(changed(plan, geojson_sha256=""))
    for chosen, message in (
        (other, f"geojson_sha256 was '{plan.geojson_sha256}', now '{other.geojson_sha256}'"),
        (changed(plan, stride_m=64.0), "stride_m was 128.0, now 64.0"),
    ):
        with pytest.raises(ValueError, match=f"made with another plan: {message}; take another folder"):
            shards.make(chosen, out, footprints_import.work, footprints_import.rows, **footprints_import.about(chosen))


def test_train_and_val_share_no_ground(plan):
    divided, num_left_out = footprints_import.parts(changed(plan, split="train", val_corner_m=160.0, stride_m=32.0))
    ground = {
        split: {(tile.row + y, tile.column + x) for tile in tiles for y in range(32) for x in range(32)}
        for split, tiles in divided.items()
    }
    assert list(divided) == ["train", "val"] and not ground["train"] & ground["val"] and num_left_out > 0
    whole, none = footprints_import.parts(changed(plan, split="train", stride_m=32.0))
    assert none == 0 and len(whole["train"]) == sum(map(len, divided.values())) + num_left_out
    # the tile furthest to the south-east is of val
    assert max(tile.row + tile.column for tile in whole["train"]) == max(t.row + t.column for t in divided["val"])


def test_a_tile_that_fails_costs_that_tile(plan, monkeypatch):
    (item,) = footprints_import.work(plan)
    scene_rows, lost = sources.scene_rows, item.tiles[1].name

    def fragile(scene, num, maps):
        for row in scene_rows(scene, num, maps):
            yield row
            if scene.name == lost:
                raise RuntimeError("no way through")

    monkeypatch.setattr(sources, "scene_rows", fragile)
    made, failures = footprints_import.rows(item, plan)
    assert [row["scene"] for row in made] == [tile.name for tile in item.tiles if tile.name != lost]
    assert failures[1:] == [(lost, "RuntimeError: no way through")]


def test_all_kinds_are_maps_of_the_same_places(plan):
    """Traffic only takes power away; rays in the open street arrive with Friis' gain and a few dB of reflections."""
    found = {}
    for kind in ("srm", "drm", "mrm"):
        chosen = changed(plan, kind=kind)
        (item,) = footprints_import.work(chosen)
        made, failures = footprints_import.rows(item, chosen)
        assert len(made) == 4 and [failure.what for failure in failures] == ["feature 24"]
        assert footprints_import.about(chosen)["kind"] == kind
        found[kind] = {name: np.stack([row[name] for row in made]) for name in ("tx_xyz_m", "gain_db", "valid")}
        found[kind]["vehicle_m"] = np.stack([row["vehicle_m"] for row in made])
    for other in (found["drm"], found["mrm"]):
        for name in ("tx_xyz_m", "valid"):
            np.testing.assert_array_equal(other[name], found["srm"][name])
    assert (found["drm"]["gain_db"] <= found["srm"]["gain_db"]).all()
    assert found["drm"]["vehicle_m"].any() and not (found["srm"]["vehicle_m"].any() or found["mrm"]["vehicle_m"].any())

    excess_db = []
    for transmitter_m, gain_db in zip(found["mrm"]["tx_xyz_m"], found["mrm"]["gain_db"], strict=True):
        row, column = (int(value / 8.0) for value in transmitter_m[1::-1])
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            distance_m = np.hypot((c + 0.5) * 8.0 - transmitter_m[0], (r + 0.5) * 8.0 - transmitter_m[1])
            excess_db.append(gain_db[r, c] + free_space_loss_db(distance_m, 5.9e9))
    assert min(excess_db) > -0.1 and max(excess_db) < 4.0


def test_a_plan_that_does_not_fit_is_refused(plan):
    for changes, message in (
        ({"cell_m": 3.0}, "cell_m=3 m must be a multiple of solve_cell_m=4 m"),
        ({"stride_m": 7.0}, "stride_m=7 m must be a positive multiple"),
        ({"val_corner_m": 200.0}, "divides a town of the split train, split is test"),
    ):
        with pytest.raises(ValueError, match=message):
            footprints_import.parts(changed(plan, **changes))
