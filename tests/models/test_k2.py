"""RadioDiff-k²: the map stage sees the outline that the outline stage drew, and nothing of the true map."""

from dataclasses import replace

import pytest
import torch

from raymap import diffusion
from raymap.models.base import further_seeds
from raymap.models.cell_law import CellLaw
from raymap.models.k2 import K2
from raymap.models.radiodiff import RadioDiff
from raymap.models.vae import Vae

SMALL = {
    "autoencoder": Vae.Config(channels=(8, 16), latent_channels=4),
    "widths": (32, 32), "num_blocks": 1, "stem": 8, "cell_m": 8.0, "steps": 2,
}  # fmt: skip
OUTLINE = RadioDiff.Config(target="outline", inputs=("building", "tx"), **SMALL)
MAP = RadioDiff.Config(target="gain", inputs=("building", "tx", "outline_predicted"), **SMALL)


def awake(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture
def model():
    return awake(K2(K2.Config(outline=OUTLINE, map=MAP)))


@pytest.mark.parametrize(
    ("outline", "gain", "said"),
    [
        (MAP, OUTLINE, "needs an outline stage and a gain stage, got 'gain' and 'outline'"),
        (OUTLINE, OUTLINE, "got 'outline' and 'outline'"),
        (OUTLINE, MAP.model_copy(update={"inputs": ("building",)}), "read by the map stage"),
        (OUTLINE.model_copy(update={"inputs": MAP.inputs}), MAP, "made by the outline stage"),
        (OUTLINE, MAP.model_copy(update={"cell_m": 4.0}), "8.0 m and 4.0 m"),
    ],
)
def test_stages_that_do_not_fit_are_refused(outline, gain, said):
    with pytest.raises(ValueError, match=said):
        K2.Config(outline=outline, map=gain)


def test_the_map_is_drawn_from_the_drawn_outline(model, batch):
    said = model.predict_all(batch, range(4))
    assert torch.equal(said["outline"], model.outline.predict(batch.blind(), range(4)))
    seeds = further_seeds(range(4), "map")
    with_that = model.map.predict(batch.blind().with_outline(said["outline"]), seeds)
    with_another = model.map.predict(batch.blind().with_outline(-said["outline"]), seeds)
    assert not torch.allclose(with_that, with_another, atol=1e-3)
    assert torch.equal(said["gain"], with_that)


def test_the_stages_that_are_held_are_the_ones_that_are_called(model, batch):
    calls = []
    model.outline.unet.register_forward_hook(lambda *_: calls.append("outline"))
    model.map.unet.register_forward_hook(lambda *_: calls.append("map"))
    model.predict(batch, range(4))
    assert calls == ["outline", "outline", "map", "map"] and model.network_calls == 4


def test_the_stages_draw_noise_of_their_own(model, batch, monkeypatch):
    """Torch looks at the lower 32 bits of a seed only, so an offset above those would change nothing."""
    drawn = []

    def listen(seeds, shape, device, draw=diffusion.seeded_noise):
        source = draw(seeds, shape, device)
        return lambda: drawn.append(source()) or drawn[-1]

    monkeypatch.setattr(diffusion, "seeded_noise", listen)
    model.predict(batch, range(4))
    outline, gain = drawn
    assert outline.shape == gain.shape and (outline - gain).abs().flatten(1).mean(dim=1).min() > 0.5


def test_both_stages_are_sampled_as_asked(model, batch):
    calls = []
    model.outline.unet.register_forward_hook(lambda *_: calls.append("outline"))
    model.map.unet.register_forward_hook(lambda *_: calls.append("map"))
    plain = model.predict(batch, range(4))
    calls.clear()
    with model.with_sampling(steps=3, stochastic=True, views=2):
        assert model.network_calls == 12
        model.predict(batch, range(4))
    assert calls == ["outline"] * 6 + ["map"] * 6
    assert model.network_calls == 4 and torch.equal(model.predict(batch, range(4)), plain)


@pytest.mark.parametrize("value", [float("nan"), 1e9, -1.0])
def test_garbage_in_the_truth_changes_nothing(model, batch, value):
    garbage = replace(
        batch,
        gain=torch.full_like(batch.gain, value),
        outline=torch.full_like(batch.outline, value),
        valid=torch.zeros_like(batch.valid),
    )
    assert torch.equal(model.predict(garbage, range(4)), model.predict(batch.blind(), range(4)))


def test_an_outline_that_lies_in_the_batch_is_not_used(model, batch):
    """The released code reads outlines of the true maps at test time; here the stage draws its own."""
    wanted = model.predict(replace(batch, outline_predicted=None), range(4))
    assert torch.equal(model.predict(batch.with_outline(batch.outline), range(4)), wanted)
    assert torch.equal(model.predict(batch.with_outline(torch.full_like(batch.gain, float("nan"))), range(4)), wanted)


@pytest.mark.parametrize("name", ["gain", "outline"])
def test_the_batch_refuses_to_stack_a_target(batch, name):
    with pytest.raises(ValueError, match=f"'{name}' is computed from the true map"):
        batch.stack(["building", name])


def test_it_starts_from_its_trained_stages(model, batch):
    fresh = K2(model.config).eval()
    before = fresh.predict(batch, range(4))
    fresh.start_from("outline", model.outline)
    fresh.start_from("map", model.map)
    assert not torch.equal(before, model.predict(batch, range(4)))
    assert torch.equal(fresh.predict(batch, range(4)), model.predict(batch, range(4)))


def test_a_stage_of_another_config_or_name_is_refused(model):
    other = RadioDiff(OUTLINE.model_copy(update={"steps": 3}))
    with pytest.raises(ValueError, match="stage 'outline' was trained with another config.*steps=3"):
        model.start_from("outline", other)
    with pytest.raises(ValueError, match="stage 'map' was trained with another config"):
        model.start_from("map", model.outline)
    with pytest.raises(ValueError, match="no part 'autoencoder'"):
        model.start_from("autoencoder", Vae(SMALL["autoencoder"]))


def test_there_is_nothing_to_step(model, batch):
    assert model.parts() == {}
    with pytest.raises(TypeError, match="K2 has no training loss"):
        model(batch)


def test_one_law_of_both_stages_is_computed_once_and_two_laws_twice(batch, monkeypatch):
    law = CellLaw.Config(inputs=("log_distance", "line_of_sight"), width=4)
    model = awake(
        K2(K2.Config(outline=OUTLINE.model_copy(update={"law": law}), map=MAP.model_copy(update={"law": law})))
    )
    computed, predict = [], CellLaw.predict
    monkeypatch.setattr(CellLaw, "predict", lambda self, *given: computed.append(self) or predict(self, *given))
    apart = model.predict_all(batch, range(4))
    assert [*map(id, computed)] == [id(model.outline.law), id(model.map.law)]
    model.map.law.load_state_dict(model.outline.law.state_dict())
    together = model.predict_all(batch, range(4))
    assert len(computed) == 3
    seeds = further_seeds(range(4), "map")
    assert torch.equal(together["gain"], model.map.predict(batch.blind().with_outline(together["outline"]), seeds))
    assert not torch.equal(together["gain"], apart["gain"])
