"""Dominant-path model: the path gain of the single strongest path, from footprints and heights.

Wahl, Wölfle, Wertz, Wildbolz, Landstorfer, "Dominant path prediction model for urban scenarios", 14th IST Mobile and
Wireless Communications Summit, 2005. RadioMapSeer's DPM maps come from a commercial solver of this model; the
constants here were fitted to real maps of that dataset.

A cell takes, of the paths it has, the one with the least loss:

- in line of sight, PL = PL(1 m) + 10·n·log10 d;
- around corners, PL = PL(1 m) + 10·(n + n')·log10 L + Σ w(φ), over the corners of `corners` (see `street`);
- over the roofs, PL = PL(1 m) + 10·n·log10 L + Σ wr(φ) − credit (see `roof`).

The result turns and mirrors with the scene exactly. Walls are opaque for the first two whatever their height: both
ends are taken to stand in the street (about 1.5 m). A transmitter above the roofs still gets the line-of-sight law
wherever the straight line in space is free, because the roof path then has no bend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raymap import units
from raymap.physics import pathloss, visibility
from raymap.propagation import roof, street
from raymap.propagation.corners import convex_corners
from raymap.scene import RadioMap, Scene, Transmitter


@dataclass(frozen=True)
class Constants:
    """Constants of the model, fitted at 5.9 GHz on real RadioMapSeer maps (both ends at 1.5 m, buildings of 25 m).

    Only PL(1 m), the free-space loss at one metre, follows the scene's frequency; the tables do not.
    """

    exponent: float = 2.5  #: n in line of sight and over the roofs
    street_exponent: float = 2.5 + 0.343  #: n + n' around corners
    #: Angles φ of both tables, whole degrees; w(φ) at a corner [dB]; wr(φ) at a roof edge [dB].
    bend_deg: tuple[float, ...] = (0.0, 5.0, 15.0, 30.0, 60.0, 90.0, 135.0, 180.0)
    bend_db: tuple[float, ...] = (1.61, 1.94, 3.74, 5.92, 10.39, 14.02, 14.02, 14.02)
    roof_bend_db: tuple[float, ...] = (0.1, 14.68, 16.95, 20.26, 24.01, 26.42, 26.42, 26.42)
    roof_credit_db: float = 20.0  #: only Σ wr − credit over the usual two edges was fitted, not either alone [dB]
    max_bends: int = 8  #: most corners on one street path
    #: Of the simplification of outlines. 0.6 keeps the convex steps of raster edges near 45°: against real maps 0.2 dB
    #: better than 1.0 at 1 m cells and 0.5 dB at 4 m, for 2.4 times the corners.
    corner_tolerance_cells: float = 0.6
    corner_push_cells: float = 0.75  #: out of the building, along the bisector
    receiver_height_m: float = 1.5
    vehicle_db_per_m: float = 4.0  #: inside vehicles; a guess, not fitted
    vehicle_limit_db: float = 12.0  #: a guess as well

    def table_db(self, bend_db: tuple[float, ...]) -> np.ndarray:
        """Losses at 0, 1, ..., 180, 180 degrees [dB], then the steepest slope [dB/deg]; (183,) float64."""
        table_db = np.interp(np.minimum(np.arange(182), 180), self.bend_deg, bend_db)
        return np.append(table_db, np.abs(np.diff(table_db)).max())


def solve(scene: Scene, transmitter: Transmitter, *, constants: Constants | None = None) -> RadioMap:
    """Path gain of the dominant path at every outdoor cell.

    Returns a RadioMap with ``valid`` = outdoors. Gains below the floor of −147 dB are set to it, as RadioMapSeer does,
    and so are the cells of buildings. Distances below 1 m, the reference of the law, count as 1 m; distances in line
    of sight are horizontal. Vehicles take 4 dB per metre of the dominant path inside them, at most 12 dB, block
    nothing, do not change which street path is dominant, and do not touch the path over the roofs.
    Raises ValueError for a transmitter outside the map or inside a building.
    """
    constants = constants or Constants()
    scene.require_outdoor(transmitter)
    cell_m, outdoor = scene.grid.cell_m, scene.outdoor
    x_m, y_m, height_m = transmitter.xyz_m
    row, column = visibility.snap((y_m / cell_m, x_m / cell_m), scene.grid.shape)
    lit = visibility.line_of_sight(~outdoor, (row, column))
    reference_db = units.free_space_loss_db(1.0, scene.frequency_hz)

    distance_m = pathloss.distance_m(scene.grid.shape, cell_m, (column * cell_m, row * cell_m))
    straight_db = -pathloss.log_distance_gain_db(np.maximum(distance_m, 1.0), 0.0, constants.exponent)
    over_db = roof.roof_cost(
        scene.building_m, outdoor & ~lit, row, column, cell_m, height_m, constants.receiver_height_m,
        10.0 * constants.exponent, constants.table_db(constants.roof_bend_db), constants.roof_credit_db,
    )  # fmt: skip
    around_db, vehicle_m = _around_corners(scene, lit, row, column, -units.GAIN_FLOOR_DB - reference_db, constants)

    vehicle_db = np.minimum(constants.vehicle_db_per_m * vehicle_m, constants.vehicle_limit_db)
    cost_db = np.where(lit, straight_db + vehicle_db, np.minimum(around_db + vehicle_db, over_db))
    gain_db = np.maximum(-(reference_db + cost_db), units.GAIN_FLOOR_DB)
    return RadioMap(np.where(outdoor, gain_db, units.GAIN_FLOOR_DB), outdoor)


def _around_corners(
    scene: Scene, lit: np.ndarray, row: float, column: float, ceiling_db: float, constants: Constants
) -> tuple[np.ndarray, np.ndarray]:
    """Cost of the best street path [dB] and length inside vehicles of the line of sight or that path [m], (H, W)."""
    cell_m, blocked = scene.grid.cell_m, ~scene.outdoor
    vehicle = scene.vehicle_m > 0
    if not vehicle.any():
        vehicle = np.zeros((0, 0), bool)  # tells the kernels not to look
    corners = convex_corners(blocked, constants.corner_tolerance_cells, constants.corner_push_cells)
    slope, table_db = 10.0 * constants.street_exponent, constants.table_db(constants.bend_db)
    labels, counts = street.corner_labels(
        blocked, vehicle, corners, row, column, cell_m, slope, table_db, constants.max_bends, ceiling_db
    )
    cost_db, vehicle_m = street.street_cost(
        blocked, vehicle, corners, labels, counts, lit, cell_m, slope, table_db, ceiling_db
    )
    if vehicle.size:
        vehicle_m += street.straight_vehicle_m(vehicle, lit, row, column, cell_m)
    return cost_db, vehicle_m
