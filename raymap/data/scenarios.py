"""Scenes, base stations and receivers on which PINN-GNN is measured, as recipes: S1 indoors, S2 in a city.

Liu, Chen, Tang, Ma, Wang, Zhang, "PINN and GNN-based RF Map Construction for Wireless Communication Systems", Section
IV-A, describes its two scenarios by size, heights and frequency; its models (a room of DeepMIMO, a campus) are not
published with it. These keep its numbers and say what they chose:

- **S1**: a room of 10 x 10 x 5 m, access point 2.5 m high, 2.4 GHz. Empty, all six faces of concrete, 0.2 m thick. The
  access point stands in the middle half of the floor, receivers at 1 m on a grid of 0.1 m.
- **S2**: 512 x 512 m of a real city, base station 30 m above ground, 3.5 GHz, receivers outdoors at 1 m height on a
  grid of 1 m. The city is Munich, or another one, with the meshes and materials of sionna-rt; what lies around the
  window is kept. The base station stands in the middle half of the window over a street or a roof of at most 25 m: of
  16 places drawn, the one that sees most of the streets, as a planner would choose.

Both keep the five strongest paths. Window and base station are drawn with the seed. Walls of S1 are smooth; those of S2
scatter (`SCATTERING`), without which most of the streets out of sight are reached by nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raymap.propagation import city, meshes
from raymap.scene import Grid, Scene, Transmitter

NAMES = ("S1", "S2")

#: Grid of the receivers, unless asked otherwise [m].
SPACING_M = {"S1": 0.1, "S2": 1.0}
RECEIVER_HEIGHT_M = 1.0
#: Share of the reflected amplitude that surfaces scatter. Fitted to measured facades it is 0.2 to 0.4 (Degli-Esposti,
#: Fuschini, Vitucci, Falciasecca, IEEE Trans. Antennas Propag. 55, 2007).
SCATTERING = {"S1": 0.0, "S2": 0.3}
NUM_PATHS = 5

ROOM_M = (10.0, 10.0, 5.0)
ACCESS_POINT_HEIGHT_M = 2.5
ROOM_FREQUENCY_HZ = 2.4e9

#: The city of S2, unless asked otherwise.
CITY = "munich"
WINDOW_M = 512
WINDOW_STRIDE_M = 64
WINDOW_BUILT = (0.2, 0.6)
BASE_STATION_HEIGHT_M = 30.0
MAX_ROOF_M = 25.0
NUM_DRAWN = 16
CITY_FREQUENCY_HZ = 3.5e9


class Scenario(NamedTuple):
    """What `raymap.propagation.ray_tracing.paths` takes, in its order; positions [m] on the map of the scene."""

    scene: meshes.MeshScene
    transmitter: Transmitter
    receivers_m: np.ndarray  #: (R, 3) float64
    num_paths: int


def scenario(name: str, seed: int = 0, spacing_m: float | None = None, place: str | None = None) -> Scenario:
    """The scenario S1 or S2 with what the seed draws.

    ``spacing_m``: of the receivers' grid [m], which starts half a spacing from the corner of room or window. ``place``:
    the city of S2, one of :data:`raymap.propagation.city.CITIES`. Raises ValueError for an unknown name or city, a
    city for S1, or a spacing that is not positive or larger than the room or window, ImportError for S2 without
    sionna-rt.
    """
    if name not in NAMES:
        raise ValueError(f"unknown scenario {name!r}; there are {', '.join(NAMES)}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if name == "S1" and place is not None:
        raise ValueError(f"S1 is a room, it is in no city; got {place!r}")
    return _indoor(seed, spacing_m) if name == "S1" else _outdoor(seed, spacing_m, place or CITY)


def window(seed: int = 0, place: str = CITY) -> Scene:
    """The raster of the window of S2 for a seed: 512 x 512 cells of 1 m, its origin in the frame of the city."""
    windows = city.tiles(place, 1.0, WINDOW_M, WINDOW_STRIDE_M, WINDOW_BUILT)
    chosen = windows[np.random.default_rng([seed, 0]).integers(len(windows))]
    return Scene(chosen.name, chosen.grid, chosen.building_m, frequency_hz=CITY_FREQUENCY_HZ)


def _indoor(seed: int, spacing_m: float | None) -> Scenario:
    place = np.random.default_rng([seed, 1]).uniform(0.25, 0.75, 2) * ROOM_M[:2]
    receivers_m = _lattice(ROOM_M[:2], SPACING_M["S1"] if spacing_m is None else spacing_m)
    room = meshes.room(ROOM_M, ROOM_FREQUENCY_HZ)
    return Scenario(room, Transmitter((*place, ACCESS_POINT_HEIGHT_M)), receivers_m, NUM_PATHS)


def _outdoor(seed: int, spacing_m: float | None, place: str) -> Scenario:
    raster = window(seed, place)
    receivers_m = _lattice((WINDOW_M, WINDOW_M), SPACING_M["S2"] if spacing_m is None else spacing_m)
    row, column = receivers_m[:, 1].astype(int), receivers_m[:, 0].astype(int)
    transmitter = _base_station(raster, np.random.default_rng([seed, 1]))
    scene = meshes.city(place, raster.grid, CITY_FREQUENCY_HZ)
    return Scenario(scene, transmitter, receivers_m[raster.outdoor[row, column]], NUM_PATHS)


def _base_station(raster: Scene, rng: np.random.Generator) -> Transmitter:
    grid: Grid = raster.grid
    low, high = grid.shape[0] // 4, 3 * grid.shape[0] // 4
    places = np.argwhere(raster.building_m[low:high, low:high] <= MAX_ROOF_M) + low
    drawn = places[rng.integers(len(places), size=NUM_DRAWN)]
    row, column = drawn[np.argmax([_seen(raster, place) for place in drawn])]
    return Transmitter(((column + 0.5) * grid.cell_m, (row + 0.5) * grid.cell_m, BASE_STATION_HEIGHT_M))


def _seen(raster: Scene, place: np.ndarray) -> int:
    """Of the outdoor cells on a lattice of 16, how many are in sight of a base station over a cell (row, column)."""
    cells = np.argwhere(raster.outdoor[8::16, 8::16]) * 16 + 8
    share = np.linspace(0.0, 1.0, 256)[1:-1, None]
    rows, columns = (np.rint(place[axis] + share * (cells[:, axis] - place[axis])).astype(int) for axis in (0, 1))
    height_m = BASE_STATION_HEIGHT_M + share * (RECEIVER_HEIGHT_M - BASE_STATION_HEIGHT_M)
    return int((raster.building_m[rows, columns] < height_m).all(0).sum())


def _lattice(size_m: tuple[float, float], spacing_m: float) -> np.ndarray:
    """(R, 3) places on a grid over the floor (x, y) [m], row by row."""
    if not 0 < spacing_m <= min(size_m):
        raise ValueError(f"spacing_m must be above 0 and at most {min(size_m):g} m, got {spacing_m}")
    x, y = ((np.arange(int(length_m / spacing_m + 1e-9)) + 0.5) * spacing_m for length_m in size_m)
    columns, rows = np.meshgrid(x, y)
    return np.column_stack([columns.ravel(), rows.ravel(), np.full(columns.size, RECEIVER_HEIGHT_M)])
