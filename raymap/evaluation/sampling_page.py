"""The study of sampling as a page for people, a file for programs and two pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from raymap.evaluation.drawing import INK, MUTED, SERIES, png
from raymap.evaluation.markdown import interval, number, table

_HEAD = ["sampling", "NMSE", "of one step's", "RMSE", "SSIM", "change", "PSNR", "calls", "ms per map", "maps"]
_BARS_HEAD = ["error bars from", "90 % hold, raw", "factor", "90 % hold", "width", "interval score", "CRPS, raw",
              "CRPS", "ρ cells", "ρ maps"]  # fmt: skip


def write(folder: Path, found: Mapping[str, Any], command: str) -> Path:
    """Write ``sampling.md``, ``sampling.json``, ``sampling.png`` (quality and latency) and ``reliability.png``.

    ``found``: what ``raymap.runtime.sampling.run`` returns, with a ``name`` for every entry of ``curve`` and
    ``ensembles``. Returns the page's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**found, "command": command}, indent=1, allow_nan=False)
    (folder / "sampling.json").write_text(text + "\n", encoding="utf-8")
    (folder / "sampling.png").write_bytes(quality_and_latency(found["curve"]))
    (folder / "reliability.png").write_bytes(reliability(found["ensembles"], found["recipe"]))
    page = folder / "sampling.md"
    page.write_text(_markdown(found, command), encoding="utf-8")
    return page


def quality_and_latency(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """NMSE as a multiple of one step's and the change in SSIM, paired on the same maps, over ms per map. PNG bytes.

    Bars are 95 % intervals clustered by scene.
    """
    figure = Figure(figsize=(9.0, 3.4), dpi=200, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    groups = {"deterministic": False, "stochastic": True, "as configured": None}
    for (label, stochastic), color in zip(groups.items(), SERIES, strict=False):
        part = [entry for entry in entries if entry["stochastic"] == stochastic]
        part = entries[:1] + part if stochastic else part  # one step is the same either way
        if not part:
            continue
        times = [entry["latency_ms"] for entry in part]
        line = {"color": color, "marker": "o", "markersize": 5, "linewidth": 1.4, "label": label}
        for axis, key in ((left, "nmse_ratio"), (right, "ssim_change")):
            scores = [entry[key] for entry in part]
            axis.plot(times, [score["mean"] for score in scores], **line)
            for time, score in zip(times, scores, strict=True):
                if score["low"] is not None:
                    axis.plot([time, time], [score["low"], score["high"]], color=color, linewidth=1.2, alpha=0.6)
        for entry, time in zip(part, times, strict=True):
            if entry["steps"] and not stochastic:
                place = {"textcoords": "offset points", "xytext": (4, 5), "fontsize": 7.5, "color": MUTED}
                right.annotate(str(entry["steps"]), (time, entry["ssim_change"]["mean"]), **place)
    left.axhline(1.0, color=MUTED, linewidth=0.8, linestyle=":")
    right.axhline(0.0, color=MUTED, linewidth=0.8, linestyle=":")
    for axis, label in (
        (left, "NMSE, multiple of one step's"),
        (right, "change in SSIM (numbers: steps)"),
    ):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        _dress(axis, "ms per map, one view unless configured", label)
    left.legend(frameon=False, fontsize=8)
    return png(figure)


def reliability(entries: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]) -> bytes:
    """What intervals promise against what they hold: members as drawn, and the chosen recipe after fitting. PNG bytes.

    Of the members as drawn, one curve for each kind of the chosen number. The diagonal is honest; below it, bars are
    too short.
    """
    figure = Figure(figsize=(5.2, 4.2), dpi=200, facecolor="white", layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
    drawn = [e for e in entries if e["source"] == "members" and not e["recipe"]["pool_m"]]
    drawn = [e for e in drawn if e["recipe"]["num"] == recipe["num"]]
    chosen = [e for e in entries if e["recipe"] == recipe][:1]
    curves = [(f"{e['name']}, raw", e["raw_reliability"], "--") for e in drawn]
    curves += [(f"{e['name']}, fitted", e["reliability"], "-") for e in chosen]
    for (label, points, style), color in zip(curves, SERIES, strict=False):
        levels = [point["level"] for point in points]
        held = [point["mean"] for point in points]
        axis.plot(levels, held, style, marker="o", markersize=3.5, linewidth=1.4, color=color, label=label)
        if style == "-" and points[0]["low"] is not None:
            span = [point["low"] for point in points], [point["high"] for point in points]
            axis.fill_between(levels, *span, color=color, alpha=0.15, linewidth=0)
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.legend(frameon=False, fontsize=7.5, loc="upper left")
    _dress(axis, "share of cells promised", "share of cells held")
    return png(figure)


def _dress(axis, x_label: str, y_label: str) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(True, color="#e6e8eb", linewidth=0.7)
    axis.tick_params(colors=MUTED, labelsize=8)
    axis.set_xlabel(x_label, fontsize=9, color=INK)
    axis.set_ylabel(y_label, fontsize=9, color=INK)


def _markdown(found: Mapping[str, Any], command: str) -> str:
    recipe, factor_alone = (json.dumps(found[name]) for name in ("recipe", "factor_alone"))
    lines = [
        "# Sampling", "",
        "Written by the command below; do not edit.", "",
        f"    {command}", "",
        f"Model {found['model']}; dataset {found['dataset']}, split {found['split']}: {found['num_maps']} maps of "
        f"{found['num_scenes']} scenes. {found['hardware']}; commit {found['commit']}.", "",
        "## Steps", "",
        "Raw grey levels over all pixels, one view. Means with 95 % intervals clustered by scene; *of one step's* "
        "and *change* (of SSIM) are paired on the same maps, of which there are fewer where steps are many.", "",
        *table(_HEAD, [_curve_row(entry) for entry in found["curve"]]), "",
        "![quality and latency](sampling.png)", "",
        "## Error bars", "",
        "Outdoor cells, dB. Members are predictions for mirrored views and different seeds. *Raw* is what the members "
        "themselves promise; the rest is after a factor on their spread (pooled: over neighbouring cells) was fitted "
        "on the validation split. *+ line of sight* also adds one amount where the transmitter is seen, one elsewhere. "
        "Least interval score: the narrowest honest bars. ρ: Spearman's correlation of error and spread, in brackets "
        "what an exact spread would have.", "",
        *table(_BARS_HEAD, [_bars_row(entry) for entry in found["ensembles"]]), "",
        f"Fewest calls within 2 % of the least interval score on the validation split: `{recipe}`; by a factor "
        f"alone: `{factor_alone}`.", "",
        "![promised and held](reliability.png)",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _curve_row(entry: Mapping[str, Any]) -> list[str]:
    return [
        entry["name"], interval(entry["nmse"], 4), interval(entry["nmse_ratio"], 3),
        f"{interval(entry['rmse_db'], 2)} dB", interval(entry["ssim"], 3), interval(entry["ssim_change"], 4),
        f"{interval(entry['psnr'], 2)} dB",
        str(entry["network_calls"]), f"{entry['latency_ms']:.0f}", str(entry["nmse"]["num"]),
    ]  # fmt: skip


def _bars_row(entry: Mapping[str, Any]) -> list[str]:
    recipe, drawn = entry["recipe"], "members" in entry["source"]
    return [
        entry["name"], interval(entry["raw_coverage"], 3) if drawn else "–",
        f"{recipe['factor']:.2f}" if drawn else "–", interval(entry["coverage"], 3),
        f"{number(entry['width_db']['mean'], 1)} dB", f"{interval(entry['interval_score'], 1)} dB",
        f"{number(entry['raw_crps_db']['mean'], 2)} dB" if drawn else "–", f"{number(entry['crps_db']['mean'], 2)} dB",
        f"{number(entry['cells']['mean'], 2)} ({number(entry['cells_if_honest']['mean'], 2)})",
        f"{number(entry['maps'], 2)} ({number(entry['maps_if_honest'], 2)})",
    ]  # fmt: skip
