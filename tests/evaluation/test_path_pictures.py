"""Pictures of paths: what is drawn where, that it follows its numbers, and what cannot be drawn."""

import functools
import io

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from raymap.data.path_table import UNKNOWN_KIND, PathTable
from raymap.evaluation import path_pictures
from raymap.evaluation.drawing import SERIES

GREY = to_rgb("#c9cdd2")


def table(num=8, offset_db=0.0, scattered=False, gap=False, num_paths=3):
    """Paths on num x num receivers, 5 m apart, of a transmitter in their middle; a gap is a quarter without receivers.

    Scattered receivers stand on no grid.
    """
    rng = np.random.default_rng(0)
    x_m, y_m = (part.ravel() for part in np.meshgrid(np.arange(num) * 5.0, np.arange(num) * 5.0))
    shift = rng.uniform(-2, 2, (2, num**2)) * scattered
    receivers_m = np.stack([x_m + shift[0], y_m + shift[1], np.ones(num**2)], axis=1)
    transmitter_m = np.array([2.5 * num + 0.3, 2.5 * num, 20.0])
    away_m = transmitter_m - receivers_m
    distance_m = np.linalg.norm(away_m, axis=1)
    later = np.arange(num_paths)
    shape = (num**2, num_paths)
    found = PathTable(
        receivers_m, transmitter_m, 3.5e9, -40 - 20 * np.log10(distance_m)[:, None] - 6 * later + offset_db,
        distance_m[:, None] / 3e8 * (1 + 0.3 * later), np.arccos(away_m[:, 2] / distance_m)[:, None] + 0.1 * later,
        np.broadcast_to(np.arctan2(away_m[:, 1], away_m[:, 0])[:, None], shape), np.full(shape, UNKNOWN_KIND),
        np.ones(shape, bool),
    )  # fmt: skip
    return found.take((x_m > x_m.mean()) | (y_m > y_m.mean())) if gap else found


def noisy(size=1.0, seed=1, **how):
    true = table(**how)
    rng = np.random.default_rng(seed)
    values = true.values + rng.normal(0, size, true.values.shape) * [2.0, 2e-8, 0.03, 0.05]
    values[..., 1:3] = np.clip(values[..., 1:3], 0, 3.1)
    return PathTable.from_values(true, true.receivers_m, values)


def image(png):
    assert png.startswith(b"\x89PNG")
    return imread(io.BytesIO(png))[..., :3]


def share(png, color, tolerance=0.012):
    return (np.abs(image(png) - np.array(color[:3])).max(axis=-1) < tolerance).mean()


@functools.cache
def perfect(**how):
    """Maps of a prediction without an error."""
    return path_pictures.first_path_maps(table(**how), table(**how))


SCORES = {
    "room": {"0.05": {"a": {"mean": 9.0, "low": 8.0, "high": 10.0}}, "0.1": {"a": {"mean": 4.0, "low": 3, "high": 5}}}
}
PICTURES = {
    "curves": lambda size: path_pictures.error_curves(table(), {"a": noisy(size), "$b": noisy(2)}),
    "maps": lambda size: path_pictures.first_path_maps(table(), noisy(size)),
    "responses": lambda size: path_pictures.impulse_responses(table(), {"a": noisy(size), "$b": noisy(2)}, [3, 40]),
    "rates": lambda size: path_pictures.error_by_rate({f"${size}": SCORES["room"]}),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_as_wide_as_a_page_and_follow_what_they_show(name):
    draw = PICTURES[name]
    first = draw(1.0)
    height, width = image(first).shape[:2]
    assert width == 1800 and 500 < height < 2400
    assert first == draw(1.0) != draw(3.0)


def test_too_much_power_is_red_everywhere_and_too_little_blue():
    red, blue = (colormaps["RdBu_r"](level) for level in (1.0, 0.0))
    panel = 1 / 25  # of the picture, at the least
    more, less = (path_pictures.first_path_maps(table(), table(offset_db=offset)) for offset in (-3.0, 3.0))
    assert share(less, red) > panel > share(less, blue)
    assert share(more, blue) > panel > share(more, red)


def test_where_nobody_listens_it_is_grey():
    whole, gap = perfect(), perfect(gap=True)
    assert share(whole, GREY) < 0.01
    height, width = image(gap).shape[:2]
    panel = (1800 / 4 * 0.85) ** 2 / (height * width)
    assert share(gap, GREY) > 12 * panel / 4 * 0.7  # a quarter of twelve panels
    # Dots leave the ground between them bare.
    assert share(perfect(scattered=True), GREY) > 12 * panel / 4


def test_a_strongest_path_that_is_not_there_is_grey():
    true = table()
    valid = true.valid.copy()
    valid[:16] = False  # two rows of eight
    missing = PathTable(**(vars(true) | {"valid": valid}))
    png = path_pictures.first_path_maps(missing, missing)
    assert share(png, GREY) > share(perfect(), GREY) + 0.05


def test_azimuths_have_the_same_colour_either_side_of_the_turn():
    round_ = path_pictures._COLORMAP["azimuth"]
    assert np.allclose(round_(0.0), round_(1.0), atol=0.01)
    lightness = np.array([round_(level)[:3] for level in (0.0, 0.25, 0.5, 0.75)]) @ [0.3, 0.6, 0.1]
    assert lightness[0] > lightness[1] + 0.2 and lightness[1] > lightness[2] + 0.2  # also without seeing colours
    assert lightness[3] > lightness[2] + 0.2


def test_a_better_method_has_its_marks_further_left():
    png = path_pictures.error_curves(table(), {"worse": noisy(4.0), "better": noisy(0.5)})
    upper = image(png)[: image(png).shape[0] // 2]
    for left, right in ((110, 470), (490, 830), (850, 1190), (1210, 1540)):  # the panels
        at = [
            np.median(np.nonzero(np.abs(upper[:, left:right] - to_rgb(color)).max(-1) < 0.01)[1])
            for color in SERIES[:2]
        ]
        assert at[1] < at[0]


def test_a_stem_stands_for_every_path():
    true = table()
    one = PathTable(**(vars(true) | {"valid": np.broadcast_to([True, False, False], true.valid.shape)}))
    grey = to_rgb("#b4bac1")
    stems = [share(path_pictures.impulse_responses(table, {"a": true}, [0]), grey) for table in (one, true)]
    assert stems[1] > 1.5 * stems[0] > 0


def test_what_cannot_be_drawn_is_named():
    true = table()
    with pytest.raises(ValueError, match="no method to draw"):
        path_pictures.error_curves(true, {})
    with pytest.raises(ValueError, match=r"0 to 63 .* got \[64\]"):
        path_pictures.impulse_responses(true, {"a": true}, [64])
    with pytest.raises(ValueError, match="other receivers"):
        path_pictures.first_path_maps(true, table(scattered=True))
    nothing = {"mean": None, "low": None, "high": None}
    with pytest.raises(ValueError, match="no positive values of mixed MSE"):
        path_pictures.error_by_rate({"room": {"0.1": {"a": nothing}}})
