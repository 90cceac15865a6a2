"""Dominant-path model: the path gain of the single strongest path, from footprints and heights.

Wahl, Wölfle, Wertz, Wildbolz, Landstorfer, "Dominant path prediction model for urban scenarios", 14th IST Mobile and
Wireless Communications Summit, 2005. RadioMapSeer's DPM maps come from a commercial solver of this model; the
constants here were fitted to real maps of that dataset.

A cell takes, of the paths it has, the one with the least loss:

- in line of sight, PL = PL(1 m) + 10·n·log10 d;
- around corners, PL = PL(1 m) + 10·(n + n')·log10 L + Σ w(φ), over the corners of `corners`, each of which the path
  passes as a taut string would, with the building inside the bend or touching its line (see `street`);
- over the roofs, PL = PL(1 m) + 10·n·log10 L + Σ wr(φ) − credit (see `roof`).

The map ends with a median over 3 m, as those of the dataset do (see `smoothing`).

The result turns and mirrors with the scene exactly. Walls are opaque for the first two whatever their height: both
ends are taken to stand in the street (about 1.5 m). A transmitter above the roofs still gets the line-of-sight law
wherever the straight line in space is free, because the roof path then has no bend.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from raymap import units
from raymap.physics import pathloss, visibility
from raymap.propagation import roof, street
from raymap.propagation.corners import convex_corners
from raymap.propagation.smoothing import outdoor_median
from raymap.scene import RadioMap, Scene, Transmitter


@dataclass(frozen=True)
class Constants:
    """Constants of the model, fitted at 5.9 GHz on real RadioMapSeer maps (both ends at 1.5 m, buildings of 25 m).

    Only PL(1 m), the free-space loss at one metre, follows the scene's frequency; the tables do not. Exponent n' and
    both tables are ``jobs/fit_propagation.py --folder FOLDER`` on 21 DPM maps at 1 m, ten transmitters of map 0 and one
    each of eleven other cities; what such a fit is worth on cities left out of it, the same command prints. Tolerance,
    push and anchor of the corners were chosen among a few on the same maps, by the same cross-validation.
    """

    exponent: float = 2.5  #: n in line of sight and over the roofs
    street_exponent: float = 2.8247  #: n + n' around corners
    bend_deg: tuple[float, ...] = (0.0, 180.0)  #: angles φ of ``bend_db``, whole degrees
    #: w(φ) at a corner [dB]: a straight line, as single bends around the true polygons of map 0 show it.
    bend_db: tuple[float, ...] = (1.62, 30.83)
    roof_bend_deg: tuple[float, ...] = (0.0, 15.0, 45.0, 90.0, 180.0)  #: angles of ``roof_bend_db``, whole degrees
    roof_bend_db: tuple[float, ...] = (0.21, 15.85, 17.22, 22.61, 22.61)  #: wr(φ) at a roof edge [dB]
    roof_credit_db: float = 10.26  #: only Σ wr − credit over the usual two edges was fitted, not either alone [dB]
    max_bends: int = 8  #: most corners on one street path
    #: Of the simplification of outlines. 0.6 keeps the convex steps of raster edges near 45°, at 2.4 times the corners
    #: of 1.0: on maps left out of the fit 0.4 dB better.
    corner_tolerance_cells: float = 0.6
    #: Out of the building, along the bisector: where a corner sees from, clear of the steps of raster walls.
    corner_push_cells: float = 0.75
    #: The same for where its lengths and angles are measured. 0, the outline itself, is 0.1 dB better than 0.75.
    corner_anchor_cells: float = 0.0
    receiver_height_m: float = 1.5
    #: Width of the median over outdoor cells that ends it: 3 x 3 cells of 1 m, nothing for cells of 2 m and more. Not
    #: fitted: real maps have it to the last grey level, next to walls and around the transmitter too. 0: none.
    median_m: float = 3.0
    vehicle_db_per_m: float = 4.0  #: inside vehicles; a guess, not fitted
    vehicle_limit_db: float = 12.0  #: a guess as well

    @staticmethod
    def table_db(bend_deg: tuple[float, ...], bend_db: tuple[float, ...]) -> np.ndarray:
        """Losses at 0, 1, ..., 180, 180 degrees [dB], then the steepest slope [dB/deg]; (183,) float64."""
        table_db = np.interp(np.minimum(np.arange(182), 180), bend_deg, bend_db)
        return np.append(table_db, np.abs(np.diff(table_db)).max())


@dataclass(frozen=True, eq=False)
class Terms:
    """What the losses of the paths that `solve` compares are made of, for fitting its constants. Arrays of (H, W).

    ``lit`` bool, in line of sight. ``street_m`` and ``roof_m`` float64, length [m] of the best street path and of the
    path over the roofs; 0 where there is none, in sight, and where the roof path needs no bend. ``street_weights`` and
    ``roof_weights``, (H, W, N) float64: Σ w(φ) = weights · table, for the tables at ``bend_deg`` and ``roof_bend_deg``.
    """

    lit: np.ndarray
    street_m: np.ndarray
    street_weights: np.ndarray
    roof_m: np.ndarray
    roof_weights: np.ndarray


def solve(scene: Scene, transmitter: Transmitter, *, constants: Constants | None = None) -> RadioMap:
    """Path gain of the dominant path at every outdoor cell.

    Returns a RadioMap with ``valid`` = outdoors. Gains below the floor of −147 dB are set to it, as RadioMapSeer does,
    and so are the cells of buildings. Distances below 1 m, the reference of the law, count as 1 m; distances in line
    of sight are horizontal. Vehicles take 4 dB per metre of the dominant path inside them, at most 12 dB, block
    nothing, do not change which street path is dominant, and do not touch the path over the roofs.
    Raises ValueError for a transmitter outside the map or inside a building.
    """
    constants = constants or Constants()
    cell_m, outdoor, height_m = scene.grid.cell_m, scene.outdoor, transmitter.xyz_m[2]
    row, column, lit = _sight(scene, transmitter)
    reference_db = units.free_space_loss_db(1.0, scene.frequency_hz)

    distance_m = pathloss.distance_m(scene.grid.shape, cell_m, (column * cell_m, row * cell_m))
    straight_db = -pathloss.log_distance_gain_db(np.maximum(distance_m, 1.0), 0.0, constants.exponent)
    over_db = roof.roof_cost(
        scene.building_m, outdoor & ~lit, row, column, cell_m, height_m, constants.receiver_height_m,
        10.0 * constants.exponent, constants.table_db(constants.roof_bend_deg, constants.roof_bend_db),
        constants.roof_credit_db,
    )  # fmt: skip
    around_db, vehicle_m = _around_corners(scene, lit, row, column, -units.GAIN_FLOOR_DB - reference_db, constants)

    vehicle_db = np.minimum(constants.vehicle_db_per_m * vehicle_m, constants.vehicle_limit_db)
    cost_db = np.where(lit, straight_db + vehicle_db, np.minimum(around_db + vehicle_db, over_db))
    gain_db = np.maximum(-(reference_db + cost_db), units.GAIN_FLOOR_DB)
    gain_db = np.where(outdoor, gain_db, units.GAIN_FLOOR_DB)
    reach = int(constants.median_m / 2.0 / cell_m + 1e-9)
    return RadioMap(outdoor_median(gain_db, outdoor, reach) if reach > 0 else gain_db, outdoor)


def terms(scene: Scene, transmitter: Transmitter, *, constants: Constants | None = None) -> Terms:
    """The paths that ``constants`` choose, taken apart. Vehicles are not looked at. Raises ValueError as `solve`."""
    constants = constants or Constants()
    cell_m, outdoor, height_m = scene.grid.cell_m, scene.outdoor, transmitter.xyz_m[2]
    row, column, lit = _sight(scene, transmitter)
    ceiling_db = -units.GAIN_FLOOR_DB - units.free_space_loss_db(1.0, scene.frequency_hz)
    corners, labels, _, _, choice = _street_paths(scene, _NO_VEHICLE, lit, row, column, ceiling_db, constants)
    street_m, street_weights = street.street_terms(corners, labels, choice, cell_m, np.array(constants.bend_deg))
    roof_m, roof_weights = roof.roof_terms(
        scene.building_m, outdoor & ~lit, row, column, cell_m, height_m, constants.receiver_height_m,
        np.array(constants.roof_bend_deg),
    )  # fmt: skip
    return Terms(lit, street_m, street_weights, roof_m, roof_weights)


def _sight(scene: Scene, transmitter: Transmitter) -> tuple[float, float, np.ndarray]:
    """Row and column of an outdoor transmitter, snapped to the lattice, and the cells (H, W) that it sees."""
    scene.require_outdoor(transmitter)
    x_m, y_m, _ = transmitter.xyz_m
    row, column = visibility.snap((y_m / scene.grid.cell_m, x_m / scene.grid.cell_m), scene.grid.shape)
    return row, column, visibility.line_of_sight(~scene.outdoor, (row, column))


#: Tells the kernels not to look for vehicles.
_NO_VEHICLE = np.zeros((0, 0), bool)


def _around_corners(
    scene: Scene, lit: np.ndarray, row: float, column: float, ceiling_db: float, constants: Constants
) -> tuple[np.ndarray, np.ndarray]:
    """Cost of the best street path [dB] and length inside vehicles of the line of sight or that path [m], (H, W)."""
    vehicle = scene.vehicle_m > 0
    if not vehicle.any():
        vehicle = _NO_VEHICLE
    _, _, cost_db, vehicle_m, _ = _street_paths(scene, vehicle, lit, row, column, ceiling_db, constants)
    if vehicle.size:
        vehicle_m += street.straight_vehicle_m(vehicle, lit, row, column, scene.grid.cell_m)
    return cost_db, vehicle_m


def _street_paths(scene, vehicle, lit, row, column, ceiling_db, constants: Constants):
    """Corners and their labels; cost [dB], length inside vehicles [m] and label of the best street path, (H, W)."""
    cell_m, blocked = scene.grid.cell_m, ~scene.outdoor
    corners, neighbours, num_neighbours = _street_graph(
        np.packbits(blocked).tobytes(), blocked.shape, constants.corner_tolerance_cells, constants.corner_push_cells,
        constants.corner_anchor_cells,
    )  # fmt: skip
    slope, table_db = 10.0 * constants.street_exponent, constants.table_db(constants.bend_deg, constants.bend_db)
    labels, counts = street.corner_labels(
        blocked, vehicle, corners, neighbours, num_neighbours, row, column, cell_m, slope, table_db,
        constants.max_bends, ceiling_db,
    )  # fmt: skip
    cost_db, vehicle_m, choice = street.street_cost(
        blocked, vehicle, corners, labels, counts, lit, cell_m, slope, table_db, ceiling_db
    )
    return corners, labels, cost_db, vehicle_m, choice


@lru_cache(maxsize=2)
def _street_graph(packed: bytes, shape: tuple[int, int], tolerance: float, push: float, anchor: float):
    """Corners of a mask and who sees whom, for all transmitters of a scene. The key is the mask, not the scene."""
    blocked = np.unpackbits(np.frombuffer(packed, np.uint8), count=shape[0] * shape[1]).reshape(shape).astype(bool)
    corners = convex_corners(blocked, tolerance, push, anchor)
    return corners, *street.corners_in_sight(blocked, corners)
