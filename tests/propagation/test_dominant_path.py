"""Laws of the dominant-path model: closed forms, bounds, reciprocity, and the eight symmetries of the square."""

from dataclasses import replace
from itertools import pairwise, permutations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from raymap import units
from raymap.physics import pathloss, visibility
from raymap.propagation import dominant_path
from raymap.propagation.corners import convex_corners
from raymap.scene import Grid, Scene, Transmitter

#: The laws are those of paths; the median that ends a map has tests of its own.
CONSTANTS = dominant_path.Constants(median_m=0.0)


def random_city(seed, shape=(48, 60), cell_m=1.0, height_m=None, vehicles=False):
    """Blocks of random size and, without ``height_m``, random height; every third city is a regular street grid."""
    rng = np.random.default_rng(seed)
    building_m = np.zeros(shape)
    if seed % 3 == 2:
        for row in range(4, shape[0] - 6, 11):
            for column in range(4, shape[1] - 6, 11):
                building_m[row : row + 6, column : column + 6] = height_m or 20.0
    else:
        for _ in range(12):
            row, column = rng.integers(0, shape[0] - 2), rng.integers(0, shape[1] - 2)
            height, width = rng.integers(2, 14, 2)
            building_m[row : row + height, column : column + width] = height_m or rng.uniform(3, 60)
    vehicle_m = np.zeros(shape)
    if vehicles:
        for row, column in zip(rng.integers(0, shape[0], 12), rng.integers(0, shape[1], 12), strict=True):
            vehicle_m[row : row + 2, column : column + 4] = 1.5
    return Scene(f"city-{seed}", Grid(shape, cell_m), building_m, vehicle_m * (building_m == 0))


def solve(scene, transmitter, constants=CONSTANTS):
    return dominant_path.solve(scene, transmitter, constants=constants)


def place(scene, rng, at_centre=True):
    rows, columns = np.nonzero(scene.outdoor)
    pick = rng.integers(len(rows))
    offset = (0.5, 0.5) if at_centre else rng.random(2)
    cell_m = scene.grid.cell_m
    return Transmitter(((columns[pick] + offset[1]) * cell_m, (rows[pick] + offset[0]) * cell_m, 1.5))


def seen(scene, transmitter):
    x_m, y_m, _ = transmitter.xyz_m
    return visibility.line_of_sight(~scene.outdoor, (y_m / scene.grid.cell_m, x_m / scene.grid.cell_m))


def straight_db(scene, transmitter):
    distance_m = np.maximum(pathloss.distance_m(scene.grid.shape, scene.grid.cell_m, transmitter.xyz_m[:2]), 1.0)
    return pathloss.log_distance_gain_db(distance_m, units.free_space_loss_db(1.0, scene.frequency_hz), 2.5)


@pytest.mark.parametrize("cell_m", [1.0, 2.0, 4.0])
def test_free_space_is_the_fitted_line(cell_m):
    scene = Scene("empty", Grid((33, 50), cell_m), np.zeros((33, 50)))
    transmitter = Transmitter((20.5 * cell_m, 11.25 * cell_m, 1.5))
    gain = solve(scene, transmitter)
    distance_m = np.maximum(pathloss.distance_m((33, 50), cell_m, transmitter.xyz_m[:2]), 1.0)
    np.testing.assert_allclose(gain.gain_db, -(47.87 + 25.0 * np.log10(distance_m)), atol=0.01)  # 47.87 has 2 digits
    np.testing.assert_allclose(gain.gain_db, straight_db(scene, transmitter), rtol=1e-6)  # float32
    assert gain.valid.all()


@pytest.mark.parametrize("seed", range(4))
def test_cells_in_sight_have_the_law_and_no_cell_beats_it(seed):
    scene = random_city(seed)
    transmitter = place(scene, np.random.default_rng(seed))
    gain_db, law_db = solve(scene, transmitter).gain_db, straight_db(scene, transmitter)
    lit = seen(scene, transmitter)
    np.testing.assert_allclose(gain_db[lit], law_db[lit], rtol=1e-6)
    assert (gain_db <= law_db + 1e-4).all()
    assert (scene.outdoor & ~lit).sum() > 0
    assert (gain_db[~scene.outdoor] == units.GAIN_FLOOR_DB).all() and gain_db.min() >= units.GAIN_FLOOR_DB


def bend_deg(a, b, c):
    first, second = np.subtract(b, a), np.subtract(c, b)
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def test_behind_one_high_building_the_path_is_the_best_of_all_orders_of_its_corners():
    shape, cell_m = (40, 44), 2.0
    building_m = np.zeros(shape)
    building_m[15:24, 12:30] = 3000.0  # nothing goes over it
    scene = Scene("block", Grid(shape, cell_m), building_m)
    transmitter = Transmitter((10.5 * cell_m, 19.5 * cell_m, 1.5))
    gain_db = solve(scene, transmitter).gain_db
    blocked, start = ~scene.outdoor, (19.5, 10.5)
    corners = convex_corners(blocked, 0.6, 0.75, 0.0)
    sights, anchors = ([tuple(corner) for corner in corners[:, columns].tolist()] for columns in ([0, 1], [2, 3]))
    assert sorted(anchors) == [(15.0, 12.0), (15.0, 30.0), (24.0, 12.0), (24.0, 30.0)]
    for row, column in np.argwhere(scene.outdoor & ~seen(scene, transmitter))[::7]:
        losses_db = []
        for order in (order for num in (1, 2, 3) for order in permutations(range(4), num)):
            seen_from, path = (
                [start, *(places[index] for index in order), (row + 0.5, column + 0.5)] for places in (sights, anchors)
            )
            if all(visibility.segment_clear(blocked, *a, *b) for a, b in pairwise(seen_from)):
                length_m = cell_m * sum(np.linalg.norm(np.subtract(b, a)) for a, b in pairwise(path))
                turns_deg = [bend_deg(*path[index : index + 3]) for index in range(len(order))]
                losses_db.append(
                    units.free_space_loss_db(1.0, 5.9e9) + 10 * CONSTANTS.street_exponent * np.log10(length_m)
                    + np.interp(turns_deg, CONSTANTS.bend_deg, CONSTANTS.bend_db).sum()
                )  # fmt: skip
        assert gain_db[row, column] == pytest.approx(-min(losses_db), abs=1e-3)


def test_behind_a_wall_without_ends_the_path_goes_over_the_roof():
    building_m = np.zeros((30, 40))
    building_m[:, 15:20] = 25.0
    scene = Scene("wall", Grid((30, 40), 1.0), building_m)
    gain_db = solve(scene, Transmitter((5.5, 10.5, 1.5))).gain_db
    for column in (20, 30, 39):  # the same row: tops at x = 15 and x = 20
        up, down = np.arctan2(23.5, 15 - 5.5), np.arctan2(23.5, column + 0.5 - 20)
        length_m = np.hypot(23.5, 15 - 5.5) + 5.0 + np.hypot(23.5, column + 0.5 - 20)
        bends_db = np.interp(np.degrees([up, down]), CONSTANTS.roof_bend_deg, CONSTANTS.roof_bend_db).sum()
        loss_db = units.free_space_loss_db(1.0, 5.9e9) + 25 * np.log10(length_m) + bends_db - CONSTANTS.roof_credit_db
        assert gain_db[10, column] == pytest.approx(-loss_db, abs=1e-3)


def test_a_mast_above_the_roofs_sees_over_them():
    building_m = np.zeros((20, 60))
    building_m[:, 20:24] = 4.0
    scene = Scene("low wall", Grid((20, 60), 1.0), building_m)
    law_db = straight_db(scene, Transmitter((5.5, 10.5, 1.5)))
    low_db = solve(scene, Transmitter((5.5, 10.5, 1.5))).gain_db
    high_db = solve(scene, Transmitter((5.5, 10.5, 30.0))).gain_db
    np.testing.assert_allclose(high_db[10, 45:], law_db[10, 45:], rtol=1e-6)
    assert (low_db[10, 45:] < law_db[10, 45:] - 1.0).all()


@pytest.mark.parametrize("seed", range(3))
def test_reciprocity(seed):
    scene = random_city(seed, shape=(64, 64), height_m=25.0)
    rng = np.random.default_rng(seed)
    cells = rng.permutation(np.argwhere(scene.outdoor))[:30]
    ends = [Transmitter((column + 0.5, row + 0.5, 1.5)) for row, column in cells]
    gain_db = np.array([solve(scene, end).gain_db[tuple(cells.T)] for end in ends])
    difference_db = np.abs(gain_db - gain_db.T)[np.triu_indices(len(cells), 1)]
    assert np.median(difference_db) < 0.01
    assert np.percentile(difference_db, 90) < 0.5
    assert difference_db.max() <= 10.0


def turned(array, turns, flip):
    return np.rot90(array[:, ::-1] if flip else array, turns)


def turned_transmitter(transmitter, size_m, turns, flip):
    (x_m, y_m, height_m), (tall_m, wide_m) = transmitter.xyz_m, size_m
    if flip:
        x_m = wide_m - x_m
    for _ in range(turns):
        x_m, y_m, tall_m, wide_m = y_m, wide_m - x_m, wide_m, tall_m
    return Transmitter((x_m, y_m, height_m))


@pytest.mark.parametrize(("seed", "cell_m"), [(0, 1.0), (1, 4.0), (2, 0.5), (3, 1.7), (5, 1.0)])
def test_eight_symmetries_are_exact(seed, cell_m):
    scene = random_city(seed, cell_m=cell_m, vehicles=True)
    transmitter = place(scene, np.random.default_rng(seed), at_centre=seed != 3)
    if seed == 5:  # on a mirror axis of a regular grid: exact ties between paths
        transmitter = Transmitter((7.0, 12.5, 1.5))
    gain_db = dominant_path.solve(scene, transmitter).gain_db
    for turns in range(4):
        for flip in (False, True):
            building_m, vehicle_m = turned(scene.building_m, turns, flip), turned(scene.vehicle_m, turns, flip)
            image = Scene("image", Grid(building_m.shape, cell_m), building_m, vehicle_m)
            image_db = dominant_path.solve(image, turned_transmitter(transmitter, scene.grid.size_m, turns, flip))
            np.testing.assert_array_equal(image_db.gain_db, turned(gain_db, turns, flip))


def test_a_street_grid_with_its_own_symmetries_gets_a_map_with_them():
    # every path has mirror twins of exactly the same cost, between which the order of the corners must not decide
    size = 69
    street = np.isin(np.arange(size) % 11, [0, 1, 2])
    building_m = np.where(street[:, None] | street[None, :], 0.0, 500.0)
    scene = Scene("grid", Grid((size, size), 1.0), building_m)
    gain_db = solve(scene, Transmitter((34.5, 34.5, 1.5))).gain_db
    for turns in range(4):
        for flip in (False, True):
            np.testing.assert_array_equal(gain_db, turned(gain_db, turns, flip))


@pytest.mark.parametrize("seed", range(12))
def test_corners_of_ragged_buildings_turn_with_them(seed):
    rng = np.random.default_rng(seed)
    mask = gaussian_filter(rng.normal(size=(40, 40)), rng.uniform(0.7, 3.0)) > 0.05
    mask |= mask.T if seed % 2 else mask[:, ::-1]  # buildings with symmetries of their own, hence exact ties
    corners = convex_corners(mask, 0.6, 0.75, 0.0)
    assert len(corners) > 3
    for turns in range(4):
        for flip in (False, True):
            image = convex_corners(np.ascontiguousarray(turned(mask, turns, flip)), 0.6, 0.75, 0.0)
            expected = np.array([turned_corner(corner, turns, flip) for corner in corners])
            assert comparable(image) == comparable(expected)


def turned_corner(corner, turns, flip):
    """Two positions on a map of 40 x 40 cells, two directions."""
    pairs = []
    for index, (row, column) in enumerate(corner.reshape(4, 2)):
        size = 40.0 if index < 2 else 0.0
        column = size - column if flip else column
        for _ in range(turns):
            row, column = size - column, row
        pairs.append((row, column))
    return np.ravel(pairs)


def comparable(corners):
    """In a set order, the two walls of each corner too."""
    return sorted((*corner[:4], *sorted([(corner[4], corner[5]), (corner[6], corner[7])])) for corner in corners)


@pytest.mark.parametrize("seed", range(6))
def test_a_new_wall_never_brightens_a_cell_that_was_in_sight(seed):
    # Cells out of sight may gain: the ends of a new wall are corners around which a path may bend.
    scene = random_city(seed)
    rng = np.random.default_rng(50 + seed)
    transmitter = place(scene, rng)
    lit, before_db = seen(scene, transmitter), solve(scene, transmitter).gain_db
    row, column = int(transmitter.xyz_m[1]), int(transmitter.xyz_m[0])
    building_m = scene.building_m.copy()
    wall = lit & (np.abs(np.arange(60) - column)[None, :] == 3) & (np.abs(np.arange(48) - row)[:, None] <= 4)
    assert wall.any()
    building_m[wall] = 40.0
    walled = replace(scene, building_m=building_m)
    after_db, still_lit = solve(walled, transmitter).gain_db, seen(walled, transmitter)
    assert not (still_lit & ~lit).any()
    np.testing.assert_array_equal(after_db[still_lit], before_db[still_lit])
    hidden = lit & ~still_lit & walled.outdoor
    assert hidden.any() and (after_db[hidden] < before_db[hidden] - 1.0).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_taller_city_of_one_height_is_never_brighter(seed):
    transmitter = place(random_city(seed), np.random.default_rng(seed))
    low_db, high_db = (solve(random_city(seed, height_m=height_m), transmitter).gain_db for height_m in (6.0, 30.0))
    assert (high_db <= low_db + 1e-4).all() and (high_db < low_db - 1.0).any()


@pytest.mark.parametrize("seed", range(3))
def test_vehicles_only_take_and_at_most_their_limit(seed):
    scene = random_city(seed, vehicles=True)
    transmitter = place(scene, np.random.default_rng(seed))
    empty_db = solve(replace(scene, vehicle_m=np.zeros(scene.grid.shape)), transmitter).gain_db
    without_db = solve(replace(scene, vehicle_m=None), transmitter).gain_db
    with_db = solve(scene, transmitter).gain_db
    np.testing.assert_array_equal(empty_db, without_db)
    assert (with_db <= without_db).all() and (with_db >= without_db - 12.0 - 1e-4).all()
    assert (with_db < without_db - 3.0).any()


@pytest.mark.parametrize("cell_m", [0.5, 1.0])
def test_a_vehicle_takes_four_db_per_metre_whatever_the_cell(cell_m):
    cells = int(2.0 / cell_m)
    vehicle_m = np.zeros((9, 40))
    vehicle_m[:, 10 : 10 + cells] = 1.5  # 2 m deep
    scene = Scene("queue", Grid((9, 40), cell_m), np.zeros((9, 40)), vehicle_m)
    transmitter = Transmitter((4.5 * cell_m, 4.5 * cell_m, 1.5))
    gain_db = solve(scene, transmitter).gain_db
    lost_db = straight_db(scene, transmitter) - gain_db
    np.testing.assert_allclose(lost_db[4, 10 + cells :], 8.0, atol=1e-3)
    np.testing.assert_allclose(lost_db[4, :10], 0.0, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_vehicle_changes_only_cells_whose_path_meets_it(seed):
    scene = random_city(seed, height_m=500.0)
    transmitter = place(scene, np.random.default_rng(seed))
    vehicle_m = np.zeros(scene.grid.shape)
    row, column = (int(value) for value in np.argwhere(scene.outdoor & ~seen(scene, transmitter))[0])
    vehicle_m[row, column] = 1.5  # one cell out of sight: no straight line meets it
    without_db = solve(scene, transmitter).gain_db
    with_db = solve(replace(scene, vehicle_m=vehicle_m), transmitter).gain_db
    lit = seen(scene, transmitter)
    np.testing.assert_array_equal(with_db[lit], without_db[lit])
    assert with_db[row, column] < without_db[row, column] - 0.5


@pytest.mark.parametrize("seed", range(3))
def test_terms_add_up_to_the_map(seed):
    scene = random_city(seed, cell_m=2.0)
    transmitter = place(scene, np.random.default_rng(seed))
    found = dominant_path.terms(scene, transmitter)
    loss_db = -solve(scene, transmitter).gain_db
    reference_db, floor_db = units.free_space_loss_db(1.0, 5.9e9), -straight_db(scene, transmitter)
    with np.errstate(divide="ignore"):
        around_db = np.where(found.street_m > 0, 10 * CONSTANTS.street_exponent * np.log10(found.street_m), np.inf)
        over_db = np.where(found.roof_m > 0, 25 * np.log10(found.roof_m) - CONSTANTS.roof_credit_db, -np.inf)
    around_db = reference_db + around_db + found.street_weights @ CONSTANTS.bend_db
    over_db = np.maximum(reference_db + over_db + found.roof_weights @ CONSTANTS.roof_bend_db, floor_db)
    expected_db = np.where(found.lit, floor_db, np.minimum(np.minimum(around_db, over_db), 147.0))
    np.testing.assert_allclose(loss_db[scene.outdoor], expected_db[scene.outdoor], atol=1e-4)
    assert (found.street_weights.sum(-1)[found.street_m > 0] >= 1.0 - 1e-9).all()  # at least one bend


def test_a_scene_changed_in_place_is_solved_anew():
    scene = random_city(2)
    transmitter = Transmitter((2.5, 2.5, 1.5))
    before_db = solve(scene, transmitter).gain_db
    scene.building_m[4:10, 4:10] = 0.0
    after_db = solve(scene, transmitter).gain_db
    fresh = Scene("fresh", scene.grid, scene.building_m.copy())
    np.testing.assert_array_equal(after_db, solve(fresh, transmitter).gain_db)
    assert (after_db != before_db).any()


@pytest.mark.parametrize(("cell_m", "width"), [(1.0, 3), (0.5, 7), (1.7, 1), (2.0, 1)])
def test_a_map_ends_with_the_median_over_three_metres_of_street(cell_m, width):
    scene = random_city(1, cell_m=cell_m, vehicles=True)
    transmitter = place(scene, np.random.default_rng(1))
    sharp, smooth = solve(scene, transmitter), dominant_path.solve(scene, transmitter)
    np.testing.assert_array_equal(smooth.valid, sharp.valid)
    assert (smooth.gain_db[~scene.outdoor] == units.GAIN_FLOOR_DB).all()
    reach = width // 2
    for row, column in np.argwhere(scene.outdoor)[::5]:
        here = np.s_[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        near_db = np.sort(sharp.gain_db[here][scene.outdoor[here]])
        assert smooth.gain_db[row, column] == near_db[len(near_db) // 2]
    assert (smooth.gain_db != sharp.gain_db).any() == (width > 1)


def test_a_transmitter_in_a_building_or_outside_is_refused_with_its_coordinates():
    scene = random_city(2)
    with pytest.raises(ValueError, match=r"x=5\.50 m, y=6\.25 m stands inside"):
        solve(scene, Transmitter((5.5, 6.25, 1.5)))
    with pytest.raises(ValueError, match=r"x=60\.10 m, y=2\.00 m lies outside"):
        solve(scene, Transmitter((60.1, 2.0, 1.5)))
