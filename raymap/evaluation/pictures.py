"""Pictures of maps and charts of scores, as PNG bytes. Drawn without pyplot: no window, no state between calls."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from raymap import units
from raymap.evaluation.intervals import clustered_mean
from raymap.evaluation.summary import column, frame
from raymap.scene import RadioMap, Scene, Transmitter

_DPI = 200  # nine inches make 1800 pixels: crisp when shown 900 wide on a dense screen
_WIDTH_IN, _MARGIN_IN, _GAP_IN = 9.0, 0.15, 0.09
_INK, _MUTED, _BUILDING = "#1d2329", "#68727d", "#a3a8ae"
_STAR = {"color": "#ffffff", "mec": "#111111", "mew": 0.8, "markersize": 9.5, "clip_on": False}
_PAPER = LinearSegmentedColormap.from_list("paper", ["#f6f5f1", "#f6f5f1"])
_OUTLINE = LinearSegmentedColormap.from_list("outline", ["#f6f5f1", "#7aa6b8", "#0b3c5d"])
_COLORMAP = {"building": _PAPER, "outline": _OUTLINE, "gain": colormaps["inferno"], "error": colormaps["RdBu_r"]}
_BAR_LABEL = {"outline": "outline", "gain": "path gain [dB]", "error": "predicted − true [dB]"}
_SERIES = ("#0b6e99", "#d1495b", "#2e8b57", "#b8860b", "#7b4fa3", "#3a3f47", "#e07a3f", "#4f8fd0")


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
        axis.step(
            np.r_[values[0], values],
            np.r_[0, share],
            where="post",
            color=_SERIES[index % len(_SERIES)],
            linestyle=("-", "--", ":")[index // len(_SERIES) % 3],
            linewidth=1.8,
            label=f"{_plain(name)}  (median {np.median(values):.1f})",
        )
    axis.set_xlim(left=0)
    axis.set_ylim(0, 1.01)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axis.set_xlabel(label)
    axis.set_ylabel("share of images at or below")
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, handlelength=1.6)
    return _png(figure)


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
        axis.plot(per_scene, np.full(len(per_scene), row + 0.24), "o", color=_MUTED, alpha=0.4, markersize=3.2, mew=0)
        color = _MUTED if name in floors else _SERIES[0]
        if score["low"] is not None:
            low = max(score["low"], score["mean"] * 0.05)  # an interval may pass zero, a log axis may not
            axis.plot([low, score["high"]], [row, row], color=color, linewidth=2.4, solid_capstyle="round")
        fill = "white" if name in floors else color
        axis.plot(score["mean"], row, "o", color=color, markersize=7.5, mew=1.8, mfc=fill)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_yticks(range(len(order)), [_plain(name) + " (floor)" * (name in floors) for name in order])
    axis.set_ylim(len(order) - 0.4, -0.6)
    axis.set_xlabel(label)
    axis.tick_params(axis="y", length=0, labelcolor=_INK)
    return _png(figure)


def _render(rows: list[tuple]) -> bytes:
    """Rows of (title, panels, cell_m, tx) under shared headings, with colour bars at the foot."""
    kinds = _checked_kinds(rows)
    height, width = np.shape(rows[0][1][0][1])
    panel_w = min((_WIDTH_IN - 2 * _MARGIN_IN - (len(kinds) - 1) * _GAP_IN) / len(kinds), 3.0)
    panel_h = panel_w * height / width
    title_h = 0.27 if any(row[0] for row in rows) else _GAP_IN
    total_w = 2 * _MARGIN_IN + len(kinds) * panel_w + (len(kinds) - 1) * _GAP_IN
    total_h = 0.4 + len(rows) * (panel_h + title_h) + 0.62
    figure = Figure(figsize=(total_w, total_h), dpi=_DPI, facecolor="white")
    norms = _norms(rows)
    lefts = [_MARGIN_IN + column * (panel_w + _GAP_IN) for column in range(len(kinds))]

    top = total_h - 0.3
    for left, (title, _, _) in zip(lefts, rows[0][1], strict=True):
        figure.text((left + panel_w / 2) / total_w, top / total_h, title, ha="center", fontsize=9.5, color=_INK)
    for title, panels, _, tx in rows:
        top -= title_h
        if title:
            figure.text(_MARGIN_IN / total_w, (top + 0.07) / total_h, _plain(title), fontsize=8, color=_MUTED)
        for left, (_, image, kind) in zip(lefts, panels, strict=True):
            box = (left / total_w, (top - panel_h) / total_h, panel_w / total_w, panel_h / total_h)
            axis = figure.add_axes(box)
            _panel(axis, np.asarray(image, float), kind, norms[kind], tx)
        top -= panel_h
    if kinds[0] == "building":
        _key(figure, (lefts[0], lefts[0] + panel_w), top, width, *rows[0][2:])
    for kind in dict.fromkeys(kinds):
        columns = [column for column, other in enumerate(kinds) if other == kind]
        if kind != "building":
            _colour_bar(figure, kind, norms[kind], (lefts[columns[0]], lefts[columns[-1]] + panel_w), top)
    return _png(figure)


def _checked_kinds(rows: list[tuple]) -> list[str]:
    if not rows or not rows[0][1]:
        raise ValueError("there is nothing to draw: no items or no columns")
    kinds = [kind for _, _, kind in rows[0][1]]
    unknown = set(kinds) - set(_COLORMAP)
    if unknown:
        raise ValueError(f"unknown kind of picture {sorted(unknown)}; allowed: {list(_COLORMAP)}")
    shape = np.shape(rows[0][1][0][1])
    for title, panels, cell_m, _ in rows:
        if cell_m != rows[0][2]:
            raise ValueError(f"{title!r} has cells of {cell_m} m, the first row of {rows[0][2]} m")
        if [kind for _, _, kind in panels] != kinds:
            raise ValueError(f"{title!r} has panels of other kinds than the first row: {kinds}")
        if any(np.shape(image) != shape or len(shape) != 2 for _, image, _ in panels):
            raise ValueError(f"{title!r} holds images of other shapes than (H, W) = {shape}")
    return kinds


def _norms(rows: list[tuple]) -> dict[str, Normalize]:
    """One scale per kind for the whole figure; the error's spans 99 % of its cells, rounded up to 5 dB."""
    errors = [image[np.isfinite(image)] for _, panels, _, _ in rows for _, image, kind in panels if kind == "error"]
    size = np.abs(np.concatenate(errors)) if errors else np.zeros(0)
    limit = max(5.0, 5.0 * math.ceil(float(np.quantile(size, 0.99)) / 5.0)) if len(size) else 5.0
    return {
        "building": Normalize(0, 1),
        "outline": Normalize(0, 1),
        "gain": Normalize(units.GAIN_FLOOR_DB, units.GAIN_CEILING_DB),
        "error": Normalize(-limit, limit),
    }


def _panel(axis, image: np.ndarray, kind: str, norm: Normalize, tx: tuple[int, int] | None) -> None:
    if kind == "building":
        image = np.where(image > 0, np.nan, 0.0)
    colormap = _COLORMAP[kind].with_extremes(bad=_BUILDING)
    axis.imshow(np.ma.masked_invalid(image), cmap=colormap, norm=norm, interpolation="nearest", aspect="auto")
    if tx is not None:
        axis.plot(tx[1], tx[0], "*", **_STAR)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(linewidth=0.5, color=_MUTED)


def _key(figure, span: tuple, top: float, cells: int, cell_m: float | None, tx) -> None:
    """Under the buildings: a scale bar of a round length, at most a quarter of the map, and what the marks mean."""
    left, right = span
    total_w, total_h = figure.get_size_inches()
    axis = figure.add_axes((left / total_w, (top - 0.58) / total_h, (right - left) / total_w, 0.5 / total_h))
    axis.set(xlim=(0, cells), ylim=(0, 1))
    axis.axis("off")
    if cell_m:
        power = 10.0 ** math.floor(math.log10(cells * cell_m / 4))
        length_m = max(step * power for step in (1, 2, 5) if step * power <= cells * cell_m / 4)
        end = length_m / cell_m
        axis.plot([0, end], [0.76, 0.76], color=_INK, linewidth=2.2, solid_capstyle="butt", clip_on=False)
        axis.text(end + 0.03 * cells, 0.74, f"{length_m:g} m", fontsize=7.5, color=_INK, va="center")
    axis.plot(0.03 * cells, 0.27, "s", color=_BUILDING, markersize=6.5)
    axis.text(0.085 * cells, 0.25, "building", fontsize=7.5, color=_INK, va="center")
    if tx is not None:
        axis.plot(0.46 * cells, 0.27, "*", **_STAR)
        axis.text(0.525 * cells, 0.25, "transmitter", fontsize=7.5, color=_INK, va="center")


def _colour_bar(figure, kind: str, norm: Normalize, span: tuple, top: float) -> None:
    left, right = span
    total_w, total_h = figure.get_size_inches()
    inset = 0.06 * (right - left)
    box = ((left + inset) / total_w, (top - 0.2) / total_h, (right - left - 2 * inset) / total_w, 0.085 / total_h)
    bar = figure.colorbar(
        ScalarMappable(norm, _COLORMAP[kind]),
        cax=figure.add_axes(box),
        orientation="horizontal",
        extend="both" if kind == "error" else "neither",
        extendfrac=0.06,
    )
    bar.set_label(_BAR_LABEL[kind], fontsize=8, color=_INK, labelpad=2)
    if kind == "gain":
        bar.set_ticks([-147, -127, -107, -87, -67, -47])
    elif kind == "error":
        ticks = np.linspace(norm.vmin, norm.vmax, 5)
        bar.set_ticks(ticks, labels=[f"{tick:+g}".replace("-", "−") if tick else "0" for tick in ticks])
    else:
        bar.set_ticks([0, 1])
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=7.5, length=2, width=0.5, pad=2, colors=_INK)


def _chart(height_in: float, left_in: float = 0.95, right_in: float = 3.6):
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=_DPI, facecolor="white")
    box = (left_in / _WIDTH_IN, 0.55 / height_in, 1 - (left_in + right_in) / _WIDTH_IN, 1 - 0.7 / height_in)
    axis = figure.add_axes(box)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#b9bfc6")
    axis.grid(True, color="#e6e8eb", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(colors=_MUTED, labelsize=8.5)
    axis.xaxis.label.set(size=9, color=_INK)
    axis.yaxis.label.set(size=9, color=_INK)
    return figure, axis


def _plain(text) -> str:
    """Text that matplotlib does not read as mathematics."""
    return str(text).replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
