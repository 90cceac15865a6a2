"""RadioMapSeer (Yapar et al. 2022): reading the original folder, with every assumption checked at the door.

Layout, m = map, k = transmitter::

    antenna/{m}.json                     list of [x, y], entry k belongs to transmitter k
    gain/{simulation}/{m}_{k}.png        path gain in grey levels; 0 inside buildings
    png/buildings_complete/{m}.png       not 0 = building
    png/antennas/{m}_{k}.png             the transmitter's pixel lit
    png/cars/{m}.png                     not 0 = vehicle; only read for the cars* simulations

All pictures are 8-bit grey. An antenna [x, y] lies at row = 255 - y, column = x of the pictures (checked against real
files; the released loaders never use the JSON). A folder that breaks one of these assumptions is refused with an error
that names the file, because a map learnt from a transposed or inverted folder looks plausible and is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from raymap.scene import Grid, RadioMap, Scene, Transmitter


@dataclass(frozen=True)
class Encoding:
    """What a dataset's pictures mean: grey levels to path loss [dB], pixels to metres, and the simulated set-up."""

    black_loss_db: float = 147.0
    white_loss_db: float = 47.84
    white_grey: int = 255
    shape: tuple[int, int] = (256, 256)
    cell_m: float = 1.0
    building_m: float = 25.0
    vehicle_m: float = 1.5
    antenna_m: float = 1.5
    frequency_hz: float = 5.9e9
    power_dbm: float = 23.0

    def gain_db(self, grey: np.ndarray) -> np.ndarray:
        """Path gain [dB] of grey levels (any shape): -(black - g/white·(black - white))."""
        share = np.asarray(grey, np.float32) / self.white_grey
        return share * (self.black_loss_db - self.white_loss_db) - self.black_loss_db

    def pixel(self, x: float, y: float) -> tuple[int, int]:
        """(row, column) in the pictures of an antenna listed as [x, y]."""
        return round(self.shape[0] - 1 - y), round(x)


ENCODING = Encoding()

#: Simulations and whether vehicles were part of them.
SIMULATIONS = {"DPM": False, "IRT2": False, "IRT4": False, "carsDPM": True, "carsIRT2": True, "carsIRT4": True}

#: Largest share of building pixels with a gain. Real DPM maps measure 0.0000.
_MAX_LIT_BUILDING = 0.01
#: Largest share of outdoor pixels without a gain. Real DPM maps measure 0.0094 at most; ray tracing leaves real
#: shadows black, so there only a (nearly) black picture is refused.
_MAX_DARK_OUTDOORS = {"DPM": 0.25, "carsDPM": 0.25}
_MAX_DARK_ELSEWHERE = 0.98
#: How far the JSON may lie from the lit pixel, and the brightest gain from it [px].
_ANTENNA_SLACK_PX = 1.0
_BRIGHTEST_SLACK_PX = 2.0
#: "One lit pixel, or few": more than this is no antenna picture.
_MAX_ANTENNA_PIXELS = 9

#: The ways a picture can lie wrong, as maps of (row, column) with ``last`` = 255.
_MISTAKES: dict[str, Callable[[float, float, float], tuple[float, float]]] = {
    "rows and columns look swapped": lambda r, c, last: (c, r),
    "x and y of the JSON look swapped (a flip over the other diagonal)": lambda r, c, last: (last - c, last - r),
    "it looks upside down": lambda r, c, last: (last - r, c),
    "it looks mirrored left to right": lambda r, c, last: (r, last - c),
    "it looks rotated by 180°": lambda r, c, last: (last - r, last - c),
    "it looks rotated by 90° to the left": lambda r, c, last: (last - c, r),
    "it looks rotated by 90° to the right": lambda r, c, last: (c, last - r),
}


def read(folder: str | Path, map_id: int, tx_id: int, simulation: str = "DPM") -> tuple[Scene, Transmitter, RadioMap]:
    """One map of the dataset: the city, the transmitter (at its pixel's centre) and the path gain, valid outdoors.

    Raises FileNotFoundError for a missing file, and ValueError, naming the file, for an unknown simulation, a picture
    that is damaged, not 8-bit grey or of another size, inverted buildings, or pictures whose axes do not agree.
    """
    with_vehicles = _with_vehicles(simulation)
    folder = Path(folder)
    gain_path = folder / "gain" / simulation / f"{map_id}_{tx_id}.png"
    building_path = folder / "png" / "buildings_complete" / f"{map_id}.png"
    grey = _picture(gain_path)
    building = _picture(building_path) > 0
    _check_buildings(building, building_path, grey, gain_path, simulation)
    row, column = _antenna(folder, map_id, tx_id)
    _check_brightest(grey, gain_path, row, column)
    if building[row, column]:
        raise ValueError(f"{building_path}: transmitter {tx_id} at row {row}, column {column} is inside a building")

    vehicle_m = None
    if with_vehicles:
        vehicle = _picture(folder / "png" / "cars" / f"{map_id}.png") > 0
        vehicle_m = np.where(vehicle & ~building, ENCODING.vehicle_m, 0.0)
    grid = Grid(ENCODING.shape, ENCODING.cell_m)
    scene = Scene(
        f"radiomapseer/{map_id}", grid, building * ENCODING.building_m, vehicle_m, frequency_hz=ENCODING.frequency_hz
    )
    x_m, y_m = (column + 0.5) * ENCODING.cell_m, (row + 0.5) * ENCODING.cell_m
    transmitter = Transmitter((x_m, y_m, ENCODING.antenna_m), ENCODING.power_dbm)
    return scene, transmitter, RadioMap(ENCODING.gain_db(grey), scene.outdoor)


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


def _with_vehicles(simulation: str) -> bool:
    if simulation not in SIMULATIONS:
        raise ValueError(f"unknown simulation {simulation!r}; RadioMapSeer has {', '.join(SIMULATIONS)}")
    return SIMULATIONS[simulation]


def _picture(path: Path) -> np.ndarray:
    """(256, 256) uint8 grey levels of a PNG."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            image.load()
            mode, values = image.mode, np.asarray(image)
    except (OSError, SyntaxError) as error:  # Pillow reports a broken PNG chunk as SyntaxError
        raise ValueError(f"{path}: cannot be read as a picture: {error}") from error
    if mode != "L":
        raise ValueError(f"{path}: expected an 8-bit grey picture (mode L), found mode {mode}")
    if values.shape != ENCODING.shape:
        raise ValueError(f"{path}: expected {ENCODING.shape} pixels (rows, columns), found {values.shape}")
    return values


def _check_buildings(building: np.ndarray, path: Path, grey: np.ndarray, gain_path: Path, simulation: str) -> None:
    if not building.any() or building.all():
        raise ValueError(f"{path}: {'all' if building.any() else 'no'} pixels are buildings")
    lit = grey > 0
    if not lit.any():
        raise ValueError(f"{gain_path}: all black, there is no gain in it")
    lit_building = lit[building].mean()
    if lit_building > _MAX_LIT_BUILDING:
        if lit[~building].mean() <= _MAX_LIT_BUILDING:
            cause = "polarity inverted: buildings must be white (not 0) and streets black"
        else:
            cause = _mistaken_mask(building, lit) or "the two do not belong to the same map"
        raise ValueError(
            f"{path}: {lit_building:.1%} of its building pixels have a gain in {gain_path.name}, where 0 is expected; "
            f"{cause}"
        )
    dark = 1 - lit[~building].mean()
    if dark > _MAX_DARK_OUTDOORS.get(simulation, _MAX_DARK_ELSEWHERE):
        raise ValueError(f"{gain_path}: {dark:.1%} of the pixels outside the buildings of {path.name} have no gain")


def _mistaken_mask(building: np.ndarray, lit: np.ndarray) -> str | None:
    rows, columns = np.nonzero(lit)
    last = building.shape[0] - 1
    for mistake, move in _MISTAKES.items():
        if building[move(rows, columns, last)].sum() <= _MAX_LIT_BUILDING * building.sum():
            return f"{mistake} against the gain"
    return None


def _antenna(folder: Path, map_id: int, tx_id: int) -> tuple[int, int]:
    """(row, column) of a transmitter, on which the antenna picture and the JSON entry must agree."""
    picture_path = folder / "png" / "antennas" / f"{map_id}_{tx_id}.png"
    lit = np.argwhere(_picture(picture_path) > 0)
    if not 1 <= len(lit) <= _MAX_ANTENNA_PIXELS:
        raise ValueError(f"{picture_path}: expected one lit pixel (or few), found {len(lit)}")
    centre = lit.mean(0)
    row, column = (int(value) for value in lit[np.abs(lit - centre).sum(1).argmin()])
    json_path = folder / "antenna" / f"{map_id}.json"
    expected = ENCODING.pixel(*_antenna_entry(json_path, tx_id))
    if _apart_px(expected, (row, column)) > _ANTENNA_SLACK_PX:
        last = ENCODING.shape[0] - 1
        fitting = [
            mistake
            for mistake, move in _MISTAKES.items()
            if _apart_px(move(*expected, last), (row, column)) <= _ANTENNA_SLACK_PX
        ]
        raise ValueError(
            f"{picture_path}: lit at row {row}, column {column}, but entry {tx_id} of {json_path} says row "
            f"{expected[0]}, column {expected[1]} (row = 255 - y, column = x); "
            + (" or ".join(fitting) or "no swap, mirroring or rotation explains it")
        )
    return row, column


def _antenna_entry(path: Path, tx_id: int) -> tuple[float, float]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        entries = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(entries, list) or not 0 <= tx_id < len(entries):
        count = len(entries) if isinstance(entries, list) else "no"
        raise ValueError(f"{path}: expected a list with an entry for transmitter {tx_id}, found {count} entries")
    try:
        x, y = (float(value) for value in entries[tx_id])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: entry {tx_id} must be [x, y], found {entries[tx_id]!r}") from error
    return x, y


def _check_brightest(grey: np.ndarray, path: Path, row: int, column: int) -> None:
    brightest = np.argwhere(grey == grey.max())
    distance_px = float(np.hypot(*(brightest - (row, column)).T).min())
    if distance_px <= _BRIGHTEST_SLACK_PX:
        return
    last = grey.shape[0] - 1
    for mistake, move in _MISTAKES.items():
        moved = np.array(move(row, column, last))
        if np.hypot(*(brightest - moved).T).min() <= _BRIGHTEST_SLACK_PX:
            cause = mistake
            break
    else:
        cause = "the picture may belong to another transmitter"
    raise ValueError(
        f"{path}: brightest at row {brightest[0][0]}, column {brightest[0][1]}, {distance_px:.1f} px from the "
        f"transmitter at row {row}, column {column}; {cause}"
    )


def _apart_px(first: tuple[float, float], second: tuple[float, float]) -> float:
    return max(abs(first[0] - second[0]), abs(first[1] - second[1]))
