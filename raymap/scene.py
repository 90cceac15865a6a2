"""The nouns of the house: Grid, Scene, Transmitter, Vehicle, RadioMap, Paths. Numpy, physical units, checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np


@dataclass(frozen=True)
class Grid:
    """A raster laid over the ground.

    Row 0 is the top of the picture; the centre of cell (r, c) lies at x = (c+½)·cell_m, y = (r+½)·cell_m
    from the grid's top left corner, which itself lies at ``origin_m`` (x, y) of the world.

    Raises ValueError if the shape is not two positive integers or ``cell_m`` is not positive.
    """

    shape: tuple[int, int]
    cell_m: float
    origin_m: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        if len(shape) != 2 or min(shape) < 1:
            raise ValueError(f"Grid.shape must be two positive integers (rows, columns), got {self.shape}")
        if not (np.isfinite(self.cell_m) and self.cell_m > 0):
            raise ValueError(f"Grid.cell_m must be a positive length in metres, got {self.cell_m}")
        if len(self.origin_m) != 2 or not np.all(np.isfinite(self.origin_m)):
            raise ValueError(f"Grid.origin_m must be two finite lengths (x, y) in metres, got {self.origin_m}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "cell_m", float(self.cell_m))

    @property
    def size_m(self) -> tuple[float, float]:
        """Extent (height, width) [m]."""
        return self.shape[0] * self.cell_m, self.shape[1] * self.cell_m

    def coarsen(self, factor: int) -> Grid:
        """The same ground with cells ``factor`` times as long. Raises ValueError if the shape is no multiple of it."""
        if factor < 1 or any(size % factor for size in self.shape):
            raise ValueError(f"a grid of {self.shape} cannot be coarsened by {factor}: not a divisor of both sides")
        return Grid((self.shape[0] // factor, self.shape[1] // factor), self.cell_m * factor, self.origin_m)


@dataclass(frozen=True)
class Transmitter:
    """A base station at ``xyz_m`` = (x, y, height above ground) [m], x and y from the grid's top left corner.

    Raises ValueError if the position is not three finite numbers or the height is not positive.
    """

    xyz_m: tuple[float, float, float]
    power_dbm: float = 23.0

    def __post_init__(self) -> None:
        xyz_m = tuple(float(value) for value in self.xyz_m)
        if len(xyz_m) != 3 or not np.all(np.isfinite(xyz_m)) or xyz_m[2] <= 0:
            raise ValueError(
                f"Transmitter.xyz_m must be (x, y, height) in metres, finite and height > 0, got {self.xyz_m}"
            )
        if not np.isfinite(self.power_dbm):
            raise ValueError(f"Transmitter.power_dbm must be finite, got {self.power_dbm}")
        object.__setattr__(self, "xyz_m", xyz_m)

    def cell(self, grid: Grid) -> tuple[int, int]:
        """(row, column) of the cell that holds the transmitter. Raises ValueError if it lies outside the grid."""
        column = int(np.floor(self.xyz_m[0] / grid.cell_m))
        row = int(np.floor(self.xyz_m[1] / grid.cell_m))
        if not (0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]):
            height_m, width_m = grid.size_m
            raise ValueError(
                f"transmitter at x={self.xyz_m[0]:.2f} m, y={self.xyz_m[1]:.2f} m lies outside the map "
                f"(0 to {width_m:g} m by 0 to {height_m:g} m)"
            )
        return row, column


def _raster(name: str, values: np.ndarray, grid: Grid) -> np.ndarray:
    array = np.ascontiguousarray(values, dtype=np.float32)
    if array.shape != grid.shape:
        raise ValueError(f"{name} has shape {array.shape}, the grid has {grid.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds {int((~np.isfinite(array)).sum())} values that are not finite")
    return array


@dataclass(frozen=True, eq=False)
class Scene:
    """Buildings and vehicles on a grid.

    ``building_m``, ``vehicle_m``: (H, W) float32, height above ground [m]; 0 means outdoors / no vehicle.
    ``frequency_hz`` [Hz]. Raises ValueError for a wrong shape, values that are not finite, negative heights or a
    frequency that is not positive.
    """

    name: str
    grid: Grid
    building_m: np.ndarray
    vehicle_m: np.ndarray = field(default=None)  # type: ignore[assignment]
    frequency_hz: float = 5.9e9

    def __post_init__(self) -> None:
        vehicle_m = np.zeros(self.grid.shape, np.float32) if self.vehicle_m is None else self.vehicle_m
        for name, values in (("building_m", self.building_m), ("vehicle_m", vehicle_m)):
            array = _raster(f"Scene {self.name!r}: {name}", values, self.grid)
            if array.min(initial=0.0) < 0:
                raise ValueError(f"Scene {self.name!r}: {name} must not be negative, lowest is {array.min():g} m")
            object.__setattr__(self, name, array)
        if not (np.isfinite(self.frequency_hz) and self.frequency_hz > 0):
            raise ValueError(f"Scene {self.name!r}: frequency_hz must be positive, got {self.frequency_hz}")

    @property
    def outdoor(self) -> np.ndarray:
        """(H, W) bool, True where no building stands."""
        return self.building_m <= 0

    def require_outdoor(self, transmitter: Transmitter) -> tuple[int, int]:
        """(row, column) of a transmitter. Raises ValueError if it is outside the map or inside a building."""
        row, column = transmitter.cell(self.grid)
        if not self.outdoor[row, column]:
            raise ValueError(
                f"transmitter at x={transmitter.xyz_m[0]:.2f} m, y={transmitter.xyz_m[1]:.2f} m stands inside a "
                f"building of scene {self.name!r} ({self.building_m[row, column]:g} m high)"
            )
        return row, column

    def coarsen(self, factor: int, transmitter: Transmitter | None = None) -> Scene:
        """The same scene on cells ``factor`` times as long.

        A coarse cell is built where at least half of it is; its height is the mean over the built part. Footprints keep
        their area to within half a fine cell along their walls. The coarse cell of a given outdoor ``transmitter``
        stays open, though half of it may be built. Raises ValueError if the shape is no multiple of ``factor``, or the
        transmitter is outside the map or inside a building.
        """
        grid = self.grid.coarsen(factor)
        building_m = _coarsen_heights(self.building_m, factor)
        if transmitter is not None:
            self.require_outdoor(transmitter)
            building_m[transmitter.cell(grid)] = 0.0
        return replace(self, grid=grid, building_m=building_m, vehicle_m=_coarsen_heights(self.vehicle_m, factor))


def blocks(array: np.ndarray, factor: int) -> np.ndarray:
    """(H, W) to (H/f, W/f, f·f): the fine cells of every coarse cell."""
    rows, columns = array.shape[0] // factor, array.shape[1] // factor
    return array.reshape(rows, factor, columns, factor).swapaxes(1, 2).reshape(rows, columns, factor * factor)


def _coarsen_heights(height_m: np.ndarray, factor: int) -> np.ndarray:
    fine = blocks(height_m, factor)
    built = fine > 0
    share = built.mean(-1)
    mean_m = fine.sum(-1) / np.maximum(built.sum(-1), 1)
    return np.where(share >= 0.5, mean_m, 0.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class RadioMap:
    """Path gain over a grid for one transmitter.

    ``gain_db``: (H, W) float32, path gain ≤ 0 [dB] (received minus transmitted power between isotropic antennas).
    ``valid``: (H, W) bool, True where the gain means something (outdoors). Raises ValueError for a wrong shape, and
    for a gain above 0 dB or not finite on a valid cell.
    """

    gain_db: np.ndarray
    valid: np.ndarray

    def __post_init__(self) -> None:
        gain_db = np.ascontiguousarray(self.gain_db, dtype=np.float32)
        valid = np.ascontiguousarray(self.valid, dtype=bool)
        if gain_db.ndim != 2 or gain_db.shape != valid.shape:
            raise ValueError(f"RadioMap: gain_db {gain_db.shape} and valid {valid.shape} must be one (H, W) shape")
        outdoors = gain_db[valid]
        if not np.isfinite(outdoors).all():
            raise ValueError(f"RadioMap: {int((~np.isfinite(outdoors)).sum())} valid cells are not finite")
        if outdoors.size and outdoors.max() > 1e-3:
            raise ValueError(f"RadioMap: path gain must be ≤ 0 dB, highest is {outdoors.max():.2f} dB")
        object.__setattr__(self, "gain_db", gain_db)
        object.__setattr__(self, "valid", valid)

    def coarsen(self, factor: int, valid: np.ndarray) -> RadioMap:
        """The mean gain [dB] over the valid fine cells of every coarse cell.

        ``valid``: (H/f, W/f) bool, usually the coarse scene's ``outdoor``. Coarse cells without any valid fine cell
        are marked invalid. The mean is taken in dB, as the grey levels of the field's pictures are.
        """
        fine_valid = blocks(self.valid, factor)
        total_db = np.where(fine_valid, blocks(self.gain_db, factor), 0.0).sum(-1)
        count = fine_valid.sum(-1)
        lowest_db = self.gain_db.min()
        gain_db = np.where(count > 0, total_db / np.maximum(count, 1), lowest_db)
        return RadioMap(gain_db, valid & (count > 0))


@dataclass(frozen=True)
class Vehicle:
    """A vehicle as an upright box: centre ``xy_m`` on the ground, ``size_m`` = (length, width, height) [m].

    ``heading_rad``: direction of its length, from +x towards +y of the grid (y grows with the rows). Raises ValueError
    if a number is not finite or a size not positive.
    """

    xy_m: tuple[float, float]
    heading_rad: float
    size_m: tuple[float, float, float] = (4.5, 1.8, 1.5)

    def __post_init__(self) -> None:
        numbers = (*self.xy_m, self.heading_rad, *self.size_m)
        if len(self.xy_m) != 2 or len(self.size_m) != 3 or not np.all(np.isfinite(numbers)) or min(self.size_m) <= 0:
            raise ValueError(f"Vehicle needs a finite (x, y), a heading and three positive lengths, got {self}")

    @property
    def corners_m(self) -> np.ndarray:
        """(4, 2) float64, the footprint's corners (x, y) [m], in order around it."""
        forward = np.array([np.cos(self.heading_rad), np.sin(self.heading_rad)])
        sideways = np.array([-forward[1], forward[0]])
        along, across = self.size_m[0] / 2, self.size_m[1] / 2
        signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
        return np.array([np.add(self.xy_m, a * along * forward + b * across * sideways) for a, b in signs])


class PathKind(IntEnum):
    """The kind of a path, by its strongest claim: diffracted if it bends anywhere, else scattered, else reflected."""

    LINE_OF_SIGHT = 0
    REFLECTION = 1
    SCATTERING = 2
    DIFFRACTION = 3
    TRANSMISSION = 4


@dataclass(frozen=True, eq=False)
class Paths:
    """The paths from one transmitter to R receivers, at most P each, strongest first.

    ``gain``: (R, P) complex64, amplitude: Σ|gain|² over the paths of a receiver is its path gain (linear).
    ``delay_s``: (R, P) float32 [s]. ``aoa_rad``, ``aod_rad``: (R, P, 2) float32 [rad], azimuth in (−π, π] from +x
    towards +y of the grid (y grows with the rows) and zenith in [0, π] from straight up, of the direction that the
    path comes from at the receiver and leaves into at the transmitter. ``kind``: (R, P) int8, a :class:`PathKind`.
    ``valid``: (R, P) bool; the rest is padding: gain 0, everything else 0.

    Raises ValueError for shapes that do not agree, and for valid paths with a value that is not finite, a negative
    delay, a zenith outside [0, π], an azimuth outside (−π, π], an unknown kind, or an amplitude of 0 or above 1.
    """

    gain: np.ndarray
    delay_s: np.ndarray
    aoa_rad: np.ndarray
    aod_rad: np.ndarray
    kind: np.ndarray
    valid: np.ndarray

    def __post_init__(self) -> None:
        valid = np.ascontiguousarray(self.valid, dtype=bool)
        if valid.ndim != 2:
            raise ValueError(f"Paths.valid must be (receivers, paths), got {valid.shape}")
        kinds = {"gain": np.complex64, "delay_s": np.float32, "aoa_rad": np.float32, "aod_rad": np.float32}
        for name, dtype in {**kinds, "kind": np.int8}.items():
            wanted = (*valid.shape, 2) if name.startswith("ao") else valid.shape
            given = np.asarray(getattr(self, name))
            if given.shape != wanted:
                raise ValueError(f"Paths.{name} has shape {given.shape}, valid wants {wanted}")
            if not np.isfinite(given[valid]).all():
                raise ValueError(f"Paths.{name}: {int((~np.isfinite(given[valid])).sum())} valid values not finite")
            mask = valid[..., None] if given.ndim == 3 else valid
            object.__setattr__(self, name, np.ascontiguousarray(np.where(mask, given, 0), dtype=dtype))
        object.__setattr__(self, "valid", valid)
        self._check_ranges()

    def _check_ranges(self) -> None:
        amplitude = np.abs(self.gain[self.valid])
        angles = np.concatenate([self.aoa_rad[self.valid], self.aod_rad[self.valid]])
        turn = np.float32(np.pi)  # a little above π
        for name, values, low, high in (
            ("delay_s", self.delay_s[self.valid], 0.0, np.inf),
            ("azimuth [rad]", angles[:, 0], -turn, turn),
            ("zenith [rad]", angles[:, 1], 0.0, turn),
            ("amplitude |gain|", amplitude, 1e-30, 1.0),
            ("kind", self.kind[self.valid], min(PathKind), max(PathKind)),
        ):
            wrong = (values < low) | (values > high)
            if wrong.any():
                raise ValueError(f"Paths: {name} must lie in [{low:g}, {high:g}], got {values[wrong][0]}")

    @property
    def gain_db(self) -> np.ndarray:
        """(R, P) float32, path gain of every path [dB]; −inf where there is none."""
        with np.errstate(divide="ignore"):
            return (20.0 * np.log10(np.abs(self.gain))).astype(np.float32)

    def strongest(self, num: int) -> Paths:
        """The ``num`` strongest paths of every receiver, strongest first; padded if there are fewer."""
        if num < 1:
            raise ValueError(f"at least one path must be kept, got {num}")
        order = np.argsort(np.where(self.valid, -np.abs(self.gain), np.inf), axis=1, kind="stable")[:, :num]
        kept = {name: self._ordered(getattr(self, name), order, num) for name in self.__dataclass_fields__}
        return Paths(**kept)

    @staticmethod
    def _ordered(values: np.ndarray, order: np.ndarray, num: int) -> np.ndarray:
        taken = np.take_along_axis(values, order[..., None] if values.ndim == 3 else order, axis=1)
        missing = [(0, 0), (0, num - taken.shape[1])] + [(0, 0)] * (values.ndim - 2)
        return np.pad(taken, missing)
