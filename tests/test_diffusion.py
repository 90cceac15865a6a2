"""The decoupled diffusion process, against what Gaussian processes and Brownian motion say it must be."""

import math

import pytest
import torch

from raymap import diffusion
from raymap.diffusion import Heads

TIMES = (1e-4, 0.01, 0.1, 0.35, 0.5, 0.8, 0.97, 1.0)
NUM = 200_000


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at(t, num):
    return torch.full((num,), t, dtype=torch.float64)


def exact_heads(z0):
    """A denoiser that knows the answer."""

    def denoise(z_t, t):
        t = t.view(-1, *([1] * (z_t.ndim - 1)))
        return Heads(-z0, (z_t - (1 - t) * z0) / t.sqrt())

    return denoise


def heads_of_mean(mean):
    """A denoiser that answers with the posterior mean E[z₀ | z_t], and the noise that it implies."""

    def denoise(z_t, t):
        z0 = mean(z_t, float(t[0]))
        return Heads(-z0, (z_t - (1 - float(t[0])) * z0) / float(t[0]) ** 0.5)

    return denoise


def draws(num, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(num, 1, generator=generator, dtype=torch.float64)


def test_the_process_starts_at_the_latent_and_ends_in_pure_noise():
    z0, noise = normal(4, 2, 3, 3, seed=1), normal(4, 2, 3, 3, seed=2)
    assert torch.equal(diffusion.q_sample(z0, noise, at(1.0, 4)), noise)
    assert torch.equal(diffusion.q_sample(z0, noise, at(0.0, 4)), z0)


def test_every_sample_has_its_own_time():
    z0, noise = normal(3, 2, 4, 4, seed=1), normal(3, 2, 4, 4, seed=2)
    t = torch.tensor([0.2, 0.9, 0.5], dtype=torch.float64)
    together = diffusion.q_sample(z0, noise, t)
    for index in range(3):
        alone = diffusion.q_sample(z0[[index]], noise[[index]], t[[index]])
        assert torch.equal(together[[index]], alone)


@pytest.mark.parametrize("t", TIMES)
def test_exact_heads_give_the_clean_latent_in_one_step(t):
    z0, noise = normal(4, 2, 3, 3, seed=1), normal(4, 2, 3, 3, seed=2)
    z_t = diffusion.q_sample(z0, noise, at(t, 4))
    torch.testing.assert_close(diffusion.clean(z_t, at(t, 4), Heads(-z0, noise)), z0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("t", TIMES)
def test_the_skips_are_the_regression_of_the_targets_on_what_is_seen(t):
    z0, noise = normal(NUM, 1, seed=3), normal(NUM, 1, seed=4)
    z_t = diffusion.q_sample(z0, noise, at(t, NUM))
    scale = diffusion.precondition(at(t, 1), z_t[:1])
    for skip, target in ((scale.drift_skip, -z0), (scale.noise_skip, noise)):
        slope = (z_t * target).mean() / z_t.square().mean()
        assert float(skip) == pytest.approx(float(slope), abs=5 / NUM**0.5)


@pytest.mark.parametrize("t", TIMES)
def test_input_and_targets_of_the_network_have_unit_variance(t):
    z0, noise = normal(NUM, 1, seed=5), normal(NUM, 1, seed=6)
    z_t = diffusion.q_sample(z0, noise, at(t, NUM))
    scale = diffusion.precondition(at(t, 1), z_t[:1])
    seen = {"input": scale.c_in * z_t, "drift": (-z0 - scale.drift_skip * z_t) / scale.drift_out}
    if t < 1:  # at t = 1 what is seen is the noise itself and nothing is left to learn
        seen["noise"] = (noise - scale.noise_skip * z_t) / scale.noise_out
    else:
        assert float(scale.noise_out) == 0 and float(scale.noise_skip) == 1
    for name, values in seen.items():
        assert float(values.var()) == pytest.approx(1, abs=0.02), name


def test_what_the_network_learns_of_the_drift_is_not_in_the_skip():
    t = 0.4
    z0, noise = normal(NUM, 1, seed=5), normal(NUM, 1, seed=6)
    z_t = diffusion.q_sample(z0, noise, at(t, NUM))
    scale = diffusion.precondition(at(t, 1), z_t[:1])
    assert abs(float((z_t * (-z0 - scale.drift_skip * z_t)).mean())) < 5 / NUM**0.5


def test_heads_are_the_skip_plus_the_network_on_the_scaled_input():
    z_t, t = normal(3, 2, 4, 4, seed=7), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    seen = {}

    def network(z, time):
        seen.update(z=z, t=time)
        return z.tanh(), z.cos()

    heads = diffusion.apply_heads(network, z_t, t)
    assert torch.equal(seen["t"], t)
    for index in range(3):
        variance = (1 - t[index]) ** 2 + t[index]
        z = z_t[index] / variance.sqrt()
        torch.testing.assert_close(seen["z"][index], z)
        drift = -(1 - t[index]) / variance * z_t[index] + (t[index] / variance).sqrt() * z.tanh()
        noise = t[index].sqrt() / variance * z_t[index] + (1 - t[index]) / variance.sqrt() * z.cos()
        torch.testing.assert_close(heads.drift[index], drift)
        torch.testing.assert_close(heads.noise[index], noise)


def test_a_network_in_half_precision_leaves_the_process_in_full():
    z_t, t = torch.randn(2, 1, 4, 4), torch.tensor([0.3, 0.8])
    heads = diffusion.apply_heads(lambda z, _t: (z.bfloat16(), z.bfloat16()), z_t, t)
    assert heads.drift.dtype == heads.noise.dtype == torch.float32


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("stochastic", [False, True])
def test_exact_heads_end_at_the_latent_in_any_number_of_steps(steps, stochastic):
    z0 = normal(5, 1, seed=8)
    found = diffusion.sample(exact_heads(z0), draws(5), steps, stochastic)
    torch.testing.assert_close(found, z0, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_the_network_is_called_once_per_step_at_even_times_from_one(steps):
    times = []

    def denoise(z_t, t):
        times.append(t.tolist())
        return exact_heads(torch.zeros(2, 1))(z_t, t)

    diffusion.sample(denoise, draws(2), steps, stochastic=False)
    torch.testing.assert_close(torch.tensor(times), torch.linspace(1, 1 / steps, steps)[:, None].expand(-1, 2))


def moments_of_samples(mean, steps, stochastic, num=40_000):
    found = diffusion.sample(heads_of_mean(mean), draws(num), steps, stochastic)
    return float(found.mean()), float(found.std())


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize(("mu", "sigma"), [(0.0, 1.0), (1.5, 0.3), (-0.7, 2.0)])
def test_the_exact_denoiser_of_a_gaussian_draws_that_gaussian(mu, sigma, stochastic):
    def mean(z_t, t):
        return mu + sigma**2 * (1 - t) / ((1 - t) ** 2 * sigma**2 + t) * (z_t - (1 - t) * mu)

    errors = []
    for steps in (1, 8, 300):
        found_mean, found_std = moments_of_samples(mean, steps, stochastic)
        assert found_mean == pytest.approx(mu, abs=0.05)
        errors.append(abs(found_std - sigma))
    assert errors[0] == pytest.approx(sigma)  # one step is a regression: every sample is the mean
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.03 * max(sigma, 1)


@pytest.mark.parametrize("stochastic", [False, True])
def test_the_exact_denoiser_of_a_mixture_draws_every_mode_by_its_weight(stochastic):
    weights, centres, sigma = torch.tensor([0.3, 0.7]), torch.tensor([-2.0, 1.0], dtype=torch.float64), 0.2

    def mean(z_t, t):
        variance = (1 - t) ** 2 * sigma**2 + t
        away = z_t - (1 - t) * centres
        share = (weights.log() - away.square() / (2 * variance)).softmax(dim=1)
        return (share * (centres + sigma**2 * (1 - t) / variance * away)).sum(dim=1, keepdim=True)

    found = diffusion.sample(heads_of_mean(mean), draws(20_000), 200, stochastic)
    left = found < -0.5
    assert float(left.double().mean()) == pytest.approx(0.3, abs=0.03)
    for mode, centre in ((found[left], -2.0), (found[~left], 1.0)):
        assert float(mode.mean()) == pytest.approx(centre, abs=0.05)
        assert float(mode.std()) == pytest.approx(sigma, rel=0.15)


def test_the_stochastic_step_follows_the_posterior_of_the_process():
    """With the answer known, every z_s on the way is distributed as q(z_s): mean (1-s)·z₀, variance s."""
    z0, visited = torch.full((NUM, 1), 0.8, dtype=torch.float64), {}

    def denoise(z_t, t):
        visited[float(t[0])] = (float(z_t.mean()), float(z_t.var()))
        return exact_heads(z0)(z_t, t)

    diffusion.sample(denoise, draws(NUM), 4, stochastic=True)
    assert len(visited) == 4
    for s, (mean, variance) in visited.items():
        assert mean == pytest.approx((1 - s) * 0.8, abs=0.01)
        assert variance == pytest.approx(s, rel=0.02)


def test_only_the_stochastic_sampler_draws_again_and_never_for_the_last_step():
    for stochastic, expected in ((False, 1), (True, 5)):
        calls = []

        def draw(calls=calls):
            calls.append(1)
            return torch.zeros(2, 1)

        diffusion.sample(exact_heads(torch.ones(2, 1)), draw, 5, stochastic)
        assert len(calls) == expected


@pytest.mark.parametrize("steps", [0, -3])
def test_fewer_than_one_step_is_refused(steps):
    with pytest.raises(ValueError, match=f"at least 1, got {steps}"):
        diffusion.sample(exact_heads(torch.zeros(1, 1)), draws(1), steps, stochastic=False)


@pytest.mark.parametrize("weighting", ["plain", "unit"])
@pytest.mark.parametrize("t", TIMES)
def test_losses_are_zero_for_exact_heads_and_only_for_them(weighting, t):
    z0, noise = normal(4, 2, 3, 3, seed=1), normal(4, 2, 3, 3, seed=2)
    exact = diffusion.losses(z0, noise, at(t, 4), Heads(-z0, noise), weighting)
    assert set(exact) == {"drift", "noise", "recon"}
    assert all(float(loss) < 1e-18 for loss in exact.values())
    wrong_drift = diffusion.losses(z0, noise, at(t, 4), Heads(-z0 + 0.1, noise), weighting)
    wrong_noise = diffusion.losses(z0, noise, at(t, 4), Heads(-z0, noise + 0.1), weighting)
    assert wrong_drift["drift"] > 1e-3 and wrong_drift["recon"] > 1e-11 and wrong_drift["noise"] < 1e-18
    assert wrong_noise["noise"] > 1e-3 and wrong_noise["recon"] > 1e-7 and wrong_noise["drift"] < 1e-18


def test_the_plain_losses_are_the_papers_squared_errors():
    z0, noise, t = normal(4, 2, 3, 3, seed=1), normal(4, 2, 3, 3, seed=2), torch.linspace(0.1, 1, 4).double()
    heads = Heads(normal(4, 2, 3, 3, seed=3), normal(4, 2, 3, 3, seed=4))
    found = diffusion.losses(z0, noise, t, heads, "plain")
    z_t = diffusion.q_sample(z0, noise, t)
    assert torch.isclose(found["drift"], torch.nn.functional.mse_loss(heads.drift, -z0))
    assert torch.isclose(found["noise"], torch.nn.functional.mse_loss(heads.noise, noise))
    assert torch.isclose(found["recon"], torch.nn.functional.mse_loss(diffusion.clean(z_t, t, heads), z0))


@pytest.mark.parametrize("t", [1e-4, 0.01, 0.1, 0.5, 0.9, 0.98])
def test_unit_weighting_counts_every_time_alike_for_a_network_that_says_nothing(t):
    z0, noise = normal(NUM, 1, seed=9), normal(NUM, 1, seed=10)
    z_t = diffusion.q_sample(z0, noise, at(t, NUM))
    heads = diffusion.apply_heads(lambda z, _t: (torch.zeros_like(z), torch.zeros_like(z)), z_t, at(t, NUM))
    for name, loss in diffusion.losses(z0, noise, at(t, NUM), heads, "unit").items():
        assert float(loss) == pytest.approx(1, abs=0.03), name


def test_a_share_weighs_the_loss_and_an_even_one_changes_nothing():
    z0, noise, t = normal(4, 2, 3, 3, seed=1), normal(4, 2, 3, 3, seed=2), torch.linspace(0.1, 1, 4).double()
    heads = Heads(normal(4, 2, 3, 3, seed=3), normal(4, 2, 3, 3, seed=4))
    plain = diffusion.losses(z0, noise, t, heads, "unit")
    even = diffusion.losses(z0, noise, t, heads, "unit", torch.full((4, 1, 3, 3), 0.4).double())
    share = torch.zeros(4, 1, 3, 3).double()
    share[..., :1] = 1.0
    left = diffusion.losses(z0, noise, t, heads, "unit", share)
    column = slice(0, 1)
    cut = Heads(heads.drift[..., column], heads.noise[..., column])
    alone = diffusion.losses(z0[..., column], noise[..., column], t, cut, "unit")
    for name in plain:
        assert torch.isclose(plain[name], even[name]) and torch.isclose(left[name], alone[name])


@pytest.mark.parametrize("t", TIMES)
def test_a_fading_input_has_the_amplitude_of_the_clean_latent_in_it(t):
    z0 = normal(NUM, 1, seed=9)
    shown = diffusion.precondition(at(t, NUM), z0, fade=True)
    plain = diffusion.precondition(at(t, NUM), z0)
    assert torch.allclose(shown.c_in, (1 - t) * plain.c_in)
    for name in ("drift_skip", "drift_out", "noise_skip", "noise_out"):
        assert torch.equal(getattr(shown, name), getattr(plain, name))


def test_half_of_the_end_is_where_samplers_start():
    torch.manual_seed(0)
    times = diffusion.draw_times(NUM, "end")
    assert (times[: NUM // 2] == 1).all()
    assert float((times[NUM // 2 :] < 0.75).double().mean()) == pytest.approx(0.5, abs=8 / NUM**0.5)


@pytest.mark.parametrize("t", [diffusion.T_MIN, 1.0])
def test_single_precision_holds_at_both_ends_of_time(t):
    z0, noise = normal(64, 64, seed=9).float(), normal(64, 64, seed=10).float()
    times = torch.full((64,), t)
    z_t = diffusion.q_sample(z0, noise, times)
    heads = diffusion.apply_heads(lambda z, _t: (torch.zeros_like(z), torch.zeros_like(z)), z_t, times)
    exact = diffusion.losses(z0, noise, times, Heads(-z0, noise), "unit")
    for name, loss in diffusion.losses(z0, noise, times, heads, "unit").items():
        assert math.isfinite(float(loss)) and float(loss) < 1.2, name
        assert float(exact[name]) < 1e-6, name


@pytest.mark.parametrize(("kind", "share_below"), [("uniform", lambda t: t), ("late", lambda t: 1 - math.sqrt(1 - t))])
def test_times_are_drawn_by_their_density(kind, share_below):
    torch.manual_seed(0)
    times = diffusion.draw_times(NUM, kind)
    assert times.shape == (NUM,) and times.min() >= diffusion.T_MIN and times.max() <= 1
    for t in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert float((times < t).double().mean()) == pytest.approx(share_below(t), abs=4 / NUM**0.5)


def test_a_samples_noise_depends_on_its_own_seed_alone():
    together = diffusion.seeded_noise([5, 6, 7], (2, 3, 3))
    first, second = together(), together()
    for index, seed in enumerate((5, 6, 7)):
        alone = diffusion.seeded_noise([seed], (2, 3, 3))
        assert torch.equal(alone()[0], first[index]) and torch.equal(alone()[0], second[index])
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_seeded_noise_neither_reads_nor_moves_the_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = diffusion.seeded_noise([1], (4,))()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(diffusion.seeded_noise([1], (4,))(), first)


def test_seeded_noise_is_standard_normal_across_seeds():
    values = diffusion.seeded_noise(range(4000), (8,))()
    assert float(values.mean()) == pytest.approx(0, abs=0.03)
    assert float(values.std()) == pytest.approx(1, abs=0.03)
    neighbours = torch.corrcoef(torch.stack([values[:-1].flatten(), values[1:].flatten()]))
    assert abs(float(neighbours[0, 1])) < 0.03
