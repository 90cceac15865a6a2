"""Footprints to a scene on the globe: right place, right cells, nothing lost in silence, nothing that crashes it."""

import copy
import json
import math
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raymap.data import footprints, place

pytest.importorskip("rasterio", reason="footprints need the extra geo")
pyproj = pytest.importorskip("pyproj", reason="footprints need the extra geo")
pytest.importorskip("shapely", reason="footprints need the extra geo")

GEOD = pyproj.Geod(ellps="WGS84")
PLACES = {
    "munich": (11.5755, 48.1374),
    "sydney": (151.2093, -33.8688),
    "quito, between two UTM zones and on the equator": (-78.0, 0.0),
    "tromsø": (18.9553, 69.6492),
    "fiji, on the antimeridian": (180.0, -16.8),
    "svalbard": (15.6, 78.2),
}
MUNICH = PLACES["munich"]


def at(centre, x_m, y_m):
    """Longitude within ±180 and latitude of a point so far east and north of a centre, along geodesics."""
    lon, lat, _ = GEOD.fwd(*centre, math.degrees(math.atan2(x_m, y_m)), math.hypot(x_m, y_m))
    return [(lon + 180) % 360 - 180, lat]


def box(centre, west, south, east, north):
    return [at(centre, x, y) for x, y in ((west, south), (east, south), (east, north), (west, north), (west, south))]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry, **properties):
    return {"type": "Feature", "geometry": geometry, "properties": {"building": "yes", **properties}}


def collection(*features):
    return {"type": "FeatureCollection", "features": list(features)}


def accounted(town):
    return town.num_features == town.num_buildings + town.num_outside + town.num_other + len(town.failures)


def read(*features, shape=(60, 80), cell_m=1.0, centre=MUNICH, **options):
    town = footprints.read(collection(*features), shape=shape, cell_m=cell_m, centre_lonlat=centre, **options)
    assert accounted(town)
    return town


def block(row, column, rows, columns, shape=(60, 80), centre=MUNICH):
    """The ring around some cells of the 1 m map around a centre."""
    west, north = column - shape[1] / 2, shape[0] / 2 - row
    return box(centre, west, north - rows, west + columns, north)


@pytest.mark.parametrize("centre", PLACES.values(), ids=PLACES)
def test_the_map_is_true_to_scale_and_to_north(centre):
    """Two kilometres in every direction, measured along geodesics, are two kilometres on the map to 1e-6."""
    corner = feature(polygon(box(centre, -10, -10, 10, 10)))
    town = footprints.read(collection(corner), shape=(4000, 4000), cell_m=1.0, centre_lonlat=centre)
    middle = town.xy_m(centre)
    np.testing.assert_allclose(middle, (2000.0, 2000.0), atol=1e-3)
    for bearing in np.radians(np.arange(0, 360, 30)):
        offset = 2000 * np.array([math.sin(bearing), math.cos(bearing)])
        np.testing.assert_allclose(town.xy_m(at(centre, *offset)) - middle, offset * (1, -1), atol=2e-3)


@pytest.mark.parametrize("centre", PLACES.values(), ids=PLACES)
def test_a_footprint_covers_exactly_its_cells(centre):
    rows, columns = (7, 19), (31, 44)
    ring = block(rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0], centre=centre)
    # The centres of the outermost cells are half a metre inside.
    town = read(feature(polygon(ring), height="21 m"), centre=centre)
    wanted = np.zeros((60, 80), np.float32)
    wanted[slice(*rows), slice(*columns)] = 21.0
    np.testing.assert_array_equal(town.scene.building_m, wanted)


@pytest.mark.parametrize("centre", PLACES.values(), ids=PLACES)
def test_without_a_shape_the_map_holds_everything_and_a_margin(centre):
    town = footprints.read(
        collection(feature(polygon(box(centre, -90, -30, -70, 10))), feature(polygon(box(centre, 100, 40, 130, 60)))),
        cell_m=2.0,
    )
    built = town.scene.building_m > 0
    rows, columns = np.flatnonzero(built.any(1)), np.flatnonzero(built.any(0))
    margins = (rows[0], built.shape[0] - 1 - rows[-1], columns[0], built.shape[1] - 1 - columns[-1])
    assert all(footprints.MARGIN_M <= margin * 2.0 + 2.0 <= footprints.MARGIN_M + 8.0 for margin in margins)
    assert built.sum() * 4.0 == pytest.approx(20 * 40 + 30 * 20, rel=0.15)
    assert (town.num_buildings, town.num_default_heights) == (2, 2)


def test_a_cell_is_built_if_its_centre_is():
    covers_centres = block(10.45, 20.45, 1.1, 2.1)  # rows 10.45 to 11.55, columns 20.45 to 22.55
    misses_centres = block(30.6, 40.6, 0.8, 5.0)
    town = read(feature(polygon(covers_centres)), feature(polygon(misses_centres)))
    assert np.argwhere(town.scene.building_m > 0).tolist() == [
        [10, 20],
        [10, 21],
        [10, 22],
        [11, 20],
        [11, 21],
        [11, 22],
    ]
    assert town.failures == (("feature 1", "it covers no centre of a cell of 1 m"),)


def test_courtyards_stay_open_and_may_hold_a_building():
    yard = block(14, 14, 12, 12)
    town = read(
        feature(polygon(block(10, 10, 20, 20), yard), height="18"), feature(polygon(block(18, 18, 4, 4)), height="3")
    )
    wanted = np.zeros((60, 80))
    wanted[10:30, 10:30] = 18
    wanted[14:26, 14:26] = 0
    wanted[18:22, 18:22] = 3
    np.testing.assert_array_equal(town.scene.building_m, wanted)


@pytest.mark.parametrize("order", [1, -1])
def test_the_higher_of_two_buildings_wins_in_either_order(order):
    low, high = (
        feature(polygon(block(10, 10, 20, 20)), height="8"),
        feature(polygon(block(20, 20, 20, 20)), height="30"),
    )
    hidden = feature(polygon(block(22, 22, 4, 4)), height="5")
    town = read(*[low, high, hidden][::order])
    assert town.scene.building_m[25, 25] == 30 and town.scene.building_m[12, 12] == 8
    assert (town.scene.building_m == 8).sum() == 300
    assert town.num_buildings == 3 and not town.failures


def test_all_parts_of_a_multipolygon_are_painted():
    parts = {"type": "MultiPolygon", "coordinates": [[block(2, 2, 5, 5)], [block(40, 50, 6, 7), block(42, 52, 2, 2)]]}
    town = read(feature(parts, **{"building:levels": "5"}), level_m=3.2)
    assert town.scene.building_m[3, 3] == np.float32(16.0)
    assert (town.scene.building_m > 0).sum() == 25 + 42 - 4
    assert (town.num_buildings, town.num_default_heights) == (1, 0)


def test_a_footprint_cut_at_the_antimeridian_has_no_seam():
    """RFC 7946, 3.1.9: what crosses ±180° is to be cut in two parts there; undivided it is taken as well."""
    centre = PLACES["fiji, on the antimeridian"]
    whole = block(20, 30, 9, 23, centre=centre)
    west, east = whole[0][0], whole[1][0]
    (south,), (north,) = {round(lat, 9) for _, lat in whole[:2]}, {round(lat, 9) for _, lat in whole[2:4]}
    halves = [
        [[[a, south], [b, south], [b, north], [a, north], [a, south]]] for a, b in ((west, 180.0), (-180.0, east))
    ]
    undivided = read(feature(polygon(whole)), centre=centre).scene.building_m
    cut = read(feature({"type": "MultiPolygon", "coordinates": halves}), centre=centre).scene.building_m
    assert west > 179 and east < -179 and (cut > 0).sum() == 9 * 23
    np.testing.assert_array_equal(cut, undivided)


def test_missing_heights_take_the_default_and_are_counted():
    town = read(
        feature(polygon(block(2, 2, 5, 5))), feature(polygon(block(20, 20, 5, 5)), height="7"), default_height_m=25.0,
    )  # fmt: skip
    assert town.scene.building_m[3, 3] == 25.0 and town.num_default_heights == 1


def test_what_is_off_the_map_is_counted():
    far = feature(polygon(block(10, 500, 5, 5)))
    further = feature(polygon(box(PLACES["sydney"], 0, 0, 20, 20)))
    over_the_edge = feature(polygon(block(10, 75, 10, 40)))
    town = read(far, further, over_the_edge)
    assert (town.num_buildings, town.num_outside) == (1, 2)
    assert (town.scene.building_m > 0).sum() == 50


def crossing(nick_m):
    """A 20 m square whose last side passes its first corner by so much."""
    west, south, east, north = -10, -10, 10, 10
    corners = (
        (west, south),
        (east, south),
        (east, north),
        (west, north),
        (west, south - nick_m),
        (west + nick_m, south),
    )
    return [at(MUNICH, x, y) for x, y in (*corners, corners[0])]


def test_outlines_that_cross_themselves_a_little_are_repaired():
    town = read(feature(polygon(crossing(1.0))))
    assert (town.scene.building_m > 0).sum() == pytest.approx(400, abs=5) and not town.failures


def bow_tie():
    return [at(MUNICH, x, y) for x, y in ((-10, -10), (10, 10), (10, -10), (-10, 10), (-10, -10))]


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        (polygon(bow_tie()), "area is .*Self-intersection"),
        (polygon([at(MUNICH, x, y) for x, y in ((-10, -10), (10, 20), (10, -10), (-10, 4), (-10, -10))]), "repaired"),
        (polygon(box(MUNICH, -10, -10, 10, 10), box(MUNICH, 5, 5, 20, 20)), "outline cannot be repaired: .*; the area"),
        (polygon(box(MUNICH, -10, -10, 10, 10), box(MUNICH, 30, 30, 40, 40)), "outline cannot be repaired"),
        (polygon([at(MUNICH, x, y) for x, y in ((0, 0), (5, 5), (10, 10), (0, 0))]), "its area is"),
        (polygon([at(MUNICH, 0, 0)] * 4), "its area is 0 m²"),
        ({"type": "MultiPolygon", "coordinates": [[block(2, 2, 5, 5)], [bow_tie()]]}, "its area is"),
    ],
)
def test_outlines_that_are_no_footprint_are_left_out_with_the_reason(geometry, reason):
    town = read(feature(polygon(block(2, 2, 5, 5))), feature(geometry))
    (failure,) = town.failures
    assert failure.what == "feature 1" and (town.scene.building_m > 0).sum() == 25
    with pytest.raises(ValueError, match=reason):
        raise ValueError(failure.reason)


HOUSE = feature(polygon(block(10, 10, 10, 10)))


@pytest.mark.parametrize(
    ("features", "options", "cause"),
    [
        ([], {}, "no building can be used; none of its features is one"),
        ([feature(None)], {}, "no building can be used; feature 0: it has no geometry"),
        ([feature(polygon(bow_tie()))], {}, "no building can be used; feature 0: its area is"),
        ([HOUSE, feature(polygon(box((0, 0), 0, 0, 9, 9)))], {}, "feature 0 is .* km from|feature 1 is 5,... km from"),
        ([HOUSE, HOUSE, feature(polygon(box(MUNICH, 0, 30_000, 9, 30_009)))], {}, "feature 2 is 30 km from the middle"),
        ([HOUSE, feature(polygon(box(MUNICH, 0, 21_000, 100, 21_100)))], {}, "by 21.* km is too large"),
        (
            [HOUSE, feature(polygon(box(MUNICH, 9000, 12_000, 9100, 12_100)))],
            {},
            "more than 100,000,000 cells",
        ),
        ([HOUSE], {"shape": (30_000, 100)}, "0.1 km by 30 km is too large, 20 km is the limit"),
        ([HOUSE], {"shape": (15_000, 15_000)}, "more than 100,000,000 cells"),
        ([HOUSE], {"shape": (0, 10)}, "Grid.shape must be two positive integers"),
        ([HOUSE], {"shape": (64, 64), "centre_lonlat": (11.5, 48.0)}, "nearest to centre_lonlat=.* is 16 km away"),
        ([HOUSE], {"shape": (64, 64), "centre_lonlat": MUNICH[::-1]}, "look swapped"),
        ([HOUSE], {"shape": (4, 4), "centre_lonlat": MUNICH}, "1 buildings lie outside the map"),
        ([HOUSE], {"shape": (64, 64), "centre_lonlat": (11.5, 480.0)}, "longitude, latitude.*480.0"),
        ([HOUSE], {"shape": (64, 64), "centre_lonlat": (math.nan, 48.0)}, "longitude, latitude.*nan"),
        ([HOUSE], {"centre_lonlat": MUNICH}, "centre_lonlat needs the shape"),
        ([HOUSE], {"cell_m": 0.0}, "cell_m must be a positive length"),
        ([HOUSE], {"cell_m": 50.0}, "covers no centre of a cell of 50 m"),
        ([HOUSE], {"default_height_m": -1.0}, "default_height_m must be a positive length"),
        ([HOUSE], {"level_m": math.inf}, "level_m must be a positive length"),
        ([HOUSE], {"frequency_hz": 0.0}, "frequency_hz must be positive"),
    ],
)
def test_what_makes_no_map_is_refused_with_the_cause(features, options, cause):
    with pytest.raises(ValueError, match=cause):
        footprints.read(collection(*features), **options)


@pytest.mark.parametrize("library", ["shapely", "rasterio.features", "pyproj"])
def test_a_missing_library_names_the_extra(library, monkeypatch):
    place._from_lonlat.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"raymap\[geo\]"):
        read(HOUSE)


# Fuzz: whatever is in the file, the end is a ValueError, or a map on which every feature is accounted for.

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-400, 400) | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from(["Polygon", "MultiPolygon", "Feature", "Point", "12 m", "yes", "no"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["type", "coordinates", "geometry", "properties", "height"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
WHOLE = collection(
    feature(polygon(block(10, 10, 20, 20), block(14, 14, 12, 12)), height="18 m", min_height="2"),
    feature({"type": "MultiPolygon", "coordinates": [[block(40, 2, 5, 5)], [block(40, 10, 5, 5)]]}),
    feature(polygon(block(40, 50, 10, 20)), **{"building:levels": "4"}),
)
FUZZ = settings(max_examples=70, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def spots(node):
    """Every (container, key) of a document."""
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from spots(node[key])


def check(source, **options):
    try:
        town = footprints.read(source, shape=(60, 80), centre_lonlat=MUNICH, **options)
    except ValueError as error:
        assert str(error)
        return None
    assert accounted(town) and town.num_buildings >= 1 and town.scene.building_m.any()
    assert all(what and reason for what, reason in town.failures)
    return town


@FUZZ
@given(data=st.data())
def test_any_change_to_a_document_ends_well(data):
    document = copy.deepcopy(WHOLE)
    for _ in range(2):
        container, key = data.draw(st.sampled_from(list(spots(document))))
        container[key] = data.draw(ANYTHING)
    check(document)


@FUZZ
@given(data=st.data())
def test_any_change_to_a_feature_costs_at_most_that_feature(data):
    document = copy.deepcopy(WHOLE)
    features = document["features"]
    index = data.draw(st.integers(0, len(features) - 1))
    container, key = data.draw(st.sampled_from([(features, index), *spots(features[index])]))
    container[key] = data.draw(ANYTHING)
    town = check(document)
    assert town is not None and town.num_features == len(features)
    assert all(failure.what.startswith(f"feature {index}") for failure in town.failures)
    others = read(*(feature for number, feature in enumerate(WHOLE["features"]) if number != index))
    assert (town.scene.building_m >= others.scene.building_m).all()


@FUZZ
@given(data=st.data())
def test_any_change_to_a_file_ends_well(data, tmp_path_factory):
    text = bytearray(json.dumps(WHOLE).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at_byte = data.draw(st.integers(0, len(text) - 1))
        text[at_byte : at_byte + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=4))
    path = tmp_path_factory.getbasetemp() / "fuzzed.geojson"
    path.write_bytes(text)
    check(path)


@FUZZ
@given(
    st.lists(st.tuples(st.integers(-25, 25), st.integers(-25, 25)), min_size=3, max_size=9),
    st.lists(st.tuples(st.integers(-25, 25), st.integers(-25, 25)), max_size=5),
    st.sampled_from(list(PLACES.values())),
)
def test_any_outline_is_left_out_or_keeps_its_area(corners, hole, centre):
    """The reference is the shoelace formula: self-crossing outlines either agree with it or are refused."""
    rings = [[at(centre, *corner) for corner in (*ring, ring[0])] for ring in (corners, hole) if len(ring) > 2]
    house = feature(polygon(block(0, 0, 3, 3, centre=centre)), height="5")
    town = footprints.read(
        collection(house, feature(polygon(*rings), height="9")), shape=(240, 320), cell_m=0.25, centre_lonlat=centre
    )
    assert accounted(town)
    painted_m2 = (town.scene.building_m == 9).sum() / 16
    if town.failures:
        assert town.failures[0].what == "feature 1" and painted_m2 == 0
    else:
        wanted_m2 = shoelace_m2(corners) - (shoelace_m2(hole) if len(hole) > 2 else 0)
        assert painted_m2 == pytest.approx(wanted_m2, abs=0.02 * wanted_m2 + 12)


def shoelace_m2(corners):
    x, y = np.array(corners, float).T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
