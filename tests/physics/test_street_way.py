"""The shortest way's turns: none in sight, behind corners those of a taut string."""

from itertools import pairwise

import numpy as np
import pytest

from raymap.data import generated, sites
from raymap.physics.street_way import turning_batch, turning_deg
from raymap.physics.visibility import line_of_sight
from raymap.scene import Grid


def wall(size: int = 81, end: int = 60) -> np.ndarray:
    """A wall one cell thick across the middle row, open from column ``end`` on."""
    blocked = np.zeros((size, size), bool)
    blocked[size // 2, :end] = True
    return blocked


def town(seed: int, size: int = 24) -> np.ndarray:
    blocked = np.random.default_rng(seed).random((size, size)) < 0.3
    blocked[size // 2, size // 2] = False
    return blocked


def angle_deg(*points: tuple[float, float]) -> float:
    """Turn at the middle one of three points."""
    legs = [np.subtract(b, a) for a, b in pairwise(points)]
    cosine = np.dot(*legs) / np.prod([np.linalg.norm(leg) for leg in legs])
    return float(np.degrees(np.arccos(cosine)))


def test_nothing_turns_in_sight_or_inside_buildings():
    blocked, place = town(3), (12.5, 12.5)
    found = turning_deg(blocked, place)
    assert found[line_of_sight(blocked, place)].max() == 0
    assert found[blocked].max() == 0
    assert found.max() > 30


@pytest.mark.parametrize("target", [(60, 20), (45, 50), (75, 55), (41, 3)])
def test_behind_a_wall_the_way_turns_as_a_string_around_its_end(target):
    place, end = (20.5, 30.5), (40.5, 60.0)
    wanted = angle_deg(place, end, (target[0] + 0.5, target[1] + 0.5))
    found = turning_deg(wall(), place)[target]
    assert found == pytest.approx(wanted, abs=6.0)


def test_turns_around_several_buildings_add_up():
    blocked = wall()
    blocked[60, 20:] = True  # a second wall, open on the other side: the way is an S
    place = (20.5, 30.5)
    once, twice = turning_deg(wall(), place), turning_deg(blocked, place)
    first = angle_deg(place, (40.5, 60.0), (60.5, 20.0))
    second = angle_deg((40.5, 60.0), (60.5, 20.0), (70.5, 60.5))
    assert twice[70, 60] == pytest.approx(first + second, abs=12.0)
    assert twice[70, 60] > once[70, 60] + 60
    np.testing.assert_allclose(twice[41:50, 10:55], once[41:50, 10:55], atol=1e-3)


def test_no_way_leads_into_a_closed_courtyard():
    blocked = np.zeros((30, 30), bool)
    blocked[10:20, 10:20] = True
    blocked[13:17, 13:17] = False
    found = turning_deg(blocked, (2.5, 2.5))
    assert np.isinf(found[13:17, 13:17]).all()
    outside = np.ones_like(blocked)
    outside[10:20, 10:20] = False
    assert np.isfinite(found[outside]).all()


def test_a_turned_town_gives_the_turned_result():
    """But for cells that two ways of one length lead to, of which another may be taken."""
    differences = []
    for seed in range(3):
        scene = generated.city(seed=seed, grid=Grid((64, 64), cell_m=4.0))
        blocked, (column, row) = scene.building_m > 0, np.array(sites.place(scene, num=1, seed=0)[0].xyz_m[:2]) / 4.0
        both = np.stack([blocked, np.ascontiguousarray(blocked[::-1])])
        straight, flipped = turning_batch(both, np.array([[row, column], [64 - row, column]]))
        transposed = turning_deg(np.ascontiguousarray(blocked.T), (column, row))
        found = np.isfinite(straight) & ~blocked
        differences += [np.abs(straight[found] - other[found]) for other in (flipped[::-1], transposed.T)]
    differences = np.concatenate(differences)
    assert (differences > 0.1).mean() < 0.05
    assert differences.mean() < 0.5


def test_a_position_outside_is_refused():
    with pytest.raises(ValueError, match="lies outside a grid"):
        turning_deg(wall(), (200.0, 3.0))
