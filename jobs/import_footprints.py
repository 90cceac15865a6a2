"""Turn a town's building footprints into a dataset of radio maps.

    python jobs/import_footprints.py --geojson t.geojson --out runs/town/data
    python jobs/import_footprints.py --geojson t.geojson --out runs/fine --cell_m 1 --solve_cell_m 1 --shape [256,256]

The town is cut into tiles every ``stride_m`` metres; tiles with a built share of 8 to 70 % become maps as in
``jobs/generate_maps.py``, of the same kinds. Neighbouring tiles overlap, so the whole town is one split, by default
``test``; with ``--split train --val_corner_m 512`` the tiles of its south-east corner are ``val``, and those that reach
into it are left out. A feature that cannot be used, and a tile that cannot be solved, is listed in
``quarantine.jsonl`` with its reason.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.data import footprints, place, schema, shards, sources
from raymap.data.schema import DatasetCard, Failure
from raymap.data.sources import MapPlan
from raymap.scene import Scene


class Job(Settings):
    """What to import."""

    geojson: str = Field("", description="file of footprints: GeoJSON, longitude and latitude, OSM-style tags")
    out: str = Field("", description="folder of the dataset to write")
    split: Literal["train", "val", "test"] = Field("test", description="split that the town's maps belong to")
    val_corner_m: float = Field(0.0, ge=0, description="south-east corner of a train town kept for val [m]; 0: none")
    kind: sources.Kind = Field("srm", description="kind of maps: srm static, drm with vehicles, mrm multipath")
    shape: tuple[int, int] = (64, 64)
    cell_m: float = Field(4.0, gt=0, description="cell of the stored maps [m], a multiple of solve_cell_m")
    solve_cell_m: float = Field(2.0, gt=0, description="cell on which footprints are drawn and maps are solved [m]")
    stride_m: float = Field(128.0, gt=0, description="distance between neighbouring tiles [m]")
    num_transmitters: int = Field(4, ge=1, description="transmitters per tile")
    antenna_m: float = Field(1.5, gt=0, description="height of the transmitters above ground [m]")
    default_height_m: float = Field(10.0, gt=0, description="height of buildings without one [m]")
    level_m: float = Field(3.0, gt=0, description="height of a storey, where only storeys are given [m]")
    frequency_hz: float = Field(5.9e9, gt=0)
    attribution: str = Field("", description="who is to be named for the footprints, e.g. © OpenStreetMap contributors")
    seed: int = Field(0, ge=0)


def main(argv: Sequence[str]) -> DatasetCard:
    """Run the job and print what was made. Raises ValueError or FileNotFoundError for a file that cannot be read."""
    job = from_command_line(Job(), argv, prog="import_footprints.py")
    if not job.geojson or not job.out:
        raise SystemExit("--geojson (the footprints) and --out (the dataset to write) are needed")
    plan = MapPlan(
        name=f"footprints-{Path(job.geojson).stem}",
        **job.model_dump(include={"kind", "shape", "cell_m", "solve_cell_m", "antenna_m", "seed"}),
    )
    town = footprints.read(
        job.geojson, cell_m=job.solve_cell_m, default_height_m=job.default_height_m, level_m=job.level_m,
        frequency_hz=job.frequency_hz,
    )  # fmt: skip
    parts = _parts(job, plan, town)
    rows = {split: _rows(scenes, job.num_transmitters, plan) for split, scenes in parts.items()}
    card = shards.write(
        {**rows, job.split: chain(town.failures, rows[job.split])},
        job.out,
        name=plan.name,
        kind=plan.kind,
        shape=plan.shape,
        cell_m=plan.cell_m,
        sources=(f"footprints of {town.scene.name}",),
        attribution=job.attribution,
    )
    print(
        f"{town.num_buildings} buildings, {town.num_default_heights} of them without a height taken as "
        f"{job.default_height_m:g} m; {town.num_other} features are no buildings"
    )
    for name, split in card.splits.items():
        print(f"{name}: {split.num_rows} maps of {len(split.scenes)} tiles to {job.out}")
    schema.tell(schema.failures(job.out), job.out)
    return card


def _parts(job: Job, plan: MapPlan, town: footprints.Town) -> dict[str, list[Scene]]:
    """The tiles by split. Raises ValueError if there are none."""
    if job.val_corner_m and job.split != "train":
        raise ValueError(f"val_corner_m={job.val_corner_m:g} m divides a town of the split train, split is {job.split}")
    scenes = [tile.scene for tile in place.tiles(town, plan.solve_grid.shape, job.stride_m)]
    if not job.val_corner_m:
        parts = {job.split: scenes}
    else:
        chosen = sources.split_by_ground(tuple(scenes), job.val_corner_m)
        parts = {split: [scenes[index] for index in indices] for split, indices in chosen.items()}
        print(f"{len(scenes) - sum(map(len, parts.values()))} tiles reach into the val corner and are left out")
    for split, found in parts.items():
        if not found:
            raise ValueError(f"{town.scene.name}: none of {len(scenes)} tiles with 8 to 70 % buildings is for {split}")
    return parts


def _rows(scenes: Sequence[Scene], num: int, plan: MapPlan) -> Iterator[dict | Failure]:
    for scene in scenes:
        try:
            yield from list(sources.scene_rows(scene, num, plan))
        except Exception as error:
            yield Failure(scene.name, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
