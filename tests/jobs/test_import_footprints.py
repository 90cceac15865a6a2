"""Footprints of a town become a dataset, and a coverage map for a GIS, by one command each."""

import json

import numpy as np
import pytest

pytest.importorskip("rasterio", reason="footprints need the extra geo")
pytest.importorskip("pyproj", reason="footprints need the extra geo")
pytest.importorskip("shapely", reason="footprints need the extra geo")

from raymap.data import footprints, geotiff, schema
from raymap.data.reader import ShardReader, quarantined
from raymap.propagation import dominant_path

LON, LAT = 11.5755, 48.1374


def ring(west, south, east, north):
    """A rectangle in metres east and north of the corner of the town, on a sphere: about right is enough here."""
    corners = ((west, south), (east, south), (east, north), (west, north), (west, south))
    return [[LON + x / (111_320 * np.cos(np.radians(LAT))), LAT + y / 111_320] for x, y in corners]


def feature(*rings, **properties):
    geometry = {"type": "Polygon", "coordinates": list(rings)}
    return {"type": "Feature", "geometry": geometry, "properties": {"building": "yes", **properties}}


@pytest.fixture(scope="module")
def geojson(tmp_path_factory):
    """Two dozen buildings on a street grid, one around a courtyard, some without a height; and a park, a broken one."""
    rng = np.random.default_rng(4)
    features = []
    for row in range(5):
        for column in range(5):
            west, south = 62 * column + rng.uniform(0, 4), 58 * row + rng.uniform(0, 4)
            tall = {"height": f"{rng.uniform(9, 24):.1f} m"} if rng.random() < 0.6 else {"building:levels": "4"}
            features.append(feature(ring(west, south, west + rng.uniform(28, 44), south + rng.uniform(24, 40)), **tall))
    features[7] = feature(ring(124, 58, 166, 100), ring(136, 70, 154, 88), height="20")
    features[11] = feature(ring(62, 116, 100, 150))
    features[20] = feature(ring(0, 232, 30, 262), height="tall")
    park = feature(ring(248, 232, 300, 270), leisure="park")
    del park["properties"]["building"]
    path = tmp_path_factory.mktemp("town") / "town.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [*features, park]}))
    return path


SMALL = ["--shape", "[32,32]", "--cell_m", "8", "--solve_cell_m", "4", "--stride_m", "48"]


def test_a_town_becomes_a_dataset_once(ray_local, load_job, geojson, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [
        "--geojson", str(geojson), "--out", str(out), *SMALL, "--num_transmitters", "2", "--split", "train",
        "--tiles_per_shard", "1",
    ]  # fmt: skip
    card = load_job("import_footprints").main(arguments)
    printed = capsys.readouterr().out
    assert (card.shape, card.cell_m, card.kind, list(card.splits)) == ((32, 32), 8.0, "srm", ["train"])
    assert "24 buildings, 1 of them without a height taken as 10 m; 1 features are no buildings" in printed
    assert "left out feature 20: height 'tall' cannot be read as metres or feet" in printed
    assert [entry["what"] for entry in quarantined(out)] == ["feature 20"]

    town = footprints.read(geojson, cell_m=4.0)
    columns = ShardReader(out, "train").load().columns
    assert card.split("train").num_rows == len(columns["scene"]) == 2 * len(card.split("train").scenes) > 2
    assert {str(name).split("/")[0] for name in columns["scene"]} == {"town"}
    for index in (0, len(columns["scene"]) - 1):
        scene, transmitter, radio_map = schema.nouns({name: values[index] for name, values in columns.items()})
        r, c = (int(part) for part in scene.name.removeprefix("town/r").split("c"))
        tile = town.crop(12 * r, 12 * c, (64, 64), scene.name).scene
        again = dominant_path.solve(tile, transmitter).coarsen(2, scene.outdoor)
        np.testing.assert_array_equal(radio_map.valid, again.valid)
        np.testing.assert_allclose(radio_map.gain_db[radio_map.valid], again.gain_db[again.valid], atol=1e-3)

    times = {path: path.stat().st_mtime_ns for path in out.glob("train/*.parquet")}
    gone = out / "train/00000.parquet"
    gone.unlink()
    assert load_job("import_footprints").main(arguments) == card and len(times) > 1
    assert {path for path, time in times.items() if path.stat().st_mtime_ns != time} == {gone}
    assert [entry["what"] for entry in quarantined(out)] == ["feature 20"]
    with pytest.raises(ValueError, match="another plan: num_transmitters was 2, now 3"):
        load_job("import_footprints").main([*arguments, "--num_transmitters", "3"])


def test_a_corner_can_be_kept_for_val_with_traffic_and_in_multipath(ray_local, load_job, geojson, tmp_path, capsys):
    size = ["--shape", "[16,16]", "--cell_m", "8", "--solve_cell_m", "4", "--stride_m", "64", "--num_transmitters", "1"]
    for kind in ("drm", "mrm"):
        argv = ["--geojson", str(geojson), "--out", str(tmp_path / kind), "--kind", kind, *size]
        card = load_job("import_footprints").main([*argv, "--split", "train", "--val_corner_m", "130"])
        assert card.kind == kind and card.split("train").num_rows > 0 and card.split("val").num_rows > 0
        assert "tiles reach into the val corner" in capsys.readouterr().out
    drm, mrm = (ShardReader(tmp_path / kind, "val").load().columns for kind in ("drm", "mrm"))
    np.testing.assert_array_equal(drm["tx_xyz_m"], mrm["tx_xyz_m"])
    assert drm["vehicle_m"].any() and not mrm["vehicle_m"].any()
    assert (drm["gain_db"] != mrm["gain_db"])[drm["valid"] == 1].mean() > 0.9


def test_coverage_becomes_a_geotiff(load_job, geojson, tmp_path, capsys):
    lon, lat = ring(52, 52, 0, 0)[0]
    path = tmp_path / "gain.tif"
    load_job("predict_footprints").main(
        ["--geojson", str(geojson), "--transmitter", f"[{lon},{lat},12]", "--geotiff", str(path), "--cell_m", "4"]
    )
    assert "24 buildings" in (printed := capsys.readouterr().out) and "left out feature 20" in printed
    place, transmitter, radio_map = geotiff.read(path)
    np.testing.assert_allclose(place.lonlat(transmitter.xyz_m[:2]), (lon, lat), rtol=0, atol=1e-9)
    assert transmitter.xyz_m[2] == 12.0
    row, column = transmitter.cell(place.scene.grid)
    assert radio_map.gain_db[row, column] == radio_map.gain_db[radio_map.valid].max()
    town = footprints.read(geojson, cell_m=4.0)
    np.testing.assert_array_equal(place.scene.building_m, town.scene.building_m)
    np.testing.assert_array_equal(radio_map.valid, town.scene.outdoor)


def test_coverage_of_a_window_is_around_the_transmitter(load_job, geojson, tmp_path, capsys):
    lon, lat = ring(52, 52, 0, 0)[0]
    arguments = ["--geojson", str(geojson), f"--transmitter=[{lon},{lat},12]", "--geotiff", str(tmp_path / "g.tif")]
    load_job("predict_footprints").main([*arguments, "--shape", "[40,30]", "--cell_m", "4"])
    _, transmitter, radio_map = geotiff.read(tmp_path / "g.tif")
    assert radio_map.gain_db.shape == (40, 30)
    np.testing.assert_allclose(transmitter.xyz_m[:2], (60.0, 80.0), atol=1e-3)
    assert " outside the map" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cell_m", "3"], "cell_m=3 m must be a multiple of solve_cell_m=2 m"),
        (["--stride_m", "7"], "stride_m=7 m must be a positive multiple"),
        (["--shape", "[640,640]"], "no room for a tile"),
        (["--kind", "xrm"], "srm"),
        (["--val_corner_m", "200"], "val_corner_m=200 m divides a town of the split train, split is test"),
        (["--split", "train", "--val_corner_m", "100", "--stride_m", "32"], "none of .* tiles .* is for train"),
    ],
)
def test_wrong_arguments_are_refused(load_job, geojson, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        load_job("import_footprints").main(["--geojson", str(geojson), "--out", str(tmp_path / "out"), *arguments])


@pytest.mark.parametrize("name", ["import_footprints", "predict_footprints"])
def test_what_is_needed_is_said(load_job, name):
    with pytest.raises(SystemExit, match="--geojson.* are needed"):
        load_job(name).main([])
