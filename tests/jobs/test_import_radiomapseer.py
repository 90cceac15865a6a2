"""Importing RadioMapSeer: real layout in, a dataset out; a broken file costs its map."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raymap.data import radiomapseer, schema
from raymap.data.reader import ShardReader, quarantined

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def job():
    spec = importlib.util.spec_from_file_location("import_radiomapseer", ROOT / "jobs/import_radiomapseer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_maps_become_rows_and_a_broken_file_costs_its_map(job, folder, tmp_path, capsys):
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
    ],
)
def test_wrong_arguments_are_refused(job, folder, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        job.main(["--folder", str(folder), "--out", str(tmp_path / "out"), *arguments])
