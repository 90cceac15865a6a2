"""Friis inverts to distance; the log-distance law has its exponent; distances stay finite at the transmitter."""

import numpy as np
import pytest

from raymap import units
from raymap.physics import pathloss


def test_friis_inverts_to_distance():
    distance_m = np.array([0.5, 1.0, 37.0, 4000.0])
    gain_db = pathloss.free_space_gain_db(distance_m, 3.5e9)
    inverted_m = units.wavelength_m(3.5e9) / (4 * np.pi) * 10 ** (-gain_db / 20)
    np.testing.assert_allclose(inverted_m, distance_m, rtol=1e-12)


def test_friis_at_one_metre_and_5_9_ghz_is_the_constant_of_radiomapseer():
    assert pathloss.free_space_gain_db(np.array([1.0]), 5.9e9)[0] == pytest.approx(-47.87, abs=0.01)


@pytest.mark.parametrize("exponent", [2.0, 2.5, 3.8])
def test_a_decade_costs_ten_times_the_exponent(exponent):
    gain_db = pathloss.log_distance_gain_db(np.array([3.0, 30.0, 300.0]), 47.0, exponent)
    np.testing.assert_allclose(np.diff(gain_db), -10 * exponent, rtol=1e-12)
    assert pathloss.log_distance_gain_db(np.array([1.0]), 47.0, exponent)[0] == -47.0


def test_distance_is_euclidean_from_cell_centres_and_at_least_half_a_cell():
    distance_m = pathloss.distance_m((5, 8), 4.0, (3.5 * 4.0, 2.5 * 4.0))
    assert distance_m.shape == (5, 8)
    assert distance_m[2, 3] == 2.0  # the transmitter's own cell
    assert distance_m[2, 7] == 16.0 and distance_m[0, 3] == 8.0
    assert distance_m[4, 7] == pytest.approx(np.hypot(8.0, 16.0))


def test_distances_that_are_not_positive_are_refused():
    with pytest.raises(ValueError, match="positive"):
        pathloss.free_space_gain_db(np.array([1.0, 0.0]), 5.9e9)
