"""Coverage of one transmitter in a town of building footprints, as a GeoTIFF for any GIS.

    python jobs/predict_footprints.py --geojson town.geojson --transmitter [11.5755,48.1374,10] --geotiff gain.tif
    python jobs/predict_footprints.py --geojson town.geojson --transmitter [11.5755,48.1374,10] --geotiff gain.tif \
        --shape [512,512] --cell_m 1

Without ``--shape`` the map covers the whole town, with it so many cells around the transmitter.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.data import footprints, geotiff, schema
from raymap.data.place import transmitter_at
from raymap.propagation import dominant_path


class Job(Settings):
    """What to predict."""

    geojson: str = Field("", description="file of footprints: GeoJSON, longitude and latitude, OSM-style tags")
    transmitter: tuple[float, float, float] | None = Field(
        None, description="[longitude, latitude, height above ground in metres]"
    )
    geotiff: str = Field("", description="file to write")
    cell_m: float = Field(2.0, gt=0, description="cell of the map [m]")
    shape: tuple[int, int] | None = Field(None, description="[rows, columns] around the transmitter")
    default_height_m: float = Field(10.0, gt=0, description="height of buildings without one [m]")
    level_m: float = Field(3.0, gt=0, description="height of a storey, where only storeys are given [m]")
    frequency_hz: float = Field(5.9e9, gt=0)
    power_dbm: float = 23.0


def main(argv: Sequence[str]) -> Path:
    """Run the job and print what was made. Raises ValueError or FileNotFoundError for what cannot be used."""
    job = from_command_line(Job(), argv, prog="predict_footprints.py")
    if not job.geojson or not job.geotiff or job.transmitter is None:
        raise SystemExit("--geojson, --transmitter [longitude,latitude,height] and --geotiff are needed")
    *lonlat, height_m = job.transmitter
    town = footprints.read(
        job.geojson, cell_m=job.cell_m, shape=job.shape, centre_lonlat=lonlat if job.shape else None,
        default_height_m=job.default_height_m, level_m=job.level_m, frequency_hz=job.frequency_hz,
    )  # fmt: skip
    transmitter = transmitter_at(town, lonlat, height_m, job.power_dbm)
    radio_map = dominant_path.solve(town.scene, transmitter)
    path = geotiff.write(job.geotiff, radio_map, town, transmitter)
    rows, columns = town.scene.grid.shape
    outdoors_db = radio_map.gain_db[radio_map.valid]
    print(
        f"{town.num_buildings} buildings, {town.num_default_heights} of them without a height taken as "
        f"{job.default_height_m:g} m; {town.num_outside} outside the map, {town.num_other} features are no buildings"
    )
    schema.tell(town.failures)
    low_db, high_db = outdoors_db.min(), outdoors_db.max()
    print(f"{rows}x{columns} cells of {job.cell_m:g} m, gain {low_db:.1f} to {high_db:.1f} dB, {path}")
    return path


if __name__ == "__main__":
    main(sys.argv[1:])
