"""Turn a RadioMapSeer folder into a dataset.

    python jobs/import_radiomapseer.py --folder RadioMapSeer --out runs/radiomapseer/data
    python jobs/import_radiomapseer.py --folder RadioMapSeer --out runs/radiomapseer/cars --simulation carsDPM

All maps go to the split ``test``: here the real maps are a benchmark for models trained elsewhere. A file that cannot
be used costs its map and is listed, with its reason, in ``quarantine.jsonl``.
"""

import sys
from collections.abc import Iterator, Sequence

from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.data import radiomapseer, schema, shards
from raymap.data.schema import DatasetCard, Failure
from raymap.scene import Grid

ATTRIBUTION = (
    "RadioMapSeer: Ç. Yapar, R. Levie, G. Kutyniok, G. Caire, Dataset of pathloss and ToA radio maps with localization "
    "application, IEEE DataPort 2022, doi:10.21227/0gtx-6v30."
)


class Job(Settings):
    """What to import."""

    folder: str = Field("", description="the original RadioMapSeer folder (gain, png, antenna)")
    out: str = Field("", description="folder of the dataset to write")
    simulation: str = Field("DPM", description=f"one of {', '.join(radiomapseer.SIMULATIONS)}")
    cell_m: float = Field(4.0, gt=0, description="cell of the stored maps [m], a multiple of 1 m that divides 256 m")


def main(argv: Sequence[str]) -> DatasetCard:
    """Run the job and print what was made. Raises ValueError or FileNotFoundError for a folder that cannot be read."""
    job = from_command_line(Job(), argv, prog="import_radiomapseer.py")
    if not job.folder or not job.out:
        raise SystemExit("--folder (RadioMapSeer) and --out (the dataset to write) are needed")
    pairs = radiomapseer.pairs(job.folder, job.simulation)
    if not pairs:
        raise ValueError(f"{job.folder} holds no gains of {job.simulation}")
    factor = _factor(job.cell_m)
    card = shards.write(
        {"test": _rows(job, pairs, factor)},
        job.out,
        name=f"radiomapseer-{job.simulation}",
        kind="drm" if radiomapseer.SIMULATIONS[job.simulation] else "srm",
        shape=Grid(radiomapseer.ENCODING.shape, radiomapseer.ENCODING.cell_m).coarsen(factor).shape,
        cell_m=job.cell_m,
        sources=(f"RadioMapSeer {job.simulation}",),
        attribution=ATTRIBUTION,
    )
    split, failures = card.split("test"), shards.quarantined(job.out)
    print(f"{split.num_rows} of {len(pairs)} maps from {len(split.scenes)} cities to {job.out}")
    for failure in failures[:10]:
        print(f"left out {failure['what']}: {failure['reason']}")
    if len(failures) > 10:
        print(f"... and {len(failures) - 10} more, see {job.out}/{shards.FAILURES_FILE}")
    return card


def _factor(cell_m: float) -> int:
    factor = round(cell_m / radiomapseer.ENCODING.cell_m)
    if factor < 1 or abs(factor * radiomapseer.ENCODING.cell_m - cell_m) > 1e-9:
        raise ValueError(f"cell_m must be a multiple of {radiomapseer.ENCODING.cell_m:g} m, got {cell_m:g}")
    return factor


def _rows(job: Job, pairs: Sequence[tuple[int, int]], factor: int) -> Iterator[dict | Failure]:
    for map_id, tx_id in pairs:
        try:
            scene, transmitter, radio_map = radiomapseer.read(job.folder, map_id, tx_id, job.simulation)
            scene = scene.coarsen(factor, transmitter)
            yield schema.row(scene, tx_id, transmitter, radio_map.coarsen(factor, scene.outdoor))
        except (OSError, ValueError) as error:
            yield Failure(f"map {map_id}, transmitter {tx_id}", str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
