"""The picture of where to measure next: it follows the errors and the places, and refuses places that are not there."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from raymap.evaluation import next_places_picture
from raymap.evaluation.drawing import SERIES

X_M, Y_M = (part.ravel() for part in np.meshgrid(np.arange(12) * 2.0, np.arange(8) * 2.0))
CANDIDATES_M = np.stack([X_M, Y_M, np.ones(96)], axis=1)
BLUE = to_rgb(SERIES[0])


def picture(rows, expected=X_M, **changed):
    png = next_places_picture.draw(expected, CANDIDATES_M, rows, CANDIDATES_M[:5], np.array([9.0, 3, 20]))
    return imread(io.BytesIO(png))[..., :3]


def blue(image):
    return np.abs(image - BLUE).max(-1) < 0.02


def test_chosen_places_are_marked_where_they_are():
    left, right = blue(picture([36])), blue(picture([47]))
    half = left.shape[1] // 2
    for image, inside in ((left, slice(0, half)), (right, slice(half, None))):
        legend_rows = slice(image.shape[0] // 8, None)
        assert image[legend_rows, inside].sum() > 50 and image[legend_rows].sum() == image[legend_rows, inside].sum()


def test_it_is_the_same_every_time_and_follows_its_numbers():
    first = picture([3, 40])
    assert (picture([3, 40]) == first).all()
    assert (picture([40, 3]) != first).any()  # numbered in their order
    assert (picture([3, 40], expected=Y_M) != first).any()


def test_many_places_and_none_are_drawn():
    assert blue(picture(np.arange(90))).sum() > blue(picture([])).sum()


@pytest.mark.parametrize("rows", [[96], [-1]])
def test_places_must_be_candidates(rows):
    with pytest.raises(ValueError, match="rows must lie in 0 to 95"):
        picture(rows)
