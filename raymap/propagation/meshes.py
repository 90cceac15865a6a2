"""What a ray tracer sees: triangles and their materials, from a raster scene, a city of sionna-rt, or a room.

Numpy only; `ray_tracing` hands the result to Sionna. Positions are those of the map: x with the columns, y with the
rows (downwards), z up from the ground [m], from the grid's top left corner.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import find_objects, label

from raymap.propagation import city as cities
from raymap.propagation import outlines
from raymap.scene import Grid, Scene, Vehicle

#: Heights in one footprint that differ by no more become one roof [m].
STOREY_M = 3.0


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles of one material.

    ``vertices_m``: (V, 3) float64 (x, y, z) [m]; ``faces``: (F, 3) int64, counter-clockwise seen from outside on a map
    with y downwards. Two faces form a wedge, at which paths are diffracted, where they share both vertices of an edge.
    ``material``: name in ITU-R P.2040, such as "concrete"; ``thickness_m``: of the wall [m]. Raises ValueError for
    wrong shapes, positions that are not finite, and faces of vertices that do not exist.
    """

    name: str
    vertices_m: np.ndarray
    faces: np.ndarray
    material: str = "concrete"
    thickness_m: float = 1.0

    def __post_init__(self) -> None:
        vertices_m, faces = np.asarray(self.vertices_m, np.float64), np.asarray(self.faces, np.int64)
        if vertices_m.ndim != 2 or vertices_m.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
            raise ValueError(f"Mesh {self.name!r} needs (V, 3) and (F, 3), got {vertices_m.shape} and {faces.shape}")
        if not np.isfinite(vertices_m).all():
            raise ValueError(f"Mesh {self.name!r} has vertices that are not finite")
        if not len(faces) or faces.min() < 0 or faces.max() >= len(vertices_m):
            raise ValueError(f"Mesh {self.name!r} needs faces of vertices 0 to {len(vertices_m) - 1}")
        if not self.thickness_m > 0:
            raise ValueError(f"Mesh {self.name!r}: thickness_m must be positive, got {self.thickness_m}")
        object.__setattr__(self, "vertices_m", vertices_m)
        object.__setattr__(self, "faces", faces)


@dataclass(frozen=True, eq=False)
class MeshScene:
    """Meshes of different names, and the frequency [Hz] at which they are looked at."""

    name: str
    meshes: tuple[Mesh, ...]
    frequency_hz: float

    def __post_init__(self) -> None:
        names = [mesh.name for mesh in self.meshes]
        if len(set(names)) != len(names):
            raise ValueError(f"MeshScene {self.name!r}: mesh names must differ, got {names}")
        if not (np.isfinite(self.frequency_hz) and self.frequency_hz > 0):
            raise ValueError(f"MeshScene {self.name!r}: frequency_hz must be positive, got {self.frequency_hz}")


@dataclass(frozen=True)
class Materials:
    """ITU-R P.2040 materials of a raster scene.

    Buildings and ground are solid: a slab of ``thickness_m`` = 1 m damps what enters it so far that the reflection is
    that of a half-space (Fresnel).
    """

    building: str = "concrete"
    ground: str = "concrete"
    vehicle: str = "metal"
    thickness_m: float = 1.0


def extrude(scene: Scene, vehicles: Sequence[Vehicle] | None = None, materials: Materials | None = None) -> MeshScene:
    """A raster scene as prisms on a flat ground.

    Every connected footprint becomes a prism on its outline, whose walls are straightened as in `walls`: flat at any
    angle, and within a cell of the raster. Heights within `STOREY_M` of each other become their mean; higher parts
    stand on lower ones as prisms of their own, so a footprint has no gap at street level. Vehicles are metal boxes on
    their footprint, or, without a list, prisms of ``scene.vehicle_m``.
    """
    materials = materials or Materials()
    slab = {"thickness_m": materials.thickness_m}
    meshes = [_plane("ground", scene.grid, materials.ground, **slab)]
    buildings = _prisms(scene.building_m, scene.grid.cell_m)
    cell_m = scene.grid.cell_m
    cars = _prisms(scene.vehicle_m, cell_m) if vehicles is None else [_box(vehicle) for vehicle in vehicles]
    for name, solids, material in (("buildings", buildings, materials.building), ("vehicles", cars, materials.vehicle)):
        if solids:
            meshes.append(Mesh(name, *_merged(solids), material, **slab))
    return MeshScene(scene.name, tuple(meshes), scene.frequency_hz)


def room(
    size_m: tuple[float, float, float] = (10.0, 10.0, 5.0),
    frequency_hz: float = 2.4e9,
    material: str = "concrete",
    thickness_m: float = 0.2,
) -> MeshScene:
    """An empty room from (0, 0, 0) to ``size_m`` = (x, y, height) [m]; walls, floor and ceiling of one material.

    Its six faces share no vertices: seen from inside, no edge of an empty room diffracts.
    """
    if len(size_m) != 3 or not np.all(np.isfinite(size_m)) or min(size_m) <= 0:
        raise ValueError(f"a room needs three positive lengths (x, y, height) in metres, got {size_m}")
    corners = np.array([[i, j, k] for k in (0, 1) for j in (0, 1) for i in (0, 1)], float) * np.asarray(size_m)
    sides = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    vertices_m = np.concatenate([corners[list(side)] for side in sides])
    faces = np.concatenate([[(4 * i, 4 * i + 1, 4 * i + 2), (4 * i, 4 * i + 2, 4 * i + 3)] for i in range(6)])
    return MeshScene("room", (Mesh("walls", vertices_m, faces, material, thickness_m),), frequency_hz)


def city(name: str, grid: Grid | None = None, frequency_hz: float = 3.5e9) -> MeshScene:
    """A whole city of the sionna-rt wheel, in the frame of ``grid`` (whose ``origin_m`` is a place of the city).

    Without a grid positions are the city's own, x to the east and y to the south. Materials and wall thickness are
    those of the scene file. Raises ValueError for an unknown city and for one whose ground is not flat (San
    Francisco): there, trace :func:`extrude` of its raster tiles. ImportError if sionna-rt is not installed.
    """
    if name not in cities.CITIES:
        raise ValueError(f"unknown city {name!r}; the cities are {', '.join(cities.CITIES)}")
    origin_m = np.array([*(grid.origin_m if grid else (0.0, 0.0)), 0.0])
    meshes = tuple(replace(mesh, vertices_m=mesh.vertices_m - origin_m) for mesh in _city(name))
    return MeshScene(name, meshes, frequency_hz)


@lru_cache(maxsize=2)
def _city(name: str) -> tuple[Mesh, ...]:
    """One mesh per material, x to the east, y to the south."""
    folder = cities.scenes_folder() / name
    root = ElementTree.parse(folder / f"{name}.xml").getroot()
    slabs = {slab.get("id"): slab for slab in root.findall("bsdf")}
    solids: dict[str, list] = {}
    for shape in sorted(root.findall("shape"), key=_is_ground, reverse=True):
        corners_m = cities.triangles(folder / shape.find("string[@name='filename']").get("value"))
        if _is_ground(shape) and np.abs(corners_m[..., 2]).max() > 0.01:
            raise ValueError(f"the ground of {name} is not flat; trace its raster tiles (city.tiles) instead")
        # Equal corners are equal to the bit in the file.
        vertices_m, faces = np.unique(corners_m.reshape(-1, 3) * (1, -1, 1), axis=0, return_inverse=True)
        solids.setdefault(shape.find("ref").get("id"), []).append((vertices_m, faces.reshape(-1, 3)))
    return tuple(
        Mesh(
            f"{name}-{key}",
            *_merged(parts),
            slabs[key].find("string[@name='type']").get("value"),
            float(slabs[key].find("float[@name='thickness']").get("value")),
        )
        for key, parts in solids.items()
    )


def _is_ground(shape: ElementTree.Element) -> bool:
    return shape.get("id").removeprefix("mesh-").lower() in cities.GROUND_NAMES


def _plane(name: str, grid: Grid, material: str, thickness_m: float) -> Mesh:
    height_m, width_m = grid.size_m
    corners = [(0.0, 0.0, 0.0), (0.0, height_m, 0.0), (width_m, height_m, 0.0), (width_m, 0.0, 0.0)]
    return Mesh(name, np.array(corners), np.array([(0, 1, 2), (0, 2, 3)]), material, thickness_m)


def _prisms(height_m: np.ndarray, cell_m: float) -> list[tuple[np.ndarray, np.ndarray]]:
    solids = []
    parts, _ = label(height_m > 0, np.ones((3, 3)))
    for part, place in enumerate(find_objects(parts), start=1):
        top_m = np.zeros_like(height_m)
        top_m[place] = np.where(parts[place] == part, height_m[place], 0.0)
        bottom_m = 0.0
        for lowest_m, roof_m in _levels(top_m[top_m > 0]):
            for polygon in outlines.polygons(top_m >= lowest_m):
                roof = outlines.triangles(polygon)
                assert roof is not None, "rings of a raster do not cross"
                solids.append(_prism([ring * (cell_m / outlines.STEPS) for ring in polygon], roof, bottom_m, roof_m))
            bottom_m = roof_m
    return solids


def _levels(height_m: np.ndarray) -> list[tuple[float, float]]:
    """Lowest and mean height [m] of every group of heights that reaches at most `STOREY_M` up from its lowest."""
    ordered = np.sort(height_m.astype(np.float64))
    levels = []
    while ordered.size:
        within = ordered <= ordered[0] + STOREY_M
        levels.append((float(ordered[0]), float(ordered[within].mean())))
        ordered = ordered[~within]
    return levels


def _prism(rings_m: list[np.ndarray], roof: np.ndarray, bottom_m: float, top_m: float):
    """Walls around every ring and a roof that shares their upper vertices; open below. (V, 3) and (F, 3)."""
    around_m = np.concatenate(rings_m)
    num = len(around_m)
    vertices_m = np.concatenate([np.column_stack([around_m, np.full(num, z_m)]) for z_m in (bottom_m, top_m)])
    walls, first = [], 0
    for ring in rings_m:
        here = first + np.arange(len(ring))
        after = np.roll(here, -1)
        walls += [np.column_stack([here, after + num, after]), np.column_stack([here, here + num, after + num])]
        first += len(ring)
    return vertices_m, np.concatenate([*walls, roof[:, ::-1] + num])


def _box(vehicle: Vehicle):
    ring_m = vehicle.corners_m
    if outlines.area(ring_m) < 0:
        ring_m = ring_m[::-1]
    return _prism([ring_m], np.array([(0, 1, 2), (0, 2, 3)]), 0.0, vehicle.size_m[2])


def _merged(solids: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    first = np.cumsum([0, *(len(vertices_m) for vertices_m, _ in solids)])
    faces = [faces + start for (_, faces), start in zip(solids, first[:-1], strict=True)]
    return np.concatenate([vertices_m for vertices_m, _ in solids]), np.concatenate(faces)
