"""RadioMapSeer: the real sample reads as measured; every broken folder is refused with the file and the cause."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from raymap.data import polygons, radiomapseer
from raymap.physics import visibility
from raymap.propagation import dominant_path
from raymap.propagation.smoothing import outdoor_median
from raymap.scene import Grid, Scene, Transmitter

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


def test_reads_every_real_map(radiomapseer_sample):
    sample = radiomapseer_sample
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


def test_real_line_of_sight_follows_the_measured_law(radiomapseer_sample):
    """PL = 47.87 + 25·log10(d): the grey levels, the axes and the cell size all enter."""
    _, transmitter, radio_map = radiomapseer.read(radiomapseer_sample, 0, 12)
    row, column = round(transmitter.xyz_m[1] - 0.5), round(transmitter.xyz_m[0] - 0.5)
    rows, columns = np.indices(radio_map.valid.shape)
    distance_m = np.hypot(rows - row, columns - column)
    law_db = -(47.87 + 25 * np.log10(np.maximum(distance_m, 1)))
    near = radio_map.valid & (distance_m >= 2) & (distance_m <= 15)
    error_db = (radio_map.gain_db - law_db)[near]
    assert np.median(np.abs(error_db)) < 0.2
    assert error_db.max() < 1.0


def test_real_gains_in_sight_are_the_law_after_a_median_over_outdoor_neighbours(radiomapseer_sample):
    scene, transmitter, radio_map = radiomapseer.read(radiomapseer_sample, 0, 10)
    x_m, y_m, _ = transmitter.xyz_m
    known = visibility.line_of_sight(~scene.outdoor, (y_m, x_m)) | ~scene.outdoor
    rows, columns = np.indices(known.shape) + 0.5
    law_db = -(47.87 + 25 * np.log10(np.maximum(np.hypot(rows - y_m, columns - x_m), 1)))
    median_db = outdoor_median(law_db, scene.outdoor, 1)
    judged = minimum_filter(known, 3) & scene.outdoor
    at_wall = judged & maximum_filter(~scene.outdoor, 3)
    off = [np.abs(gain_db - radio_map.gain_db) > 0.25 for gain_db in (law_db, median_db)]  # rounding: 0.195 dB
    assert at_wall.sum() > 300 and off[0][at_wall].mean() > 0.1
    assert not off[1][judged].any()


def test_real_antennas_derived_from_a_tie_of_brightest_pixels_are_settled(radiomapseer_sample):
    moved = {}
    for map_id, tx_id in radiomapseer.pairs(radiomapseer_sample):
        x_m, y_m, _ = radiomapseer.read(radiomapseer_sample, map_id, tx_id)[1].xyz_m
        listed, found = radiomapseer.antennas(radiomapseer_sample, map_id)[tx_id], (int(y_m), int(x_m))
        if found != listed:
            moved[map_id, tx_id] = found[0] - listed[0], found[1] - listed[1]
    assert moved == {(9006, 0): (0, 1), (9010, 0): (0, 1)}  # none of map 0, whose list is the real one


def test_an_antenna_listed_beside_its_place_at_a_wall_is_settled(folder):
    building_path, gain_path = folder / "png/buildings_complete/7.png", folder / "gain/DPM/7_1.png"
    building = radiomapseer.layer(folder, "buildings_complete", 7)
    scene = Scene("foot of a wall", Grid(building.shape, 1.0), building * 25.0)
    _save(building_path, building.astype(np.uint8) * 255)
    row, column = 61, COLUMN  # one pixel from the wall that ends at row 60
    solved = dominant_path.solve(scene, Transmitter((column + 0.5, row + 0.5, 1.5)))
    grey = radiomapseer.ENCODING.grey(solved.gain_db)
    _save(gain_path, np.where(building, 0, np.maximum(grey, 1)).astype(np.uint8))
    tied = np.argwhere(grey == grey.max())
    assert len(tied) > 1 and [row, column] in tied.tolist()
    for listed_row, listed_column in tied.tolist():
        antenna = np.zeros(building.shape, np.uint8)
        antenna[listed_row, listed_column] = 255
        _save(folder / "png/antennas/7_1.png", antenna)
        (folder / "antenna/7.json").write_text(json.dumps([[3, 4], [listed_column, 255 - listed_row]]))
        _, transmitter, _ = radiomapseer.read(folder, 7, 1)
        assert transmitter.xyz_m == (column + 0.5, row + 0.5, 1.5)


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
        ("[[3, 4], [120, true]]", "two finite numbers"),
        ("[[3, 4], [120, 1e999]]", "two finite numbers"),
        ("[[3, 4], [120, 1e300]]", "no swap, mirroring or rotation"),
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


def test_real_polygons_lie_on_the_buildings(radiomapseer_sample):
    """The rule for corners, measured: painted, they cover every building pixel, and little beside."""
    found = radiomapseer.polygons(radiomapseer_sample, "buildings_complete", 0)
    building = radiomapseer.layer(radiomapseer_sample, "buildings_complete", 0)
    painted = polygons.paint([(outline.tolist(), 25.0) for outline in found], (256, 256), 1.0, slack_m=0.0) > 0
    assert len(found) == 60 and min(len(outline) for outline in found) >= 3
    assert not any((outline[0] == outline[-1]).all() for outline in found)
    assert (building & ~painted).sum() <= 0.001 * building.sum()
    assert (painted & ~building).sum() < 0.06 * building.sum()


def test_the_antenna_list_has_the_antennas_of_the_pictures(radiomapseer_sample):
    listed = radiomapseer.antennas(radiomapseer_sample, 0)
    assert len(listed) == 80
    for _, tx_id in radiomapseer.pairs(radiomapseer_sample)[:10]:
        _, transmitter, _ = radiomapseer.read(radiomapseer_sample, 0, tx_id)
        assert (listed[tx_id][1] + 0.5, listed[tx_id][0] + 0.5) == transmitter.xyz_m[:2]


def _without_a_building(folder: Path) -> None:
    picture = np.asarray(Image.open(folder / PICTURES["building"])).copy()
    picture[150:230, 90:130] = 0
    _save(folder / "png/buildings_missing1/3/7.png", picture)


def test_a_scene_may_lack_buildings_while_its_gain_stays(folder):
    _without_a_building(folder)
    complete, _, whole = radiomapseer.read(folder, 7, 1)
    scene, _, radio_map = radiomapseer.read(folder, 7, 1, buildings="missing1", variant=3)
    assert scene.outdoor.sum() - complete.outdoor.sum() == 80 * 40
    assert np.array_equal(radio_map.gain_db, whole.gain_db)
    assert np.array_equal(radio_map.valid, complete.outdoor)  # no gain where the city has a building after all
    assert scene.name == complete.name  # the same ground must not get into two splits
    with pytest.raises(FileNotFoundError, match="buildings_missing1/1/7.png"):
        radiomapseer.read(folder, 7, 1, buildings="missing1")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda p: 255 - p, "buildings_missing1/3/7.png.*polarity"),
        (lambda p: np.roll(p, 60, 1), "buildings_missing1/3/7.png.*belong together"),
        (lambda p: p * 0, "buildings_missing1/3/7.png: 0.0% .* are left"),
    ],
)
def test_wrong_incomplete_maps_are_refused(folder, change, cause):
    _without_a_building(folder)
    _edit(folder / "png/buildings_missing1/3/7.png", change)
    with pytest.raises(ValueError, match=cause):
        radiomapseer.read(folder, 7, 1, buildings="missing1", variant=3)


def test_all_layers_of_the_archive_are_found(folder):
    road = np.zeros((256, 256), np.uint8)
    road[3, 5] = 255
    _save(folder / "png/roads/7.png", road)
    _save(folder / "png/buildings_removed4/6/7.png", road)
    corners = [[[1, 256], [3, 256], [3, 254], [1, 256]], [[0, 0], [256, 0], [256, 256]]]
    for place in ("roads", "buildings_and_cars", "buildings_difference2/1"):
        (folder / "polygon" / place).mkdir(parents=True)
        (folder / "polygon" / place / "7.json").write_text(json.dumps(corners))
    assert np.argwhere(radiomapseer.layer(folder, "roads", 7)).tolist() == [[3, 5]]
    assert np.argwhere(radiomapseer.layer(folder, "buildings_removed4", 7, 6)).tolist() == [[3, 5]]
    assert radiomapseer.layer(folder, "cars", 7).sum() == 40
    for name, variant in (("roads", None), ("buildings_and_cars", None), ("buildings_difference2", 1)):
        first, second = radiomapseer.polygons(folder, name, 7, variant)
        assert first.tolist() == [[0.5, 0.5], [2.5, 0.5], [2.5, 2.5]]  # closed in the file, open here
        assert second.shape == (3, 2)


@pytest.mark.parametrize(
    ("call", "cause"),
    [
        (lambda folder: radiomapseer.layer(folder, "rivers", 7), "unknown layer 'rivers'; there are .*roads"),
        (lambda folder: radiomapseer.layer(folder, "roads", 7, 1), "roads has variants: none; got 1"),
        (lambda folder: radiomapseer.layer(folder, "buildings_missing2", 7), "variants: 1 to 6; got None"),
        (lambda folder: radiomapseer.layer(folder, "buildings_missing2", 7, 7), "variants: 1 to 6; got 7"),
        (lambda folder: radiomapseer.polygons(folder, "cars", 7), "unknown layer 'cars'"),
        (lambda folder: radiomapseer.read(folder, 7, 1, buildings="missing5"), "unknown buildings 'missing5'"),
        (lambda folder: radiomapseer.read(folder, 7, 1, variant=2), "no variants, got variant 2"),
        (lambda folder: radiomapseer.read(folder, 7, 1, buildings="missing1", variant=0), "1 to 6; got 0"),
    ],
)
def test_layers_that_the_archive_has_not_are_refused(folder, call, cause):
    with pytest.raises(ValueError, match=cause):
        call(folder)


def test_ray_traced_maps_may_have_black_streets(folder):
    """IRT leaves shadows without a path; they are below the scale, not outside the map."""
    rows = np.arange(256)[:, None]
    _edit(folder / PICTURES["gain"], lambda p: np.where(rows > 120, 0, p).astype(np.uint8))
    with pytest.raises(ValueError, match="have no gain"):
        radiomapseer.read(folder, 7, 1)
    (folder / "gain/IRT4").mkdir()
    (folder / PICTURES["gain"]).rename(folder / "gain/IRT4/7_1.png")
    scene, _, radio_map = radiomapseer.read(folder, 7, 1, "IRT4")
    assert np.array_equal(radio_map.valid, scene.outdoor)
    assert radio_map.gain_db[255, 255] == pytest.approx(-147.0)
    kinds = {name: radiomapseer.kind_of(name) for name in radiomapseer.SIMULATIONS}
    assert kinds["DPM"] == "srm" and kinds["carsDPM"] == "drm" and kinds["IRT4"] == kinds["carsIRT2"] == "mrm"


def test_levels_survive_any_number_of_trips():
    encoding = radiomapseer.ENCODING
    levels = np.arange(256, dtype=np.uint8)
    gain_db = encoding.gain_db(levels)
    assert np.array_equal(encoding.grey(gain_db), levels)
    assert np.array_equal(encoding.grey(gain_db.astype(np.float64)), levels)
    between_db = np.linspace(-147.0, -47.84, 9973)
    error_db = np.abs(encoding.gain_db(encoding.grey(between_db)) - between_db)
    assert error_db.max() <= encoding.level_db / 2 + 1e-5
    assert encoding.grey(np.array([-200.0, 0.0])).tolist() == [0, 255]
    assert [encoding.pixel(*encoding.listed(row, 7)) for row in (0, 255)] == [(0, 7), (255, 7)]


def test_a_scale_that_does_not_rise_is_refused():
    with pytest.raises(ValueError, match="white must be a loss"):
        radiomapseer.Encoding(white_loss_db=150.0)
