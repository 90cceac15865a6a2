"""Buildings on the direct ray: closed forms on simple scenes, agreement with line of sight, and symmetry."""

import numpy as np
import pytest

from raymap.physics.obstruction import obstruction, obstruction_batch
from raymap.physics.visibility import line_of_sight

TURNS = [
    (lambda a: a, lambda r, c, n: (r, c)),
    (lambda a: a[::-1], lambda r, c, n: (n - r, c)),
    (lambda a: a[:, ::-1], lambda r, c, n: (r, n - c)),
    (lambda a: a.T, lambda r, c, n: (c, r)),
]


def town(seed: int, size: int = 24) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blocked = np.zeros((size, size), bool)
    for _ in range(9):
        row, column = rng.integers(0, size - 4, 2)
        blocked[row : row + rng.integers(2, 6), column : column + rng.integers(2, 6)] = True
    blocked[11:14, 11:14] = False
    return blocked


def test_two_slabs_across_a_street_are_counted_and_measured():
    blocked = np.zeros((9, 20), bool)
    blocked[:, 5:7] = True
    blocked[:, 10:13] = True
    found = obstruction(blocked, (4.5, 0.5), cell_m=4.0)
    assert found.crossed[4, 3] == 0 and found.thickness_m[4, 3] == 0 and found.shadow_m[4, 3] == 0
    assert found.crossed[4, 8] == 1 and found.thickness_m[4, 8] == pytest.approx(2 * 4)
    assert found.shadow_m[4, 8] == pytest.approx((8.5 - 5) * 4)
    assert found.crossed[4, 18] == 2 and found.thickness_m[4, 18] == pytest.approx(5 * 4)
    assert found.shadow_m[4, 18] == pytest.approx((18.5 - 5) * 4)


def test_a_slanted_ray_is_longer_inside_a_slab_by_its_slope():
    blocked = np.zeros((40, 40), bool)
    blocked[:, 10:14] = True
    found = obstruction(blocked, (5.5, 5.5), cell_m=1.0)
    for row in (10, 20, 35):
        slope = (row + 0.5 - 5.5) / (30.5 - 5.5)
        assert found.thickness_m[row, 30] == pytest.approx(4 * np.hypot(1, slope), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_seen_has_nothing_in_the_way_but_grazed_corners(seed):
    blocked = town(seed)
    found, seen = obstruction(blocked, (12.5, 12.5), 1.0), line_of_sight(blocked, (12.5, 12.5))
    assert found.thickness_m[seen].max() < 1e-6
    hidden = ~seen & ~blocked
    assert (found.thickness_m[hidden] > 0).mean() > 0.95
    assert (found.thickness_m <= found.shadow_m + 1e-4).all()
    assert (found.crossed[blocked] == 0).all() and (found.thickness_m[blocked] == 0).all()


@pytest.mark.parametrize("turn", range(1, 4))
def test_a_turned_town_gives_the_turned_result(turn):
    blocked, (turned, moved) = town(7), TURNS[turn]
    straight = obstruction(blocked, (12.4, 12.7), 2.0)
    other = obstruction(np.ascontiguousarray(turned(blocked)), moved(12.4, 12.7, 24), 2.0)
    for name in ("crossed", "thickness_m", "shadow_m"):
        np.testing.assert_allclose(turned(getattr(straight, name)), getattr(other, name), atol=1e-3)


def test_a_batch_is_its_maps_one_by_one():
    maps, places = np.stack([town(1), town(2)]), np.array([[12.5, 12.5], [11.5, 13.5]])
    together = obstruction_batch(maps, places, 4.0)
    for index in range(2):
        alone = obstruction(maps[index], tuple(places[index]), 4.0)
        assert all(np.array_equal(a[index], b) for a, b in zip(together, alone, strict=True))
