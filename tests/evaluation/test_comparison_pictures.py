"""Methods side by side: what is drawn in which colour, and what cannot be drawn."""

import io

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.image import imread

from raymap.evaluation import comparison_pictures


def item(gains=(-97.0,), true_db=-97.0, shape=(16, 16), **changes):
    building_m = np.zeros(shape)
    building_m[:4] = 12.0
    predicted = {f"method {index}": (np.full(shape, gain), 0.01) for index, gain in enumerate(gains)}
    return {
        "title": "a town for $5", "true_db": np.full(shape, true_db), "outdoor": building_m == 0,
        "building_m": building_m, "vehicle_m": np.zeros(shape), "predicted": predicted, "tx": (8, 8), "cell_m": 4.0,
    } | changes  # fmt: skip


def share(png, color, tolerance=0.02):
    """Share of the picture's pixels of a colour."""
    image = imread(io.BytesIO(png))[..., :3]
    return (np.abs(image - np.array(color[:3])).max(axis=-1) < tolerance).mean()


def test_a_perfect_map_has_no_colour_in_its_error():
    png = comparison_pictures.comparison([item()])
    red, blue = (colormaps["RdBu_r"](level) for level in (0.9, 0.1))
    assert share(png, red) < 0.005 and share(png, blue) < 0.005  # the colour bar alone
    assert share(png, colormaps["inferno"](0.5)) > 0.2


def test_too_much_gain_is_red_and_too_little_is_blue():
    red, blue = (colormaps["RdBu_r"](level) for level in (1.0, 0.0))
    more, less = (comparison_pictures.comparison([item([gain])]) for gain in (-77.0, -117.0))
    assert share(more, red) > 0.1 > share(more, blue) and share(less, blue) > 0.1 > share(less, red)


def test_gains_are_cut_as_in_the_scores():
    """What lies below the floor is a prediction of the floor: no error where the truth is the floor."""
    png = comparison_pictures.comparison([item([-200.0], true_db=-147.0)])
    assert share(png, colormaps["RdBu_r"](0.0)) < 0.005


def test_buildings_are_grey_in_every_panel_and_vehicles_are_marked():
    grey, blue = np.array([0xA3, 0xA8, 0xAE]) / 255, np.array([0x0B, 0x6E, 0x99]) / 255
    plain = comparison_pictures.comparison([item()])
    height, width = imread(io.BytesIO(plain)).shape[:2]
    panel = 1.8 * 200
    assert share(plain, grey) * width * height == pytest.approx(4 * panel**2 / 4, rel=0.05)  # 4 panels, a quarter each
    vehicle_m = np.zeros((16, 16))
    vehicle_m[12:14, 2:6] = 1.5
    marked = comparison_pictures.comparison([item(vehicle_m=vehicle_m)])
    assert share(plain, blue) < 0.001 < share(marked, blue)


def test_long_names_are_broken_into_lines():
    gains = (-97.0,) * 6
    predicted = {"a law with a very long name" if i == 3 else name: p for i, (name, p) in enumerate(
        item(gains)["predicted"].items())}  # fmt: skip
    short, long = (imread(io.BytesIO(comparison_pictures.comparison([one]))).shape for one in
                   (item(gains), item(predicted=predicted)))  # fmt: skip
    assert long[1] == short[1] and long[0] - short[0] == pytest.approx(2 * 0.15 * 200, abs=2)  # two lines more


def test_comparisons_refuse_what_cannot_be_compared():
    with pytest.raises(ValueError, match="nothing to draw"):
        comparison_pictures.comparison([])
    with pytest.raises(ValueError, match="nothing to draw"):
        comparison_pictures.comparison([item(())])
    with pytest.raises(ValueError, match="has maps by"):
        comparison_pictures.comparison([item(), item((-90.0, -80.0))])
    with pytest.raises(ValueError, match="cells of 1.0 m"):
        comparison_pictures.comparison([item(), item(cell_m=1.0)])
    with pytest.raises(ValueError, match="other shapes"):
        comparison_pictures.comparison([item(), item(shape=(16, 8))])


def score(mean, half=None):
    return {"mean": mean, "low": None if half is None else mean - half, "high": None if half is None else mean + half}


def test_intervals_take_a_row_per_method_of_any_split():
    few = comparison_pictures.intervals({"here": {"a": score(0.2, 0.1)}}, "a")
    more = comparison_pictures.intervals({"here": {"a": score(0.2)}, "there": {"a": score(0.2), "b": score(2.0)}}, "x")
    (low, width), (high, other) = (imread(io.BytesIO(png)).shape[:2] for png in (few, more))
    assert width == other == 1400 and high - low == pytest.approx(0.27 * 200, abs=1)
    with pytest.raises(ValueError, match="no method has a positive NMSE"):
        comparison_pictures.intervals({"here": {"a": score(None)}}, "a")
