"""Turn a RadioMapSeer folder into a dataset.

    python jobs/import_radiomapseer.py --folder RadioMapSeer --out runs/radiomapseer/data
    python jobs/import_radiomapseer.py --folder RadioMapSeer --out runs/radiomapseer/cars --simulation carsDPM
    python jobs/import_radiomapseer.py --folder RadioMapSeer --out runs/radiomapseer/train --split radiounet

By default all maps go to the split ``test``: here the real maps are a benchmark for models trained elsewhere.
``--split radiounet`` gives RadioUNet's published train, val and test; ``radiodiff`` and ``radiodiff-k`` overlap as
published, so a map in two of their parts is kept in the later one only, and the dataset's card says so;
``--split exported`` restores the splits, names and positions of a folder made by ``jobs/export_radiomapseer.py``. A
file that cannot be used costs its map and is listed, with its reason, in ``quarantine.jsonl``. The work is shared over
the Ray cluster; running the same command again makes only what is missing.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from raymap.config import from_command_line
from raymap.data import radiomapseer_import, schema, shards
from raymap.data.radiomapseer_import import ImportPlan
from raymap.data.schema import DatasetCard
from raymap.runtime import cluster


class Job(ImportPlan):
    """What to import, and where its dataset goes."""

    out: str = Field("", description="folder of the dataset to write")


def main(argv: Sequence[str]) -> DatasetCard:
    """Run the job and print what was made. Raises ValueError or FileNotFoundError for a folder that cannot be read."""
    job = from_command_line(Job(), argv, prog="import_radiomapseer.py")
    if not job.folder or not job.out:
        raise SystemExit("--folder (RadioMapSeer) and --out (the dataset to write) are needed")
    plan = ImportPlan(**{**job.model_dump(exclude={"out"}), "folder": str(Path(job.folder).resolve())})
    parts, notes = radiomapseer_import.parts(plan)
    for note in notes:
        print(f"note: {note}")
    about = radiomapseer_import.about(plan)
    cluster.connect()
    started = time.perf_counter()
    card = shards.make(plan, job.out, radiomapseer_import.work, radiomapseer_import.rows, retry=True, **about)
    num_tried = sum(len(pairs) for pairs in parts.values())
    _tell(card, job.out, num_tried, num_tried / (time.perf_counter() - started))
    return card


def _tell(card: DatasetCard, out: str, num_tried: int, per_second: float) -> None:
    num_rows = sum(split.num_rows for split in card.splits.values())
    num_cities = sum(len(split.scenes) for split in card.splits.values())
    print(f"{num_rows} of {num_tried} maps from {num_cities} cities to {out}, {per_second:.0f} per second")
    for name, split in card.splits.items():
        print(f"{name}: {split.num_rows} maps from {len(split.scenes)} cities")
    schema.tell(schema.failures(out), out)


if __name__ == "__main__":
    main(sys.argv[1:])
