"""Place: a scene and where on Earth it lies.

The georeference is the grid's own origin and a name for the plane it is measured in: the world of ``Grid.origin_m`` has
x to the east and y to the **south**, so the grid's top left corner lies at easting ``origin_m[0]`` and northing
``-origin_m[1]`` of the coordinate reference system (CRS). Crops and coarser grids keep their place that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from raymap.scene import Grid, Scene, Transmitter


@dataclass(frozen=True, eq=False)
class Place:
    """A scene on the globe. ``crs``: a projected CRS in metres, in any form that PROJ reads ("EPSG:32632").

    Row 0 lies in the north, x grows eastwards, y grows southwards. Raises ValueError for an unknown CRS and for one
    whose axes are not easting and northing in metres; ImportError without the extra ``geo``.
    """

    scene: Scene
    crs: str

    def __post_init__(self) -> None:
        _from_lonlat(self.crs)

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """(a, b, c, d, e, f): easting = a·column + b·row + c, northing = d·column + e·row + f [m], of cell corners."""
        grid = self.scene.grid
        return grid.cell_m, 0.0, grid.origin_m[0], 0.0, -grid.cell_m, -grid.origin_m[1]

    def xy_m(self, lonlat: np.ndarray | Sequence[float]) -> np.ndarray:
        """(..., 2) positions x, y [m] from the grid's top left corner, of (..., 2) longitude and latitude [deg]."""
        lonlat = np.asarray(lonlat, np.float64)
        east, north = _from_lonlat(self.crs).transform(lonlat[..., 0], lonlat[..., 1])
        x0, y0 = self.scene.grid.origin_m
        return np.stack([np.asarray(east) - x0, -np.asarray(north) - y0], -1)

    def lonlat(self, xy_m: np.ndarray | Sequence[float]) -> np.ndarray:
        """(..., 2) longitude and latitude [deg], WGS 84, of (..., 2) positions x, y [m] from the top left corner."""
        xy_m = np.asarray(xy_m, np.float64) + self.scene.grid.origin_m
        lon, lat = _from_lonlat(self.crs).transform(xy_m[..., 0], -xy_m[..., 1], direction="INVERSE")
        return np.stack([np.asarray(lon), np.asarray(lat)], -1)

    def crop(self, row: int, column: int, shape: tuple[int, int], name: str) -> Place:
        """The part of ``shape`` cells from (row, column) on. Raises ValueError if it reaches over the edge."""
        grid = self.scene.grid
        if min(row, column) < 0 or row + shape[0] > grid.shape[0] or column + shape[1] > grid.shape[1]:
            raise ValueError(f"a crop of {shape} at ({row}, {column}) reaches over the edge of {grid.shape}")
        origin_m = (grid.origin_m[0] + column * grid.cell_m, grid.origin_m[1] + row * grid.cell_m)
        part = np.s_[row : row + shape[0], column : column + shape[1]]
        scene = replace(
            self.scene, name=name, grid=Grid(shape, grid.cell_m, origin_m),
            building_m=self.scene.building_m[part].copy(), vehicle_m=self.scene.vehicle_m[part].copy(),
        )  # fmt: skip
        return Place(scene, self.crs)


def local_crs(lonlat: Sequence[float]) -> str:
    """A CRS of easting and northing [m] from a point: transverse Mercator on WGS 84, scale 1 along its meridian.

    True to scale to 1 + (easting / R)²/2: 1.2e-6 at 10 km, anywhere on Earth, with no zones to fall between, grid
    north equal to true north at the point. UTM has 0.9996 to 1.001 and turns north by up to 3°. Raises ValueError for
    a point that is not on the globe.
    """
    lon, lat = (float(value) for value in lonlat)
    if not (abs(lon) <= 360 and abs(lat) <= 90):
        raise ValueError(f"a place is (longitude, latitude) in degrees, within ±180 and ±90, got {(lon, lat)}")
    lon = (lon + 180.0) % 360.0 - 180.0
    centre = f"+lat_0={lat:.9f} +lon_0={lon:.9f}"  # 0.1 mm
    return f"+proj=tmerc {centre} +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs +type=crs"


def transmitter_at(place: Place, lonlat: Sequence[float], height_m: float, power_dbm: float = 23.0) -> Transmitter:
    """The transmitter at a longitude and latitude [deg], ``height_m`` above ground.

    Raises ValueError if that is outside the map, inside a building, or not at a positive height.
    """
    lon, lat = (float(value) for value in lonlat)
    if not (np.isfinite((lon, lat)).all() and abs(lat) <= 90):
        raise ValueError(f"a transmitter stands at (longitude, latitude) in degrees, got {(lon, lat)}")
    x_m, y_m = place.xy_m((lon, lat)).tolist()
    try:
        transmitter = Transmitter((x_m, y_m, height_m), power_dbm)
        place.scene.require_outdoor(transmitter)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"longitude {lon:g}, latitude {lat:g}: {error}") from error
    return transmitter


def tiles(
    place: Place, shape: tuple[int, int], stride_m: float, built: tuple[float, float] = (0.08, 0.70)
) -> list[Place]:
    """Crops of ``shape`` cells every ``stride_m`` from the north-west corner, built fraction within ``built``.

    Those that would reach over the edge are left out. Names count strides: ``town/r03c05``. Raises ValueError if the
    place is smaller than one tile or the stride is no multiple of the cell.
    """
    grid = place.scene.grid
    stride = round(stride_m / grid.cell_m)
    if stride < 1 or abs(stride * grid.cell_m - stride_m) > 1e-6 * stride_m:
        raise ValueError(f"stride_m={stride_m:g} m must be a positive multiple of cell_m={grid.cell_m:g} m")
    if min(shape) < 1 or shape[0] > grid.shape[0] or shape[1] > grid.shape[1]:
        raise ValueError(
            f"{place.scene.name} is {grid.shape} cells of {grid.cell_m:g} m: no room for a tile of {shape}"
        )
    found = []
    for i, row in enumerate(range(0, grid.shape[0] - shape[0] + 1, stride)):
        for j, column in enumerate(range(0, grid.shape[1] - shape[1] + 1, stride)):
            share = (place.scene.building_m[row : row + shape[0], column : column + shape[1]] > 0).mean()
            if built[0] <= share <= built[1]:
                found.append(place.crop(row, column, shape, f"{place.scene.name}/r{i:02d}c{j:02d}"))
    return found


@lru_cache(maxsize=64)
def _from_lonlat(crs: str):
    """The pyproj Transformer from longitude and latitude to easting and northing."""
    try:
        import pyproj
    except ImportError as error:
        raise ImportError("a place on the globe needs pyproj: pip install 'raymap[geo]'") from error
    try:
        parsed = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise ValueError(f"crs {crs!r} is not known to PROJ: {error}") from error
    axes = {(axis.direction, axis.unit_name) for axis in parsed.axis_info}
    if not parsed.is_projected or axes != {("east", "metre"), ("north", "metre")}:
        raise ValueError(f"crs {crs!r} must be projected, easting and northing in metres; its axes are {sorted(axes)}")
    return pyproj.Transformer.from_crs("OGC:CRS84", parsed, always_xy=True)
