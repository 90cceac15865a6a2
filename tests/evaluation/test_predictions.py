"""Maps that others predicted: names, scales that must not be mixed up, and every kind of file that is refused."""

import numpy as np
import pytest
from PIL import Image

from raymap import units
from raymap.data import generated, schema, shards, sites
from raymap.data.radiomapseer_files import ENCODING
from raymap.evaluation import metrics
from raymap.evaluation.predictions import Predictions, file_stem, rows_of
from raymap.scene import Grid, RadioMap

SHAPE = (12, 16)
ROWS = [("munich/r03c07", 0), ("munich/r03c07", 1), ("radiomapseer/12", 3)]


def columns(rows=ROWS, shape=SHAPE):
    scenes, tx_ids = zip(*rows, strict=True)
    return {"scene": np.array(scenes, object), "tx_id": np.array(tx_ids), "building_m": np.zeros((len(rows), *shape))}


@pytest.fixture
def gain_db():
    return np.random.default_rng(0).uniform(-140, -50, (len(ROWS), *SHAPE))


def save_all(folder, maps, write=np.save, suffix=".npy"):
    for row, one in zip(ROWS, maps, strict=True):
        write(folder / (file_stem(*row) + suffix), one)


def test_names_are_those_of_the_dataset():
    assert [file_stem(*row) for row in ROWS] == ["munich-r03c07_0", "munich-r03c07_1", "12_3"]


@pytest.mark.parametrize(
    ("scale", "stored"),
    [
        ("db", lambda gain_db: gain_db),
        ("grey", units.grey_from_gain_db),
        ("radiomapseer", lambda gain_db: (gain_db + 147) / 99.16),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_come_back_as_gains_whatever_their_scale(tmp_path, gain_db, scale, stored, suffix):
    save_all(tmp_path, stored(gain_db), np.save if suffix == ".npy" else np.savez_compressed, suffix)
    given = Predictions(folder=tmp_path, scale=scale)
    given.check(ROWS, SHAPE)
    found = given.gain_db(columns())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, gain_db, atol=1e-4)
    np.testing.assert_array_equal(given.gain_db(columns(ROWS[:0:-1])), found[:0:-1])  # by name, not by order


def test_a_datasets_own_pictures_score_no_error_on_their_scale_and_some_on_the_other(tmp_path, gain_db):
    levels = ENCODING.grey(gain_db)
    save_all(tmp_path, levels, lambda path, one: Image.fromarray(one).save(path), ".png")
    true_db, outdoor = ENCODING.gain_db(levels), np.ones(gain_db.shape, bool)
    given = Predictions(folder=tmp_path)
    given.check(ROWS, SHAPE)
    assert [row["raw/all/rmse"] for row in metrics.score_maps(given.gain_db(columns()), true_db, outdoor)] == [0, 0, 0]
    brighter_db = Predictions(folder=tmp_path, scale="grey").gain_db(columns()) - true_db
    np.testing.assert_allclose(brighter_db, 0.84 * levels / 255, atol=1e-4)


def test_every_fault_is_counted_and_named(tmp_path, gain_db):
    given = Predictions(folder=tmp_path, scale="db")
    with pytest.raises(ValueError, match=r"3 maps\. maps without a file: 3 \(12_3, munich-r03c07_0, munich-r03c07_1\)"):
        given.check(ROWS, SHAPE)
    save_all(tmp_path, gain_db)
    (tmp_path / "notes.txt").write_text("not a map")
    assert given.check(ROWS, SHAPE) is None
    for index in range(9):
        np.save(tmp_path / f"{index}_0.npy", gain_db[0])
    np.savez(tmp_path / "12_3.npz", gain_db[2])
    np.save(tmp_path / "munich-r03c07_0.npy", gain_db[0, :5])
    with pytest.raises(ValueError) as caught:
        given.check(ROWS, SHAPE)
    for part in (
        r"maps with two files: 1 (12_3)",
        r"files of no map: 9 (0_0.npy, 1_0.npy, 2_0.npy, 3_0.npy, 4_0.npy, ...)",
        f"files that cannot be used: 1 ({tmp_path / 'munich-r03c07_0.npy'}: expected an array of shape (12, 16), found "
        "(5, 16))",
    ):
        assert part in str(caught.value)
    assert "without a file" not in str(caught.value)


def test_two_maps_of_one_name_and_a_missing_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"maps of one name: 1 \(a-b_0\)"):
        Predictions(folder=tmp_path).check([("a/b", 0), ("a-b", 0)], SHAPE)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Predictions(folder=tmp_path / "nowhere").check(ROWS, SHAPE)
    with pytest.raises(FileNotFoundError, match="holds no munich-r03c07_0"):
        Predictions(folder=tmp_path).gain_db(columns())


def test_files_that_hold_something_else_are_refused(tmp_path):
    """Each is the one file of one map; the message says what was expected."""
    grey = np.full(SHAPE, 0.5)
    cases = [
        ("db", np.save, ".npy", grey, "at most 0, found 0.5 to 0.5"),
        ("grey", np.save, ".npy", units.gain_db_from_grey(grey), "grey levels from 0 to 1, found -97 to -97"),
        ("grey", np.save, ".npy", np.full(SHAPE, 128, np.uint8), "found 128 to 128"),
        ("grey", np.save, ".npy", np.where(grey > 0, np.nan, 0), "192 values that are not finite"),
        ("grey", np.save, ".npy", grey.astype(complex), "expected real numbers, found complex128"),
        ("grey", np.save, ".npy", grey[None], r"found \(1, 12, 16\)"),
        ("grey", np.save, ".npy", np.array([{}]), "cannot be read as one array"),
        ("grey", lambda path, one: np.savez(path, one, one), ".npz", grey, "cannot be read as one array"),
        ("grey", lambda path, one: path.write_bytes(b"spoilt"), ".npy", grey, "cannot be read as one array"),
        ("grey", lambda path, one: path.write_bytes(b"spoilt"), ".png", grey, "cannot be read as a PNG"),
        ("db", lambda path, one: Image.new("L", SHAPE[::-1]).save(path), ".png", grey, "grey levels, not dB"),
        ("grey", lambda path, one: Image.new("RGB", SHAPE[::-1]).save(path), ".png", grey, "8-bit grey picture, found"),
        ("grey", lambda path, one: Image.new("L", SHAPE).save(path), ".png", grey, r"found \(16, 12\)"),
    ]
    for index, (scale, write, suffix, values, message) in enumerate(cases):
        folder = tmp_path / str(index)
        folder.mkdir()
        write(folder / f"12_3{suffix}", values)
        given = Predictions(folder=folder, scale=scale)
        with pytest.raises(ValueError, match=rf"cannot be used: 1 \(.*12_3{suffix}: .*{message}"):
            given.check(ROWS[2:], SHAPE)
        with pytest.raises(ValueError, match=message):
            given.gain_db(columns(ROWS[2:]))


def test_rows_of_a_split_are_all_that_its_shards_list(tmp_path):
    def rows(*seeds):
        for seed in seeds:
            scene = generated.city(seed, Grid(SHAPE, 8.0))
            for tx_id, place in enumerate(sites.place(scene, 2, seed)):
                yield schema.row(scene, tx_id, place, RadioMap(np.full(SHAPE, -90.0), scene.outdoor))

    shards.write({"train": rows(0), "test": rows(1, 2)}, tmp_path, name="towns", kind="srm", shape=SHAPE, cell_m=8.0,
                 sources=(), attribution="", rows_per_shard=3)  # fmt: skip
    assert rows_of(tmp_path, "test") == [(f"generated/{seed:06d}", tx_id) for seed in (1, 2) for tx_id in (0, 1)]
    (tmp_path / "test" / "00001.parquet").write_bytes(b"spoilt")
    with pytest.raises(ValueError, match="00001.parquet: cannot be read, so its maps are unknown"):
        rows_of(tmp_path, "test")
    with pytest.raises(ValueError, match="no split 'val'"):
        rows_of(tmp_path, "val")
