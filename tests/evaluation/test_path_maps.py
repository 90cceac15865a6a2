"""Maps of a table of paths: sums and spreads as physics has them, and pictures that follow the receivers."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from raymap.data.path_table import UNKNOWN_KIND, PathTable
from raymap.evaluation import path_maps
from raymap.physics import channel_response

GREY = to_rgb("#c9cdd2")


def table(num=8, scattered=False, num_paths=3, dark=2):
    """Random paths at num x num receivers 5 m apart, or off that grid; the first ``dark`` receivers have none."""
    rng = np.random.default_rng(3)
    x_m, y_m = (part.ravel() for part in np.meshgrid(np.arange(num) * 5.0, np.arange(num) * 5.0))
    shift = rng.uniform(-2, 2, (2, num**2)) * scattered
    shape = (num**2, num_paths)
    valid = np.ones(shape, bool)
    valid[:dark] = False
    return PathTable(
        np.stack([x_m + shift[0], y_m + shift[1], np.ones(num**2)], 1), np.array([-50.0, 0.0, 20.0]), 3.5e9,
        -np.sort(rng.uniform(60, 100, shape)), rng.uniform(1e-7, 9e-7, shape), rng.uniform(0.5, 2.5, shape),
        rng.uniform(-3, 3, shape), np.full(shape, UNKNOWN_KIND), valid,
    )  # fmt: skip


def without(source, name, rows, path):
    """The table with one number of some receivers not known."""
    values = getattr(source, name).copy()
    values[rows, path] = np.nan
    return PathTable(**(vars(source) | {name: values}))


def image(png):
    return imread(io.BytesIO(png))[..., :3]


def share(png, color):
    return (np.abs(image(png) - np.array(color)).max(axis=-1) < 0.012).mean()


def test_maps_are_what_physics_says_of_the_same_paths():
    paths = table()
    found, lit = path_maps.maps(paths), paths.valid.any(1)
    assert set(found) == set(path_maps.QUANTITIES)
    total = (np.abs(paths.gain) ** 2).sum(1)
    assert np.allclose(found["power_db"][lit], 10 * np.log10(total[lit]), atol=1e-4)
    for name, wanted in {
        "delay_spread_s": channel_response.delay_spread_s(paths.gain, paths.delay_s),
        "azimuth_spread_rad": channel_response.angular_spread_rad(paths.gain, paths.azimuth_rad),
        "zenith_spread_rad": channel_response.angular_spread_rad(paths.gain, paths.zenith_rad),
    }.items():
        assert np.allclose(found[name][lit], wanted[lit], rtol=1e-5), name
    assert np.array_equal(found["delay_s"], paths.delay_s[:, 0], equal_nan=True)
    assert np.array_equal(found["num_paths"], 3 * lit) and found["num_paths"].dtype == np.int32


def test_where_no_path_arrives_nothing_is_known_but_that():
    found = path_maps.maps(table(dark=2))
    for name, values in found.items():
        if name != "num_paths":
            assert np.isnan(values[:2]).all() and np.isfinite(values[2:]).all(), name
    assert not found["num_paths"][:2].any()


def test_a_number_that_is_not_known_leaves_its_path_out_of_the_maps_that_need_it():
    paths = table(dark=0)
    known, found = path_maps.maps(paths), path_maps.maps(without(paths, "delay_s", [5], 1))
    unlike = {name for name in known if not np.array_equal(known[name], found[name], equal_nan=True)}
    assert unlike == {"delay_spread_s"}
    rest = [0, 2]
    wanted = channel_response.delay_spread_s(paths.gain[5, rest], paths.delay_s[5, rest])
    assert found["delay_spread_s"][5] == pytest.approx(wanted, rel=1e-5)


def test_a_grid_is_cells_and_other_places_are_dots():
    raster, scatter = (path_maps.draw(table(scattered=scattered, dark=0), ["power_db"]) for scattered in (False, True))
    assert share(raster, GREY) < 0.02 < 0.15 < share(scatter, GREY)


def test_cells_without_a_path_are_grey_and_all_maps_fit_on_one_picture():
    lit, dark = (path_maps.draw(table(dark=dark), ["azimuth_spread_rad"]) for dark in (0, 32))
    assert share(dark, GREY) > share(lit, GREY) + 0.15  # half the map
    whole = image(path_maps.draw(table()))
    assert whole.shape[1] == 1800 > image(lit).shape[1]


def test_nothing_of_a_picture_is_cut_off():
    for names in (["delay_s"], list(path_maps.QUANTITIES)):
        picture = image(path_maps.draw(table(), names))
        edge = np.concatenate([picture[:3].ravel(), picture[-3:].ravel(), picture[:, :3].ravel()])
        assert (edge == 1.0).all(), names


def test_a_map_that_there_is_not_is_named():
    with pytest.raises(ValueError, match="no map 'gain'; there are power_db, delay_s"):
        path_maps.draw(table(), ["gain"])
