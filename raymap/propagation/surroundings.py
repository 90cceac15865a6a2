"""Rays among the surfaces of a scene: where they end, mirrored by every surface on the way, and where its edges are.

Embree, through trimesh, says which triangle a ray meets; where is computed in float64, as paths of hundreds of metres
are told apart by centimetres.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from raymap.propagation.meshes import MeshScene

#: What is this near to where a ray should end does not hide it [m].
SLACK_M = 0.1
#: A mirrored ray starts so far off the surface [m].
_OFF_M = 1e-3
#: Faces that meet at no more are one surface [rad].
_FLAT_RAD = np.deg2rad(5.0)
#: Edges are looked up by points on them, no farther apart than this [m], so many of the nearest.
_ALONG_EDGE_M, _NUM_NEAR = 1.0, 6


class Leg(NamedTuple):
    """A straight part of the rays numbered ``rays`` (K,): its ``start_m`` and ``direction`` (K, 3).

    ``before_m``: (K,) the way up to its start; ``free_m``: (K,) from there to the next surface, inf if there is none.
    """

    rays: np.ndarray
    start_m: np.ndarray
    direction: np.ndarray
    before_m: np.ndarray
    free_m: np.ndarray


@lru_cache(maxsize=4)
def of(scene: MeshScene) -> Surroundings:
    """The surfaces of a scene, built once for all who ask in this process. Raises ImportError as the class."""
    return Surroundings(scene)


class Surroundings:
    """The surfaces of a scene. Raises ImportError without embreex (the ``geo`` extra)."""

    def __init__(self, scene: MeshScene) -> None:
        try:
            import embreex  # noqa: F401
            import trimesh
        except ImportError as error:
            raise ImportError("rays among buildings need embreex: pip install 'raymap[geo]'") from error
        starts = np.cumsum([0, *(len(mesh.vertices_m) for mesh in scene.meshes)])
        faces = [mesh.faces + start for mesh, start in zip(scene.meshes, starts, strict=False)]
        vertices_m = np.concatenate([mesh.vertices_m for mesh in scene.meshes])
        self._mesh = trimesh.Trimesh(vertices_m, np.concatenate(faces), process=False)
        self._normals = np.asarray(self._mesh.face_normals)
        self._corners_m = np.asarray(self._mesh.triangles[:, 0])

    def legs(self, start_m: np.ndarray, direction: np.ndarray, length_m: np.ndarray, most: int) -> Iterator[Leg]:
        """The legs of rays (N, 3) mirrored up to ``most`` times, until each is ``length_m`` (N,) long."""
        start_m, direction, before_m = start_m.copy(), direction.copy(), np.zeros(len(start_m))
        rays = np.arange(len(start_m))
        for mirrored in range(most + 1):
            if not len(rays):
                return
            face, free_m = self._first(start_m[rays], direction[rays])
            yield Leg(rays, start_m[rays], direction[rays], before_m[rays], free_m)
            if mirrored == most:
                return
            goes_on = (face >= 0) & (before_m[rays] + free_m < length_m[rays] - SLACK_M / 2)
            rays, free_m, normal = rays[goes_on], free_m[goes_on, None], self._normals[face[goes_on]]
            met_m, along = start_m[rays] + free_m * direction[rays], direction[rays]
            direction[rays] = along - 2 * (along * normal).sum(1, keepdims=True) * normal
            start_m[rays] = met_m + _OFF_M * direction[rays]
            before_m[rays] += free_m[:, 0]

    def ends(self, start_m: np.ndarray, direction: np.ndarray, length_m: np.ndarray, most: int) -> np.ndarray:
        """(N, 3) where rays end [m], NaN if they are mirrored more often than ``most`` times before."""
        ends_m = np.full((len(start_m), 3), np.nan)
        for leg in self.legs(start_m, direction, length_m, most):
            left_m = length_m[leg.rays] - leg.before_m
            done = leg.free_m >= left_m - SLACK_M
            ends_m[leg.rays[done]] = (leg.start_m + left_m[:, None] * leg.direction)[done]
        return ends_m

    def free_m(self, start_m: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """(N,) how far rays (N, 3) of unit ``direction`` go until a surface, inf if there is none [m]."""
        return self._first(start_m, direction)[1]

    def to_edge_m(self, places_m: np.ndarray) -> np.ndarray:
        """(N,) distances of places (N, 3) to the nearest edge at which two surfaces meet, inf without one [m]."""
        if self._edges is None or not len(places_m):
            return np.full(len(places_m), np.inf)
        tree, owner, ends_m = self._edges
        edge = owner[tree.query(places_m, k=range(1, min(_NUM_NEAR, len(owner)) + 1))[1]]
        first_m, along_m = ends_m[edge, 0], ends_m[edge, 1] - ends_m[edge, 0]
        share = ((places_m[:, None] - first_m) * along_m).sum(-1) / (along_m**2).sum(-1)
        nearest_m = first_m + np.clip(share, 0.0, 1.0)[..., None] * along_m
        return np.linalg.norm(places_m[:, None] - nearest_m, axis=-1).min(axis=1)

    def _first(self, start_m: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) the face that a ray meets first, −1 for none, and how far off it is, inf for none [m]."""
        face = np.asarray(self._mesh.ray.intersects_first(start_m, direction))
        normal = self._normals[face]
        towards = (normal * direction).sum(1)
        towards = np.where(np.abs(towards) < 1e-9, 1e-9, towards)
        free_m = np.maximum(((self._corners_m[face] - start_m) * normal).sum(1) / towards, 0.0)
        return face, np.where(face < 0, np.inf, free_m)

    @cached_property
    def _edges(self):
        """Points on edges as a tree, the edge of each, and the ends (E, 2, 3) of the edges; None without any."""
        from scipy.spatial import cKDTree

        bent = self._mesh.face_adjacency_angles > _FLAT_RAD
        ends_m = np.asarray(self._mesh.vertices)[self._mesh.face_adjacency_edges[bent]]
        if not len(ends_m):
            return None
        num = np.ceil(np.linalg.norm(ends_m[:, 1] - ends_m[:, 0], axis=1) / _ALONG_EDGE_M).astype(int) + 1
        owner = np.repeat(np.arange(len(ends_m)), num)
        share = np.concatenate([np.linspace(0.0, 1.0, count) for count in num])[:, None]
        return cKDTree((1 - share) * ends_m[owner, 0] + share * ends_m[owner, 1]), owner, ends_m
