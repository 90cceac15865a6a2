"""Surfaces come back from their files as they were, and what is no surface is refused by name."""

import numpy as np
import pytest
import trimesh

from raymap.data import mesh_file
from raymap.propagation import meshes

BOX = trimesh.creation.box(bounds=[(0, 0, 0), (10, 20, 5)])


@pytest.mark.parametrize("ending", mesh_file.ENDINGS)
def test_every_format_gives_the_same_solid_with_shared_corners(tmp_path, ending):
    BOX.export(tmp_path / f"house{ending}")
    found = mesh_file.read(tmp_path / f"house{ending}", 3.5e9)
    assert found.frequency_hz == 3.5e9 and [mesh.name for mesh in found.meshes] == ["house"]
    again = trimesh.Trimesh(found.meshes[0].vertices_m, found.meshes[0].faces, process=False)
    assert again.volume == pytest.approx(1000) and len(again.vertices) == 8


def test_a_scene_of_several_meshes_is_written_as_one(tmp_path):
    room = meshes.room((8.0, 6.0, 3.0))
    both = meshes.MeshScene("both", (*room.meshes, meshes.Mesh("box", BOX.vertices, BOX.faces)), 2.4e9)
    mesh_file.write(tmp_path / "both.ply", both)
    found = mesh_file.read(tmp_path / "both.ply", 2.4e9).meshes[0]
    wanted_m = np.concatenate([mesh.vertices_m[mesh.faces] for mesh in both.meshes])
    assert np.allclose(found.vertices_m[found.faces], wanted_m, atol=1e-5)


def test_what_is_no_surface_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"read from \.ply, \.obj, \.stl, \.off files, not '\.glb'"):
        mesh_file.read(tmp_path / "city.glb", 1e9)
    with pytest.raises(FileNotFoundError, match="city.ply"):
        mesh_file.read(tmp_path / "city.ply", 1e9)
    (tmp_path / "city.ply").write_text("nothing")
    with pytest.raises(ValueError, match="city.ply holds no"):
        mesh_file.read(tmp_path / "city.ply", 1e9)
    with pytest.raises(ValueError, match="written as .ply"):
        mesh_file.write(tmp_path / "city.obj", meshes.room())
