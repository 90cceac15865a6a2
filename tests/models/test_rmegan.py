"""RME-GAN: two parts that do not move each other, two phases, with measurements and without."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from raymap import units
from raymap.data.batch import batches, from_columns
from raymap.models.regression import Regression
from raymap.models.rmegan import GLOBAL, LOCAL, RmeGan, Weights
from raymap.physics import pathloss

TINY = {"cell_m": 8.0, "scale": 0.1, "critic_widths": (8, 16)}
MEASURED = ("building", "tx", "samples", "sampled")


def a_gan(maps, seed=0, **changes):
    torch.manual_seed(seed)
    model = RmeGan(RmeGan.Config(**{**TINY, **changes}))
    model.prepare(batches(maps, 4))
    return model


def steps(model, batch, part, num, learning_rate=2e-3):
    """Adam on one part's loss; the terms of every step."""
    optimizer = torch.optim.Adam(model.parts()[part], lr=learning_rate)
    terms = []
    for _ in range(num):
        optimizer.zero_grad()
        terms.append(model(batch, part))
        terms[-1]["loss"].backward()
        optimizer.step()
    return [{name: float(term.detach()) for name, term in step.items()} for step in terms]


def weights_of(model, part):
    return [weight.detach().clone() for weight in model.parts()[part]]


@pytest.mark.parametrize(("stepped", "still"), [("generator", "critic"), ("critic", "generator")])
def test_a_step_of_one_part_moves_all_of_it_and_nothing_of_the_other(maps, batch, stepped, still):
    model = a_gan(maps)
    before = {part: weights_of(model, part) for part in model.parts()}
    steps(model, batch, stepped, 1)
    assert all(torch.equal(*pair) for pair in zip(before[still], weights_of(model, still), strict=True))
    assert not any(torch.equal(*pair) for pair in zip(before[stepped], weights_of(model, stepped), strict=True))
    assert all(weight.grad is None for weight in model.parts()[still])


def test_the_parts_are_all_there_is_to_learn(maps):
    model = a_gan(maps)
    parts = [weight for part in model.parts().values() for weight in part]
    assert {id(weight) for weight in parts} == {id(weight) for weight in model.parameters()}
    assert len(parts) == len(list(model.parameters()))


def test_the_critic_learns_to_tell_true_maps_from_blurred_ones(maps, batch, monkeypatch):
    model = a_gan(maps, critic_widths=(16, 32))
    blurred = torch.where(batch.outdoor, F.avg_pool2d(batch.gain, 5, stride=1, padding=2), -1.0)
    monkeypatch.setattr(model, "_draw", lambda _: blurred)
    found = steps(model, batch, "critic", 100)
    assert found[0]["loss"] == pytest.approx(np.log(2), abs=0.1)
    assert found[-1]["loss"] < 0.2 and found[-1]["recognised"] > 0.95


def test_the_generator_learns_what_the_critic_takes_for_true(maps, batch):
    model = a_gan(maps, weights=Weights(adversarial=1.0, squared=0.0))
    steps(model, batch, "critic", 20)
    found = steps(model, batch, "generator", 20)
    assert set(found[0]) == {"loss", "adversarial"}
    assert found[-1]["adversarial"] < 0.7 * found[0]["adversarial"]


@pytest.mark.parametrize(
    ("weights", "terms"),
    [
        (GLOBAL, {"adversarial", "squared", "variation", "gradient"}),
        (LOCAL, {"adversarial", "squared", "absolute", "variation", "structure", "spectrum", "brightest"}),
    ],
)
def test_a_phase_is_the_sum_of_its_weighted_terms(maps, batch, weights, terms):
    found = a_gan(maps, weights=weights)(batch, "generator")
    found = {name: float(term.detach()) for name, term in found.items()}
    total = sum(getattr(weights, name) * found[name] for name in terms)
    assert set(found) == {"loss", *terms}
    assert found["loss"] == pytest.approx(total, rel=1e-5)


def test_the_weights_are_the_released_ones_for_pictures_of_256_levels():
    """METHODS §6, written out for a picture whose terms are known: differences of it grow with the number of levels."""
    adversarial, squared, absolute, variation, gradient, structure, brightest = 0.7, 0.01, 0.08, 0.03, 0.4, 0.2, 0.05
    summed = 1e-7 * 30 * 256**2 * variation * 256
    first = 10 * adversarial + squared * 256**2 + 10 * summed + 10 * gradient
    mixed = 200 * (0.025 * structure + 0.975 * absolute)
    second = adversarial + 100 * squared * 256**2 + 0.001 * summed + 84 * mixed + brightest * 256
    for released, weights in ((first, GLOBAL), (second, LOCAL)):
        terms = {
            "adversarial": adversarial, "squared": squared, "absolute": absolute, "variation": variation,
            "gradient": gradient, "structure": structure, "brightest": brightest,
        }  # fmt: skip
        ours = sum(getattr(weights, name) * term for name, term in terms.items())
        assert ours / weights.squared == pytest.approx(released / (256**2 * (1 if weights is GLOBAL else 100)))


def test_the_second_phase_goes_on_where_the_first_ended(maps, batch):
    first, second = a_gan(maps, weights=GLOBAL), RmeGan(RmeGan.Config(**TINY))
    for part in first.parts():
        steps(first, batch, part, 2)
    second.start_from("first", first)
    assert second.config.weights == LOCAL
    assert torch.equal(second.predict(batch, ()), first.predict(batch, ()))
    with torch.no_grad():
        assert second(batch, "critic") == first(batch, "critic")


def test_a_second_phase_of_another_network_is_refused(maps):
    with pytest.raises(ValueError, match="trained as .*scale=0.1.*wants .*scale=0.2"):
        RmeGan(RmeGan.Config(**{**TINY, "scale": 0.2})).start_from("first", a_gan(maps))
    with pytest.raises(ValueError, match="must start from an RmeGan, got Regression"):
        a_gan(maps).start_from("first", Regression(Regression.Config()))
    with pytest.raises(ValueError, match="no part 'autoencoder'"):
        a_gan(maps).start_from("autoencoder", a_gan(maps))


def law_db(columns, reference_loss_db, exponent):
    """(B, H, W) gains [dB] of one log-distance law around every transmitter."""
    distances_m = [pathloss.distance_m((32, 32), 8.0, (x_m, y_m)) for x_m, y_m, _ in columns["tx_xyz_m"]]
    return np.stack([pathloss.log_distance_gain_db(one, reference_loss_db, exponent) for one in distances_m])


def as_signal(gain_db):
    return torch.from_numpy(units.signal_from_gain_db(gain_db)).float()[:, None]


def test_without_measurements_the_law_is_that_of_all_training_maps(maps):
    planted_db = law_db(maps.columns, 55.0, 3.1)
    batch = from_columns({**maps.columns, "gain_db": planted_db.astype(np.float32)})
    model = RmeGan(RmeGan.Config(**TINY))
    model.prepare([batch[:4], batch[4:]])
    torch.testing.assert_close(model.fitted(batch.blind()), as_signal(planted_db), rtol=0, atol=1e-4)


def test_with_measurements_every_map_has_the_law_that_was_measured_on_it(maps):
    model = a_gan(maps, inputs=MEASURED)
    planted_db = np.where(np.arange(8)[:, None, None] < 4, law_db(maps.columns, 55, 3), law_db(maps.columns, 40, 4))
    batch = from_columns({**maps.columns, "samples_db": planted_db.astype(np.float32)})
    torch.testing.assert_close(model.fitted(batch.blind()), as_signal(planted_db), rtol=0, atol=1e-4)
    unmeasured = replace(batch, samples=torch.zeros_like(batch.tx), sampled=-torch.ones_like(batch.tx))
    free = a_gan(maps)
    assert torch.equal(model.fitted(unmeasured), free.fitted(batch))


def test_measurements_are_read_and_taken_for_the_brightest(maps, batch):
    model = a_gan(maps, inputs=MEASURED, weights=LOCAL)
    assert not torch.equal(model.predict(batch, ()), model.predict(replace(batch, samples=-batch.samples), ()))
    everywhere = replace(batch, sampled=torch.where(batch.outdoor, 1.0, -1.0))
    some, all_ = (float(model._terms(one, batch.tx, batch.gain)["brightest"]) for one in (batch, everywhere))
    free = a_gan(maps, weights=LOCAL)._terms(batch, batch.tx, batch.gain)["brightest"]
    assert some != all_ == float(free)


@pytest.mark.parametrize("inputs", [("building", "tx", "line_of_sight", "log_distance"), MEASURED])
def test_both_parts_in_turn_learn_the_maps(maps, batch, inputs):
    model = a_gan(maps, inputs=inputs, weights=GLOBAL, scale=0.25)
    optimizers = {part: torch.optim.Adam(weights, lr=3e-3) for part, weights in model.parts().items()}
    first = model.predict(batch, ())
    for _ in range(60):
        for part, optimizer in optimizers.items():
            optimizer.zero_grad()
            model(batch, part)["loss"].backward()
            optimizer.step()
    before, after = ((one - batch.gain)[batch.valid].square().mean() for one in (first, model.predict(batch, ())))
    assert after < 0.5 * before


def test_indoors_neither_part_sees_what_the_generator_drew(maps, batch):
    model = a_gan(maps)
    drawn = model._draw(batch)
    assert (drawn[~batch.outdoor] == -1).all()
    spoiled = replace(batch, gain=torch.where(batch.outdoor, batch.gain, 0.7))
    for part in model.parts():
        assert model(spoiled, part)["loss"] == model(batch, part)["loss"]
