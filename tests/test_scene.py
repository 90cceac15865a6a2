"""The nouns: what is wrong with a scene is said with the value, and coarser cells show the same ground."""

import numpy as np
import pytest

from raymap.scene import Grid, PathKind, Paths, RadioMap, Scene, Transmitter, Vehicle

GRID = Grid((6, 8), 2.0)


def scene_with(building_m=None, grid=GRID, **changes):
    building_m = np.zeros(grid.shape) if building_m is None else building_m
    return Scene("town", grid, building_m, **changes)


def spoiled(value, shape=GRID.shape):
    raster = np.zeros(shape)
    raster[1, 2] = value
    return raster


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Grid((0, 4), 1.0), r"\(0, 4\)"),
        (lambda: Grid((4,), 1.0), r"\(4,\)"),
        (lambda: Grid((4, 4), 0.0), r"cell_m .* 0\.0"),
        (lambda: Grid((4, 4), -2.5), r"cell_m .* -2\.5"),
        (lambda: Grid((4, 4), float("nan")), r"cell_m .* nan"),
        (lambda: Grid((4, 4), 1.0, (0.0, float("inf"))), r"origin_m .*inf"),
        (lambda: Transmitter((1.0, 2.0, 0.0)), r"height > 0.*\(1\.0, 2\.0, 0\.0\)"),
        (lambda: Transmitter((1.0, 2.0)), r"\(1\.0, 2\.0\)"),
        (lambda: Transmitter((float("nan"), 2.0, 1.0)), r"finite.*nan"),
        (lambda: Transmitter((1.0, 2.0, 1.0), float("inf")), r"power_dbm.*inf"),
        (lambda: scene_with(np.zeros((8, 6))), r"'town': building_m has shape \(8, 6\).*\(6, 8\)"),
        (lambda: scene_with(spoiled(np.nan)), r"'town': building_m holds 1 values"),
        (lambda: scene_with(spoiled(-3.5)), r"'town': building_m .* -3\.5 m"),
        (lambda: scene_with(vehicle_m=spoiled(-0.5)), r"'town': vehicle_m .* -0\.5 m"),
        (lambda: scene_with(frequency_hz=0.0), r"'town': frequency_hz .* 0\.0"),
        (lambda: RadioMap(np.zeros((3, 4)), np.ones((4, 3), bool)), r"\(3, 4\).*\(4, 3\)"),
        (lambda: RadioMap(spoiled(2.25), np.ones(GRID.shape, bool)), r"highest is 2\.25 dB"),
        (lambda: RadioMap(spoiled(np.nan), np.ones(GRID.shape, bool)), r"1 valid cells are not finite"),
    ],
)
def test_a_wrong_value_is_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_gain_may_be_anything_where_it_is_not_valid():
    values = spoiled(np.nan)
    values[0, 0] = 12.0
    radio_map = RadioMap(values, values == 0)
    assert radio_map.valid.sum() == values.size - 2


@pytest.mark.parametrize("row", range(GRID.shape[0]))
@pytest.mark.parametrize("column", [0, 3, GRID.shape[1] - 1])
def test_a_cell_holds_its_top_left_border_and_its_centre(row, column):
    for share in (0.0, 0.5, 1 - 1e-9):
        place = Transmitter(((column + share) * GRID.cell_m, (row + share) * GRID.cell_m, 1.5))
        assert place.cell(GRID) == (row, column)


@pytest.mark.parametrize("xy_m", [(-1e-9, 1.0), (16.0, 1.0), (1.0, 12.0), (1.0, -0.5), (400.0, 1.0)])
def test_a_transmitter_beyond_the_border_is_named_with_the_extent(xy_m):
    with pytest.raises(ValueError, match=rf"x={xy_m[0]:.2f} m, y={xy_m[1]:.2f} m .*0 to 16 m by 0 to 12 m"):
        Transmitter((*xy_m, 1.5)).cell(GRID)


def test_a_transmitter_inside_a_building_is_named_with_place_scene_and_height():
    scene = scene_with(spoiled(17.5))
    assert scene.require_outdoor(Transmitter((1.0, 1.0, 1.5))) == (0, 0)
    with pytest.raises(ValueError, match=r"x=5\.00 m, y=3\.00 m .*inside.*'town' \(17\.5 m high\)"):
        scene.require_outdoor(Transmitter((5.0, 3.0, 1.5)))


def test_size_is_height_then_width():
    assert GRID.size_m == (12.0, 16.0)


def random_town(seed, shape=(96, 72)):
    rng = np.random.default_rng(seed)
    building_m = np.zeros(shape)
    for _ in range(9):
        top, left = rng.integers(0, shape[0] - 16), rng.integers(0, shape[1] - 16)
        height, width = rng.integers(8, 24, 2)
        building_m[top : top + height, left : left + width] = rng.uniform(5, 40)
    return scene_with(building_m, Grid(shape, 1.0, (100.0, -50.0)))


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_coarser_cells_keep_the_ground_and_nearly_the_footprint(factor):
    for seed in range(5):
        fine = random_town(seed)
        coarse = fine.coarsen(factor)
        assert coarse.grid.size_m == fine.grid.size_m and coarse.grid.origin_m == fine.grid.origin_m
        built_m2 = (~fine.outdoor).sum() * fine.grid.cell_m**2
        walls = (np.diff(fine.outdoor.astype(int), axis=0) != 0).sum()
        walls += (np.diff(fine.outdoor.astype(int), axis=1) != 0).sum()
        # Rounding to whole cells moves a wall by half a coarse cell at most, either way. Ties are built: footprints
        # of an even factor grow by half a fine cell per wall on average.
        error_m2 = abs((~coarse.outdoor).sum() * coarse.grid.cell_m**2 - built_m2)
        assert error_m2 <= 0.5 * factor * walls and (factor > 1 or error_m2 == 0)
        assert error_m2 <= 0.15 * built_m2


def test_half_built_is_built_and_height_is_that_of_the_built_part():
    building_m = np.zeros((2, 6))
    building_m[:, 0], building_m[0, 2:4] = 10.0, (8.0, 16.0)
    building_m[0, 4] = 30.0
    coarse = scene_with(building_m, Grid((2, 6), 1.0)).coarsen(2)
    np.testing.assert_array_equal(coarse.building_m, [[10.0, 12.0, 0.0]])


def test_coarsening_twice_a_building_of_whole_cells_is_coarsening_at_once():
    rng = np.random.default_rng(3)
    fine = scene_with(np.kron(rng.integers(0, 3, (4, 5)) * 7.0, np.ones((4, 4))), Grid((16, 20), 1.0))
    once, twice = fine.coarsen(4), fine.coarsen(2).coarsen(2)
    np.testing.assert_array_equal(once.building_m, twice.building_m)
    assert once.grid == twice.grid


@pytest.mark.parametrize("factor", [0, 3, 4])
def test_a_factor_that_does_not_divide_both_sides_is_refused(factor):
    with pytest.raises(ValueError, match=rf"\(6, 8\) cannot be coarsened by {factor}"):
        GRID.coarsen(factor)


def test_coarse_gain_is_the_mean_in_decibels_over_valid_cells():
    rng = np.random.default_rng(4)
    gain_db, valid = rng.uniform(-140, -50, (12, 8)), rng.random((12, 8)) < 0.6
    valid[:4, :4] = False
    gain_db[~valid] = 99.0  # must never be read
    coarse = RadioMap(gain_db, valid).coarsen(4, np.ones((3, 2), bool))
    assert not coarse.valid[0, 0] and coarse.valid.sum() == 5
    for row, column in np.argwhere(coarse.valid):
        part = np.s_[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert coarse.gain_db[row, column] == pytest.approx(gain_db[part][valid[part]].mean(), abs=1e-4)


def test_a_coarse_map_is_only_valid_where_the_coarse_scene_is():
    wanted = np.array([[True, False], [True, True]])
    coarse = RadioMap(np.full((4, 4), -60.0), np.ones((4, 4), bool)).coarsen(2, wanted)
    np.testing.assert_array_equal(coarse.valid, wanted)


def paths_with(num_receivers=3, num_paths=4, **changes):
    rng = np.random.default_rng(0)
    shape = (num_receivers, num_paths)
    angles = np.stack([rng.uniform(-3, 3, shape), rng.uniform(0, 3, shape)], -1)
    values = dict(
        gain=rng.uniform(1e-6, 1e-3, shape) * np.exp(1j * rng.uniform(0, 6, shape)),
        delay_s=rng.uniform(0, 1e-6, shape),
        aoa_rad=angles, aod_rad=angles[::-1], kind=rng.integers(0, 5, shape), valid=rng.random(shape) < 0.7,
    )  # fmt: skip
    return Paths(**{**values, **changes})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("gain", 2.0 + 0j, r"amplitude .* 2\.0"),
        ("gain", 0j, r"amplitude .* 0\.0"),
        ("gain", np.nan, r"gain: 1 valid"),
        ("delay_s", -1.0, r"delay_s .* -1\.0"),
        ("aoa_rad", 4.0, r"azimuth .* 4\.0"),
        ("kind", 7, r"kind must lie in \[0, 4\], got 7"),
    ],
)
def test_a_valid_path_must_be_possible_and_padding_may_hold_anything(name, value, said):
    whole = paths_with(valid=np.ones((3, 4), bool))
    spoilt = np.array(getattr(whole, name))
    spoilt[1, 2] = value
    with pytest.raises(ValueError, match=said):
        paths_with(valid=np.ones((3, 4), bool), **{name: spoilt})
    valid = np.ones((3, 4), bool)
    valid[1, 2] = False
    kept = paths_with(valid=valid, **{name: spoilt})
    assert (getattr(kept, name)[1, 2] == 0).all()


def test_the_strongest_paths_come_first_and_keep_their_own_values():
    paths = paths_with()
    best = paths.strongest(2)
    assert best.gain.shape == (3, 2) and best.aoa_rad.shape == (3, 2, 2)
    for receiver in range(3):
        valid = paths.valid[receiver]
        order = np.argsort(-np.abs(paths.gain[receiver][valid]))[:2]
        kept = best.valid[receiver]
        assert kept.sum() == min(2, valid.sum())
        for name in ("gain", "delay_s", "aoa_rad", "kind"):
            wanted = getattr(paths, name)[receiver][valid][order]
            np.testing.assert_array_equal(getattr(best, name)[receiver][kept], wanted)
    padded = paths.strongest(9)
    assert padded.valid.shape == (3, 9) and padded.valid.sum() == paths.valid.sum()
    assert np.isneginf(padded.gain_db[~padded.valid]).all()
    with pytest.raises(ValueError, match="got 0"):
        paths.strongest(0)


def test_a_vehicle_is_a_turned_box():
    along_y = Vehicle((10.0, 20.0), np.pi / 2, (4.0, 2.0, 1.5))
    corners_m = along_y.corners_m
    assert np.ptp(corners_m[:, 0]) == pytest.approx(2.0) and np.ptp(corners_m[:, 1]) == pytest.approx(4.0)
    np.testing.assert_allclose(corners_m.mean(0), [10, 20])
    sides = np.linalg.norm(np.roll(corners_m, -1, 0) - corners_m, axis=1)
    np.testing.assert_allclose(sorted(sides), [2, 2, 4, 4])
    with pytest.raises(ValueError, match="positive lengths"):
        Vehicle((0.0, 0.0), 0.0, (4.0, -1.0, 1.5))


def test_path_kinds_are_the_papers_four_and_transmission():
    assert [kind.name for kind in PathKind] == [
        "LINE_OF_SIGHT", "REFLECTION", "SCATTERING", "DIFFRACTION", "TRANSMISSION",
    ]  # fmt: skip
