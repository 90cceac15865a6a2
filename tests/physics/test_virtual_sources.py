"""Images and scatterers: exact where they should be, and the same however the scene is turned."""

import numpy as np
import pytest

from raymap import units
from raymap.physics import virtual_sources

TRANSMITTER_M = np.array([2.0, 3.0, 2.5])
SPEED = units.SPEED_OF_LIGHT_M_S


def measured(place_m, receivers_m, before_m=0.0):
    """Direction and delay of paths that come from a place, (R, 3) and (R,)."""
    ray_m = place_m - receivers_m
    leg_m = np.linalg.norm(ray_m, axis=-1)
    return ray_m / leg_m[:, None], (before_m + leg_m) / SPEED


@pytest.fixture
def receivers_m():
    return np.random.default_rng(0).uniform([0.5, 0.5, 0.5], [7.5, 5.5, 2.0], (20, 3))


def test_zenith_and_azimuth_are_those_of_the_direction():
    up, east, south = virtual_sources.directions([0.0, np.pi / 2, np.pi / 2], [1.0, 0.0, np.pi / 2])
    assert np.allclose([up, east, south], [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-12)
    assert np.isnan(virtual_sources.directions(np.nan, 0.0)).any()


@pytest.mark.parametrize("mirrored", [(-2.0, 3.0, 2.5), (14.0, -3.0, 2.5), (2.0, 3.0, -2.5), (2.0, 3.0, 2.5)])
def test_reflections_by_flat_walls_come_from_one_image_wherever_they_are_measured(mirrored, receivers_m):
    # Mirrored at the wall x = 0, at x = 8 and y = 0 (twice reflected), at the floor, and the line of sight itself.
    direction, delay_s = measured(np.array(mirrored), receivers_m)
    assert np.allclose(virtual_sources.image_sources(receivers_m, direction, delay_s), mirrored)


def test_a_path_that_is_scattered_once_bends_at_one_point_wherever_it_is_measured(receivers_m):
    point_m = np.array([6.0, 5.9, 1.2])
    before_m = np.linalg.norm(point_m - TRANSMITTER_M)
    direction, delay_s = measured(point_m, receivers_m, before_m)
    found_m, lead_m = virtual_sources.scatterers(receivers_m, TRANSMITTER_M, direction, delay_s)
    assert np.allclose(found_m, point_m) and np.allclose(lead_m, before_m)


def test_a_straight_path_bends_nowhere(receivers_m):
    direction, delay_s = measured(TRANSMITTER_M, receivers_m)
    found_m, lead_m = virtual_sources.scatterers(receivers_m, TRANSMITTER_M, direction, delay_s.astype(np.float32))
    assert np.allclose(found_m, TRANSMITTER_M, atol=1e-4) and np.allclose(lead_m, 0.0, atol=1e-4)


def test_others_see_an_anchor_as_it_would_be_measured_there(receivers_m):
    point_m, before_m = np.array([6.0, 5.9, 1.2]), 4.0
    direction, delay_s = measured(point_m, receivers_m, before_m)
    found_s, zenith_rad, azimuth_rad, leg_m = virtual_sources.seen_from(point_m, before_m, receivers_m)
    assert np.allclose(found_s, delay_s) and np.allclose(leg_m, np.linalg.norm(point_m - receivers_m, axis=1))
    assert np.allclose(virtual_sources.directions(zenith_rad, azimuth_rad), direction)


def test_twice_as_far_from_the_anchor_is_six_decibels_less():
    assert virtual_sources.moved_power_db(-70.0, 5.0, 10.0) == pytest.approx(-76.0206, abs=1e-4)
    assert virtual_sources.moved_power_db(-70.0, 5.0, 5.0) == -70.0


def test_a_scene_that_is_turned_has_its_anchors_turned(receivers_m):
    cosine, sine = np.cos(0.7), np.sin(0.7)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    direction, delay_s = measured(np.array([6.0, 5.9, 1.2]), receivers_m, 4.0)
    plain = virtual_sources.scatterers(receivers_m, TRANSMITTER_M, direction, delay_s)
    turned = virtual_sources.scatterers(receivers_m @ turn, TRANSMITTER_M @ turn, direction @ turn, delay_s)
    assert np.allclose(turned[0], plain[0] @ turn) and np.allclose(turned[1], plain[1])
