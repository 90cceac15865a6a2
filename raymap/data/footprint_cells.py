"""From the outlines of buildings to the cells that they cover.

Outlines that cross themselves are repaired with shapely if that hardly changes their area, and refused otherwise,
because no rule tells which side of a crossing is the house. They are painted with the rules of
``rasterio.features.rasterize``, ``all_touched=False``: a cell is built if its **centre** lies in a footprint, with the
height of the highest one. Holes stay open.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from raymap.data.geojson import Building, Rings
from raymap.scene import Grid

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon, Polygon

#: Largest change of a part's area when a crossing outline is repaired.
MAX_REPAIR = 0.02
#: Least area of a footprint [m²]; less is a line.
MIN_AREA_M2 = 0.1


def valid_outline(parts: list[Rings]) -> MultiPolygon:
    """One valid outline [m] of a building. Raises ValueError for parts without area or that cannot be repaired."""
    try:
        import shapely
    except ImportError as error:
        raise ImportError("building footprints need shapely: pip install 'raymap[geo]'") from error
    polygons = [_valid(shapely.Polygon(rings[0], rings[1:])) for rings in parts]
    return shapely.union_all(polygons) if len(polygons) > 1 else polygons[0]


def _valid(part: Polygon) -> Polygon | MultiPolygon:
    import shapely

    if not part.area >= MIN_AREA_M2:
        crossing = "" if part.is_valid else f" ({_flaw(part)})"
        raise ValueError(f"its area is {part.area:.2g} m², {MIN_AREA_M2:g} m² is the least{crossing}")
    if part.is_valid:
        return part
    repaired = shapely.make_valid(part)
    polygons = [piece for piece in shapely.get_parts(repaired) if piece.geom_type == "Polygon"]
    polygons += [p for piece in shapely.get_parts(repaired) if piece.geom_type == "MultiPolygon" for p in piece.geoms]
    valid = shapely.union_all(polygons)
    if abs(valid.area - part.area) > MAX_REPAIR * part.area:
        raise ValueError(
            f"its outline cannot be repaired: {_flaw(part)}; the area would change from {part.area:.4g} to "
            f"{valid.area:.4g} m²"
        )
    return valid


def _flaw(part: Polygon) -> str:
    import shapely

    return shapely.is_valid_reason(part).split("[")[0]  # the rest are coordinates that are in no file


def paint(
    outlines: list[tuple[Building, MultiPolygon]], grid: Grid, default_height_m: float
) -> tuple[np.ndarray, list[Building], list[str]]:
    """(H, W) heights [m], the buildings on the map (those under higher ones too), and what is smaller than a cell."""
    try:
        from rasterio.features import rasterize
        from rasterio.transform import Affine
    except ImportError as error:
        raise ImportError("building footprints need rasterio: pip install 'raymap[geo]'") from error

    west, top = grid.origin_m
    transform = Affine(grid.cell_m, 0.0, west, 0.0, -grid.cell_m, -top)
    edge_m = (west, -top - grid.size_m[0], west + grid.size_m[1], -top)
    heights_m = [default_height_m if building.height_m is None else building.height_m for building, _ in outlines]
    order = np.argsort(heights_m, kind="stable").tolist()  # the highest comes last and stays
    number = np.zeros(grid.shape, np.int32)
    if order:
        shapes = [(outlines[index][1], rank) for rank, index in enumerate(order, 1)]
        rasterize(shapes, out=number, transform=transform)
    seen = np.zeros(len(order) + 1, bool)
    seen[number] = True
    painted, too_small = [], []
    for rank, index in enumerate(order, 1):
        building, outline = outlines[index]
        if seen[rank] or _covers_a_centre(outline, edge_m, grid, rasterize, transform):
            painted.append(building)
        elif _within(outline.bounds, edge_m):
            too_small.append(building.what)
    table_m = np.array([0.0, *(heights_m[index] for index in order)], np.float32)
    return table_m[number], painted, too_small


def _within(bounds, edge_m) -> bool:
    return bounds[0] >= edge_m[0] and bounds[1] >= edge_m[1] and bounds[2] <= edge_m[2] and bounds[3] <= edge_m[3]


def _covers_a_centre(outline: MultiPolygon, edge_m, grid: Grid, rasterize, transform) -> bool:
    """Whether an outline that is nowhere the highest would have been painted alone."""
    west, north = edge_m[0], edge_m[3]
    bounds = outline.bounds
    first = max(0, math.floor((bounds[0] - west) / grid.cell_m))
    last = min(grid.shape[1], math.ceil((bounds[2] - west) / grid.cell_m))
    top = max(0, math.floor((north - bounds[3]) / grid.cell_m))
    bottom = min(grid.shape[0], math.ceil((north - bounds[1]) / grid.cell_m))
    if first >= last or top >= bottom:
        return False
    window = type(transform)(grid.cell_m, 0.0, west + first * grid.cell_m, 0.0, -grid.cell_m, north - top * grid.cell_m)
    return bool(rasterize([(outline, 1)], (bottom - top, last - first), transform=window, dtype=np.uint8).any())
