"""From a dataset to RadioMapSeer's layout and back, through both jobs: the same dataset but for the grey levels."""

from pathlib import Path

import numpy as np
import pytest

from raymap.data import radiomapseer, schema, shards
from raymap.data.reader import ShardReader, quarantined
from raymap.scene import Grid, RadioMap, Scene, Transmitter


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Three towns of 64 x 64 cells of 4 m, two transmitters each, transmitters off the centres of their cells."""
    folder = tmp_path_factory.mktemp("towns")
    grid = Grid((64, 64), 4.0)
    distance_m = np.hypot(*np.indices(grid.shape)) * 4.0
    parts = {}
    for number, name in enumerate(("train", "val", "test")):
        building_m = np.zeros(grid.shape, np.float32)
        building_m[30 : 40 + number, 10:50] = 25.0
        scene = Scene(f"town/{number}", grid, building_m)
        parts[name] = []
        for tx_id, row in ((3, 20), (9, 50)):
            transmitter = Transmitter((81.3, row * 4 + 1.2, 1.5 + number))
            distance_m = 4.0 * np.hypot(*(np.indices(grid.shape) - np.reshape((row, 20), (2, 1, 1))))
            radio_map = RadioMap((-48.0 - 0.3 * distance_m).astype(np.float32), scene.outdoor)
            parts[name].append(schema.row(scene, tx_id, transmitter, radio_map))
    shards.write(parts, folder, name="towns", kind="srm", shape=grid.shape, cell_m=4.0, sources=("towns",),
                 attribution="whose")  # fmt: skip
    return folder


def _columns(folder: Path, split: str) -> dict[str, np.ndarray]:
    return ShardReader(folder, split).load().columns


def test_a_dataset_comes_back_through_both_jobs(ray_local, load_job, dataset, tmp_path, capsys):
    exporting, importing = load_job("export_radiomapseer"), load_job("import_radiomapseer")
    layout = tmp_path / "layout"
    export = exporting.main(["--data", str(dataset), "--out", str(layout), "--enlarge"])
    printed = capsys.readouterr().out
    assert "6 gains of 3 maps" in printed and "per second" in printed and "numTx=2" in printed
    assert quarantined(layout) == []
    assert radiomapseer.pairs(layout) == [(m, k) for m in (1, 2, 3) for k in (0, 1)]

    back = tmp_path / "back"
    card = importing.main(["--folder", str(layout), "--out", str(back), "--split", "exported"])
    assert (card.attribution, card.kind, card.shape, card.cell_m) == ("whose", "srm", (64, 64), 4.0)
    for split in ("train", "val", "test"):
        before, after = _columns(dataset, split), _columns(back, split)
        for name in schema.COLUMNS:
            if name != "gain_db":
                np.testing.assert_array_equal(after[name], before[name], err_msg=name)
        outdoors = before["valid"] == 1
        error_db = np.abs(after["gain_db"] - before["gain_db"])[outdoors]
        assert error_db.max() <= export.encoding.level_db / 2 + 1e-4

    second = tmp_path / "second"
    exporting.main(["--data", str(back), "--out", str(second), "--enlarge"])
    pictures = sorted(path.relative_to(layout) for path in layout.rglob("*.png"))
    assert len(pictures) == 15
    assert all((layout / name).read_bytes() == (second / name).read_bytes() for name in pictures)


def test_some_splits_under_published_numbers(load_job, dataset, tmp_path):
    export = load_job("export_radiomapseer").main(
        ["--data", str(dataset), "--out", str(tmp_path / "out"), "--enlarge", "--splits", "[test,val]",
         "--numbering", "radiounet", "--simulation", "IRT2"]
    )  # fmt: skip
    published = radiomapseer.split("radiounet")
    assert export.splits == {"test": published["test"][:1], "val": published["val"][:1]}
    assert radiomapseer.pairs(tmp_path / "out", "IRT2")[0][1] == 0


def test_a_damaged_row_is_listed(load_job, dataset, tmp_path, capsys):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    (copy / "val/00000.parquet").write_bytes(b"PAR1")
    load_job("export_radiomapseer").main(["--data", str(copy), "--out", str(tmp_path / "out"), "--enlarge"])
    (entry,) = quarantined(tmp_path / "out")
    assert entry["what"] == "val/00000.parquet, row None" and "cannot be read" in entry["reason"]
    assert "left out val/00000.parquet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"maps of \(256, 256\) pixels, these are \(64, 64\)"),
        (["--splits", "[other]"], "has no split 'other'"),
        (["--simulation", "XYZ"], "unknown simulation 'XYZ'"),
    ],
)
def test_wrong_arguments_are_refused(load_job, dataset, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        load_job("export_radiomapseer").main(["--data", str(dataset), "--out", str(tmp_path / "out"), *arguments])


def test_both_folders_are_needed(load_job):
    with pytest.raises(SystemExit, match="--data"):
        load_job("export_radiomapseer").main([])
