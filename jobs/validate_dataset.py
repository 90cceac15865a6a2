"""Check a dataset and describe it: axis order, polarity, range, duplicates, leaks; a data card with pictures.

    python jobs/validate_dataset.py --data runs/demo/data [--out runs/demo/data/card] [--num_pictures 6]

Exit status 1 if anything is wrong. ``--out`` gets ``data_card.md`` and its pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.data import reader, schema, validate
from raymap.data.schema import DatasetCard
from raymap.evaluation import pictures


class Job(Settings):
    """What to check."""

    data: str = Field("", description="folder of the dataset")
    out: str | None = Field(None, description="folder of the data card; default: card inside the dataset's folder")
    num_pictures: int = Field(4, ge=0, description="maps drawn per split")


def main(argv: Sequence[str]) -> int:
    """Print the findings, write the card; 0 if the dataset is sound. Raises as ``validate.validate``."""
    job = from_command_line(Job(), argv, prog="validate_dataset.py")
    if not job.data:
        raise SystemExit("--data (the dataset's folder) is needed")
    card, found = DatasetCard.load(job.data), validate.validate(job.data)
    for finding in found.findings:
        print(f"{finding.severity}: {finding.what}: {finding.reason}")
    out = Path(job.out or Path(job.data) / "card")
    out.mkdir(parents=True, exist_ok=True)
    drawn = [split for split in card.splits if _draw(job, card, split, out / f"{split}.png")]
    (out / "data_card.md").write_text(describe(card, found, drawn))
    verdict = "sound" if found.sound else "NOT sound"
    print(f"{card.name}: {verdict}, {len(found.findings)} findings; {out / 'data_card.md'}")
    return 0 if found.sound else 1


def describe(card: DatasetCard, found: validate.Validation, drawn: Sequence[str]) -> str:
    """The data card as Markdown."""
    head = ["split", "scenes", "maps", "lowest", "5 %", "median", "95 %", "highest", "built", "vehicles", "lit",
            "on the floor", "above −100 dB"]  # fmt: skip
    lines = [
        f"# Dataset {card.name}",
        "",
        f"Kind {card.kind}; {card.shape[0]} x {card.shape[1]} cells of {card.cell_m:g} m; "
        f"sources: {', '.join(card.sources)}; fingerprint `{card.fingerprint[:16]}`.",
        "",
        card.attribution,
        "",
        "Path gain in dB over valid cells; shares of all cells (built, vehicles) or of valid cells (the rest).",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for split, facts in found.facts.items():
        gains = [f"{gain_db:.1f}" for gain_db in facts.gain_db]
        shares = [facts.share_built, facts.share_vehicle, facts.share_lit, facts.share_floor, facts.coverage]
        cells = [split, f"{facts.num_scenes:,}", f"{facts.num_maps:,}", *gains, *(f"{share:.1%}" for share in shares)]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "## Findings", ""]
    lines += [f"- {f.severity}: {f.what}: {f.reason}" for f in found.findings] or ["None."]
    for split in drawn:
        lines += ["", f"## Maps of {split}", "", f"![maps of {split}]({split}.png)"]
    return "\n".join(lines) + "\n"


def _draw(job: Job, card: DatasetCard, split: str, path: Path) -> bool:
    """Buildings and gain of a few maps, spread evenly over the split; False if there is nothing to draw."""
    chosen = set(np.linspace(0, card.split(split).num_rows - 1, job.num_pictures).round().astype(int).tolist())
    maps, number = [], 0
    for columns in reader.ShardReader(job.data, split):
        for index in range(len(columns["scene"])):
            if number in chosen:
                maps.append(schema.nouns({name: columns[name][index] for name in schema.COLUMNS}))
            number += 1
    if maps:
        path.write_bytes(pictures.maps(maps))
    return bool(maps)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
