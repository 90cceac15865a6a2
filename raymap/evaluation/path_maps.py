"""What the paths at a receiver come to, receiver by receiver, as maps: numbers and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from raymap import units
from raymap.data.path_table import PathTable
from raymap.evaluation.drawing import DPI, INK, png
from raymap.evaluation.receiver_drawing import Places
from raymap.physics.channel_response import angular_spread_rad, delay_spread_s

_WIDTH_IN, _MOST_COLUMNS = 9.0, 3


class Quantity(NamedTuple):
    """How a map is shown: its title, the unit for people and how much of ours one of it is, and its colours."""

    title: str
    unit: str
    one: float
    colormap: str


#: Every map by its name, which ends in the unit at rest.
QUANTITIES = {
    "power_db": Quantity("power of all paths", "dB", 1.0, "inferno"),
    "delay_s": Quantity("delay of the strongest path", "ns", units.SECONDS["ns"], "viridis"),
    "num_paths": Quantity("number of paths", "", 1.0, "Blues"),
    "delay_spread_s": Quantity("delay spread, rms", "ns", units.SECONDS["ns"], "viridis"),
    "azimuth_spread_rad": Quantity("azimuth spread", "deg", units.RADIANS["deg"], "cividis"),
    "zenith_spread_rad": Quantity("zenith spread", "deg", units.RADIANS["deg"], "cividis"),
}
#: Errors to expect, rms over the paths of a receiver.
ERRORS = {
    "power_error_db": Quantity("error of power", "dB", 1.0, "YlOrBr"),
    "delay_error_s": Quantity("error of delay", "ns", units.SECONDS["ns"], "YlOrBr"),
    "zenith_error_rad": Quantity("error of zenith", "deg", units.RADIANS["deg"], "YlOrBr"),
    "azimuth_error_rad": Quantity("error of azimuth", "deg", units.RADIANS["deg"], "YlOrBr"),
}


def errors(spread: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> (N,) float32 of every map of :data:`ERRORS`, from the ``spread`` (N, P, 4) of every number of a path.

    As :func:`raymap.models.path_spread.spread` has it; paths of which it is NaN do not count. NaN where none is known.
    """
    square = np.asarray(spread, np.float64) ** 2
    num = np.isfinite(square).sum(axis=1)
    mean = np.divide(np.nansum(square, axis=1), num, out=np.full(num.shape, np.nan), where=num > 0)
    return dict(zip(ERRORS, np.sqrt(mean).astype(np.float32).T, strict=True))


def maps(table: PathTable) -> dict[str, np.ndarray]:
    """Name -> (N,) of every map of :data:`QUANTITIES`; float32, ``num_paths`` int32.

    ``power_db``: path gain of all paths together, Σ|α|² [dB]; ``delay_s``: of the strongest path; ``num_paths``: how
    many there are; spreads: those of :mod:`raymap.physics.channel_response`, weighted by power. A path counts in a map
    if its power and what the map needs of it are known. NaN where no path counts, which is 0 in ``num_paths``.
    """
    power = units.linear_from_db(table.power_db.astype(np.float64))
    total = np.nansum(power, axis=1)
    power_db = 10.0 * np.log10(total, out=np.full(len(table), np.nan), where=total > 0)
    amplitude = np.sqrt(power)  # without its phase, for which the delay would have to be known
    found = {
        "power_db": power_db,
        "delay_s": table.delay_s[:, 0],
        "num_paths": table.valid.sum(1),
        "delay_spread_s": delay_spread_s(amplitude, table.delay_s),
        "azimuth_spread_rad": angular_spread_rad(amplitude, table.azimuth_rad),
        "zenith_spread_rad": angular_spread_rad(amplitude, table.zenith_rad),
    }
    return {name: values.astype(np.int32 if name == "num_paths" else np.float32) for name, values in found.items()}


def draw(table: PathTable, names: Sequence[str] = tuple(QUANTITIES), known: Mapping[str, np.ndarray] = {}) -> bytes:
    """Maps of a table side by side, each with a scale of its own, as PNG bytes; ``known``: those of :func:`errors`.

    Receivers on a grid along x and y are its cells, others dots; x grows to the right and y downwards [m]. A scale
    spans all values but the last 0.5 % at either end. Grey: no receiver, or nothing known. A star is the transmitter,
    if it is among the receivers. Raises ValueError for a map that there is not.
    """
    found, places = {**maps(table), **known}, Places(table.receivers_m, table.transmitter_m)
    if unknown := [name for name in names if name not in found]:
        raise ValueError(f"there is no map {unknown[0]!r}; there are {', '.join(found)}")
    num_columns = min(len(names), _MOST_COLUMNS)
    num_rows = -(-len(names) // num_columns)
    width_in = _WIDTH_IN / max(num_columns, 2) * num_columns
    shape = min(max(places.height_m / places.width_m, 0.1), 2.5)
    height_in = num_rows * ((width_in / num_columns - 0.45) * shape + 1.05) + 0.25
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(num_rows, num_columns, squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.remove()
    for axis, name in zip(axes.flat, names, strict=False):
        quantity = (QUANTITIES | ERRORS)[name]
        colors, norm = _scale(name, found[name] / quantity.one, table.num_paths)
        places.draw(axis, found[name] / quantity.one, colors, norm)
        axis.set_title(quantity.title, fontsize=9.5, color=INK)
        axis.set_xlabel("x [m]", fontsize=8, color=INK, labelpad=1)
        axis.set_ylabel("y [m]", fontsize=8, color=INK, labelpad=1)
        bar = figure.colorbar(
            ScalarMappable(norm, colors), ax=axis, orientation="horizontal", extendfrac=0.05, aspect=22, fraction=0.06,
            pad=0.02, extend="neither" if name == "num_paths" else "both",
        )  # fmt: skip
        bar.set_label(f"[{quantity.unit}]" if quantity.unit else "paths", fontsize=8, color=INK, labelpad=2)
        if name == "num_paths":
            bar.set_ticks(np.arange(0, table.num_paths + 1, 1 + table.num_paths // 10))
        bar.outline.set_linewidth(0.4)
        bar.ax.tick_params(labelsize=7, length=2, width=0.5, pad=2, colors=INK)
    return png(figure)


def _scale(name: str, values: np.ndarray, num_paths: int):
    """The colours of a map and what they span."""
    colors = colormaps[(QUANTITIES | ERRORS)[name].colormap]
    if name == "num_paths":
        return colors.resampled(num_paths + 1), Normalize(-0.5, num_paths + 0.5)
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, (0.005, 0.995)) if len(values) else (0.0, 1.0)
    if "spread" in name or name in ERRORS:
        low = 0.0
    return colors, Normalize(low, max(high, low + 1e-3))
