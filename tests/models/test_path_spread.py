"""Errors to expect of paths: zero of what is never wrong, large where it is, honest, and told of each place alone."""

from typing import Literal

import numpy as np
import pytest

from raymap.config import ModelConfig
from raymap.data.path_table import PathTable
from raymap.models import path_spread
from raymap.models.path_interpolation import NearestPaths
from raymap.models.path_predictor import PathPredictor
from raymap.models.path_spread import fold_errors, mixed_square, spread

NEAREST = NearestPaths(NearestPaths.Config())
#: What errors are large or small against [dB, s, rad, rad].
UNITS = np.array([1.0, 1e-9, 0.01, 0.01])


def scene(receivers_m, seed=0):
    """Two paths that change along x and y, ten times as fast where x > 50 m, and noise as strong as that."""
    x, y, _ = receivers_m.T
    rng = np.random.default_rng(seed)
    change = x / 20 + np.maximum(x - 50, 0) / 2 + np.sin(y / 9) * np.where(x > 50, 5, 0.5)
    noise = rng.normal(0, 1, (len(x), 2, 4)) * np.where(x > 50, 3.0, 0.3)[:, None, None]
    middle = np.array([[-70, 3e-7, 1.2, 3.1], [-90, 6e-7, 1.5, 0.4]])
    values = middle + (change[:, None, None] + noise) * UNITS
    like = PathTable(
        receivers_m, np.array([50.0, 50, 30]), 3.5e9, *np.zeros((5, len(x), 2)), np.ones((len(x), 2), bool)
    )
    return PathTable.from_values(like, receivers_m, values)


def places(num, seed=0):
    return np.random.default_rng(seed).uniform([0, 0, 1], [100, 100, 1], (num, 3))


class Exact(PathPredictor):
    """Tells what would be measured."""

    class Config(ModelConfig):
        kind: Literal["exact_paths_of_a_test"] = "exact_paths_of_a_test"
        inputs: tuple[str, ...] = ()

    def complete(self, measured, receivers_m):
        values = np.stack([np.full((len(receivers_m), 2), -70.0), *np.full((3, len(receivers_m), 2), 0.5)], -1)
        return PathTable.from_values(measured, receivers_m, values)


def missed(found, true):
    error = found.values.astype(float) - true.values
    error[..., 3] = np.arctan2(np.sin(error[..., 3]), np.cos(error[..., 3]))
    return np.abs(error)


def test_a_method_that_is_never_wrong_has_no_error_to_expect():
    model, receivers_m = Exact(Exact.Config()), places(40)
    measured = model.complete(scene(receivers_m), receivers_m)
    for quantile in (None, 0.9):
        assert (spread(model, measured, places(9, 1), quantile=quantile) == 0).all()


def test_errors_are_expected_where_they_were_made():
    found = spread(NEAREST, scene(places(300)), np.array([[15.0, 50, 1], [85.0, 50, 1]]))
    assert (found[1] > 3 * found[0]).all() and (found > 0.1 * UNITS).all() and (found < 30 * UNITS).all()


@pytest.mark.parametrize("quantile", [0.5, 0.9])
@pytest.mark.parametrize("num", [100, 500])
def test_the_bound_holds_as_many_errors_as_it_promises(quantile, num):
    held = []
    for seed in range(3):
        measured, wanted = scene(places(num, seed), seed), scene(places(2000, 50 + seed), 50 + seed)
        bound = spread(NEAREST, measured, wanted.receivers_m, quantile=quantile)
        error = missed(NEAREST.complete(measured, wanted.receivers_m), wanted)
        held.append([(error <= bound).mean((0, 1)), (error <= bound)[wanted.receivers_m[:, 0] > 60].mean((0, 1))])
    everywhere, where_it_is_hard = np.mean(held, axis=0)
    assert (np.abs(everywhere - quantile) < 0.07).all() and (np.abs(where_it_is_hard - quantile) < 0.1).all()


def test_the_rms_error_is_that_of_new_receivers():
    measured, wanted = scene(places(500)), scene(places(2000, 1), 1)
    rms = spread(NEAREST, measured, wanted.receivers_m)
    error = missed(NEAREST.complete(measured, wanted.receivers_m), wanted)
    assert np.sqrt((rms**2).mean((0, 1)) / (error**2).mean((0, 1))) == pytest.approx(np.ones(4), abs=0.15)


def test_far_from_what_is_measured_more_is_expected_where_errors_grow_with_distance():
    receivers_m = places(400)
    x, y, _ = receivers_m.T
    smooth = np.stack([-70 + x / 5 + y / 5, 3e-7 + x * 1e-9, 1 + y / 200, x / 100], -1)[:, None].repeat(2, 1)
    measured = PathTable.from_values(scene(receivers_m), receivers_m, smooth)
    near, far = spread(NEAREST, measured, np.array([receivers_m[7] + 0.01, [160.0, 160, 1]]))
    assert (far > 2 * near).all() and (near > 0).all()


def test_azimuths_are_wrong_by_what_lies_between_them():
    measured = scene(places(100))
    found = fold_errors(NEAREST, measured)
    told = np.abs(measured.azimuth_rad[:, 0])
    assert (told < 3.14).any() and (measured.azimuth_rad[:, 0] < 0).any() and (measured.azimuth_rad[:, 0] > 0).any()
    assert (
        np.abs(found.error[..., 3]).max() < 1
        and (spread(NEAREST, measured, places(5, 1), quantile=0.99) < np.pi)[..., 2:].all()
    )


def test_a_receiver_is_told_the_same_in_any_company_and_every_time():
    measured, wanted_m = scene(places(120)), places(30, 1)
    whole = spread(NEAREST, measured, wanted_m, quantile=0.9)
    assert (spread(NEAREST, measured, wanted_m[[4, 17]], quantile=0.9) == whole[[4, 17]]).all()
    assert spread(NEAREST, measured, wanted_m[:0]).shape == (0, 2, 4)


def test_numbers_that_nobody_measured_have_no_known_error():
    measured, wanted_m = scene(places(60)), places(5, 1)
    values = measured.values
    values[..., 1] = np.nan
    values[::2, 1] = np.nan
    partly = PathTable.from_values(measured, measured.receivers_m, values)
    found = spread(NEAREST, partly, wanted_m)
    assert np.isnan(found[..., 1]).all() and np.isfinite(found[..., [0, 2, 3]]).all()
    assert np.isfinite(mixed_square(found)).all()


def test_mixed_errors_are_pooled_in_decibels_nanoseconds_and_degrees():
    rms = np.array([[[3.0, 4e-9, np.radians(12), np.nan], [np.nan] * 4]])
    assert mixed_square(rms) == pytest.approx([(9 + 16 + 144) / 3])
    with pytest.raises(ValueError, match="of 1 of 1 receivers no error is known"):
        mixed_square(rms * np.nan)


def test_what_tells_too_little_is_refused():
    measured, wanted_m = scene(places(9)), places(2, 1)
    with pytest.raises(ValueError, match="9 measured receivers .* 5 folds need 10"):
        spread(NEAREST, measured, wanted_m)
    assert np.isfinite(spread(NEAREST, measured, wanted_m, num_folds=4)).all()
    with pytest.raises(ValueError, match="num_folds must be 2 or more, got 1"):
        spread(NEAREST, measured, wanted_m, num_folds=1)
    with pytest.raises(ValueError, match="quantile must lie between 0 and 1, got 90"):
        spread(NEAREST, measured, wanted_m, num_folds=2, quantile=90)


def test_distances_and_neighbours_leave_the_receiver_itself_out():
    measured = scene(np.repeat(places(20), 2, axis=0))  # every place twice
    others, _around = path_spread._nearest(measured.receivers_m, measured.receivers_m[:1])
    assert (others != np.arange(40)[:, None]).all() and others.shape == (40, 8)
