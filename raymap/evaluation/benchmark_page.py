"""The benchmark as a page for people and a file for programs, from one row per training and map."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raymap.evaluation import (
    benchmark_kept,
    benchmark_tables,
    comparison_pictures,
    json_lines,
    localization,
    paired,
    published,
    summary,
)
from raymap.evaluation.intervals import clustered_ratio
from raymap.evaluation.markdown import interval
from raymap.evaluation.markdown import table as markdown_table

_STUDIES = {
    "methods": "Methods",
    "matrix": "Every method, a third of the steps",
    "law": "What physics tells, cell by cell",
    "outline": "Which outline helps",
    "physics": "Which physics inputs help",
    "diffusion": "What the diffusion is made of",
    "rmdm": "What RMDM is made of",
    "measured": "With 1 to 10 % of the cells measured, a third of the steps",
}
_SPLITS = {"test": "San Francisco, never trained on", "test_generated": "generated towns, never trained on"}
_KINDS = {"srm": "static maps", "drm": "maps with vehicles", "mrm": "multipath maps"}
_BEST_HEAD = ("table", "maps", "towns", "least NMSE", "NMSE", "÷ its reference", "next", "NMSE")
_CAPTION = (
    "The same maps by every method, its first seed, chosen by the names of their scenes and not by any score. How many "
    "maps have less error is told by the methods' mean NMSE. Red: more gain predicted than there is; blue: less."
)


def write(
    page: Path,
    tables: Sequence[Mapping[str, Any]],
    *,
    size: str,
    commit: str,
    hardware: str,
    command: str,
    outline_rule: tuple[float, int],
    num_planned: int | None = None,
    located: Mapping[str, pd.DataFrame] | None = None,
    localization_rule: Mapping[str, float] | None = None,
) -> dict:
    """Write ``page`` (Markdown), the same numbers beside it (``.json``) and pictures in a folder of the page's name.

    ``tables``: dicts with ``study``, ``kind``, ``split``, ``dataset``, ``reference`` (method that ratios are to) and
    ``rows``, a DataFrame with one row per training and map (see ``summary.summarise``; also ``seed`` and ``minutes``).
    Optionally ``duel``: two methods, of which a sentence tells how the one does against the other; ``trained``: method
    -> ``[{"name", "commits"}, ...]``, one per training; and ``examples``: method -> arrays ``scene``, ``tx_id``,
    ``tx_xyz_m``, ``cell_m``, ``building_m``, ``vehicle_m``, ``outdoor``, ``true_db``, ``predicted_db`` of some maps,
    the same for all methods. ``outline_rule``: threshold and tolerance [cells] that outlines were scored with.
    ``num_planned``: trainings that there will be. ``located``: kind -> points, see ``localization.summarise``, of
    several methods, by ``localization_rule``: ``num_transmitters`` that a receiver hears and their ``noise_db``.
    Rows that the page had before and that are not among ``tables`` stay on it, see :mod:`benchmark_kept`. Returns what
    the JSON holds.

    Raises ValueError for examples that are not the same maps.
    """
    about = {"size": size, "commit": commit, "hardware": hardware, "command": command}
    threshold, tolerance_cells = outline_rule
    found = about | {"outline_rule": {"threshold": threshold, "tolerance_cells": tolerance_cells}}
    found["tables"] = [_numbers(table, about) for table in tables]
    found["localization"] = {}
    if located:
        kinds = {
            kind: {name: localization.summarise(part) for name, part in points.groupby("method", sort=False)}
            for kind, points in located.items()
        }
        found["localization"] = {"rule": dict(localization_rule), "kinds": kinds}
    page.parent.mkdir(parents=True, exist_ok=True)
    for table, numbers in zip(tables, found["tables"], strict=True):
        numbers["pictures"] = {}
        if table.get("examples"):
            png = comparison_pictures.comparison(_items(table["examples"], table["rows"]))
            numbers["pictures"]["maps"] = _keep(page, f"{table['study']}-{table['kind']}-{table['split']}.png", png)
    for table in benchmark_kept.keep(found, _before(page))["tables"]:
        _compare_anew(table)
    places = [*itertools.product(_STUDIES, _KINDS, _SPLITS)]
    found["tables"].sort(key=lambda table: places.index((table["study"], table["kind"], table["split"])))
    if num_planned is not None:
        found |= {"trainings_scored": len(_trainings(found["tables"])), "trainings_planned": num_planned}
    for (study, kind), group in _groups(found["tables"]):
        splits = {_SPLITS[t["split"]]: {n: m["raw"]["all"]["nmse"] for n, m in t["methods"].items()} for t in group}
        png = comparison_pictures.intervals(splits, group[0]["reference"])
        for numbers in group:
            numbers["pictures"]["intervals"] = _keep(page, f"{study}-{kind}.png", png)
    page.with_suffix(".json").write_text(json_lines.text(found), encoding="utf-8")
    page.write_text(_markdown(found), encoding="utf-8")
    return found


def _before(page: Path) -> dict | None:
    """What the page's file holds now; None if there is none."""
    path = page.with_suffix(".json")
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _trainings(tables: Sequence[Mapping]) -> dict[str, dict]:
    """Name -> training of every row, each once."""
    rows = (scores for table in tables for scores in table["methods"].values())
    return {one["name"]: one for scores in rows for one in scores["trainings"]}


def _keep(page: Path, name: str, png: bytes) -> str:
    """Write a picture of the page; returns its path as the page names it."""
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(png)
    return f"{folder.name}/{name}"


def _groups(tables: Sequence[dict]) -> list[tuple[tuple[str, str], list[dict]]]:
    """Tables of one study and kind of maps, which differ in the split."""
    pairs = itertools.groupby(tables, lambda table: (table["study"], table["kind"]))
    return [(key, list(group)) for key, group in pairs]


def _items(examples: Mapping[str, Mapping[str, np.ndarray]], rows: pd.DataFrame) -> list[dict]:
    """What ``comparison_pictures.comparison`` draws, easiest map first by the methods' mean NMSE."""
    first = next(iter(examples.values()))
    keys = [(str(scene), int(tx_id)) for scene, tx_id in zip(first["scene"], first["tx_id"], strict=True)]
    for method, found in examples.items():
        if [*zip(found["scene"].tolist(), found["tx_id"].tolist(), strict=True)] != keys:
            raise ValueError(f"the maps of {method!r} are not those of {next(iter(examples))!r}: {keys}")
    shown = rows[(rows["seed"] == 0) & rows["method"].isin(list(examples))]
    nmse = shown.pivot_table("raw/all/nmse", ["scene", "tx_id"], "method")
    hardness = nmse.mean(axis=1)
    items = []
    for index in sorted(range(len(keys)), key=lambda index: hardness[keys[index]]):
        key = keys[index]
        x_m, y_m, _height_m = first["tx_xyz_m"][index]
        cell_m = float(first["cell_m"][index])
        easier = (hardness < hardness[key]).mean()
        items.append(
            {key: first[key][index] for key in ("true_db", "outdoor", "building_m", "vehicle_m")}
            | {
                "title": f"{key[0]}, transmitter {key[1]}: {100 * easier:.0f} % of all maps have less error",
                "predicted": {n: (found["predicted_db"][index], nmse.loc[key, n]) for n, found in examples.items()},
                "tx": (int(y_m / cell_m), int(x_m / cell_m)),
                "cell_m": cell_m,
            }
        )
    return items


def _numbers(table: Mapping, about: Mapping) -> dict:
    rows: pd.DataFrame = table["rows"]
    made = {key: about[key] for key in ("commit", "command", "hardware")}
    found = summary.summarise(rows, dataset=table["dataset"], split=table["split"], **made)
    found["num_maps"] = len(rows[["scene", "tx_id"]].drop_duplicates())
    tested = _tested(rows, table["reference"])
    for name, part in rows.groupby("method", sort=False):
        scores = found["methods"][name]
        scores["num_seeds"] = int(part["seed"].nunique())
        minutes = part.groupby("seed")["minutes"].first().mean()
        scores["minutes"] = None if pd.isna(minutes) else float(minutes)
        scores["nmse_by_map"] = _by_map(part)
        scores["to_reference"] = _ratio(rows, name, table["reference"])
        scores["p_holm"] = tested.get(name, {}).get("p_holm")
        scores["trainings"] = [dict(one) for one in table.get("trained", {}).get(name, [])]
        scores["commits"] = [*dict.fromkeys(commit for one in scores["trainings"] for commit in one["commits"])]
    found["duel"] = _duel(rows, *table["duel"]) if table.get("duel") else None
    return {key: table[key] for key in ("study", "kind", "reference")} | found


def _by_map(part: pd.DataFrame) -> list:
    """``[scene, tx_id, NMSE]`` of every map, means over seeds: what a later page compares its own rows with."""
    mean = part.groupby(["scene", "tx_id"])["raw/all/nmse"].mean()
    return [[str(scene), int(tx_id), float(value)] for (scene, tx_id), value in mean.items()]


def _compare_anew(table: dict) -> None:
    """Ratios and tests of a table that holds rows of an earlier page, where both rows tell of every map."""
    told = {name: scores.get("nmse_by_map") for name, scores in table["methods"].items()}
    reference = table["reference"]
    if not any(scores.get("kept") for scores in table["methods"].values()) or not told.get(reference):
        return
    columns = ["method", "scene", "tx_id", "raw/all/nmse"]
    rows = pd.DataFrame([(name, *one) for name, known in told.items() for one in known or ()], columns=columns)
    tested = _tested(rows, reference)
    for name in filter(told.get, told):
        scores = table["methods"][name]
        scores["to_reference"] = _ratio(rows, name, reference)
        scores["p_holm"] = tested.get(name, {}).get("p_holm")


def _duel(rows: pd.DataFrame, method: str, other: str) -> dict | None:
    """One method against another by scene; None until both are scored."""
    both = rows[rows["method"].isin([method, other])]
    if both["method"].nunique() < 2:
        return None
    tested = paired.compare(both, other)["methods"][method]
    return {"method": method, "other": other, "to_other": _ratio(rows, method, other)} | tested


def _tested(rows: pd.DataFrame, reference: str) -> dict:
    """``paired.compare`` of every method with the reference; nothing until it and another are scored."""
    methods = set(rows["method"])
    return paired.compare(rows, reference)["methods"] if reference in methods and len(methods) > 1 else {}


def _ratio(rows: pd.DataFrame, method: str, reference: str) -> dict | None:
    """NMSE as a multiple of the reference's, means over seeds, paired by map; None until the reference is scored."""
    parts = [
        rows[rows["method"] == name].groupby(["scene", "tx_id"])["raw/all/nmse"].mean() for name in (method, reference)
    ]
    if any(part.empty for part in parts) or not parts[0].index.equals(parts[1].index):
        return None
    scenes = parts[0].index.get_level_values("scene")
    return clustered_ratio(parts[0].to_numpy(), parts[1].to_numpy(), scenes, scenes)


def _markdown(found: Mapping) -> str:
    lines = [f"# Benchmark, size {found['size']}", "", *_in_short(found), "", *_how_to_read(found)]
    for (study, kind), group in _groups(found["tables"]):
        title = f"{_STUDIES[study]}: {_KINDS[kind]}"
        lines += [
            "",
            f"## {title}",
            "",
            f"![NMSE of all rows of the tables below]({group[0]['pictures']['intervals']})",
        ]
        for table in group:
            lines += ["", f"### {_SPLITS[table['split']]}", ""]
            lines += [f"{table['num_maps']} maps of {table['num_scenes']} scenes; dataset {table['dataset']}.", ""]
            lines += benchmark_tables.lines(table)
            lines += benchmark_tables.duel(table["duel"])
            if "maps" in table["pictures"]:
                lines += ["", _CAPTION, "", f"![the same maps by every method]({table['pictures']['maps']})"]
    return "\n".join([*lines, *published.lines(found["tables"], found["localization"]), "", *_commands(found)]) + "\n"


def _in_short(found: Mapping) -> list[str]:
    """The method of the least NMSE on every test split of the methods' tables, and how far the benchmark is."""
    lines = []
    if "trainings_planned" in found:
        lines = [f"{found['trainings_scored']} of {found['trainings_planned']} trainings are scored.", ""]
    tables = [table for table in found["tables"] if table["study"] in benchmark_tables.WHOLE_METHODS]
    rows = []
    for table in tables:
        ranked = [(n, m) for n, m in table["methods"].items() if m["raw"]["all"]["nmse"]["mean"] is not None]
        ranked.sort(key=lambda pair: pair[1]["raw"]["all"]["nmse"]["mean"])
        cells = [_STUDIES[table["study"]], _KINDS[table["kind"]], _SPLITS[table["split"]].split(",")[0]]
        for name, scores in ranked[:1]:
            ratio = scores["to_reference"]
            cells += [f"**{name}**", interval(scores["raw"]["all"]["nmse"], 4)]
            cells += ["–" if ratio is None else interval(ratio, 2)]
        for name, scores in ranked[1:2]:
            cells += [name, interval(scores["raw"]["all"]["nmse"], 4)]
        rows.append([*cells, *["–"] * (len(_BEST_HEAD) - len(cells))])
    return [*lines, *(markdown_table(_BEST_HEAD, rows) if rows else [])]


def _how_to_read(found: Mapping) -> list[str]:
    threshold, tolerance_cells = found["outline_rule"].values()
    shift = f"{tolerance_cells} cell" + "s" * (tolerance_cells != 1)
    return [
        "Written by `jobs/benchmark.py`; do not edit. All are trained on the same towns (Munich, Florence, Étoile and",
        "generated ones) and scored on towns that none was trained on.",
        "",
        "- Scores are means over maps and seeds, on the raw grey scale (g = 0 … 1 is -147 … -47 dB) over all pixels,",
        "  buildings included. In brackets: 95 % intervals, clustered by scene. NMSE = Σ(ĝ - g)² / Σg². NMSE and RMSE",
        "  are better when lower, SSIM and PSNR when higher.",
        "- *÷ …* is the mean NMSE as a multiple of the named row's, paired by map: 0.60 is 40 % less error, and an",
        "  interval that holds 1 does not tell the two apart. It is the comparison to trust, also where intervals of",
        "  a chart overlap; there a dotted line goes through the named row.",
        "- *p*: Wilcoxon's signed-rank test of that difference, one number per scene, corrected for the number of rows",
        "  (Holm). Below 0.05 it is not by chance of these scenes; of the seed of a training it says nothing.",
        f"- DTC and DTIoU compare the outline that DM1 draws with the true one, both cut at {threshold:g}, forgiving a",
        f"  shift of {shift}: how much of the true outline is drawn, and the overlap as a share of the union.",
        "- *residual* is the mean square of the equation that RMDM is trained by, on the predicted map.",
        "- *ms per map*, *GFLOP* and *calls* (of a network) are of one prediction, *weights* the parameters of all",
        "  networks, *trained* the wall time of one training with whatever else the machine did. Rows without it are",
        "  laws, fitted before they are scored. *Its law alone* is what a method's networks start from, so the",
        "  difference to the method is what they learned.",
    ]


def _commands(found: Mapping) -> list[str]:
    by_commit: dict[str, list[str]] = {}
    for name, one in _trainings(found["tables"]).items():
        by_commit.setdefault(", ".join(one["commits"]) or "not known", []).append(name)
    example = next((names[0] for names in by_commit.values()), "srm-radiodiff-0")
    lines = [
        "## Commands",
        "",
        "Everything, or what is missing of it; what is done stays, so that it goes on where it stopped:",
        "",
        f"    {found['command']}",
        "",
        "One training, and the page anew (a name is the kind of maps, the method, *short* or *study* for a third of",
        "the steps, and the seed):",
        "",
        f"    {found['command']} --only '^{example}$'",
        "",
        "What predictions cost, one after the other in one run, until which a row tells what scoring it measured:",
        "",
        f"    {found['command']} --costs",
        "",
        f"Page written at commit {found['commit']} on {found['hardware']}. A `+` marks changes not committed.",
    ]
    if by_commit:
        lines += ["", "| code of the training | trainings |", "|---|---|"]
        lines += [f"| {commit} | {', '.join(names)} |" for commit, names in by_commit.items()]
    if kept := benchmark_kept.kept_names(found["tables"]):
        lines += [
            "",
            "Rows of an earlier page, whose trainings are not where this one was written: " + ", ".join(kept) + ".",
        ]
    return lines
