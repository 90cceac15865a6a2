"""Denoising diffusion (Ho et al. 2020) with few-step sampling (Song et al. 2021, DDIM): pure functions, no network.

A clean map x₀ is drowned in noise over T timesteps k = 1 ... T with a linear β_k,

    x_k = √ᾱ_k·x₀ + √(1-ᾱ_k)·ε,   ᾱ_k = ∏_{j≤k} (1-β_j),   ᾱ_0 = 1,

and drawn back from x_T, which is noise but for √ᾱ_T = 0.006. Written out rather than taken from diffusers, whose DDIM
step finds the next timestep by an integer division: a number of steps that does not divide T ends with noise left in
the map.

Shapes: x, noise (B, ...); k (B,); ᾱ (B,).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["noise", "velocity"]


def alpha_bars(num_timesteps: int) -> Tensor:
    """(T + 1,) ᾱ_0 = 1 ... ᾱ_T of β = 1e-4 ... 0.02 (METHODS §5), scaled by 1000/T so that x_T is noise for any T.

    Raises ValueError for T below 25, where the last β would be no variance any more.
    """
    if num_timesteps < 25:
        raise ValueError(f"num_timesteps must be at least 25, got {num_timesteps}")
    betas = torch.linspace(1e-4, 0.02, num_timesteps, dtype=torch.float64) * 1000 / num_timesteps
    kept = torch.cat([torch.ones(1, dtype=torch.float64), 1 - betas])
    return kept.cumprod(0).float()


def _amplitudes(alpha_bar: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """√ᾱ and √(1-ᾱ), shaped to multiply x."""
    alpha_bar = alpha_bar.view(-1, *([1] * (x.ndim - 1)))
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def q_sample(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_k = √ᾱ·x₀ + √(1-ᾱ)·ε."""
    signal, spread = _amplitudes(alpha_bar, x0)
    return signal * x0 + spread * noise


def target(x0: Tensor, noise: Tensor, alpha_bar: Tensor, prediction: Prediction) -> Tensor:
    """What the network learns: ε, or the velocity √ᾱ·ε - √(1-ᾱ)·x₀ (Salimans and Ho 2022).

    An error of the velocity is √ᾱ times as large in ε: its squared error is that of the noise, divided by ᾱ. Noise
    alone hardly trains the late timesteps, where ε is seen in x_k anyway, and a sampler of few steps begins there.
    """
    signal, spread = _amplitudes(alpha_bar, x0)
    return noise if prediction == "noise" else signal * noise - spread * x0


def clean(x_k: Tensor, output: Tensor, alpha_bar: Tensor, prediction: Prediction) -> Tensor:
    """x̂₀ from the network's output: (x_k - √(1-ᾱ)·ε̂)/√ᾱ, or √ᾱ·x_k - √(1-ᾱ)·v̂."""
    signal, spread = _amplitudes(alpha_bar, x_k)
    return (x_k - spread * output) / signal if prediction == "noise" else signal * x_k - spread * output


def sample(
    estimate: Callable[[Tensor, Tensor], Tensor],
    draw: Callable[[], Tensor],
    alpha_bar: Tensor,
    steps: int,
    stochastic: bool,
) -> Tensor:
    """x₀ from noise in ``steps`` calls of ``estimate(x_k, k) -> x̂₀`` at timesteps evenly spread from T down (DDIM).

    From k to j < k: x_j = √ᾱ_j·x̂₀ + √(1-ᾱ_j-σ²)·ε̂ + σ·η, ε̂ the noise that x_k and x̂₀ imply. Deterministic: σ = 0.
    ``stochastic``: σ² = (1-ᾱ_j)/(1-ᾱ_k)·(1-ᾱ_k/ᾱ_j), the posterior's variance; with T steps this is the ancestral
    sampler of DDPM. ``draw()`` gives standard normal noise (B, ...); ``alpha_bar``: (T + 1,), see :func:`alpha_bars`.
    Raises ValueError for ``steps`` not in 1 ... T.
    """
    num_timesteps = len(alpha_bar) - 1
    if not 1 <= steps <= num_timesteps:
        raise ValueError(f"steps must be 1 to {num_timesteps}, got {steps}")
    x = draw()
    times = [round(num_timesteps * (steps - index) / steps) for index in range(steps + 1)]
    for k, j in itertools.pairwise(times):
        now, then = float(alpha_bar[k]), float(alpha_bar[j])
        x0 = estimate(x, torch.full((len(x),), k, device=x.device))
        noise = (x - now**0.5 * x0) / (1 - now) ** 0.5
        variance = (1 - then) / (1 - now) * (1 - now / then) if stochastic else 0.0
        x = then**0.5 * x0 + max(1 - then - variance, 0.0) ** 0.5 * noise
        if variance > 0:
            x = x + variance**0.5 * draw()
    return x
