"""RadioMapSeer (Yapar et al. 2022): reading the original folder, with every assumption checked at the door.

Layout, m = map, k = transmitter, n = missing buildings (1 to 4), v = variant (1 to 6)::

    antenna/{m}.json                           list of [x, y], entry k belongs to transmitter k
    gain/{simulation}/{m}_{k}.png              path gain in grey levels; 0 inside buildings. IRT4, carsIRT4: k < 2
    png/antennas/{m}_{k}.png                   the transmitter's pixel lit
    png/{layer}/{m}.png                        not 0 = there is something. Layers: buildings_complete, cars, roads
    png/{layer}{n}/{v}/{m}.png                 buildings_missing: the map less n buildings; buildings_removed: those n
    polygon/{layer}/{m}.json                   lists of corners: buildings_complete, buildings_and_cars, roads
    polygon/{layer}{n}/{v}/{m}.json            buildings_difference, buildings_removed

All pictures are 8-bit grey. An antenna [x, y] lies at row = 255 - y, column = x of the pictures (checked against real
files; the released loaders never use the JSON). A folder that breaks one of these assumptions is refused with an error
that names the file (``radiomapseer_checks``), because a map learnt from a transposed or inverted folder looks plausible
and is wrong. The published splits are in ``radiomapseer_splits``, writing this layout in ``radiomapseer_export``, and
the two scales in which maps are scored in ``raymap.evaluation.metrics``: what is read here is the raw gain.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from raymap.config import Settings
from raymap.data import radiomapseer_files as files
from raymap.data.radiomapseer_checks import (
    antenna_pixel,
    check_brightest,
    check_gain,
    check_missing,
    settled_pixel,
)
from raymap.data.radiomapseer_files import ENCODING, Encoding
from raymap.data.radiomapseer_splits import disjoint, overlaps, split
from raymap.scene import Grid, RadioMap, Scene, Transmitter

__all__ = [
    "ENCODING", "SIMULATIONS", "Encoding", "Export", "antennas", "disjoint", "export_of", "kind_of", "layer",
    "overlaps", "pairs", "polygons", "read", "split",
]  # fmt: skip

#: Simulations and whether vehicles were part of them.
SIMULATIONS = {"DPM": False, "IRT2": False, "IRT4": False, "carsDPM": True, "carsIRT2": True, "carsIRT4": True}
#: What a scene may be known to hold: all its buildings, or all but so many.
BUILDINGS = ("complete", "missing1", "missing2", "missing3", "missing4")
NUM_VARIANTS = 6

_LAYERS = ("buildings_complete", "cars", "roads")
_POLYGONS = ("buildings_complete", "buildings_and_cars", "roads")
_NUMBERED_LAYERS = tuple(f"buildings_{what}{num}" for what in ("missing", "removed") for num in range(1, 5))
_NUMBERED_POLYGONS = tuple(f"buildings_{what}{num}" for what in ("difference", "removed") for num in range(1, 5))

#: Written last into a folder that we exported; original folders have none.
EXPORT_FILE = "raymap_scenes.json"


class ExportedTransmitter(Settings):
    """Transmitter k of an exported map: its number and position [m] in the dataset that it came from."""

    tx_id: int
    xyz_m: tuple[float, float, float]


class ExportedMap(Settings):
    """An exported map: the scene and split it was, and its transmitters in the order of k."""

    map_id: int = Field(ge=0)
    scene: str
    split: str
    transmitters: tuple[ExportedTransmitter, ...]


class Export(Settings):
    """Where an exported folder comes from, how its pictures are to be read, and what was lost in making them.

    ``num_transmitters``: the least over the maps, what released loaders call numTx. ``splits``: map ids by split.
    ``changes``: what pictures cannot show, counted in cells over all maps (see :mod:`raymap.data.radiomapseer_export`).
    """

    format_version: int = 1
    name: str
    kind: str
    simulation: str
    sources: tuple[str, ...]
    attribution: str
    fingerprint: str
    encoding: Encoding
    num_transmitters: int
    splits: dict[str, tuple[int, ...]]
    changes: dict[str, float]
    maps: tuple[ExportedMap, ...]
    how_to_load: str = ""


def export_of(folder: str | Path) -> Export | None:
    """What an exported folder says of itself, None for an original one. Raises ValueError if that is damaged."""
    path = Path(folder) / EXPORT_FILE
    return _load_export(path, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=4)
def _load_export(path: Path, _changed: int) -> Export:
    try:
        export = Export.model_validate(files.read_json(path))
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if export.format_version != 1:
        raise ValueError(f"{path} has format_version {export.format_version}; this raymap reads 1")
    return export


def read(
    folder: str | Path,
    map_id: int,
    tx_id: int,
    simulation: str = "DPM",
    buildings: str = "complete",
    variant: int | None = None,
) -> tuple[Scene, Transmitter, RadioMap]:
    """One map of the dataset: the city, the transmitter (at its pixel's centre) and the path gain, valid outdoors.

    A transmitter listed beside its place because several pixels are brightest is put right (`settled_pixel`).

    ``buildings``: "missing1" to "missing4" give a scene that lacks so many buildings, in one of the ``variant`` s 1 to
    6 (default 1); the gain stays that of the complete city, and valid only where that is outdoors. In a folder made by
    :mod:`raymap.data.radiomapseer_export`, cell size, frequency and heights are those that it states.

    Raises FileNotFoundError for a missing file, and ValueError, naming the file, for an unknown simulation, a picture
    that is damaged, not 8-bit grey or of another size, inverted buildings, or pictures whose axes do not agree.
    """
    with_vehicles = _with_vehicles(simulation)
    folder = Path(folder)
    export = export_of(folder)
    encoding = export.encoding if export else ENCODING
    gain_path = folder / "gain" / simulation / f"{map_id}_{tx_id}.png"
    building_path = _layer_path(folder, "buildings_complete", map_id)
    grey = files.picture(gain_path, encoding.shape)
    building = files.picture(building_path, encoding.shape) > 0
    check_gain(building, building_path, grey, gain_path, simulation)
    row, column = antenna_pixel(folder, map_id, tx_id, encoding)
    check_brightest(grey, gain_path, row, column, encoding.grain_px)
    if export is None and not building[row, column]:
        row, column = settled_pixel(grey, building, row, column)
    if building[row, column]:
        raise ValueError(f"{building_path}: transmitter {tx_id} at row {row}, column {column} is inside a building")

    known = _known_buildings(folder, map_id, building, building_path, buildings, variant)
    vehicle_m = None
    if with_vehicles:
        vehicle = layer(folder, "cars", map_id)
        vehicle_m = np.where(vehicle & ~building, encoding.vehicle_m, 0.0)
    grid = Grid(encoding.shape, encoding.cell_m)
    name, frequency_hz = f"radiomapseer/{map_id}", encoding.frequency_hz
    scene = Scene(name, grid, known * encoding.building_m, vehicle_m, frequency_hz=frequency_hz)
    x_m, y_m = (column + 0.5) * encoding.cell_m, (row + 0.5) * encoding.cell_m
    transmitter = Transmitter((x_m, y_m, encoding.antenna_m), encoding.power_dbm)
    return scene, transmitter, RadioMap(encoding.gain_db(grey), ~building)


def _known_buildings(
    folder: Path, map_id: int, complete: np.ndarray, complete_path: Path, buildings: str, variant: int | None
) -> np.ndarray:
    if buildings not in BUILDINGS:
        raise ValueError(f"unknown buildings {buildings!r}; RadioMapSeer has {', '.join(BUILDINGS)}")
    if buildings == "complete":
        if variant is not None:
            raise ValueError(f"complete buildings have no variants, got variant {variant}")
        return complete
    path = _layer_path(folder, f"buildings_{buildings}", map_id, 1 if variant is None else variant)
    known = files.picture(path, complete.shape) > 0
    check_missing(known, path, complete, complete_path)
    return known & complete


def pairs(folder: str | Path, simulation: str = "DPM") -> list[tuple[int, int]]:
    """Sorted (map_id, tx_id) of all gains of a simulation.

    Raises ValueError for an unknown simulation and FileNotFoundError if its folder does not exist.
    """
    _with_vehicles(simulation)
    gains = Path(folder) / "gain" / simulation
    if not gains.is_dir():
        raise FileNotFoundError(f"{gains}: no such folder; gains of {simulation} are looked for there")
    found = (re.fullmatch(r"(\d+)_(\d+)\.png", path.name) for path in gains.iterdir())
    return sorted((int(match[1]), int(match[2])) for match in found if match)


def kind_of(simulation: str) -> str:
    """What a simulation is in our terms: "srm" (DPM), "drm" (carsDPM) or "mrm" (all IRT: several paths are summed)."""
    return "mrm" if "IRT" in simulation else "drm" if _with_vehicles(simulation) else "srm"


def layer(folder: str | Path, name: str, map_id: int, variant: int | None = None) -> np.ndarray:
    """(256, 256) bool, True where a layer of png/ has something: "roads", "cars", "buildings_removed2", ...

    ``variant``: 1 to 6 for buildings_missing1..4 and buildings_removed1..4, None for the others. Raises ValueError for
    an unknown layer or variant, FileNotFoundError or ValueError, naming the file, for a picture that cannot be used.
    """
    export = export_of(folder)
    shape = (export.encoding if export else ENCODING).shape
    return files.picture(_layer_path(Path(folder), name, map_id, variant), shape) > 0


def _layer_path(folder: Path, name: str, map_id: int, variant: int | None = None) -> Path:
    return folder / "png" / _place(name, variant, _LAYERS, _NUMBERED_LAYERS) / f"{map_id}.png"


def polygons(folder: str | Path, name: str, map_id: int, variant: int | None = None) -> list[np.ndarray]:
    """The polygons of a layer, each (N, 2) float64 corners (x, y) [m] on our grid; not checked against pictures.

    ``name``: buildings_complete, buildings_and_cars, roads, or with a ``variant`` of 1 to 6 buildings_difference1..4,
    buildings_removed1..4. Raises as :func:`layer`.
    """
    place = _place(name, variant, _POLYGONS, _NUMBERED_POLYGONS)
    export = export_of(folder)
    return files.polygons(Path(folder) / "polygon" / place / f"{map_id}.json", export.encoding if export else ENCODING)


def antennas(folder: str | Path, map_id: int) -> list[tuple[int, int]]:
    """(row, column) of all transmitters of a map, by the JSON alone. Raises FileNotFoundError or ValueError."""
    export = export_of(folder)
    encoding = export.encoding if export else ENCODING
    return [encoding.pixel(x, y) for x, y in files.antennas(Path(folder) / "antenna" / f"{map_id}.json")]


def _place(name: str, variant: int | None, plain: tuple[str, ...], numbered: tuple[str, ...]) -> Path:
    if name in plain and variant is None:
        return Path(name)
    if name in numbered and variant in range(1, NUM_VARIANTS + 1):
        return Path(name) / str(variant)
    if name in plain or name in numbered:
        allowed = "none" if name in plain else f"1 to {NUM_VARIANTS}"
        raise ValueError(f"{name} has variants: {allowed}; got {variant!r}")
    raise ValueError(f"unknown layer {name!r}; there are {', '.join(plain + numbered)}")


def _with_vehicles(simulation: str) -> bool:
    if simulation not in SIMULATIONS:
        raise ValueError(f"unknown simulation {simulation!r}; RadioMapSeer has {', '.join(SIMULATIONS)}")
    return SIMULATIONS[simulation]
