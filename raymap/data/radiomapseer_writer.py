"""Pictures in the layout of RadioMapSeer, row by row; :mod:`raymap.data.radiomapseer_export` says what they keep."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from raymap.data import schema
from raymap.data.radiomapseer import (
    ENCODING,
    EXPORT_FILE,
    SIMULATIONS,
    Encoding,
    Export,
    ExportedMap,
    ExportedTransmitter,
)
from raymap.data.radiomapseer_checks import check_brightest, check_gain
from raymap.scene import Scene, Transmitter
from raymap.storage import write_text

_HEIGHTS = ("building_m", "vehicle_m", "antenna_m")


@dataclass
class _Map:
    """A map as far as it is known. Packed bits of (H, W): ``built`` in all rows, ``ever_built`` in any, ``vehicle``."""

    map_id: int
    split: str
    built: np.ndarray
    ever_built: np.ndarray
    vehicle: np.ndarray
    cells: list[tuple[int, int]] = field(default_factory=list)
    transmitters: list[ExportedTransmitter] = field(default_factory=list)


class MapWriter:
    """Writes pictures row by row into ``folder``: :meth:`require` and :meth:`add` for each, then :meth:`finish`.

    ``ids``: for every split, the map ids that its scenes get.
    """

    def __init__(self, folder: Path, simulation: str, enlarge: bool, ids: Mapping[str, Iterator[int]]) -> None:
        self.folder, self.simulation, self.enlarge, self.ids = folder, simulation, enlarge, ids
        self.maps: dict[str, _Map] = {}
        self.shape: tuple[int, int] = (0, 0)
        self.cell_m = self.frequency_hz = 0.0
        self.building_m, self.vehicle_m, self.antenna_m = _Height(), _Height(), _Height()
        self.changes = dict.fromkeys(
            ("cells_above_white", "cells_below_black", "outdoor_cells_without_gain", "cells_opened"), 0.0
        )
        self.largest_error_db = 0.0

    @property
    def factor(self) -> int:
        """Pixels per side of a cell."""
        return ENCODING.shape[0] // self.shape[0]

    def require(self, split: str, row: Mapping[str, Any]) -> None:
        """Raises ValueError if a row does not belong into one folder with those before it."""
        shape, cell_m = np.shape(row["building_m"]), float(row["cell_m"])
        frequency_hz = float(row["frequency_hz"])
        if not self.frequency_hz:
            _check_shape(shape, self.enlarge)
            self.shape, self.cell_m, self.frequency_hz = shape, cell_m, frequency_hz
        found, wanted = (shape, cell_m, frequency_hz), (self.shape, self.cell_m, self.frequency_hz)
        if found != wanted:
            raise ValueError(f"shape, cell [m] and frequency [Hz] of a folder are one: {wanted}, but {found} came up")
        known = self.maps.get(row["scene"])
        if known and known.split != split:
            raise ValueError(f"scene {row['scene']!r} is in two splits, {known.split!r} and {split!r}")

    def add(self, split: str, row: Mapping[str, Any]) -> None:
        """Write the pictures of one transmitter. Raises ValueError, before anything is written, if that cannot be."""
        scene, transmitter, radio_map = schema.nouns(row)
        cell = scene.require_outdoor(transmitter)
        valid = radio_map.valid & scene.outdoor
        grey = ENCODING.grey(np.where(valid, radio_map.gain_db, -ENCODING.black_loss_db))
        here = Path("this map")
        check_gain(~scene.outdoor, here, grey, here, self.simulation)
        check_brightest(grey, here, *cell)
        known = self._place(split, scene, int(row["tx_id"]), cell)

        number = len(known.transmitters)
        known.cells.append(cell)
        known.transmitters.append(ExportedTransmitter(tx_id=int(row["tx_id"]), xyz_m=transmitter.xyz_m))
        self._picture(f"gain/{self.simulation}/{known.map_id}_{number}", grey)
        pixel = self._pixel(transmitter)
        antenna = np.zeros(ENCODING.shape, np.uint8)
        antenna[pixel] = 255
        self._picture(f"png/antennas/{known.map_id}_{number}", antenna)
        self._count(scene, transmitter, radio_map.gain_db[valid], int((scene.outdoor & ~valid).sum()))

    def _place(self, split: str, scene: Scene, tx_id: int, cell: tuple[int, int]) -> _Map:
        """The map that a row belongs to, after a check that it is the same city."""
        built, vehicle = np.packbits(~scene.outdoor), np.packbits(scene.vehicle_m > 0)
        if vehicle.any() and not SIMULATIONS[self.simulation]:
            raise ValueError(f"it has vehicles, which {self.simulation} has not; choose one of the cars* simulations")
        known = self.maps.get(scene.name)
        if known is None:
            map_id = next(self.ids[split], None)
            if map_id is None:
                raise ValueError(f"there are no more ids for {split!r} in RadioUNet's split")
            known = self.maps[scene.name] = _Map(map_id, split, built, built, vehicle)
            return known
        if any(entry.tx_id == tx_id for entry in known.transmitters):
            raise ValueError("the same transmitter came up before")
        differs = self._unpacked(known.built ^ built)
        differs[tuple(np.transpose([*known.cells, cell]))] = False  # coarsening opens a transmitter's own cell
        if differs.any() or (known.vehicle != vehicle).any():
            raise ValueError("its buildings or vehicles are not those of the scene's other transmitters")
        known.built, known.ever_built = known.built & built, known.ever_built | built
        return known

    def _count(self, scene: Scene, transmitter: Transmitter, gain_db: np.ndarray, num_without_gain: int) -> None:
        half_db = ENCODING.level_db / 2
        above, below = gain_db > half_db - ENCODING.white_loss_db, gain_db < -half_db - ENCODING.black_loss_db
        self.changes["cells_above_white"] += int(above.sum())
        self.changes["cells_below_black"] += int(below.sum())
        shown_db = gain_db[~above & ~below].astype(np.float64)
        if shown_db.size:
            error_db = np.abs(ENCODING.grey(shown_db) * ENCODING.level_db - ENCODING.black_loss_db - shown_db).max()
            self.largest_error_db = max(self.largest_error_db, float(error_db))
        self.changes["outdoor_cells_without_gain"] += num_without_gain
        self.building_m.add(scene.building_m[~scene.outdoor])
        self.vehicle_m.add(scene.vehicle_m[scene.vehicle_m > 0])
        self.antenna_m.add(np.float32([transmitter.xyz_m[2]]))

    def _pixel(self, transmitter: Transmitter) -> tuple[int, int]:
        x_m, y_m, _ = transmitter.xyz_m
        return int(y_m * self.factor / self.cell_m), int(x_m * self.factor / self.cell_m)

    def _unpacked(self, bits: np.ndarray) -> np.ndarray:
        return np.unpackbits(bits, count=self.shape[0] * self.shape[1]).reshape(self.shape).astype(bool)

    def _picture(self, name: str, values: np.ndarray) -> None:
        """Write (H, W) or (256, 256) uint8 as a picture; cells are repeated."""
        factor = ENCODING.shape[0] // len(values)
        path = self.folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.repeat(factor, 0).repeat(factor, 1)).save(path)

    def finish(self, **about: Any) -> Export:
        """Write what belongs to whole maps, then the file that makes the export complete."""
        (self.folder / "antenna").mkdir(exist_ok=True)
        for known in self.maps.values():
            built = self._unpacked(known.built)
            self.changes["cells_opened"] += int(self._unpacked(known.built ^ known.ever_built).sum())
            self._picture(f"png/buildings_complete/{known.map_id}", built * np.uint8(255))
            if SIMULATIONS[self.simulation]:
                vehicle = self._unpacked(known.vehicle) & ~built
                self._picture(f"png/cars/{known.map_id}", vehicle * np.uint8(255))
            pixels = [self._pixel(Transmitter(entry.xyz_m)) for entry in known.transmitters]
            listed = [ENCODING.listed(*pixel) for pixel in pixels]
            write_text(self.folder / f"antenna/{known.map_id}.json", json.dumps(listed))
        heights = {name: getattr(self, name).one(getattr(ENCODING, name)) for name in _HEIGHTS}
        encoding = Encoding(
            cell_m=self.cell_m / self.factor, grain_px=self.factor, frequency_hz=self.frequency_hz, **heights
        )
        splits: dict[str, list[int]] = {}
        for known in self.maps.values():
            splits.setdefault(known.split, []).append(known.map_id)
        num_transmitters = min(len(known.transmitters) for known in self.maps.values())
        export = Export(
            **about,
            encoding=encoding,
            num_transmitters=num_transmitters,
            splits={name: tuple(ids) for name, ids in splits.items()},
            changes={
                **self.changes,
                "lowest_building_m": self.building_m.low,
                "highest_building_m": self.building_m.high,
                "largest_error_db": self.largest_error_db,
            },
            maps=tuple(
                ExportedMap(map_id=known.map_id, scene=name, split=known.split, transmitters=tuple(known.transmitters))
                for name, known in self.maps.items()
            ),
            how_to_load=(
                f"Loaders that follow RadioUNet's: numTx={num_transmitters}, phase='custom', ind1=0, and for each list "
                f"in splits: maps_inds=numpy.array(list) - 1, ind2=len(list) - 1."
            ),
        )
        write_text(self.folder / EXPORT_FILE, export.model_dump_json(indent=1) + "\n")
        return export


def _check_shape(shape: tuple[int, int], enlarge: bool) -> None:
    wanted = ENCODING.shape
    if shape == wanted:
        return
    fits = shape[0] == shape[1] and wanted[0] % shape[0] == 0
    if not (enlarge and fits):
        hint = "; enlarge them, which repeats every cell" if fits else ", and their cells cannot be repeated to that"
        raise ValueError(f"the layout has maps of {wanted} pixels, these are {shape}{hint}")


@dataclass
class _Height:
    """Heights that will become one."""

    low: float = np.inf
    high: float = 0.0
    total: float = 0.0
    num: int = 0

    def add(self, height_m: np.ndarray) -> None:
        if height_m.size:
            self.low, self.high = min(self.low, float(height_m.min())), max(self.high, float(height_m.max()))
            self.total += float(height_m.sum(dtype=np.float64))
            self.num += height_m.size

    def one(self, default_m: float) -> float:
        """Their common value, else their mean to the centimetre; ``default_m`` without any."""
        if not self.num:
            return default_m
        return self.low if self.low == self.high else round(self.total / self.num, 2)
