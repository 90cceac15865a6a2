"""Nearest paths and Kriging of paths: what they keep, and what they do where there is little to go by."""

from dataclasses import replace

import numpy as np
import pytest

from raymap.data.path_table import PathTable
from raymap.models import path_interpolation
from raymap.models.path_interpolation import NearestPaths, PathKriging, inverse_distance, numbers


def smooth(receivers_m):
    """Two paths whose numbers change smoothly; the azimuth passes through ±180°."""
    x, y, _ = receivers_m.T
    one = np.stack([-60 - x / 10, 1e-7 + x * 1e-9, 1.0 + y / 100, np.pi + (y - 15) / 30], -1)
    two = np.stack([-80 - y / 10, 2e-7 + y * 1e-9, 1.5 - x / 100, x / 30], -1)
    values = np.stack([one, two], 1)
    values[..., 3] = np.arctan2(np.sin(values[..., 3]), np.cos(values[..., 3]))
    valid = np.ones(values.shape[:2], bool)
    return PathTable(
        receivers_m, np.array([5.0, 5.0, 20.0]), 3.5e9, *np.moveaxis(values, -1, 0), np.zeros(valid.shape), valid
    )


def places(num, seed=0):
    return np.random.default_rng(seed).uniform([0, 0, 1], [30, 30, 1], (num, 3))


def misses(found, true):
    missed = found.values.astype(float) - true.values
    missed[..., 3] = np.arctan2(np.sin(missed[..., 3]), np.cos(missed[..., 3]))
    return np.abs(missed) * [1.0, 1e9, *np.degrees([1.0, 1.0])]


@pytest.mark.parametrize("model", [NearestPaths(NearestPaths.Config()), PathKriging(PathKriging.Config())])
def test_measured_receivers_keep_what_was_measured(model):
    measured = smooth(places(80))
    found = model.complete(measured, measured.receivers_m)
    assert misses(found, measured).max() < 1e-2


def test_the_nearest_receiver_lends_its_paths_and_the_next_the_ranks_that_it_lacks():
    measured = smooth(np.array([[0.0, 0, 1], [10.0, 0, 1]]))
    measured = replace(measured, valid=np.array([[True, False], [True, True]]))
    found = NearestPaths(NearestPaths.Config()).complete(measured, np.array([[1.0, 0, 1]]))
    assert found.power_db[0].tolist() == [measured.power_db[0, 0], measured.power_db[1, 1]]


def test_kriging_follows_what_changes_smoothly_across_the_turn_of_the_azimuth():
    wanted_m = places(60, 1) * 0.8 + [3.0, 3.0, 0.2]
    measured, true = smooth(places(200)), smooth(wanted_m)
    kriged = misses(PathKriging(PathKriging.Config()).complete(measured, wanted_m), true)
    nearest = misses(NearestPaths(NearestPaths.Config()).complete(measured, wanted_m), true)
    assert (kriged.mean((0, 1)) < 0.5 * nearest.mean((0, 1))).all() and kriged[..., 3].max() < 5


def test_variograms_of_some_receivers_serve_all(monkeypatch):
    measured, wanted_m = smooth(places(200)), places(60, 1)
    whole = PathKriging(PathKriging.Config()).complete(measured, wanted_m)
    monkeypatch.setattr(path_interpolation, "_MOST_FITTED", 60)
    some = PathKriging(PathKriging.Config()).complete(measured, wanted_m)
    assert 0 < misses(some, whole).max() < 0.5


def test_kriging_without_a_variogram_is_the_mean():
    measured = smooth(places(20))
    same = replace(measured, power_db=np.full(measured.valid.shape, -70.0))
    found = PathKriging(PathKriging.Config()).complete(same, places(5, 1))
    assert np.allclose(found.power_db, -70.0)
    in_line = smooth(np.c_[np.linspace(0, 30, 9), np.zeros(9), np.ones(9)])
    assert np.isfinite(PathKriging(PathKriging.Config()).complete(in_line, places(5, 1)).values).all()


def test_inverse_distance_weighs_by_the_square_and_shortens_azimuths_that_disagree():
    measured = smooth(np.array([[0.0, 0, 1], [3.0, 0, 1]]))
    opposite = replace(measured, azimuth_rad=np.array([[0.0, 0.0], [np.pi, 0.0]]))
    found = inverse_distance(opposite, np.array([[1.0, 0, 1]]), 8)
    power = numbers(opposite)[:, 0, 0]
    assert found[0, 0, 0] == pytest.approx(0.8 * power[0] + 0.2 * power[1], rel=1e-5)
    assert found[0, 0, 3:] == pytest.approx([0.6, 0.0], abs=1e-4)


def test_a_receiver_is_told_by_the_others_alone():
    measured = smooth(places(30))
    told = inverse_distance(measured, measured.receivers_m, 8, besides=True)
    assert np.abs(told - numbers(measured))[..., 0].min() > 1e-4
