"""Areas of any size: windows know where the transmitter is, blend to a whole without seams, and never grow."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import raymap
from raymap import area, recipes
from raymap.data.batch import MultipathBatch, from_scenes, symmetry
from raymap.models import base
from raymap.models.cell_law import CellLaw
from raymap.models.pathloss import FreeSpace
from raymap.physics import visibility
from raymap.scene import Grid, Scene, Transmitter

CELL_M = 8.0


def town(shape, seed=0):
    """Blocks of random height with streets between them."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    heights_m = rng.uniform(6, 30, (shape[0] // 6 + 1, shape[1] // 7 + 1))
    building_m = heights_m[rows // 6, columns // 7] * ((rows % 6 > 1) & (columns % 7 > 1))
    return Scene(f"town{seed}", Grid(shape, CELL_M), building_m)


def at(row, column):
    return Transmitter(((column + 0.5) * CELL_M, (row + 0.5) * CELL_M, 1.5))


def batch_of(shape, *cells, **inputs):
    scene = town(shape)
    return from_scenes([scene] * len(cells), [at(*cell) for cell in cells], **inputs).blind()


class PerWindow(FreeSpace):
    """Another constant in every window, as a network that sees other surroundings there."""

    def predict(self, batch, seeds):
        height = torch.tensor([(hash(int(seed)) % 97) / 97 for seed in seeds])
        return torch.where(batch.outdoor, height.view(-1, 1, 1, 1).expand_as(batch.tx), -1.0)


class Looking(FreeSpace):
    """Says one of the inputs, and what it was given."""

    def __init__(self, name, factor=1):
        super().__init__(FreeSpace.Config())
        self.name, self.cells, self.own_factor = name, [], factor

    @property
    def factor(self):
        return self.own_factor

    def predict(self, batch, seeds):
        assert len(seeds) == len(batch)
        self.cells.append(batch.building.numel())
        return torch.where(batch.outdoor, batch.stack([self.name])[:, :1], -1.0)


@pytest.fixture(scope="module")
def k2():
    torch.manual_seed(0)
    model = base.build(recipes.k2("debug").model())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("size", [64, 68, 100, 228, 1000])
@pytest.mark.parametrize(("tile", "overlap"), [(64, 16), (64, 0), (48, 44), (32, 4)])
def test_weights_sum_to_one_and_windows_cover_the_axis(size, tile, overlap):
    begins = area.starts(size, tile, overlap, 4)
    assert begins[0] == 0 and begins[-1] == size - tile and not any(begin % 4 for begin in begins)
    assert all(0 < step <= tile - overlap for step in np.diff(begins))
    total = np.zeros(size)
    weights = area.weights(size, tile, overlap, begins)
    for begin, weight in zip(begins, weights, strict=True):
        total[begin : begin + tile] += weight
    np.testing.assert_allclose(total, 1.0, atol=1e-12)
    assert (weights > 0).all()


@pytest.mark.parametrize(
    ("size", "tile", "overlap"), [(64, 68, 4), (64, 32, 32), (64, 32, -4), (66, 32, 4), (64, 30, 4)]
)
def test_windows_that_do_not_fit_are_refused_with_the_numbers(size, tile, overlap):
    with pytest.raises(ValueError, match=f"tiles of {tile} cells with {overlap} shared do not fit {size}"):
        area.starts(size, tile, overlap, 4)


@pytest.mark.parametrize(
    "name", ["log_distance", "bearing", "openness", "line_of_sight", "crossed", "shadow", "detour", "tx"]
)
def test_windows_know_of_the_whole_area(name):
    """What a window says of its cells is what the area says of them, wherever the transmitter is."""
    batch = batch_of((40, 56), (0, 0), (19, 29), (36, 49))
    whole = Looking(name).predict(batch, range(3))
    tiled = area.predict(Looking(name), batch, range(3), tile_cells=16, overlap_cells=8)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


def test_windows_carry_the_dominant_path_map_of_the_whole_area_if_there_is_one():
    """A window cannot compute it: the path may leave it, and the transmitter may stand elsewhere."""
    batch = batch_of((40, 56), (0, 0), (19, 29), (36, 49), dominant_path=True)
    model = Looking("dominant_path")
    tiled = area.predict(model, batch, range(3), tile_cells=16, overlap_cells=8)
    assert len(model.cells) == 1, "all windows at once"
    torch.testing.assert_close(tiled, torch.where(batch.outdoor, batch.dominant_path, -1.0), rtol=0, atol=1e-5)
    windows = area.cut(batch, [(16, 12), (0, 0)], (8, 12))
    assert isinstance(windows, area.Window) and isinstance(windows, MultipathBatch)
    for code in range(8):
        part = windows.turn(code).to("cpu").blind()[:3]
        wanted = symmetry(batch.dominant_path[..., 16:24, 12:24], code)
        assert type(part) is type(windows) and torch.equal(part.dominant_path, wanted)
    plain = area.cut(batch_of((24, 32), (0, 0)), [(0, 0)], (16, 16))
    with pytest.raises(ValueError, match="only batches of multipath or measured maps"):
        plain.stack(["dominant_path"])


def test_a_law_of_the_scene_is_the_same_in_windows():
    torch.manual_seed(0)
    law = CellLaw(CellLaw.Config())
    batch = batch_of((40, 56), (0, 0), (19, 29))
    tiled = area.predict(law, batch, range(2), tile_cells=24, overlap_cells=4)
    torch.testing.assert_close(tiled, law.predict(batch, range(2)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("code", range(8))
def test_cutting_and_turning_commute(code):
    batch, shape = batch_of((24, 24), (1, 22), (13, 8)), (8, 12)
    window = area.cut(batch, [(16, 12)], shape).turn(code)
    row, column = (0 if code & 1 else 16), (0 if code & 2 else 12)
    corner, turned = ((column, row), shape[::-1]) if code & 4 else ((row, column), shape)
    wanted = area.cut(batch.turn(code), [corner], turned)
    torch.testing.assert_close(window.tx_cell, wanted.tx_cell)
    for name in (*batch.rasters(), "bearing", "openness"):
        torch.testing.assert_close(getattr(window, name), getattr(wanted, name), msg=name)


def test_windows_are_slices_that_move_whole():
    windows = area.cut(batch_of((24, 32), (1, 30), (13, 8)), [(0, 0), (8, 16)], (16, 16))
    assert windows.tx_cell.tolist() == [[1, 30], [13, 8], [-7, 14], [5, -8]]
    part = windows[2:3].to("cpu")
    assert part.tx_cell.tolist() == [[-7, 14]] and (part.tx == -1).all()
    torch.testing.assert_close(part.bearing, windows.bearing[2:3])
    torch.testing.assert_close(part.blind().openness, windows.openness[2:3])
    with pytest.raises(TypeError, match="not trained on"):
        windows.augment(torch.Generator())
    with pytest.raises(ValueError, match="reaches over an area"):
        area.cut(batch_of((24, 32), (0, 0)), [(16, 16)], (16, 16))


def test_windows_that_disagree_leave_no_seam():
    """A step of any height between two windows is spread over what they share."""
    batch = replace(batch_of((48, 48), (0, 0)), building=torch.full((1, 1, 48, 48), -1.0))
    model = PerWindow(FreeSpace.Config())
    tiled = area.predict(model, batch, [5], tile_cells=24, overlap_cells=12)[0, 0]
    assert tiled.std() > 0.05
    for axis in (0, 1):
        assert tiled.diff(dim=axis).abs().max() <= 1.5 / 12


def test_what_fits_is_predicted_in_one_pass_and_unchanged(k2):
    batch = batch_of((32, 24), (0, 0), (31, 1))
    wanted = k2.predict(batch, [3, 4])
    assert torch.equal(area.predict(k2, batch, [3, 4], tile_cells=32, overlap_cells=8), wanted)
    assert not torch.equal(area.predict(k2, batch, [3, 4], tile_cells=24, overlap_cells=8), wanted)


def test_a_window_of_the_whole_area_says_what_the_area_says(k2):
    batch = batch_of((32, 24), (0, 0), (31, 1))
    window = area.cut(batch, [(0, 0)], (32, 24))
    assert torch.equal(k2.predict(window, [3, 4]), k2.predict(batch, [3, 4]))


@pytest.mark.parametrize("shape", [(50, 70), (33, 47), (32, 97)])
def test_a_transmitter_at_any_place_of_an_area_of_any_shape(k2, shape):
    scene = town(shape)
    places = [at(0, 0), at(shape[0] - 1, 0), at(0, shape[1] - 1), at(*np.argwhere(scene.outdoor)[-1])]
    maps = raymap.predict(k2, scene, places, tile_cells=32, overlap_cells=8)
    nearest = raymap.predict(FreeSpace(FreeSpace.Config()), scene, places, tile_cells=32, overlap_cells=8)
    for radio_map, free, place in zip(maps, nearest, places, strict=True):
        assert radio_map.gain_db.shape == shape and np.isfinite(radio_map.gain_db).all()
        np.testing.assert_array_equal(radio_map.valid, scene.outdoor)
        assert np.unravel_index(free.gain_db.argmax(), shape) == place.cell(scene.grid)


def test_equal_seeds_draw_equal_areas_whatever_else_is_asked_for(k2):
    scene, places = town((40, 64)), [at(0, 0), at(20, 36), at(37, 1)]
    together = raymap.predict(k2, scene, places, seeds=[5, 6, 7], tile_cells=32, overlap_cells=8)
    alone = raymap.predict(k2, scene, places[2:], seeds=[7], tile_cells=32, overlap_cells=8)
    np.testing.assert_allclose(alone[0].gain_db, together[2].gain_db, atol=1e-3)


def test_a_model_never_sees_more_than_so_many_cells(monkeypatch):
    monkeypatch.setattr(area, "MAX_CELLS", 2000)
    for shape, tile, largest in (((96, 128), 16, 2000), ((96, 128), 64, 64 * 64), ((16, 16), 64, 2000)):
        model = Looking("tx")
        raymap.predict(model, town(shape), [at(0, 0)] * 9, tile_cells=tile, overlap_cells=4)
        assert sum(model.cells) >= 9 * shape[0] * shape[1] and max(model.cells) <= largest


def test_a_scene_is_padded_to_what_the_model_takes_and_nothing_inside_changes():
    scene = town((33, 47))
    fitted = area.padded(scene, 4)
    assert fitted.grid.shape == (36, 48) and area.padded(fitted, 4) is fitted
    np.testing.assert_array_equal(fitted.building_m[:33, :47], scene.building_m)
    np.testing.assert_array_equal(fitted.building_m[35, :47], scene.building_m[32])
    seen = visibility.line_of_sight(~fitted.outdoor, (0.5, 0.5))[:33, :47]
    np.testing.assert_array_equal(seen, visibility.line_of_sight(~scene.outdoor, (0.5, 0.5)))
    for name in ("log_distance", "line_of_sight", "thickness"):
        pair = [raymap.predict(Looking(name, factor), scene, [at(0, 0)])[0].gain_db for factor in (1, 4)]
        np.testing.assert_array_equal(*pair)
    beside = Transmitter((47.5 * CELL_M, 8.0, 1.5))
    with pytest.raises(ValueError, match="outside the map"):
        raymap.predict(Looking("tx", 4), scene, [beside])


def test_a_model_says_what_sides_it_takes(k2):
    assert k2.multiple == 4 and FreeSpace(FreeSpace.Config()).multiple == 1
    assert base.build(recipes.regression("debug").map.model).multiple == 4


def test_windows_draw_noise_of_their_own():
    """torch reads the lower 32 bits of a seed only: seeds that differ above them would draw one pattern everywhere."""

    class Noise(FreeSpace):
        def predict(self, batch, seeds):
            shape = batch.building.shape[1:]
            drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
            return (0.2 * torch.stack(drawn)).clamp(-1, 1)

    scene = Scene("field", Grid((64, 64), CELL_M), np.zeros((64, 64)))
    signal = raymap.predict(
        Noise(FreeSpace.Config()), scene, [Transmitter((4.0, 4.0, 1.5))], seeds=[3], tile_cells=32, overlap_cells=0
    )
    gain_db = signal[0].gain_db
    parts = [gain_db[:32, :32], gain_db[:32, 32:], gain_db[32:, :32], gain_db[32:, 32:]]
    for index, part in enumerate(parts):
        for other in parts[index + 1 :]:
            assert abs(np.corrcoef(part.ravel(), other.ravel())[0, 1]) < 0.15
