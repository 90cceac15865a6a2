"""Pictures of maps and charts of scores, as PNG bytes. Drawn without pyplot: no window, no state between calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from raymap import units
from raymap.evaluation.drawing import (
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
)
from raymap.evaluation.intervals import clustered_mean
from raymap.evaluation.summary import column, frame
from raymap.scene import RadioMap, Scene, Transmitter

_WIDTH_IN, _MARGIN_IN = 9.0, 0.15


def strip(columns: Sequence[tuple], cell_m: float | None = None, tx: tuple[int, int] | None = None) -> bytes:
    """One row of panels. ``columns``: (title, image, kind) with image (H, W); NaN is drawn as building, in grey.

    Kinds: ``building`` (height [m], > 0 is built), ``outline`` [0, 1], ``gain`` [dB], ``error`` [dB]. Each kind but
    the first gets a colour bar. ``tx`` = (row, column) adds a star, ``cell_m`` [m] a scale bar, which stands under the
    first column if that is of kind ``building``. Returns PNG bytes.
    Raises ValueError for no columns, an unknown kind or images of different shapes.
    """
    return _render([("", list(columns), cell_m, tx)])


def gallery(items: Sequence[dict], path=None) -> bytes:
    """One row per map: building, outline, predicted map, true map, error. Returns PNG bytes, also written to ``path``.

    An item holds (H, W) arrays ``building_m`` [m], ``predicted_db``, ``true_db`` [dB], ``outdoor`` (bool) and
    optionally ``outline`` [0, 1]; ``tx``: (row, column); ``title``; optionally ``cell_m`` [m] for the scale bar. Gains
    are cut to -147 … -47 dB as in the scores, and the error is the difference of what is drawn. Buildings are grey.

    Raises ValueError for no items, or shapes, cell sizes or sets of panels that differ between items.
    """
    rows = []
    for item in items:
        built = ~np.asarray(item["outdoor"], bool)
        predicted_db, true_db = (
            np.where(built, np.nan, np.clip(item[key], units.GAIN_FLOOR_DB, units.GAIN_CEILING_DB))
            for key in ("predicted_db", "true_db")
        )
        panels = [("buildings", np.asarray(item["building_m"]), "building")]
        if item.get("outline") is not None:
            panels.append(("outline", np.where(built, np.nan, item["outline"]), "outline"))
        panels += [
            ("predicted map", predicted_db, "gain"),
            ("true map", true_db, "gain"),
            ("error", predicted_db - true_db, "error"),
        ]
        rows.append((str(item.get("title", "")), panels, item.get("cell_m"), item.get("tx")))
    png = _render(rows)
    if path is not None:
        Path(path).write_bytes(png)
    return png


def maps(items: Sequence[tuple[Scene, Transmitter, RadioMap]]) -> bytes:
    """One row per map: buildings with the transmitter, vehicles if any scene has some, and the gain. PNG bytes."""
    with_vehicles = any(scene.vehicle_m.any() for scene, _, _ in items)
    rows = []
    for scene, transmitter, radio_map in items:
        panels = [("buildings", scene.building_m, "building")]
        if with_vehicles:
            vehicle = np.where(scene.outdoor, (scene.vehicle_m > 0).astype(float), np.nan)
            panels.append(("vehicles", vehicle, "outline"))
        panels.append(("path gain", np.where(radio_map.valid, radio_map.gain_db, np.nan), "gain"))
        rows.append((scene.name, panels, scene.grid.cell_m, transmitter.cell(scene.grid)))
    return _render(rows)


def error_curves(rows, key: str = "raw/outdoor/rmse_db", label: str = "RMSE of one map, outdoors [dB]") -> bytes:
    """For every method, the share of images whose ``key`` is at most x. PNG bytes.

    ``rows`` as in ``summary.summarise``. Raises ValueError if the column is missing or empty.
    """
    table = frame(rows)
    if key not in table or not np.isfinite(column(table, key)[0]).any():
        raise ValueError(f"no values in column {key!r}")
    figure, axis = _chart(3.4)
    for index, (name, part) in enumerate(table.groupby("method", sort=False)):
        values, _ = column(part, key)
        values = np.sort(values[np.isfinite(values)])
        if not len(values):
            continue
        share = np.arange(1, len(values) + 1) / len(values)
        line = _line(index) | {"label": f"{plain(name)}  (median {np.median(values):.1f})"}
        axis.step(np.r_[values[0], values], np.r_[0, share], where="post", **line)
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
    figure, axis = _chart(3.4)
    for index, (name, part) in enumerate(table.groupby("method", sort=False)):
        values = np.sort(part["error_m"].to_numpy())
        line = {"color": MUTED, "linestyle": "--", "linewidth": 1.8} if name == reference else _line(index)
        share = np.searchsorted(values, at_m, side="right") / len(values)
        axis.plot(at_m, share, label=f"{plain(name)}  (median {np.median(values):.1f} m)", **line)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlim(least_m, most_m)
    _shares(axis, "localization error [m]", "share of points at or below")
    return png(figure)


def _line(index: int) -> dict:
    """How the line of a chart's method is drawn."""
    style = ("-", "--", ":")[index // len(SERIES) % 3]
    return {"color": SERIES[index % len(SERIES)], "linestyle": style, "linewidth": 1.8}


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
    figure, axis = _chart(0.75 + 0.36 * len(order), left_in=1.9, right_in=0.35)
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
    axis.set_yticks(range(len(order)), [plain(name) + " (floor)" * (name in floors) for name in order])
    axis.set_ylim(len(order) - 0.4, -0.6)
    axis.set_xlabel(label)
    axis.tick_params(axis="y", length=0, labelcolor=INK)
    return png(figure)


def _render(rows: list[tuple]) -> bytes:
    """Rows of (title, panels, cell_m, tx) under shared headings, with colour bars at the foot."""
    kinds = _checked_kinds(rows)
    height, width = np.shape(rows[0][1][0][1])
    panel_w = min((_WIDTH_IN - 2 * _MARGIN_IN - (len(kinds) - 1) * GAP_IN) / len(kinds), 3.0)
    panel_h = panel_w * height / width
    title_h = 0.27 if any(row[0] for row in rows) else GAP_IN
    total_w = 2 * _MARGIN_IN + len(kinds) * panel_w + (len(kinds) - 1) * GAP_IN
    total_h = 0.4 + len(rows) * (panel_h + title_h) + 0.62
    figure = Figure(figsize=(total_w, total_h), dpi=DPI, facecolor="white")
    norms = scales(rows)
    lefts = [_MARGIN_IN + column * (panel_w + GAP_IN) for column in range(len(kinds))]

    top = total_h - 0.3
    for left, (title, _, _) in zip(lefts, rows[0][1], strict=True):
        figure.text((left + panel_w / 2) / total_w, top / total_h, title, ha="center", fontsize=9.5, color=INK)
    for title, panels, _, tx in rows:
        top -= title_h
        if title:
            figure.text(_MARGIN_IN / total_w, (top + 0.07) / total_h, plain(title), fontsize=8, color=MUTED)
        for left, (_, image, kind) in zip(lefts, panels, strict=True):
            box = (left / total_w, (top - panel_h) / total_h, panel_w / total_w, panel_h / total_h)
            axis = figure.add_axes(box)
            panel(axis, np.asarray(image, float), kind, norms[kind], tx)
        top -= panel_h
    if kinds[0] == "building":
        key(figure, (lefts[0], lefts[0] + panel_w), top, width, *rows[0][2:])
    for kind in dict.fromkeys(kinds):
        columns = [column for column, other in enumerate(kinds) if other == kind]
        if kind != "building":
            colour_bar(figure, kind, norms[kind], (lefts[columns[0]], lefts[columns[-1]] + panel_w), top)
    return png(figure)


def _checked_kinds(rows: list[tuple]) -> list[str]:
    if not rows or not rows[0][1]:
        raise ValueError("there is nothing to draw: no items or no columns")
    kinds = [kind for _, _, kind in rows[0][1]]
    unknown = set(kinds) - set(COLORMAP)
    if unknown:
        raise ValueError(f"unknown kind of picture {sorted(unknown)}; allowed: {list(COLORMAP)}")
    shape = np.shape(rows[0][1][0][1])
    for title, panels, cell_m, _ in rows:
        if cell_m != rows[0][2]:
            raise ValueError(f"{title!r} has cells of {cell_m} m, the first row of {rows[0][2]} m")
        if [kind for _, _, kind in panels] != kinds:
            raise ValueError(f"{title!r} has panels of other kinds than the first row: {kinds}")
        if any(np.shape(image) != shape or len(shape) != 2 for _, image, _ in panels):
            raise ValueError(f"{title!r} holds images of other shapes than (H, W) = {shape}")
    return kinds


def _chart(height_in: float, left_in: float = 0.95, right_in: float = 3.6):
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=DPI, facecolor="white")
    box = (left_in / _WIDTH_IN, 0.55 / height_in, 1 - (left_in + right_in) / _WIDTH_IN, 1 - 0.7 / height_in)
    axis = figure.add_axes(box)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#b9bfc6")
    axis.grid(True, color="#e6e8eb", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(colors=MUTED, labelsize=8.5)
    axis.xaxis.label.set(size=9, color=INK)
    axis.yaxis.label.set(size=9, color=INK)
    return figure, axis
