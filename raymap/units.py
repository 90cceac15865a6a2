"""The only conversions in the house: physical quantities on one side, network values in [-1, 1] on the other.

All functions are elementwise and accept Python numbers, numpy arrays and torch tensors alike.
"""

from __future__ import annotations

import math

SPEED_OF_LIGHT_M_S = 299_792_458.0

#: How much of ours one of a unit is that others write in: metres, seconds, hertz, radians.
METRES = {"m": 1.0, "km": 1e3}
SECONDS = {"s": 1.0, "us": 1e-6, "ns": 1e-9}
HERTZ = {"Hz": 1.0, "MHz": 1e6, "GHz": 1e9}
RADIANS = {"rad": 1.0, "deg": math.pi / 180.0}

#: Path gain shown as black (g = 0) in the field's pictures [dB]; RadioMapSeer's truncation.
GAIN_FLOOR_DB = -147.0
#: Path gain shown as white (g = 1) [dB]. The released RadioDiff family uses a span of exactly 100 dB.
GAIN_CEILING_DB = -47.0
GAIN_SPAN_DB = GAIN_CEILING_DB - GAIN_FLOOR_DB


def linear_from_db(value_db):
    """Power ratio from decibels: 10^(x/10)."""
    return 10.0 ** (value_db / 10.0)


def watt_from_dbm(power_dbm):
    """Power [W] from dBm: 10^((x-30)/10)."""
    return 10.0 ** ((power_dbm - 30.0) / 10.0)


def wavelength_m(frequency_hz: float) -> float:
    """Wavelength in vacuum [m] of a frequency [Hz]."""
    return SPEED_OF_LIGHT_M_S / frequency_hz


def free_space_loss_db(distance_m: float, frequency_hz: float) -> float:
    """Friis free-space path loss [dB] between isotropic antennas, 20·log10(4πd/λ)."""
    return 20.0 * math.log10(4.0 * math.pi * distance_m / wavelength_m(frequency_hz))


def grey_from_gain_db(gain_db):
    """Path gain [dB] to the field's grey level g, 0 at the floor and 1 at the ceiling (not clipped)."""
    return (gain_db - GAIN_FLOOR_DB) / GAIN_SPAN_DB


def gain_db_from_grey(grey):
    """Grey level g in [0, 1] to path gain [dB]; inverse of :func:`grey_from_gain_db`."""
    return grey * GAIN_SPAN_DB + GAIN_FLOOR_DB


def signal_from_grey(grey):
    """[0, 1] to the [-1, 1] that networks see."""
    return grey * 2.0 - 1.0


def grey_from_signal(signal):
    """[-1, 1] back to [0, 1]."""
    return (signal + 1.0) / 2.0


def signal_from_gain_db(gain_db):
    """Path gain [dB] to network values, -1 at the floor and 1 at the ceiling (not clipped)."""
    return signal_from_grey(grey_from_gain_db(gain_db))


def gain_db_from_signal(signal):
    """Network values to path gain [dB]; inverse of :func:`signal_from_gain_db`."""
    return gain_db_from_grey(grey_from_signal(signal))


def signal_from_amount(amount, middle):
    """An amount ≥ 0 to [-1, 1]: -1 for none, 0 for ``middle`` (same unit), rising to 1 at infinity, never clipped."""
    return 1.0 - 2.0 * middle / (amount + middle)


def signal_from_angle_deg(angle_deg, middle_deg=15.0):
    """An angle of either sign to (-1, 1): 0 for none, ±½ for ±``middle_deg``, never clipped."""
    return angle_deg / (abs(angle_deg) + middle_deg)


#: Height that maps to the middle of the network's range [m]; RadioMapSeer's buildings are all this high.
MIDDLE_HEIGHT_M = 25.0


def signal_from_height_m(height_m):
    """Height above ground [m] to [-1, 1): -1 on the ground, 0 at 25 m."""
    return signal_from_amount(height_m, MIDDLE_HEIGHT_M)
