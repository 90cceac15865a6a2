"""Turn a DeepMIMO v4 folder into a dataset of paths at points.

    python jobs/import_deepmimo.py --folder deepmimo/asu_campus --out runs/asu/points
    python jobs/import_deepmimo.py --folder deepmimo/asu_campus --out runs/asu/five --num_paths 5 --split test

Every pair of transmitter and set of receivers becomes one channel, named by the folder and its place in it. A pair that
cannot be used, also one whose lines of sight contradict its positions, is listed with the reason in
``quarantine.jsonl``, and costs no other. The work is shared over the Ray cluster; running the same command again makes
only what is missing and tries again what failed. A channel that was made is not looked at again: for a folder whose
arrays changed, take another ``--out``.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from raymap.config import from_command_line
from raymap.data import deepmimo_import, points, schema
from raymap.data.deepmimo_import import ImportPlan
from raymap.data.points import PointsCard
from raymap.runtime import cluster


class Job(ImportPlan):
    """What to import, and where its dataset goes."""

    out: str = Field("", description="folder of the dataset to write")


def main(argv: Sequence[str]) -> PointsCard:
    """Run the job and print what was made. Raises ValueError or FileNotFoundError for a folder that cannot be read."""
    job = from_command_line(Job(), argv, prog="import_deepmimo.py")
    if not job.folder or not job.out:
        raise SystemExit("--folder (DeepMIMO) and --out (the dataset to write) are needed")
    plan = ImportPlan(**{**job.model_dump(exclude={"out"}), "folder": str(Path(job.folder).resolve())})
    num_pairs, about = len(deepmimo_import.work(plan)), deepmimo_import.about(plan)
    cluster.connect()
    card = points.make(plan, job.out, deepmimo_import.work, deepmimo_import.channel, **about)
    print(
        f"{len(card.splits[job.split])} of {num_pairs} channels, {card.num_receivers} receivers to {job.out}; "
        f"{card.share_without_path:.1%} of them without a path"
    )
    schema.tell(schema.failures(job.out), job.out)
    return card


if __name__ == "__main__":
    main(sys.argv[1:])
