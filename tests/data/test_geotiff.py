"""GeoTIFF: a building of a GeoJSON file is found at its own longitude and latitude; what is written is read."""

import math
import sys

import numpy as np
import pytest

from raymap.data import footprints, geotiff
from raymap.data.place import Place, local_crs, tiles, transmitter_at
from raymap.scene import Grid, RadioMap, Scene, Transmitter

rasterio = pytest.importorskip("rasterio", reason="GeoTIFF needs the extra geo")
pyproj = pytest.importorskip("pyproj", reason="GeoTIFF needs the extra geo")
pytest.importorskip("shapely", reason="GeoTIFF needs the extra geo")
warp = pytest.importorskip("rasterio.warp", reason="GeoTIFF needs the extra geo")

GEOD = pyproj.Geod(ellps="WGS84")
PLACES = {
    "munich": (11.5755, 48.1374),
    "sydney": (151.2093, -33.8688),
    "quito, between two UTM zones and on the equator": (-78.0, 0.0),
    "tromsø": (18.9553, 69.6492),
    "fiji, on the antimeridian": (180.0, -16.8),
}


def at(centre, x_m, y_m):
    lon, lat, _ = GEOD.fwd(*centre, math.degrees(math.atan2(x_m, y_m)), math.hypot(x_m, y_m))
    return [(lon + 180) % 360 - 180, lat]


def house(centre, x_m, y_m, side_m, height):
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))
    ring = [at(centre, x_m + side_m / 2 * dx, y_m + side_m / 2 * dy) for dx, dy in corners]
    properties = {"building": "yes", "height": str(height)}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def town(centre, **options):
    """Five houses up to 1.2 km from a centre; the first, 40 m high, is the landmark."""
    spots = [(700, 300), (-600, 500), (0, 0), (-900, -800), (800, -500)]
    features = [house(centre, *spot, 20, height) for spot, height in zip(spots, (40, 10, 11, 12, 13), strict=True)]
    return footprints.read({"type": "FeatureCollection", "features": features}, name="town", **options), spots


def some_map(scene):
    """A gain that is different in every cell, so that nothing can be exchanged unnoticed."""
    gain_db = -50.0 - 90.0 * np.random.default_rng(0).random(scene.grid.shape, np.float32)
    return RadioMap(gain_db, scene.outdoor)


@pytest.mark.parametrize("centre", PLACES.values(), ids=PLACES)
def test_geojson_to_scene_to_geotiff_lands_on_the_right_coordinates(centre, tmp_path):
    """Read with rasterio and GDAL's own transformation; only the file and the GeoJSON are compared."""
    place, spots = town(centre, cell_m=4.0)
    mast = at(centre, 650, 300)
    path = geotiff.write(tmp_path / "gain.tif", some_map(place.scene), place, transmitter_at(place, mast, 30.0))
    with rasterio.open(path) as file:
        height_m = file.read(file.descriptions.index("building_m") + 1)
        for spot, wanted_m in zip(spots, (40, 10, 11, 12, 13), strict=True):
            lon, lat = at(centre, *spot)
            (x,), (y,) = warp.transform("EPSG:4326", file.crs, [lon], [lat])
            gain_db, sampled_m = next(file.sample([(x, y)], indexes=[1, 2]))
            assert sampled_m == wanted_m and np.isnan(gain_db)
            rows, columns = np.nonzero(height_m == wanted_m)
            assert 16 <= len(rows) <= 36  # 5 cells a side, give or take one
            middle = np.mean(file.xy(rows, columns), axis=1)
            (found_lon,), (found_lat,) = warp.transform(file.crs, "EPSG:4326", middle[:1], middle[1:])
            assert GEOD.inv(lon, lat, found_lon, found_lat)[2] < 4.0
        (x,), (y,) = warp.transform("EPSG:4326", file.crs, mast[:1], mast[1:])
        assert np.isfinite(next(file.sample([(x, y)], indexes=[1])))
        lon, lat = (float(value) for value in file.tags()["transmitter_lonlat"].strip("[]").split(","))
        assert GEOD.inv(lon, lat, *mast)[2] < 0.01


def test_what_is_written_is_read_to_the_last_bit(tmp_path):
    place, _ = town(PLACES["munich"], cell_m=4.0, frequency_hz=3.5e9)
    vehicle_m = np.where(np.random.default_rng(1).random(place.scene.grid.shape) < 0.1, 1.5, 0.0)
    place = Place(Scene("town", place.scene.grid, place.scene.building_m, vehicle_m, 3.5e9), place.crs)
    radio_map, transmitter = some_map(place.scene), Transmitter((10.1, 20.2, 30.3), 7.5)
    back, transmitter_back, map_back = geotiff.read(geotiff.write(tmp_path / "gain.tif", radio_map, place, transmitter))
    assert (back.scene.name, back.scene.grid, back.scene.frequency_hz) == ("town", place.scene.grid, 3.5e9)
    assert transmitter_back == transmitter
    np.testing.assert_array_equal(back.scene.building_m, place.scene.building_m)
    np.testing.assert_array_equal(back.scene.vehicle_m, place.scene.vehicle_m)
    np.testing.assert_array_equal(map_back.valid, radio_map.valid)
    np.testing.assert_array_equal(map_back.gain_db[radio_map.valid], radio_map.gain_db[radio_map.valid])
    assert (map_back.gain_db[~radio_map.valid] == -147.0).all()
    np.testing.assert_allclose(back.lonlat((100.0, 200.0)), place.lonlat((100.0, 200.0)), rtol=0, atol=1e-11)
    assert [path.name for path in tmp_path.iterdir()] == ["gain.tif"]


def test_any_gis_is_told_what_the_numbers_are(tmp_path):
    place, _ = town(PLACES["sydney"], cell_m=8.0)
    path = geotiff.write(tmp_path / "gain.tif", some_map(place.scene), place, Transmitter((8.0, 8.0, 30.0)))
    with rasterio.open(path) as file:
        assert (file.descriptions, file.units) == (("gain_db", "building_m"), ("dB", "m"))
        assert file.dtypes == ("float32", "float32") and np.isnan(file.nodata)
        assert file.crs.is_projected and file.crs.linear_units == "metre"
        assert file.tags()["frequency_hz"] == "5900000000.0" and "dB" in file.tags()["quantity"]
        masked = file.read(1, masked=True)
    np.testing.assert_array_equal(masked.mask, ~place.scene.outdoor)


def test_places_in_a_national_crs_are_written_too(tmp_path):
    grid = Grid((30, 40), 5.0, (691_000.0, -5_334_000.0))
    place = Place(Scene("utm", grid, np.eye(30, 40) * 9), "EPSG:25832")
    path = geotiff.write(tmp_path / "gain.tif", some_map(place.scene), place, Transmitter((101.0, 1.0, 3.0)))
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 25832 and file.bounds == (691_000, 5_333_850, 691_200, 5_334_000)
    assert geotiff.read(path)[0].scene.grid == grid


def rewrite(path, **changes):
    with rasterio.open(path) as file:
        profile, values, tags, names = file.profile, file.read(), file.tags(), file.descriptions
    tags.update(changes.pop("tags", {}))
    names, count = changes.pop("names", names), changes.get("count", len(values))
    with rasterio.open(path, "w", **{**profile, **changes}) as file:
        file.write(values[:count])
        file.update_tags(**{key: value for key, value in tags.items() if value is not None})
        for number, name in enumerate(names[:count], 1):
            file.set_band_description(number, name)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda path: path.write_bytes(b"not a picture"), "cannot be read as a GeoTIFF"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "cannot be read as a GeoTIFF"),
        (lambda path: rewrite(path, names=["red", "green"]), "gain_db, building_m is missing"),
        (lambda path: rewrite(path, count=1), "building_m is missing"),
        (lambda path: rewrite(path, crs=None), "the CRS is missing"),
        (lambda path: rewrite(path, crs="EPSG:4326"), "must be projected"),
        (lambda path: rewrite(path, crs="EPSG:2056+5728"), "must be projected"),
        (lambda path: rewrite(path, transform=rasterio.Affine(8, 0, 0, 0, 8, 0)), "north up"),
        (lambda path: rewrite(path, transform=rasterio.Affine(8, 0, 0, 0, -4, 0)), "square"),
        (lambda path: rewrite(path, transform=rasterio.Affine(8, 1, 0, 1, -8, 0)), "north up"),
        (lambda path: rewrite(path, tags={"frequency_hz": None}), "tag 'frequency_hz' is missing"),
        (lambda path: rewrite(path, tags={"frequency_hz": "fast"}), "could not convert"),
        (lambda path: rewrite(path, tags={"transmitter_xyz_m": "here"}), "Expecting value"),
        (lambda path: rewrite(path, tags={"transmitter_xyz_m": "7"}), "not iterable"),
        (lambda path: rewrite(path, tags={"transmitter_xyz_m": "[1, 2]"}), "Transmitter.xyz_m must be"),
    ],
)  # fmt: skip
def test_other_files_are_refused_with_name_and_cause(spoil, cause, tmp_path):
    place, _ = town(PLACES["sydney"], cell_m=8.0)
    path = geotiff.write(tmp_path / "gain.tif", some_map(place.scene), place, Transmitter((8.0, 8.0, 30.0)))
    spoil(path)
    with pytest.raises(ValueError, match=rf"(?s)gain\.tif: .*{cause}"):
        geotiff.read(path)


def test_what_does_not_fit_is_refused_and_leaves_no_file(tmp_path):
    place, _ = town(PLACES["sydney"], cell_m=8.0)
    with pytest.raises(ValueError, match=r"shape \(2, 2\), the place has"):
        geotiff.write(
            tmp_path / "gain.tif", RadioMap(np.full((2, 2), -50), np.ones((2, 2))), place, Transmitter((1, 1, 1))
        )
    with pytest.raises(FileNotFoundError, match=r"missing\.tif"):
        geotiff.read(tmp_path / "missing.tif")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ImportError, match=r"raymap\[geo\]"):
        geotiff.read(tmp_path / "gain.tif")


@pytest.mark.parametrize("centre", PLACES.values(), ids=PLACES)
def test_positions_go_to_the_globe_and_back(centre):
    place, _ = town(centre, cell_m=4.0)
    xy_m = np.random.default_rng(0).uniform(0, 1500, (7, 3, 2))
    lonlat = place.lonlat(xy_m)
    np.testing.assert_allclose(place.xy_m(lonlat), xy_m, atol=1e-6)
    assert (np.abs(lonlat[..., 0]) <= 180).all()


def test_transmitters_stand_where_they_are_put():
    place, _ = town(PLACES["fiji, on the antimeridian"], cell_m=2.0)
    for lon in (179.999, -179.999, 180.0, -180.0):
        transmitter = transmitter_at(place, (lon, -16.802), 25.0, power_dbm=30.0)
        np.testing.assert_allclose(place.xy_m((lon, -16.802)), transmitter.xyz_m[:2])
        assert (transmitter.xyz_m[2], transmitter.power_dbm) == (25.0, 30.0)


@pytest.mark.parametrize(
    ("lonlat", "height_m", "cause"),
    [
        ((11.5755, 48.1374), 20.0, r"longitude 11.5755, latitude 48.1374: .*inside a building of scene 'town' \(11 m"),
        ((11.6, 48.2), 20.0, "outside the map"),
        ((-168.0, -48.0), 20.0, "longitude -168, latitude -48"),
        ((11.575, 48.137), 0.0, "height > 0"),
        ((11.575, 480.0), 20.0, "in degrees"),
        ((float("nan"), 48.0), 20.0, "in degrees"),
    ],
)
def test_impossible_transmitters_are_refused(lonlat, height_m, cause):
    place, _ = town(PLACES["munich"], cell_m=4.0)
    with pytest.raises(ValueError, match=cause):
        transmitter_at(place, lonlat, height_m)


def test_tiles_keep_their_place():
    place, _ = town(PLACES["tromsø"], cell_m=4.0)
    found = tiles(place, (50, 40), 40.0, built=(0.005, 1.0))
    assert {tile.scene.building_m.max() for tile in found} == {10.0, 11.0, 12.0, 13.0, 40.0}
    for tile in found:
        offset_m = np.subtract(tile.scene.grid.origin_m, place.scene.grid.origin_m)
        np.testing.assert_allclose(
            tile.lonlat((8.0, 6.0)), place.lonlat(np.add(offset_m, (8.0, 6.0))), rtol=0, atol=1e-12
        )
        column, row = np.round(offset_m / 4.0).astype(int)
        assert tile.scene.name == f"town/r{row // 10:02d}c{column // 10:02d}"
        np.testing.assert_array_equal(
            tile.scene.building_m, place.scene.building_m[row : row + 50, column : column + 40]
        )
    with pytest.raises(ValueError, match="no room for a tile"):
        tiles(place, (5000, 40), 40.0)
    with pytest.raises(ValueError, match="stride_m=41 m must be a positive multiple"):
        tiles(place, (50, 40), 41.0)
    with pytest.raises(ValueError, match="reaches over the edge"):
        place.crop(0, -1, (10, 10), "edge")


@pytest.mark.parametrize(
    ("crs", "cause"),
    [("EPSG:4326", "must be projected"), ("EPSG:2263", "in metres"), ("", "PROJ")],
)
def test_planes_without_metres_are_refused(crs, cause):
    with pytest.raises(ValueError, match=cause):
        Place(Scene("town", Grid((2, 2), 1.0), np.zeros((2, 2))), crs)


@pytest.mark.parametrize("lonlat", [(0.0, 91.0), (400.0, 0.0), (float("nan"), 0.0)])
def test_planes_off_the_globe_are_refused(lonlat):
    with pytest.raises(ValueError, match="longitude, latitude"):
        local_crs(lonlat)
