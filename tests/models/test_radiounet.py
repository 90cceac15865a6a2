"""RadioUNet: the second net begins where the first ends, and each learns from the cells it is meant to."""

from dataclasses import replace

import pytest
import torch

from raymap import units
from raymap.data.batch import MEASURED, batches
from raymap.models.radiounet import RadioUNet
from raymap.models.regression import Regression

SMALL = {"scale": 0.1, "cell_m": 8.0}


def a_model(nets="both", seed=0, **changes):
    torch.manual_seed(seed)
    return RadioUNet(RadioUNet.Config(nets=nets, **{**SMALL, **changes}))


def test_the_first_net_stands_still_while_the_second_trains(batch):
    model = a_model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    (weights,) = model.parts().values()
    # A decay that would move weights without any gradient.
    optimizer = torch.optim.AdamW(weights, lr=1e-2, weight_decay=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        model(batch)["loss"].backward()
        optimizer.step()
    moved = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert moved == {name for name in before if name.startswith("second.")}


def test_the_second_net_is_shown_the_map_that_the_first_alone_predicts(batch):
    first, whole = a_model("first", seed=1), a_model()
    whole.start_from("first", first)
    seen = []
    whole.second.register_forward_hook(lambda _net, inputs, _out: seen.append(inputs[0]))
    found = whole.predict(batch, range(4))
    by_first = first.predict(batch, range(4))
    assert torch.equal(seen[0][:, :1], units.grey_from_signal(by_first))
    assert torch.equal(seen[0][:, 1:], units.grey_from_signal(batch.stack(whole.config.inputs)))
    assert not torch.equal(found, by_first)
    assert (first.network_calls, whole.network_calls) == (1, 2)


def test_both_nets_are_taken_over_to_train_the_second_on(batch):
    trained, tuned = a_model(seed=1), a_model(sparse_loss=True)
    tuned.start_from("both", trained)
    assert torch.equal(tuned.predict(batch, range(4)), trained.predict(batch, range(4)))
    assert {id(weight) for weight in tuned.parts()["model"]} == {id(weight) for weight in tuned.second.parameters()}


@pytest.mark.parametrize("nets", ["first", "both"])
def test_training_begins_without_a_mean_error_by_the_trained_net_alone(maps, nets):
    model = a_model(nets)
    first = model.first.exit.bias.clone()
    model.prepare(batches(maps, 4))
    with torch.no_grad():
        errors = torch.cat([(model._draw(batch) - batch.gain)[batch.valid] for batch in batches(maps, 4)])
    assert abs(float(errors.mean())) < 1e-5 < float(errors.std())
    assert torch.equal(model.first.exit.bias, first) == (nets == "both")


@pytest.mark.parametrize(
    ("part", "trained", "reason"),
    [
        ("first", lambda: a_model("both"), "'first' must start from a RadioUNet of nets='first', got nets='both'"),
        ("both", lambda: a_model("first"), "'both' must start from a RadioUNet of nets='both', got nets='first'"),
        ("first", lambda: Regression(Regression.Config(widths=(32,), stem=8)), "got Regression"),
        ("first", lambda: a_model("first", scale=0.2), "trained with .*'scale': 0.2.*this model has .*'scale': 0.1"),
        ("first", lambda: a_model("first", cell_m=4.0), "trained with .*'cell_m': 4.0"),
        ("both", lambda: a_model(inputs=("building", "tx")), r"trained with .*\('building', 'tx'\)"),
        ("body", lambda: a_model("first"), "no part 'body'"),
    ],
)
def test_a_start_from_something_else_is_refused(part, trained, reason):
    with pytest.raises(ValueError, match=reason):
        a_model().start_from(part, trained())


def test_the_first_net_alone_has_no_part_to_start_from():
    with pytest.raises(ValueError, match="no part 'first'"):
        a_model("first").start_from("first", a_model("first"))


def test_the_papers_loss_counts_buildings_and_ours_does_not(batch):
    indoors = replace(batch, gain=torch.where(batch.valid, batch.gain, 0.7))
    outdoors = replace(batch, gain=torch.where(batch.valid, 0.7, batch.gain))
    for outdoor_only in (True, False):
        model = a_model("first", outdoor_only=outdoor_only)
        loss = model(batch)["loss"]
        assert torch.equal(loss, model(indoors)["loss"]) == outdoor_only
        assert not torch.equal(loss, model(outdoors)["loss"])


def test_a_sparse_loss_ignores_what_was_not_measured(batch):
    model = a_model(sparse_loss=True)
    unknown = torch.full_like(batch.gain, float("nan"))
    samples = torch.where(batch.sampled > 0, batch.samples, float("nan"))
    terms = model(replace(batch, gain=unknown, valid=~batch.valid, samples=samples))
    error = (a_model(outdoor_only=False)._draw(batch) - batch.samples)[batch.sampled > 0]
    torch.testing.assert_close(terms["loss"], error.square().mean())
    terms["loss"].backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parts()["model"])
    louder = torch.where(batch.sampled > 0, batch.samples + 0.1, batch.samples)
    assert not torch.equal(model(replace(batch, samples=louder))["loss"], terms["loss"])


def test_a_sparse_loss_needs_measurements_that_the_inputs_do_not_show(batch):
    with pytest.raises(ValueError, match="carries no 'samples': this model needs measurements"):
        a_model(sparse_loss=True)(replace(batch, samples=None, sampled=None))
    with pytest.raises(ValueError, match=r"inputs \['samples'\] show what sparse_loss asks for"):
        a_model(sparse_loss=True, inputs=("building", "tx", "samples"))


def test_more_than_three_inputs_enter_through_ten_channels():
    widths = {2: 6, 3: 6, 4: 10}
    for num, width in widths.items():
        model = a_model(scale=1.0, inputs=("building", "tx", "vehicle", "samples")[:num])
        assert model.first.down[0][0].out_channels == width


def test_measurements_and_vehicles_change_what_is_drawn(batch):
    model = a_model(inputs=("building", "vehicle", "tx", *MEASURED))
    before = model.predict(batch.blind(), range(4))
    for name in ("vehicle", *MEASURED):
        other = replace(batch, **{name: getattr(batch, name) + 0.5})
        assert not torch.equal(model.predict(other.blind(), range(4)), before), name
