"""Rays among surfaces: mirrored as images are, ended by nothing but their length, and how far edges are."""

from itertools import product

import numpy as np
import pytest

from raymap.propagation import meshes
from raymap.propagation.surroundings import Surroundings

ROOM_M = np.array([8.0, 6.0, 3.0])


def box(low_m, high_m):
    """A solid box whose faces share the eight corners, counter-clockwise from outside."""
    corners = np.array([*product(*zip(low_m, high_m, strict=True))])
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [face for a, b, c, d in sides for face in ((a, b, c), (a, c, d))]
    return meshes.Mesh("box", corners, faces)


def images(place_m, order):
    """Where the room mirrors a place after ``order`` walls along each axis, (K, 3)."""
    along = []
    for axis in range(3):
        size, x = ROOM_M[axis], place_m[axis]
        along.append([x] if not order else [x, -x, 2 * size - x] + ([x + 2 * size, x - 2 * size] if order > 1 else []))
    return np.array([*product(*along)])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_in_a_room_a_ray_towards_an_image_ends_at_what_is_mirrored(order):
    rng, place_m = np.random.default_rng(0), np.array([2.5, 3.5, 2.2])
    towards_m = images(place_m, order)
    start_m = rng.uniform(0.2, ROOM_M - 0.2, (len(towards_m), 3))
    ray_m = towards_m - start_m
    length_m = np.linalg.norm(ray_m, axis=1)
    ends_m = Surroundings(meshes.room(tuple(ROOM_M))).ends(start_m, ray_m / length_m[:, None], length_m, 3 * order)
    assert np.abs(ends_m - place_m).max() < 0.02


def test_a_ray_that_is_mirrored_too_often_has_no_end_and_a_free_one_ends_at_its_length():
    surroundings = Surroundings(meshes.room(tuple(ROOM_M)))
    start_m, along = np.array([[4.0, 3, 1], [4.0, 3, 1], [4.0, 3, 10]]), np.array([[1.0, 0, 0]] * 3)
    ends_m = surroundings.ends(start_m, along, np.array([3.0, 30.0, 50.0]), 2)
    assert np.allclose(ends_m[0], [7, 3, 1]) and np.isnan(ends_m[1]).all() and np.allclose(ends_m[2], [54, 3, 10])


def test_legs_add_up_to_the_way_between_the_walls():
    legs = [
        *Surroundings(meshes.room(tuple(ROOM_M))).legs(
            np.array([[3.0, 3, 1]]), np.array([[1.0, 0, 0]]), np.array([20.0]), 5
        )
    ]
    assert [leg.before_m[0] for leg in legs] == pytest.approx([0, 5, 13], abs=0.02)
    assert [leg.free_m[0] for leg in legs] == pytest.approx([5, 8, 8], abs=0.02)
    assert [leg.direction[0, 0] for leg in legs] == [1, -1, 1]


def test_edges_are_where_surfaces_meet_and_not_where_triangles_do():
    surroundings = Surroundings(meshes.MeshScene("box", (box((0, 0, 0), (10, 20, 5)),), 3.5e9))
    places_m = np.array([[10.0, 20, 2.3], [10.0, 7.7, 5], [10.0, 10, 2.5], [13.0, 24, 3], [5.0, 10, 5]])
    assert surroundings.to_edge_m(places_m) == pytest.approx([0, 0, 2.5, 5, 5], abs=1e-6)
    flat = meshes.Mesh("flat", [[0, 0, 0], [9, 0, 0], [9, 9, 0], [0, 9, 0]], [[0, 1, 2], [0, 2, 3]])
    assert Surroundings(meshes.MeshScene("flat", (flat,), 3.5e9)).to_edge_m(np.zeros((2, 3))) == pytest.approx(
        [np.inf] * 2
    )
    assert len(surroundings.to_edge_m(np.zeros((0, 3)))) == 0
