"""RadioMapSeer: the real sample reads as measured; every broken folder is refused with the file and the cause."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raymap.data import radiomapseer


@pytest.fixture(scope="module")
def sample() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared/data/radiomapseer_sample"
    if not folder.is_dir():
        pytest.skip(f"no RadioMapSeer sample at {folder}")
    return folder


ROW, COLUMN = 70, 120


def _save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A correct folder with one map, without any symmetry that could hide a mistake."""
    building = np.zeros((256, 256), np.uint8)
    building[20:60, 30:200] = 255
    building[150:230, 90:130] = 255
    rows, columns = np.indices(building.shape)
    gain = np.clip(255 - np.hypot(rows - ROW, columns - COLUMN), 1, 255).astype(np.uint8)
    gain[building > 0] = 0
    antenna = np.zeros_like(building)
    antenna[ROW, COLUMN] = 255
    car = np.zeros_like(building)
    car[100:103, 100:105] = 255
    car[50:55, 100:105] = 255  # the last in a building
    for simulation in ("DPM", "carsDPM"):
        _save(tmp_path / f"gain/{simulation}/7_1.png", gain)
    _save(tmp_path / "png/buildings_complete/7.png", building)
    _save(tmp_path / "png/antennas/7_1.png", antenna)
    _save(tmp_path / "png/cars/7.png", car)
    (tmp_path / "antenna").mkdir()
    (tmp_path / "antenna/7.json").write_text(json.dumps([[3, 4], [COLUMN, 255 - ROW]]))
    return tmp_path


def test_reads_every_real_map(sample):
    pairs = radiomapseer.pairs(sample)
    assert len(pairs) == 21 and pairs == sorted(pairs)
    for map_id, tx_id in pairs:
        scene, transmitter, radio_map = radiomapseer.read(sample, map_id, tx_id)
        row, column = scene.require_outdoor(transmitter)
        assert scene.name == f"radiomapseer/{map_id}"
        assert set(np.unique(scene.building_m)) == {0.0, 25.0}
        assert radio_map.gain_db[row, column] == pytest.approx(-47.84, abs=1e-4)
        assert np.array_equal(radio_map.valid, scene.outdoor)
        outdoors = radio_map.gain_db[radio_map.valid]
        assert outdoors.min() >= -147.001 and outdoors.max() <= -47.839


def test_real_line_of_sight_follows_the_measured_law(sample):
    """PL = 47.87 + 25·log10(d): the grey levels, the axes and the cell size all enter."""
    _, transmitter, radio_map = radiomapseer.read(sample, 0, 12)
    row, column = round(transmitter.xyz_m[1] - 0.5), round(transmitter.xyz_m[0] - 0.5)
    rows, columns = np.indices(radio_map.valid.shape)
    distance_m = np.hypot(rows - row, columns - column)
    law_db = -(47.87 + 25 * np.log10(np.maximum(distance_m, 1)))
    near = radio_map.valid & (distance_m >= 2) & (distance_m <= 15)
    error_db = (radio_map.gain_db - law_db)[near]
    assert np.median(np.abs(error_db)) < 0.2
    assert error_db.max() < 1.0


def test_reads_a_written_folder(folder):
    scene, transmitter, radio_map = radiomapseer.read(folder, 7, 1)
    assert transmitter.xyz_m == (COLUMN + 0.5, ROW + 0.5, 1.5)
    assert transmitter.power_dbm == 23.0 and scene.frequency_hz == 5.9e9
    assert scene.vehicle_m.max() == 0
    assert radio_map.gain_db[ROW, COLUMN + 100] == pytest.approx(-(147 - 155 / 255 * (147 - 47.84)), abs=1e-3)


def test_cars_are_read_only_where_they_were_simulated(folder):
    scene, _, _ = radiomapseer.read(folder, 7, 1, "carsDPM")
    assert np.count_nonzero(scene.vehicle_m) == 15  # not those inside a building
    assert scene.vehicle_m.max() == 1.5


def test_pairs_are_sorted_by_number(folder):
    for name in ("10_0.png", "7_10.png", "7_2.png", "notes.txt"):
        (folder / "gain/DPM" / name).touch()
    assert radiomapseer.pairs(folder) == [(7, 1), (7, 2), (7, 10), (10, 0)]
    with pytest.raises(FileNotFoundError, match="IRT4"):
        radiomapseer.pairs(folder, "IRT4")
    with pytest.raises(ValueError, match="unknown simulation 'IRT3'"):
        radiomapseer.pairs(folder, "IRT3")


@pytest.mark.parametrize(
    "name", ["gain/DPM/7_1.png", "png/buildings_complete/7.png", "png/antennas/7_1.png", "antenna/7.json"]
)
def test_missing_files_are_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        radiomapseer.read(folder, 7, 1)


def _edit(path: Path, change) -> None:
    _save(path, np.ascontiguousarray(change(np.asarray(Image.open(path)))))


PICTURES = {"building": "png/buildings_complete/7.png", "antenna": "png/antennas/7_1.png", "gain": "gain/DPM/7_1.png"}


@pytest.mark.parametrize(
    ("picture", "change", "cause"),
    [
        ("building", lambda p: 255 - p, "polarity inverted"),
        ("building", lambda p: p * 0, "no pixels are buildings"),
        ("building", lambda p: p * 0 + 255, "all pixels are buildings"),
        ("building", lambda p: p.T, "rows and columns look swapped"),
        ("building", lambda p: p[::-1], "upside down"),
        ("building", lambda p: np.rot90(p), "90° to the left"),
        ("building", lambda p: np.rot90(p, -1), "90° to the right"),
        ("building", lambda p: np.roll(p, 90, 1), "same map"),
        ("building", lambda p: p[:128], r"expected \(256, 256\).*found \(128, 256\)"),
        ("building", lambda p: p.astype(np.uint16) * 256, "8-bit grey.*I;16"),
        ("gain", lambda p: np.stack([p] * 3, -1), "8-bit grey.*RGB"),
        ("gain", lambda p: p * 0, "all black"),
        ("gain", lambda p: p * (p > 180), "outside the buildings"),
        (
            "gain",
            lambda p: np.where(np.arange(256) < 25, 255, p // 2).astype(np.uint8),
            "brightest.*another transmitter",
        ),
        ("antenna", lambda p: p * 0, "one lit pixel.*found 0"),
        ("antenna", lambda p: p | 1, "one lit pixel.*found 65536"),
        ("antenna", lambda p: p.T, "rows and columns look swapped"),
        ("antenna", lambda p: p[::-1], "upside down"),
        ("antenna", lambda p: p[:, ::-1], "mirrored"),
        ("antenna", lambda p: np.rot90(p), "90° to the left"),
        ("antenna", lambda p: np.roll(p, 20, 1), "no swap, mirroring or rotation"),
    ],
)
def test_wrong_pictures_are_refused_with_file_and_cause(folder, picture, change, cause):
    _edit(folder / PICTURES[picture], change)
    with pytest.raises(ValueError, match=cause) as refusal:
        radiomapseer.read(folder, 7, 1)
    assert PICTURES[picture] in str(refusal.value)


def test_axes_swapped_throughout_are_caught_by_the_json(folder):
    for name in PICTURES.values():
        _edit(folder / name, lambda picture: picture.T)
    with pytest.raises(ValueError, match=r"antennas/7_1\.png.*rows and columns look swapped"):
        radiomapseer.read(folder, 7, 1)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[[3, 4], [185, 120]]", "x and y of the JSON look swapped"),
        ("[[3, 4]]", "entry for transmitter 1, found 1"),
        ("{}", "found no entries"),
        ("[[3, 4], [1, 2, 3]]", r"must be \[x, y\]"),
        ("[[3, 4", "not valid JSON"),
    ],
)
def test_wrong_antenna_lists_are_refused(folder, text, cause):
    (folder / "antenna/7.json").write_text(text)
    with pytest.raises(ValueError, match=rf"(?s)antenna/7\.json.*{cause}|{cause}.*antenna/7\.json"):
        radiomapseer.read(folder, 7, 1)


@pytest.mark.parametrize("keep", [0.5, 0.02])
def test_truncated_pictures_are_refused(folder, keep):
    path = folder / "gain/DPM/7_1.png"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ValueError, match=r"gain/DPM/7_1\.png: cannot be read"):
        radiomapseer.read(folder, 7, 1)


def test_a_transmitter_inside_a_building_is_refused(folder):
    def cover(picture):
        picture = picture.copy()
        picture[ROW, COLUMN] = 255
        return picture

    _edit(folder / "png/buildings_complete/7.png", cover)
    with pytest.raises(ValueError, match="inside a building"):
        radiomapseer.read(folder, 7, 1)


def test_grey_levels_map_to_the_documented_losses():
    encoding = radiomapseer.ENCODING
    assert encoding.gain_db(np.array([0, 255])) == pytest.approx([-147.0, -47.84], abs=1e-4)
    assert radiomapseer.Encoding(white_loss_db=47.0).gain_db(255) == pytest.approx(-47.0)
