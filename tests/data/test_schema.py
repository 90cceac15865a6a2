"""The row at rest: exact round trips, and every fault named."""

import json

import numpy as np
import pyarrow as pa
import pytest

from raymap.data import schema
from raymap.data.schema import DatasetCard, Split
from raymap.scene import Grid, RadioMap, Scene, Transmitter

SHAPE, CELL_M = (6, 9), 4.0


def make_row(name="town", tx_id=0, seed=0):
    rng = np.random.default_rng(seed)
    building_m = np.where(rng.random(SHAPE) < 0.3, rng.uniform(5, 30, SHAPE), 0)
    building_m[2, 3] = 0
    scene = Scene(name, Grid(SHAPE, CELL_M), building_m, rng.random(SHAPE) < 0.1, 3.5e9)
    gain_db = np.where(scene.outdoor, rng.uniform(-140, -50, SHAPE), np.nan)
    return schema.row(scene, tx_id, Transmitter((14.3, 10.1, 1.5)), RadioMap(gain_db, scene.outdoor))


@pytest.fixture
def rows():
    return [make_row(f"town{i // 2}", i % 2, i) for i in range(6)]


def assert_rows(table, rows):
    columns = schema.to_columns(table)
    assert len(table) == len(rows)
    for name in schema.COLUMNS:
        for found, wanted in zip(columns[name], rows, strict=True):
            np.testing.assert_array_equal(found, wanted[name])


def test_a_table_holds_exactly_the_rows(rows):
    table, aside = schema.check_table(schema.to_table(rows), SHAPE, CELL_M)
    assert aside == []
    assert_rows(table, rows)
    assert schema.to_columns(table)["gain_db"].dtype == np.float32


def test_nouns_come_back(rows):
    scene, transmitter, radio_map = schema.nouns(rows[0])
    again = schema.row(scene, 0, transmitter, radio_map)
    assert all(np.array_equal(again[name], rows[0][name]) for name in schema.COLUMNS)


def test_a_gain_that_means_nothing_is_stored_as_a_number():
    values = make_row()
    assert np.isfinite(values["gain_db"]).all() and (values["valid"] == 0).any()


def test_a_transmitter_that_rounds_off_the_map_is_refused():
    scene = Scene("edge", Grid(SHAPE, CELL_M), np.zeros(SHAPE))
    radio_map = RadioMap(np.full(SHAPE, -80.0), scene.outdoor)
    with pytest.raises(ValueError, match="outside the map"):
        schema.row(scene, 0, Transmitter((36.0 - 1e-9, 1.0, 1.5)), radio_map)


def put(name, index, value):
    def spoil(values):
        changed = np.array(values[name])
        changed[index] = value
        return {**values, name: changed}

    return spoil


def outdoor(values):
    return tuple(np.argwhere(values["valid"] == 1)[0])


FAULTS = {
    "nan gain": (lambda v: put("gain_db", outdoor(v), np.nan)(v), "1 valid cells are not finite"),
    "infinite gain": (lambda v: put("gain_db", outdoor(v), -np.inf)(v), "not finite"),
    "gain above 0 dB": (lambda v: put("gain_db", outdoor(v), 0.5)(v), "≤ 0 dB"),
    "negative height": (put("building_m", (0, 0), -1), "building_m must not be negative"),
    "negative vehicle": (put("vehicle_m", (0, 0), -1), "vehicle_m must not be negative"),
    "endless building": (put("building_m", (0, 0), np.inf), "not finite"),
    "transmitter outside": (put("tx_xyz_m", 0, 36.0), "outside the map"),
    "transmitter in a building": (put("building_m", (2, 3), 9), "inside a building"),
    "transmitter underground": (put("tx_xyz_m", 2, -1), "height > 0"),
    "transmitter nowhere": (put("tx_xyz_m", 1, np.nan), "finite"),
    "other cell size": (lambda v: {**v, "cell_m": np.float32(1)}, "cell_m is 1 m, the dataset has 4 m"),
    "no frequency": (lambda v: {**v, "frequency_hz": 0.0}, "frequency_hz must be positive"),
    "no valid cell": (lambda v: {**v, "valid": np.zeros(SHAPE, np.uint8)}, "at least one 1"),
    "odd valid": (put("valid", (0, 0), 7), "highest is 7"),
    "no name": (lambda v: {**v, "scene": ""}, "no name"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_row_is_set_aside_and_the_others_stay(rows, fault):
    spoil, reason = FAULTS[fault]
    table = schema.to_table([*rows[:3], spoil(rows[3]), *rows[4:]])
    good, aside = schema.check_table(table, SHAPE, CELL_M)
    assert [row for row, _ in aside] == [3]
    assert reason in aside[0][1]
    assert_rows(good, [*rows[:3], *rows[4:]])


def test_nulls_are_set_aside_with_the_right_row_numbers(rows):
    table = schema.to_table(rows)
    shape = schema.schema(SHAPE).field("gain_db").type
    cells = table["gain_db"].combine_chunks().storage.flatten().to_pylist()
    cells[4 * 54 + 5] = None
    gains = [cells[i * 54 : (i + 1) * 54] for i in range(6)]
    gains[1] = None
    storage = pa.array(gains, pa.list_(pa.float32(), 54))
    table = table.set_column(7, "gain_db", pa.ExtensionArray.from_storage(shape, storage))
    table = table.set_column(0, "scene", pa.array([*table["scene"].to_pylist()[:5], None], pa.string()))
    good, aside = schema.check_table(table, SHAPE, CELL_M)
    assert aside == [(1, "gain_db is null"), (4, "gain_db holds nulls"), (5, "scene is null")]
    assert_rows(good, [rows[0], rows[2], rows[3]])


def test_a_slice_is_checked_like_a_table(rows):
    good, aside = schema.check_table(schema.to_table(rows).slice(2, 3), SHAPE, CELL_M)
    assert aside == []
    assert_rows(good, rows[2:5])


def test_a_table_of_another_kind_is_refused(rows):
    table = schema.to_table(rows)
    for wrong, message in (
        (table.drop_columns("valid"), "'valid' is missing"),
        (table.append_column("extra", pa.array(range(6))), "extra"),
        (table.set_column(1, "tx_id", pa.array(range(6), pa.int64())), "'tx_id' is int64"),
        (pa.table({"a": [1]}), "'scene' is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            schema.check_table(wrong, SHAPE, CELL_M)
    with pytest.raises(ValueError, match="'building_m'"):
        schema.check_table(table, (9, 6), CELL_M)


def test_the_fingerprint_knows_contents_and_not_order(rows):
    def of(rows, split="train"):
        return schema.fingerprint({split: schema.row_hashes(schema.to_columns(schema.to_table(rows)))})

    assert of(rows) == of(rows[::-1])
    assert of(rows) != of(rows, "test")
    assert of(rows) != of(rows[:-1])
    for name in ("gain_db", "building_m", "vehicle_m", "tx_xyz_m"):
        index = (0,) * rows[2][name].ndim
        changed = put(name, index, np.nextafter(rows[2][name][index], np.float32(1e9)))(rows[2])
        assert of([*rows[:2], changed, *rows[3:]]) != of(rows), name


def card(**changes):
    splits = {"train": Split(scenes=("a", "b"), num_rows=4, shards=("train/00000.parquet",))}
    values = dict(
        name="tiny", kind="srm", shape=SHAPE, cell_m=CELL_M, sources=("generated towns",), attribution="",
        splits=splits, fingerprint="0" * 64, gain_range_db=(-140.0, -50.0),
    )  # fmt: skip
    return DatasetCard(**{**values, **changes})


def test_a_card_comes_back(tmp_path):
    card().save(tmp_path)
    assert DatasetCard.load(tmp_path) == card()
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]


def test_a_scene_belongs_to_one_split():
    splits = {
        "train": Split(scenes=("a", "b"), num_rows=4, shards=()),
        "test": Split(scenes=("c", "b"), num_rows=4, shards=()),
    }
    with pytest.raises(ValueError, match="scene 'b' is in two splits, 'train' and 'test'"):
        card(splits=splits)


def test_bad_cards_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="dataset.json"):
        DatasetCard.load(tmp_path)
    card().save(tmp_path)
    path = tmp_path / "dataset.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "schema_version": 99}))
    with pytest.raises(ValueError, match="schema_version 99; this raymap reads 1"):
        DatasetCard.load(tmp_path)
    for text in ("{", "[]", json.dumps({"schema_version": 1, "name": "x"})):
        path.write_text(text)
        with pytest.raises(ValueError, match="damaged"):
            DatasetCard.load(tmp_path)


def test_an_unknown_split_is_refused_by_name():
    with pytest.raises(ValueError, match="no split 'test'; it has train"):
        card().split("test")
