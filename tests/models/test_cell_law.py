"""The law of one cell: it fits what a cell knows, sees nothing around it, and knows no size of a map."""

import dataclasses

import pytest
import torch

from raymap.data.batch import CHANNELS, batches, symmetry
from raymap.data.columns import add_dominant_path
from raymap.data.reader import LoadedMaps
from raymap.models.cell_law import OF_A_CELL, CellLaw
from raymap.models.pathloss import LogDistance

QUICK = {"num_steps": 400, "cells_per_step": 1024}


@pytest.fixture(scope="module")
def law(maps):
    model = CellLaw(CellLaw.Config(**QUICK))
    model.prepare(batches(maps, 4))
    return model


def error(model, batch):
    return float((model.predict(batch.blind(), ()) - batch.gain)[batch.valid].square().mean())


def test_it_fits_better_than_a_law_of_distance(law, maps):
    line = LogDistance(LogDistance.Config())
    line.prepare(batches(maps, 4))
    assert error(law, next(iter(batches(maps, 8)))) < 0.8 * error(line, next(iter(batches(maps, 8))))


def test_it_fits_any_function_of_its_inputs(batch):
    made = 0.5 * torch.sin(3 * batch.log_distance) * batch.line_of_sight - 0.2 * batch.shadow
    made = dataclasses.replace(batch, gain=torch.where(batch.valid, made.clamp(-1, 1), -1.0))
    model = CellLaw(CellLaw.Config(inputs=("line_of_sight", "log_distance", "shadow"), num_steps=800))
    model.prepare([made])
    spread = float(made.gain[made.valid].var())
    assert error(model, made) < 0.02 * spread


def test_a_cell_is_predicted_from_itself_alone(law, batch):
    batch = batch.blind()
    other = dataclasses.replace(batch, log_distance=batch.log_distance.clone())
    other.log_distance[..., 3, 5] = 0.9
    different = (law.predict(batch, ()) != law.predict(other, ())).nonzero()
    assert {(int(row), int(column)) for _, _, row, column in different} <= {(3, 5)}


@pytest.mark.parametrize("code", range(1, 8))
def test_a_turned_map_gives_the_turned_prediction(law, batch, code):
    batch = batch.blind()
    torch.testing.assert_close(
        law.predict(batch.turn(code), ()), symmetry(law.predict(batch, ()), code), rtol=0, atol=1e-5
    )


def test_two_fits_are_the_same_and_nothing_is_learned_by_steps(law, maps):
    again = CellLaw(CellLaw.Config(**QUICK))
    again.prepare(batches(maps, 4))
    assert all(torch.equal(*pair) for pair in zip(law.state_dict().values(), again.state_dict().values(), strict=True))
    assert law.parts() == {} and law.network_calls == 0


@pytest.mark.parametrize("name", ["building", "outline_predicted", *CHANNELS])
def test_what_says_nothing_of_one_cell_is_refused(name):
    assert name not in OF_A_CELL
    with pytest.raises(ValueError, match=f"{name}.*single cell"):
        CellLaw.Config(inputs=("log_distance", name))


def test_the_dominant_path_map_is_read_only_if_asked_for(maps):
    """It is no input of the maps that laws are usually fitted to, for it is their truth."""
    assert "dominant_path" in OF_A_CELL and not CellLaw.Config().reads("dominant_path")
    assert set(OF_A_CELL) - set(CellLaw.Config().inputs) == {"dominant_path"}
    asked = CellLaw(CellLaw.Config(inputs=("log_distance", "dominant_path"), **QUICK))
    with pytest.raises(ValueError, match="srm and drm"):
        asked.prepare(batches(maps, 4))
    both = next(iter(batches(LoadedMaps(add_dominant_path(maps.columns)), 8)))
    asked.prepare([both])
    spread = float(both.gain[both.valid].var())
    assert error(asked, both) < 0.02 * spread, "of these static maps it is the truth, which is why they refuse it"


def test_without_outdoor_cells_there_is_no_law(batch):
    indoors = dataclasses.replace(batch, valid=torch.zeros_like(batch.valid))
    with pytest.raises(ValueError, match="no outdoor cell"):
        CellLaw(CellLaw.Config()).prepare([indoors])
