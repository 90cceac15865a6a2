"""Write a dataset in the layout of RadioMapSeer, for code that was released for it.

    python jobs/export_radiomapseer.py --data runs/full/data --out RadioMapSeer-raymap
    python jobs/export_radiomapseer.py --data runs/demo/data --out RadioMapSeer-demo --enlarge

Maps must be 256 x 256, or with ``--enlarge`` square with a side that divides 256. Which map was which scene, and
what 8-bit pictures cannot show, is written to ``raymap_scenes.json``; what could not be exported is listed, with its
reason, in ``quarantine.jsonl``. ``jobs/import_radiomapseer.py --split exported`` reads the folder back.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.data import radiomapseer, radiomapseer_export, schema
from raymap.data.schema import DatasetCard


class Job(Settings):
    """What to export."""

    data: str = Field("", description="dataset folder")
    out: str = Field("", description="new folder in the layout of RadioMapSeer")
    splits: tuple[str, ...] = Field((), description="splits to export, e.g. [train,val]; default: all")
    simulation: str | None = Field(
        None, description="folder under gain/; default: DPM for static maps, carsDPM with vehicles, IRT4 multipath"
    )
    numbering: Literal["plain", "radiounet"] = Field(
        "plain", description="map ids: counted from 1, or those of the same split in RadioUNet's published one"
    )
    enlarge: bool = Field(False, description="repeat the cells of maps whose side divides 256")


def main(argv: Sequence[str]) -> radiomapseer.Export:
    """Run the job and print what was written. Raises ValueError or FileNotFoundError for a dataset that cannot be."""
    job = from_command_line(Job(), argv, prog="export_radiomapseer.py")
    if not job.data or not job.out:
        raise SystemExit("--data (a dataset) and --out (the folder to write) are needed")
    card = DatasetCard.load(job.data)
    started = time.perf_counter()
    export = radiomapseer_export.write(
        Path(job.out),
        radiomapseer_export.rows_by_split(job.data, job.splits),
        name=card.name,
        kind=card.kind,
        simulation=job.simulation,
        numbering=job.numbering,
        enlarge=job.enlarge,
        sources=card.sources,
        attribution=card.attribution,
        fingerprint=card.fingerprint,
    )
    seconds = time.perf_counter() - started
    num = sum(len(entry.transmitters) for entry in export.maps)
    print(
        f"{num} gains of {len(export.maps)} maps to {job.out}/gain/{export.simulation}, {num / seconds:.0f} per second"
    )
    print(", ".join(f"{name} {value:g}" for name, value in export.changes.items()))
    print(export.how_to_load)
    schema.tell(schema.failures(job.out), job.out)
    return export


if __name__ == "__main__":
    main(sys.argv[1:])
