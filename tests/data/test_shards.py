"""Shards: exact round trips, and whatever is damaged is set aside by name while the rest comes through untouched."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raymap.config import OutlineConfig
from raymap.data import schema, shard_file, shards, sources
from raymap.data.batch import batches, from_columns
from raymap.data.columns import add_physics
from raymap.data.reader import ShardReader, quarantined
from raymap.data.schema import DatasetCard, Failure
from raymap.physics import edges, helmholtz
from raymap.scene import Grid, RadioMap, Scene, Transmitter

SHAPE, CELL_M = (10, 14), 4.0


def make_rows(num_scenes, prefix="town", num_transmitters=2):
    rng = np.random.default_rng(len(prefix))
    for number in range(num_scenes):
        building_m = np.where(rng.random(SHAPE) < 0.25, rng.uniform(5, 30, SHAPE), 0)
        building_m[4] = 0
        scene = Scene(f"{prefix}{number}", Grid(SHAPE, CELL_M), building_m, rng.random(SHAPE) < 0.1)
        for tx_id in range(num_transmitters):
            transmitter = Transmitter((rng.uniform(1, 55), 18.0, 1.5))
            gain_db = np.where(scene.outdoor, rng.uniform(-140, -50, SHAPE), -147)
            yield schema.row(scene, tx_id, transmitter, RadioMap(gain_db, scene.outdoor))


def write(folder, rows_by_split, **changes):
    values = dict(name="tiny", kind="srm", shape=SHAPE, cell_m=CELL_M, sources=("made up",), attribution="",
                  rows_per_shard=4)  # fmt: skip
    return shards.write(rows_by_split, folder, **{**values, **changes})


@pytest.fixture(scope="module")
def rows():
    return list(make_rows(6))


@pytest.fixture
def dataset(tmp_path, rows):
    """Three train shards of four rows and a test split."""
    write(tmp_path / "data", {"train": rows, "test": make_rows(1, "village")})
    return tmp_path / "data"


def merged(parts):
    parts = list(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def assert_columns(columns, rows):
    assert len(columns["scene"]) == len(rows)
    for name in schema.COLUMNS:
        for found, wanted in zip(columns[name], rows, strict=True):
            np.testing.assert_array_equal(found, wanted[name])


def spoil_row(path, row, **values):
    """Change a row and write the shard again as its writer would have, footer included."""
    table = pq.ParquetFile(path).read()
    entries = table.select(schema.COLUMNS)
    columns = schema.to_columns(entries)
    listed = [{name: column[i] for name, column in columns.items()} for i in range(len(table))]
    listed[row] = {**listed[row], **values}
    shard_file.write_table(path, schema.to_table(listed).replace_schema_metadata(table.schema.metadata))


def test_what_was_written_is_read(dataset, rows):
    columns = merged(ShardReader(dataset, "train"))
    assert_columns(columns, rows)
    np.testing.assert_array_equal(columns["line_of_sight"], add_physics(columns)["line_of_sight"])
    card = DatasetCard.load(dataset)
    assert card.split("train").num_rows == 12 and len(card.split("train").shards) == 3
    valid_db = np.concatenate([r["gain_db"][r["valid"] == 1] for r in [*rows, *make_rows(1, "village")]])
    assert card.gain_range_db == (float(valid_db.min()), float(valid_db.max()))


def test_a_nan_row_costs_that_row(dataset, rows, tmp_path):
    bad = rows[5]["gain_db"].copy()
    bad[4, 4] = np.nan
    spoil_row(dataset / "train/00001.parquet", 1, gain_db=bad)
    reader = ShardReader(dataset, "train", quarantine=tmp_path / "aside")
    for _epoch in range(2):
        assert_columns(merged(reader), [*rows[:5], *rows[6:]])
    (entry,) = quarantined(tmp_path / "aside")
    assert (entry["shard"], entry["row"]) == ("train/00001.parquet", 1)
    assert "not finite" in entry["reason"]


def test_a_row_that_changed_silently_is_set_aside(dataset, rows, tmp_path):
    bad = rows[6]["gain_db"].copy()
    bad[4, 4] += 1e-3
    spoil_row(dataset / "train/00001.parquet", 2, gain_db=bad)
    assert_columns(merged(ShardReader(dataset, "train", quarantine=tmp_path / "aside")), [*rows[:6], *rows[7:]])
    (entry,) = quarantined(tmp_path / "aside")
    assert entry["row"] == 2 and "not what was written" in entry["reason"]


def truncate(path, _rows):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def foreign(path, _rows):
    pq.write_table(pa.table({"a": [1, 2]}), path)


def foreign_with_our_columns(path, rows):
    pq.write_table(schema.to_table(rows[4:8]), path)


def no_parquet(path, _rows):
    path.write_text("hello")


def other_shape(path, _rows):
    scene = Scene("other", Grid((5, 5), CELL_M), np.zeros((5, 5)))
    values = schema.row(scene, 0, Transmitter((1, 1, 1)), RadioMap(np.full((5, 5), -80.0), scene.outdoor))
    shard_file.write(path, [values], (5, 5), ())


def other_cell(path, rows):
    shard_file.write(path, [{**values, "cell_m": np.float32(1)} for values in rows[4:8]], SHAPE, ())


def delete(path, _rows):
    path.unlink()


DAMAGE = {truncate: "cannot be read", foreign: "not a shard", foreign_with_our_columns: "not a shard",
          no_parquet: "cannot be read", other_shape: "'building_m'", delete: "missing"}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_shard_costs_that_shard(dataset, rows, tmp_path, damage):
    shutil.copy(dataset / "train/00001.parquet", tmp_path / "whole")
    damage(dataset / "train/00001.parquet", rows)
    reader = ShardReader(dataset, "train", quarantine=tmp_path / "aside")
    for _epoch in range(2):
        assert_columns(merged(reader), [*rows[:4], *rows[8:]])
    (entry,) = quarantined(tmp_path / "aside")
    assert (entry["shard"], entry["row"]) == ("train/00001.parquet", None)
    assert DAMAGE[damage] in entry["reason"]
    shutil.copy(tmp_path / "whole", dataset / "train/00001.parquet")
    assert_columns(merged(reader), rows)
    assert quarantined(tmp_path / "aside") == []


def test_another_cell_size_costs_every_row_by_name(dataset, rows, tmp_path):
    other_cell(dataset / "train/00001.parquet", rows)
    assert_columns(merged(ShardReader(dataset, "train", quarantine=tmp_path / "aside")), [*rows[:4], *rows[8:]])
    entries = quarantined(tmp_path / "aside")
    assert [entry["row"] for entry in entries] == [0, 1, 2, 3]
    assert all(entry["reason"] == "cell_m is 1 m, the dataset has 4 m" for entry in entries)


def test_files_that_the_card_does_not_list_are_not_read(dataset, rows, tmp_path):
    shutil.copy(dataset / "test/00000.parquet", dataset / "train/99999.parquet")
    half = (dataset / "train/00000.parquet").read_bytes()[:1000]
    (dataset / "train/.00000.parquet.0123.tmp").write_bytes(half)
    assert_columns(merged(ShardReader(dataset, "train", quarantine=tmp_path / "aside")), rows)
    (entry,) = quarantined(tmp_path / "aside")
    assert (entry["shard"], entry["reason"]) == ("train/99999.parquet", "not listed in dataset.json")


def test_nothing_left_is_an_error_that_says_why(dataset):
    for path in (dataset / "train").glob("*.parquet"):
        truncate(path, None)
    with pytest.raises(ValueError, match="nothing usable in split 'train'.*00000.parquet: cannot be read"):
        ShardReader(dataset, "train").load()


def test_set_aside_is_logged_without_a_quarantine(dataset, caplog):
    truncate(dataset / "train/00001.parquet", None)
    list(ShardReader(dataset, "train"))
    assert "00001.parquet" in caplog.text and "cannot be read" in caplog.text


@pytest.mark.parametrize("kind", ["k_log", "k_eff", "reference"])
def test_the_outline_column_is_the_physics(dataset, rows, kind):
    columns = merged(ShardReader(dataset, "train", outline=OutlineConfig(kind=kind)))
    for index in (0, 7):
        values = rows[index]
        cell = tuple(int(v) for v in values["tx_xyz_m"][1::-1] / CELL_M)
        gain_db = np.where(values["valid"] == 1, values["gain_db"], np.float32(-147))
        wanted = helmholtz.outline(gain_db, CELL_M, kind=kind, valid=values["valid"] == 1, transmitter=cell)
        np.testing.assert_allclose(columns["outline"][index], wanted, atol=1e-6)
    assert columns["outline"].dtype == np.float32


@pytest.mark.parametrize("kind, detect", [("canny", edges.canny), ("lbp", edges.local_binary_pattern)])
def test_the_outline_column_may_be_a_detectors(dataset, rows, kind, detect):
    columns = merged(ShardReader(dataset, "train", outline=OutlineConfig(kind=kind)))
    wanted = detect(rows[7]["gain_db"], rows[7]["valid"] == 1)
    assert wanted.any()
    np.testing.assert_array_equal(columns["outline"][7], wanted)


def test_fewer_scenes_are_part_of_more(dataset):
    found = [set(merged(ShardReader(dataset, "train", max_scenes=num))["scene"]) for num in (1, 3, 5, 99)]
    assert [len(scenes) for scenes in found] == [1, 3, 5, 6]
    assert found[0] < found[1] < found[2] < found[3]


def test_the_fingerprint_does_not_depend_on_order_or_shards(tmp_path, rows, dataset):
    test = list(make_rows(1, "village"))
    same = write(tmp_path / "a", {"test": test, "train": rows[::-1]}, rows_per_shard=5)
    assert same.fingerprint == DatasetCard.load(dataset).fingerprint
    changed = [{**rows[0], "gain_db": rows[0]["gain_db"] - np.float32(1e-4)}, *rows[1:]]
    assert write(tmp_path / "b", {"test": test, "train": changed}).fingerprint != same.fingerprint


def test_a_writer_refuses_what_would_mislead(tmp_path, rows, dataset):
    with pytest.raises(ValueError, match="'town0' is in two splits"):
        write(tmp_path / "leak", {"train": rows, "test": rows[:1]})
    assert not (tmp_path / "leak/dataset.json").exists()
    with pytest.raises(ValueError, match="already holds a dataset"):
        write(dataset, {"train": rows})
    with pytest.raises(ValueError, match="not made from a plan"):
        shards.generate(sources.plan("debug"), dataset)
    with pytest.raises(ValueError, match="no map could be made.*map 3: broken"):
        write(tmp_path / "empty", {"train": [Failure("map 3", "broken")]})


def test_failures_are_listed_and_cost_nothing_else(tmp_path, rows):
    card = write(tmp_path, {"train": [*rows[:3], Failure("map 3", "broken"), *rows[3:]]})
    assert card.split("train").num_rows == 12
    (entry,) = quarantined(tmp_path)
    assert (entry["what"], entry["reason"]) == ("map 3", "broken")


def test_batches_in_memory_are_shuffled_by_seed_and_complete(dataset, rows):
    maps = ShardReader(dataset, "train").load()
    assert torch_equal(next(iter(batches(maps, 12))).gain, from_columns(maps.columns).gain)

    def order(seed):
        return [key for _, c in batches(maps, 5, shuffle_seed=seed, with_columns=True) for key in keys(c)]

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == sorted(keys(maps.columns))
    assert [len(batch) for batch in batches(maps, 5)] == [5, 5, 2]
    assert [len(batch) for batch in batches(maps, 5, drop_last=True)] == [5, 5]


def torch_equal(first, second):
    return bool((first == second).all())


def keys(columns):
    return list(zip(columns["scene"], columns["tx_id"].tolist(), strict=True))


@pytest.fixture(scope="module")
def one_shard(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("fuzz") / "shard.parquet"
    shard_file.write(path, rows[:4], SHAPE, ())
    return path


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_bytes_never_raise_and_never_change_a_row(one_shard, rows, data):
    whole = one_shard.read_bytes()
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of the damage goes into the footer, where the structure is.
        start = data.draw(st.one_of(st.integers(0, len(whole) - 1), st.integers(len(whole) * 3 // 4, len(whole) - 1)))
        piece = data.draw(st.binary(min_size=1, max_size=16))
        damaged[start : start + len(piece)] = piece
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    path = one_shard.with_name("damaged.parquet")
    path.write_bytes(damaged)
    table, aside = shard_file.read(path, SHAPE, CELL_M)
    columns = schema.to_columns(table)
    originals = {(values["scene"], values["tx_id"]): values for values in rows[:4]}
    assert_columns(columns, [originals[key] for key in keys(columns)])
    assert len(table) == 4 or aside


def write_sidecar(folder, dataset, shard, value=0.25, **changes):
    columns = merged(ShardReader(dataset, "train"))
    chosen = slice(4, 8) if shard == "train/00001.parquet" else slice(0, 4)
    footer = shard_file.read_footer(dataset / shard)
    arguments = dict(keys={name: columns[name][chosen] for name in ("scene", "tx_id")},
                     outlines=np.full((4, *SHAPE), value), shard_hash=footer.shard_hash)  # fmt: skip
    shard_file.write_outlines(folder / shard, **{**arguments, **changes})


SIDECARS = {
    "missing": (None, "no predicted outline"),
    "another shard": ({"shard_hash": "0" * 64}, "another version"),
    "another transmitter": ({"keys": {"scene": ["town2"] * 4, "tx_id": [0, 1, 2, 3]}}, "lack transmitter 0 of town3"),
    "a row twice": ({"keys": {"scene": ["town2", "town2", "town3", "town3", "town3"], "tx_id": [0, 1, 0, 1, 1]},
                     "outlines": np.zeros((5, *SHAPE))}, "hold a row twice"),
    "another shape": ({"outlines": np.zeros((4, 5, 5))}, "the maps are"),
}  # fmt: skip


@pytest.mark.parametrize("case", SIDECARS)
def test_a_sidecar_that_does_not_fit_costs_its_shard(dataset, rows, tmp_path, case):
    changes, reason = SIDECARS[case]
    for shard in ("train/00000.parquet", "train/00001.parquet"):
        write_sidecar(tmp_path / "outlines", dataset, shard)
    if changes is not None:
        write_sidecar(tmp_path / "outlines", dataset, "train/00001.parquet", **changes)
    else:
        (tmp_path / "outlines/train/00001.parquet").unlink()
    (dataset / "train/00002.parquet").unlink()
    reader = ShardReader(dataset, "train", predicted_outlines=tmp_path / "outlines", quarantine=tmp_path / "aside")
    columns = merged(reader)
    assert_columns(columns, rows[:4])
    assert (columns["outline_predicted"] == 0.25).all() and columns["outline_predicted"].shape == (4, *SHAPE)
    first, second = quarantined(tmp_path / "aside")
    assert first["shard"] == "train/00001.parquet" and reason in first["reason"]
    assert second["shard"] == "train/00002.parquet"


def test_outlines_outside_their_range_are_refused(tmp_path, dataset):
    for value in (1.5, np.nan):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            write_sidecar(tmp_path, dataset, "train/00000.parquet", value)


def test_a_stream_is_the_reader_in_parallel(ray_local, dataset, rows, tmp_path):
    truncate(dataset / "train/00001.parquet", rows)
    lazy = shards.stream(dataset, "train", outline=OutlineConfig(), quarantine=tmp_path / "aside")
    kept = shards.stream(dataset, "train", outline=OutlineConfig(), materialize=True)
    wanted = ShardReader(dataset, "train", outline=OutlineConfig()).load()
    for source in (lazy, lazy, kept):
        found = merged(source.iter_batches(batch_size=3, batch_format="numpy"))
        assert set(found) == set(wanted.columns)
        for name, values in wanted.columns.items():
            np.testing.assert_array_equal(found[name], values)
            assert found[name].dtype == values.dtype
    assert len(quarantined(tmp_path / "aside")) == 1
    for batch, same in zip(batches(kept, 3), batches(wanted, 3), strict=True):
        assert all(torch_equal(raster, getattr(same, name)) for name, raster in batch.rasters().items())
    shuffled = [key for _, c in batches(kept, 3, shuffle_seed=5, with_columns=True) for key in keys(c)]
    assert sorted(shuffled) == sorted(keys(wanted.columns)) and shuffled != keys(wanted.columns)
    with pytest.raises(ValueError, match="nothing usable in split 'test'"):
        truncate(dataset / "test/00000.parquet", rows)
        shards.stream(dataset, "test")


def test_a_model_writes_outlines_that_the_stream_joins(ray_local, dataset, rows, tmp_path):
    class Predict:
        """Defined here, so that it travels by value: workers cannot import a test module."""

        def __init__(self, scale):
            self.scale = scale

        def __call__(self, columns):
            assert not {"gain_db", "valid", "outline"} & set(columns)
            assert len(columns["scene"]) <= 3
            return {"outline_predicted": columns["line_of_sight"] * self.scale}

    def run(made_by="dm1", out=tmp_path / "outlines"):
        return shards.write_outlines(
            dataset, ["train", "test"], Predict, out, made_by=made_by, predict_kwargs={"scale": 0.5}, batch_size=3
        )

    out = tmp_path / "outlines"
    assert run() == 14, "of both splits"
    assert run() == 0
    (out / "train/00001.parquet").write_bytes(b"PAR1")
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("train/*")}
    assert run() == 4
    changed = {path.name for path in out.glob("train/*") if path.stat().st_mtime_ns != times[path.name]}
    assert changed == {"00001.parquet"}
    with pytest.raises(ValueError, match="made_by was 'dm1', now 'other'"):
        run(made_by="other")

    joined = merged(
        shards.stream(dataset, "train", predicted_outlines=out).iter_batches(batch_size=5, batch_format="numpy")
    )
    assert_columns(joined, rows)
    np.testing.assert_array_equal(joined["outline_predicted"], joined["line_of_sight"] * np.float32(0.5))
    assert json.loads((out / "outlines.json").read_text())["dataset"] == DatasetCard.load(dataset).fingerprint
