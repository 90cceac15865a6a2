"""Laws of the denoising diffusion: the closed form of T steps, inverses, and samplers that know the truth."""

import pytest
import torch

from raymap import gaussian_diffusion
from raymap.diffusion import seeded_noise

SHAPE = (4, 1, 6, 8)


@pytest.mark.parametrize("num_timesteps", [25, 100, 1000])
def test_the_steps_of_the_forward_process_add_up_to_the_closed_form(num_timesteps):
    """Mean and variance of x_k ~ N(√(1-β_k)·x_{k-1}, β_k) from a fixed x₀, as numbers."""
    bars = gaussian_diffusion.alpha_bars(num_timesteps).double()
    betas = torch.linspace(1e-4, 0.02, num_timesteps).double() * 1000 / num_timesteps
    mean, variance = 1.0, 0.0
    for beta, bar in zip(betas, bars[1:], strict=True):
        mean, variance = float((1 - beta) ** 0.5) * mean, float((1 - beta) * variance + beta)
        assert mean == pytest.approx(float(bar) ** 0.5, rel=1e-4, abs=1e-6)
        assert variance == pytest.approx(1 - float(bar), rel=1e-4, abs=1e-6)
    assert bars[0] == 1 and bars[-1] < 1e-4


def test_the_forward_process_has_the_closed_forms_variance_in_samples_too():
    torch.manual_seed(0)
    bars = gaussian_diffusion.alpha_bars(50)
    x0, x = torch.full((40_000,), 0.5), torch.full((40_000,), 0.5)
    for k in range(1, 21):
        kept = bars[k] / bars[k - 1]
        x = kept.sqrt() * x + (1 - kept).sqrt() * torch.randn_like(x)
    at_once = gaussian_diffusion.q_sample(x0, torch.randn_like(x0), bars[20].expand(len(x0)))
    assert float(x.mean()) == pytest.approx(float(at_once.mean()), abs=0.02)
    assert (
        float(x.var()) == pytest.approx(1 - float(bars[20]), rel=0.03) == pytest.approx(float(at_once.var()), rel=0.03)
    )


@pytest.mark.parametrize("prediction", ["noise", "velocity"])
def test_a_perfect_output_gives_the_clean_map_back(prediction):
    x0, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    bars = gaussian_diffusion.alpha_bars(1000)[torch.tensor([1, 200, 500, 800])]
    x = gaussian_diffusion.q_sample(x0, noise, bars)
    output = gaussian_diffusion.target(x0, noise, bars, prediction)
    found = gaussian_diffusion.clean(x, output, bars, prediction)
    torch.testing.assert_close(found, x0, rtol=0, atol=1e-4)


def test_an_error_of_the_velocity_is_that_of_the_noise_divided_by_the_amplitude():
    x0, noise, wrong = torch.randn(3, *SHAPE).unbind()
    bars = gaussian_diffusion.alpha_bars(1000)[torch.tensor([1, 200, 500, 800])]
    x = gaussian_diffusion.q_sample(x0, noise, bars)
    scale = bars.view(-1, 1, 1, 1)
    velocity = gaussian_diffusion.target(x0, noise, bars, "velocity") + wrong
    by_velocity = gaussian_diffusion.clean(x, velocity, bars, "velocity")
    by_noise = gaussian_diffusion.clean(x, noise + scale.sqrt() * wrong, bars, "noise")
    torch.testing.assert_close(by_velocity, by_noise, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 30, 100])
def test_a_sampler_that_knows_the_map_draws_it_in_any_number_of_steps(steps, stochastic):
    x0, calls = torch.randn(SHAPE), []
    bars = gaussian_diffusion.alpha_bars(100)
    draw = seeded_noise(range(4), SHAPE[1:])
    found = gaussian_diffusion.sample(lambda x, k: calls.append(int(k[0])) or x0, draw, bars, steps, stochastic)
    torch.testing.assert_close(found, x0, rtol=0, atol=1e-5)
    assert len(calls) == steps and calls[0] == 100 and calls == sorted(set(calls), reverse=True)


@pytest.mark.parametrize("stochastic", [False, True])
def test_a_perfect_denoiser_of_gaussian_data_draws_that_gaussian(stochastic):
    """x₀ ~ N(m, s²) has x̂₀ = m + √ᾱ·s²/(ᾱs² + 1-ᾱ)·(x_k - √ᾱ·m); all T steps of either sampler keep m and s."""
    mean, std = 0.3, 0.4
    bars = gaussian_diffusion.alpha_bars(1000)

    def estimate(x, k):
        bar = bars[k].view(-1, 1, 1, 1)
        return mean + bar.sqrt() * std**2 / (bar * std**2 + 1 - bar) * (x - bar.sqrt() * mean)

    drawn = gaussian_diffusion.sample(estimate, seeded_noise(range(4), (1, 64, 64)), bars, 1000, stochastic)
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.02)
    assert float(drawn.std()) == pytest.approx(std, rel=0.03)


def test_every_step_of_the_way_has_the_noise_of_its_timestep():
    bars, seen = gaussian_diffusion.alpha_bars(1000), []

    def estimate(x, k):
        seen.append((float(bars[k[0]]), float(x.var())))
        return torch.zeros_like(x)

    gaussian_diffusion.sample(estimate, seeded_noise(range(8), (1, 64, 64)), bars, 10, True)
    assert all(variance == pytest.approx(1 - bar, rel=0.03) for bar, variance in seen)


@pytest.mark.parametrize("steps", [0, -1, 101])
def test_steps_that_are_not_there_are_refused(steps):
    with pytest.raises(ValueError, match=f"1 to 100, got {steps}"):
        gaussian_diffusion.sample(None, None, gaussian_diffusion.alpha_bars(100), steps, False)
    with pytest.raises(ValueError, match="at least 25, got 20"):
        gaussian_diffusion.alpha_bars(20)
