"""Turn a DeepMIMO v4 folder into a dataset of paths at points.

    python jobs/import_deepmimo.py --folder deepmimo/asu_campus --out runs/asu/points
    python jobs/import_deepmimo.py --folder deepmimo/asu_campus --out runs/asu/five --num_paths 5 --split test

Every pair of transmitter and set of receivers becomes one channel, named by the folder and its place in it. A pair that
cannot be used, also one whose lines of sight contradict its positions, is listed with the reason in
``quarantine.jsonl``, and costs no other.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.data import deepmimo, points, schema
from raymap.data.channel import Channel, check_line_of_sight
from raymap.data.points import PointsCard
from raymap.data.schema import Failure


class Job(Settings):
    """What to import."""

    folder: str = Field("", description="the DeepMIMO folder (params.json and arrays)")
    out: str = Field("", description="folder of the dataset to write")
    split: str = Field("train", description="split that all channels go to")
    num_paths: int = Field(25, ge=1, description="strongest paths kept per receiver")
    check_line_of_sight: bool = Field(True, description="refuse pairs whose lines of sight contradict the positions")
    attribution: str = Field("", description="whom the card is to name; default: the folder's name and ray tracer")


def main(argv: Sequence[str]) -> PointsCard:
    """Run the job and print what was made. Raises ValueError or FileNotFoundError for a folder that cannot be read."""
    job = from_command_line(Job(), argv, prog="import_deepmimo.py")
    if not job.folder or not job.out:
        raise SystemExit("--folder (DeepMIMO) and --out (the dataset to write) are needed")
    folder = Path(job.folder).resolve()
    pairs = deepmimo.pairs(folder)
    if not pairs:
        raise ValueError(f"{folder} holds no arrays of DeepMIMO 4 (power_t000_tx000_r001.npz and so on)")
    card = points.write(
        job.out,
        {job.split: _channels(job, folder, pairs)},
        name=f"deepmimo-{folder.name}",
        sources=(f"DeepMIMO folder {folder.name}",),
        attribution=job.attribution or f"DeepMIMO folder {folder.name}, made with {deepmimo.made_with(folder)}",
        num_paths=job.num_paths,
    )
    print(
        f"{len(card.splits[job.split])} of {len(pairs)} channels, {card.num_receivers} receivers to {job.out}; "
        f"{card.share_without_path:.1%} of them without a path"
    )
    schema.tell(schema.failures(job.out), job.out)
    return card


def _channels(job: Job, folder: Path, pairs: Sequence[deepmimo.Pair]) -> Iterator[tuple[str, Channel] | Failure]:
    for pair in pairs:
        try:
            channel = deepmimo.read(folder, *pair)
            if job.check_line_of_sight:
                check_line_of_sight(channel)
            yield f"{folder.name}/{pair}", channel
        except (OSError, ValueError) as error:
            yield Failure(str(pair), str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
