"""Paths from few measurements as a page for people, a file for programs and pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raymap.data.path_table import PathTable
from raymap.evaluation import json_lines, path_pictures, paths_kept, published_paths
from raymap.evaluation.markdown import interval, number, table
from raymap.evaluation.path_metrics import UNITS, errors, summarise

#: Methods whose impulse responses stand side by side; more are too narrow to read.
_MOST_RESPONSES = 5
#: Receivers whose impulse responses are drawn: that with the median error by the first method, and a hard one.
_SHOWN = (0.5, 0.9)
_DIGITS = {"power": 2, "delay": 1, "zenith": 2, "azimuth": 2}
_COST_HEADS = {
    "fit_s": ("training [s]", 1), "predict_ms": ("a receiver [ms]", 3), "peak_memory_mb": ("most memory [MB]", 0),
    "parameters": ("parameters", 0),
}  # fmt: skip
_RULES = (
    "Of the receivers a share is measured, drawn at random; scored are the paths at all others. Path l is compared",
    "with path l, strongest first, where the true one exists. *Mixed* is the paper's form: powers [dB], delays [ns],",
    "zeniths and azimuths [deg] in one pool; azimuth errors go the short way round. A true path that is not predicted",
    "counts as one of 0 dB and 0 ns from the farthest direction. Numbers are means over draws, in brackets their 95 %",
    "intervals, which speak of other draws in the same scene and of no other scene; ratios are paired by draw. *90 %*:",
    "nine of ten strongest paths have at most this error.",
)


def write(page: Path, found: Mapping[str, Any], *, commit: str, hardware: str, command: str) -> dict:
    """Write ``page`` (Markdown), the same numbers beside it (``.json``) and pictures in a folder of the page's name.

    ``found["reference"]``: the method that ratios are to, or None. ``found["scenes"]``: name -> a dict with

    - ``about``: a sentence or more on the scene; ``data``: fingerprint of all that is scored
    - ``runs``: a DataFrame with a row per sampling rate, method and draw: ``rate`` in [0, 1], ``method``, ``seed`` of
      the draw, the keys of ``path_metrics.scores`` and optionally those of ``path_metrics.COSTS``
    - optionally ``paper``: ``"S1"`` or ``"S2"``, the paper's scene of the same kind
    - optionally ``example``, one draw: ``rate``, the ``true`` PathTable and ``predicted``: method -> PathTable at the
      same receivers. The maps of the first method are drawn, so it is the one that the page is about

    Draws of the page as it was stay on it (:mod:`raymap.evaluation.paths_kept`). Methods keep the order of the runs.
    Returns what the JSON holds: ``commit``, ``hardware``, ``command``, ``reference``, ``scenes``: name -> ``about``,
    ``data``, ``paper``, ``draws``, ``rates`` (as ``path_metrics.summarise`` has them), ``kept`` (rate and method of
    rows of earlier commits) and ``pictures``, and ``pictures`` of all scenes. Raises ValueError as that does, without
    a scene, and for another ``paper`` than those two.
    """
    if not found["scenes"]:
        raise ValueError("a page needs at least one scene")
    file = page.with_suffix(".json")
    earlier = json.loads(file.read_text()) if file.is_file() else {}
    scenes = paths_kept.join(found["scenes"], earlier, commit)
    papers = {name: scene.get("paper") for name, scene in scenes.items()}
    if not set(papers.values()) <= {"S1", "S2", None}:
        raise ValueError(f"the paper's scenes are 'S1' and 'S2', got {papers}")
    runs = pd.concat([scene["runs"].assign(scene=name) for name, scene in scenes.items()], ignore_index=True)
    reference = found.get("reference")
    if reference is None and earlier.get("reference") in set(runs["method"]):
        reference = earlier["reference"]
    numbers = summarise(runs, reference)
    told: dict[str, Any] = {"commit": commit, "hardware": hardware, "command": command, "reference": reference}
    page.parent.mkdir(parents=True, exist_ok=True)
    told["scenes"] = {
        name: {
            "about": scene["about"], "data": scene.get("data"), "paper": papers[name], "rates": numbers[name],
            "kept": _kept(scene["runs"], commit), "draws": paths_kept.told(scene["runs"]),
            "pictures": _draw(page, name, scene["example"]) if scene.get("example") else scene.get("drawn", {}),
        }
        for name, scene in scenes.items()
    }  # fmt: skip
    curves = {
        name: {
            rate: {method: part["scores"]["all/mixed/mse"] for method, part in methods.items()}
            for rate, methods in rates.items()
        }
        for name, rates in numbers.items()
    }
    told["pictures"] = {"rates": _keep(page, "rates.png", path_pictures.error_by_rate(curves))}
    file.write_text(json_lines.text(told), encoding="utf-8")
    page.write_text(_markdown(told), encoding="utf-8")
    return told


def _kept(runs: pd.DataFrame, commit: str) -> list[list[str]]:
    """Rate, as ``summarise`` names it, and method of what was drawn at other commits, in part at least."""
    old = runs[runs["commit"] != commit]
    return [[f"{rate:g}", method] for rate, method in dict.fromkeys(zip(old["rate"], old["method"], strict=True))]


def _draw(page: Path, name: str, example: Mapping[str, Any]) -> dict[str, Any]:
    """The pictures of a scene."""
    true, predicted = example["true"], example["predicted"]
    first = next(iter(predicted))
    receivers = _shown(true, predicted[first])
    few = dict([*predicted.items()][:_MOST_RESPONSES])
    drawn = {
        "errors": path_pictures.error_curves(true, predicted),
        "maps": path_pictures.first_path_maps(true, predicted[first]),
        "responses": path_pictures.impulse_responses(true, few, receivers),
    }
    kept = {kind: _keep(page, f"{_slug(name)}-{kind}.png", png) for kind, png in drawn.items()}
    return {"rate": example["rate"], "method": first, "receivers": receivers, "files": kept}


def _shown(true: PathTable, predicted: PathTable) -> list[int]:
    """Receivers at :data:`_SHOWN` of the mean squared error, among those with a known path."""
    square = errors(true, predicted) ** 2
    known = np.isfinite(square).any((1, 2))
    mean = np.nanmean(square[known], axis=(1, 2))
    order = np.flatnonzero(known)[np.argsort(mean, kind="stable")]
    return [int(order[round(share * (len(order) - 1))]) for share in _SHOWN]


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name).strip("-") or "scene"


def _keep(page: Path, name: str, png: bytes) -> str:
    """Write a picture of the page; returns its path as the page names it."""
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(png)
    return f"{folder.name}/{name}"


def _markdown(told: Mapping[str, Any]) -> str:
    lines = [
        "# Paths from few measurements", "",
        "Written by the command below; do not edit.", "",
        f"    {told['command']}", "",
        f"{told['hardware']}; commit {told['commit']}.", "",
        *_RULES, "",
        f"![mixed MSE by the share of receivers measured]({told['pictures']['rates']})",
    ]  # fmt: skip
    for name, scene in told["scenes"].items():
        lines += ["", f"## {name}", "", scene["about"], *_scene(scene, told["reference"])]
    lines += published_paths.lines(told["scenes"], told["reference"])
    return "\n".join(lines) + "\n"


def _scene(scene: Mapping[str, Any], reference: str | None) -> list[str]:
    rates = scene["rates"]
    lines = []
    for rate, methods in rates.items():
        rows = [
            [name + (" †" if [rate, name] in scene["kept"] else ""), *_whole(part, name == reference)]
            for name, part in methods.items()
        ]
        against = f"÷ {reference}" if reference else "÷ –"
        head = ["method", "mixed MSE", against, "RMSE", "NMSE", "strongest path: MSE", against]
        head += [f"90 %: {parameter} [{unit}]" for parameter, unit in UNITS.items()]
        lines += ["", f"### {_percent(rate)} measured", "", *table([*head, "draws"], rows)]
    if scene["kept"]:
        lines += ["", "† Draws of earlier commits; the file beside this page names them."]
    names = list(dict.fromkeys(name for methods in rates.values() for name in methods))
    rows = [[name, *(_mixed(methods.get(name)) for methods in rates.values())] for name in names]
    lines += ["", "### Mixed MSE by share measured", "", *table(["method", *map(_percent, rates)], rows)]
    every = [(_percent(rate), name, part) for rate, methods in rates.items() for name, part in methods.items()]
    head = [f"{parameter}: {score}" for parameter, unit in UNITS.items() for score in (f"RMSE [{unit}]", "NMSE")]
    rows = [[rate, name, *_parameters(part)] for rate, name, part in every]
    lines += ["", "### Each parameter, all paths", "", *table(["measured", "method", *head], rows)]
    head = ["true paths missed", "predicted paths not true", "receivers with a wrong number"]
    rows = [[rate, name, *_existence(part)] for rate, name, part in every]
    lines += ["", "### Which paths there are", "", *table(["measured", "method", *head], rows)]
    costs = [key for key in _COST_HEADS if any(part["costs"][key] is not None for _, _, part in every)]
    if costs:
        head = ["measured", "method", *(_COST_HEADS[key][0] for key in costs)]
        rows = [
            [rate, name, *(number(part["costs"][k], _COST_HEADS[k][1]) for k in costs)] for rate, name, part in every
        ]
        lines += ["", "### Time and memory", "", *table(head, rows)]
    return lines + _pictures(scene["pictures"])


def _pictures(drawn: Mapping[str, Any]) -> list[str]:
    if not drawn:
        return []
    files, rate = drawn["files"], _percent(drawn["rate"])
    return [
        "", f"One draw, {rate} measured. Errors, strongest path by every method and every path by {drawn['method']}:",
        "", f"![shares of paths by their error]({files['errors']})",
        "", f"The strongest path by {drawn['method']}; grey is where no receiver is scored or no path exists:",
        "", f"![true and predicted strongest path]({files['maps']})",
        "", f"Paths where {drawn['method']} has the median error of a receiver, and where more than at nine of ten:",
        "", f"![power of paths over their delay]({files['responses']})",
    ]  # fmt: skip


def _whole(part: Mapping[str, Any], is_reference: bool) -> list[str]:
    scores, ratios = part["scores"], part["ratios"]

    def against(key: str) -> str:
        return "1" if is_reference else interval(ratios[key], 2) if key in ratios else "–"

    return [
        interval(scores["all/mixed/mse"], 1), against("all/mixed/mse"), interval(scores["all/mixed/rmse"], 2),
        interval(scores["all/mixed/nmse"], 4), interval(scores["path1/mixed/mse"], 1), against("path1/mixed/mse"),
        *(interval(scores[f"path1/{parameter}/p90"], digits) for parameter, digits in _DIGITS.items()),
        str(scores["all/mixed/mse"]["num"]),
    ]  # fmt: skip


def _mixed(part: Mapping[str, Any] | None) -> str:
    return "–" if part is None else interval(part["scores"]["all/mixed/mse"], 1)


def _parameters(part: Mapping[str, Any]) -> list[str]:
    scores = part["scores"]
    return [
        interval(scores[f"all/{parameter}/{score}"], digits)
        for parameter in UNITS
        for score, digits in (("rmse", _DIGITS[parameter]), ("nmse", 4))
    ]


def _existence(part: Mapping[str, Any]) -> list[str]:
    means = [part["scores"][key]["mean"] for key in ("paths/missed", "paths/invented", "receivers/wrong_number")]
    return ["–" if mean is None else f"{100 * mean:.2f} %" for mean in means]


def _percent(rate: str | float) -> str:
    return f"{100 * float(rate):g} %"
