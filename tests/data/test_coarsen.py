"""Maps on longer cells: the same ground, the same transmitter, and everything that follows from them."""

import numpy as np
import pytest

from raymap.config import OutlineConfig
from raymap.data import schema, sites
from raymap.data.batch import batches
from raymap.data.columns import add_physics
from raymap.data.generated import city
from raymap.data.reader import LoadedMaps, coarsen, true_outline
from raymap.propagation import dominant_path
from raymap.scene import Grid

OUTLINE = OutlineConfig()


@pytest.fixture(scope="module")
def columns():
    rows = []
    for seed in range(3):
        scene = city(seed, Grid((32, 48), 4.0))
        for index, transmitter in enumerate(sites.place(scene, 2, seed)):
            rows.append(schema.row(scene, index, transmitter, dominant_path.solve(scene, transmitter)))
    columns = add_physics(schema.to_columns(schema.to_table(rows)))
    columns["outline"] = true_outline(columns, 4.0, OUTLINE)
    columns["outline_predicted"] = columns["outline"].copy()
    return columns


def test_the_ground_stays_the_same(columns):
    coarse = coarsen(columns, 2, OUTLINE)
    assert coarse["building_m"].shape == (6, 16, 24) and (coarse["cell_m"] == 8.0).all()
    assert set(coarse) == set(columns)
    for name in ("scene", "tx_id", "tx_xyz_m", "frequency_hz"):
        np.testing.assert_array_equal(coarse[name], columns[name])
    built = [(part["building_m"] > 0).mean() for part in (columns, coarse)]
    assert abs(built[0] - built[1]) < 0.1
    assert coarse["outline_predicted"].mean() == pytest.approx(columns["outline_predicted"].mean(), abs=1e-6)


def test_a_coarse_gain_is_the_mean_of_the_fine_ones_outdoors(columns):
    coarse = coarsen(columns, 2, OUTLINE)
    index, (row, column) = 0, np.argwhere(coarse["valid"][0] == 1)[40]
    cells = (index, slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
    fine = columns["gain_db"][cells][columns["valid"][cells] == 1]
    assert coarse["gain_db"][index, row, column] == pytest.approx(fine.mean(), abs=1e-3)


def test_what_follows_from_a_scene_is_computed_on_the_coarse_one(columns):
    coarse = coarsen(columns, 2, OUTLINE)
    again = add_physics({name: coarse[name] for name in schema.COLUMNS})
    for name in ("line_of_sight", "detour_m", "thickness_m", "roof_loss_db"):
        np.testing.assert_array_equal(coarse[name], again[name])
    np.testing.assert_array_equal(coarse["outline"], true_outline(coarse, 8.0, OUTLINE))


def test_every_batch_has_one_of_the_sizes_and_an_epoch_both(columns):
    source = LoadedMaps(columns)
    seen = [
        part.cell_m
        for seed in range(4)
        for part in batches(source, 2, shuffle_seed=seed, factors=(1, 2), outline=OUTLINE)
    ]
    assert set(seen) == {4.0, 8.0} and len(seen) == 12
    again = [
        part.cell_m
        for seed in range(4)
        for part in batches(source, 2, shuffle_seed=seed, factors=(1, 2), outline=OUTLINE)
    ]
    assert again == seen


def test_what_cannot_be_coarsened_is_named(columns):
    with pytest.raises(ValueError, match="cannot be coarsened by 5"):
        coarsen(columns, 5, OUTLINE)
    with pytest.raises(ValueError, match="by which indicator"):
        coarsen(columns, 2)
