"""Turn a town's building footprints into a dataset of radio maps.

    python jobs/import_footprints.py --geojson t.geojson --out runs/town/data
    python jobs/import_footprints.py --geojson t.geojson --out runs/fine --cell_m 1 --solve_cell_m 1 --shape [256,256]

The town is cut into tiles every ``stride_m`` metres; tiles with a built share of 8 to 70 % become maps as in
``jobs/generate_maps.py``, of the same kinds. Neighbouring tiles overlap, so the whole town is one split, by default
``test``; with ``--split train --val_corner_m 512`` the tiles of its south-east corner are ``val``, and those that reach
into it are left out. A feature that cannot be used, and a tile that cannot be solved, is listed in
``quarantine.jsonl`` with its reason. The work is shared over the Ray cluster, whose nodes must all see the file;
running the same command again makes only what is missing.
"""

import sys
from collections.abc import Sequence

from pydantic import Field

from raymap.config import from_command_line
from raymap.data import footprints_import, schema, shards
from raymap.data.footprints_import import ImportPlan
from raymap.data.schema import DatasetCard
from raymap.runtime import cluster


class Job(ImportPlan):
    """What to import, and where its dataset goes."""

    out: str = Field("", description="folder of the dataset to write")


def main(argv: Sequence[str]) -> DatasetCard:
    """Run the job and print what was made. Raises ValueError or FileNotFoundError for a file that cannot be read."""
    job = from_command_line(Job(), argv, prog="import_footprints.py")
    if not job.geojson or not job.out:
        raise SystemExit("--geojson (the footprints) and --out (the dataset to write) are needed")
    plan = footprints_import.pinned(ImportPlan(**job.model_dump(exclude={"out"})))
    about, town = footprints_import.about(plan), footprints_import.town(plan)
    _, num_left_out = footprints_import.parts(plan)
    if num_left_out:
        print(f"{num_left_out} tiles reach into the val corner and are left out")
    cluster.connect()
    card = shards.make(plan, job.out, footprints_import.work, footprints_import.rows, **about)
    print(
        f"{town.num_buildings} buildings, {town.num_default_heights} of them without a height taken as "
        f"{job.default_height_m:g} m; {town.num_other} features are no buildings"
    )
    for name, split in card.splits.items():
        print(f"{name}: {split.num_rows} maps of {len(split.scenes)} tiles to {job.out}")
    schema.tell(schema.failures(job.out), job.out)
    return card


if __name__ == "__main__":
    main(sys.argv[1:])
