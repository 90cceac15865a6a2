"""Measured paths of any source: each kind is recognised, and tells what its own reader tells."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from raymap.data import deepmimo, mesh_file, path_file, path_sources, path_table, points, traces
from raymap.data.channel import Channel
from raymap.data.path_columns import Columns
from raymap.data.path_table import PathTable
from raymap.propagation import meshes
from raymap.scene import PathKind, Paths

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/data.md"


def channel_of(seed, num_receivers=7, num_paths=4):
    """Any paths but lines of sight, some receivers without any, in the order in which files have them."""
    rng = np.random.default_rng(seed)
    shape = (num_receivers, num_paths)
    angles = np.stack([rng.uniform(-3, 3, shape), rng.uniform(0, 3, shape)], -1)
    amplitude = np.sort(rng.uniform(1e-6, 1e-3, shape), axis=1)[:, ::-1]
    valid = np.arange(num_paths) < rng.integers(1, num_paths + 1, (num_receivers, 1))
    valid[2] = False
    kind = rng.integers(1, 5, shape)
    paths = Paths(amplitude.astype(complex), rng.uniform(0, 1e-6, shape), angles, angles[::-1], kind, valid)
    return Channel(paths, np.random.default_rng(0).uniform(0, 100, (num_receivers, 3)), rng.uniform(0, 9, 3), 2.4e9)


def assert_same(first, second):
    for field in dataclasses.fields(PathTable):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), err_msg=field.name)


def test_a_deepmimo_folder_is_a_table_for_every_transmitter(tmp_path):
    channels = [channel_of(seed) for seed in range(2)]
    pairs = deepmimo.write(tmp_path / "town", channels)
    tables = path_sources.read(tmp_path / "town", 3)
    assert list(tables) == [f"town/{pair}" for pair in pairs] and len(pairs) == 2
    for pair, table, channel in zip(pairs, tables.values(), channels, strict=True):
        assert_same(table, path_table.from_channel(deepmimo.read(tmp_path / "town", *pair), 3))
        given = path_table.from_channel(channel, 3)
        assert np.array_equal(table.valid, given.valid) and np.array_equal(table.kind, given.kind)
        np.testing.assert_allclose(table.values, given.values, rtol=3e-6)


def test_a_deepmimo_folder_in_other_units_is_refused(tmp_path):
    channel = channel_of(0)
    kind = np.full(channel.paths.kind.shape, PathKind.LINE_OF_SIGHT)
    paths = dataclasses.replace(channel.paths, kind=kind)
    deepmimo.write(tmp_path / "town", Channel(paths, channel.receivers_m, channel.transmitter_m, 2.4e9))
    with pytest.raises(ValueError, match="line of sight to receiver .* are all units"):
        path_sources.read(tmp_path / "town", 3)


def test_a_dataset_of_channels_is_read_by_split_or_whole(tmp_path):
    channels = {f"room/{seed}": channel_of(seed) for seed in range(3)}
    first, *rest = channels.items()
    about = {"name": "rooms", "sources": ("test",), "attribution": "nobody", "num_paths": 4}
    points.write(tmp_path, {"train": rest, "test": [first]}, **about)
    tables = path_sources.read(tmp_path, 4)
    assert set(tables) == set(channels)
    for name, channel in channels.items():
        assert_same(tables[name], path_table.from_channel(channel, 4))
    assert list(path_sources.read(tmp_path, 4, split="test")) == ["room/0"]
    with pytest.raises(ValueError, match="no split 'val'; it has train, test"):
        path_sources.read(tmp_path, 4, split="val")


def test_a_trace_is_read(tmp_path):
    channel = channel_of(5)
    about = {
        "num_parts": 1, "num_paths": 4, "transmitter_m": channel.transmitter_m.tolist(),
        "frequency_hz": channel.frequency_hz,
    }  # fmt: skip
    traces.start(tmp_path / "s9", about)
    with pytest.raises(ValueError, match="1 of 1 parts are missing"):
        path_sources.read(tmp_path / "s9", 2)
    traces.write_part(tmp_path / "s9", 0, channel.receivers_m, channel.paths)
    (table,) = path_sources.read(tmp_path / "s9", 2).values()
    assert_same(table, path_table.from_channel(channel, 2))


def test_what_stands_around_comes_with_a_trace_or_from_a_file_of_its_own(tmp_path):
    channel, room = channel_of(3), meshes.room((8.0, 6.0, 3.0))
    traces.start(tmp_path / "s9", {"num_parts": 1, "num_paths": 4, "frequency_hz": 2.4e9, "transmitter_m": [1, 2, 3]})
    traces.write_part(tmp_path / "s9", 0, channel.receivers_m, channel.paths)
    assert path_sources.read(tmp_path / "s9", 2)["s9"].surroundings is None
    mesh_file.write(tmp_path / "s9" / traces.SURROUNDINGS_FILE, room)
    mesh_file.write(tmp_path / "hall.ply", meshes.room((90.0, 60.0, 30.0)))
    table = path_sources.read(tmp_path / "s9", 2)["s9"]
    given = path_sources.read(tmp_path / "s9", 2, surroundings=tmp_path / "hall.ply")["s9"]
    for found, height_m in ((table, 3.0), (table.take(np.arange(2)), 3.0), (given, 30.0)):
        assert found.surroundings.frequency_hz == 2.4e9
        assert found.surroundings.meshes[0].vertices_m[:, 2].max() == height_m
    assert PathTable.from_values(given, given.receivers_m, given.values).surroundings is given.surroundings


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_file_of_a_table_is_read_with_its_columns(tmp_path, ending):
    given = path_table.from_channel(channel_of(1), 4)
    path_file.write(tmp_path / f"walk{ending}", given)
    (name,), (table,) = zip(*path_sources.read(tmp_path / f"walk{ending}", 4).items(), strict=True)
    assert name == "walk"
    assert_same(table, given)
    columns = Columns(power="delay_s", power_unit="linear")
    (other,) = path_sources.read(tmp_path / f"walk{ending}", 1, columns).values()
    assert other.num_paths == 1 and np.nanmax(other.power_db) < -59


def test_receivers_in_the_dark_stay(tmp_path):
    channel = channel_of(2)
    deepmimo.write(tmp_path / "town", channel)
    path_file.write(tmp_path / "walk.csv", path_table.from_channel(channel, 4))
    for source in ("town", "walk.csv"):
        (table,) = path_sources.read(tmp_path / source, 4).values()
        assert len(table) == 7 and not table.valid[2].any() and table.valid.any(1).sum() == 6


def test_what_is_no_source_is_told_what_was_looked_for(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("none")
    looked = r"points.json .*trace.json .*params.json .*\.csv or \.parquet"
    for source, error, said, more in (
        ("empty", ValueError, looked, {}),
        ("notes.txt", ValueError, looked, {}),
        ("nothing", FileNotFoundError, "no such file or folder", {}),
        ("empty", ValueError, "no split 'train'", {"split": "train"}),
        ("empty", ValueError, "is a folder; columns are named for .csv", {"columns": Columns()}),
        ("empty", ValueError, "num_paths must be 1 or more, got 0", {"num_paths": 0}),
    ):
        with pytest.raises(error, match=f"(?s){said}"):
            path_sources.read(tmp_path / source, **{"num_paths": 2, **more})


def test_the_document_s_example_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = DOCUMENT.read_text().split("## Bring measured paths")[1].split("\n## ")[0]
    text, program = re.findall(r"```(?:csv|python)\n(.*?)```", section, re.S)
    Path("walk.csv").write_text(text)
    told = {}
    exec(program, told)
    table = told["table"]
    assert table.valid.sum(1).tolist() == [2, 1, 0] and table.power_db[0, :2].tolist() == [-114, -121]
    np.testing.assert_allclose(table.delay_s[0, :2], [4.1e-7, 5.2e-7])
    np.testing.assert_allclose(np.degrees(table.azimuth_rad[0, :2]), [80, -60], atol=1e-4)
    np.testing.assert_allclose(np.degrees(table.zenith_rad[0, :2]), [86.5, 88], atol=1e-4)
    assert np.isnan(table.zenith_rad[1, 0]) and table.power_db[1, 0] == -135
    assert_same(path_file.read("walk.parquet", num_paths=5), table)


def test_sources_have_names_that_differ():
    assert path_sources.named(["S1=runs/s1", "runs/s2"]) == {"S1": "runs/s1", "s2": "runs/s2"}
    with pytest.raises(ValueError, match="two sources are called 's1'"):
        path_sources.named(["runs/s1", "other/s1"])
