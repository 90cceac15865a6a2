"""PhyRMDM (RMDM, arXiv 2501.19160; METHODS §5): diffusion of the map itself, with a Helmholtz equation in its loss.

Two U-Nets (``nn.pixel_diffusion``): one draws a map from the conditions alone and learns the physical representation,
the other denoises, steered by it. Grey levels are thresholded at 0.2 and not centred in the released code; here, as in
all networks of the house, the map is in [-1, 1], and the physics sees the grey level in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from raymap import gaussian_diffusion, units
from raymap.config import ModelConfig
from raymap.data.batch import MapBatch, require_inputs
from raymap.diffusion import seeded_noise
from raymap.models.radiodiff import num_channels, require_cells
from raymap.models.sampled import SampledPredictor
from raymap.nn.pixel_diffusion import DualUNet
from raymap.physics import helmholtz_loss

#: The equation is counted in cells, so that a weight means the same at every resolution.
_CELL = 1.0


class Rmdm(SampledPredictor):
    """Predicts the gain from ``inputs``: represent once, then denoise (raymap.gaussian_diffusion)."""

    class Config(ModelConfig):
        kind: Literal["rmdm"] = "rmdm"
        inputs: tuple[str, ...] = ("building", "vehicle", "tx")
        cell_m: float = Field(4.0, gt=0, description="cell length the model is trained on [m]")
        patch: int = Field(2, ge=1, description="cells along one side that the networks fold into one; 1 in the paper")
        widths: tuple[int, ...] = Field((32, 64, 96), description="denoiser's width per level; the last two in 32s")
        physics_widths: tuple[int, ...] = Field((32, 64, 96), description="the same of the second U-Net")
        num_blocks: int = Field(1, ge=1, description="residual blocks per level, going down and going up")
        rf_sa: bool = Field(True, description="attention by frequency and space on the coarse levels of both U-Nets")
        detach: bool = Field(False, description="no gradient from denoiser to second U-Net, as in the released code")
        num_timesteps: int = Field(1000, ge=25, description="T")
        prediction: gaussian_diffusion.Prediction = Field("velocity", description="the paper's is the noise")
        lambda_mse: float = Field(1.0, ge=0, description="of the squared errors of denoiser and second U-Net")
        lambda_pinn: float = Field(0.3, ge=0, description="of the Helmholtz equation; 1 in the released code")
        lambda_reg: float = Field(0.01, ge=0, description="of the total variation; the released code has none")
        wavenumbers: tuple[float, float] = Field(
            helmholtz_loss.WAVENUMBERS, description="κ outside, inside buildings [1/cell], ≤ 2"
        )
        steps: int = Field(10, ge=1, description="denoiser calls per prediction")
        stochastic: bool = Field(False, description="draw noise anew at each step; with T steps this is DDPM's sampler")
        guidance: float = Field(0.0, ge=0, lt=2, description="how far each step moves x̂₀ down the residual's gradient")
        views: Literal[1, 2, 4] = Field(1, description="mirrored views of the scene that a prediction is the mean of")

        _known = field_validator("inputs")(require_inputs)

        @model_validator(mode="after")
        def _possible(self) -> Rmdm.Config:
            if not self.lambda_mse + self.lambda_pinn + self.lambda_reg > 0:
                raise ValueError("lambda_mse, lambda_pinn and lambda_reg are all 0: nothing would be learned")
            if not all(0 <= one <= 2 for one in self.wavenumbers):
                raise ValueError(f"wavenumbers must be 0 to 2 per cell, got {self.wavenumbers}")
            if self.steps > self.num_timesteps:
                raise ValueError(f"steps must be at most num_timesteps = {self.num_timesteps}, got {self.steps}")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.most_steps = config.num_timesteps
        self.unets = DualUNet(
            num_channels(config.inputs, None),
            config.widths,
            config.physics_widths,
            config.num_blocks,
            config.patch,
            config.rf_sa,
            config.detach,
        )
        self.register_buffer("alpha_bars", gaussian_diffusion.alpha_bars(config.num_timesteps), persistent=False)

    def _networks(self, batch: MapBatch) -> tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]:
        """The second U-Net's map, and the denoiser (x_k, k) -> output that it steers."""
        config = self.config
        require_cells(batch, config.cell_m, config.patch, config.inputs)
        rasters = batch.stack(config.inputs)
        known = self.unets.represent(rasters)
        return known.map, lambda x, k: self.unets(x, k / config.num_timesteps, rasters, known)

    def forward(self, batch: MapBatch, part: str = "model") -> dict[str, Tensor]:
        """L = λ_MSE·L_MSE + λ_PINN·L_PINN + λ_REG·L_REG; a term of weight 0 is left out.

        Each is of two maps: the second U-Net's and, unlike in the released code, the denoised estimate x̂₀, so that
        physics reaches what is generated. An error of ε is in x̂₀ √((1-ᾱ)/ᾱ) times as large, which is 157 at T; terms
        of x̂₀ are weighed by ᾱ, which bounds them, so that estimates from noise alone do not outvote the others.
        """
        config, gain = self.config, batch.gain
        learned, denoiser = self._networks(batch)
        noise = torch.randn_like(gain)
        k = torch.randint(1, config.num_timesteps + 1, (len(batch),), device=gain.device)
        alpha_bar = self.alpha_bars[k]
        x_k = gaussian_diffusion.q_sample(gain, noise, alpha_bar)
        output = denoiser(x_k, k)
        estimate = gaussian_diffusion.clean(x_k, output, alpha_bar, config.prediction)
        wanted = gaussian_diffusion.target(gain, noise, alpha_bar, config.prediction)
        losses = {
            "mse": lambda: _mean_square(output - wanted, batch) + _mean_square(learned - gain, batch),
            "pinn": lambda: (alpha_bar * self._pinn(estimate, batch) + self._pinn(learned, batch)).mean(),
            "reg": lambda: (alpha_bar * _roughness(estimate, batch) + _roughness(learned, batch)).mean(),
        }
        weights = {name: getattr(config, f"lambda_{name}") for name in losses}
        terms = {name: loss() for name, loss in losses.items() if weights[name] > 0}
        return {"loss": sum(weights[name] * term for name, term in terms.items()), **terms}

    def physics(self, signal: Tensor, batch: MapBatch) -> helmholtz_loss.Terms:
        """(B, 1) each: how far maps (B, 1, H, W) in [-1, 1] are from the equation, in grey levels and cells."""
        source = units.grey_from_signal(batch.log_distance)
        grey, tx = units.grey_from_signal(signal), batch.tx > 0
        return helmholtz_loss.terms(grey, batch.outdoor, tx, source, _CELL, self.config.wavenumbers)

    def _pinn(self, signal: Tensor, batch: MapBatch) -> Tensor:
        """(B,) L_PINN: equation, walls and source, added up as in the released code."""
        return sum(self.physics(signal, batch)).flatten()

    @torch.no_grad()
    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        """(B, 1, H, W) in [-1, 1]; inside footprints the floor. Raises ValueError for another cell size.

        With several ``views``, the mean of what is drawn for the scene and for its mirror images, each turned back.
        """
        batch = batch.blind()
        drawn = self.mean_of_views(lambda code: self._draw(batch.turn(code), seeds))
        return torch.where(batch.outdoor, drawn.clamp(-1, 1), -1.0)

    def _draw(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        _, denoiser = self._networks(batch)
        agree = self.agreement(batch, lambda x0: x0)

        def estimate(x: Tensor, k: Tensor) -> Tensor:
            alpha_bar = self.alpha_bars[k]
            x0 = gaussian_diffusion.clean(x, denoiser(x, k), alpha_bar, self.config.prediction)
            # The map is known to lie in [-1, 1]; the released sampler clips here, too.
            x0 = self._guided(x0.clamp(-1, 1), batch)
            # What x_k leaves to an x₀ of variance 1.
            return x0 if agree is None else agree(x0, float(1 - alpha_bar[0]))

        draw = seeded_noise(seeds, batch.building.shape[1:], batch.building.device)
        sampling = self.sampling
        return gaussian_diffusion.sample(estimate, draw, self.alpha_bars, sampling.steps, sampling.stochastic)

    def _guided(self, x0: Tensor, batch: MapBatch) -> Tensor:
        """x̂₀ corrected by the physical residual, see :func:`raymap.physics.helmholtz_loss.descend`."""
        if self.config.guidance == 0:
            return x0
        grey, tx = units.grey_from_signal(x0), batch.tx > 0
        return units.signal_from_grey(
            helmholtz_loss.descend(grey, batch.outdoor, tx, _CELL, self.config.wavenumbers, self.config.guidance)
        )

    @property
    def network_calls(self) -> int:
        """The second U-Net once and the denoiser at every step, for every view."""
        return (1 + self.sampling.steps) * self.sampling.views


def _mean_square(error: Tensor, batch: MapBatch) -> Tensor:
    """() over all cells but streets that the true map says nothing of."""
    return error[batch.valid | ~batch.outdoor].square().mean()


def _roughness(signal: Tensor, batch: MapBatch) -> Tensor:
    """(B,) L_REG: total variation. The article only says that it steadies; this one leaves shadow edges sharp."""
    return helmholtz_loss.total_variation(units.grey_from_signal(signal), batch.outdoor).flatten()
