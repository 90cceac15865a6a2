"""Laws of ray launching: free space, the image method, unbiased and quiet estimates, symmetries, bounds, no holes."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from raymap import units
from raymap.physics import materials, pathloss
from raymap.propagation import ray_launching
from raymap.propagation.ray_launching import Options
from raymap.scene import Grid, Scene, Transmitter

REFLECTIONS = Options(diffraction=False, roof=False)
ONE_BOUNCE = replace(REFLECTIONS, max_interactions=1)


def blocks(seed, shape=(48, 60), cell_m=2.0, vehicles=False):
    """Upright buildings of random size on ``shape`` cells."""
    rng = np.random.default_rng(seed)
    building_m = np.zeros(shape)
    for _ in range(9):
        row, column = rng.integers(0, shape[0] - 8), rng.integers(0, shape[1] - 8)
        height, width = rng.integers(4, 14, 2)
        building_m[row : row + height, column : column + width] = 25.0
    vehicle_m = np.zeros(shape)
    if vehicles:
        for row, column in zip(rng.integers(0, shape[0], 15), rng.integers(0, shape[1], 15), strict=True):
            vehicle_m[row : row + 2, column : column + 3] = 1.5
    return Scene(f"blocks-{seed}", Grid(shape, cell_m), building_m, vehicle_m * (building_m == 0))


def place(scene, seed=0):
    rows, columns = np.nonzero(scene.outdoor)
    pick = np.random.default_rng(seed).integers(len(rows))
    return Transmitter(((columns[pick] + 0.5) * scene.grid.cell_m, (rows[pick] + 0.5) * scene.grid.cell_m, 1.5))


def linear(gain_db):
    return units.linear_from_db(np.asarray(gain_db, np.float64))


def one_metre(frequency_hz=5.9e9):
    return linear(-units.free_space_loss_db(1.0, frequency_hz))


def beside_a_wall(cell_m=2.0):
    """A wall along the whole lower side, and a transmitter 13 m from it."""
    building_m = np.zeros((40, 50))
    building_m[34:] = 25.0
    return Scene("wall", Grid((40, 50), cell_m), building_m), Transmitter((21.0 * cell_m, 27.5 * cell_m, 1.5))


def image_power(scene, transmitter, wall_y_m, material="concrete", parts=8):
    """Mean of |Γ|²/r'² over every cell, and 1/r² at its centre, both times the gain at 1 m."""
    cell_m, (x_m, y_m, _) = scene.grid.cell_m, transmitter.xyz_m
    fine = (np.arange(scene.grid.shape[1] * parts) + 0.5) * cell_m / parts
    across_m, along_m = 2 * wall_y_m - y_m - fine[: scene.grid.shape[0] * parts, None], fine[None, :] - x_m
    r2 = across_m**2 + along_m**2
    gamma = materials.fresnel(across_m / np.sqrt(r2), materials.permittivity(material, scene.frequency_hz))
    power = (np.abs(gamma) ** 2 / r2).reshape(scene.grid.shape[0], parts, scene.grid.shape[1], parts).mean((1, 3))
    straight = pathloss.free_space_gain_db(pathloss.distance_m(scene.grid.shape, cell_m, (x_m, y_m)), 5.9e9)
    return power * one_metre(), linear(straight)


@pytest.mark.parametrize(("cell_m", "frequency_hz"), [(1.0, 5.9e9), (4.0, 2.4e9)])
def test_an_empty_street_is_free_space(cell_m, frequency_hz):
    scene = Scene("empty", Grid((30, 41), cell_m), np.zeros((30, 41)), frequency_hz=frequency_hz)
    transmitter = Transmitter((11.3 * cell_m, 20.0 * cell_m, 1.5))
    found = ray_launching.solve(scene, transmitter)
    distance_m = np.maximum(pathloss.distance_m((30, 41), cell_m, transmitter.xyz_m[:2]), 1.0)
    np.testing.assert_allclose(found.gain_db, pathloss.free_space_gain_db(distance_m, frequency_hz), rtol=1e-6)
    assert found.valid.all()


def test_a_higher_mast_only_lengthens_the_paths():
    scene = Scene("empty", Grid((20, 20), 2.0), np.zeros((20, 20)))
    distance_m = np.hypot(pathloss.distance_m((20, 20), 2.0, (15.0, 15.0)), 10.0)
    found = ray_launching.solve(scene, Transmitter((15.0, 15.0, 11.5)))
    np.testing.assert_allclose(found.gain_db, pathloss.free_space_gain_db(distance_m, 5.9e9), rtol=1e-6)


@pytest.mark.parametrize("material", ["concrete", "metal"])
def test_one_long_wall_is_the_image_method(material):
    scene, transmitter = beside_a_wall()
    image, straight = image_power(scene, transmitter, 68.0, material)
    found = linear(ray_launching.solve(scene, transmitter, options=replace(ONE_BOUNCE, material=material)).gain_db)
    street = np.s_[:34]
    reflected = found[street] - straight[street]
    assert np.abs(reflected / image[street] - 1).max() < 0.05
    assert np.abs(reflected.sum() / image[street].sum() - 1) < 0.002


def test_few_rays_are_noisy_but_right_on_average():
    scene, transmitter = beside_a_wall()
    image, straight = image_power(scene, transmitter, 68.0)
    few = replace(ONE_BOUNCE, num_rays=60)
    maps = [linear(ray_launching.solve(scene, transmitter, seed=seed, options=few).gain_db) for seed in range(300)]
    reflected = np.array(maps)[:, :34] - straight[:34]
    error = reflected.std(0, ddof=1) / np.sqrt(len(maps))
    assert np.median(reflected.std(0) / image[:34]) > 0.3
    off = (reflected.mean(0) - image[:34]) / np.maximum(error, 1e-3 * image[:34])
    assert np.abs(off).max() < 5.0 and np.sqrt((off**2).mean()) < 1.2


def test_noise_falls_at_least_with_the_root_of_the_rays():
    scene = blocks(1)
    transmitter = place(scene)
    spread_db = []
    for num_rays in (250, 1000, 4000):
        options = replace(REFLECTIONS, num_rays=num_rays)
        maps = [ray_launching.solve(scene, transmitter, seed=seed, options=options).gain_db for seed in range(8)]
        spread_db.append(np.std(maps, axis=0)[scene.outdoor].mean())
    assert spread_db[1] < 0.6 * spread_db[0] and spread_db[2] < 0.6 * spread_db[1]


@pytest.mark.parametrize("angle_deg", [45.0, 20.0])
def test_a_slanted_wall_reflects_about_its_true_normal(angle_deg):
    shape, cell_m = (64, 64), 2.0
    angle = np.radians(angle_deg)
    normal = np.array([-np.sin(angle), np.cos(angle)])
    row, column = np.indices(shape) + 0.5
    centre = np.array([32.0, 38.5])  # no cell centre on the diagonal
    behind = (column - centre[0]) * normal[0] + (row - centre[1]) * normal[1]
    scene = Scene("slanted", Grid(shape, cell_m), np.where(behind > 0, 25.0, 0.0))
    x, y = centre - 14.0 * normal
    transmitter = Transmitter((x * cell_m, y * cell_m, 1.5))
    image = (np.array([x, y]) + 28.0 * normal) * cell_m
    across_m = (behind - 14.0) * -cell_m
    r2 = ((column * cell_m - image[0]) ** 2) + (row * cell_m - image[1]) ** 2
    gamma = materials.fresnel(np.clip(across_m / np.sqrt(r2), 0, 1), materials.permittivity("concrete", 5.9e9))
    wanted_db = 10 * np.log10(np.abs(gamma) ** 2 / r2 * one_metre())
    with_db = ray_launching.solve(scene, transmitter, options=ONE_BOUNCE).gain_db
    without_db = ray_launching.solve(scene, transmitter, options=replace(ONE_BOUNCE, max_interactions=0)).gain_db
    # cells whose point of reflection lies well inside the map, a few cells off the wall
    foot = image / cell_m + (np.stack([column, row], -1) - image / cell_m) * (14.0 / (14.0 - behind))[..., None]
    sure = (behind < -3) & ((foot > 4) & (foot < 60)).all(-1)
    reflected_db = 10 * np.log10(np.maximum(linear(with_db) - linear(without_db), 1e-30))
    off_db = (reflected_db - wanted_db)[sure]
    assert sure.sum() > 800
    assert np.abs(np.median(off_db)) < 0.1 and np.percentile(np.abs(off_db), 95) < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_every_outdoor_cell_has_a_gain_and_no_other(seed):
    scene = blocks(seed)
    found = ray_launching.solve(scene, place(scene, seed))
    np.testing.assert_array_equal(found.valid, scene.outdoor)
    assert (found.gain_db[scene.outdoor] > units.GAIN_FLOOR_DB).all()
    assert (found.gain_db[~scene.outdoor] == units.GAIN_FLOOR_DB).all()


def test_a_seed_is_a_map():
    scene = blocks(2)
    one, same, other = (ray_launching.solve(scene, place(scene), seed=seed).gain_db for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    difference_db = np.abs(one - other)[scene.outdoor]
    assert np.median(difference_db) < 0.1 and np.percentile(difference_db, 95) < 1.0


@pytest.mark.parametrize("seed", range(2))
def test_a_mirrored_scene_has_the_mirrored_map(seed):
    scene = blocks(seed)
    transmitter = place(scene, seed)
    x_m, y_m, height_m = transmitter.xyz_m
    gain_db = ray_launching.solve(scene, transmitter).gain_db
    images = (
        (scene.building_m[:, ::-1], (120.0 - x_m, y_m), np.s_[:, ::-1]),
        (scene.building_m[::-1], (x_m, 96.0 - y_m), np.s_[::-1]),
    )
    for building_m, xy_m, back in images:
        image = ray_launching.solve(replace(scene, building_m=building_m), Transmitter((*xy_m, height_m))).gain_db
        difference_db = np.abs(image[back] - gain_db)[scene.outdoor]
        assert np.median(difference_db) < 0.1 and np.percentile(difference_db, 95) < 1.0


@pytest.mark.parametrize("seed", range(2))
def test_more_interactions_and_more_kinds_of_path_never_take_power(seed):
    scene = blocks(seed)
    transmitter = place(scene, seed)
    steps = [Options(max_interactions=0, diffraction=False, roof=False)]
    steps += [replace(steps[0], max_interactions=num) for num in (1, 2, 4)]
    steps += [replace(steps[-1], diffraction=True), Options()]
    maps = [ray_launching.solve(scene, transmitter, options=options).gain_db for options in steps]
    for less, more in pairwise(maps):
        assert (more >= less - 1e-3).all() and (more > less + 0.1).any()
    diffracted = [
        ray_launching.solve(scene, transmitter, options=Options(max_interactions=n)).gain_db for n in (1, 2, 3)
    ]
    assert (np.diff(diffracted, axis=0) >= -1e-3).all()


def test_metal_returns_more_than_concrete_and_concrete_more_than_wood():
    scene = blocks(0)
    maps = [
        ray_launching.solve(scene, place(scene), options=replace(REFLECTIONS, material=material)).gain_db
        for material in ("wood", "concrete", "metal")
    ]
    assert (np.diff(maps, axis=0) >= -1e-3).all() and (maps[2] > maps[0] + 3.0).any()


def test_around_one_block_both_directions_are_equal():
    """Behind a convex block nothing is reflected: one corner is all there is, and that is exact."""
    building_m = np.zeros((40, 44))
    building_m[15:24, 12:30] = 25.0
    scene = Scene("block", Grid((40, 44), 2.0), building_m)
    ends = [(33, 15), (35, 20), (12, 5), (20, 5), (8, 21), (19, 36), (30, 33)]
    transmitters = [Transmitter(((column + 0.5) * 2.0, (row + 0.5) * 2.0, 1.5)) for row, column in ends]
    options = Options(max_interactions=1, roof=False)
    rows, columns = np.array(ends).T
    gain_db = np.array(
        [ray_launching.solve(scene, end, options=options).gain_db[rows, columns] for end in transmitters]
    )
    both = (gain_db > units.GAIN_FLOOR_DB) & ~np.eye(len(ends), dtype=bool)
    assert both.sum() > 20
    # in sight a reflection may be added: its mean over a cell differs from end to end by a little
    assert np.abs(gain_db - gain_db.T)[both].max() < 0.1
    np.testing.assert_array_equal(gain_db > units.GAIN_FLOOR_DB, gain_db.T > units.GAIN_FLOOR_DB)


def test_a_street_guides():
    """Between two walls the power falls more slowly than in free space."""
    building_m = np.full((24, 120), 25.0)
    building_m[9:15] = 0.0
    scene = Scene("street", Grid((24, 120), 2.0), building_m)
    transmitter = Transmitter((11.0, 24.0, 1.5))
    gain_db = ray_launching.solve(scene, transmitter).gain_db[11]
    free_db = pathloss.free_space_gain_db(pathloss.distance_m((24, 120), 2.0, transmitter.xyz_m[:2]), 5.9e9)[11]
    over_db = (gain_db - free_db)[10:]
    assert over_db[-10:].mean() > over_db[:10].mean() + 1.0 and over_db.min() > 0.0


def test_vehicles_only_take_and_at_most_their_limit():
    scene = blocks(4, vehicles=True)
    transmitter = place(scene)
    without = replace(scene, vehicle_m=np.zeros(scene.grid.shape))
    options = replace(REFLECTIONS, max_interactions=2)
    free_db = ray_launching.solve(without, transmitter, options=options).gain_db
    held_db = ray_launching.solve(scene, transmitter, options=options).gain_db
    assert (held_db <= free_db + 1e-3).all() and (held_db >= free_db - 12.0 - 1e-3).all()
    assert (held_db < free_db - 3.0).any()
    assert (
        ray_launching.solve(scene, transmitter).gain_db <= ray_launching.solve(without, transmitter).gain_db + 1e-3
    ).all()


def test_a_transmitter_close_to_a_slanted_wall_still_lights_the_street():
    row, column = np.indices((40, 40))
    scene = Scene("slanted", Grid((40, 40), 2.0), np.where(3 * row - column > 60, 25.0, 0.0))
    edge = np.argwhere(scene.outdoor[:-1] & ~scene.outdoor[1:])[5]
    for offset in (0.05, 0.5, 0.95):
        transmitter = Transmitter(((edge[1] + offset) * 2.0, (edge[0] + 0.95) * 2.0, 1.5))
        found = ray_launching.solve(scene, transmitter)
        free_db = pathloss.free_space_gain_db(pathloss.distance_m((40, 40), 2.0, transmitter.xyz_m[:2]), 5.9e9)
        assert (found.gain_db[:8] >= free_db[:8] - 0.01).all()


def test_what_makes_no_sense_is_refused():
    scene = blocks(0)
    row, column = np.argwhere(~scene.outdoor)[0]
    with pytest.raises(ValueError, match="inside a building"):
        ray_launching.solve(scene, Transmitter(((column + 0.5) * 2.0, (row + 0.5) * 2.0, 1.5)))
    with pytest.raises(ValueError, match="lies outside the map"):
        ray_launching.solve(scene, Transmitter((-1.0, 5.0, 1.5)))
    with pytest.raises(ValueError, match="concrete is tabulated from 1 to 100 GHz, got 0.7 GHz"):
        ray_launching.solve(replace(scene, frequency_hz=7e8), place(scene))
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        ray_launching.solve(scene, place(scene), seed=-1)
    with pytest.raises(ValueError, match="unknown material 'paper'"):
        Options(material="paper")
    with pytest.raises(ValueError, match="max_interactions must not be negative, got -1"):
        Options(max_interactions=-1)
    with pytest.raises(ValueError, match="at least one ray"):
        Options(num_rays=0)
    with pytest.raises(ValueError, match="receiver_height_m"):
        Options(receiver_height_m=0.0)
    with pytest.raises(ValueError, match="cannot amplify"):
        Options(vehicle_db_per_m=-1.0)
