"""Path loss as a function of distance: free space and the log-distance law. Plain numpy, decibels."""

from __future__ import annotations

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
