"""The benchmark as a page for people and a file for programs, from one row per training and map."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from raymap.evaluation import summary
from raymap.evaluation.intervals import clustered_ratio

_STUDIES = {
    "methods": "Methods",
    "law": "What physics tells, cell by cell",
    "outline": "Which outline helps",
    "physics": "Which physics inputs help",
    "diffusion": "What the diffusion is made of",
}
_SPLITS = {"test": "San Francisco, never trained on", "test_generated": "generated towns, never trained on"}
_KINDS = {"srm": "static maps", "drm": "maps with vehicles", "mrm": "multipath maps"}


def write(page: Path, tables: Sequence[Mapping], *, size: str, commit: str, hardware: str, command: str) -> dict:
    """Write ``page`` (Markdown) and the same numbers beside it (``.json``); returns what the JSON holds.

    ``tables``: dicts with ``study``, ``kind``, ``split``, ``dataset``, ``reference`` (method that ratios are to) and
    ``rows``, a DataFrame with one row per training and map (see ``summary.summarise``; also ``seed`` and ``minutes``).
    """
    about = {"size": size, "commit": commit, "hardware": hardware, "command": command}
    found = {**about, "tables": [_numbers(table, about) for table in tables]}
    page.parent.mkdir(parents=True, exist_ok=True)
    page.with_suffix(".json").write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    page.write_text(_markdown(found), encoding="utf-8")
    return found


def _numbers(table: Mapping, about: Mapping) -> dict:
    rows: pd.DataFrame = table["rows"]
    made = {key: about[key] for key in ("commit", "command", "hardware")}
    found = summary.summarise(rows, dataset=table["dataset"], split=table["split"], **made)
    for name, part in rows.groupby("method", sort=False):
        scores = found["methods"][name]
        scores["num_seeds"] = int(part["seed"].nunique())
        minutes = part.groupby("seed")["minutes"].first().mean()
        scores["minutes"] = None if pd.isna(minutes) else float(minutes)
        scores["to_reference"] = _ratio(rows, name, table["reference"])
    return {key: table[key] for key in ("study", "kind", "reference")} | found


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
    lines = [
        f"# Benchmark, size {found['size']}",
        "",
        "Written by the command below; do not edit. Means over maps with 95 % intervals clustered by scene, on the raw",
        "grey scale over all pixels. All are trained on the same towns: Munich, Florence, Étoile and generated ones.",
        "",
        f"    {found['command']}",
        "",
        f"{found['hardware']}; commit {found['commit']}.",
    ]
    for table in found["tables"]:
        lines += ["", f"## {_STUDIES[table['study']]}: {_KINDS[table['kind']]}, {_SPLITS[table['split']]}", ""]
        lines += [f"{table['num_images']} maps of {table['num_scenes']} scenes; dataset {table['dataset']}.", ""]
        lines += _table(table)
    return "\n".join(lines) + "\n"


def _table(table: Mapping) -> list[str]:
    outlined = any("outline" in scores for scores in table["methods"].values())
    head = ["method", "NMSE", f"of {table['reference']}'s", "RMSE", "SSIM", "PSNR"]
    head += ["DTC", "DTIoU"] if outlined else []
    head += ["ms per map", "calls", "weights", "trained", "seeds"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, scores in table["methods"].items():
        whole, drawn = scores["raw"]["all"], scores.get("outline", {})
        ratio = scores["to_reference"]
        cells = [
            name,
            _interval(whole["nmse"], 4),
            "–" if ratio is None else _interval(ratio, 2),
            f"{whole['rmse_db']['mean']:.2f} dB",
            f"{whole['ssim']['mean']:.3f}",
            f"{whole['psnr']['mean']:.1f} dB",
        ]
        cells += [_mean(drawn.get(key), 2) for key in ("dtc", "dtiou")] if outlined else []
        cells += [
            f"{scores['latency_ms']:.0f}",
            str(scores["network_calls"]),
            f"{scores['parameters'] / 1e6:.1f} M" if scores["parameters"] > 1e4 else str(scores["parameters"]),
            "–" if scores["minutes"] is None else f"{scores['minutes']:.0f} min",
            str(scores["num_seeds"]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _interval(score: Mapping, digits: int) -> str:
    if score["low"] is None:
        return f"{score['mean']:.{digits}f}"
    return f"{score['mean']:.{digits}f} ({score['low']:.{digits}f}–{score['high']:.{digits}f})"


def _mean(score: Mapping | None, digits: int) -> str:
    return "–" if not score or score["mean"] is None else f"{score['mean']:.{digits}f}"
