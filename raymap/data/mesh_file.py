"""What stands around as a file of triangles: .ply, .obj, .stl or .off, in metres, x and y those of the map, z up.

Vertices that faces share make edges, at which paths are diffracted; .stl has none to share, so equal ones are joined.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from raymap.propagation.meshes import Mesh, MeshScene
from raymap.storage import whole

ENDINGS = (".ply", ".obj", ".stl", ".off")


def read(path: str | Path, frequency_hz: float) -> MeshScene:
    """The surfaces of a file as a scene of one mesh, looked at at this frequency.

    Raises FileNotFoundError without the file, ValueError, naming it, for another ending, a file that cannot be read,
    and one without faces.
    """
    import trimesh

    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path}: surfaces are read from {', '.join(ENDINGS)} files, not {path.suffix or 'that'!r}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        mesh = trimesh.load(path, force="mesh", process=False)
    except Exception as error:  # trimesh raises whatever its readers of many formats meet
        raise ValueError(f"{path} holds no surfaces that can be read: {error}") from error
    if not len(getattr(mesh, "faces", ())):
        raise ValueError(f"{path} holds no faces")
    if path.suffix.lower() == ".stl":
        mesh.merge_vertices()
    return MeshScene(path.stem, (Mesh(path.stem, mesh.vertices, mesh.faces),), frequency_hz)


def write(path: Path, scene: MeshScene) -> None:
    """All meshes of a scene as one .ply file, in float32; names and materials are not kept.

    Raises ValueError for another ending.
    """
    import trimesh

    if path.suffix.lower() != ".ply":
        raise ValueError(f"{path}: surfaces are written as .ply")
    starts = np.cumsum([0, *(len(mesh.vertices_m) for mesh in scene.meshes)])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(scene.meshes, starts, strict=False)])
    vertices_m = np.concatenate([mesh.vertices_m for mesh in scene.meshes])
    with whole(path) as temporary:
        temporary.write_bytes(trimesh.Trimesh(vertices_m, faces, process=False).export(file_type="ply"))
