"""Decoupled diffusion (RadioDiff-k² §IV-D, after RadioDiff and DiffusionEdge): pure functions, no network, no data.

The clean latent z₀ fades along a constant drift while noise grows,

    z_t = z₀ + ∫₀ᵗ f dτ + √t·ε,   f = -z₀,   that is   z_t = (1-t)·z₀ + √t·ε,   t ∈ (0, 1],

so z₁ is pure noise. A network sees z_t and t and estimates the drift f̂ and the noise ε̂ (paper eq. 41, 42). Both give
the clean latent in one step,  ẑ₀ = z_t - t·f̂ - √t·ε̂  (the paper's eq. 43 prints a plus before the drift integral; with
f = -z₀ only the minus gives z₀ back).

Latents are scaled to unit standard deviation before they come here. Shapes: z, noise (B, ...); t (B,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

#: Smallest t that is drawn in training; √t stays well away from 0.
T_MIN = 1e-4


class Heads(NamedTuple):
    """What a denoiser returns, each shaped like z: estimates of the drift f = -z₀ and of the noise ε."""

    drift: Tensor
    noise: Tensor


class Preconditioning(NamedTuple):
    """Scalings that keep network input (unless it fades) and both targets at unit variance; (B, 1, 1, 1) each."""

    c_in: Tensor
    drift_skip: Tensor
    drift_out: Tensor
    noise_skip: Tensor
    noise_out: Tensor


def _like(t: Tensor, z: Tensor) -> Tensor:
    return t.view(-1, *([1] * (z.ndim - 1)))


def q_sample(z0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """z_t = (1-t)·z₀ + √t·ε."""
    t = _like(t, z0)
    return (1 - t) * z0 + t.sqrt() * noise


def precondition(t: Tensor, z: Tensor, fade: bool = False) -> Preconditioning:
    """Best linear guess plus a unit-variance remainder for the network to learn, with v = Var z_t = (1-t)² + t.

    ``fade``: the network's input loses the amplitude (1-t) that the clean latent has in it. At t = 1, where z_t is only
    noise, the network then sees the condition alone.

    Drift: f̂ = -(1-t)/v·z_t + √(t/v)·F₁.  Noise: ε̂ = √t/v·z_t + (1-t)/√v·F₂.  For unit-variance z₀ these are the linear
    minimum mean square estimates (the choice of Karras et al. 2022, eq. 7, carried over to this process). The released
    RadioDiff code has the drift's skip with the opposite sign, which pins f̂ to +z₀ instead of -z₀ as t → 0.
    """
    t = _like(t, z)
    variance = (1 - t) ** 2 + t
    return Preconditioning(
        c_in=variance.rsqrt() * (1 - t if fade else 1),
        drift_skip=-(1 - t) / variance,
        drift_out=(t / variance).sqrt(),
        noise_skip=t.sqrt() / variance,
        noise_out=(1 - t) / variance.sqrt(),
    )


def apply_heads(
    network: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], z_t: Tensor, t: Tensor, fade: bool = False
) -> Heads:
    """Drift and noise from a raw network ``(c_in·z_t, t) -> (F₁, F₂)`` through :func:`precondition`."""
    scale = precondition(t, z_t, fade)
    raw_drift, raw_noise = network(scale.c_in * z_t, t)
    return Heads(
        scale.drift_skip * z_t + scale.drift_out * raw_drift.to(z_t.dtype),
        scale.noise_skip * z_t + scale.noise_out * raw_noise.to(z_t.dtype),
    )


def clean(z_t: Tensor, t: Tensor, heads: Heads) -> Tensor:
    """ẑ₀ = z_t - t·f̂ - √t·ε̂ (paper eq. 43)."""
    t = _like(t, z_t)
    return z_t - t * heads.drift - t.sqrt() * heads.noise


def losses(
    z0: Tensor,
    noise: Tensor,
    t: Tensor,
    heads: Heads,
    weighting: Literal["plain", "unit"],
    share: Tensor | None = None,
) -> dict[str, Tensor]:
    """Drift, noise and reconstruction losses (paper eq. 41, 42, 44), each the mean over the batch: ().

    ``plain`` is the paper's squared error. ``unit`` divides each by the variance its target has around the best linear
    guess, so that every t counts alike and none is solved by the skip connection alone (the 1/c_out² of Karras et al.).
    ``share``: (B, 1, H, W) weights, e.g. what part of a cell matters; the mean is over the weights.
    """
    z_t = q_sample(z0, noise, t)
    errors = {
        "drift": (heads.drift + z0).square(),
        "noise": (heads.noise - noise).square(),
        "recon": (clean(z_t, t, heads) - z0).square(),
    }
    if weighting == "unit":
        scale = precondition(t, z0)
        errors["drift"] = errors["drift"] / scale.drift_out.square()
        errors["noise"] = errors["noise"] / scale.noise_out.square().clamp_min(T_MIN)
        errors["recon"] = errors["recon"] / scale.drift_out.square()
    if share is None:
        return {name: error.mean() for name, error in errors.items()}
    share = share / share.mean().clamp_min(1e-6)
    return {name: (error * share).mean() for name, error in errors.items()}


def draw_times(num: int, kind: Literal["uniform", "late", "end"], device: torch.device | str = "cpu") -> Tensor:
    """(num,) times in [T_MIN, 1]: uniform, or "late" with density 1/(2√(1-t)).

    A sampler of few steps starts at t = 1, where the network sees nothing but the condition, and does most of its work
    there; "late" spends half of the training on t > 3/4. "end" is late for one half of the samples and exactly 1, where
    every sampler starts, for the other.
    """
    uniform = torch.rand(num, device=device)
    if kind == "uniform":
        return uniform.clamp_min(T_MIN)
    times = (1 - uniform.square()).clamp_min(T_MIN)
    if kind == "end":
        times[: num // 2] = 1.0
    return times


def seeded_noise(
    seeds: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu"
) -> Callable[[], Tensor]:
    """A source of standard normal (len(seeds), *shape), one generator per sample.

    Sample i depends on its own seed alone, not on the batch it is in nor on the process that draws it.
    """
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def draw() -> Tensor:
        return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators]).to(device)

    return draw


def sample(
    denoise: Callable[[Tensor, Tensor], Heads],
    draw: Callable[[], Tensor],
    steps: int,
    stochastic: bool,
    correct: Callable[[Tensor, float], Tensor] | None = None,
) -> Tensor:
    """z₀ from noise in ``steps`` network calls at t = 1, (steps-1)/steps, ..., 1/steps.

    Deterministic: z_s = (1-s)·ẑ₀ + √s·ε̂. Stochastic, the exact posterior q(z_s | z_t, ẑ₀):
    z_s = (1-s)·ẑ₀ + (s/√t)·ε̂ + √(s(t-s)/t)·η, η ~ N(0, I). Here ε̂ is the noise that z_t and ẑ₀ imply together.
    ``draw()`` gives standard normal noise (B, ...), see :func:`seeded_noise`. ``correct(ẑ₀, v)``: ẑ₀
    with what else is known, v = t/((1-t)² + t) being the variance that z_t leaves to a z₀ of variance 1.
    Raises ValueError for ``steps`` below 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    z_t = draw()
    for index in range(steps):
        t, s = (steps - index) / steps, (steps - index - 1) / steps
        batch_t = torch.full((z_t.shape[0],), t, device=z_t.device)
        z0 = clean(z_t, batch_t, denoise(z_t, batch_t))
        if correct is not None:
            z0 = correct(z0, t / ((1 - t) ** 2 + t))
        noise = (z_t - (1 - t) * z0) / t**0.5
        if stochastic and s > 0:
            z_t = (1 - s) * z0 + s / t**0.5 * noise + (s * (t - s) / t) ** 0.5 * draw()
        else:
            z_t = (1 - s) * z0 + s**0.5 * noise
    return z_t
