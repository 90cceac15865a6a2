"""GeoTIFF: a radio map with its place on the globe, for any GIS, and back.

Bands, float32: path gain [dB] (NaN where the map is not valid), building height [m], and vehicle height [m] if there
are vehicles. Tags of the file name the frequency, the transmitter and the quantity with its unit.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from raymap import units
from raymap.data.place import Place
from raymap.scene import Grid, RadioMap, Scene, Transmitter
from raymap.storage import whole

_BANDS = {"gain_db": "dB", "building_m": "m", "vehicle_m": "m"}


def _rasterio():
    try:
        import rasterio
    except ImportError as error:
        raise ImportError("GeoTIFF needs rasterio: pip install 'raymap[geo]'") from error
    return rasterio


def write(path: str | Path, radio_map: RadioMap, place: Place, transmitter: Transmitter) -> Path:
    """Write a radio map of ``transmitter`` in ``place`` as a GeoTIFF, whole or not at all; returns its path.

    Raises ValueError if map and place differ in shape, ImportError without the extra ``geo``.
    """
    rasterio = _rasterio()
    path, scene = Path(path), place.scene
    if radio_map.gain_db.shape != scene.grid.shape:
        raise ValueError(f"the radio map has shape {radio_map.gain_db.shape}, the place has {scene.grid.shape}")
    bands = {
        "gain_db": np.where(radio_map.valid, radio_map.gain_db, np.float32(np.nan)),
        "building_m": scene.building_m,
        **({"vehicle_m": scene.vehicle_m} if scene.vehicle_m.any() else {}),
    }
    lon, lat = place.lonlat(transmitter.xyz_m[:2]).tolist()
    tags = {
        "scene": scene.name,
        "quantity": "path gain [dB]: received minus transmitted power between isotropic antennas",
        "frequency_hz": repr(float(scene.frequency_hz)),
        "transmitter_xyz_m": json.dumps(transmitter.xyz_m),
        "transmitter_lonlat": json.dumps((lon, lat)),
        "transmitter_power_dbm": repr(float(transmitter.power_dbm)),
    }
    profile = {
        "driver": "GTiff", "dtype": "float32", "count": len(bands), "height": scene.grid.shape[0],
        "width": scene.grid.shape[1], "crs": place.crs, "transform": rasterio.Affine(*place.transform),
        "nodata": np.nan, "compress": "deflate", "predictor": 3,
    }  # fmt: skip
    with whole(path) as temporary, rasterio.open(temporary, "w", **profile) as file:
        for number, (name, values) in enumerate(bands.items(), 1):
            file.write(values, number)
            file.set_band_description(number, name)
            file.set_band_unit(number, _BANDS[name])
        file.update_tags(**tags)
    return path


def read(path: str | Path) -> tuple[Place, Transmitter, RadioMap]:
    """A file of :func:`write`: the place, the transmitter and its map (the floor of −147 dB where it is not valid).

    Raises FileNotFoundError, ValueError, naming the file, for one that is damaged, lacks the bands or tags of
    :func:`write`, or whose raster is turned, not north-up, or not square; ImportError without the extra ``geo``.
    """
    rasterio = _rasterio()
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with rasterio.open(path) as file:
            bands = {name: number for number, name in enumerate(file.descriptions, 1) if name in _BANDS}
            missing = [name for name in ("gain_db", "building_m") if name not in bands]
            if missing or file.crs is None:
                raise ValueError(f"{', '.join(missing) or 'the CRS'} is missing; only maps of raymap can be read")
            rasters = {name: file.read(number) for name, number in bands.items()}
            transform, crs, tags = file.transform, file.crs.to_wkt(), file.tags()
        return _nouns(rasters, transform, crs, tags)
    except rasterio.errors.RasterioIOError as error:
        raise ValueError(f"{path}: cannot be read as a GeoTIFF: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {f'tag {error} is missing' if isinstance(error, KeyError) else error}") from error


def _nouns(rasters: dict[str, np.ndarray], transform, crs: str, tags: dict) -> tuple[Place, Transmitter, RadioMap]:
    if transform.b or transform.d or transform.a <= 0 or transform.e != -transform.a:
        raise ValueError(f"cells must be square, north up; the transform is {tuple(transform)[:6]}")
    gain_db = rasters.pop("gain_db")
    grid = Grid(gain_db.shape, transform.a, (transform.c, -transform.f))
    scene = Scene(tags["scene"], grid, **rasters, frequency_hz=float(tags["frequency_hz"]))
    power_dbm = float(tags["transmitter_power_dbm"])
    transmitter = Transmitter(tuple(json.loads(tags["transmitter_xyz_m"])), power_dbm)
    valid = np.isfinite(gain_db)
    return Place(scene, crs), transmitter, RadioMap(np.where(valid, gain_db, units.GAIN_FLOOR_DB), valid)
