"""What receivers see around them: distances, light, and nothing of how the map is turned."""

from dataclasses import replace

import numpy as np
import pytest

from raymap.propagation import environment, meshes

ROOM_M, SOURCE_M = np.array([8.0, 6.0, 3.0]), np.array([6.5, 3.0, 1.5])
AHEAD, ASIDE, BEHIND = 0, environment.NUM_AZIMUTHS // 4, environment.NUM_AZIMUTHS // 2


def look(scene, receivers_m):
    return environment.environment(scene, SOURCE_M, np.asarray(receivers_m, float))


def pillar():
    """A wall of 2 m between the source and whoever stands behind it at y = 3 m, in the middle of the room."""
    y_m, z_m = np.array([2.0, 4.0, 4.0, 2.0]), np.array([0.0, 0.0, 3.0, 3.0])
    wall = meshes.Mesh("wall", np.stack([np.full(4, 4.0), y_m, z_m], 1), [(0, 1, 2), (0, 2, 3)])
    room = meshes.room(tuple(ROOM_M))
    return replace(room, meshes=(*room.meshes, wall))


def test_walls_are_where_they_are_counted_from_the_way_to_the_transmitter():
    seen = look(meshes.room(tuple(ROOM_M)), [[2.5, 3.0, 1.5]])
    free_m = np.expm1(3 * seen.around[0, 0, :, 0])
    # Ahead is +x here: 5.5 m to the wall behind the transmitter, 3 m to the left, 2.5 m back.
    assert free_m[[AHEAD, ASIDE, BEHIND]] == pytest.approx([5.5, 3.0, 2.5], abs=1e-3)
    assert seen.around[0, 0, :, 1].all() and seen.around[0, 0, :, 2].all()
    longer_m = np.expm1(3 * seen.around[0, 0, BEHIND, 3])
    assert longer_m == pytest.approx(2 * 2.5, abs=0.11) == 100 * seen.around[0, 0, BEHIND, 4]
    assert seen.place[0, :3] == pytest.approx([np.log(4.0), 0.0, 0.0])


def test_behind_a_wall_it_is_dark_and_the_straight_way_ends():
    lit, dark = look(pillar(), [[2.5, 0.4, 1.5], [2.5, 3.0, 1.5]]).place[:, 3:6]
    assert lit.tolist() == [1.0, 1.0, 1.0]
    assert dark == pytest.approx([0.0, 1.5 / 4.0, 2.5 / 4.0], abs=1e-3)
    seen = look(pillar(), [[2.5, 3.0, 1.5]]).around[0, 0, :, 2]
    # Its shadow lies on the wall behind, and the wall itself turns its dark side to the receiver.
    assert seen[BEHIND] == 0 and seen[AHEAD] == 0 and seen[ASIDE] == 1


def test_a_scene_that_is_turned_looks_the_same():
    turn_rad = 0.7
    cosine, sine = np.cos(turn_rad), np.sin(turn_rad)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    receivers_m = np.random.default_rng(0).uniform(0.3, ROOM_M - 0.3, (20, 3))
    scene = pillar()
    turned = replace(scene, meshes=tuple(replace(mesh, vertices_m=mesh.vertices_m @ turn) for mesh in scene.meshes))
    one = environment.environment(scene, SOURCE_M, receivers_m)
    other = environment.environment(turned, SOURCE_M @ turn, receivers_m @ turn)
    assert np.abs(one.place - other.place).max() < 1e-3
    assert np.quantile(np.abs(one.around - other.around), 0.999) < 1e-3


def test_under_an_open_sky_rays_end_nowhere():
    ground = meshes.Mesh(
        "ground", [[-500, -500, 0], [500, -500, 0], [500, 500, 0], [-500, 500, 0]], [(0, 1, 2), (0, 2, 3)]
    )
    open_field = meshes.MeshScene("field", (ground,), 2.4e9)
    seen = environment.environment(open_field, np.array([0.0, 0, 20.0]), np.array([[30.0, 40.0, 1.5]]))
    assert seen.place[0, 3:6].tolist() == [1.0, 1.0, 1.0]
    assert not seen.around[..., 1:3].any() and np.isfinite(seen.around).all()
