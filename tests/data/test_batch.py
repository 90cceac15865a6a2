"""MapBatch: what a network may see stays apart from what it must predict."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from raymap import units
from raymap.data import batch, schema
from raymap.data import columns as columns_of
from raymap.physics import pathloss, visibility
from raymap.propagation import dominant_path
from raymap.scene import Grid, RadioMap, Scene, Transmitter


def make_scenes(shape=(12, 16), num=5, cell_m=4.0):
    rng = np.random.default_rng(7)
    scenes, transmitters = [], []
    for index in range(num):
        building_m = np.where(rng.random(shape) < 0.25, rng.uniform(5, 30, shape), 0)
        row, column = rng.integers(shape[0]), rng.integers(shape[1])
        building_m[row, column] = 0
        scenes.append(Scene(f"town{index}", Grid(shape, cell_m), building_m, rng.random(shape) < 0.1))
        transmitters.append(Transmitter(((column + 0.5) * cell_m, (row + 0.5) * cell_m, 1.5)))
    return scenes, transmitters


def make_batch(shape=(12, 16), num=5):
    scenes, transmitters = make_scenes(shape, num)
    rng = np.random.default_rng(8)
    rows = [
        schema.row(scene, 0, transmitter, RadioMap(rng.uniform(-140, -50, shape), scene.outdoor))
        for scene, transmitter in zip(scenes, transmitters, strict=True)
    ]
    columns = columns_of.add_physics(schema.to_columns(schema.to_table(rows)))
    columns["outline"] = rng.random((num, *shape), np.float32)
    columns["outline_predicted"] = rng.random((num, *shape), np.float32)
    return batch.from_columns(columns), columns


@pytest.mark.parametrize("target", batch.TARGETS)
def test_a_target_is_never_an_input(target):
    maps, _ = make_batch()
    with pytest.raises(ValueError, match="never be an input"):
        maps.stack(["building", target])


def test_unknown_and_absent_inputs_are_named():
    maps = batch.from_scenes(*make_scenes())
    with pytest.raises(ValueError, match="unknown input 'gian'"):
        maps.stack(["gian"])
    with pytest.raises(ValueError, match="no 'outline_predicted'"):
        maps.stack(["outline_predicted"])
    with pytest.raises(ValueError, match="unknown input 'valid'"):
        maps.stack(["valid"])


def test_stack_keeps_the_order_of_names():
    maps, _ = make_batch()
    stacked = maps.stack(["tx", "building"])
    assert torch.equal(stacked[:, :1], maps.tx) and torch.equal(stacked[:, 1:], maps.building)


def test_blind_hides_all_that_the_true_map_tells_and_nothing_else():
    maps, columns = make_batch()
    blind = maps.blind()
    assert blind.gain is blind.outline is blind.valid is None
    unknown = {name: values for name, values in columns.items() if name not in ("gain_db", "valid", "outline")}
    without = batch.from_columns(unknown)
    assert set(blind.rasters()) == set(without.rasters())
    assert all(torch.equal(raster, getattr(without, name)) for name, raster in blind.rasters().items())


@pytest.mark.parametrize("shape", [(12, 16), (9, 5), (8, 8)])
def test_scenes_and_columns_make_the_same_batch(shape):
    maps, _ = make_batch(shape)
    direct = batch.from_scenes(*make_scenes(shape))
    assert direct.building.shape == (5, 1, *shape)
    for name, raster in direct.rasters().items():
        assert torch.equal(raster, getattr(maps, name)), name


def test_values_are_the_physical_ones():
    maps, columns = make_batch()
    valid = columns["valid"][:, None] == 1
    gain_db = units.gain_db_from_signal(maps.gain.numpy())
    np.testing.assert_allclose(gain_db[valid], columns["gain_db"][:, None][valid], atol=1e-4)
    np.testing.assert_allclose(gain_db[~valid], units.GAIN_FLOOR_DB, atol=1e-4)
    assert torch.equal(maps.outdoor, torch.from_numpy(columns["building_m"] <= 0)[:, None])
    assert (maps.tx.flatten(1) == 1).sum(1).tolist() == [1] * 5
    back = batch.to_radio_maps(maps.gain, maps)
    np.testing.assert_allclose(back[2].gain_db[back[2].valid], columns["gain_db"][2][back[2].valid], atol=1e-4)


@pytest.mark.parametrize("shape", [(12, 16), (10, 10)])
def test_augment_moves_all_rasters_alike(shape):
    maps, _ = make_batch(shape, num=24)
    turned = maps.augment(torch.Generator().manual_seed(3))
    assert turned.building.shape == maps.building.shape
    assert turned.valid.dtype == torch.bool
    assert not torch.equal(turned.building, maps.building)
    for index in range(len(maps)):
        row, column = np.argwhere(turned.tx[index, 0].numpy() == 1)[0] + 0.5
        seen = visibility.line_of_sight(turned.building[index, 0].numpy() > -1, (row, column))
        np.testing.assert_array_equal(units.signal_from_grey(seen.astype(np.float32)), turned.line_of_sight[index, 0])
        distance_m = pathloss.distance_m(shape, maps.cell_m, (column * maps.cell_m, row * maps.cell_m))
        wanted = units.signal_from_gain_db(pathloss.free_space_gain_db(distance_m, 5.9e9))
        np.testing.assert_allclose(turned.log_distance[index, 0], wanted, atol=1e-5)
    # The rasters that nothing can be recomputed from: the same permutation as the building.
    for code in range(8 if shape[0] == shape[1] else 4):
        again = batch.symmetry(maps.building, code)
        same = [i for i in range(len(maps)) if torch.equal(again[i], turned.building[i])]
        for name in ("gain", "outline", "outline_predicted", "valid", "vehicle"):
            moved = batch.symmetry(getattr(maps, name), code)
            assert torch.equal(moved[same], getattr(turned, name)[same]), (name, code)


def test_the_symmetries_are_different_and_complete():
    raster = torch.arange(9.0).reshape(3, 3)
    found = {tuple(batch.symmetry(raster, code).flatten().tolist()) for code in range(8)}
    assert len(found) == 8
    assert {tuple(torch.rot90(raster, k).flatten().tolist()) for k in range(4)} <= found


def test_augment_belongs_to_its_generator():
    maps, _ = make_batch()
    first, second = (maps.augment(torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.gain, second.gain)


def test_slices_and_bad_shapes():
    maps, _columns = make_batch()
    part = maps[1:3]
    assert len(part) == 2 and torch.equal(part.gain, maps.gain[1:3])
    with pytest.raises(ValueError, match="MapBatch.outline_predicted has shape"):
        maps.with_outline(torch.zeros(5, 1, 4, 4))
    with pytest.raises(ValueError, match="share a grid"):
        columns_of.scene_columns([make_scenes()[0][0], make_scenes((8, 8))[0][0]], make_scenes()[1][:2])
    with pytest.raises(ValueError, match="inside a building"):
        scene = make_scenes()[0][0]
        row, column = np.argwhere(scene.building_m > 0)[0]
        batch.from_scenes([scene], [Transmitter(((column + 0.5) * 4, (row + 0.5) * 4, 1.5))])


def test_openness_is_the_street_that_the_transmitter_sees():
    """A courtyard of 3 x 3 cells, a field without buildings, and the law in between: a square of its own side."""
    grid = Grid((25, 25), 4.0)
    courtyard = np.zeros(grid.shape)
    courtyard[10:15, 10:15] = 20.0
    courtyard[11:14, 11:14] = 0.0
    scenes = [Scene("courtyard", grid, courtyard), Scene("field", grid, np.zeros(grid.shape))]
    middle = Transmitter((12.5 * 4, 12.5 * 4, 1.5))
    openness = batch.from_scenes(scenes, [middle, middle]).openness
    wanted = [units.signal_from_amount(side_m, 50.0) for side_m in (3 * 4.0, 25 * 4.0)]
    assert openness.shape == (2, 1, 25, 25)
    for values, value in zip(openness, wanted, strict=True):
        torch.testing.assert_close(values, torch.full((1, 25, 25), value))
    turned = batch.from_scenes(scenes, [middle, middle]).turn(6)
    assert torch.equal(turned.openness, openness)


@pytest.mark.parametrize(("cell_m", "value"), [(0.25, -1.0), (4.0, 0.0), (8.0, 0.25), (64.0, 1.0)])
def test_the_size_of_a_cell_is_told_in_doublings(cell_m, value):
    maps = batch.from_scenes(*make_scenes(cell_m=cell_m))
    assert torch.equal(maps.stack(["cell_size"]), torch.full((5, 1, 12, 16), value))


def test_cells_that_no_number_stands_for_are_refused():
    with pytest.raises(ValueError, match=r"0.25 to 64 m.*got 65 m"):
        batch.from_scenes(*make_scenes(cell_m=65.0)).stack(["cell_size"])


@pytest.fixture(scope="module")
def multipath():
    """A batch with everything, and its columns."""
    _, columns = make_batch((10, 10), num=12)
    columns = columns_of.add_dominant_path(columns)
    return batch.from_columns(columns), columns


def test_a_plain_batch_has_no_place_for_the_dominant_path_map():
    """Of srm and drm maps it is the truth, so it must not be there by accident."""
    maps, _ = make_batch()
    assert type(maps) is batch.MapBatch and not hasattr(maps, "dominant_path")
    assert "dominant_path" not in {one.name for one in fields(batch.MapBatch)}
    with pytest.raises(ValueError, match="srm and drm maps .* truth itself.*only batches of multipath or measured"):
        maps.stack(["building", "dominant_path"])
    with pytest.raises(TypeError, match="dominant_path"):
        batch.MapBatch(cell_m=4.0, dominant_path=maps.tx, **maps.rasters())
    with pytest.raises(TypeError, match="dominant_path"):
        batch.MultipathBatch(cell_m=4.0, **maps.rasters())
    with pytest.raises(ValueError, match="dominant_path has shape"):
        batch.MultipathBatch(cell_m=4.0, dominant_path=maps.tx[:2], **maps.rasters())


def test_the_dominant_path_map_is_the_models_vehicles_and_all(multipath):
    maps, columns = multipath
    empty = columns_of.add_dominant_path({**columns, "vehicle_m": np.zeros_like(columns["vehicle_m"])})
    assert not np.array_equal(empty["dominant_path_db"], columns["dominant_path_db"])
    for index in range(len(maps)):
        scene, transmitter, _ = schema.nouns({name: values[index] for name, values in columns.items()})
        wanted = dominant_path.solve(scene, transmitter).gain_db
        np.testing.assert_array_equal(columns["dominant_path_db"][index], wanted)
        found = maps.stack(["dominant_path"])[index, 0]
        np.testing.assert_allclose(units.gain_db_from_signal(found.numpy()), wanted, atol=1e-3)
        assert (found[~maps.outdoor[index, 0]] == -1).all() and found.abs().max() <= 1


def test_only_the_dominant_path_map_is_added(multipath):
    maps, columns = multipath
    plain = batch.from_columns({name: values for name, values in columns.items() if name != "dominant_path_db"})
    assert type(maps) is batch.MultipathBatch and type(plain) is batch.MapBatch
    assert set(maps.rasters()) - set(plain.rasters()) == {"dominant_path"}
    assert all(torch.equal(raster, getattr(maps, name)) for name, raster in plain.rasters().items())
    direct = batch.from_scenes(*make_scenes((10, 10), 12), dominant_path=True)
    assert torch.equal(direct.dominant_path, maps.dominant_path)
    assert type(batch.from_scenes(*make_scenes((10, 10), 12))) is batch.MapBatch


def test_a_multipath_batch_stays_one_whatever_is_done_to_it(multipath):
    maps, _ = multipath
    raster = maps.dominant_path
    for code in range(8):
        assert torch.equal(maps.turn(code).dominant_path, batch.symmetry(raster, code))
    same = (maps.blind(), maps.with_outline(maps.outline), maps.to("cpu"), maps[:])
    assert all(type(one) is batch.MultipathBatch and torch.equal(one.dominant_path, raster) for one in same)
    assert (
        torch.equal(maps[2:5].dominant_path, raster[2:5])
        and maps.to(torch.float64).dominant_path.dtype == torch.float64
    )
    turned = maps.augment(torch.Generator().manual_seed(3))
    assert not torch.equal(turned.dominant_path, raster)
    for index in range(len(maps)):
        codes = [c for c in range(8) if torch.equal(batch.symmetry(maps.gain[index], c), turned.gain[index])]
        assert len(codes) == 1
        assert torch.equal(batch.symmetry(raster[index], codes[0]), turned.dominant_path[index])


def test_what_dm1_draws_is_the_last_input():
    """DM2's denoiser starts from DM1's, whose inputs must be a beginning of its own."""
    assert batch.INPUTS[-1] == "outline_predicted" and "dominant_path" in batch.INPUTS
