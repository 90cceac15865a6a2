"""Pictures of a sweep: settings and scores side by side, learning curves, and what each setting is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from raymap.evaluation.drawing import DPI, INK, MUTED, SERIES, png

_WIDTH_IN = 9.0
#: Of scores there is a logarithm to see from here.
_LOG_FROM = 4.0
_SCORES = colormaps["viridis"]


def coordinates(names: Sequence[str], rows: Sequence[Mapping[str, Any]], label: str) -> bytes:
    """Parallel coordinates: an axis for every setting, the last one the score; a line for every trial. PNG bytes.

    ``rows``: {"values": one for each of ``names``, "score", "is_best"}, best last, so that it lies on top. Settings
    that are no numbers are spread evenly; numbers above 0 that span more than a decade are logarithmic.
    """
    scores = np.array([row["score"] for row in rows], float)
    columns = [*zip(*(row["values"] for row in rows), strict=True), scores]
    axes = [_Axis(column) for column in columns]
    figure = Figure(figsize=(_WIDTH_IN, 3.6), dpi=DPI, facecolor="white", layout="constrained")
    plot = figure.subplots()
    scale = _scale(scores)
    for number, row in enumerate(rows):
        heights = [axis.height(column[number]) for axis, column in zip(axes, columns, strict=True)]
        best = row["is_best"]
        plot.plot(range(len(axes)), heights, color=SERIES[1] if best else _SCORES(scale(row["score"])), zorder=3 + best,
                  linewidth=2.6 if best else 1.2, alpha=1.0 if best else 0.8,
                  label="best" if best else None)  # fmt: skip
    for at, axis in enumerate(axes):
        plot.axvline(at, color=MUTED, linewidth=0.8, zorder=1)
        for height, text in axis.ticks():
            plot.plot([at - 0.015, at + 0.015], [height, height], color=MUTED, linewidth=0.8, zorder=1)
            plot.text(at + 0.03, height, text, fontsize=7.5, color=INK, va="center", zorder=5,
                      bbox={"facecolor": "white", "alpha": 0.75, "pad": 0.6, "linewidth": 0})  # fmt: skip
    plot.set_xticks(range(len(axes)), [_wrapped(name) for name in (*names, label)], fontsize=8.5, color=INK)
    plot.set_xlim(-0.1, len(axes) - 0.7)
    plot.set_ylim(-0.05, 1.05)
    plot.set_yticks([])
    for side in plot.spines.values():
        side.set_visible(False)
    plot.tick_params(length=0)
    bar = figure.colorbar(ScalarMappable(scale, _SCORES), ax=plot, fraction=0.03, pad=0.01)
    bar.set_label(f"{label}, all but the best", fontsize=8.5, color=INK)
    if isinstance(scale, LogNorm):
        _in_decades(bar.ax.yaxis)
    bar.ax.tick_params(labelsize=7.5)
    plot.legend(loc="upper left", bbox_to_anchor=(0, 1.1), frameon=False, fontsize=8.5)
    return png(figure)


class _Axis:
    """Where values of one column stand, from 0 to 1."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if not self.is_number:
            self.kinds = sorted({str(value) for value in values})
            return
        low, high = float(min(values)), float(max(values))
        self.is_log = low > 0 and high / low > 10
        self.low, self.high = (math.log10(low), math.log10(high)) if self.is_log else (low, high)

    def height(self, value: Any) -> float:
        if not self.is_number:
            return self.kinds.index(str(value)) / max(1, len(self.kinds) - 1)
        span = self.high - self.low
        return ((math.log10(value) if self.is_log else float(value)) - self.low) / span if span else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """Heights and texts of a few values."""
        if not self.is_number:
            return [(self.height(kind), kind) for kind in self.kinds]
        if self.low == self.high:
            return [(0.5, f"{10**self.low if self.is_log else self.low:.3g}")]
        found = []
        for height in np.linspace(0, 1, 5):
            value = self.low + height * (self.high - self.low)
            found.append((float(height), f"{10**value if self.is_log else value:.3g}"))
        return found


def _wrapped(name: str) -> str:
    """A dotted name on lines of its own, so that names do not meet."""
    return name.replace(".", ".\n") if len(name) > 14 else name


def _scale(scores: np.ndarray) -> Normalize:
    low, high = float(scores.min()), float(scores.max())
    if low <= 0 or high == low:
        return Normalize(low, high if high > low else low + 1)
    return LogNorm(low, high) if high / low > _LOG_FROM else Normalize(low, high)


def learning_curves(curves: Sequence[Mapping[str, Any]], label: str) -> bytes:
    """Scores over steps: {"steps", "scores", "status", "is_best"} of every trial. PNG bytes."""
    figure = Figure(figsize=(_WIDTH_IN, 3.4), dpi=DPI, facecolor="white", layout="constrained")
    axis = figure.subplots()
    looks = {
        "finished": {"color": SERIES[0], "linewidth": 1.6, "zorder": 3},
        "stopped": {"color": MUTED, "linewidth": 1.0, "zorder": 2},
        "failed": {"color": SERIES[3], "linewidth": 1.0, "zorder": 2, "linestyle": "--"},
    }
    said = set()
    for curve in sorted(curves, key=lambda curve: curve["is_best"]):
        status = "best" if curve["is_best"] else curve["status"]
        look = {"color": SERIES[1], "linewidth": 2.4, "zorder": 4} if status == "best" else looks[status]
        axis.plot(curve["steps"], curve["scores"], marker="o", markersize=3, label=None if status in said else status,
                  **look)  # fmt: skip
        said.add(status)
    scores = [score for curve in curves for score in curve["scores"]]
    if min(scores) > 0 and max(scores) / min(scores) > _LOG_FROM:
        axis.set_yscale("log")
        _in_decades(axis.yaxis)
    _plain(axis, "training steps", label)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1))
    return png(figure)


def importance(shares: Mapping[str, float]) -> bytes:
    """Bars of what settings are worth, the largest on top; together 1. PNG bytes."""
    ordered = sorted(shares.items(), key=lambda pair: pair[1])
    figure = Figure(figsize=(_WIDTH_IN, 0.8 + 0.34 * len(ordered)), dpi=DPI, facecolor="white", layout="constrained")
    axis = figure.subplots()
    bars = axis.barh([name for name, _ in ordered], [share for _, share in ordered], color=SERIES[0], height=0.6)
    axis.bar_label(bars, [f"{share:.0%}" for _, share in ordered], padding=4, fontsize=9, color=INK)
    _plain(axis, "share of the variance of the score that the setting explains", None)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xlim(0, max(shares.values()) * 1.12 or 1)
    return png(figure)


def front(points: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> bytes:
    """Two objectives against each other; what nothing beats in both is joined. PNG bytes.

    ``points``: {"values": (x, y), "is_front"}.
    """
    figure = Figure(figsize=(_WIDTH_IN * 0.7, 3.4), dpi=DPI, facecolor="white", layout="constrained")
    axis = figure.subplots()
    others = [point["values"] for point in points if not point["is_front"]]
    best = sorted(point["values"] for point in points if point["is_front"])
    if others:
        axis.plot(*zip(*others, strict=True), "o", color=MUTED, markersize=4, label="beaten in both")
    axis.plot(*zip(*best, strict=True), "o-", color=SERIES[1], markersize=5, linewidth=1.4, label="not beaten")
    _plain(axis, labels[0], labels[1])
    axis.legend(frameon=False, fontsize=9)
    return png(figure)


def _in_decades(axis) -> None:
    """Ticks of a logarithmic axis as plain numbers, a few in every decade."""
    axis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _plain(axis, x_label: str, y_label: str | None) -> None:
    axis.set_xlabel(x_label, color=INK, fontsize=9.5)
    if y_label:
        axis.set_ylabel(y_label, color=INK, fontsize=9.5)
    axis.tick_params(labelsize=8.5, color=MUTED, labelcolor=INK)
    axis.grid(color="#e6e8ea", linewidth=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
