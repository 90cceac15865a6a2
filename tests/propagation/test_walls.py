"""Walls from masks: exact along the axes and diagonals, true normals in between, areas kept, corners where they are."""

import numpy as np
import pytest

from raymap.propagation import walls


def rectangle(shape, centre, size, angle_deg):
    """(H, W) bool, cells whose centre lies in a turned rectangle of ``size`` = (length, width) in cells."""
    row, column = np.indices(shape) + 0.5
    angle = np.radians(angle_deg)
    x, y = column - centre[0], row - centre[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (np.abs(along) <= size[0] / 2) & (np.abs(across) <= size[1] / 2)


def directions_deg(segments):
    return np.degrees(np.arctan2(segments[:, 3] - segments[:, 1], segments[:, 2] - segments[:, 0])) % 180.0


def lengths(segments):
    return np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1])


def test_an_upright_rectangle_is_four_exact_walls_with_right_angles():
    mask = np.zeros((20, 30), bool)
    mask[5:12, 8:21] = True
    found = walls.from_mask(mask)
    ends = {tuple(end) for end in found.segments[:, :2]}
    assert ends == {(8.0, 5.0), (21.0, 5.0), (21.0, 12.0), (8.0, 12.0)}
    assert len(found.corners) == 4
    np.testing.assert_allclose(found.corners[:, 5], 1.5)
    np.testing.assert_allclose(found.open_share, ~mask)
    np.testing.assert_array_equal(found.buried, mask)


def test_pushed_corners_lie_outside_on_the_bisector():
    mask = np.zeros((20, 30), bool)
    mask[5:12, 8:21] = True
    corners = walls.from_mask(mask).corners
    step = corners[:, 2:4] - corners[:, :2]
    np.testing.assert_allclose(np.hypot(*step.T), walls.PUSH_CELLS)
    outwards = np.sign(corners[:, :2] - (14.5, 8.5))
    np.testing.assert_allclose(step, outwards * walls.PUSH_CELLS / np.sqrt(2), atol=1e-12)


def test_a_diagonal_wall_is_straight_and_exact():
    row, column = np.indices((40, 40))
    mask = (row + column >= 20) & (row + column <= 50) & (np.abs(row - column) <= 15)
    found = walls.from_mask(mask)
    assert len(found.segments) == 4
    off_deg = np.abs(directions_deg(found.segments) - 90.0) - 45.0
    np.testing.assert_allclose(off_deg, 0.0, atol=1e-9)


@pytest.mark.parametrize("angle_deg", [3.0, 10.0, 17.0, 26.6, 33.0, 41.0, 60.0, 77.0])
@pytest.mark.parametrize("size", [(40.0, 22.0), (20.0, 12.0)])
def test_turned_rectangles_have_four_walls_with_true_normals(angle_deg, size):
    rng = np.random.default_rng(int(10 * angle_deg))
    for _ in range(5):
        centre = 32.0 + rng.uniform(-1, 1, 2)
        mask = rectangle((64, 64), centre, size, angle_deg)
        found = walls.from_mask(mask)
        long = found.segments[lengths(found.segments) > 0.6 * size[1]]
        assert len(long) == 4
        off_deg = (directions_deg(long) - angle_deg + 45.0) % 90.0 - 45.0
        assert np.abs(off_deg).max() < 60.0 / size[1]
        normal = np.radians(directions_deg(long) + 90.0)
        middle = 0.5 * (long[:, :2] + long[:, 2:]) - centre
        distance = np.abs(middle[:, 0] * np.cos(normal) + middle[:, 1] * np.sin(normal))
        is_long_side = np.abs(np.cos(np.radians(directions_deg(long) - angle_deg))) > 0.7
        assert np.abs(distance - np.where(is_long_side, size[1] / 2, size[0] / 2)).max() < 0.6
        area = (1.0 - found.open_share).sum()
        assert area == pytest.approx(mask.sum(), rel=0.04)


def test_shares_are_the_polygons_area_exactly():
    mask = rectangle((50, 60), (28.3, 24.1), (30, 17), 23.0)
    mask[22:26, 24:31] = False  # a yard
    found = walls.from_mask(mask)
    x0, y0, x1, y1 = found.segments.T
    area = 0.5 * (x0 * y1 - x1 * y0).sum()
    assert (1.0 - found.open_share).sum() == pytest.approx(area, rel=1e-9)
    assert ((found.open_share >= 0) & (found.open_share <= 1)).all()
    assert (found.open_share[found.buried] < 0.75).all() and (found.open_share[~found.buried] > 0.25).all()


def test_a_building_cut_by_the_rim_has_no_corner_there():
    mask = np.zeros((20, 20), bool)
    mask[6:13, :9] = True
    corners = walls.from_mask(mask).corners
    assert {tuple(corner) for corner in corners[:, :2]} == {(9.0, 6.0), (9.0, 13.0)}


def test_a_yard_has_walls_but_only_the_outside_has_convex_corners():
    mask = np.zeros((24, 24), bool)
    mask[4:20, 4:20] = True
    mask[9:15, 9:15] = False
    found = walls.from_mask(mask)
    assert len(found.segments) == 8 and len(found.corners) == 4


@pytest.mark.parametrize("seed", range(4))
def test_walls_turn_with_the_map_within_the_tolerance(seed):
    rng = np.random.default_rng(seed)
    mask = rectangle((48, 48), (22.2, 25.1), (26, 14), rng.uniform(0, 90))
    share = walls.from_mask(mask).open_share
    for turns in range(4):
        image = walls.from_mask(np.rot90(mask, turns)).open_share
        assert np.abs(np.rot90(share, turns) - image).mean() < 0.004


def test_random_masks_give_closed_walls():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((24, 24)) < rng.uniform(0.1, 0.9)
        found = walls.from_mask(mask)
        starts = np.sort(found.segments[:, :2], axis=0)
        np.testing.assert_allclose(starts, np.sort(found.segments[:, 2:], axis=0), atol=1e-9)
        assert np.isfinite(found.segments).all() and np.isfinite(found.corners).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 4), (4, 1), (2, 2), (2, 5), (3, 3)])
def test_a_building_of_a_few_cells_is_not_lost(size):
    mask = np.zeros((12, 14), bool)
    mask[4 : 4 + size[0], 5 : 5 + size[1]] = True
    found = walls.from_mask(mask)
    np.testing.assert_array_equal(found.buried, mask)
    np.testing.assert_allclose(found.open_share, ~mask, atol=1e-9)
    assert len(found.segments) == 4 and len(found.corners) == 4


def test_no_outline_collapses_to_a_line():
    """Random blobs, among them thin and stepped ones: straightening keeps most of every map's built area."""
    rng = np.random.default_rng(3)
    for _ in range(40):
        mask = np.zeros((24, 24), bool)
        for _ in range(rng.integers(1, 5)):
            row, column = rng.integers(1, 18, 2)
            mask[row : row + rng.integers(1, 6), column : column + rng.integers(1, 6)] = True
        found = walls.from_mask(mask)
        assert abs((1 - found.open_share).sum() - mask.sum()) <= 0.25 * mask.sum()
