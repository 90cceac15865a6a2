"""Generated towns and transmitter sites: the promises of their docstrings, over many seeds."""

import itertools

import numpy as np
import pytest
from scipy.ndimage import label

from raymap.data import generated, sites
from raymap.data.blocks import FILLS, HEIGHT_M
from raymap.data.polygons import area, cut, halves, inset, lots, paint
from raymap.scene import Grid, Scene

GRID = Grid((256, 256), 1.0)
SQUARE = [(10.0, 10.0), (40.0, 10.0), (40.0, 30.0), (10.0, 30.0)]


@pytest.fixture(scope="module")
def towns() -> list[Scene]:
    return [generated.city(seed, GRID) for seed in range(60)]


def _largest_part(scene: Scene) -> float:
    parts, _ = label(scene.outdoor)
    return np.bincount(parts.ravel())[1:].max() / parts.size


def test_towns_keep_their_promises(towns):
    for town in towns:
        built = 1 - town.outdoor.mean()
        assert generated.BUILT[0] <= built <= generated.BUILT[1], town.name
        assert _largest_part(town) >= generated.MIN_CONNECTED, town.name
        heights_m = town.building_m[~town.outdoor]
        assert heights_m.min() >= HEIGHT_M[0] and heights_m.max() <= HEIGHT_M[1], town.name
        assert len(np.unique(heights_m)) > 5, town.name


def test_towns_differ_and_vary(towns):
    built = np.array([1 - town.outdoor.mean() for town in towns])
    assert built.min() < 0.25 and built.max() > 0.45
    agreement = [np.mean(a.outdoor == b.outdoor) for a, b in itertools.pairwise(towns)]
    assert max(agreement) < 0.9
    assert towns[42].name == "generated/000042"


def test_a_seed_is_a_town(towns):
    assert np.array_equal(generated.city(7, GRID).building_m, towns[7].building_m)


def test_the_same_town_at_every_cell_size(towns):
    for town in towns[:20]:
        coarse = generated.city(int(town.name[-6:]), Grid((64, 64), 4.0))
        assert np.mean(coarse.outdoor == town.coarsen(4).outdoor) > 0.93, town.name
        assert _largest_part(coarse) >= generated.MIN_CONNECTED, town.name


def test_other_shapes():
    assert generated.city(1, Grid((100, 300), 1.0)).building_m.shape == (100, 300)
    with pytest.raises(ValueError, match="larger grid"):
        generated.city(0, Grid((2, 2), 1.0))
    with pytest.raises(ValueError, match="negative"):
        generated.city(-1, GRID)


def test_no_cracks_and_few_specks(towns):
    """Lots that share a wall leave no dotted lines between them, before or after streets are bent."""
    for town in towns:
        for mask in (town.outdoor, ~town.outdoor):
            parts, _ = label(mask, np.ones((3, 3)))
            sizes = np.bincount(parts.ravel())[1:]
            assert np.count_nonzero(sizes <= 2) <= 12, town.name


def test_every_style_can_be_built():
    for style in generated.STYLES.values():
        assert set(style.fills) <= set(FILLS)
        assert style.network in generated._NETWORKS


def test_cutting_conserves_area():
    left, right = cut(SQUARE, (20, 0), (21, 50), 0.0), cut(SQUARE, (21, 50), (20, 0), 0.0)
    assert area(left) + area(right) == pytest.approx(600.0)
    assert area(inset(SQUARE, 3.0)) == pytest.approx(24 * 14)
    assert inset(SQUARE, 11.0) == []
    assert sum(map(area, halves(SQUARE, 0.3, (1, 0), street_m=2.0))) == pytest.approx(600 - 2 * 20)
    assert sum(map(area, lots(np.random.default_rng(0), SQUARE, 7.0))) == pytest.approx(600.0)


def test_painting_is_exact_and_in_order():
    height_m = paint([(SQUARE, 9.0), (inset(SQUARE, 5.0), 0.0)], (50, 60), 1.0)
    expected = np.zeros((50, 60), np.float32)
    expected[10:30, 10:40] = 9
    expected[15:25, 15:35] = 0
    assert np.array_equal(height_m, expected)
    assert paint([], (3, 4), 1.0).sum() == 0


def test_sites_are_outdoors_in_the_window_and_apart(towns):
    for town in towns[:20]:
        placed = sites.place(town, 10, seed=1)
        cells = np.array([town.require_outdoor(transmitter) for transmitter in placed])
        assert cells.min() >= 51 and cells.max() <= 204, town.name
        apart = np.hypot(*(cells[:, None] - cells[None]).transpose(2, 0, 1)) + np.eye(10) * 1e9
        assert apart.min() >= 8, town.name
        assert all(transmitter.xyz_m[0] % 1 == 0.5 and transmitter.xyz_m[2] == 1.5 for transmitter in placed)


def test_sites_are_deterministic(towns):
    assert sites.place(towns[0], 5, 3) == sites.place(towns[0], 5, 3)
    assert sites.place(towns[0], 5, 3) != sites.place(towns[0], 5, 4)


def test_sites_avoid_closed_courtyards():
    building_m = np.zeros((100, 100), np.float32)
    building_m[25:75, 25:75] = 10
    building_m[40:60, 40:60] = 0  # 400 m² in 7500 m² of street
    scene = Scene("ring", Grid((100, 100), 1.0), building_m)
    rows = [scene.require_outdoor(transmitter)[0] for transmitter in sites.place(scene, 300, 0)]
    columns = [scene.require_outdoor(transmitter)[1] for transmitter in sites.place(scene, 300, 0)]
    assert not any(40 <= row < 60 and 40 <= column < 60 for row, column in zip(rows, columns, strict=True))


def test_sites_fill_the_last_cell():
    scene = Scene("field", Grid((10, 10), 2.0), np.zeros((10, 10), np.float32))
    assert len(set(sites.place(scene, 36, 0))) == 36
    with pytest.raises(ValueError, match="'field'.*room for 36"):
        sites.place(scene, 37, 0)


def test_no_site_names_the_scene():
    scene = Scene("solid block", Grid((20, 20), 1.0), np.full((20, 20), 8.0))
    with pytest.raises(ValueError, match="'solid block'"):
        sites.place(scene, 1, 0)
    for wrong in ({"num": 0}, {"num": 1, "margin": 0.5}):
        with pytest.raises(ValueError, match="must be"):
            sites.place(scene, seed=0, **wrong)
