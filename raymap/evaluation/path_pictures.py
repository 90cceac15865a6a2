"""Pictures of predicted paths beside the true ones, as PNG bytes. Drawn without pyplot: no state between calls.

The four kinds are those of Figs. 3 to 5 and Table I of Liu et al., "PINN and GNN-based RF Map Construction for Wireless
Communication Systems". A method has the same colour and the same mark in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from raymap.data.path_table import PathTable
from raymap.evaluation import charts
from raymap.evaluation.drawing import COLORMAP, DPI, INK, MARKERS, MUTED, SERIES, marked, plain, png, small
from raymap.evaluation.path_metrics import UNITS, errors, in_units
from raymap.evaluation.receiver_drawing import EMPTY, Places

_WIDTH_IN = 9.0
_DASHES = ("-", "--", "-.", ":")
#: Azimuths go round, and so do their colours: dark at 0°, bright at ±180°, one of them blue at 90°, one red at −90°.
_ROUND = LinearSegmentedColormap.from_list("round", ["#f5d547", "#c2402f", "#1f1436", "#2f86c1", "#f5d547"])
_COLORMAP = {
    "power": colormaps["inferno"],
    "delay": colormaps["viridis"],
    "zenith": colormaps["cividis"],
    "azimuth": _ROUND,
}


def error_curves(true: PathTable, predicted: Mapping[str, PathTable]) -> bytes:
    """Shares of paths whose absolute error is at most x, four parameters side by side, x on a log axis. PNG bytes.

    Above the strongest path by every method, below every path by the first method. Marks stand at 50 % and 90 %.
    ``predicted``: method -> paths at the receivers of ``true``; errors are those of ``path_metrics.errors``.
    Raises ValueError as that does, and without a method.
    """
    first = _first_of(predicted)
    size = {method: np.abs(errors(true, told)) for method, told in predicted.items()}
    above = {method: found[:, 0] for method, found in size.items()}
    below = {f"path {path + 1}": size[first][:, path] for path in range(true.num_paths)}
    figure = Figure(figsize=(_WIDTH_IN, 4.9), dpi=DPI, facecolor="white", layout="constrained")
    lines = figure.subplots(2, len(UNITS), sharey=True, sharex="col")
    for axes, (title, curves) in zip(lines, {"strongest path": above, f"by {first}": below}.items(), strict=True):
        for index, (axis, (parameter, unit)) in enumerate(zip(axes, UNITS.items(), strict=True)):
            for number, (name, found) in enumerate(curves.items()):
                _curve(axis, found[:, index], number, name)
            _dress(axis)
            if curves is below:
                axis.set_xlabel(f"{parameter} error [{unit}]", fontsize=9, color=INK)
        axes[-1].legend(
            title=plain(title), loc="center left", bbox_to_anchor=(1.03, 0.5), frameon=False, fontsize=8,
            title_fontproperties={"size": 8.5, "weight": "bold"}, alignment="left", handlelength=2.6,
        )  # fmt: skip
        axes[0].set(ylim=(0, 1.01), ylabel="share of paths")
        axes[0].set_yticks([0, 0.25, 0.5, 0.75, 0.9, 1], ["0", "25 %", "50 %", "75 %", "90 %", "100 %"])
    for index, axis in enumerate(lines[0]):
        _log_axis(axis, [found[:, index] for found in (*above.values(), *below.values())])
    return png(figure)


def first_path_maps(true: PathTable, predicted: PathTable) -> bytes:
    """The strongest path at every receiver: what is true, what is predicted and the error, of all four parameters.

    Receivers on a grid along x and y become its cells, others dots; x grows to the right and y downwards [m], as in all
    our maps. A parameter has one scale for both, that of the true values but their last 0.5 % at either end, and the
    error one that is symmetric about zero and holds 98 %. Grey: no receiver or true path. A star is the transmitter,
    if it is among the receivers. PNG bytes. Raises ValueError as ``path_metrics.errors``.
    """
    known, told = in_units(true)[:, 0], in_units(predicted)[:, 0]
    rows = {
        "true": known, "predicted": np.where(np.isfinite(known), told, np.nan),
        "predicted − true": errors(true, predicted)[:, 0],
    }  # fmt: skip
    place = Places(true.receivers_m, true.transmitter_m)
    panel_in = (_WIDTH_IN - 0.9) / len(UNITS)
    height_in = 3 * min(panel_in * place.height_m / place.width_m, 3.0) + 1.9
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=DPI, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.01)
    axes = figure.subplots(len(rows), len(UNITS), sharex=True, sharey=True)
    for column, (parameter, unit) in enumerate(UNITS.items()):
        norm, error_norm = _scales(parameter, rows["true"][:, column], rows["predicted − true"][:, column])
        own_look, error_look = (_COLORMAP[parameter], norm), (COLORMAP["error"], error_norm)
        for axis, name, look in zip(axes[:, column], rows, (own_look, own_look, error_look), strict=True):
            place.draw(axis, rows[name][:, column], *look)
            if column == 0:
                axis.set_ylabel(f"{name}\ny [m]", fontsize=8.5, color=INK)
        axes[0, column].set_title(parameter, fontsize=9.5, color=INK)
        axes[-1, column].set_xlabel("x [m]", fontsize=8.5, color=INK)
        _bar(figure, axes[:2, column], *own_look, label=f"{parameter} [{unit}]")
        _bar(figure, axes[2:, column], *error_look, label=f"error [{unit}]")
    return small(png(figure), _palette())


def impulse_responses(true: PathTable, predicted: Mapping[str, PathTable], receivers: Sequence[int]) -> bytes:
    """Power of the paths over their delay, a row per receiver and a column per method: true in grey beneath. PNG bytes.

    ``receivers``: places in the tables. Raises ValueError for a method or a receiver that is not there.
    """
    _first_of(predicted)
    if not len(receivers) or not (0 <= min(receivers) <= max(receivers) < len(true)):
        raise ValueError(f"receivers must lie in 0 to {len(true) - 1} and be at least one, got {list(receivers)}")
    height_in = 0.75 + 1.75 * len(receivers)
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(len(receivers), len(predicted), sharey="row", sharex="row", squeeze=False)
    for line, receiver in zip(axes, receivers, strict=True):
        tables = (true, *predicted.values())
        powers = np.concatenate([table.power_db[receiver] for table in tables])
        powers = powers[np.isfinite(powers)]
        low_db, high_db = (powers.min() - 6.0, powers.max() + 4.0) if len(powers) else (-1.0, 0.0)
        for number, (axis, told) in enumerate(zip(line, predicted.values(), strict=True)):
            _stems(axis, true, receiver, low_db, width=4.5, color="#b4bac1", marker="o", mfc="white", ms=7.5, mew=1.4)
            color, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
            _stems(axis, told, receiver, low_db, width=1.5, color=color, marker=marker, mfc=color, ms=4.5, mew=0)
            _dress(axis)
            axis.set_ylim(low_db, high_db)
        x_m, y_m, z_m = true.receivers_m[receiver]
        at = f"({x_m:.1f}, {y_m:.1f}, {z_m:.1f}) m".replace("-", "−")
        line[0].set_ylabel(f"{at}\n|gain| [dB]", fontsize=8.5, color=INK)
    for name, top, foot in zip(predicted, axes[0], axes[-1], strict=True):
        top.set_title(plain(name), fontsize=9, color=INK)
        foot.set_xlabel("delay [ns]", fontsize=8.5, color=INK)
    figure.supxlabel("broad and hollow: true; narrow and filled: predicted", fontsize=8, color=MUTED)
    return png(figure)


def error_by_rate(
    scores: Mapping[str, Mapping[str, Mapping[str, Mapping]]], label: str = "mixed MSE [dB², ns², deg²]"
) -> bytes:
    """A panel per scene: every method's error at every sampling rate, with 95 % intervals. PNG bytes.

    ``scores``: scene -> rate -> method -> ``{"mean", "low", "high"}``, a rate as its text, ``"0.05"``.
    Raises ValueError if no method has a positive mean.
    """
    panels = {
        plain(f"{scene}, by share measured"): {f"{scene}/{rate}": f"{100 * float(rate):g} %" for rate in rates}
        for scene, rates in scores.items()
    }
    methods: dict[str, dict[str, Mapping]] = {}
    for scene, rates in scores.items():
        for rate, found in rates.items():
            for method, score in found.items():
                methods.setdefault(method, {})[f"{scene}/{rate}"] = score
    return charts.error_profiles(panels, methods, label)


def _palette() -> np.ndarray:
    """(256, 3) uint8: each scale in 46 steps, and the greys of what else is drawn."""
    scales = [colors(np.linspace(0, 1, 46))[:, :3] for colors in (*_COLORMAP.values(), COLORMAP["error"])]
    inks = [np.linspace(to_rgb(ink), 1.0, 12) for ink in (INK, MUTED)]
    found = np.concatenate([*scales, *inks, [to_rgb(EMPTY), to_rgb("#111111")]])
    assert len(found) == 256, len(found)
    return np.rint(255 * found).astype(np.uint8)


def _scales(parameter: str, true: np.ndarray, error: np.ndarray) -> tuple[Normalize, Normalize]:
    true, error = true[np.isfinite(true)], np.abs(error[np.isfinite(error)])
    low, high = (-180.0, 180.0) if parameter == "azimuth" or not len(true) else np.quantile(true, (0.005, 0.995))
    limit = float(np.quantile(error, 0.98)) if len(error) else 1.0
    return Normalize(low, max(high, low + 1e-3)), Normalize(-max(limit, 1e-3), max(limit, 1e-3))


def _bar(figure, axes, colormap, norm: Normalize, label: str) -> None:
    whole = label.startswith("azimuth")
    bar = figure.colorbar(
        ScalarMappable(norm, colormap), ax=axes, orientation="horizontal", extend="neither" if whole else "both",
        extendfrac=0.05, aspect=22, fraction=0.05, pad=0.02,
    )  # fmt: skip
    if whole:
        bar.set_ticks([-180, -90, 0, 90, 180])
    bar.set_label(label, fontsize=8, color=INK, labelpad=2)
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=7, length=2, width=0.5, pad=2, colors=INK)


def _curve(axis, values: np.ndarray, number: int, name: str) -> None:
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return
    # A thousand steps look like all of them.
    share = np.linspace(0, 1, 1001)
    at = np.quantile(values, share)
    axis.plot(
        at, share, linestyle=_DASHES[number % len(_DASHES)], linewidth=1.5, markersize=5, markevery=[500, 900],
        label=plain(name), **marked(number),
    )  # fmt: skip


def _log_axis(axis, curves: Sequence[np.ndarray]) -> None:
    known = [curve[np.isfinite(curve)] for curve in curves]
    high = max((float(np.quantile(curve, 0.995)) for curve in known if len(curve)), default=1.0)
    low = min((float(np.quantile(curve, 0.05)) for curve in known if len(curve)), default=0.0)
    high = max(high, 1e-3)
    axis.set_xscale("log")
    axis.set_xlim(min(max(low, high / 1e4), high / 10), high)
    axis.xaxis.set_major_locator(LogLocator(numticks=6))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()


def _stems(axis, table: PathTable, receiver: int, low_db: float, width: float, color: str, **mark) -> None:
    delay_ns, power_db = in_units(table)[receiver, :, 1], table.power_db[receiver]
    axis.vlines(delay_ns, low_db, power_db, color=color, linewidth=width)
    axis.plot(delay_ns, power_db, linestyle="none", color=color, mec=color, **mark)


def _dress(axis) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#b9bfc6")
    axis.grid(True, color="#e6e8eb", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(colors=MUTED, labelsize=8)
    axis.yaxis.label.set(size=9, color=INK)


def _first_of(predicted: Mapping[str, PathTable]) -> str:
    if not predicted:
        raise ValueError("there is no method to draw")
    return next(iter(predicted))
