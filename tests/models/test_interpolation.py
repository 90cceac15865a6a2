"""Nearest measurement and Kriging: exact where measured, and what they make of the rest."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raymap.data.batch import batches
from raymap.models.cell_law import CellLaw
from raymap.models.interpolation import Corrected, Kriging, NearestMeasurement

METHODS = [NearestMeasurement(NearestMeasurement.Config()), Kriging(Kriging.Config()), Corrected(Corrected.Config())]


def measured_at(batch, gain, share, seed=0):
    """The batch with a share of its outdoor cells measured from ``gain`` (B, 1, H, W)."""
    drawn = torch.rand(gain.shape, generator=torch.Generator().manual_seed(seed)) < share
    chosen = drawn & batch.outdoor
    return replace(batch, sampled=torch.where(chosen, 1.0, -1.0), samples=torch.where(chosen, gain, 0.0))


@pytest.mark.parametrize("model", METHODS, ids=lambda model: model.config.kind)
def test_measured_cells_keep_what_was_measured(model, batch):
    given = measured_at(batch, batch.gain, 0.1)
    found = model.predict(given.blind(), range(4))
    chosen = given.sampled > 0
    torch.testing.assert_close(found[chosen], batch.gain[chosen].clamp(-1, 1), rtol=0, atol=1e-4)


def test_the_nearest_measurement_is_found_by_hand(batch):
    open_air = replace(batch.blind()[:1], building=torch.full_like(batch.building[:1], -1.0))
    sampled, samples = torch.full_like(open_air.tx, -1.0), torch.zeros_like(open_air.tx)
    for row, column, value in ((0, 0, -0.5), (31, 31, 0.25)):
        sampled[0, 0, row, column], samples[0, 0, row, column] = 1.0, value
    found = METHODS[0].predict(replace(open_air, sampled=sampled, samples=samples), [0])[0, 0]
    rows, columns = np.mgrid[:32, :32]
    nearer_to_the_first = torch.from_numpy(rows + columns < 31)
    assert (found[nearer_to_the_first] == -0.5).all()
    assert (found[torch.from_numpy(rows + columns > 31)] == 0.25).all()


def test_kriging_finds_a_law_of_the_distance_again(batch):
    law = 0.6 * batch.log_distance - 0.3
    found = METHODS[1].predict(measured_at(batch, law, 0.05).blind(), range(4))
    torch.testing.assert_close(found[batch.outdoor], law[batch.outdoor].clamp(-1, 1), rtol=0, atol=1e-4)


def error(model, batch, share):
    """Root of the mean square over outdoor cells that nobody measured."""
    given = measured_at(batch, batch.gain, share)
    unseen = batch.outdoor & (given.sampled < 0)
    return float((model.predict(given.blind(), range(4)) - batch.gain)[unseen].square().mean().sqrt())


@pytest.mark.parametrize("model", METHODS, ids=lambda model: model.config.kind)
def test_more_measurements_leave_less_error(model, batch):
    errors = [error(model, batch, share) for share in (0.01, 0.1, 0.5)]
    assert errors[0] > errors[1] > errors[2]


def test_kriging_with_neighbours_alone_is_near_kriging_with_all(batch, monkeypatch):
    given = measured_at(batch, batch.gain, 0.3).blind()[:1]
    whole = METHODS[1].predict(given, [0])
    monkeypatch.setattr("raymap.models.interpolation._MOST_AT_ONCE", 16)
    near = METHODS[1].predict(given, [0])
    difference = (near - whole)[given.outdoor].square().mean().sqrt()
    assert 0 < difference < 0.02, "one decibel"


def test_few_measurements_give_their_mean(batch):
    sampled, samples = torch.full_like(batch.tx, -1.0), torch.zeros_like(batch.tx)
    for number, place in enumerate(batch.outdoor[0, 0].nonzero()[:3]):
        sampled[:, 0, place[0], place[1]], samples[:, 0, place[0], place[1]] = 1.0, 0.1 * number
    one = replace(batch.blind(), sampled=sampled, samples=samples)[:1]
    torch.testing.assert_close(METHODS[1].predict(one, [0])[one.outdoor], torch.tensor(0.1).expand(one.outdoor.sum()))


@pytest.mark.parametrize("model", METHODS, ids=lambda model: model.config.kind)
def test_a_map_without_measurements_is_refused(model, batch):
    none = replace(batch.blind(), sampled=torch.full_like(batch.tx, -1.0))
    with pytest.raises(ValueError, match="map 0 of the batch has no measured cell; .* needs one"):
        model.predict(none, range(4))
    with pytest.raises(ValueError, match="this batch carries no 'sampled': this model needs measurements"):
        model.predict(replace(batch.blind(), sampled=None), range(4))


def test_a_correction_takes_away_what_a_model_misses(batch, maps):
    law = CellLaw(CellLaw.Config(num_steps=200))
    law.prepare(batches(maps, 4))
    given = measured_at(batch, batch.gain, 0.1)
    unseen = batch.outdoor & (given.sampled < 0)
    corrected = Corrected.of(law)
    errors = [
        float((model.predict(given.blind(), range(4)) - batch.gain)[unseen].square().mean())
        for model in (corrected, law, METHODS[1])
    ]
    assert errors[0] < 0.9 * errors[1] and errors[0] < 0.9 * errors[2], "better than the law and than Kriging"
    assert torch.equal(corrected.model.predict(batch, ()), law.predict(batch, ()))


def test_a_mean_error_is_taken_away_everywhere(batch):
    brighter = (batch.log_distance + 0.1).clamp(-1, 1)
    found = METHODS[2].predict(measured_at(batch, brighter, 0.02).blind(), range(4))
    torch.testing.assert_close(found[batch.outdoor], brighter[batch.outdoor], rtol=0, atol=1e-3)
