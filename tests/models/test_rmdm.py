"""PhyRMDM: what its physics reaches, what each weight turns on, and how it draws."""

import itertools

import pytest
import torch

from raymap import gaussian_diffusion
from raymap.data.batch import batches, symmetry
from raymap.models.rmdm import Rmdm
from raymap.physics import helmholtz
from raymap.units import grey_from_signal

TINY = {"cell_m": 8.0, "widths": (16, 32), "physics_widths": (16, 32), "steps": 3}
WEIGHTS = ("lambda_mse", "lambda_pinn", "lambda_reg")
SOME = {"lambda_mse": 0.5, "lambda_pinn": 2.0, "lambda_reg": 3.0}
COMBINATIONS = [pattern for pattern in itertools.product((0.0, 1.0), repeat=3) if any(pattern)]


def a_model(**changes):
    """With random weights everywhere."""
    torch.manual_seed(0)
    model = Rmdm(Rmdm.Config(**{**TINY, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def loss(model, batch):
    torch.manual_seed(5)
    return model(batch)


def gradients(model, batch):
    """Name -> gradient of the loss."""
    model.zero_grad()
    loss(model, batch)["loss"].backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def make_perfect(model, batch, monkeypatch):
    """Replace the denoiser by one that knows the map of every sample."""

    def answer(x, t, _rasters, _known):
        bar = model.alpha_bars[(t * model.config.num_timesteps).round().long()]
        scale = bar.view(-1, 1, 1, 1)
        noise = (x - scale.sqrt() * batch.gain) / (1 - scale).sqrt()
        return gaussian_diffusion.target(batch.gain, noise, bar, model.config.prediction)

    monkeypatch.setattr(model.unets, "forward", answer)


def test_the_physics_alone_trains_the_denoiser(batch):
    found = gradients(a_model(lambda_mse=0, lambda_reg=0), batch)
    for part in ("denoiser", "entry", "exit", "time", "anchor", "physics"):
        norms = [float(grad.norm()) for name, grad in found.items() if name.startswith(f"unets.{part}.")]
        assert norms and min(norms) > 0, part


@pytest.mark.parametrize("weights", COMBINATIONS)
def test_every_combination_of_terms_trains_every_weight_and_computes_no_other_term(batch, weights):
    model = a_model(**dict(zip(WEIGHTS, weights, strict=True)))
    asked = {name.removeprefix("lambda_") for name, weight in zip(WEIGHTS, weights, strict=True) if weight}
    assert set(loss(model, batch)) == {"loss", *asked}
    assert all((grad != 0).any() for grad in gradients(model, batch).values())


def test_the_loss_is_the_weighted_sum_of_its_terms(batch):
    terms = {name: term.detach() for name, term in loss(a_model(**SOME), batch).items()}
    assert float(terms["loss"]) == pytest.approx(float(0.5 * terms["mse"] + 2 * terms["pinn"] + 3 * terms["reg"]))
    for name in WEIGHTS:
        alone = loss(a_model(**{**dict.fromkeys(WEIGHTS, 0.0), name: 1.0}), batch)
        assert float(alone["loss"].detach()) == pytest.approx(float(terms[name.removeprefix("lambda_")]))
    with pytest.raises(ValueError, match="all 0: nothing would be learned"):
        Rmdm.Config(**dict.fromkeys(WEIGHTS, 0.0))


@torch.no_grad()
@pytest.mark.parametrize("prediction", ["noise", "velocity"])
def test_estimates_from_noise_alone_do_not_outvote_the_second_unet(batch, prediction, monkeypatch):
    """At T an error of ε is 157 times as large in x̂₀ and 2.5e4 times in its squared residual."""
    model = a_model(lambda_mse=0, lambda_reg=0, prediction=prediction)
    known = model.unets.represent(batch.stack(model.config.inputs))
    learned = sum(model.physics(known.map, batch)).mean().item()
    monkeypatch.setattr(torch, "randint", lambda low, high, size, device: torch.full(size, high - 1))
    assert loss(model, batch)["pinn"].item() < learned + 100


def test_walls_would_charge_the_true_map_for_more_than_all_streets_do(maps):
    model = a_model()
    for batch in batches(maps, 4):
        ours = float(model.physics(batch.gain, batch).equation.mean())
        kappa = torch.where(batch.outdoor, *(one**2 for one in model.config.wavenumbers))
        across = helmholtz.residual(grey_from_signal(batch.gain), kappa, 1.0)[..., 1:-1, 1:-1]
        assert float(across.square().mean()) > 10 * ours


def test_the_true_map_has_the_source_and_the_walls_that_the_physics_asks_for(batch):
    found = a_model().physics(batch.gain, batch)
    of_one = (1 - grey_from_signal(batch.gain[batch.tx > 0])).square()  # what the released code charges
    assert (found.boundary == 0).all() and (found.source[:, 0] < 0.2 * of_one).all()


@pytest.mark.parametrize("changes", [{}, {"prediction": "noise"}, {"views": 4}, {"num_timesteps": 40}])
@pytest.mark.parametrize(("steps", "stochastic"), [(1, False), (7, False), (7, True), (40, True)])
def test_a_perfect_denoiser_draws_the_map(batch, changes, steps, stochastic, monkeypatch):
    model = a_model(**changes)
    if changes.get("views"):
        batch = batch.turn(1)[:1]
        monkeypatch.setattr(type(batch), "turn", lambda self, code: self)
        monkeypatch.setattr("raymap.models.sampled.symmetry", lambda raster, code: raster)
    make_perfect(model, batch, monkeypatch)
    with model.with_sampling(steps, stochastic):
        found = model.predict(batch, range(len(batch)))
        assert model.network_calls == (1 + steps) * changes.get("views", 1)
    torch.testing.assert_close(found, torch.where(batch.outdoor, batch.gain, -1.0), rtol=0, atol=1e-3)


def test_views_are_the_mean_over_mirrored_scenes(batch):
    one, many = a_model(), a_model(views=4)
    drawn = torch.stack([symmetry(one.predict(batch.turn(code), range(4)), code) for code in range(4)])
    found = many.predict(batch, range(4))
    inner = (drawn.abs() < 1).all(dim=0)
    torch.testing.assert_close(found[inner], drawn.mean(dim=0)[inner])
    assert inner.any() and not torch.equal(found, drawn[0])


def test_another_sampling_holds_within_its_context_alone(batch):
    model = a_model(num_timesteps=30)
    wanted = model.predict(batch, range(4))
    with model.with_sampling(steps=30, stochastic=True, views=2):
        assert model.network_calls == 62 and not torch.equal(model.predict(batch, range(4)), wanted)
    assert model.network_calls == 4 and torch.equal(model.predict(batch, range(4)), wanted)
    with pytest.raises(ValueError, match="at most 30, got 31"), model.with_sampling(31):
        pass
    with pytest.raises(ValueError, match="views 1, 2 or 4, got .*views=3"), model.with_sampling(views=3):
        pass


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"steps": 50, "num_timesteps": 40}, "num_timesteps = 40, got 50"), ({"wavenumbers": (0.2, 3.0)}, "0 to 2"),
     ({"guidance": 2.0}, "less than 2"), ({"inputs": ("gain",)}, "not allowed")],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Rmdm.Config(**wrong)


@pytest.fixture(scope="module")
def guided(maps):
    """Guidance -> the same shortly trained model with it."""
    model = a_model(steps=5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    stream = itertools.islice(itertools.cycle(batches(maps, 4)), 40)
    for part in stream:
        optimizer.zero_grad()
        model(part)["loss"].backward()
        optimizer.step()
    found = {0.0: model.eval()}
    for guidance in (0.5, 1.5):
        found[guidance] = Rmdm(model.config.model_copy(update={"guidance": guidance})).eval()
        found[guidance].load_state_dict(model.state_dict())
    return found


@pytest.mark.parametrize("stochastic", [False, True])
def test_guidance_lowers_the_residual_of_every_sample(guided, batch, stochastic):
    found = {}
    for guidance, model in guided.items():
        with model.with_sampling(stochastic=stochastic):
            found[guidance] = model.physics(model.predict(batch, range(4)), batch).equation
    assert (found[0.5] < found[0.0]).all() and (found[1.5] < found[0.5]).all()


def test_rf_sa_is_a_setting(batch):
    with_it, without = a_model(), a_model(rf_sa=False)
    names = {name for name, _ in with_it.named_parameters()}
    missing = names - {name for name, _ in without.named_parameters()}
    assert missing and all(".rf_sa." in name for name in missing)
    assert without.predict(batch, range(4)).shape == batch.gain.shape
