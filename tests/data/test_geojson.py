"""GeoJSON in: heights are read or refused, a bad feature costs that feature, a bad document is refused with why."""

import json

import numpy as np
import pytest

from raymap.data import geojson

LON, LAT = 11.5755, 48.1374


def ring(lon=LON, lat=LAT, size=2e-4):
    return [[lon, lat], [lon + size, lat], [lon + size, lat + size], [lon, lat + size], [lon, lat]]


def feature(geometry=None, **properties):
    geometry = {"type": "Polygon", "coordinates": [ring()]} if geometry is None else geometry
    return {"type": "Feature", "geometry": geometry, "properties": {"building": "yes", **properties}}


def collection(*features, **members):
    return {"type": "FeatureCollection", "features": list(features), **members}


@pytest.mark.parametrize(
    ("tags", "height_m"),
    [
        ({"height": 12}, 12.0),
        ({"height": "12"}, 12.0),
        ({"height": " 12.5 m "}, 12.5),
        ({"height": "12,5"}, 12.5),
        ({"height": "12 metres"}, 12.0),
        ({"height": "40'"}, 12.192),
        ({"height": "40 ft"}, 12.192),
        ({"height": "40 feet"}, 12.192),
        ({"height": "7'6\""}, 2.286),
        ({"height": "828"}, 828.0),
        ({"building:levels": "4"}, 12.0),
        ({"building:levels": 2.5}, 7.5),
        ({"height": "20", "building:levels": "4"}, 20.0),
        ({"height": "", "building:levels": "4"}, 12.0),
        ({"height": None}, None),
        ({"height": "20", "min_height": "6 m"}, 20.0),
        ({}, None),
    ],
)
def test_heights_are_read(tags, height_m):
    assert geojson.height_m(tags, level_m=3.0) == (None if height_m is None else pytest.approx(height_m))
    assert geojson.read(collection(feature(**tags))).buildings[0].height_m == geojson.height_m(tags)


@pytest.mark.parametrize(
    "tags",
    [
        *({"height": value} for value in (
            "tall", "~12", "12;14", "12-14", "12 km", "1,200", "-3", "0", 0, -2, "1e3", "٣", "1001", 5000, True,
            float("nan"), float("inf"), 10**400, [12], {"m": 12}, "12" * 500,
        )),
        *({"building:levels": value} for value in ("two", "2;3", "-1", 0, "0", "4 m", 1000, [], False)),
        {"height": "tall", "building:levels": "4"},
        {"height": "10", "min_height": "10"},
        {"height": "10", "min_height": "some"},
    ],
    ids=lambda tags: str(tags)[:40],
)  # fmt: skip
def test_nonsense_for_a_height_costs_the_feature(tags):
    found = geojson.read(collection(feature(**tags), feature(height="9")))
    assert [building.height_m for building in found.buildings] == [9.0]
    (failure,) = found.failures
    assert failure.what == "feature 0" and any(key in failure.reason for key in tags)


POINT = {"type": "Point", "coordinates": [LON, LAT]}
HUGE = [[[LON, LAT], [LON + 1, LAT], [LON + 1, LAT + 1], [LON, LAT]]]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def with_position(position):
    return polygon([ring()[0], position, *ring()[2:]])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (None, "expected a Feature, found None"),
        ([], r"expected a Feature, found \[\]"),
        ("Feature", "expected a Feature, found 'Feature'"),
        ({**feature(), "type": "Polygon"}, "expected a Feature, found 'Polygon'"),
        ({"type": "Feature", "geometry": polygon(ring()), "properties": [1]}, "properties must be an object"),
        ({**feature(), "geometry": None}, "no geometry"),
        (feature(7), "found 7"),
        (feature(POINT), "Polygon or a MultiPolygon, found 'Point'"),
        (feature({"type": "GeometryCollection", "geometries": [polygon(ring())]}), "found 'GeometryCollection'"),
        (feature({"type": "Polygon"}), "empty or malformed"),
        (feature(polygon()), "empty or malformed"),
        (feature({"type": "MultiPolygon", "coordinates": []}), "empty or malformed"),
        (feature({"type": "MultiPolygon", "coordinates": [[ring()], []]}), "empty or malformed"),
        (feature({"type": "MultiPolygon", "coordinates": [ring()]}), "four positions"),
        (feature(polygon(ring()[:3])), "four positions"),
        (feature(polygon("ring")), "four positions"),
        (feature(polygon(ring()[:-1])), "not closed"),
        (feature(with_position(None)), r"\[longitude, latitude\], found None"),
        (feature(with_position([LON])), "found"),
        (feature(with_position([str(LON), LAT])), "found"),
        (feature(with_position([True, LAT])), "found"),
        (feature(with_position([None, LAT])), "found"),
        (feature(with_position([float("nan"), LAT])), "not finite"),
        (feature(with_position([float("inf"), LAT])), "not finite"),
        (feature(with_position([10**400, LAT])), "not a number of degrees"),
        (feature(with_position([LON, 90.5])), "outside ±180, ±90"),
        (feature({"type": "Polygon", "coordinates": HUGE}), "km long"),
    ],
)
def test_a_malformed_feature_costs_that_feature(bad, reason):
    found = geojson.read(collection(feature(), bad, feature()))
    assert len(found.buildings) == 2 and found.num_other == 0
    (failure,) = found.failures
    assert failure.what == "feature 1"
    with pytest.raises(ValueError, match=reason):
        raise ValueError(failure.reason)


def test_failures_carry_the_features_own_name():
    bad = [{**feature(POINT), "id": "way/12"}, feature(POINT, **{"@id": "way/7"}), {**feature(POINT), "id": 3}]
    found = geojson.read(collection(*[feature()] * 4, *bad))
    assert [failure.what for failure in found.failures] == ["feature 4 (way/12)", "feature 5 (way/7)", "feature 6 (3)"]


def test_only_tagged_polygons_are_buildings_where_there_are_tags():
    park = {"type": "Feature", "geometry": polygon(ring()), "properties": {"leisure": "park"}}
    street = {"type": "Feature", "geometry": {"type": "LineString", "coordinates": ring()}, "properties": None}
    ruin = feature(building="no")
    part = {"type": "Feature", "geometry": polygon(ring()), "properties": {"building:part": "yes"}}
    found = geojson.read(collection(feature(), park, street, ruin, part))
    assert (len(found.buildings), found.num_other, found.failures) == (2, 3, [])


def test_without_tags_every_polygon_is_a_building():
    bare = {"type": "Feature", "geometry": polygon(ring()), "properties": None}
    empty_column = {**bare, "properties": {"building": None, "area": 3}}
    found = geojson.read(collection(bare, empty_column, {**bare, "geometry": POINT}))
    assert len(found.buildings) == 2 and found.num_other == 0
    assert "found 'Point'" in found.failures[0].reason


@pytest.mark.parametrize("low", [-360.0, -180.0, 0.0])
def test_a_building_across_the_antimeridian_is_in_one_piece(low):
    """Longitudes from −180 on as in RFC 7946, or from 0 or −360 on, as in shifted data."""
    across = [[(lon - low) % 360 + low, lat] for lon, lat in ring(179.9999)]
    (building,) = geojson.read(collection(feature(polygon(across)))).buildings
    lon = building.parts[0][0][:, 0]
    assert np.ptp(lon) == pytest.approx(2e-4, rel=1e-6)
    assert building.centre_lonlat[0] % 360 == pytest.approx(180.0)


def swap(document):
    text = json.dumps(document)
    return json.loads(text, object_hook=lambda part: _swapped(part) if part.get("type") == "Polygon" else part)


def _swapped(geometry):
    return {**geometry, "coordinates": [[[lat, lon] for lon, lat in ring] for ring in geometry["coordinates"]]}


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        ([], "from a path or a mapping, got list"),
        (7, "from a path or a mapping, got int"),
        ({}, "expected a FeatureCollection, found None"),
        (feature(), "expected a FeatureCollection, found 'Feature'"),
        ({"type": ["FeatureCollection"]}, "expected a FeatureCollection, found"),
        ({"type": "FeatureCollection"}, "features must be a list, found None"),
        ({"type": "FeatureCollection", "features": {"0": feature()}}, "features must be a list, found"),
        (swap(collection(feature(polygon(ring(151.2, -33.9))))), "latitude and longitude look swapped"),
        (
            collection(feature(polygon(ring(691_000.0, 5_334_000.0, 20.0)))),
            "1 of 1 buildings lie off .*degrees",
        ),
    ],
)
def test_a_wrong_document_is_refused_with_the_cause(document, cause):
    with pytest.raises(ValueError, match=cause):
        geojson.read(document)


@pytest.mark.parametrize("name", ["urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:EPSG::4326", "EPSG:4326"])
def test_wgs84_may_be_named(name):
    crs = {"type": "name", "properties": {"name": name}}
    assert len(geojson.read(collection(feature(), crs=crs)).buildings) == 1


@pytest.mark.parametrize(
    "crs",
    [{"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}, "EPSG:25832", {"properties": 3}, [1]],
)
def test_another_crs_is_refused(crs):
    with pytest.raises(ValueError, match="crs is .*only WGS 84"):
        geojson.read(collection(feature(), crs=crs))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "not valid JSON"),
        (b'{"type": "FeatureCollection", "features": [', "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"type": "FeatureCollection", "features": [' + b"9" * 5000 + b"]}", "not valid JSON"),
        (b"null", "expected a FeatureCollection, found None"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, cause):
    path = tmp_path / "town.geojson"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"town\.geojson: .*{cause}"):
        geojson.read(path)


def test_files_are_read_with_and_without_a_byte_order_mark(tmp_path):
    text = json.dumps(collection(feature(height="9 m", name="Müllerstraße")), ensure_ascii=False)
    for encoding in ("utf-8", "utf-8-sig"):
        path = tmp_path / "town.geojson"
        path.write_text(text, encoding)
        assert geojson.read(str(path)).buildings[0].height_m == 9.0
    with pytest.raises(FileNotFoundError, match=r"missing\.geojson"):
        geojson.read(tmp_path / "missing.geojson")


def test_deeply_nested_coordinates_cost_the_feature():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    found = geojson.read(collection(feature(), feature({"type": "Polygon", "coordinates": deep})))
    assert len(found.buildings) == 1 and len(found.failures) == 1
