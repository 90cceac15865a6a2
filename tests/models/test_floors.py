"""The floors: Friis outdoors, and a log-distance law that least squares finds again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raymap import units
from raymap.data.batch import from_columns
from raymap.data.columns import add_physics
from raymap.models.pathloss import Cell3gpp, FreeSpace, LogDistance
from raymap.physics import pathloss

LIT, SHADOWED = (52.0, 1.8), (61.0, 2.9)


def columns_of(maps, rows=slice(None)):
    return {name: values[rows] for name, values in maps.columns.items()}


def law_db(columns, lit=LIT, shadowed=SHADOWED):
    """(B, H, W) gains [dB] of two log-distance laws, one in and one out of line of sight."""
    gains_db = []
    for index, (x_m, y_m, _) in enumerate(columns["tx_xyz_m"]):
        distance_m = pathloss.distance_m(columns["building_m"].shape[1:], 8.0, (x_m, y_m))
        laws_db = [pathloss.log_distance_gain_db(distance_m, *law) for law in (lit, shadowed)]
        gains_db.append(np.where(columns["line_of_sight"][index], *laws_db))
    return np.stack(gains_db)


def as_batch(columns, gain_db):
    return from_columns({**columns, "gain_db": gain_db})


def test_free_space_is_friis_outdoors_and_the_floor_inside(maps):
    columns = columns_of(maps)
    batch = as_batch(columns, columns["gain_db"])
    found_db = units.gain_db_from_signal(FreeSpace(FreeSpace.Config()).predict(batch.blind(), range(8)).numpy())
    rng = np.random.default_rng(0)
    for index, row, column in zip(rng.integers(0, 8, 200), *rng.integers(0, 32, (2, 200)), strict=True):
        x_m, y_m, _ = columns["tx_xyz_m"][index]
        distance_m = max(np.hypot((column + 0.5) * 8 - x_m, (row + 0.5) * 8 - y_m), 4.0)
        outdoor = columns["building_m"][index, row, column] == 0
        wanted = -units.free_space_loss_db(distance_m, 5.9e9) if outdoor else units.GAIN_FLOOR_DB
        assert found_db[index, 0, row, column] == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("frequency_hz", [3.5e9, 5.9e9])
def test_3gpp_reads_the_frequency_off_the_map(maps, frequency_hz):
    columns = columns_of(maps)
    columns["frequency_hz"] = np.full_like(columns["frequency_hz"], frequency_hz)
    batch = from_columns(columns).blind()
    found_db = units.gain_db_from_signal(Cell3gpp(Cell3gpp.Config(scenario="uma")).predict(batch, range(8)).numpy())
    for index, (x_m, y_m, _) in enumerate(columns["tx_xyz_m"]):
        distance_m = pathloss.distance_m((32, 32), 8.0, (x_m, y_m))
        wanted_db = pathloss.cell_3gpp_gain_db(distance_m, columns["line_of_sight"][index], frequency_hz, pathloss.UMA)
        outdoor = batch.outdoor[index, 0].numpy()
        np.testing.assert_allclose(found_db[index, 0][outdoor], wanted_db[outdoor], atol=0.3)


def test_log_distance_finds_both_laws_again_on_other_maps(maps):
    seen, unseen = columns_of(maps, slice(0, 6)), columns_of(maps, slice(6, 8))
    model = LogDistance(LogDistance.Config())
    model.prepare(as_batch(seen, law_db(seen))[start : start + 2] for start in (0, 2, 4))
    batch = as_batch(unseen, law_db(unseen))
    error_db = units.gain_db_from_signal(model.predict(batch.blind(), range(2))) - units.gain_db_from_signal(batch.gain)
    assert (batch.valid & (batch.line_of_sight > 0)).any() and (batch.valid & (batch.line_of_sight < 0)).any()
    assert error_db[batch.valid].abs().max() < 0.05


def test_log_distance_is_the_least_squares_fit(maps):
    """No other slope or offset of either law is better on the maps it was fitted to."""
    columns = columns_of(maps)
    batch = as_batch(columns, columns["gain_db"])
    model = LogDistance(LogDistance.Config())
    model.prepare([batch])

    def error():
        image = model.predict(batch.blind(), range(8))
        return float((image - batch.gain)[batch.valid].double().square().mean())

    best, fitted = error(), model.coefficients.clone()
    for index in range(4):
        for change in (-0.02, 0.02):
            model.coefficients.copy_(fitted)
            model.coefficients[index] += change
            assert error() > best


def test_the_fit_ignores_cells_that_are_not_valid(maps):
    columns = columns_of(maps)
    batch = as_batch(columns, law_db(columns))
    first, second = LogDistance(LogDistance.Config()), LogDistance(LogDistance.Config())
    first.prepare([batch])
    second.prepare([replace(batch, gain=torch.where(batch.valid, batch.gain, 0.9))])
    assert torch.equal(first.coefficients, second.coefficients)


def test_the_fit_does_not_depend_on_how_maps_are_batched(maps):
    columns = columns_of(maps)
    batch = as_batch(columns, columns["gain_db"])
    whole, parts = LogDistance(LogDistance.Config()), LogDistance(LogDistance.Config())
    whole.prepare([batch])
    parts.prepare(batch[start : start + 3] for start in (0, 3, 6))
    torch.testing.assert_close(whole.coefficients, parts.coefficients, rtol=1e-5, atol=1e-5)


def test_open_ground_alone_is_enough_to_fit(maps):
    columns = columns_of(maps, slice(0, 2))
    columns["building_m"] = np.zeros_like(columns["building_m"])
    columns["valid"] = np.ones_like(columns["valid"])
    columns = add_physics(columns)
    batch = as_batch(columns, law_db(columns))
    model = LogDistance(LogDistance.Config())
    model.prepare([batch])
    torch.testing.assert_close(model.predict(batch.blind(), range(2)), batch.gain, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", [FreeSpace, LogDistance])
def test_floors_call_no_network_and_need_no_training(kind, batch):
    model = kind(kind.Config())
    assert model.parts() == {} and model.network_calls == 0
    with pytest.raises(TypeError, match="no training loss"):
        model(batch)
