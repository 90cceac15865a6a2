"""Pictures of maps, as PNG bytes. Drawn without pyplot: no window, no state between calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from raymap import units
from raymap.evaluation.drawing import (
    COLORMAP,
    DPI,
    GAP_IN,
    INK,
    MUTED,
    colour_bar,
    key,
    panel,
    plain,
    png,
    scales,
)
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
