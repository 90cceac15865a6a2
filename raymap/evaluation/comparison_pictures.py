"""Methods side by side, as small PNG bytes: the same maps by each, and the intervals of their scores as a chart."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from raymap import units
from raymap.evaluation.drawing import (
    BUILDING,
    COLORMAP,
    DPI,
    GAP_IN,
    INK,
    MUTED,
    SERIES,
    colour_bar,
    key,
    panel,
    plain,
    png,
    scales,
    small,
)

#: 1400 pixels: a page shows about 900, a dense screen twice as many.
WIDTH_IN = 1400 / DPI
_MARGIN_IN, _MAX_PANEL_IN, _BESIDE_IN = 0.1, 1.8, 0.04
_HEAD_IN, _TITLE_IN, _FOOT_IN = 0.3, 0.36, 1.12
#: Of a method's name: the width of a wide letter, and the height of a line.
_LETTER_IN, _LINE_IN = 0.085, 0.15
#: What the words under the first column need.
_KEY_IN = 1.5
_VEHICLE = ListedColormap(["#0b6e99"])
#: Of a log axis there is something to see from here.
_LOG_FROM = 4.0


def comparison(items: Sequence[Mapping[str, Any]]) -> bytes:
    """Two lines per map: the truth and every method's map, below them the buildings and every method's error.

    An item holds (H, W) arrays ``true_db`` [dB], ``outdoor`` (bool), ``building_m``, ``vehicle_m`` [m]; ``predicted``:
    method -> (map (H, W) [dB], NMSE); ``tx``: (row, column); ``cell_m`` [m]; ``title``. As in the scores, gains are cut
    to -147 … -47 dB. All share one scale of gain and one of error, which is symmetric about zero. Returns PNG bytes.

    Raises ValueError for no items, and for methods, shapes or cell sizes that differ between items.
    """
    methods = _checked_methods(items)
    height, width = np.shape(items[0]["true_db"])
    rows = [_panels(item) for item in items]
    norms = scales([("", [image for line in row for image in line], None, None) for row in rows])
    gaps = 2 * _MARGIN_IN + len(methods) * GAP_IN
    panel_w = min((WIDTH_IN - gaps) / (1 + len(methods)), _MAX_PANEL_IN)
    panel_h = panel_w * height / width
    total_w = gaps + (1 + len(methods)) * panel_w
    # Words stay whole: where one is wider than its panel, all heads are written smaller.
    names = [textwrap.fill(name, panel_w / _LETTER_IN, break_long_words=False) for name in ("truth", *methods)]
    smaller = min(1.0, panel_w / (_LETTER_IN * max(len(line) for name in names for line in name.split("\n"))))
    head_h = _HEAD_IN + _LINE_IN * max(name.count("\n") for name in names)
    total_h = head_h + len(rows) * (_TITLE_IN + 2 * panel_h + _BESIDE_IN) + _FOOT_IN
    figure = Figure(figsize=(total_w, total_h), dpi=DPI, facecolor="white")
    lefts = [_MARGIN_IN + column * (panel_w + GAP_IN) for column in range(1 + len(methods))]

    def write(left: float, top: float, text: str, **how: Any) -> None:
        figure.text(left / total_w, top / total_h, plain(text), **how)

    top = total_h - head_h
    for left, name in zip(lefts, names, strict=True):
        write(left + panel_w / 2, top + 0.07, name, ha="center", fontsize=9 * smaller, color=INK, weight="bold")
    for item, lines in zip(items, rows, strict=True):
        top -= _TITLE_IN
        write(_MARGIN_IN, top + 0.2, item.get("title", ""), fontsize=6.8, color=MUTED)
        for left, (_, nmse) in zip(lefts[1:], item["predicted"].values(), strict=True):
            write(left + panel_w / 2, top + 0.05, f"NMSE {nmse:.4f}", ha="center", fontsize=7, color=INK)
        for line in lines:
            for left, (_, image, kind) in zip(lefts, line, strict=True):
                box = (left / total_w, (top - panel_h) / total_h, panel_w / total_w, panel_h / total_h)
                axis = figure.add_axes(box)
                panel(axis, image, kind, norms[kind], item["tx"] if left == lefts[0] else None)
                if kind == "building":
                    _vehicles(axis, item)
            top -= panel_h + _BESIDE_IN
    _foot(figure, items, norms, (lefts, panel_w, top))
    return small(png(figure), _palette())


def _checked_methods(items: Sequence[Mapping[str, Any]]) -> list[str]:
    if not items or not items[0]["predicted"]:
        raise ValueError("there is nothing to draw: no maps or no methods")
    first = items[0]
    methods, shape = list(first["predicted"]), np.shape(first["true_db"])
    for item in items:
        if list(item["predicted"]) != methods:
            raise ValueError(f"{item.get('title')!r} has maps by {list(item['predicted'])}, the first by {methods}")
        if item["cell_m"] != first["cell_m"]:
            raise ValueError(f"{item.get('title')!r} has cells of {item['cell_m']} m, the first of {first['cell_m']} m")
        images = [image for image, _ in item["predicted"].values()]
        images += [item[key] for key in ("true_db", "outdoor", "building_m", "vehicle_m")]
        if any(np.shape(image) != shape for image in images):
            raise ValueError(f"{item.get('title')!r} holds images of other shapes than (H, W) = {shape}")
    return methods


def _panels(item: Mapping[str, Any]) -> tuple[list[tuple], list[tuple]]:
    """The two lines of a map, as (title, image, kind)."""

    def shown(gain_db: np.ndarray) -> np.ndarray:
        cut = np.clip(np.asarray(gain_db, float), units.GAIN_FLOOR_DB, units.GAIN_CEILING_DB)
        return np.where(item["outdoor"], cut, np.nan)

    true_db = shown(item["true_db"])
    predicted = [shown(image) for image, _ in item["predicted"].values()]
    maps = [("", image, "gain") for image in (true_db, *predicted)]
    errors = [("", image - true_db, "error") for image in predicted]
    return maps, [("", np.asarray(item["building_m"], float), "building"), *errors]


def _vehicles(axis, item: Mapping[str, Any]) -> None:
    on_street = (np.asarray(item["vehicle_m"]) > 0) & item["outdoor"]
    if on_street.any():
        axis.imshow(np.ma.masked_equal(on_street, False), cmap=_VEHICLE, interpolation="nearest", aspect="auto")


def _foot(figure, items: Sequence[Mapping[str, Any]], norms: Mapping, place: tuple) -> None:
    """What the marks mean, under the first column or more; one bar for gains and one for errors under the others."""
    lefts, panel_w, top = place
    width = max(panel_w, _KEY_IN)
    cells = np.shape(items[0]["true_db"])[1] * width / panel_w
    top -= 0.06
    key(figure, (lefts[0], lefts[0] + width), top, cells, items[0]["cell_m"], items[0]["tx"])
    if any(np.any(item["vehicle_m"]) for item in items):
        axis = figure.axes[-1]
        axis.plot(0.03 * cells, -0.2, "s", color=_VEHICLE.colors[0], markersize=6.5, clip_on=False)
        axis.text(0.085 * cells, -0.22, "vehicle", fontsize=7.5, color=INK, va="center")
    span = (max(lefts[1], lefts[0] + width), lefts[-1] + panel_w)
    colour_bar(figure, "gain", norms["gain"], span, top + 0.08)
    colour_bar(figure, "error", norms["error"], span, top - 0.39)


def intervals(splits: Mapping[str, Mapping[str, Mapping]], reference: str, label: str = "NMSE") -> bytes:
    """Means with 95 % intervals of all methods, one panel per split under one order: least first in the first split.

    ``splits``: title of a split -> method -> ``{"mean", "low", "high"}``. A dotted line goes through the ``reference``.
    The axis is logarithmic where methods differ by a factor of four or more. Returns PNG bytes.

    Raises ValueError if no method has a positive mean.
    """
    scores = {
        title: {name: score for name, score in methods.items() if (score["mean"] or 0) > 0}
        for title, methods in splits.items()
    }
    scores = {title: methods for title, methods in scores.items() if methods}
    if not scores:
        raise ValueError(f"there is nothing to draw: no method has a positive {label}")
    order: list[str] = []
    for methods in scores.values():
        order += sorted((name for name in methods if name not in order), key=lambda name: methods[name]["mean"])
    figure = Figure(figsize=(WIDTH_IN, 0.85 + 0.27 * len(order)), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for axis, (title, methods) in zip(axes, scores.items(), strict=True):
        for row, name in enumerate(order):
            if name in methods:
                _interval(axis, row, methods[name], MUTED if name == reference else SERIES[0])
        if reference in methods:
            axis.axvline(methods[reference]["mean"], color=MUTED, linewidth=0.9, linestyle=":", zorder=0)
        _dress(axis, [score["mean"] for score in methods.values()])
        axis.set_title(title, fontsize=8.5, color=INK)
        axis.set_xlabel(f"{label} (lower is better)", fontsize=8, color=INK)
    axes[0].set_yticks(range(len(order)), [plain(name) for name in order])
    axes[0].set_ylim(len(order) - 0.5, -0.5)
    return small(png(figure), _palette())


def _interval(axis, row: int, score: Mapping, color: str) -> None:
    if score["low"] is not None:
        low = max(score["low"], score["mean"] * 0.05)  # an interval may pass zero, a log axis may not
        axis.plot([low, score["high"]], [row, row], color=color, linewidth=2.2, solid_capstyle="round")
    axis.plot(score["mean"], row, "o", color=color, markersize=5.5, mew=0)


def _dress(axis, means: Sequence[float]) -> None:
    if max(means) > _LOG_FROM * min(means):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_formatter(NullFormatter())
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.spines["bottom"].set_color("#b9bfc6")
    axis.grid(True, color="#e6e8eb", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(colors=MUTED, labelsize=7.5)
    axis.tick_params(axis="x", which="minor", length=0)
    axis.tick_params(axis="y", length=0, labelsize=8, labelcolor=INK)


def _palette() -> np.ndarray:
    """(256, 3) uint8: gains in steps of 0.8 dB, errors, greys and the shades of what else is drawn."""
    gains = COLORMAP["gain"](np.linspace(0, 1, 124))[:, :3]
    errors = COLORMAP["error"](np.linspace(0, 1, 73))[:, :3]
    inks = [to_rgb(color) for color in (INK, MUTED, SERIES[0])]
    shades = np.concatenate([np.linspace(ink, 1.0, 14) for ink in inks])
    others = [to_rgb(color) for color in ("#000000", BUILDING, "#b9bfc6", "#e6e8eb", COLORMAP["building"](0.0))]
    colors = np.concatenate([gains, errors, shades, others])
    return np.round(255 * np.resize(colors, (256, 3))).astype(np.uint8)
