"""The channel at one point: power is kept, the two responses are one channel, the beam looks at the strongest path."""

import numpy as np
import pytest

from raymap.data.path_table import UNKNOWN_KIND, PathTable
from raymap.evaluation import point_channel
from raymap.evaluation.point_channel import Sounding, responses


def point(delay_s=(1.003e-7, 2.58e-7, 9.17e-7), power_db=(-60.0, -66.0, -75.0), valid=(True, True, True), **more):
    """Three paths at one receiver."""
    numbers = {
        "power_db": [power_db], "delay_s": [delay_s], "zenith_rad": [(1.4, 1.2, 1.7)], "azimuth_rad": [(0.3, 2.0, -1)],
        "valid": [valid], "kind": [[UNKNOWN_KIND] * 3],
    }  # fmt: skip
    return PathTable(np.array([[5.0, 6.0, 1.5]]), np.array([0.0, 0.0, 20.0]), 3.5e9, **(numbers | more))


@pytest.mark.parametrize("bandwidth_hz", [400e6, 1e9])
def test_taps_of_a_wide_band_have_the_power_of_the_paths(bandwidth_hz):
    taps = responses(point(), Sounding(bandwidth_hz=bandwidth_hz))["impulse_response"]
    power = taps["real"] ** 2 + taps["imag"] ** 2
    assert power.sum() == pytest.approx((np.abs(point().gain) ** 2).sum(), rel=0.02)
    assert np.allclose(taps["power_db"], 10 * np.log10(power))
    assert taps["delay_s"][power.argmax()] == pytest.approx(1.003e-7, abs=0.5 / bandwidth_hz)


def test_the_spectrum_is_that_of_the_taps():
    found = responses(point(), Sounding(bandwidth_hz=1e9))
    taps, spectrum = found["impulse_response"], found["frequency_response"]
    inner = spectrum[np.abs(spectrum["frequency_hz"]) < 0.35e9]  # a finite row of taps is soft at the band's edges
    turns = np.exp(-2j * np.pi * np.outer(inner["frequency_hz"], taps["delay_s"]))
    wanted = turns @ (taps["real"] + 1j * taps["imag"]).to_numpy()
    assert np.abs(inner["real"] + 1j * inner["imag"] - wanted).max() < 0.03 * np.abs(wanted).max()
    assert spectrum["frequency_hz"].iloc[[0, -1]].tolist() == [-5e8, 5e8]


def test_the_beam_has_the_gain_of_all_antennas_towards_the_strongest_path_and_nowhere_more():
    beam = responses(point(zenith_rad=[(np.radians(60), 1, 1)]), Sounding(array=(6, 4)))["beam_pattern"]
    limit_db = 10 * np.log10(24)
    assert beam["gain_db"].max() == pytest.approx(limit_db, abs=0.05) and beam["gain_db"].max() <= limit_db + 1e-9
    there = beam.loc[beam["gain_db"].idxmax()]
    above = min(there["zenith_rad"], np.pi - there["zenith_rad"])  # or its mirror image
    assert above == pytest.approx(np.radians(60), abs=0.02) and there["azimuth_rad"] == pytest.approx(0.3, abs=0.02)


def test_a_path_of_which_a_number_is_not_known_is_not_heard():
    partly = responses(point(delay_s=(1.003e-7, np.nan, np.nan)), Sounding())
    alone = responses(point(valid=(True, False, False)), Sounding())
    for name, rows in partly.items():
        assert rows.equals(alone[name]), name


def test_pictures_follow_what_they_show():
    sounding = Sounding()
    one, other = point(), point(power_db=(-60.0, -61.0, -62.0), azimuth_rad=[(1.0, 2.0, -1)])
    first, second = (point_channel.draw(paths, responses(paths, sounding)) for paths in (one, other))
    assert set(first) == {"impulse_response", "frequency_response", "beam_pattern"}
    for name, png in first.items():
        assert png.startswith(b"\x89PNG") and png != second[name], name


@pytest.mark.parametrize(
    ("paths", "sounding", "words"),
    [
        (point(valid=(False,) * 3), {}, r"no channel at \(5, 6, 1.5\) m: no path arrives there"),
        (point(delay_s=(np.nan,) * 3), {}, "of no path there power, delay and angles are all known"),
        (point().take([0, 0]), {}, "at one point, got 2"),
        (point(), {"bandwidth_hz": 7e9}, "bandwidth_hz 7e.09 about 3.5e.09 Hz reaches down to 0 Hz"),
        (point(delay_s=(0.1, 0.2, 0.3)), {}, "has 2000006. taps, at most 1000000"),
        (point(), {"array": (0, 4)}, r"1 to 32 antennas .*, got \(0, 4\)"),
        (point(), {"array": (4, 33)}, r"1 to 32 antennas .*, got \(4, 33\)"),
    ],
)
def test_what_has_no_channel_is_told(paths, sounding, words):
    with pytest.raises(ValueError, match=words):
        responses(paths, Sounding(**sounding))
