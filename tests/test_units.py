"""Units: every door between physics and networks can be walked both ways."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymap import units

gains_db = st.floats(-250, 50)
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@given(gains_db)
def test_gain_survives_the_way_through_grey_and_signal(gain_db):
    assert units.gain_db_from_grey(units.grey_from_gain_db(gain_db)) == pytest.approx(gain_db, abs=1e-9)
    assert units.gain_db_from_signal(units.signal_from_gain_db(gain_db)) == pytest.approx(gain_db, abs=1e-9)


@given(st.floats(-3, 3))
def test_signal_and_grey_are_inverse(value):
    assert units.grey_from_signal(units.signal_from_grey(value)) == pytest.approx(value, abs=1e-12)
    assert units.signal_from_grey(units.grey_from_signal(value)) == pytest.approx(value, abs=1e-12)


def test_the_ends_of_the_scale_are_the_ends_of_every_range():
    assert units.grey_from_gain_db(units.GAIN_FLOOR_DB) == 0 and units.grey_from_gain_db(units.GAIN_CEILING_DB) == 1
    assert (
        units.signal_from_gain_db(units.GAIN_FLOOR_DB) == -1 and units.signal_from_gain_db(units.GAIN_CEILING_DB) == 1
    )


@given(st.floats(-200, 200), st.floats(-200, 200))
def test_decibels_turn_products_into_sums(first_db, second_db):
    product = units.linear_from_db(first_db) * units.linear_from_db(second_db)
    assert units.linear_from_db(first_db + second_db) == pytest.approx(product, rel=1e-9)


@given(st.floats(-100, 100))
def test_a_watt_is_thirty_dbm(power_dbm):
    assert 10 * math.log10(units.watt_from_dbm(power_dbm)) + 30 == pytest.approx(power_dbm, abs=1e-9)


@given(st.floats(0.1, 1e5), st.floats(1e8, 1e11))
def test_friis_inverts_to_the_distance(distance_m, frequency_hz):
    loss_db = units.free_space_loss_db(distance_m, frequency_hz)
    amplitude = units.linear_from_db(loss_db) ** 0.5
    assert amplitude * units.wavelength_m(frequency_hz) / (4 * math.pi) == pytest.approx(distance_m, rel=1e-9)


@given(st.floats(1, 1e4), st.floats(1e8, 1e11))
def test_friis_loses_the_same_for_twice_the_distance_and_twice_the_frequency(distance_m, frequency_hz):
    further_db = units.free_space_loss_db(2 * distance_m, frequency_hz)
    assert further_db == pytest.approx(units.free_space_loss_db(distance_m, 2 * frequency_hz), abs=1e-9)
    assert further_db - units.free_space_loss_db(distance_m, frequency_hz) == pytest.approx(20 * math.log10(2))


@given(st.floats(1e6, 1e12))
def test_wavelength_times_frequency_is_the_speed_of_light(frequency_hz):
    product = units.wavelength_m(frequency_hz) * frequency_hz
    assert product == pytest.approx(units.SPEED_OF_LIGHT_M_S, rel=1e-12)


@given(st.floats(0, 1e4), st.floats(1e-3, 1e4))
def test_height_rises_strictly_and_stays_in_range(height_m, more_m):
    low, high = units.signal_from_height_m(height_m), units.signal_from_height_m(height_m + more_m)
    assert -1 <= low < high < 1


@given(st.floats(0, 1e4))
def test_height_can_be_read_back_from_its_signal(height_m):
    share = units.grey_from_signal(units.signal_from_height_m(height_m))
    assert share * units.MIDDLE_HEIGHT_M / (1 - share) == pytest.approx(height_m, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    "convert",
    [
        units.linear_from_db, units.watt_from_dbm, units.grey_from_gain_db, units.gain_db_from_grey,
        units.signal_from_grey, units.grey_from_signal, units.signal_from_gain_db, units.gain_db_from_signal,
        units.signal_from_height_m,
    ],
)  # fmt: skip
def test_numbers_arrays_and_tensors_are_converted_alike(convert):
    values = [0.0, 0.25, 1.0, 30.0]
    expected = [convert(value) for value in values]
    np.testing.assert_allclose(convert(np.array(values)), expected, rtol=1e-12)
    found = convert(torch.tensor(values))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_an_angle_keeps_its_sign_and_is_never_clipped():
    angles = np.array([-90.0, -15.0, 0.0, 1.0, 15.0, 90.0])
    signal = units.signal_from_angle_deg(angles)
    assert signal[[1, 2, 4]].tolist() == [-0.5, 0.0, 0.5]
    assert (np.diff(signal) > 0).all() and (np.abs(signal) < 1).all()
