"""Make a dataset of radio maps: city tiles and generated towns, static (srm), with traffic (drm) or multipath (mrm).

    python jobs/generate_maps.py --size demo --folder runs/demo/data          # on this machine
    python jobs/generate_maps.py --size demo --kind drm --folder runs/demo/data-drm
    ray job submit --working-dir . -- python jobs/generate_maps.py --size full --folder /shared/data

The three kinds of one plan have the same scenes and transmitters, so their maps pair up by scene and tx_id.

Any field of ``raymap.data.sources.MapPlan`` is an option by its dotted name (``--help`` lists them), e.g.
``--num_generated.train 400 --train_cities [munich] --cell_m 8``. Running the same command again makes only what is
missing.
"""

import sys
import time
from collections.abc import Sequence

from pydantic import Field

from raymap.config import from_command_line, sized
from raymap.data import shards, sources
from raymap.data.schema import DatasetCard
from raymap.runtime import cluster


class Job(sources.MapPlan):
    """A plan, and where its dataset goes."""

    folder: str = Field(description="folder of the dataset, under one path on every node")


def job(size: str) -> Job:
    """The job of a size; its folder is where the recipes look for that size's dataset."""
    return Job(folder=f"runs/{size}/data", **sources.plan(size).model_dump())


def main(argv: Sequence[str]) -> DatasetCard:
    """Run the job and print what was made."""
    chosen = from_command_line(*sized(job, argv, default="demo"), prog="generate_maps.py")
    plan = sources.MapPlan(**chosen.model_dump(exclude={"folder"}))
    cluster.connect()
    started = time.perf_counter()
    card = shards.generate(plan, chosen.folder)
    seconds = time.perf_counter() - started
    print(f"{'split':<16}{'scenes':>8}{'maps':>8}")
    for name, split in card.splits.items():
        print(f"{name:<16}{len(split.scenes):>8}{split.num_rows:>8}")
    low_db, high_db = card.gain_range_db
    rows, columns = card.shape
    print(f"{card.kind}, {rows}x{columns} cells of {card.cell_m:g} m, gain {low_db:.1f} to {high_db:.1f} dB")
    num_failed = len(shards.quarantined(chosen.folder))
    print(f"{num_failed} quarantined, {seconds:.1f} s, {chosen.folder} {card.fingerprint[:12]}")
    return card


if __name__ == "__main__":
    main(sys.argv[1:])
