"""What a report of scores shows: which maps, and their pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from raymap.evaluation import comparison_pictures, pictures, report, summary

#: What one picture of the same maps by several methods can hold and still be read.
MAX_COMPARED, MAX_COMPARED_MAPS = 6, 3


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


def best(rows, methods: Iterable[str]) -> str:
    """Which of the methods has the least mean NMSE."""
    means = rows[rows["method"].isin([*methods])].groupby("method", sort=False)["raw/all/nmse"].mean()
    return str(means.idxmin())


def write(
    out: Path,
    found: dict,
    rows,
    *,
    examples: Mapping[str, np.ndarray],
    drawn: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    law: tuple[str, np.ndarray],
    given: Iterable[str],
    measured: bool,
    floors: Sequence[str],
    reference: str | None,
    notes: Sequence[str],
    attribution: str,
) -> None:
    """``pictures/*.png`` and ``report.html`` from what was scored (``found``, ``rows``).

    ``drawn``: name -> maps (B, H, W) [dB] predicted of the ``examples``, and outlines where it draws some; each gets a
    picture of its own. ``law``: what stands beside them where all are shown together, name and maps. ``given``: methods
    of which only maps are known. ``measured``: whether measurements could be used. ``reference`` as for
    :func:`raymap.evaluation.report.write_report`.
    """
    folder = out / "pictures"
    folder.mkdir(exist_ok=True)
    gains = {name: gain_db for name, (gain_db, _) in [*drawn.items()][: MAX_COMPARED - 1]} | dict([law])
    png = _comparison(examples, gains, rows)
    (folder / "_comparison.png").write_bytes(png)  # no name of a method's picture begins so
    caption = "The truth, then the map and below it the error (predicted − true) of each method, all on one scale."
    if len(drawn) >= MAX_COMPARED:
        caption += f" The first {MAX_COMPARED - 1} methods, and the best law; the others follow below."
    shown = [("The same maps by every method", caption, png)]
    for name, (gain_db, outline) in drawn.items():
        items = _items(examples, gain_db, outline)
        png = pictures.gallery(items, folder / f"{slug(name)}.png")
        middle = len(items) // 2
        pictures.gallery(items[middle : middle + 1], folder / f"{slug(name)}-one.png")
        source = "From the environment alone" if not measured else "From the environment and measurements"
        source = "Given as files, from whatever their maker knew" if name in given else source
        drawn_too = "predicted outline, " * (outline is not None)
        caption = f"{source}: buildings, {drawn_too}predicted map; then the truth and the error."
        shown.append((f"Maps by {name}", caption, png))
    ratio = summary.ratio_to_better_floor(rows, list(floors))
    report.write_report(
        out, found, shown, ratio=ratio, rows=rows, reference=reference, notes=list(notes), attribution=attribution
    )


def _comparison(examples: Mapping[str, np.ndarray], gains: Mapping[str, np.ndarray], rows) -> bytes:
    """Some of the examples by every method, from the easiest to the hardest; PNG bytes."""
    nmse = rows.set_index(["method", "scene", "tx_id"])["raw/all/nmse"]
    abouts, num = _abouts(examples), len(examples["scene"])
    items = []
    for index in np.unique(np.linspace(0, num - 1, min(num, MAX_COMPARED_MAPS)).round().astype(int)):
        image = (examples["scene"][index], examples["tx_id"][index])
        predicted = {name: (gain_db[index], nmse.loc[name, *image]) for name, gain_db in gains.items()}
        items.append(abouts[index] | {"vehicle_m": examples["vehicle_m"][index], "predicted": predicted})
    return comparison_pictures.comparison(items)


def _items(examples: Mapping[str, np.ndarray], gain_db: np.ndarray, outline: np.ndarray | None) -> list[dict]:
    """What the house picture (``evaluation.pictures.gallery``) shows of every example: maps (B, H, W) [dB]."""
    items = [about | {"predicted_db": image} for about, image in zip(_abouts(examples), gain_db, strict=True)]
    if outline is not None:
        items = [item | {"outline": image} for item, image in zip(items, outline, strict=True)]
    return items


def _abouts(examples: Mapping[str, np.ndarray]) -> list[dict]:
    """What every picture of an example shows, whoever predicted it."""
    found = []
    for index, scene in enumerate(examples["scene"]):
        x_m, y_m, _height_m = examples["tx_xyz_m"][index]
        cell_m, rank = float(examples["cell_m"][index]), examples["share"][index]
        found.append(
            {
                "title": f"{scene}, Tx {examples['tx_id'][index]} ({rank:.0%} of maps have less error)",
                "building_m": examples["building_m"][index],
                "true_db": examples["gain_db"][index],
                "outdoor": examples["valid"][index].astype(bool),
                "tx": (int(y_m / cell_m), int(x_m / cell_m)),
                "cell_m": cell_m,
            }
        )
    return found


def slug(name: str) -> str:
    """A method's name as that of a file or folder."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name.replace("²", "2")).strip("-").lower()
