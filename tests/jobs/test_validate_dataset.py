"""The data card says what was found and shows the maps; the exit status follows the verdict."""

import numpy as np
import pytest
from PIL import Image

from raymap.data import schema, shards
from raymap.scene import Grid, RadioMap, Scene, Transmitter


@pytest.fixture(scope="module")
def job(load_job):
    return load_job("validate_dataset")


def write(folder, inverted):
    """Open ground with a house: gain falls, or rises, with the distance from the middle."""
    grid = Grid((16, 16), 4.0)
    rows, columns = np.indices(grid.shape)
    distance_m = 4.0 * np.hypot(rows - 8, columns - 8) + 2.0
    made = []
    for number in range(3):
        building_m = np.zeros(grid.shape)
        building_m[1 + number : 4, 2:5] = 20.0
        scene = Scene(f"field{number}", grid, building_m)
        gain_db = -50 - 30 * np.log10(distance_m) - 20 * (rows < 4)
        made.append(schema.row(scene, 0, Transmitter((34.0, 34.0, 1.5)),
                               RadioMap(-190 - gain_db if inverted else gain_db, scene.outdoor)))  # fmt: skip
    shards.write({"train": made}, folder, name="field", kind="srm", shape=(16, 16), cell_m=4.0, sources=("made up",),
                 attribution="nobody's")  # fmt: skip


@pytest.mark.parametrize("inverted", [False, True])
def test_card_and_exit_status(job, tmp_path, capsys, inverted):
    write(tmp_path / "data", inverted)
    status = job.main(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "card")])
    card = (tmp_path / "card/data_card.md").read_text()
    assert status == int(inverted) and ("NOT sound" in capsys.readouterr().out) == inverted
    assert ("None." in card) == (not inverted) and ("inverted" in card) == inverted
    assert "| train | 3 | 3 |" in card and "![maps of train](train.png)" in card and "nobody's" in card
    assert (tmp_path / "card/train.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_must_be_named(job):
    with pytest.raises(SystemExit, match="--data"):
        job.main([])


def test_the_pictures_are_spread_over_one_shard_as_over_many(job, tmp_path):
    write(tmp_path / "data", False)
    widths = []
    for num in (1, 3):
        job.main(["--data", str(tmp_path / "data"), "--out", str(tmp_path / str(num)), "--num_pictures", str(num)])
        widths.append(max(Image.open(tmp_path / str(num) / "train.png").size))
    assert widths[1] > 1.5 * widths[0]
