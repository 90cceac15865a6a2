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


@pytest.mark.parametrize(
    ("scenario", "line_of_sight", "wanted_db"),
    # TR 38.901 table 7.4.1-1 by hand for 100 m and 3.5 GHz: d3D = 100.36 m (UMi), 102.72 m (UMa).
    [
        (pathloss.UMI, True, 85.31),
        (pathloss.UMI, False, 104.64),
        (pathloss.UMA, True, 83.14),
        (pathloss.UMA, False, 103.04),
    ],
)
def test_3gpp_by_hand(scenario, line_of_sight, wanted_db):
    found_db = pathloss.cell_3gpp_gain_db(np.array([100.0]), np.array([line_of_sight]), 3.5e9, scenario)
    assert -found_db[0] == pytest.approx(wanted_db, abs=0.01)


@pytest.mark.parametrize("scenario", [pathloss.UMI, pathloss.UMA])
def test_3gpp_is_continuous_falls_with_distance_and_steepens_at_its_breakpoint(scenario):
    distance_m = np.geomspace(10, 4000, 4000)
    lit, shadowed = (
        pathloss.cell_3gpp_gain_db(distance_m, np.full(4000, sight), 5.9e9, scenario) for sight in (True, False)
    )
    for gain_db in (lit, shadowed):
        assert (np.diff(gain_db) < 0).all() and np.abs(np.diff(gain_db)).max() < 0.1
    assert (shadowed <= lit).all()
    slopes = -np.diff(lit) / np.diff(10 * np.log10(distance_m))
    breakpoint_m = 4 * (scenario.base_height_m - 1) * 0.5 * 5.9e9 / 299_792_458
    assert slopes[distance_m[:-1] < 0.9 * breakpoint_m].max() < 2.3
    assert slopes[distance_m[1:] > 1.1 * breakpoint_m].min() > 3.9


def test_3gpp_refuses_frequencies_and_distances_it_says_nothing_of():
    with pytest.raises(ValueError, match="for 0.5 to 100 GHz, got 4e"):
        pathloss.cell_3gpp_gain_db(np.array([10.0]), np.array([True]), 4e8, pathloss.UMI)
    with pytest.raises(ValueError, match="positive"):
        pathloss.cell_3gpp_gain_db(np.array([0.0]), np.array([True]), 4e9, pathloss.UMI)
