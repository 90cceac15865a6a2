"""Charts of scores, as PNG bytes. Drawn without pyplot: no window, no state between calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from raymap.evaluation.drawing import DPI, INK, MUTED, SERIES, marked, plain, png
from raymap.evaluation.intervals import clustered_mean
from raymap.evaluation.summary import column, frame

#: Of the charts, and of a letter in their texts.
_WIDTH_IN, _LETTER_IN = 9.0, 0.073
#: Of a log axis there is something to see from here.
_LOG_FROM = 4.0


def error_curves(rows, key: str = "raw/outdoor/rmse_db", label: str = "RMSE of one map, outdoors [dB]") -> bytes:
    """For every method, the share of images whose ``key`` is at most x. PNG bytes.

    ``rows`` as in ``summary.summarise``. Raises ValueError if the column is missing or empty.
    """
    table = frame(rows)
    if key not in table or not np.isfinite(column(table, key)[0]).any():
        raise ValueError(f"no values in column {key!r}")
    parts = list(table.groupby("method", sort=False))
    figure, axis = _chart(_height_in(len(parts)), right_in=_legend_in([f"{name}  (median 00.0)" for name, _ in parts]))
    for index, (name, part) in enumerate(parts):
        values, _ = column(part, key)
        values = np.sort(values[np.isfinite(values)])
        if not len(values):
            continue
        share = np.arange(1, len(values) + 1) / len(values)
        axis.step(
            np.r_[values[0], values],
            np.r_[0, share],
            where="post",
            linewidth=1.8,
            **_line(index),
            label=f"{plain(name)}  (median {np.median(values):.1f})",
        )
    axis.set_xlim(left=0)
    _shares(axis, label, "share of images at or below")
    return png(figure)


def location_curves(points, reference: str, least_m: float) -> bytes:
    """For every method, the share of points that are located at most x metres off, on a log axis. PNG bytes.

    ``points``: a DataFrame with columns ``method``, ``scene`` and ``error_m`` [m]. The method ``reference`` is dashed
    and grey. The axis starts at ``least_m`` [m]. Raises ValueError without any point.
    """
    table = frame(points)
    most_m = max(float(table["error_m"].max()), 2 * least_m)
    at_m = np.geomspace(least_m, most_m, 400)
    parts = list(table.groupby("method", sort=False))
    labels = [f"{name}  (median 000.0 m)" for name, _ in parts]
    figure, axis = _chart(_height_in(len(parts)), right_in=_legend_in(labels))
    for index, (name, part) in enumerate(parts):
        values = np.sort(part["error_m"].to_numpy())
        line = {"color": MUTED, "linestyle": "--"} if name == reference else _line(index)
        share = np.searchsorted(values, at_m, side="right") / len(values)
        axis.plot(at_m, share, linewidth=1.8, label=f"{plain(name)}  (median {np.median(values):.1f} m)", **line)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlim(least_m, most_m)
    _shares(axis, "localization error [m]", "share of points at or below")
    return png(figure)


def _shares(axis, x_label: str, y_label: str) -> None:
    """Shares up the side, methods beside the chart."""
    axis.set_ylim(0, 1.01)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, handlelength=1.6)


def method_intervals(rows, floors: Sequence[str] = (), key: str = "raw/all/nmse", label: str = "NMSE") -> bytes:
    """Mean and 95 % interval of ``key`` per method, least first, on a log axis; floors are hollow. PNG bytes.

    Small grey dots below are the means of single scenes. ``rows`` as in ``summary.summarise``. Raises ValueError if the
    column is missing or has no positive value.
    """
    table = frame(rows)
    if key not in table:
        raise ValueError(f"no values in column {key!r}")
    columns = {name: column(part, key) for name, part in table.groupby("method", sort=False)}
    scores = {name: clustered_mean(*columns[name]) for name in columns}
    scores = {name: score for name, score in scores.items() if (score["mean"] or 0) > 0}
    if not scores:
        raise ValueError(f"no positive values in column {key!r}")
    order = sorted(scores, key=lambda name: scores[name]["mean"])
    labels = [name + " (floor)" * (name in floors) for name in order]
    left_in = max(1.9, 0.2 + _LETTER_IN * max(map(len, labels)))
    figure, axis = _chart(0.75 + 0.36 * len(order), left_in, right_in=0.35)
    for row, name in enumerate(order):
        (values, scenes), score = columns[name], scores[name]
        per_scene = np.array([values[scenes == scene].mean() for scene in np.unique(scenes)])
        per_scene = per_scene[per_scene > 0]
        axis.plot(per_scene, np.full(len(per_scene), row + 0.24), "o", color=MUTED, alpha=0.4, markersize=3.2, mew=0)
        color = MUTED if name in floors else SERIES[0]
        if score["low"] is not None:
            low = max(score["low"], score["mean"] * 0.05)  # an interval may pass zero, a log axis may not
            axis.plot([low, score["high"]], [row, row], color=color, linewidth=2.4, solid_capstyle="round")
        fill = "white" if name in floors else color
        axis.plot(score["mean"], row, "o", color=color, markersize=7.5, mew=1.8, mfc=fill)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_yticks(range(len(order)), [plain(label) for label in labels])
    axis.set_ylim(len(order) - 0.4, -0.6)
    axis.set_xlabel(label)
    axis.tick_params(axis="y", length=0, labelcolor=INK)
    return png(figure)


def error_profiles(
    panels: Mapping[str, Mapping[str, str]],
    scores: Mapping[str, Mapping[str, Mapping]],
    label: str = "RMSE outdoors, mean of maps [dB]",
) -> bytes:
    """For every method a line through its errors from place to place, with 95 % intervals; log if they span much.

    ``panels``: title -> place -> what stands under it, drawn side by side. ``scores``: method -> place -> ``{"mean",
    "low", "high"}``, without the places where it was not scored. A method has the colour that it has in
    :func:`error_curves`. PNG bytes. Raises ValueError if no method has a positive mean in any place.
    """
    drawn = {
        name: {place: score for place, score in found.items() if (score["mean"] or 0) > 0}
        for name, found in scores.items()
    }
    means = [score["mean"] for found in drawn.values() for score in found.values()]
    if not means:
        raise ValueError(f"no positive values of {label} in any of {[*panels]}")
    axes = _panels([len(places) for places in panels.values()], _height_in(len(drawn)), _legend_in(drawn))
    for axis, (title, places) in zip(axes, panels.items(), strict=True):
        for index, (name, found) in enumerate(drawn.items()):
            _profile(axis, [found.get(place) for place in places], name, index, len(drawn))
        _dress(axis)
        axis.set_title(title, fontsize=9, color=INK)
        axis.set_xticks(range(len(places)), [plain(text) for text in places.values()])
        axis.set_xlim(-0.45, len(places) - 0.55)
        if axis is not axes[0]:
            axis.tick_params(axis="y", which="both", length=0)
            axis.spines["left"].set_visible(False)
    if max(means) > _LOG_FROM * min(means):
        axes[0].set_yscale("log")
        axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes[0].yaxis.set_minor_formatter(NullFormatter())
    else:
        axes[0].set_ylim(bottom=0)
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].set_ylabel(label)
    lines = {line.get_label(): line for axis in axes for line in axis.get_legend_handles_labels()[0]}
    axes[-1].legend(
        handles=[*lines.values()], loc="center left", bbox_to_anchor=(1.0, 0.5), borderaxespad=1.2, frameon=False,
        handlelength=1.6, fontsize=8.5,
    )  # fmt: skip
    return png(axes[0].figure)


def _panels(widths: Sequence[int], height_in: float, right_in: float):
    """Axes side by side, as wide as told in proportion, that share their y."""
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=DPI, facecolor="white")
    grid = figure.add_gridspec(
        1, len(widths), width_ratios=widths, wspace=0.1, left=0.95 / _WIDTH_IN, right=1 - right_in / _WIDTH_IN,
        bottom=0.35 / height_in, top=1 - 0.35 / height_in,
    )  # fmt: skip
    return grid.subplots(sharey=True, squeeze=False)[0]


def _profile(axis, scores: Sequence[Mapping | None], name: str, index: int, num: int) -> None:
    """The line of one of ``num`` methods; intervals stand beside each other, since they overlap."""
    shift = 0.3 * ((index + 0.5) / num - 0.5)
    points = [(place + shift, score) for place, score in enumerate(scores) if score]
    if not points:
        return
    line = _line(index)
    means = [score["mean"] for _, score in points]
    line |= {**marked(index), "markersize": 4.5, "linewidth": 1.6}
    axis.plot([x for x, _ in points], means, label=plain(name), **line)
    for x, score in points:
        if score["low"] is not None:
            low = max(score["low"], score["mean"] * 0.05)  # an interval may pass zero, a log axis may not
            axis.plot([x, x], [low, score["high"]], color=line["color"], linewidth=1.1, alpha=0.6)


def _line(index: int) -> dict:
    """How the line of a method is drawn, by its place among the methods."""
    return {"color": SERIES[index % len(SERIES)], "linestyle": ("-", "--", ":")[index // len(SERIES) % 3]}


def _height_in(num_methods: int) -> float:
    """Of a chart whose legend names so many methods."""
    return max(3.4, 0.7 + 0.21 * num_methods)


def _legend_in(labels: Iterable[str]) -> float:
    """Width that a legend of these labels takes beside a chart."""
    return 0.6 + _LETTER_IN * max(map(len, labels))


def _chart(height_in: float, left_in: float = 0.95, *, right_in: float):
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=DPI, facecolor="white")
    box = (left_in / _WIDTH_IN, 0.55 / height_in, 1 - (left_in + right_in) / _WIDTH_IN, 1 - 0.7 / height_in)
    axis = figure.add_axes(box)
    _dress(axis)
    return figure, axis


def _dress(axis) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#b9bfc6")
    axis.grid(True, color="#e6e8eb", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(colors=MUTED, labelsize=8.5)
    axis.xaxis.label.set(size=9, color=INK)
    axis.yaxis.label.set(size=9, color=INK)
