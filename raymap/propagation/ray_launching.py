"""Ray launching: path gain with multipath, from footprints, by rays in the plane and a path over the roofs.

Both ends stand in the street, well below roofs of vertical, opaque walls, so that propagation is a problem in the plane
plus a path over the roofs. The gain of a cell is the **sum of the powers** of its paths (no interference, as the mean
over a few wavelengths; Rappaport, "Wireless Communications", 2nd ed., sec. 5.2):

- line of sight, free space: (λ/4πd)², exact at the cell's centre;
- up to `Options.max_interactions` interactions. *Reflections* are specular, with the Fresnel coefficient of the wall's
  material for vertical polarisation (TE), and spread as 1/r² with r the unfolded length; the power of a cell is the
  mean over its open part, by the tube estimator of `beams`. *Diffraction* at convex corners by the uniform theory
  (`wedge`); at most **one** corner on a path, before or after any number of reflections. Paths without a reflection
  after the corner are exact at the cell's centre, the others are estimated by a fan from the corner;
- over the roofs, to cells out of sight: the law that `dominant_path` was fitted with. So no cell is a hole.

Because powers are added, the gain steps from 1.25 to 0.25 times free space (7 dB) at the edge of a shadow, where fields
would add up to a steady 0.25.

Not modelled: the ground, scattering by rough walls and trees, transmission, reflection by vehicles, two corners on one
path. Walls come from the raster, see `walls` for the tolerance. Kernels count in cells, gains are metres and dB.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from raymap import units
from raymap.physics import materials, pathloss, visibility
from raymap.propagation import beams, dominant_path, roof, sight, street, walls
from raymap.propagation import ground as grounds
from raymap.scene import RadioMap, Scene, Transmitter


@dataclass(frozen=True)
class Options:
    """Settings of the model; raises ValueError for counts below zero or no rays, and for an unknown material.

    ``num_rays``: of the transmitter's fan; ``num_corner_rays``: of the fan of every lit corner. The noise of a cell
    falls faster than 1/√``num_rays``, because rays of one fan are equally spaced.
    """

    max_interactions: int = 4
    diffraction: bool = True
    roof: bool = True
    material: str = "concrete"  #: of all walls, a row of `materials.MATERIALS`
    num_rays: int = 10_000
    num_corner_rays: int = 800
    receiver_height_m: float = 1.5
    vehicle_db_per_m: float = 4.0  #: as in `dominant_path.Constants`
    vehicle_limit_db: float = 12.0
    #: Law of the path over the roofs.
    roof_constants: dominant_path.Constants = field(default_factory=dominant_path.Constants)

    def __post_init__(self) -> None:
        if self.material not in materials.MATERIALS:
            raise ValueError(f"unknown material {self.material!r}; known are {', '.join(materials.MATERIALS)}")
        if self.max_interactions < 0:
            raise ValueError(f"max_interactions must not be negative, got {self.max_interactions}")
        if min(self.num_rays, self.num_corner_rays) < 1:
            raise ValueError(f"fans need at least one ray, got {self.num_rays} and {self.num_corner_rays}")
        if not self.receiver_height_m > 0:
            raise ValueError(f"receiver_height_m must be positive, got {self.receiver_height_m}")
        if min(self.vehicle_db_per_m, self.vehicle_limit_db) < 0:
            raise ValueError(f"vehicles cannot amplify: {self.vehicle_db_per_m} dB/m, {self.vehicle_limit_db} dB")


def solve(scene: Scene, transmitter: Transmitter, *, seed: int = 0, options: Options | None = None) -> RadioMap:
    """Path gain with multipath at every outdoor cell; ``seed`` turns the fans, equal seeds give equal maps.

    Returns a RadioMap with ``valid`` = outdoors. Gains below the floor of −147 dB are set to it, and so are the cells
    of buildings. Lengths below 1 m count as 1 m. A difference in height of both ends enters the lengths only. Vehicles
    take 4 dB per metre of a path inside them, at most 12 dB a path, and touch no path over the roofs.
    Raises ValueError for a transmitter outside the map or inside a building, a negative seed, and a frequency at which
    the material is not known.
    """
    options = options or Options()
    scene.require_outdoor(transmitter)
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if not scene.outdoor.all():
        outlines = walls.from_mask(~scene.outdoor)
    else:
        nothing = np.zeros(scene.grid.shape)
        outlines = walls.Walls(np.empty((0, 4)), np.empty((0, 6)), nothing + 1.0, nothing > 0)
    ground = _ground(scene, transmitter, outlines, options)
    x, y = _in_the_open(outlines.segments, transmitter, scene.grid.cell_m)
    cells = np.empty(scene.building_m.size, np.int64)
    lit = np.zeros(scene.grid.shape, bool)
    lit.ravel()[cells[: sight.cells_in_sight(ground, x, y, scene.outdoor, outlines.buried, cells)]] = True
    lit[transmitter.cell(scene.grid)] = True

    share = _bounced(scene, ground, outlines, x, y, seed, options)
    # Shares are powers per cell² of free space; (λ/4π)² turns those per m² into gains.
    one_metre = units.linear_from_db(-units.free_space_loss_db(1.0, scene.frequency_hz))
    power = one_metre * (share / scene.grid.cell_m**2 + _straight(scene, transmitter, lit, options))
    if options.roof:
        power += np.where(lit, 0.0, one_metre * units.linear_from_db(-_over_roofs_db(scene, transmitter, lit, options)))
    weakest = units.linear_from_db(units.GAIN_FLOOR_DB)
    gain_db = 10.0 * np.log10(np.maximum(power, weakest))
    return RadioMap(np.where(scene.outdoor, gain_db, units.GAIN_FLOOR_DB), scene.outdoor)


def _ground(scene: Scene, transmitter: Transmitter, outlines: walls.Walls, options: Options) -> grounds.Ground:
    """Walls, corners and vehicles by cell, and the constants of the link in cells."""
    cell_m, (num_rows, num_columns) = scene.grid.cell_m, scene.grid.shape
    starts, items = grounds.index_segments(outlines.segments, num_rows, num_columns)
    corner_starts, corner_items = _corners_by_cell(outlines.corners, scene.grid.shape)
    vehicle = scene.vehicle_m > 0
    one_metre_db = -units.free_space_loss_db(1.0, scene.frequency_hz)
    neper_per_db = np.log(10.0) / 10.0
    return grounds.Ground(
        outlines.segments, starts, items, outlines.corners, corner_starts, corner_items,
        vehicle if vehicle.any() else np.zeros((0, 0), bool),
        materials.fresnel(np.linspace(0.0, 1.0, 1025), materials.permittivity(options.material, scene.frequency_hz)),
        num_rows, num_columns,
        2.0 * np.pi / units.wavelength_m(scene.frequency_hz) * cell_m,
        neper_per_db * options.vehicle_db_per_m * cell_m,
        neper_per_db * options.vehicle_limit_db,
        1.0 / cell_m,
        ((transmitter.xyz_m[2] - options.receiver_height_m) / cell_m) ** 2,
        units.linear_from_db(units.GAIN_FLOOR_DB - 3.0 - one_metre_db) * cell_m**2,
    )  # fmt: skip


def _corners_by_cell(corners: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Corners in every cell and its eight neighbours: starts (H·W + 1) into numbers of corners."""
    steps = np.array([-1, 0, 1])
    column = np.floor(corners[:, 2]).astype(np.int64)[:, None, None] + steps[None, :, None]
    row = np.floor(corners[:, 3]).astype(np.int64)[:, None, None] + steps[None, None, :]
    column, row, which = np.broadcast_arrays(column, row, np.arange(len(corners))[:, None, None])
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    cell = (row * shape[1] + column)[inside]
    order = np.argsort(cell, kind="stable")
    counts = np.bincount(cell, minlength=shape[0] * shape[1])
    return np.concatenate([[0], np.cumsum(counts)]), which[inside][order]


def _in_the_open(segments: np.ndarray, transmitter: Transmitter, cell_m: float) -> tuple[float, float]:
    """The transmitter in cells; if a straightened wall has swallowed it (by less than a cell), just outside of that."""
    x, y = transmitter.xyz_m[0] / cell_m, transmitter.xyz_m[1] / cell_m
    if not len(segments):
        return x, y
    start, along = segments[:, :2], segments[:, 2:] - segments[:, :2]
    crosses = (segments[:, 1] > y) != (segments[:, 3] > y)
    rise = np.where(along[:, 1] == 0, 1.0, along[:, 1])
    at_x = start[:, 0] + (y - start[:, 1]) * along[:, 0] / rise
    part = np.clip((((x, y) - start) * along).sum(1) / (along**2).sum(1), 0.0, 1.0)
    foot = start + part[:, None] * along
    distance = np.hypot(*(foot - (x, y)).T)
    nearest = int(np.argmin(distance))
    if (crosses & (at_x > x)).sum() % 2 == 0 and distance[nearest] >= walls.PUSH_CELLS:
        return x, y
    outward = np.array([along[nearest, 1], -along[nearest, 0]]) / np.hypot(*along[nearest])
    x, y = foot[nearest] + walls.PUSH_CELLS * outward
    return float(x), float(y)


def _straight(scene: Scene, transmitter: Transmitter, lit: np.ndarray, options: Options) -> np.ndarray:
    """Power of the line of sight per that at 1 m, (H, W)."""
    cell_m, (x_m, y_m, height_m) = scene.grid.cell_m, transmitter.xyz_m
    distance_m = pathloss.distance_m(scene.grid.shape, cell_m, (x_m, y_m))
    power = 1.0 / np.maximum(distance_m**2 + (height_m - options.receiver_height_m) ** 2, 1.0)
    vehicle = scene.vehicle_m > 0
    if vehicle.any():
        row, column = visibility.snap((y_m / cell_m, x_m / cell_m), scene.grid.shape)
        inside_m = street.straight_vehicle_m(vehicle, lit, row, column, cell_m)
        lost_db = np.minimum(options.vehicle_db_per_m * inside_m, options.vehicle_limit_db)
        power = power * units.linear_from_db(-lost_db)
    return np.where(lit, power, 0.0)


def _over_roofs_db(scene: Scene, transmitter: Transmitter, lit: np.ndarray, options: Options) -> np.ndarray:
    """Loss over the roofs less PL(1 m) [dB], (H, W); infinite in sight and in buildings."""
    constants, cell_m = options.roof_constants, scene.grid.cell_m
    x_m, y_m, height_m = transmitter.xyz_m
    row, column = visibility.snap((y_m / cell_m, x_m / cell_m), scene.grid.shape)
    return roof.roof_cost(
        scene.building_m, scene.outdoor & ~lit, row, column, cell_m, height_m, options.receiver_height_m,
        10.0 * constants.exponent, constants.table_db(constants.roof_bend_deg, constants.roof_bend_db),
        constants.roof_credit_db,
    )  # fmt: skip


def _bounced(
    scene: Scene, ground: grounds.Ground, outlines: walls.Walls, x: float, y: float, seed: int, options: Options
) -> np.ndarray:
    """Power of all paths with an interaction, per that of free space at one cell's length, (H, W)."""
    rng = np.random.default_rng(seed)
    first_angle = 2.0 * np.pi * rng.random()
    reflected, diffracted = np.zeros(scene.building_m.size), np.zeros(scene.building_m.size)
    diffraction = options.diffraction and options.max_interactions > 0 and len(ground.corners) > 0
    if not len(ground.segments) or options.max_interactions == 0:
        return reflected.reshape(scene.grid.shape)
    bounced = beams.fan_of_transmitter(
        ground, x, y, first_angle, options.num_rays, options.max_interactions, diffraction, reflected,
        np.empty((4 * len(ground.corners) + 64, beams.NUM_FIELDS)),
    )  # fmt: skip
    if diffraction:
        straight = sight.corners_in_sight(ground, x, y)
        arrivals = np.concatenate([straight, bounced])
        arrivals = arrivals[np.argsort(arrivals[:, beams.CORNER], kind="stable")]
        sight.light_corners(
            ground, arrivals, rng.random(len(ground.corners)), options.num_corner_rays, options.max_interactions,
            scene.outdoor, outlines.buried, reflected, diffracted,
        )  # fmt: skip
    share = _per_open_area(reflected.reshape(scene.grid.shape), outlines.open_share, scene.outdoor)
    return share + diffracted.reshape(scene.grid.shape)


def _per_open_area(power: np.ndarray, open_share: np.ndarray, outdoor: np.ndarray) -> np.ndarray:
    """Means over the open part of cells; cells with less than a fifth of it take the mean of their neighbours.

    Slivers of a cell are crossed by too few rays. A cell without better neighbours keeps its own.
    """
    mean = power / np.maximum(open_share, 0.02)
    good = outdoor & (open_share >= 0.2)
    poor = np.argwhere(outdoor & ~good)
    for row, column in poor:
        around = np.s_[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        if good[around].any():
            mean[row, column] = mean[around][good[around]].mean()
    return mean
