"""The channel at one point, of the paths that arrive there: taps, spectrum and an array's beam, numbers and pictures.

Of Liu et al., "PINN and GNN-based RF Map Construction for Wireless Communication Systems", section II; the equations
are in :mod:`raymap.physics.channel_response`.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from raymap import units
from raymap.config import Settings
from raymap.data.path_table import PathTable
from raymap.evaluation.drawing import DPI, INK, MUTED, SERIES, png
from raymap.physics import channel_response

#: Taps before the first path and behind the last; what rings farther out is less than 1 % of a path's power.
_MARGIN_TAPS = 32
_MOST_TAPS = 1_000_000
_NUM_FREQUENCIES = 1001
#: Between the directions of a beam pattern [deg]; the beam of the largest array is 3 degrees wide.
_STEP_DEG = 2
_MOST_ANTENNAS = 32
#: How far below its peak a picture shows a beam, and below the strongest path the taps [dB].
_SHOWN_DB = 40.0


class Sounding(Settings):
    """What a channel is seen with: how wide a band, how large an array of antennas half a wavelength apart."""

    bandwidth_hz: float = Field(100e6, gt=0, description="of impulse and frequency response [Hz]")
    array: tuple[int, int] = Field(
        (8, 8), description="antennas of the planar array along x and along y, half a wavelength apart, at most 32"
    )


def require_paths(point: PathTable) -> np.ndarray:
    """(P,) bool, the paths at the one receiver of ``point`` of which every number is known.

    Raises ValueError, naming the place, if there are several receivers, no path arrives or of none all is known.
    """
    if len(point) != 1:
        raise ValueError(f"a channel is that at one point, got {len(point)}")
    counted = point.valid[0] & np.isfinite(point.values[0]).all(-1)
    if not counted.any():
        place = ", ".join(f"{value:g}" for value in point.receivers_m[0])
        why = "of no path there power, delay and angles are all known" if point.valid.any() else "no path arrives there"
        raise ValueError(f"there is no channel at ({place}) m: {why}")
    return counted


def responses(point: PathTable, sounding: Sounding) -> dict[str, pd.DataFrame]:
    """The channel at the one receiver of ``point`` as three tables.

    - ``impulse_response``: ``tap`` (n, which lies at n / bandwidth after the transmission), ``delay_s``, ``real``,
      ``imag``, ``power_db``. From 32 taps before the first path to 32 behind the last: all but 1 % of their power
    - ``frequency_response``: ``frequency_hz`` (from the carrier, over the bandwidth), ``real``, ``imag``, ``power_db``
    - ``beam_pattern``: ``zenith_rad``, ``azimuth_rad``, ``gain_db`` over one antenna, every 2 degrees, of the beam
      towards the strongest path

    Raises ValueError as :func:`require_paths`, for an array of fewer than 1 or more than 32 antennas either way, a band
    that reaches down to 0 Hz, and for more than a million taps.
    """
    counted = require_paths(point)
    wide_hz, shape = sounding.bandwidth_hz, sounding.array
    if not 1 <= min(shape) <= max(shape) <= _MOST_ANTENNAS:
        raise ValueError(f"array must be of 1 to {_MOST_ANTENNAS} antennas along x and along y, got {shape}")
    taps = impulse_response(point, wide_hz)
    frequencies_hz = np.linspace(-wide_hz / 2, wide_hz / 2, _NUM_FREQUENCIES)
    gain, delay_s = point.gain[0, counted], point.delay_s[0, counted].astype(np.float64)
    spectrum = channel_response.frequency_response(gain, delay_s, frequencies_hz)
    return {
        "impulse_response": taps,
        "frequency_response": pd.DataFrame({"frequency_hz": frequencies_hz, **_complex(spectrum)}),
        "beam_pattern": _beam(point, shape),
    }


def impulse_response(point: PathTable, bandwidth_hz: float) -> pd.DataFrame:
    """That of :func:`responses` alone, with its errors."""
    counted, wide_hz = require_paths(point), bandwidth_hz
    if wide_hz >= 2 * point.frequency_hz:
        raise ValueError(f"bandwidth_hz {wide_hz:g} about {point.frequency_hz:g} Hz reaches down to 0 Hz")
    gain, delay_s = point.gain[0, counted], point.delay_s[0, counted].astype(np.float64)
    first = math.floor(wide_hz * delay_s.min()) - _MARGIN_TAPS
    num_taps = math.ceil(wide_hz * delay_s.max()) + _MARGIN_TAPS + 1 - first
    if num_taps > _MOST_TAPS:
        raise ValueError(f"at bandwidth_hz {wide_hz:g} the channel has {num_taps} taps, at most {_MOST_TAPS} are made")
    taps = channel_response.impulse_response(gain, delay_s - first / wide_hz, wide_hz, num_taps)
    number = first + np.arange(num_taps)
    return pd.DataFrame({"tap": number, "delay_s": number / wide_hz, **_complex(taps)})


def steering_rad(point: PathTable) -> tuple[float, float]:
    """Zenith and azimuth of the strongest path at the one receiver of ``point``. Raises as :func:`require_paths`."""
    strongest = int(require_paths(point).argmax())
    return float(point.zenith_rad[0, strongest]), float(point.azimuth_rad[0, strongest])


def _beam(point: PathTable, shape: tuple[int, int]) -> pd.DataFrame:
    wavelength_m = units.wavelength_m(point.frequency_hz)
    zenith_rad = np.radians(np.arange(0, 180 + _STEP_DEG, _STEP_DEG))
    azimuth_rad = np.radians(np.arange(-180, 180 + _STEP_DEG, _STEP_DEG))
    spacing_m = (wavelength_m / 2, wavelength_m / 2)
    # Ring by ring: the responses of a thousand antennas in all directions do not fit in memory.
    gain = [
        channel_response.beam_pattern(steering_rad(point), ring, azimuth_rad, shape, spacing_m, wavelength_m)
        for ring in zenith_rad
    ]
    zenith_rad, azimuth_rad = (part.ravel() for part in np.meshgrid(zenith_rad, azimuth_rad, indexing="ij"))
    gain_db = _db(np.ravel(gain))
    return pd.DataFrame({"zenith_rad": zenith_rad, "azimuth_rad": azimuth_rad, "gain_db": gain_db})


def _complex(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"real": values.real, "imag": values.imag, "power_db": _db(np.abs(values) ** 2)}


def _db(power: np.ndarray) -> np.ndarray:
    """Decibels, those of nothing at all −400."""
    return 10.0 * np.log10(np.maximum(power, 1e-40))


def draw(point: PathTable, found: dict[str, pd.DataFrame]) -> dict[str, bytes]:
    """A picture of every table that :func:`responses` made of ``point``, as PNG bytes by the table's name."""
    return {
        "impulse_response": _draw_impulse(point, found["impulse_response"]),
        "frequency_response": _draw_frequency(found["frequency_response"]),
        "beam_pattern": _draw_beam(point, found["beam_pattern"]),
    }


def _draw_impulse(point: PathTable, taps: pd.DataFrame) -> bytes:
    """Taps over the delay, and above them the paths that they are made of."""
    figure, axis = _chart("delay [ns]", "|h|² [dB]")
    counted = require_paths(point)
    power_db = point.power_db[0, counted]
    top = max(float(power_db.max()), float(taps["power_db"].max()))
    low = min(top - _SHOWN_DB, float(power_db.min()) - 6.0)
    delay_ns = taps["delay_s"] / units.SECONDS["ns"]
    axis.vlines(delay_ns, low, taps["power_db"].clip(lower=low), color=SERIES[0], linewidth=1.2)
    axis.plot(delay_ns, taps["power_db"], "o", color=SERIES[0], markersize=3, mew=0, label="taps")
    at_ns = point.delay_s[0, counted] / units.SECONDS["ns"]
    axis.plot(at_ns, power_db, "o", color=SERIES[1], mfc="none", markersize=7, mew=1.4, label="paths")
    axis.set_ylim(low, top + 4.0)
    shown = delay_ns[taps["power_db"] > low]
    axis.set_xlim(shown.min() - 1e-3, shown.max() + 1e-3)
    axis.legend(frameon=False, fontsize=8)
    return png(figure)


def _draw_frequency(spectrum: pd.DataFrame) -> bytes:
    figure, axis = _chart("frequency from the carrier [MHz]", "|H|² [dB]")
    frequency_mhz = spectrum["frequency_hz"] / units.HERTZ["MHz"]
    axis.plot(frequency_mhz, spectrum["power_db"], color=SERIES[0], linewidth=1.3)
    axis.set_xlim(frequency_mhz.min(), frequency_mhz.max())
    top = float(spectrum["power_db"].max())
    axis.set_ylim(max(float(spectrum["power_db"].min()), top - _SHOWN_DB) - 2.0, top + 2.0)
    return png(figure)


def _draw_beam(point: PathTable, beam: pd.DataFrame) -> bytes:
    """Gain over all directions, and in it the paths, larger ones stronger."""
    figure, axis = _chart("azimuth of arrival [deg]", "zenith of arrival [deg]")
    one = units.RADIANS["deg"]
    gain_db = beam.pivot(index="zenith_rad", columns="azimuth_rad", values="gain_db").to_numpy()
    top, half = float(gain_db.max()), _STEP_DEG / 2
    image = axis.imshow(
        gain_db, cmap="inferno", vmin=top - _SHOWN_DB, vmax=top, aspect="auto", interpolation="nearest",
        extent=(-180 - half, 180 + half, 180 + half, -half),
    )  # fmt: skip
    counted = require_paths(point)
    power_db = point.power_db[0, counted]
    size = 110.0 * np.clip(1 + (power_db - power_db.max()) / _SHOWN_DB, 0.1, 1.0)
    axis.scatter(
        point.azimuth_rad[0, counted] / one, point.zenith_rad[0, counted] / one, s=size, facecolor="none",
        edgecolor="#7fe3ff", linewidth=1.4, clip_on=False,
    )  # fmt: skip
    axis.set(xticks=range(-180, 181, 60), yticks=range(0, 181, 30), xlim=(-180, 180), ylim=(180, 0))
    axis.grid(False)
    bar = figure.colorbar(image, ax=axis, extend="min", extendfrac=0.03, pad=0.015, aspect=24)
    bar.set_label("gain over one antenna [dB]", fontsize=8, color=INK)
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=7.5, length=2, width=0.5, colors=INK)
    return png(figure)


def _chart(x_label: str, y_label: str):
    figure = Figure(figsize=(7.0, 3.2), dpi=DPI, facecolor="white", layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#b9bfc6")
    axis.grid(True, color="#e6e8eb", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(colors=MUTED, labelsize=8)
    axis.set_xlabel(x_label, fontsize=9, color=INK)
    axis.set_ylabel(y_label, fontsize=9, color=INK)
    return figure, axis
