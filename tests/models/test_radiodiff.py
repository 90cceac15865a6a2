"""RadioDiff: what may be its input, what its diffusion sees, and what it draws if its network is perfect."""

from dataclasses import replace

import pytest
import torch

from raymap import diffusion
from raymap.data.batch import INPUTS, TARGETS, batches, symmetry
from raymap.models.cell_law import CellLaw
from raymap.models.k2 import K2
from raymap.models.radiodiff import RadioDiff
from raymap.models.vae import Vae

CODER = Vae.Config(channels=(8, 16), latent_channels=4)
LAW = CellLaw.Config(num_steps=50, cells_per_step=512)
SMALL = {"autoencoder": CODER, "widths": (32, 32), "num_blocks": 1, "stem": 8, "cell_m": 8.0, "steps": 3}


def a_model(maps=None, **changes):
    """With random weights everywhere, scales measured on ``maps``."""
    torch.manual_seed(0)
    model = RadioDiff(RadioDiff.Config(**{**SMALL, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    if maps is not None:
        model.prepare(batches(maps, 4))
    return model.eval()


def latents(model, batch, monkeypatch):
    """z₀ of a batch, as the diffusion gets it in training."""
    seen = []
    with monkeypatch.context() as patch:
        original = diffusion.q_sample
        patch.setattr(diffusion, "q_sample", lambda z0, *rest: seen.append(z0) or original(z0, *rest))
        model(batch)
    return seen[0]


def make_perfect(model, z0, monkeypatch):
    """Replace the U-Net by one that knows z₀ and answers what the preconditioning leaves to it.

    It reads z_t from its input, which therefore must not fade.
    """

    def answer(z, t, _condition):
        scale = diffusion.precondition(t, z)
        z_t = z / scale.c_in
        time = t.view(-1, 1, 1, 1)
        noise = (z_t - (1 - time) * z0) / time.sqrt()
        drift_part = (-z0 - scale.drift_skip * z_t) / scale.drift_out
        noise_part = (noise - scale.noise_skip * z_t) / scale.noise_out.clamp_min(1e-6)
        return drift_part, noise_part

    monkeypatch.setattr(model.unet, "forward", answer)


@pytest.mark.parametrize("name", [*TARGETS, "valid", "gian"])
def test_nothing_from_the_true_map_is_configured_as_input(name):
    with pytest.raises(ValueError, match=f"(?s){name}.*not allowed.*building"):
        RadioDiff.Config(inputs=("building", name))


def test_a_model_without_inputs_is_refused():
    with pytest.raises(ValueError, match="not allowed; choose from"):
        RadioDiff.Config(inputs=())


def test_the_list_of_inputs_holds_no_target():
    assert not set(INPUTS) & {*TARGETS, "valid"}


@pytest.mark.parametrize("target", ["gain", "outline"])
def test_diffusion_sees_latents_of_zero_mean_and_unit_variance(maps, target, monkeypatch):
    model = a_model(maps, target=target)
    z0 = torch.cat([latents(model, part, monkeypatch) for part in batches(maps, 4)])
    assert z0.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert float(z0.square().mean()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("changes", [{}, {"target": "outline"}, {"weighting": "plain"}])
def test_a_perfect_network_draws_what_the_autoencoder_can_hold(maps, batch, changes, steps, stochastic, monkeypatch):
    model = a_model(maps, steps=steps, stochastic=stochastic, fade=False, **changes)
    make_perfect(model, latents(model, batch, monkeypatch), monkeypatch)
    found = model.predict(batch.blind(), [3, 1, 4, 1])
    truth = getattr(batch, model.config.target)
    rebuilt = model.autoencoder.decode(model.autoencoder.encode(truth, batch.valid)).clamp(-1, 1)
    torch.testing.assert_close(found, torch.where(batch.outdoor, rebuilt, -1.0), rtol=0, atol=2e-4)


def test_a_perfect_network_with_a_law_also_keeps_what_no_latent_holds_of_the_law(maps, batch, monkeypatch):
    model = a_model(maps, fade=False, law=LAW)
    make_perfect(model, latents(model, batch, monkeypatch), monkeypatch)
    coder, law = model.autoencoder, model.law.predict(batch, ())
    lost = law - coder.decode(coder.encode(law, batch.outdoor))
    wanted = (coder.decode(coder.encode(batch.gain, batch.valid)) + lost).clamp(-1, 1)
    found = model.predict(batch.blind(), [3, 1, 4, 1])
    torch.testing.assert_close(found, torch.where(batch.outdoor, wanted, -1.0), rtol=0, atol=2e-4)
    assert float(lost[batch.outdoor].abs().max()) > 1e-3


def test_a_law_that_is_the_truth_is_drawn_without_bias(maps, batch, monkeypatch):
    """The autoencoder's own errors, whatever their mean, cancel where the law leaves nothing to draw."""
    model = a_model(maps, fade=False, law=LAW)
    with torch.no_grad():
        model.autoencoder.autoencoder.unproject.bias += 0.05  # a decoder whose pictures are all too bright
    truth = torch.where(batch.outdoor, batch.gain, -1.0)
    monkeypatch.setattr(model.law, "predict", lambda batch, seeds: truth)
    make_perfect(model, latents(model, batch, monkeypatch), monkeypatch)
    torch.testing.assert_close(model.predict(batch.blind(), [3, 1, 4, 1]), truth, rtol=0, atol=2e-4)


def test_a_law_is_fitted_once_and_handed_to_the_next_stage(maps):
    first = a_model(maps, target="outline", law=LAW)
    assert bool(first.law.fitted)
    second = RadioDiff(RadioDiff.Config(**SMALL, law=LAW))
    second.start_from("body", first)
    weights = [parameter.clone() for parameter in second.law.parameters()]
    second.prepare(batches(maps, 4))
    assert all(torch.equal(*pair) for pair in zip(weights, second.law.parameters(), strict=True))
    with pytest.raises(ValueError, match="and law"):
        RadioDiff(RadioDiff.Config(**SMALL)).start_from("body", first)


@torch.no_grad()
@pytest.mark.parametrize("weighting", ["plain", "unit"])
def test_a_perfect_network_has_no_loss(maps, batch, weighting, monkeypatch):
    model = a_model(maps, weighting=weighting, fade=False)
    assert float(model(batch)["loss"]) > 0.1
    make_perfect(model, latents(model, batch, monkeypatch), monkeypatch)
    assert float(model(batch)["loss"]) < 1e-5


@torch.no_grad()
def test_the_loss_is_the_weighted_sum_of_its_terms(maps, batch):
    model = a_model(maps, lambda_drift=2.0, lambda_noise=0.0, lambda_recon=0.5)
    terms = model(batch)
    assert set(terms) == {"loss", "drift", "noise", "recon"}
    assert float(terms["loss"]) == pytest.approx(float(2 * terms["drift"] + 0.5 * terms["recon"]), rel=1e-5)


def test_the_condition_is_encoded_once_for_all_steps(maps, batch):
    model, calls = a_model(maps, steps=5), []
    model.unet.encoder.register_forward_hook(lambda *_: calls.append("condition"))
    model.unet.register_forward_hook(lambda *_: calls.append("step"))
    model.predict(batch.blind(), range(4))
    assert calls == ["condition"] + ["step"] * 5 and model.network_calls == 5


@pytest.mark.parametrize("name", RadioDiff.Config().inputs)
def test_every_input_is_used(maps, batch, name):
    model = a_model(maps, inputs=(name,))
    blind = batch.blind()
    turned = replace(blind, **{name: getattr(blind, name).flip(0).flip(-1) + 0.5 * (name == "vehicle")})
    first, second = model.unet.condition(blind.stack([name])), model.unet.condition(turned.stack([name]))
    assert not torch.allclose(first[0][0], second[0][0], atol=1e-3)
    moved = model.predict(turned, range(4)) - model.predict(blind, range(4))
    assert moved[batch.outdoor & turned.outdoor].abs().max() > 1e-4


def test_an_input_that_is_not_configured_changes_nothing(maps, batch):
    model = a_model(maps, inputs=("building", "tx"))
    blind = batch.blind()
    other = replace(blind, log_distance=-blind.log_distance, line_of_sight=-blind.line_of_sight, vehicle=blind.tx)
    assert torch.equal(model.predict(other, range(4)), model.predict(blind, range(4)))


def test_a_missing_outline_is_said(maps, batch):
    model = a_model(inputs=("building", "outline_predicted"))
    with pytest.raises(ValueError, match="no 'outline_predicted'"):
        model.predict(replace(batch.blind(), outline_predicted=None), range(4))


@pytest.mark.parametrize("stochastic", [False, True])
def test_seeds_choose_the_sample(maps, batch, stochastic):
    model = a_model(maps, stochastic=stochastic)
    same = replace(batch, **{name: raster[:1].expand_as(raster) for name, raster in batch.rasters().items()}).blind()
    drawn = model.predict(same, [1, 2, 1, 3])
    torch.testing.assert_close(drawn[0], drawn[2], rtol=0, atol=1e-5)
    assert not torch.allclose(drawn[0], drawn[1], atol=1e-3) and not torch.allclose(drawn[1], drawn[3], atol=1e-3)


@pytest.mark.parametrize("asked", [{"steps": 2}, {"stochastic": True}, {"views": 4}, {"steps": 5, "views": 2}, {}])
def test_sampling_of_choice_is_that_of_a_model_configured_so(maps, batch, asked):
    model, blind = a_model(maps), batch.blind()
    before = model.predict(blind, range(4))
    with model.with_sampling(**asked):
        found, calls = model.predict(blind, range(4)), model.network_calls
    configured = a_model(maps, **asked)
    assert torch.equal(found, configured.predict(blind, range(4))) and calls == configured.network_calls
    assert torch.equal(found, before) == (not asked)
    assert torch.equal(model.predict(blind, range(4)), before)


def test_sampling_of_choice_ends_with_an_error_too_and_nests():
    model = a_model()
    with pytest.raises(RuntimeError, match="lost"), model.with_sampling(steps=9):
        with model.with_steps(2), model.with_sampling(views=4):
            assert model.network_calls == 8
        assert model.network_calls == 9
        raise RuntimeError("lost")
    assert model.network_calls == 3


@pytest.mark.parametrize("asked", [{"steps": 0}, {"steps": -1}, {"views": 3}, {"views": 0}])
def test_sampling_that_cannot_be_is_refused(asked):
    model = a_model()
    said = "steps must be at least 1 and views 1, 2 or 4, got Sampling"
    with pytest.raises(ValueError, match=said), model.with_sampling(**asked):
        pass
    assert model.network_calls == 3


def test_one_call_draws_the_same_for_every_seed_unless_noise_is_shown(maps, batch):
    blind = batch.blind()
    faded, shown = (a_model(maps, steps=1, fade=fade) for fade in (True, False))
    torch.testing.assert_close(faded.predict(blind, [1, 2, 3, 4]), faded.predict(blind, [5, 6, 7, 8]))
    assert not torch.allclose(shown.predict(blind, [1, 2, 3, 4]), shown.predict(blind, [5, 6, 7, 8]), atol=1e-3)


@torch.no_grad()
def test_what_lies_in_buildings_is_not_learned(maps, batch, monkeypatch):
    """A network that is wrong only where every cell of a latent cell is built has no loss."""
    valid = batch.valid.clone()
    valid[:, :, 8:16, 8:20] = False
    batch = replace(batch, valid=valid)
    model = a_model(maps, fade=False, weighting="plain")
    z0 = latents(model, batch, monkeypatch)
    built = torch.nn.functional.max_pool2d(batch.valid.float(), model.autoencoder.factor) == 0
    assert built.any() and not built.all()
    make_perfect(model, z0 + 3.0 * built, monkeypatch)
    assert float(model(batch)["loss"]) < 1e-5
    everywhere = a_model(maps, fade=False, weighting="plain", outdoor_only=False)
    make_perfect(everywhere, z0 + 3.0 * built, monkeypatch)
    assert float(everywhere(batch)["loss"]) > 0.1


def test_it_starts_from_the_body_of_another_and_looks_away_from_what_that_did_not_know(maps, batch):
    first = a_model(maps, inputs=("building", "tx"))
    second = a_model(maps, inputs=("building", "tx", "outline_predicted"))
    second.start_from("body", first)
    for ours, theirs in zip(second.unet.condition(batch.stack(second.config.inputs)),
                            first.unet.condition(batch.stack(first.config.inputs)), strict=True):  # fmt: skip
        torch.testing.assert_close(ours[0], theirs[0])
    with pytest.raises(ValueError, match="trained on the inputs .*'line_of_sight'"):
        second.start_from("body", a_model())
    with pytest.raises(ValueError, match="must start from a RadioDiff, got Vae"):
        second.start_from("body", Vae(CODER))


def test_the_autoencoder_is_frozen_and_no_part_of_the_training(maps, batch):
    model = a_model(maps)
    frozen = set(model.autoencoder.parameters())
    assert frozen and not any(parameter.requires_grad for parameter in frozen)
    assert not frozen & set(model.parts()["model"])
    assert set(model.parts()["model"]) == set(model.unet.parameters())
    model(batch)["loss"].backward()
    assert all(parameter.grad is None for parameter in frozen)


def test_it_starts_from_a_trained_autoencoder_and_from_nothing_else(batch):
    model, trained = a_model(), Vae(CODER)
    model.start_from("autoencoder", trained)
    wanted = trained.encode(batch.gain, batch.valid)
    assert torch.equal(model.autoencoder.encode(batch.gain, batch.valid), wanted)
    with pytest.raises(ValueError, match="no part 'unet'"):
        model.start_from("unet", trained)
    with pytest.raises(ValueError, match="must start from a Vae, got RadioDiff"):
        model.start_from("autoencoder", a_model())
    with pytest.raises(ValueError, match="was trained as"):
        model.start_from("autoencoder", Vae(Vae.Config(channels=(8, 24))))


def test_sizes_that_do_not_divide_are_refused_with_the_factor(maps, batch):
    model = a_model(maps)
    rasters = {name: raster[..., :30] for name, raster in batch.blind().rasters().items()}
    with pytest.raises(ValueError, match=r"\(32, 30\) cells: both sides must be multiples of 4"):
        model.predict(replace(batch.blind(), **rasters), range(4))


def test_k2_is_two_of_them(maps, batch):
    """The same classes and weights inside K2 draw the same maps as by themselves."""
    outline = a_model(maps, target="outline")
    gain = a_model(maps, inputs=("building", "outline_predicted"))
    both = K2(K2.Config(outline=outline.config, map=gain.config)).eval()
    both.start_from("outline", outline)
    both.start_from("map", gain)
    said = both.predict_all(batch, range(4))
    assert torch.equal(said["outline"], outline.predict(batch.blind(), range(4)))
    assert said["gain"].shape == said["outline"].shape


@pytest.mark.parametrize("views", [2, 4])
def test_views_are_the_mean_over_mirrored_scenes(maps, views):
    one, many = a_model(maps), a_model(maps, views=views)
    batch = next(batches(maps, 2)).blind()
    mirrors = {2: (0, 3), 4: (0, 1, 2, 3)}[views]
    drawn = [symmetry(one.predict(batch.turn(code), [5, 6]), code) for code in mirrors]
    found = many.predict(batch, [5, 6])
    clamped = torch.stack([one_drawn.abs() == 1 for one_drawn in drawn]).any(0)  # the mean is clamped, not each view
    torch.testing.assert_close(found[~clamped], torch.stack(drawn).mean(0)[~clamped])
    assert float((~clamped & batch.outdoor).sum() / batch.outdoor.sum()) > 0.8
    assert not torch.equal(found, drawn[0]) and many.network_calls == views * one.network_calls


def test_a_mirrored_scene_has_the_mirrored_mean_if_the_noise_is_mirrored(maps, monkeypatch):
    model = a_model(maps, views=4, steps=1)
    batch = next(batches(maps, 2))
    monkeypatch.setattr(diffusion, "seeded_noise", lambda seeds, shape, device: lambda: torch.zeros(len(seeds), *shape))
    straight, mirrored = model.predict(batch, [0, 1]), model.predict(batch.turn(1), [0, 1])
    torch.testing.assert_close(symmetry(mirrored, 1), straight, rtol=0, atol=1e-4)


def test_a_model_that_is_told_the_cell_size_takes_several(batch):
    fixed, free = (a_model(inputs=("building", "tx", *more)) for more in ((), ("cell_size",)))
    for cell_m in (4.0, 32.0):
        other = replace(batch.blind(), cell_m=cell_m)
        with pytest.raises(ValueError, match=f"trained on 8 m cells, this map has {cell_m:g} m"):
            fixed.predict(other, range(4))
        assert torch.isfinite(free.predict(other, range(4))).all()
    assert not torch.equal(free.predict(replace(batch.blind(), cell_m=4.0), range(4)), free.predict(batch, range(4)))
    with pytest.raises(ValueError, match="takes 2 to 32 m, this map has 33 m"):
        free.predict(replace(batch.blind(), cell_m=33.0), range(4))
