"""A completed map of paths as a page for people and a file for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raymap import units
from raymap.data.path_table import PathTable
from raymap.evaluation import html_page, markdown
from raymap.evaluation.path_maps import ERRORS, QUANTITIES, maps
from raymap.evaluation.path_metrics import in_units
from raymap.evaluation.point_channel import steering_rad
from raymap.scene import PathKind
from raymap.storage import write_text

_QUANTILES = {"low": 0.05, "median": 0.5, "high": 0.95}


def write(
    out: Path,
    found: Mapping[str, Any],
    table: PathTable,
    points: Sequence[PathTable],
    expected: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Write ``report.md``, ``report.html`` and ``report.json`` into ``out``; returns what the last one holds.

    ``found``: what ``raymap.runtime.path_maps.predict`` tells of ``table``, the completed map, whose pictures are in
    ``out``; ``points``: a table of one receiver for every point whose pictures are there; ``expected``: the maps of
    ``path_maps.errors``, if they are known. Adds to ``found`` ``quantities`` and ``errors``, name -> 5 % quantile,
    median and 95 % quantile over receivers, in the unit of the name, null where nothing is known, and ``points_m``.
    Raises FileNotFoundError for a picture that is not there.
    """
    told = {
        **found,
        "quantities": {name: _quantiles(values) for name, values in maps(table).items()},
        "errors": {name: _quantiles(values) for name, values in (expected or {}).items()},
        "points_m": [point.receivers_m[0].tolist() for point in points],
    }
    write_text(out / "report.json", json.dumps(told, indent=1, allow_nan=False) + "\n")
    write_text(out / "report.md", _markdown(told, points))
    html_page.from_markdown(out / "report.md", out / "report.html")
    return told


def _quantiles(values: np.ndarray) -> dict[str, float | None]:
    values = values[np.isfinite(values)]
    if not len(values):
        return dict.fromkeys(_QUANTILES)
    return {name: float(np.quantile(values, share)) for name, share in _QUANTILES.items()}


def _markdown(told: Mapping[str, Any], points: Sequence[PathTable]) -> str:
    counted = "the nearest measured receivers" if told["measured"]["num_receivers"] else "the surfaces around"
    lines = [
        "# A map of paths from measurements", "",
        "Written by the command below; do not edit.", "",
        f"    {told['command']}", "",
        f"{told['hardware']}; commit {told['commit']}.", "",
        *_what_of_what(told), "",
        "## Maps", "",
        "![maps of power, delay, number of paths and spreads](maps.png)", "",
        "Spreads are weighted by power: of the delay about its mean, of angles √(−2·ln R) with R the length of the "
        f"mean direction. How many paths there are, {counted} say. Grey: no receiver, or no path. "
        "Over all receivers, those without a path counted in the number of paths alone:", "",
        *markdown.table(["", "unit", "5 %", "median", "95 %"], [_row(*item) for item in told["quantities"].items()]),
        "",
        "All paths are in `paths.parquet`, these maps in `maps.npz`, in the units of their names.",
    ]  # fmt: skip
    if told["errors"]:
        lines += [
            "", "## Errors to expect", "",
            "What the method gets wrong at measured receivers that it is not told of, carried to every other by its "
            "distance to the nearest measured one; root mean square over the paths of a receiver. Where it was "
            "measured there is none.", "",
            "![maps of the errors to expect](errors.png)", "",
            *markdown.table(["", "unit", "5 %", "median", "95 %"], [_row(*item) for item in told["errors"].items()]),
        ]  # fmt: skip
    for number, point in enumerate(points, 1):
        lines += _point(f"point{number}", point, told["sounding"])
    return "\n".join(lines) + "\n"


def _what_of_what(told: Mapping[str, Any]) -> list[str]:
    measured, made = told["measured"], told["map"]
    x_m, y_m, z_m = told["transmitter_m"]
    transmitter = f"the transmitter at ({x_m:g}, {y_m:g}, {z_m:g}) m, {told['frequency_hz'] / units.HERTZ['GHz']:g} GHz"
    of_which = (
        f"{made['num_paths']:,} paths at {made['num_receivers']:,} receivers, {made['num_dark']:,} of which have none."
    )
    by = f"By **{told['method']}**, in {told['seconds']:.1f} s,"
    if not measured["num_receivers"]:
        return [f"Nothing is measured of {transmitter}. {by} what stands around tells of {of_which}"]
    return [
        f"Measured: {measured['num_paths']:,} paths at {measured['num_receivers']:,} receivers of {transmitter}; "
        f"{measured['num_dark']:,} of the receivers have no path. {by} these become {of_which}", "",
        f"{measured['num_on_map']:,} of the measured receivers are on the map and keep what was measured. "
        f"{made['num_filled']:,} numbers that were not known of their paths are filled in, {made['num_unknown']:,} are "
        f"still not known.",
    ]  # fmt: skip


def _row(name: str, values: Mapping[str, float | None]) -> list[str]:
    quantity = (QUANTITIES | ERRORS)[name]
    shown = [None if value is None else value / quantity.one for value in values.values()]
    return [quantity.title, quantity.unit or "–", *(markdown.number(value, 1) for value in shown)]


def _point(name: str, point: PathTable, sounding: Mapping[str, Any]) -> list[str]:
    x_m, y_m, z_m = point.receivers_m[0]
    wide_mhz = sounding["bandwidth_hz"] / units.HERTZ["MHz"]
    num_x, num_y = sounding["array"]
    zenith_deg, azimuth_deg = (angle / units.RADIANS["deg"] for angle in steering_rad(point))
    numbers, kinds = in_units(point)[0], {int(kind): kind.name.lower().replace("_", " ") for kind in PathKind}
    rows = [
        [str(path + 1), *(markdown.number(value if np.isfinite(value) else None, 1) for value in numbers[path]),
         kinds.get(int(point.kind[0, path]), "–")]
        for path in np.flatnonzero(point.valid[0])
    ]  # fmt: skip
    head = ["path", "gain [dB]", "delay [ns]", "zenith [deg]", "azimuth [deg]", "kind"]
    return [
        "", f"## At ({x_m:g}, {y_m:g}, {z_m:g}) m", "", *markdown.table(head, rows), "",
        f"Impulse response in a band of {wide_mhz:g} MHz, taps {1e3 / wide_mhz:g} ns apart; rings are the paths:", "",
        f"![taps over delay]({name}-impulse_response.png)", "",
        "Frequency response in that band:", "", f"![power over frequency]({name}-frequency_response.png)", "",
        f"Beam of a planar array of {num_x} x {num_y} antennas, half a wavelength apart along x and y, towards the "
        f"strongest path, from zenith {zenith_deg:.1f}° and azimuth {azimuth_deg:.1f}°. Rings are the paths, larger "
        f"ones stronger; an array in the x-y plane sees the same above and below itself:", "",
        f"![gain of the beam over directions]({name}-beam_pattern.png)", "",
        f"Numbers: `{name}-paths.csv`, `{name}-impulse_response.csv`, `{name}-frequency_response.csv`, "
        f"`{name}-beam_pattern.csv`.",
    ]  # fmt: skip
