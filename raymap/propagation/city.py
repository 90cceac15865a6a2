"""Real city tiles: building heights rasterised from the meshes that the ``sionna-rt`` wheel ships.

Only the wheel's files are read (scene XML and PLY meshes); neither sionna, mitsuba nor LLVM is imported.

The rules, for one cell of the raster:

* its height is that of the highest non-vertical triangle over the **cell centre**, minus the ground under it;
* heights below ``MIN_BUILDING_M`` count as ground (steps, kerbs, podiums that a wall of air would not notice);
* outdoor gaps closed on all sides and smaller than ``MIN_YARD_M2`` are cracks between neighbouring meshes or light
  shafts, and get the height of the nearest building;
* what stands on pillars (canopies, the vault of the Arc de Triomphe) is solid down to the ground, as everywhere in a
  height raster;
* where the ground mesh does not reach there is no city: height 0.

Row 0 is north. The world of ``Grid.origin_m`` therefore has x to the east and **y to the south**: a mesh vertex
(x, y, z) lies at world (x, -y), so that origin plus the offset inside the grid is a position in every tile.
"""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ElementTree
from functools import lru_cache
from pathlib import Path

import numba
import numpy as np
from scipy.ndimage import distance_transform_edt, label

from raymap.scene import Grid, Scene

CITIES = ("munich", "florence", "etoile", "san_francisco")

ATTRIBUTION = (
    "City geometry: OpenStreetMap data, © OpenStreetMap contributors, Open Database License (ODbL) 1.0, "
    "https://www.openstreetmap.org/copyright; meshes shipped by sionna-rt (Apache-2.0)."
)

#: Lowest height above ground that counts as a building [m].
MIN_BUILDING_M = 2.0

#: Smallest closed outdoor area that counts as a yard [m²].
MIN_YARD_M2 = 5.0

#: Object names of the ground surface in the scene files, without the exporter's "mesh-" prefix, in lower case.
GROUND_NAMES = frozenset({"ground", "plane", "terrain"})


def heights(name: str, cell_m: float = 1.0) -> tuple[Grid, np.ndarray]:
    """Building heights of a whole city.

    Returns the grid and the (H, W) float32 height above ground [m], 0 outdoors. The array is shared between calls and
    therefore read-only. Raises ValueError for an unknown city or a cell size that is not positive, ImportError if
    sionna-rt is not installed.
    """
    if name not in CITIES:
        raise ValueError(f"unknown city {name!r}; the cities are {', '.join(CITIES)}")
    if not (np.isfinite(cell_m) and cell_m > 0):
        raise ValueError(f"cell_m must be a positive length in metres, got {cell_m}")
    return _heights(name, float(cell_m))


def tiles(
    name: str,
    cell_m: float = 1.0,
    size_m: float | tuple[float, float] = 256.0,
    stride_m: float = 128.0,
    built: tuple[float, float] = (0.08, 0.70),
) -> list[Scene]:
    """Crops of a city whose built fraction lies within ``built`` (both ends included).

    The crops are squares of side ``size_m``, or of (height, width), and start every ``stride_m`` from the north-west
    corner; those that would reach over the edge are left out. With a stride below the size neighbours overlap, so split
    by city or by distance, never by tile. Names count strides: ``munich/r03c05``. Raises ValueError if size or stride
    is no multiple of the cell, and whatever :func:`heights` raises.
    """
    grid, city_m = heights(name, cell_m)
    height_m, width_m = size_m if isinstance(size_m, tuple) else (size_m, size_m)
    rows, columns = (_cells("size_m", length_m, cell_m) for length_m in (height_m, width_m))
    stride = _cells("stride_m", stride_m, cell_m)
    scenes = []
    for i, row in enumerate(range(0, grid.shape[0] - rows + 1, stride)):
        for j, column in enumerate(range(0, grid.shape[1] - columns + 1, stride)):
            crop_m = city_m[row : row + rows, column : column + columns]
            if built[0] <= (crop_m > 0).mean() <= built[1]:
                origin_m = (grid.origin_m[0] + column * grid.cell_m, grid.origin_m[1] + row * grid.cell_m)
                tile = Grid((rows, columns), grid.cell_m, origin_m)
                scenes.append(Scene(f"{name}/r{i:02d}c{j:02d}", tile, crop_m.copy()))
    return scenes


def triangles(path: str | Path) -> np.ndarray:
    """(T, 3, 3) float64: corners (x, y, z) [m] of every triangle in a PLY file; polygons are cut into triangles."""
    try:
        import trimesh
    except ImportError as error:
        raise ImportError("reading city meshes needs trimesh: pip install raymap[sionna]") from error
    # process=False: merging and reordering vertices would cost time and change nothing in a height raster.
    mesh = trimesh.load(path, file_type="ply", force="mesh", process=False)
    return np.asarray(mesh.vertices, np.float64)[np.asarray(mesh.faces)]


def rasterise(corners_m: np.ndarray, grid: Grid) -> np.ndarray:
    """(H, W) float32: z [m] of the highest triangle over every cell centre, -inf where there is none.

    ``corners_m``: (T, 3, 3) mesh triangles, y to the north. Vertical triangles cover no area and are skipped.
    """
    cells = np.asarray(corners_m, np.float64).copy()
    cells[..., 0] = (cells[..., 0] - grid.origin_m[0]) / grid.cell_m
    cells[..., 1] = (-cells[..., 1] - grid.origin_m[1]) / grid.cell_m
    top_m = np.full(grid.shape, -np.inf)
    _rasterise(cells, top_m)
    return top_m.astype(np.float32)


def above_ground(top_m: np.ndarray, ground_m: np.ndarray) -> np.ndarray:
    """(H, W) float32 building height [m] from the surfaces of buildings and ground (-inf where there is none)."""
    there = np.isfinite(top_m) & np.isfinite(ground_m)
    height_m = np.where(there, top_m, 0.0) - np.where(there, ground_m, 0.0)
    return np.where(height_m >= MIN_BUILDING_M, height_m, 0.0).astype(np.float32)


def close_cracks(height_m: np.ndarray, cell_m: float) -> np.ndarray:
    """(H, W) height [m] with closed outdoor gaps below ``MIN_YARD_M2`` raised to the nearest building."""
    parts, _ = label(height_m <= 0)
    cracks = (np.bincount(parts.ravel()) * cell_m**2 < MIN_YARD_M2)[parts] & (parts > 0)
    if not cracks.any():
        return height_m
    rows, columns = distance_transform_edt(height_m <= 0, return_distances=False, return_indices=True)
    return np.where(cracks, height_m[rows, columns], height_m)


@lru_cache(maxsize=8)
def _heights(name: str, cell_m: float) -> tuple[Grid, np.ndarray]:
    ground, buildings = _meshes(name)
    (west, south), (east, north) = ground[..., :2].min((0, 1)), ground[..., :2].max((0, 1))
    shape = (int((north - south) / cell_m), int((east - west) / cell_m))
    if min(shape) < 1:
        raise ValueError(f"cell_m={cell_m:g} m is larger than {name} ({east - west:.0f} m by {north - south:.0f} m)")
    grid = Grid(shape, cell_m, (float(west), float(-north)))
    height_m = close_cracks(above_ground(rasterise(buildings, grid), rasterise(ground, grid)), cell_m)
    height_m.setflags(write=False)
    return grid, height_m


def _meshes(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (T, 3, 3) [m] of a city's ground and of everything that stands on it."""
    folder = scenes_folder() / name
    parts: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for shape in ElementTree.parse(folder / f"{name}.xml").getroot().iter("shape"):
        filename = shape.find("string[@name='filename']").get("value")
        is_ground = shape.get("id").removeprefix("mesh-").lower() in GROUND_NAMES
        parts[is_ground].append(triangles(folder / filename))
    return np.concatenate(parts[True]), np.concatenate(parts[False])


def scenes_folder() -> Path:
    """Where the installed sionna-rt keeps its scenes. Raises ImportError, naming the extra, without it."""
    # find_spec of the top package runs no code of it; "sionna.rt" would import sionna first.
    spec = importlib.util.find_spec("sionna")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / "rt" / "scenes"
        if folder.is_dir():
            return folder
    raise ImportError("city tiles are read from the sionna-rt package: pip install raymap[sionna]")


def _cells(what: str, length_m: float, cell_m: float) -> int:
    count = round(length_m / cell_m)
    if count < 1 or abs(count * cell_m - length_m) > 1e-6 * length_m:
        raise ValueError(f"{what}={length_m:g} m must be a positive multiple of cell_m={cell_m:g} m")
    return count


@numba.njit(cache=True)
def _rasterise(cells: np.ndarray, top_m: np.ndarray) -> None:
    """Z-buffer: raise ``top_m`` (H, W) to each triangle; ``cells`` (T, 3, 3) in columns, rows and metres."""
    num_rows, num_columns = top_m.shape
    for t in range(cells.shape[0]):
        xa, ya, za = cells[t, 0]
        xb, yb, zb = cells[t, 1]
        xc, yc, zc = cells[t, 2]
        area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
        if abs(area) < 1e-9:
            continue
        first_row = max(0, int(np.ceil(min(ya, yb, yc) - 0.5)))
        last_row = min(num_rows - 1, int(np.floor(max(ya, yb, yc) - 0.5)))
        first_column = max(0, int(np.ceil(min(xa, xb, xc) - 0.5)))
        last_column = min(num_columns - 1, int(np.floor(max(xa, xb, xc) - 0.5)))
        for row in range(first_row, last_row + 1):
            y = row + 0.5
            for column in range(first_column, last_column + 1):
                x = column + 0.5
                b = ((x - xa) * (yc - ya) - (xc - xa) * (y - ya)) / area
                c = ((xb - xa) * (y - ya) - (x - xa) * (yb - ya)) / area
                # The slack closes the seam between triangles that share an edge through a cell centre.
                if b >= -1e-9 and c >= -1e-9 and b + c <= 1 + 1e-9:
                    z = za + b * (zb - za) + c * (zc - za)
                    if z > top_m[row, column]:
                        top_m[row, column] = z
