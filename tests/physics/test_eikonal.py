"""The way of a wave front: straight in sight, around corners, through walls, and the same under every symmetry."""

from itertools import pairwise

import numpy as np
import pytest

from raymap.physics import eikonal
from raymap.physics.visibility import line_of_sight


def wall(size: int = 41) -> np.ndarray:
    """A wall one cell thick across the middle row, open from column 30 on."""
    blocked = np.zeros((size, size), bool)
    blocked[size // 2, :30] = True
    return blocked


def test_in_sight_the_way_is_the_straight_line():
    blocked, place = wall(), (5.3, 7.8)
    seen = line_of_sight(blocked, place)
    rows, columns = np.indices(blocked.shape) + 0.5
    wanted = 2.0 * np.hypot(rows - place[0], columns - place[1])
    np.testing.assert_allclose(eikonal.travel_m(blocked, place, 2.0)[seen], wanted[seen], atol=5e-3)
    assert eikonal.detour_m(blocked, place, 2.0)[seen].max() < 1e-3
    assert seen.any() and not seen.all()


@pytest.mark.parametrize("target", [(35, 5), (25, 20), (38, 28)])
def test_behind_a_wall_the_way_bends_at_its_end(target):
    blocked, place = wall(161), (60.5, 10.5)
    blocked[80, :] = False
    blocked[80, :120] = True
    row, column = 4 * target[0], 4 * target[1]
    ends = [(80.0, 120.0), (81.0, 120.0)]
    legs = [place, *ends, (row + 0.5, column + 0.5)]
    shortest = sum(np.hypot(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(legs))
    found = eikonal.travel_m(blocked, place, 1.0)[row, column]
    assert shortest - 1.0 < found < 1.04 * shortest + 1.0


def test_no_way_leads_into_a_closed_courtyard_unless_walls_can_be_crossed():
    blocked = np.zeros((30, 30), bool)
    blocked[10:20, 10:20] = True
    blocked[13:17, 13:17] = False
    assert np.isinf(eikonal.detour_m(blocked, (2.5, 2.5), 4.0)[14, 14])
    soft = eikonal.detour_m(blocked, (2.5, 14.5), 4.0, index=3.0)[13, 14]
    assert soft == pytest.approx(4.0 * 2 * 3, rel=1e-3)  # three wall cells straight through, each two cells longer
    assert np.isinf(eikonal.travel_m(blocked, (2.5, 2.5), 4.0)[blocked]).all()


def test_walls_of_index_one_are_not_there():
    blocked = wall()
    rows, columns = np.indices(blocked.shape) + 0.5
    found = eikonal.travel_m(blocked, (5.5, 7.5), 1.0, index=1.0)
    straight = np.hypot(rows - 5.5, columns - 7.5)
    assert np.abs(found - straight).max() < 0.06 * straight.max()


def test_a_higher_index_never_shortens_the_way():
    rng = np.random.default_rng(3)
    blocked = rng.random((32, 32)) < 0.35
    blocked[16, 16] = False
    ways = [eikonal.travel_m(blocked, (16.5, 16.5), 1.0, index=index) for index in (1.0, 2.0, 8.0, np.inf)]
    for shorter, longer in pairwise(ways):
        assert (longer >= shorter - 2e-3).all()
    reached = np.isfinite(ways[-1])
    assert reached.sum() > 300 and not reached[blocked].any()


def test_a_turned_town_gives_the_turned_result():
    rng = np.random.default_rng(5)
    blocked = rng.random((24, 24)) < 0.3
    blocked[12, 12] = False
    both = np.stack([blocked, blocked[::-1].copy()])
    straight = eikonal.detour_batch(both, np.array([[12.5, 12.5], [11.5, 12.5]]), 2.0)
    np.testing.assert_allclose(straight[0][::-1], straight[1], atol=1e-2)
    turned = eikonal.detour_m(np.ascontiguousarray(blocked.T), (12.5, 12.5), 2.0)
    np.testing.assert_allclose(straight[0].T, turned, atol=1e-2)


def test_an_index_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0.5"):
        eikonal.travel_m(wall(), (5.5, 5.5), 1.0, index=0.5)
    with pytest.raises(ValueError, match="outside"):
        eikonal.travel_m(wall(), (50.0, 5.5), 1.0)
