"""Building footprints (GeoJSON) to a scene on the globe.

A town is projected to metres around its own centre (:func:`raymap.data.place.local_crs`: distances true to 1e-6 over
10 km), and its outlines are made valid and painted by :mod:`raymap.data.footprint_cells`. North is up.

What cannot be used is in ``Town.failures``, each with its reason; nothing is left out in silence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raymap.data import footprint_cells, geojson
from raymap.data.geojson import Building
from raymap.data.place import Place, local_crs
from raymap.data.schema import Failure
from raymap.scene import Grid, Scene

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon

#: Longest side of a map [m]: on a flat map of this size the ground has fallen away by 8 m at the edges.
MAX_SIZE_M = 20_000.0
#: Most cells of one map; the rasters alone then take 1.2 GB.
MAX_CELLS = 100_000_000
#: Free ground around the outermost buildings where the map's shape is not asked for [m].
MARGIN_M = 20.0

_EARTH_RADIUS_M = 6_371_000.0


@dataclass(frozen=True, eq=False)
class Town(Place):
    """A place read from footprints, and what became of the features.

    ``num_features`` = ``num_buildings`` painted + ``num_outside`` the map + ``num_other`` that are no buildings
    + ``failures``. ``num_default_heights`` of the painted ones had no height in the file.
    """

    num_features: int = 0
    num_buildings: int = 0
    num_default_heights: int = 0
    num_outside: int = 0
    num_other: int = 0
    failures: tuple[Failure, ...] = ()


def read(
    source: str | Path | Mapping[str, Any],
    *,
    cell_m: float = 1.0,
    shape: tuple[int, int] | None = None,
    centre_lonlat: Sequence[float] | None = None,
    default_height_m: float = 10.0,
    level_m: float = 3.0,
    frequency_hz: float = 5.9e9,
    name: str | None = None,
    max_cells: int = MAX_CELLS,
) -> Town:
    """The town in a GeoJSON file (or parsed document) of footprints; :mod:`raymap.data.geojson` has what it may hold.

    The map covers all buildings and ``MARGIN_M`` around them; with ``shape`` (rows, columns) it has that many cells of
    ``cell_m`` [m], around ``centre_lonlat`` [deg] or else the middle of the buildings. Buildings without a height
    get ``default_height_m``, a storey is ``level_m``. ``name``: of the scene; default: the file's name.

    Raises FileNotFoundError, ValueError for a file that is no GeoJSON of this kind, without any usable building (on
    the map), or for a map longer than ``MAX_SIZE_M`` or of more than ``max_cells``, and ImportError without the extra
    ``geo``.
    """
    for what, value in (("cell_m", cell_m), ("default_height_m", default_height_m), ("level_m", level_m)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{what} must be a positive length in metres, got {value}")
    if centre_lonlat is not None and shape is None:
        raise ValueError("centre_lonlat needs the shape (rows, columns) of the map around it")
    window = None if shape is None else Grid(shape, cell_m)
    _require_size(window, max_cells)
    name = name or ("footprints" if isinstance(source, Mapping) else Path(str(source)).stem)

    found = geojson.read(source, level_m)
    buildings, failures = found.buildings, list(found.failures)
    _require_some(buildings, name, failures)
    near, crs = _near(buildings, window, centre_lonlat)
    outlines: list[tuple[Building, MultiPolygon]] = []
    for building, parts in zip(near, _projected(near, crs), strict=True):
        try:
            outlines.append((building, footprint_cells.valid_outline(parts)))
        except ValueError as error:
            failures.append(Failure(building.what, str(error)))
    _require_some(outlines, name, failures)
    grid = _grid([outline for _, outline in outlines], cell_m, window, centre_lonlat)
    _require_size(grid, max_cells)
    building_m, painted, too_small = footprint_cells.paint(outlines, grid, default_height_m)
    failures += [Failure(what, f"it covers no centre of a cell of {cell_m:g} m") for what in too_small]
    num_outside = len(buildings) + len(found.failures) - len(failures) - len(painted)
    _require_some(painted, f"{name}: {num_outside} buildings lie outside the map of {grid.shape} cells", failures)
    return Town(
        Scene(name, grid, building_m, frequency_hz=frequency_hz),
        crs,
        num_features=len(buildings) + len(found.failures) + found.num_other,
        num_buildings=len(painted),
        num_default_heights=sum(building.height_m is None for building in painted),
        num_outside=num_outside,
        num_other=found.num_other,
        failures=tuple(failures),
    )


def _require_some(left: Sequence[Any], where: str, failures: Sequence[Failure]) -> None:
    if not left:
        reasons = "; ".join(f"{failure.what}: {failure.reason}" for failure in failures[:3])
        raise ValueError(f"{where}: no building can be used; {reasons or 'none of its features is one'}")


def _require_size(grid: Grid | None, max_cells: int) -> None:
    if grid is None:
        return
    height_m, width_m = grid.size_m
    if max(height_m, width_m) > MAX_SIZE_M:
        raise ValueError(
            f"a map of {width_m / 1000:.4g} km by {height_m / 1000:.4g} km is too large, {MAX_SIZE_M / 1000:g} km is "
            f"the limit; choose a part by shape and centre_lonlat"
        )
    if grid.shape[0] * grid.shape[1] > max_cells:
        raise ValueError(
            f"{grid.shape} are more than {max_cells:,} cells, the limit; take a cell_m above {grid.cell_m}"
        )


def _near(
    buildings: list[Building], window: Grid | None, centre_lonlat: Sequence[float] | None
) -> tuple[list[Building], str]:
    """The buildings that can be on the map, and the CRS around its centre.

    On the sphere: a projection says nothing sensible about the far side of the Earth. Raises ValueError if the centre
    is to be that of the buildings and they do not lie together.
    """
    centres = np.array([building.centre_lonlat for building in buildings])
    towards = _unit_vectors(centres)
    if centre_lonlat is not None:
        crs, centre = local_crs(centre_lonlat), np.asarray(centre_lonlat, np.float64)
        reach_m = math.hypot(*window.size_m) / 2 + geojson.MAX_BUILDING_M
        distance_m = _distance_m(towards, _unit_vectors(centre))
        if distance_m.min() > reach_m:
            swapped = _distance_m(towards, _unit_vectors(centre[::-1])).min() <= reach_m
            raise ValueError(
                f"the building nearest to centre_lonlat={tuple(centre.tolist())} is {distance_m.min() / 1000:,.0f} km "
                f"away" + ("; longitude and latitude of the one or the other look swapped" if swapped else "")
            )
        return [building for building, far_m in zip(buildings, distance_m, strict=True) if far_m <= reach_m], crs
    # The median, so that a stray building is the one that is named.
    middle = np.median(towards, axis=0)
    distance_m = _distance_m(towards, middle)
    if distance_m.max() > MAX_SIZE_M:
        furthest = buildings[int(distance_m.argmax())].what
        raise ValueError(
            f"the buildings lie too far apart: {furthest} is {distance_m.max() / 1000:,.0f} km from the middle of the "
            f"others, a map is {MAX_SIZE_M / 1000:g} km at most; choose a part by shape and centre_lonlat"
        )
    lon, lat = np.degrees([np.arctan2(middle[1], middle[0]), np.arctan2(middle[2], np.hypot(*middle[:2]))])
    return buildings, local_crs((round(float(lon), 5), round(float(lat), 5)))


def _distance_m(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Along the sphere, of unit vectors; good to 0.5 %."""
    return _EARTH_RADIUS_M * 2 * np.arcsin(np.minimum(np.linalg.norm(first - second, axis=-1) / 2, 1.0))


def _unit_vectors(lonlat: np.ndarray) -> np.ndarray:
    lon, lat = np.moveaxis(np.radians(lonlat), -1, 0)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)


def _projected(buildings: list[Building], crs: str) -> list[list[geojson.Rings]]:
    """The parts of every building in easting and northing [m]; all corners go through PROJ at once."""
    # A place of one cell at the origin: its x and -y are easting and northing.
    origin = Place(Scene("origin", Grid((1, 1), 1.0), np.zeros((1, 1))), crs)
    rings = [ring for building in buildings for rings in building.parts for ring in rings]
    if not rings:
        return []
    corners = origin.xy_m(np.concatenate(rings)) * (1, -1)
    cut = iter(np.split(corners, np.cumsum([len(ring) for ring in rings])[:-1]))
    return [[[next(cut) for _ in rings] for rings in building.parts] for building in buildings]


def _grid(
    outlines: list[MultiPolygon], cell_m: float, window: Grid | None, centre_lonlat: Sequence[float] | None
) -> Grid:
    """The grid of the map; its origin in easting and minus northing [m]."""
    if centre_lonlat is not None:
        return Grid(window.shape, cell_m, (-window.size_m[1] / 2, -window.size_m[0] / 2))
    west, south, east, north = _bounds(outlines)
    if window is not None:
        return Grid(
            window.shape, cell_m, ((west + east - window.size_m[1]) / 2, (-north - south - window.size_m[0]) / 2)
        )
    first, top = (math.floor((value - MARGIN_M) / cell_m) for value in (west, -north))
    last, bottom = (math.ceil((value + MARGIN_M) / cell_m) for value in (east, -south))
    return Grid((bottom - top, last - first), cell_m, (first * cell_m, top * cell_m))


def _bounds(outlines: list[MultiPolygon]) -> tuple[float, float, float, float]:
    bounds = np.array([outline.bounds for outline in outlines])
    return (*bounds[:, :2].min(0).tolist(), *bounds[:, 2:].max(0).tolist())
