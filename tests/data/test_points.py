"""Datasets of channels: what is written reads back bit by bit, the card tells the truth, damage is named."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raymap.data import link_file, points, schema
from raymap.data.channel import Channel
from raymap.data.reader import quarantined
from raymap.data.schema import Failure
from raymap.scene import PathKind, Paths


def channel_of(seed, num_receivers=7, num_paths=4):
    rng = np.random.default_rng(seed)
    shape = (num_receivers, num_paths)
    angles = np.stack([rng.uniform(-3, 3, shape), rng.uniform(0, 3, shape)], -1)
    # Falling amplitudes, then padding: strongest first, as a channel comes from a file.
    amplitude = np.sort(rng.uniform(1e-6, 1e-3, shape), axis=1)[:, ::-1]
    valid = np.arange(num_paths) < rng.integers(0, num_paths + 1, (num_receivers, 1))
    paths = Paths(
        gain=amplitude * np.exp(1j * rng.uniform(0, 6, shape)), delay_s=rng.uniform(0, 1e-6, shape),
        aoa_rad=angles, aod_rad=angles[::-1], kind=rng.integers(0, 5, shape), valid=valid,
    )  # fmt: skip
    return Channel(paths, rng.uniform(0, 100, (num_receivers, 3)), rng.uniform(0, 100, 3), 2.4e9 + seed)


def write(folder, splits, **changes):
    about = {"name": "rooms", "sources": ("test",), "attribution": "nobody", "num_paths": 4}
    return points.write(folder, splits, **{**about, **changes})


def assert_same(first, second):
    for name in Paths.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first.paths, name), getattr(second.paths, name))
    np.testing.assert_array_equal(first.receivers_m, second.receivers_m)
    np.testing.assert_array_equal(first.transmitter_m, second.transmitter_m)
    assert first.frequency_hz == second.frequency_hz


@pytest.fixture
def channels():
    return {f"room/{seed}": channel_of(seed, 7 + seed) for seed in range(4)}


@pytest.fixture
def dataset(tmp_path, channels):
    names = list(channels)
    train = [(name, channels[name]) for name in names[:3]] + [Failure("room/9", "no door")]
    write(tmp_path / "data", {"train": train, "test": [(names[3], channels[names[3]])]})
    return tmp_path / "data"


def test_channels_read_back_to_the_last_bit_and_in_order(dataset, channels):
    read = [*points.read(dataset, "train"), *points.read(dataset, "test")]
    assert [name for name, _ in read] == list(channels)
    for name, channel in read:
        assert_same(channel, channels[name])


def test_the_card_counts_what_is_there(dataset, channels):
    card = points.PointsCard.load(dataset)
    valid = [channel.paths.valid for channel in channels.values()]
    assert card.num_receivers == sum(map(len, valid)) == 7 + 8 + 9 + 10
    assert card.share_without_path == sum((~v.any(1)).sum() for v in valid) / card.num_receivers > 0
    power_db = np.concatenate([c.paths.gain_db[c.paths.valid] for c in channels.values()])
    delay_s = np.concatenate([c.paths.delay_s[c.paths.valid] for c in channels.values()])
    assert card.power_range_db == (power_db.min(), power_db.max())
    assert card.delay_range_s == (delay_s.min(), delay_s.max())
    for link, channel in zip((*card.splits["train"], *card.splits["test"]), channels.values(), strict=True):
        kinds = channel.paths.kind[channel.paths.valid]
        assert link.num_paths_by_kind == {kind.name.lower(): int((kinds == kind).sum()) for kind in PathKind}
        assert link.num_paths_left_out == 0 and link.frequency_hz == channel.frequency_hz
    assert card.num_failures == 1 and schema.failures(dataset) == [Failure("room/9", "no door")]
    assert quarantined(dataset) == [{"what": "room/9", "reason": "no door"}]


def test_the_strongest_paths_are_kept_and_the_others_counted(tmp_path, channels):
    card = write(tmp_path / "two", {"train": channels.items()}, num_paths=2)
    for (_, channel), link, whole in zip(
        points.read(tmp_path / "two", "train"), card.splits["train"], channels.values(), strict=True
    ):
        assert channel.paths.valid.shape[1] == 2
        np.testing.assert_array_equal(channel.paths.gain, whole.paths.gain[:, :2])
        assert link.num_paths_left_out == whole.paths.valid[:, 2:].sum() > 0


def test_channels_of_any_number_of_paths_share_one_shape(tmp_path):
    mixed = {str(num): channel_of(num, 5, num) for num in (1, 3, 6)}
    write(tmp_path / "mixed", {"train": mixed.items()}, num_paths=8)
    for name, channel in points.read(tmp_path / "mixed", "train"):
        assert channel.paths.valid.shape == (5, 8)
        np.testing.assert_array_equal(channel.paths.gain[:, : int(name)], mixed[name].paths.gain)
        assert channel.paths.valid.sum() == mixed[name].paths.valid.sum()
    schemas = {pq.read_schema(path).remove_metadata().to_string() for path in (tmp_path / "mixed").rglob("*.parquet")}
    assert len(schemas) == 1


def test_rows_are_tensors_that_others_can_read(dataset, channels):
    table = pq.read_table(dataset / "train/00001.parquet")
    channel = channels["room/1"]
    assert table["channel"].to_pylist() == ["room/1"] * 8 and table["receiver"].to_pylist() == list(range(8))
    assert isinstance(table.schema.field("aoa_rad").type, pa.FixedShapeTensorType)
    gain = [table[name].combine_chunks().to_numpy_ndarray() for name in ("gain_re", "gain_im")]
    np.testing.assert_array_equal(gain[0] + 1j * gain[1], channel.paths.gain)
    np.testing.assert_array_equal(table["aoa_rad"].combine_chunks().to_numpy_ndarray(), channel.paths.aoa_rad)


def test_a_file_says_itself_what_it_holds(dataset):
    (_, link, _) = points.PointsCard.load(dataset).splits["train"]
    assert link_file.read_link(dataset, link.file, link.name) == link
    assert link_file.read_link(dataset, link.file, "room/2") is None
    (dataset / "train/00007.parquet").write_bytes((dataset / link.file).read_bytes())
    assert link_file.read_link(dataset, "train/00007.parquet", link.name) is None
    whole = (dataset / link.file).read_bytes()
    for broken in (whole[:-1], whole[: len(whole) // 2], b"", b"PAR1" * 5):
        (dataset / link.file).write_bytes(broken)
        assert link_file.read_link(dataset, link.file, link.name) is None
    pq.write_table(pa.table({"a": [1]}), dataset / link.file)
    assert link_file.read_link(dataset, link.file, link.name) is None
    assert link_file.read_link(dataset, "train/00008.parquet", link.name) is None


def test_the_fingerprint_belongs_to_contents_and_splits_not_to_files(tmp_path, channels):
    pairs = list(channels.items())

    def fingerprint(folder, splits):
        return write(tmp_path / folder, splits).fingerprint

    first = fingerprint("a", {"train": pairs})
    assert fingerprint("b", {"train": pairs[::-1]}) == first
    assert fingerprint("c", {"train": pairs[:2], "test": pairs[2:]}) != first
    assert fingerprint("d", {"train": [("other", pairs[0][1]), *pairs[1:]]}) != first
    moved = pairs[0][1]
    moved = Channel(moved.paths, moved.receivers_m + np.float32(0.01), moved.transmitter_m, moved.frequency_hz)
    assert fingerprint("e", {"train": [(pairs[0][0], moved), *pairs[1:]]}) != first


def test_a_dataset_is_written_once_with_every_channel_in_one_split(dataset, tmp_path, channels):
    (pair, *_) = channels.items()
    for splits, folder, said in (
        ({"train": [pair]}, dataset, "already holds"),
        ({"train": [pair], "test": [pair]}, tmp_path / "twice", "'room/0' comes twice"),
        ({"../train": [pair]}, tmp_path / "up", r"split '../train'"),
        ({"train": [Failure("room/9", "no door")]}, tmp_path / "none", "no channel .* room/9: no door"),
    ):
        with pytest.raises(ValueError, match=said):
            write(folder, splits)
    assert not (tmp_path / "twice" / points.CARD_FILE).exists()


def flip(path):
    chunk = pq.read_metadata(path).row_group(0).column(4)
    contents = bytearray(path.read_bytes())
    contents[chunk.data_page_offset + chunk.total_compressed_size - 1] ^= 0xFF
    path.write_bytes(contents)


def other_rows(path):
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) - 1), path)


def other_values(path):
    table = pq.read_table(path)
    place = table.column_names.index("delay_s")
    swapped = pa.concat_tables([table.slice(1), table.slice(0, 1)])
    pq.write_table(table.set_column(place, "delay_s", swapped["delay_s"]), path)


def other_type(path):
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["kind"]), path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip, "cannot be used"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "cannot be used"),
        (lambda path: path.write_bytes(b"PAR1" * 5), "cannot be used"),
        (lambda path: path.unlink(), "cannot be used"),
        (other_values, "not what was written"),
        (other_rows, "not what was written"),
        (other_type, "column 'kind' must be"),
    ],
)
def test_a_damaged_file_is_named_when_its_turn_comes(dataset, channels, damage, said):
    damage(dataset / "train/00001.parquet")
    reading = points.read(dataset, "train")
    name, channel = next(reading)
    assert_same(channel, channels[name])
    with pytest.raises(ValueError, match=rf"(?s)train/00001.parquet \(channel 'room/1'\).*{said}"):
        next(reading)


def test_a_bad_card_is_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match="no split 'val'; it has train, test"):
        points.read(dataset, "val")
    path = dataset / points.CARD_FILE
    card = json.loads(path.read_text())
    for change, said in (
        ({"schema_version": 99}, "schema_version 99"),
        ({"surprise": 1}, "damaged"),
        ({"num_paths": 0}, "damaged"),
    ):
        path.write_text(json.dumps({**card, **change}))
        with pytest.raises(ValueError, match=said):
            points.read(dataset, "train")
    path.write_text("[")
    with pytest.raises(ValueError, match="damaged"):
        points.read(dataset, "train")
    card["splits"]["train"][0]["file"] = "../../elsewhere.parquet"
    path.write_text(json.dumps(card))
    with pytest.raises(ValueError, match="outside the folder"):
        next(points.read(dataset, "train"))
    path.unlink()
    with pytest.raises(FileNotFoundError, match="not finished"):
        points.read(dataset, "train")
