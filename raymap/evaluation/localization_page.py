"""Localization as a page for people, a file for programs and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from raymap.evaluation import charts
from raymap.evaluation.localization import POINTS, TRUE_MAPS
from raymap.evaluation.markdown import interval, table

_HEADS = {"all": "all points", "los": "LoS", "nlos": "NLoS"}
#: Score -> its key in what ``localization.summarise`` returns, and that of its value there.
_SCORES = {"mean": ("mean_m", "mean"), "median": ("median_m", "quantile"), "90 %": ("p90_m", "quantile")}


def write(folder: Path, found: Mapping[str, Any], points: pd.DataFrame) -> Path:
    """Write ``localization.md``, ``localization.json`` and ``localization.png``; returns the page's path.

    ``found``: what ``raymap.runtime.localize.localize`` returns; ``points``: rows of its ``score_points``.
    """
    text = json.dumps(found, indent=1, allow_nan=False)
    (folder / "localization.json").write_text(text + "\n", encoding="utf-8")
    # The mean of K cells can be off by a K-th of a cell.
    least_m = found["cell_m"] / found["num_neighbours"]
    (folder / "localization.png").write_bytes(charts.location_curves(points, TRUE_MAPS, least_m))
    page = folder / "localization.md"
    page.write_text(_markdown(found), encoding="utf-8")
    return page


def _markdown(found: Mapping[str, Any]) -> str:
    best = found["methods"][TRUE_MAPS]
    counts = {name: best[name]["mean_m"]["num"] for name in POINTS}
    head = ["error [m]", *(f"{_HEADS[name]}: {score}" for name in POINTS for score in _SCORES)]
    lines = [
        "# Localization", "",
        "Written by the command below; do not edit.", "",
        f"    {found['command']}", "",
        f"Dataset {found['dataset']}, split {found['split']}: {best['num_scenes']} scenes, cells of "
        f"{found['cell_m']:g} m. Floors and laws are fitted on {found['laws_fitted_on']}. {found['hardware']}; commit "
        f"{found['commit']}.", "",
        f"A receiver in an outdoor cell hears J = {found['num_transmitters']} transmitters: their gains in the true "
        f"maps, with Gaussian noise of {found['noise_db']:g} dB. It is put at the mean of the K = "
        f"{found['num_neighbours']} outdoor cells whose gains in the predicted maps of the same transmitters are "
        f"nearest; below the noise floor, {found['floor_db']:g} dB, neither side tells anything apart. At most "
        f"{found['num_points']} cells of a scene are drawn, the same with the same noise for every method: "
        f"{counts['all']} points, {counts['los']} of which see a transmitter (LoS) and {counts['nlos']} none (NLoS). "
        f"*{TRUE_MAPS.capitalize()}* are fingerprints without an error: what noise and neighbours alone cost. All "
        f"points count alike, in brackets 95 % intervals clustered by scene.", "",
        *table(head, [[name, *_row(scores)] for name, scores in found["methods"].items()]), "",
        "![share of points by error](localization.png)",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _row(scores: Mapping[str, Any]) -> list[str]:
    return [interval(scores[name][key], 2, value) for name in POINTS for key, value in _SCORES.values()]
