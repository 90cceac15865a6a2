"""Laws of channels: energy, closed forms of one and two paths, turns of the scene, beams."""

import numpy as np
import pytest

from raymap.physics.channel_response import (
    angular_spread_rad,
    array_response,
    beam_pattern,
    channel_vector,
    delay_spread_s,
    frequency_response,
    impulse_response,
)

BANDWIDTH_HZ = 100e6
ARRAY = ((3, 4), (0.04, 0.05), 0.1)


@pytest.fixture
def paths():
    """(gain, delay_s, zenith_rad, azimuth_rad) of 6 receivers with 5 random paths within 1 µs."""
    random = np.random.default_rng(0)
    gain = random.normal(size=(6, 5)) + 1j * random.normal(size=(6, 5))
    return gain, random.uniform(0, 1e-6, (6, 5)), random.uniform(0, np.pi, (6, 5)), random.uniform(-3, 3, (6, 5))


def everything(gain, delay_s, zenith_rad, azimuth_rad):
    """All that is made of paths, by name."""
    frequencies_hz = np.linspace(-BANDWIDTH_HZ / 2, BANDWIDTH_HZ / 2, 7)
    return {
        "taps": impulse_response(gain, delay_s, BANDWIDTH_HZ, 40),
        "spectrum": frequency_response(gain, delay_s, frequencies_hz),
        "delay": delay_spread_s(gain, delay_s),
        "zenith": angular_spread_rad(gain, zenith_rad),
        "azimuth": angular_spread_rad(gain, azimuth_rad),
        "vector": channel_vector(gain, delay_s, array_response(zenith_rad, azimuth_rad, *ARRAY), frequencies_hz),
    }


def test_taps_of_paths_that_fall_on_taps_hold_the_power_of_the_paths(paths):
    gain = paths[0]
    delay_s = np.array([0, 3, 4, 17, 39]) / BANDWIDTH_HZ
    taps = impulse_response(gain, delay_s, BANDWIDTH_HZ, 40)
    np.testing.assert_allclose((np.abs(taps) ** 2).sum(-1), (np.abs(gain) ** 2).sum(-1), rtol=1e-12)
    np.testing.assert_allclose(taps[:, [0, 3, 4, 17, 39]], gain, atol=1e-12)


def test_the_energy_of_many_taps_is_that_of_the_spectrum_over_the_band(paths):
    gain, delay_s = paths[:2]
    delay_s = delay_s + 20e-6  # so that what rings before and after the paths is among the taps
    energy = (np.abs(impulse_response(gain, delay_s, BANDWIDTH_HZ, 4000)) ** 2).sum(-1)
    band_hz = (np.arange(2000) + 0.5) / 2000 * BANDWIDTH_HZ - BANDWIDTH_HZ / 2
    spectrum = (np.abs(frequency_response(gain, delay_s, band_hz)) ** 2).mean(-1)
    np.testing.assert_allclose(energy, spectrum, rtol=2e-3)


def test_the_spectrum_of_paths_on_taps_is_the_fourier_transform_of_the_taps(paths):
    gain = paths[0]
    delay_s = np.array([0, 3, 4, 17, 39]) / BANDWIDTH_HZ
    taps = impulse_response(gain, delay_s, BANDWIDTH_HZ, 40)
    spectrum = frequency_response(gain, delay_s, np.arange(40) / 40 * BANDWIDTH_HZ)
    np.testing.assert_allclose(spectrum, np.fft.fft(taps), atol=1e-11)


def test_one_path_has_a_flat_spectrum_and_taps_of_a_sinc_and_no_spread():
    gain, delay_s = np.array([0.3 - 0.4j]), np.array([25e-9])
    taps = impulse_response(gain, delay_s, BANDWIDTH_HZ, 6)
    offset = np.pi * (np.arange(6) - 2.5)
    np.testing.assert_allclose(taps, gain * np.sin(offset) / offset, rtol=1e-12)
    spectrum = frequency_response(gain, delay_s, np.array([0.0, 10e6, 20e6]))
    np.testing.assert_allclose(spectrum, gain * [1, -1j, -1], atol=1e-12)  # quarter and half a turn
    assert delay_spread_s(gain, delay_s) == 0
    assert angular_spread_rad(gain, np.array([3.0])) == pytest.approx(0, abs=1e-7)


def test_the_spread_of_two_equal_paths_is_half_their_difference():
    gain = np.array([1.0, -1j])
    assert delay_spread_s(gain, np.array([20e-9, 90e-9])) == pytest.approx(35e-9)
    for half in (0.01, 0.1):
        spread = angular_spread_rad(gain, np.array([np.pi - half, half - np.pi]))  # across the end of the circle
        assert spread == pytest.approx(np.sqrt(-2 * np.log(np.cos(half))))
        assert spread == pytest.approx(half, rel=half**2)


def test_the_spread_of_unequal_paths_is_that_of_a_coin():
    gain = np.sqrt(np.array([0.2, 0.8]))
    assert delay_spread_s(gain, np.array([0.0, 1e-6])) == pytest.approx(0.4e-6)
    assert angular_spread_rad(gain, np.array([0.5, 0.51])) == pytest.approx(0.004, rel=1e-4)


def test_opposite_powers_that_cancel_have_a_spread_that_is_finite():
    assert 8 < angular_spread_rad(np.ones(2), np.array([0.0, np.pi])) < 9


def test_spreads_do_not_mind_a_turn_of_the_scene_a_later_start_or_more_power(paths):
    gain, delay_s, _, azimuth_rad = paths
    turned = np.angle(np.exp(1j * (azimuth_rad + 2.0)))
    np.testing.assert_allclose(angular_spread_rad(3j * gain, turned), angular_spread_rad(gain, azimuth_rad))
    np.testing.assert_allclose(delay_spread_s(3j * gain, delay_s + 1e-6), delay_spread_s(gain, delay_s))


@pytest.mark.parametrize("broken", range(4))
def test_a_path_with_a_number_that_is_not_known_is_none(paths, broken):
    padded = [np.concatenate([part, part[:, :2]], axis=1) for part in paths]
    padded[broken][:, 5:] = np.nan
    concerned = {0: None, 1: ("taps", "spectrum", "delay", "vector"), 2: ("zenith", "vector"), 3: ("azimuth", "vector")}
    found, expected = everything(*padded), everything(*paths)
    for name in concerned[broken] or expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_paths_of_gain_zero_count_nowhere_and_no_path_at_all_has_no_spread(paths):
    padded = [np.concatenate([part, np.zeros((6, 1))], axis=1) for part in paths]
    for name, expected in everything(*paths).items():
        np.testing.assert_allclose(everything(*padded)[name], expected, rtol=1e-9, atol=1e-12, err_msg=name)
    nothing = everything(*np.full((4, 2, 3), np.nan))
    assert all(np.isnan(nothing[name]).all() for name in ("delay", "zenith", "azimuth"))
    assert all((nothing[name] == 0).all() for name in ("taps", "spectrum", "vector"))


def test_array_response_is_equation_2_antenna_by_antenna():
    (rows, columns), (x_m, y_m), wavelength_m = ARRAY
    for zenith, azimuth in ((0.0, 1.0), (0.7, -2.0), (2.5, 3.0)):
        found = array_response(zenith, azimuth, *ARRAY)
        expected = []
        for m in range(rows):
            for n in range(columns):
                way_m = np.sin(zenith) * (m * x_m * np.cos(azimuth) + n * y_m * np.sin(azimuth))
                expected.append(np.exp(-2j * np.pi * way_m / wavelength_m))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_channel_vector_of_the_first_antenna_is_the_spectrum_and_of_all_the_sum_over_paths(paths):
    gain, delay_s, zenith_rad, azimuth_rad = paths
    response = array_response(zenith_rad, azimuth_rad, *ARRAY)
    frequencies_hz = np.array([-20e6, 0.0, 5e6])
    found = channel_vector(gain, delay_s, response, frequencies_hz)
    assert found.shape == (6, 3, 12)
    np.testing.assert_allclose(found[..., 0], frequency_response(gain, delay_s, frequencies_hz))
    by_hand = sum(gain[4, path] * np.exp(-2j * np.pi * 5e6 * delay_s[4, path]) * response[4, path] for path in range(5))
    np.testing.assert_allclose(found[4, 2], by_hand)


def test_taps_of_an_array_transform_to_its_channel_vector(paths):
    gain, _, zenith_rad, azimuth_rad = paths
    delay_s = np.array([0, 3, 4, 17, 39]) / BANDWIDTH_HZ
    response = array_response(zenith_rad, azimuth_rad, *ARRAY)
    taps = impulse_response(gain[:, None] * response.swapaxes(1, 2), delay_s, BANDWIDTH_HZ, 40)
    vector = channel_vector(gain, delay_s, response, np.arange(40) / 40 * BANDWIDTH_HZ)
    np.testing.assert_allclose(np.fft.fft(taps).swapaxes(1, 2), vector, atol=1e-11)


def test_a_beam_is_strongest_where_it_steers_and_there_as_strong_as_there_are_antennas():
    steering = (0.6, -1.1)
    zenith, azimuth = np.meshgrid(np.linspace(0, np.pi / 2, 91), np.linspace(-np.pi, np.pi, 181), indexing="ij")
    pattern = beam_pattern(steering, zenith, azimuth, *ARRAY)
    assert beam_pattern(steering, *steering, *ARRAY) == pytest.approx(12)
    assert pattern.shape == zenith.shape and pattern.max() <= 12 + 1e-9
    best = np.unravel_index(pattern.argmax(), pattern.shape)
    assert (zenith[best], azimuth[best]) == pytest.approx(steering, abs=0.04)
    mirrored = beam_pattern(steering, np.pi - zenith, azimuth, *ARRAY)
    np.testing.assert_allclose(mirrored, pattern, atol=1e-9)


def test_a_beam_turns_with_its_array_when_rows_become_columns():
    zenith, azimuth = np.linspace(0, np.pi, 9), np.linspace(-3, 3, 9)
    along_x = beam_pattern((0.4, 0.3), zenith, azimuth, (6, 2), (0.05, 0.04), 0.1)
    along_y = beam_pattern((0.4, np.pi / 2 - 0.3), zenith, np.pi / 2 - azimuth, (2, 6), (0.04, 0.05), 0.1)
    np.testing.assert_allclose(along_x, along_y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: impulse_response(np.ones(1), np.zeros(1), 0.0, 4), "bandwidth_hz must be positive, got 0"),
        (lambda: impulse_response(np.ones(1), np.zeros(1), 1e6, 0), "num_taps must be at least 1, got 0"),
        (lambda: array_response(0.0, 0.0, (0, 4), (0.1, 0.1), 0.1), r"at least one antenna .* got \(0, 4\)"),
        (lambda: array_response(0.0, 0.0, (2, 4), (0.1, 0.1), -1.0), "must be positive .* got -1"),
    ],
)
def test_what_makes_no_channel_is_refused_by_its_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()
