"""Path loss as a function of distance: free space, the log-distance law, 3GPP's cells. Plain numpy, decibels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raymap import units


def distance_m(shape: tuple[int, int], cell_m: float, xy_m: tuple[float, float]) -> np.ndarray:
    """Horizontal distance [m] from a transmitter to every cell centre, (H, W) float64.

    ``xy_m``: (x, y) [m] from the grid's top left corner; the centre of cell (r, c) is ((c+½), (r+½))·cell_m.
    Never less than half a cell: the value of a cell stands for the whole cell, and a transmitter at its centre would
    otherwise make it infinite.
    """
    y_m = (np.arange(shape[0]) + 0.5) * cell_m - xy_m[1]
    x_m = (np.arange(shape[1]) + 0.5) * cell_m - xy_m[0]
    return np.maximum(np.sqrt(y_m[:, None] ** 2 + x_m[None, :] ** 2), 0.5 * cell_m)


def free_space_gain_db(distance_m: np.ndarray, frequency_hz: float) -> np.ndarray:
    """Path gain [dB] of free space between isotropic antennas, −20·log10(4πd/λ).

    ``distance_m`` [m], any shape, > 0; ``frequency_hz`` [Hz]. Friis, "A note on a simple transmission formula",
    Proc. IRE 34 (1946). Raises ValueError for a distance that is not positive.
    """
    return log_distance_gain_db(distance_m, units.free_space_loss_db(1.0, frequency_hz), 2.0)


def log_distance_gain_db(distance_m: np.ndarray, reference_loss_db: float, exponent: float) -> np.ndarray:
    """Path gain [dB] of the log-distance law, −(PL(1 m) + 10·n·log10(d / 1 m)).

    ``distance_m`` [m], any shape, > 0; ``reference_loss_db`` = PL(1 m) [dB]; ``exponent`` n, 2 in free space.
    Rappaport, "Wireless Communications", 2nd ed., eq. 4.68 without the shadowing term. Raises ValueError for a
    distance that is not positive.
    """
    distance_m = np.asarray(distance_m, dtype=np.float64)
    if distance_m.size and not distance_m.min() > 0:
        raise ValueError(f"distances must be positive [m], lowest is {distance_m.min():g}")
    return -(reference_loss_db + 10.0 * exponent * np.log10(distance_m))


class Cell3gpp(NamedTuple):
    """Coefficients of a scenario of 3GPP TR 38.901 v17, table 7.4.1-1; heights [m], frequencies [GHz]."""

    base_height_m: float
    near: tuple[float, float]
    beyond_breakpoint: float
    shadowed: tuple[float, float, float]


#: Base stations below the roofs ("UMi - Street Canyon") and above them ("UMa").
UMI = Cell3gpp(10.0, (32.4, 21.0), 9.5, (22.4, 35.3, 21.3))
UMA = Cell3gpp(25.0, (28.0, 22.0), 9.0, (13.54, 39.08, 20.0))
#: Height of the ground's effective reflection, and of a receiver in the street [m].
_EFFECTIVE_HEIGHT_M, _RECEIVER_HEIGHT_M = 1.0, 1.5
#: Frequencies that the report gives its coefficients for [Hz].
_FREQUENCIES_3GPP_HZ = (0.5e9, 100e9)


def cell_3gpp_gain_db(
    distance_m: np.ndarray, line_of_sight: np.ndarray, frequency_hz: float, scenario: Cell3gpp
) -> np.ndarray:
    """Path gain [dB] of a scenario of 3GPP TR 38.901 v17, table 7.4.1-1, without shadow fading.

    ``distance_m``: horizontal [m], any shape, > 0; ``line_of_sight``: bool, alike; ``frequency_hz``: 0.5 to 100 GHz.
    The base station has the scenario's height, the receiver 1.5 m. In sight two slopes meet at the breakpoint
    4·(h_BS − 1 m)·(h_UT − 1 m)·f/c; out of sight the greater of that loss and a steeper one. Below 10 m, where the
    report ends, its law goes on. Raises ValueError for a distance that is not positive and for another frequency.
    """
    distance_m = np.asarray(distance_m, dtype=np.float64)
    if distance_m.size and not distance_m.min() > 0:
        raise ValueError(f"distances must be positive [m], lowest is {distance_m.min():g}")
    low_hz, high_hz = _FREQUENCIES_3GPP_HZ
    if not low_hz <= frequency_hz <= high_hz:
        raise ValueError(f"3GPP's path loss is for {low_hz / 1e9:g} to {high_hz / 1e9:g} GHz, got {frequency_hz:g} Hz")
    rise_m = scenario.base_height_m - _RECEIVER_HEIGHT_M
    slant, in_ghz = np.log10(np.hypot(distance_m, rise_m)), np.log10(frequency_hz / 1e9)
    heights_m2 = (scenario.base_height_m - _EFFECTIVE_HEIGHT_M) * (_RECEIVER_HEIGHT_M - _EFFECTIVE_HEIGHT_M)
    breakpoint_m = 4.0 * heights_m2 / units.wavelength_m(frequency_hz)
    fixed_db, slope = scenario.near
    near_db = fixed_db + slope * slant + 20.0 * in_ghz
    from_breakpoint = scenario.beyond_breakpoint * np.log10(breakpoint_m**2 + rise_m**2)
    far_db = fixed_db + 40.0 * slant + 20.0 * in_ghz - from_breakpoint
    lit_db = np.where(distance_m <= breakpoint_m, near_db, far_db)
    fixed_db, slope, by_frequency = scenario.shadowed
    shadowed_db = np.maximum(lit_db, fixed_db + slope * slant + by_frequency * in_ghz)
    return -np.where(line_of_sight, lit_db, shadowed_db)
