"""What a report of scores shows: which maps, and their pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from raymap.evaluation import pictures, report, summary


def choose(rows, method: str | None, dataset, num: int) -> dict[str, np.ndarray]:
    """Columns of ``num`` maps spread evenly from the method's best to its worst NMSE, and their rank as ``share``."""
    method = method or rows["method"].iloc[0]
    ranked = rows[rows["method"] == method].sort_values("raw/all/nmse", kind="stable").reset_index(drop=True)
    shares = np.linspace(0.05, 0.95, min(num, len(ranked)))
    chosen = ranked.iloc[[round(share * (len(ranked) - 1)) for share in shares]]
    wanted = {
        (scene, int(tx_id)): rank
        for rank, (scene, tx_id) in enumerate(zip(chosen["scene"], chosen["tx_id"], strict=True))
    }
    found = [row for row in dataset.iter_rows() if (row["scene"], int(row["tx_id"])) in wanted]
    found.sort(key=lambda row: wanted[row["scene"], int(row["tx_id"])])
    return {"share": shares[: len(found)], **{key: np.stack([row[key] for row in found]) for key in found[0]}}


def items(examples: dict[str, np.ndarray], gain_db: np.ndarray, outline: np.ndarray | None = None) -> list[dict]:
    """What the house picture (``evaluation.pictures.gallery``) shows of every example: maps (B, H, W) [dB]."""
    found = []
    for index, scene in enumerate(examples["scene"]):
        x_m, y_m, _height_m = examples["tx_xyz_m"][index]
        cell_m, rank = float(examples["cell_m"][index]), examples["share"][index]
        item = {
            "title": f"{scene}, Tx {examples['tx_id'][index]} ({rank:.0%} of maps have less error)",
            "building_m": examples["building_m"][index],
            "predicted_db": gain_db[index],
            "true_db": examples["gain_db"][index],
            "outdoor": examples["valid"][index].astype(bool),
            "tx": (int(y_m / cell_m), int(x_m / cell_m)),
            "cell_m": cell_m,
        }
        if outline is not None:
            item["outline"] = outline[index]
        found.append(item)
    return found


def write(
    out: Path,
    found: dict,
    rows,
    *,
    drawn: Mapping[str, list[dict]],
    given: Iterable[str],
    measured: bool,
    floors: Sequence[str],
    notes: Sequence[str],
    attribution: str,
) -> None:
    """``pictures/*.png`` and ``report.html`` from what was scored (``found``, ``rows``) and ``drawn``: name -> items.

    ``given``: methods of which only maps are known. ``measured``: whether measurements could be used.
    """
    folder = out / "pictures"
    folder.mkdir(exist_ok=True)
    shown = []
    for name, examples in drawn.items():
        png = pictures.gallery(examples, folder / f"{slug(name)}.png")
        middle = len(examples) // 2
        pictures.gallery(examples[middle : middle + 1], folder / f"{slug(name)}-one.png")
        source = "From the environment alone" if not measured else "From the environment and measurements"
        source = "Given as files, from whatever their maker knew" if name in given else source
        outline = "predicted outline, " * ("outline" in examples[0])
        caption = f"{source}: buildings, {outline}predicted map; then the truth and the error."
        shown.append((f"Maps by {name}", caption, png))
    ratio = summary.ratio_to_better_floor(rows, list(floors))
    report.write_report(out, found, shown, ratio=ratio, rows=rows, notes=list(notes), attribution=attribution)


def slug(name: str) -> str:
    """A method's name as that of a file or folder."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name.replace("²", "2")).strip("-").lower()
