"""Paths followed back among known surfaces: found where they are, and seen by those alone who can see them."""

import numpy as np
import pytest

from raymap.propagation import meshes, retraced
from raymap.propagation.surroundings import Surroundings
from raymap.scene import PathKind

TRANSMITTER_M = np.array([10.0, 20.0, 12.0])


def wall(x_m, low_m, high_m, height_m=20.0, facing=1):
    """A flat wall in the plane x = ``x_m`` from y = low to high."""
    corners = [[x_m, low_m, 0], [x_m, high_m, 0], [x_m, high_m, height_m], [x_m, low_m, height_m]]
    return meshes.Mesh(f"wall at {x_m}", corners, [[0, 1, 2], [0, 2, 3]][::facing])


def block():
    """A house from (30, 10) to (40, 30), 8 m high."""
    x, y, z = np.meshgrid([30.0, 40.0], [10.0, 30.0], [0.0, 8.0], indexing="ij")
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [face for a, b, c, d in sides for face in ((a, b, c), (a, c, d))]
    return meshes.Mesh("block", np.stack([x, y, z], -1).reshape(-1, 3), faces)


def world(*parts):
    return Surroundings(meshes.MeshScene("test", parts, 3.5e9))


def back(surroundings, receiver_m, way_m, kind):
    """What a path along places ``way_m`` (receiver first, transmitter last) is retraced to."""
    way_m = np.array([receiver_m, *way_m, TRANSMITTER_M], float)
    legs_m = np.linalg.norm(np.diff(way_m, axis=0), axis=1)
    direction = (way_m[1] - way_m[0]) / legs_m[0]
    one = retraced.retrace(
        surroundings, way_m[:1], TRANSMITTER_M, direction[None], np.array([legs_m.sum()]), np.array([kind])
    )
    return one.anchor_m[0], one.lead_m[0], one.source_m[0]


def seen(surroundings, receivers_m, anchor_m, source_m):
    receivers_m = np.asarray(receivers_m, float)
    both = (np.broadcast_to(place_m, receivers_m.shape) for place_m in (anchor_m, source_m))
    return retraced.sees(surroundings, receivers_m, *both)


def test_the_line_of_sight_is_seen_where_no_house_is_between():
    surroundings = world(block())
    anchor_m, lead_m, source_m = back(surroundings, [25, 20, 1], [], PathKind.LINE_OF_SIGHT)
    assert np.allclose(anchor_m, TRANSMITTER_M, atol=1e-6) and lead_m == 0 and np.allclose(source_m, TRANSMITTER_M)
    # The roof's far edge at x = 40, z = 8 hides the street up to x = 10 + 30·11/4 from a transmitter 12 m high.
    receivers_m = [[45, 20, 1], [92, 20, 1], [93, 20, 1], [45, 60, 1]]
    assert seen(surroundings, receivers_m, anchor_m, source_m).tolist() == [False, False, True, True]


def test_a_reflection_is_seen_where_its_mirror_point_is_on_the_wall():
    surroundings = world(wall(50, 0, 40))
    mirror_m = np.array([90.0, 20, 12])
    anchor_m, lead_m, source_m = back(surroundings, [20, 20, 12], [[50, 20, 12]], PathKind.REFLECTION)
    assert np.allclose(anchor_m, mirror_m, atol=1e-6) and lead_m == pytest.approx(0, abs=1e-6)
    assert np.allclose(source_m, TRANSMITTER_M)
    y = np.array([20.0, 50, 54, 56, 100])  # the mirror point of x = 20 m lies at y = 20 + (y − 20)·40/70
    receivers_m = np.stack([np.full(5, 20.0), y, np.full(5, 12.0)], 1)
    assert seen(surroundings, receivers_m, anchor_m, source_m).tolist() == (20 + (y - 20) * 4 / 7 < 40).tolist()
    assert not seen(surroundings, [[60, 20, 12]], anchor_m, source_m)[0]  # behind the wall


def test_scattering_is_found_on_its_wall_also_when_another_wall_mirrors_it_afterwards():
    surroundings = world(wall(50, 0, 40), wall(0, 0, 90, facing=-1), block())
    place_m = np.array([50.0, 33, 6])
    for receiver_m, way_m, anchor_m in (
        ([20.0, 50, 1], [place_m], place_m),
        ([20.0, 60, 1], [[0, 60 + (33 - 60) * 2 / 7, 1 + 5 * 2 / 7], place_m], [-50.0, 33, 6]),
    ):
        found_m, lead_m, source_m = back(surroundings, receiver_m, way_m, PathKind.SCATTERING)
        assert np.allclose(found_m, anchor_m, atol=1e-3) and np.allclose(source_m, place_m, atol=1e-3)
        assert lead_m == pytest.approx(np.linalg.norm(place_m - TRANSMITTER_M), abs=1e-3)
        assert seen(surroundings, [receiver_m, [20, 0, 1]], found_m, source_m).tolist() == [True, False]


def test_what_was_mirrored_before_it_was_scattered_is_held_for_scattered_last():
    surroundings = world(wall(50, 0, 40), wall(0, 0, 90, facing=-1))
    place_m = [50.0, 33, 6]
    found_m, lead_m, source_m = back(
        surroundings, [20.0, 50, 1], [place_m, [0, 33 - 13 * 5 / 6, 6 + 6 * 5 / 6]], PathKind.SCATTERING
    )
    assert np.allclose(found_m, place_m, atol=1e-3) and np.allclose(source_m, place_m, atol=1e-3)
    assert lead_m == pytest.approx(np.linalg.norm([60, 13, 6]), abs=1e-3)


def test_diffraction_is_found_at_an_edge_and_nowhere_else():
    surroundings, edge_m = world(block()), np.array([30.0, 30, 5])
    anchor_m, lead_m, source_m = back(surroundings, [36.0, 50, 1], [edge_m], PathKind.DIFFRACTION)
    assert np.allclose(anchor_m, edge_m, atol=1e-3) and np.allclose(source_m, edge_m, atol=1e-3)
    assert lead_m == pytest.approx(np.linalg.norm(edge_m - TRANSMITTER_M), abs=1e-3)
    assert seen(surroundings, [[36, 50, 1], [36, 5, 1]], anchor_m, source_m).tolist() == [True, False]
    nowhere = back(surroundings, [36.0, 50, 1], [[25.0, 40, 5]], PathKind.DIFFRACTION)
    assert all(np.isnan(part).all() for part in nowhere)


def test_paths_through_walls_have_no_source():
    assert all(np.isnan(part).all() for part in back(world(block()), [45, 20, 1], [], PathKind.TRANSMISSION))
    assert not retraced.sees(world(block()), np.zeros((2, 3)), np.full((2, 3), np.nan), np.zeros((2, 3))).any()
