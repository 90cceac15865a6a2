"""Export to RadioMapSeer's layout: what is read back is what was written, to the last bit after one quantisation."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raymap.data import radiomapseer, radiomapseer_export, radiomapseer_splits, schema, shards
from raymap.data.reader import quarantined
from raymap.data.schema import Failure
from raymap.scene import Grid, RadioMap, Scene, Transmitter

HALF_LEVEL_DB = radiomapseer.ENCODING.level_db / 2


def _scene(name: str, size: int = 256, cell_m: float = 1.0, vehicles: bool = False) -> Scene:
    rng = np.random.default_rng(len(name) + ord(name[-1]))
    building_m = np.zeros((size, size), np.float32)
    for row, column in rng.integers(0, 7, (14, 2)) * size // 8:
        building_m[row : row + size // 10, column : column + size // 12] = 12.0
    building_m[:, size // 2] = 0.0
    vehicle_m = np.zeros_like(building_m)
    if vehicles:
        vehicle_m[3:6, size // 2] = 1.5
    return Scene(name, Grid((size, size), cell_m), building_m, vehicle_m, 3.5e9)


def _row(scene: Scene, tx_id: int = 0, row: int | None = None, high_db: float = -50.0, **change):
    """A row of a smooth map on fractions of a dB, which pictures cannot hold."""
    size, cell_m = scene.grid.shape[0], scene.grid.cell_m
    row = size // 3 + 5 * tx_id if row is None else row
    transmitter = Transmitter(((size // 2 + 0.5) * cell_m, (row + 0.5) * cell_m, 2.0))
    rows, columns = np.indices(scene.grid.shape)
    distance = np.hypot(rows - row, columns - size // 2)
    gain_db = (high_db - 0.21 * distance * 256 / size).astype(np.float32)
    values = schema.row(scene, tx_id, transmitter, RadioMap(gain_db, scene.outdoor))
    return {**values, **change}


def _write(folder: Path, rows_by_split, **options):
    return radiomapseer_export.write(folder, rows_by_split, **{"name": "towns", "kind": "srm", **options})


def _files(folder: Path, suffix: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob(f"*.{suffix}"))}


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    return {name: np.asarray(Image.open(folder / name)) for name in _files(folder, "png")}


def _import(folder: Path, out: Path, simulation: str = "DPM") -> Path:
    """As the import job does it, at the pictures' own resolution."""
    rows = []
    for map_id, tx_id in radiomapseer.pairs(folder, simulation):
        scene, transmitter, radio_map = radiomapseer.read(folder, map_id, tx_id, simulation)
        rows.append(schema.row(scene, tx_id, transmitter, radio_map))
    shards.write({"test": rows}, out, name="back", kind=radiomapseer.kind_of(simulation), shape=scene.grid.shape,
                 cell_m=scene.grid.cell_m, sources=(), attribution="")  # fmt: skip
    return out


def test_a_town_comes_back_with_half_a_grey_level_at_most(tmp_path):
    scene = _scene("town/1", cell_m=2.0)
    row = _row(scene, tx_id=5)
    export = _write(tmp_path / "out", {"train": [row]}, attribution="ODbL", fingerprint="f00")
    back, transmitter, radio_map = radiomapseer.read(tmp_path / "out", 1, 0)
    assert back.grid == scene.grid and back.frequency_hz == 3.5e9
    assert np.array_equal(back.building_m, scene.building_m)  # one height of 12 m, kept
    assert transmitter.xyz_m == tuple(row["tx_xyz_m"])
    assert np.array_equal(radio_map.valid, scene.outdoor)
    error_db = np.abs(radio_map.gain_db - row["gain_db"])[scene.outdoor]
    assert 0 < error_db.max() <= HALF_LEVEL_DB + 1e-5
    assert export.changes["largest_error_db"] == pytest.approx(error_db.max(), abs=1e-4)
    assert export == radiomapseer.export_of(tmp_path / "out")
    assert (export.splits, export.attribution, export.fingerprint) == ({"train": (1,)}, "ODbL", "f00")
    (entry,) = export.maps
    assert (entry.scene, entry.transmitters[0].tx_id, entry.transmitters[0].xyz_m) == (
        "town/1", 5, tuple(row["tx_xyz_m"]),
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "simulation"), [("srm", "DPM"), ("drm", "carsDPM"), ("mrm", "carsIRT4")])
def test_export_import_export_is_the_same_to_the_last_byte(tmp_path, kind, simulation):
    scenes = [_scene(name, vehicles=kind != "srm") for name in ("b", "a")]
    rows = [_row(scene, tx_id) for scene in scenes for tx_id in range(2)]
    _write(tmp_path / "first", {"train": rows[:2], "test": rows[2:]}, kind=kind, simulation=simulation)
    dataset = _import(tmp_path / "first", tmp_path / "dataset", simulation)
    rows_back = radiomapseer_export.rows_by_split(dataset)
    _write(tmp_path / "second", rows_back, kind=kind, simulation=simulation)
    first = _files(tmp_path / "first", "png")
    assert first == _files(tmp_path / "second", "png")
    assert len(first) == 2 * (2 + 2 + 1 + (kind != "srm"))
    antennas = {name: text for name, text in _files(tmp_path / "first", "json").items() if name.startswith("antenna")}
    assert len(antennas) == 2 and antennas.items() <= _files(tmp_path / "second", "json").items()

    again = _import(tmp_path / "second", tmp_path / "dataset again", simulation)
    cards = [schema.DatasetCard.load(folder) for folder in (dataset, again)]
    assert cards[0].fingerprint == cards[1].fingerprint


def test_real_maps_are_exported_as_they_were(tmp_path, radiomapseer_sample):
    folder = _import(radiomapseer_sample, tmp_path / "dataset")
    export = _write(tmp_path / "out", radiomapseer_export.rows_by_split(folder))
    assert quarantined(tmp_path / "out") == []
    made = _arrays(tmp_path / "out")
    number = {entry.scene.removeprefix("radiomapseer/"): entry for entry in export.maps}
    seen = set()
    for name, values in _arrays(radiomapseer_sample).items():
        stem, place = Path(name).stem.split("_"), Path(name).parent
        new = str(number[stem[0]].map_id)
        if len(stem) == 2:
            new += f"_{[entry.tx_id for entry in number[stem[0]].transmitters].index(int(stem[1]))}"
        if name in ("png/antennas/9006_0.png", "png/antennas/9010_0.png"):  # listed a pixel off, read where they stand
            values = np.roll(values, 1, axis=1)
        np.testing.assert_array_equal(made[str(place / f"{new}.png")], values, err_msg=name)
        seen.add(str(place / f"{new}.png"))
    assert seen == set(made)
    assert export.changes["largest_error_db"] < 1e-4
    assert not any(export.changes[name] for name in ("cells_above_white", "cells_below_black", "cells_opened"))
    wanted = json.loads((radiomapseer_sample / "antenna/0.json").read_text())
    kept = [wanted[entry.tx_id] for entry in number["0"].transmitters]
    assert json.loads((tmp_path / f"out/antenna/{number['0'].map_id}.json").read_text()) == kept


def test_coarse_maps_are_enlarged_and_come_back_on_their_own_cells(tmp_path):
    scene = _scene("town", size=32, cell_m=8.0)
    row = _row(scene)
    with pytest.raises(ValueError, match=r"maps of \(256, 256\) pixels, these are \(32, 32\); enlarge them"):
        _write(tmp_path / "refused", {"test": [row]})
    export = _write(tmp_path / "out", {"test": [row]}, enlarge=True)
    assert (export.encoding.cell_m, export.encoding.grain_px) == (1.0, 8)
    fine, transmitter, radio_map = radiomapseer.read(tmp_path / "out", 1, 0)
    back = fine.coarsen(8, transmitter)
    assert back.grid == scene.grid and np.array_equal(back.building_m, scene.building_m)
    assert np.abs(np.subtract(transmitter.xyz_m[:2], row["tx_xyz_m"][:2])).max() <= 0.5
    coarse = radio_map.coarsen(8, back.outdoor)
    assert np.abs(coarse.gain_db - row["gain_db"])[scene.outdoor].max() <= HALF_LEVEL_DB + 1e-4


def test_numbers_of_the_published_split_let_released_loaders_run_unchanged(tmp_path):
    rows = {name: [_row(_scene(f"{name}/{i}")) for i in range(2)] for name in ("train", "val", "test")}
    export = _write(tmp_path / "out", rows, numbering="radiounet")
    published = radiomapseer_splits.split("radiounet")
    assert export.splits == {name: published[name][:2] for name in rows}
    plain = _write(tmp_path / "plain", rows)
    assert plain.splits == {"train": (1, 2), "val": (3, 4), "test": (5, 6)}
    with pytest.raises(ValueError, match="no 'test_generated'; export without it"):
        _write(tmp_path / "no", {"test_generated": []}, numbering="radiounet")


def test_a_loader_with_the_published_arithmetic_finds_every_file(tmp_path):
    """Released loaders count position by position: map = maps_inds[i // numTx] + 1, transmitter = i % numTx."""
    scenes = {"train": [_scene("a", vehicles=True), _scene("b", vehicles=True)], "test": [_scene("c", vehicles=True)]}
    rows = {name: [_row(scene, k) for scene in part for k in (4, 2)] for name, part in scenes.items()}
    export = _write(tmp_path, rows, kind="drm")
    pictures = _arrays(tmp_path)
    assert {(values.shape, values.dtype) for values in pictures.values()} == {((256, 256), np.dtype(np.uint8))}
    for name, ids in export.splits.items():
        maps_inds = np.array(ids) - 1
        for i in range(len(maps_inds) * export.num_transmitters):
            m, k = maps_inds[i // export.num_transmitters] + 1, i % export.num_transmitters
            gain = pictures[f"gain/carsDPM/{m}_{k}.png"]
            building, cars = pictures[f"png/buildings_complete/{m}.png"], pictures[f"png/cars/{m}.png"]
            scene = scenes[name][i // export.num_transmitters]
            assert np.array_equal(building == 255, ~scene.outdoor) and set(np.unique(building)) == {0, 255}
            assert np.array_equal(cars == 255, (scene.vehicle_m > 0) & scene.outdoor)
            assert gain[pictures[f"png/antennas/{m}_{k}.png"] == 255].tolist() == [gain.max()]
            assert not gain[building == 255].any()


def test_what_pictures_cannot_show_is_counted(tmp_path):
    scene = _scene("town")
    building_m = scene.building_m.copy()
    building_m[:, :100] *= 3
    scene = replace(scene, building_m=building_m)
    row = _row(scene, high_db=-30.0)
    row["gain_db"][-1, 128] = -160.0
    row["valid"][-2, 128] = 0
    export = _write(tmp_path / "out", {"test": [row]})
    above = (row["gain_db"] > -47.84 + HALF_LEVEL_DB) & (row["valid"] == 1)
    assert export.changes["cells_above_white"] == above.sum() > 0
    assert export.changes["cells_below_black"] == 1
    assert export.changes["outdoor_cells_without_gain"] == 1
    assert (export.changes["lowest_building_m"], export.changes["highest_building_m"]) == (12.0, 36.0)
    assert 12.0 < export.encoding.building_m < 36.0
    _, _, back = radiomapseer.read(tmp_path / "out", 1, 0)
    assert back.gain_db[-2, 128] == back.gain_db[-1, 128] == pytest.approx(-147.0)


def test_a_cell_opened_for_one_transmitter_is_open_for_all(tmp_path):
    """Coarsening may open a transmitter's cell in its own row only, but the layout has one picture of buildings."""
    scene = _scene("town")
    closed = scene.building_m.copy()
    closed[90, 128] = 12.0
    closed = replace(scene, building_m=closed)
    rows = [_row(closed, 0, 80), _row(scene, 1, 90), _row(closed, 2, 100)]
    export = _write(tmp_path / "out", {"test": rows})
    assert export.changes["cells_opened"] == 1
    for tx_id in range(3):
        back, _, _ = radiomapseer.read(tmp_path / "out", 1, tx_id)
        assert np.array_equal(back.outdoor, scene.outdoor)


def test_a_row_that_cannot_be_shown_costs_that_row(tmp_path):
    scene = _scene("town")
    other = replace(scene, building_m=np.roll(scene.building_m, 7, 0))
    car = _scene("town", vehicles=True)
    meadow = Scene("meadow", scene.grid, np.zeros((256, 256)), None, 3.5e9)
    elsewhere = _row(scene, 4)
    elsewhere["gain_db"] = np.where(elsewhere["gain_db"] > -60, np.float32(-90), elsewhere["gain_db"])
    elsewhere["gain_db"][250, 128] = -60.0
    rows = [
        Failure("train/00000.parquet, row 3", "null"), _row(scene), _row(scene), _row(other, 1), _row(car, 2),
        _row(meadow), elsewhere,
    ]  # fmt: skip
    export = _write(tmp_path / "out", {"test": rows})
    assert [entry.scene for entry in export.maps] == ["town"] and len(_files(tmp_path / "out", "png")) == 3
    reasons = [entry["reason"] for entry in quarantined(tmp_path / "out")]
    for reason, wanted in zip(
        reasons,
        [
            "null",
            "came up before",
            "not those of the scene's other",
            "it has vehicles",
            "no pixels are",
            "brightest at",
        ],
        strict=True,
    ):
        assert wanted in reason


@pytest.mark.parametrize(
    ("rows", "options", "cause"),
    [
        (lambda: {"a": [_row(_scene("x"))], "b": [_row(_scene("x"), 1)]}, {}, "'x' is in two splits, 'a' and 'b'"),
        (lambda: {"a": [_row(_scene("x")), _row(_scene("y"), frequency_hz=6e9)]}, {}, "are one: .* but .*6000000000"),
        (lambda: {"a": [_row(_scene("x", size=96))]}, {"enlarge": True}, "cannot be repeated"),
        (lambda: {"a": []}, {}, "there were no rows"),
        (lambda: {"a": [Failure("shard", "gone")]}, {}, "shard: gone"),
        (lambda: {"a": []}, {"kind": "xyz"}, "unknown simulation None for kind 'xyz'"),
        (lambda: {"a": []}, {"simulation": "IRT9"}, "unknown simulation 'IRT9'"),
        (lambda: {"a": []}, {"numbering": "odd"}, "unknown numbering 'odd'"),
    ],
)
def test_what_makes_no_folder_is_refused(tmp_path, rows, options, cause):
    with pytest.raises(ValueError, match=cause):
        _write(tmp_path / "out", rows(), **options)
    assert radiomapseer.export_of(tmp_path / "out") is None


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "gain").mkdir()
    with pytest.raises(ValueError, match="is not empty"):
        _write(tmp_path, {"test": [_row(_scene("x"))]})
    assert [path.name for path in tmp_path.iterdir()] == ["gain"]


@pytest.mark.parametrize("text", ["{}", "[", '{"format_version": 1}', "[[1, 2]]", '{"maps": NaN}'])
def test_a_damaged_list_of_scenes_is_refused(tmp_path, text):
    (tmp_path / radiomapseer.EXPORT_FILE).write_text(text)
    with pytest.raises(ValueError, match="raymap_scenes.json"):
        radiomapseer.export_of(tmp_path)


def test_another_version_is_refused(tmp_path):
    _write(tmp_path / "out", {"test": [_row(_scene("x"))]})
    path = tmp_path / "out" / radiomapseer.EXPORT_FILE
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(ValueError, match="format_version 2; this raymap reads 1"):
        radiomapseer.read(tmp_path / "out", 1, 0)
