"""Posterior sampling: a diffusion's clean estimate, corrected by measurements at every step. Nothing is trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Steps of conjugate gradients. Each clears one direction of the few that a decoder mixes.
_ITERATIONS = 8
#: Root mean square of the step by which the decoder's derivative is measured; latents have 1.
_DIFFERENCE = 0.02
Images = Callable[[Tensor], Tensor]


def agree(z0: Tensor, variance: float, decode: Images, samples: Tensor, sampled: Tensor, noise: float) -> Tensor:
    """The latent (B, Z, h, w) that weighs an estimate ``z0`` of that ``variance`` against measurements.

    The mean of the Gaussian posterior, the decoder D taken as linear around z0 (Jacobian J, in measured cells alone):
    z0 + v·Jᵀ(v·J·Jᵀ + σ²)⁻¹(y - D(z0)), as in pseudo-inverse guidance (Song et al., ICLR 2023, eq. 7), solved by
    conjugate gradients for every map by itself. ``decode``: latent -> (B, 1, H, W). ``samples`` y, and where
    ``sampled`` (bool), (B, 1, H, W); ``noise`` σ in the same units.
    """
    # In float32 and by recorded gradients, whatever context the sampler runs in.
    with torch.enable_grad(), torch.autocast(z0.device.type, enabled=False):
        latent = z0.detach().float()

        def measured(z: Tensor) -> Tensor:
            return decode(z) * sampled

        image, back = torch.func.vjp(measured, latent)
        missed = (samples - image) * sampled

        def forth(direction: Tensor) -> Tensor:
            # A difference instead of forward derivatives, which the decoder's attention and norms do not have.
            size = direction.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12) / _DIFFERENCE
            return (measured(latent + direction / size) - image) * size

        def covariance(u: Tensor) -> Tensor:
            return variance * forth(back(u)[0]) + noise**2 * u

        weights = _solve(covariance, missed)
        return (latent + variance * back(weights)[0]).detach().to(z0.dtype)


def _solve(apply: Images, wanted: Tensor) -> Tensor:
    """Conjugate gradients for a symmetric positive operator on (B, ...), every sample by itself."""

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).flatten(1).sum(dim=1).view(-1, *[1] * (a.ndim - 1))

    solution, rest = torch.zeros_like(wanted), wanted
    direction, length = rest, dot(rest, rest)
    for _ in range(_ITERATIONS):
        applied = apply(direction)
        # A sample that is solved stays as it is: its rest is 0, and 0/0 must not spoil it.
        step = length / dot(direction, applied).clamp_min(1e-20)
        solution, rest = solution + step * direction, rest - step * applied
        before, length = length, dot(rest, rest)
        direction = rest + length / before.clamp_min(1e-20) * direction
    return solution
