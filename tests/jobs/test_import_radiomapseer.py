"""Importing RadioMapSeer: real layout in, a dataset out; a broken file costs its map."""

import json

import numpy as np
import pytest
from PIL import Image

from raymap.data import radiomapseer, schema
from raymap.data.reader import ShardReader, quarantined


@pytest.fixture(scope="module")
def job(load_job):
    return load_job("import_radiomapseer")


@pytest.fixture
def folder(tmp_path):
    """Two maps with two transmitters each, on streets wide enough for 4 m cells."""
    root = tmp_path / "RadioMapSeer"
    for name in ("antenna", "gain/DPM", "png/buildings_complete", "png/antennas"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for map_id in (3, 8):
        building = np.zeros((256, 256), np.uint8)
        for row, column in rng.integers(0, 7, (12, 2)):
            building[row * 36 : row * 36 + 24, column * 36 : column * 36 + 20] = 255
        Image.fromarray(building).save(root / f"png/buildings_complete/{map_id}.png")
        spots = [(101, 29), (173, 211)]
        for tx_id, (row, column) in enumerate(spots):
            antenna = np.zeros((256, 256), np.uint8)
            antenna[row, column] = 255
            Image.fromarray(antenna).save(root / f"png/antennas/{map_id}_{tx_id}.png")
            distance = np.hypot(*(np.indices((256, 256)) - np.reshape((row, column), (2, 1, 1))))
            grey = np.where(building > 0, 0, np.clip(255 - 0.6 * distance, 1, 255)).astype(np.uint8)
            Image.fromarray(grey).save(root / f"gain/DPM/{map_id}_{tx_id}.png")
        (root / f"antenna/{map_id}.json").write_text(json.dumps([[column, 255 - row] for row, column in spots]))
    return root


def test_maps_become_rows_and_a_broken_file_costs_its_map(ray_local, job, folder, tmp_path, capsys):
    broken = folder / "gain/DPM/8_0.png"
    broken.write_bytes(broken.read_bytes()[:500])
    card = job.main(["--folder", str(folder), "--out", str(tmp_path / "out")])
    assert card.split("test").scenes == ("radiomapseer/3", "radiomapseer/8")
    assert (card.shape, card.cell_m, card.kind) == ((64, 64), 4.0, "srm")
    assert "3 of 4 maps" in capsys.readouterr().out
    (entry,) = quarantined(tmp_path / "out")
    assert entry["what"] == "map 8, transmitter 0" and "8_0.png" in entry["reason"]

    (columns,) = ShardReader(tmp_path / "out", "test")
    assert list(zip(columns["scene"], columns["tx_id"], strict=True)) == [
        ("radiomapseer/3", 0), ("radiomapseer/3", 1), ("radiomapseer/8", 1),
    ]  # fmt: skip
    scene, transmitter, radio_map = radiomapseer.read(folder, 3, 1)
    coarse = scene.coarsen(4)
    wanted = schema.row(coarse, 1, transmitter, radio_map.coarsen(4, coarse.outdoor))
    for name in schema.COLUMNS:
        np.testing.assert_array_equal(columns[name][1], wanted[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cell_m", "1.5"], "multiple of 1 m"),
        (["--cell_m", "3"], "cannot be coarsened by 3"),
        (["--simulation", "XYZ"], "unknown simulation 'XYZ'"),
        (["--split", "mine"], "unknown split 'mine'; published are radiounet"),
        (["--split", "exported"], "holds no raymap_scenes.json"),
        (["--buildings", "missing5"], "missing4"),
        (["--variant", "2"], "no variants, got variant 2"),
        (["--buildings", "missing1"], "buildings_missing1/1/3.png: no such file"),
    ],
)
def test_wrong_arguments_are_refused(ray_local, job, folder, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        job.main(["--folder", str(folder), "--out", str(tmp_path / "out"), *arguments])


def test_published_parts_are_kept_and_overlaps_told(ray_local, job, folder, tmp_path, capsys):
    """Maps 3 and 8 of RadioUNet's split, and after renaming, maps that RadioDiff has in two parts."""
    parts = radiomapseer.split("radiounet")
    homes = {map_id: name for name, ids in parts.items() for map_id in ids}
    card = job.main(["--folder", str(folder), "--out", str(tmp_path / "out"), "--split", "radiounet"])
    found = {scene: name for name, split in card.splits.items() for scene in split.scenes}
    assert found == {f"radiomapseer/{map_id}": homes[map_id] for map_id in (3, 8)}

    shared = radiomapseer.split("radiodiff")["train"][-1]
    for path in [*folder.rglob("3.*"), *folder.rglob("3_*")]:
        path.rename(path.with_name(path.name.replace("3", str(shared), 1)))
    for path in [*folder.rglob("8.*"), *folder.rglob("8_*")]:
        path.rename(path.with_name(path.name.replace("8", "0", 1)))
    capsys.readouterr()
    card = job.main(["--folder", str(folder), "--out", str(tmp_path / "again"), "--split", "radiodiff"])
    assert {name: split.scenes for name, split in card.splits.items()} == {"test": (f"radiomapseer/{shared}",)}
    printed = capsys.readouterr().out
    for note in ("1 maps in both train and test; here they are only in test", "51 maps in both val and test"):
        assert note in printed and any(note in source for source in card.sources)
    assert "2 of 4 maps are in no part of the split radiodiff" in printed  # nobody uses map 0

    with pytest.raises(ValueError, match="no map of .* is in the split radiounet"):
        for path in folder.rglob(f"{shared}*"):
            path.unlink()
        job.main(["--folder", str(folder), "--out", str(tmp_path / "none"), "--split", "radiounet"])


def test_scenes_may_lack_buildings(ray_local, job, folder, tmp_path):
    for map_id in (3, 8):
        building = np.asarray(Image.open(folder / f"png/buildings_complete/{map_id}.png")).copy()
        rows, columns = np.nonzero(building)
        building[rows[0] // 36 * 36 : rows[0] // 36 * 36 + 36, columns[0] // 36 * 36 : columns[0] // 36 * 36 + 36] = 0
        (folder / "png/buildings_missing1/2").mkdir(parents=True, exist_ok=True)
        Image.fromarray(building).save(folder / f"png/buildings_missing1/2/{map_id}.png")
    argv = ["--folder", str(folder), "--simulation", "DPM"]
    complete = job.main([*argv, "--out", str(tmp_path / "complete")])
    missing = job.main([*argv, "--out", str(tmp_path / "out"), "--buildings", "missing1", "--variant", "2"])
    assert missing.name == "radiomapseer-DPM-missing1-2" and missing.split("test") == complete.split("test")
    whole, known = (ShardReader(tmp_path / name, "test").load().columns for name in ("complete", "out"))
    np.testing.assert_array_equal(known["valid"], whole["valid"])
    np.testing.assert_array_equal(known["gain_db"][whole["valid"] == 1], whole["gain_db"][whole["valid"] == 1])
    assert (known["building_m"] > 0).sum() < (whole["building_m"] > 0).sum()


def test_running_again_makes_only_what_is_missing(ray_local, job, folder, tmp_path):
    argv = ["--folder", str(folder), "--out", str(tmp_path / "out"), "--rows_per_shard", "1"]
    card = job.main(argv)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/test").glob("*.parquet")}
    assert len(times) == 4
    gone = tmp_path / "out/test/00002.parquet"
    gone.unlink()
    assert job.main(argv) == card
    assert {path for path, time in times.items() if path.stat().st_mtime_ns != time} == {gone}
    with pytest.raises(ValueError, match="another plan: cell_m was 4.0, now 8.0"):
        job.main([*argv, "--cell_m", "8"])


def test_a_folder_that_grows_and_a_file_that_is_mended_lose_no_map(ray_local, job, folder, tmp_path):
    late, broken = folder / "gain/DPM/3_1.png", folder / "gain/DPM/8_0.png"
    kept = late.read_bytes(), broken.read_bytes()
    late.unlink()
    broken.write_bytes(kept[1][:500])
    argv = ["--folder", str(folder), "--out", str(tmp_path / "out")]
    assert job.main(argv).split("test").num_rows == 2
    late.write_bytes(kept[0])
    broken.write_bytes(kept[1])
    card = job.main(argv)
    assert card.split("test").num_rows == 4 and not quarantined(tmp_path / "out")
    (columns,) = ShardReader(tmp_path / "out", "test")
    assert len({*zip(columns["scene"], columns["tx_id"], strict=True)}) == 4
