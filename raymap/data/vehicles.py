"""Traffic for a scene: vehicles in the lanes of its streets, on the right-hand side, as boxes and as raster.

Streets come from `streets`. A street carries as many lanes of ``LANE_M`` each way as fit between its footpaths, or one
lane in one direction where two do not fit. Along a lane vehicles follow each other at random: the distance from one to
the next is both half lengths, the gap that is kept even in a queue, and an exponentially distributed rest. That is
the shifted exponential headway of Cowan, "Useful headway models", Transportation Research 9(6), 1975 (his M2), in
space instead of time; the gap of 2 m is the jam distance of Treiber, Hennecke and Helbing, "Congested traffic states
in empirical observations and microscopic simulations", Physical Review E 62, 2000. Sizes are those of common European
vehicles; the shares are of the order of inner-city counts and not fitted to any.
"""

from __future__ import annotations

import zlib
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from raymap.data import boxes, streets
from raymap.data.streets import Street
from raymap.scene import Grid, Scene, Vehicle


class VehicleClass(NamedTuple):
    """A kind of vehicle: its share of all, and length, width and height [m]."""

    name: str
    share: float
    size_m: tuple[float, float, float]


MIX = (
    VehicleClass("car", 0.82, (4.5, 1.8, 1.5)),
    VehicleClass("van", 0.11, (5.5, 2.0, 2.4)),
    VehicleClass("truck", 0.04, (8.5, 2.5, 3.4)),
    VehicleClass("bus", 0.03, (12.0, 2.55, 3.1)),
)
#: Moving traffic in a town; a motorway is full at about 28 cars per km of lane (Highway Capacity Manual).
VEHICLES_PER_KM = 25.0
LANE_M = 3.25
#: Footpath on either side of a street [m].
FOOTPATH_M = 1.75
MAX_LANES_EACH_WAY = 3
#: Least gap between one vehicle and the next in its lane [m].
QUEUE_GAP_M = 2.0
#: Least distance to buildings, to kept-clear cells and to vehicles of other lanes [m].
CLEARANCE_M = 0.3
#: A vehicle drives up to this far beside the middle of its lane [m].
_WANDER_M = 0.15
_MEAN_LENGTH_M = sum(kind.share * kind.size_m[0] for kind in MIX)
#: Density of a lane in which every vehicle queues [1/km].
MAX_VEHICLES_PER_KM = 1000.0 / (_MEAN_LENGTH_M + QUEUE_GAP_M)
#: Random numbers belong to ground of this size, so that a street found slightly differently keeps its traffic [m].
_PATCH_M = 32.0


def place(
    scene: Scene, seed: int, *, vehicles_per_km: float = VEHICLES_PER_KM, keep_clear: np.ndarray | None = None
) -> tuple[Scene, tuple[Vehicle, ...]]:
    """The scene with traffic as its ``vehicle_m``, and the vehicles, x and y from the grid's top left corner.

    ``vehicles_per_km``: mean number per km of lane, from 0 to ``MAX_VEHICLES_PER_KM``. ``keep_clear``: (H, W) bool,
    cells that no vehicle may touch, such as a transmitter's; the other vehicles stay where they are without it.
    Vehicles lie inside the map and keep ``CLEARANCE_M`` from buildings and from each other; those that do not fit
    (crossing traffic, a street that narrows) are left out, the one in the broader street stays. Streets without
    buildings on both sides, squares and closed courtyards get none, so there may be no vehicle at all.

    Deterministic in scene and ``seed``; scenes of different names differ at equal seeds. The same ground at another
    cell size gets most of the same vehicles (7 of 10 at 1 m and 2 m cells). Vehicles already in the scene are
    replaced. Raises ValueError for a negative seed, a density out of range or a mask of another shape.
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if not 0 <= vehicles_per_km <= MAX_VEHICLES_PER_KM:
        raise ValueError(
            f"vehicles_per_km must lie from 0 to {MAX_VEHICLES_PER_KM:.0f} (bumper to bumper), got {vehicles_per_km}"
        )
    solid = ~scene.outdoor
    if keep_clear is not None:
        if np.shape(keep_clear) != scene.grid.shape:
            raise ValueError(f"keep_clear has shape {np.shape(keep_clear)}, the grid has {scene.grid.shape}")
        solid |= np.asarray(keep_clear, bool)
    vehicles: list[Vehicle] = []
    if vehicles_per_km > 0:
        for street in streets.find(scene):
            vehicles += _traffic(street, [seed, zlib.crc32(scene.name.encode())], 1000.0 / vehicles_per_km)
    if vehicles:
        fits = boxes.fits(_corners_m(vehicles), solid, scene.grid.cell_m, CLEARANCE_M)
        vehicles = [vehicle for vehicle, fit in zip(vehicles, fits, strict=True) if fit]
    return replace(scene, vehicle_m=rasterize(vehicles, scene.grid)), tuple(vehicles)


def rasterize(vehicles: Sequence[Vehicle], grid: Grid) -> np.ndarray:
    """(H, W) float32: height [m] of the vehicle that a cell stands for, 0 without one; x, y from the grid's corner.

    **A vehicle gets as many cells as it has area**, those it covers most. What is over or lacking to a whole number is
    carried to the next vehicle, so the marked area is that of all vehicles to within about half a cell, and the mean
    length of a line inside vehicles, which is what attenuates, is right at every cell size. Marking the cells that are
    half covered would lose every car at 4 m cells, and marking those whose centre is covered would lose whole lanes
    that run between two rows of centres. A cell of 4 m is larger than a car: only every second car is marked, and what
    it takes falls short on average (by 13 % in towns) where its loss is limited; solve on 2 m or finer for vehicles.
    The part of a vehicle outside the map is cut off.
    """
    vehicle_m = np.zeros(grid.shape, np.float32)
    if vehicles:
        heights_m = np.array([vehicle.size_m[2] for vehicle in vehicles], np.float32)
        boxes.mark(_corners_m(vehicles) / grid.cell_m, heights_m, vehicle_m)
    return vehicle_m


def num_lanes_each_way(width_m: float) -> int:
    """Lanes in each direction of a street ``width_m`` wide from wall to wall [m]; 0 means one lane in one direction."""
    return max(0, min(int((width_m - 2 * FOOTPATH_M) / (2 * LANE_M)), MAX_LANES_EACH_WAY))


def _traffic(street: Street, key: list[int], spacing_m: float) -> Iterator[Vehicle]:
    """The vehicles of all lanes of one street."""
    points_m = street.points_m
    if points_m[0] @ (2, 1) > points_m[-1] @ (2, 1):
        points_m = points_m[::-1]  # a street keeps its traffic whichever way it was traced
    tangent = np.gradient(points_m, axis=0)
    along_m = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points_m, axis=0).T))])
    middle_m, (d_x, d_y) = points_m[len(points_m) // 2], tangent[len(points_m) // 2]
    patch = [*(middle_m // _PATCH_M).astype(int).tolist(), int(abs(d_x) > abs(d_y))]
    for number, (way, offset_m) in enumerate(_lanes(street.width_m, np.random.default_rng([*key, *patch]))):
        rng = np.random.default_rng([*key, *patch, number])
        at_m, sizes_m = _queue(rng, along_m[-1], spacing_m)
        x_m, y_m, d_x, d_y = (np.interp(at_m, along_m, line) for line in (*points_m.T, *tangent.T))
        heading = np.arctan2(way * d_y, way * d_x)
        aside_m = offset_m + rng.uniform(-_WANDER_M, _WANDER_M, len(at_m))
        # With y downwards the right-hand side of the direction (cos, sin) is (-sin, cos).
        x_m, y_m = x_m - aside_m * np.sin(heading), y_m + aside_m * np.cos(heading)
        for x, y, angle, size_m in zip(x_m.tolist(), y_m.tolist(), heading.tolist(), sizes_m, strict=True):
            yield Vehicle((x, y), angle, size_m)


def _lanes(width_m: float, rng: np.random.Generator) -> list[tuple[int, float]]:
    """Direction (1 along the centreline, -1 against it) and distance [m] to the right of it of every lane."""
    num = num_lanes_each_way(width_m)
    if num == 0:
        return [(1 if rng.random() < 0.5 else -1, 0.0)]
    return [(way, (lane + 0.5) * LANE_M) for way in (1, -1) for lane in range(num)]


def _queue(rng: np.random.Generator, length_m: float, spacing_m: float) -> tuple[list[float], list[tuple]]:
    """Centres along a lane [m] and sizes of its vehicles, ``spacing_m`` apart on average."""
    free_m = max(spacing_m - _MEAN_LENGTH_M - QUEUE_GAP_M, 0.0)
    limits = np.cumsum([kind.share for kind in MIX])[:-1].tolist()
    # The queue starts well before the street, so that its first vehicle in the street is nowhere special.
    at_m, size_m = -spacing_m * (4.0 + rng.random()), MIX[0].size_m
    centres_m, sizes_m = [], []
    while True:
        behind_m = size_m[0] / 2
        size_m = MIX[bisect(limits, rng.random())].size_m
        at_m += behind_m + QUEUE_GAP_M + rng.exponential(free_m) + size_m[0] / 2
        if at_m > length_m:
            return centres_m, sizes_m
        if at_m >= 0:
            centres_m.append(at_m)
            sizes_m.append(size_m)


def _corners_m(vehicles: Sequence[Vehicle]) -> np.ndarray:
    """(N, 4, 2) float64 footprints [m]."""
    return np.stack([vehicle.corners_m for vehicle in vehicles])
