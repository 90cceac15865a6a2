"""Charts of scores: what stands where, and what cannot be drawn."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from raymap.evaluation import charts
from raymap.evaluation.drawing import SERIES

RINGS = {"0-32m": "0–32 m", "32-64m": "32–64 m", "64m+": "64 m+"}


def rows(*methods):
    rng = np.random.default_rng(0)
    return [
        {"method": name, "scene": image // 2, "raw/all/nmse": rng.uniform(), "raw/outdoor/rmse_db": rng.uniform()}
        for name in methods
        for image in range(8)
    ]


def profile(*means, half=0.1):
    """Scores of one method in the first rings."""
    return {
        ring: {"mean": mean, "low": mean - half, "high": mean + half} for ring, mean in zip(RINGS, means, strict=False)
    }


def size(png):
    height, width = imread(io.BytesIO(png)).shape[:2]
    return height, width


def pixels(png, index, legend=False):
    """(x, y) of the pixels in the colour of a method, y upwards; of the chart, which is left of the legend."""
    image = imread(io.BytesIO(png))[..., :3]
    y, x = np.nonzero(np.abs(image - np.array(to_rgb(SERIES[index]))).max(axis=-1) < 0.01)
    kept = x < image.shape[1] * (1 if legend else 0.7)
    return x[kept], image.shape[0] - y[kept]


def test_charts_are_of_one_width_and_as_high_as_their_methods_need():
    few, many = rows("a", "b"), rows(*(f"method {index}" for index in range(30)))
    for chart in (charts.error_curves, charts.method_intervals):
        assert size(chart(few))[1] == size(chart(many))[1] == 1800
        assert size(chart(many))[0] > 0.2 * 200 * 30  # a line of text each
    profiles = charts.error_profiles({"": RINGS}, {f"method {index}": profile(3.0) for index in range(30)})
    assert size(profiles)[1] == 1800 and size(profiles)[0] > 0.2 * 200 * 30


def test_charts_name_a_missing_column():
    with pytest.raises(ValueError, match="raw/los/nmse"):
        charts.error_curves(rows("a"), "raw/los/nmse")
    with pytest.raises(ValueError, match="raw/los/nmse"):
        charts.method_intervals(rows("a"), key="raw/los/nmse")


def test_a_profile_rises_where_errors_do():
    png = charts.error_profiles({"distance": RINGS}, {"a": profile(2.0, 4.0, 6.0), "b": profile(6.0, 4.0, 2.0)})
    for index, sign in ((0, 1), (1, -1)):
        x, y = pixels(png, index)
        assert sign * np.corrcoef(x, y)[0, 1] > 0.9


def test_a_profile_is_logarithmic_where_errors_differ_by_much():
    """Equal factors are equal steps then; where the axis is linear, equal differences are."""
    for means, ratio in (((1.0, 3.0, 9.0), 1.0), ((10.0, 14.0, 22.0), 2.0)):
        found = charts.error_profiles({"distance": RINGS}, {"a": profile(*means, half=0.0), "b": profile(means[2])})
        x, y = pixels(found, 0)
        left, right = x.min(), x.max()
        low, middle, high = (np.median(y[np.abs(x - at) < 8]) for at in (left + 8, (left + right) / 2, right - 8))
        assert (high - middle) / (middle - low) == pytest.approx(ratio, rel=0.15)


def test_a_method_that_was_not_scored_takes_no_place_and_no_other_s_colour():
    unknown = {ring: {"mean": None, "low": None, "high": None} for ring in RINGS}
    png = charts.error_profiles({"distance": RINGS}, {"a": profile(2.0), "b": unknown, "c": profile(3.0, 4.0)})
    assert [len(pixels(png, index, legend=True)[0]) > 0 for index in range(3)] == [True, False, True]
    part = {"distance": RINGS, "sight": {"los": "with"}}  # "c" alone was scored there
    png = charts.error_profiles(part, {"a": profile(2.0), "c": profile(3.0) | {"los": profile(3.0)["0-32m"]}})
    assert np.max(pixels(png, 0, legend=True)[0]) > 0.8 * 1800  # yet the legend names both
    with pytest.raises(ValueError, match=r"no positive values of RMSE .* in any of \['distance'\]"):
        charts.error_profiles({"distance": RINGS}, {"b": unknown})
