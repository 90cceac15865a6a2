"""RadioDiff: decoupled latent diffusion of one raster of the scene, conditioned on the environment.

The same class is RadioDiff-k²'s DM1 (``target="outline"``) and DM2 (``target="gain"``, with DM1's outline among its
inputs), and RadioDiff as published (no outline, no physics channels), by setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from raymap import diffusion
from raymap.config import ModelConfig
from raymap.data.batch import INPUTS, MapBatch
from raymap.models.base import Predictor
from raymap.models.vae import Vae, load_weights
from raymap.nn.unet import ConditionalUNet


class RadioDiff(Predictor):
    """Predicts ``target`` from ``inputs``: encode, diffuse (raymap.diffusion), decode."""

    class Config(ModelConfig):
        kind: Literal["radiodiff"] = "radiodiff"
        target: Literal["gain", "outline"] = "gain"
        inputs: tuple[str, ...] = ("building", "vehicle", "tx", "line_of_sight", "log_distance")
        cell_m: float = Field(4.0, gt=0, description="cell length the model is trained on [m]")
        autoencoder: Vae.Config = Vae.Config()
        widths: tuple[int, ...] = Field((64, 128, 128), description="width per level of the denoiser, multiples of 32")
        num_blocks: int = Field(2, ge=1, description="residual blocks per level, going down and going up")
        stem: int = Field(32, ge=1, description="width of the condition encoder's finest level")
        lambda_drift: float = Field(1.0, ge=0, description="λ1 of paper eq. 45")
        lambda_noise: float = Field(1.0, ge=0, description="λ2 of paper eq. 45")
        lambda_recon: float = Field(1.0, ge=0, description="λ3 of paper eq. 45")
        weighting: Literal["plain", "unit"] = Field("unit", description="over t; plain is the paper's")
        steps: int = Field(3, ge=1, description="network calls per prediction")
        stochastic: bool = Field(False, description="sample the posterior at each step instead of following its mean")

        @field_validator("inputs")
        @classmethod
        def _known(cls, inputs: tuple[str, ...]) -> tuple[str, ...]:
            unknown = [name for name in inputs if name not in INPUTS]
            if unknown or not inputs:
                raise ValueError(f"inputs {unknown or '()'} not allowed; choose from {', '.join(INPUTS)}")
            return inputs

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.autoencoder = Vae(config.autoencoder).requires_grad_(False)
        latent = config.autoencoder.latent_channels
        self.unet = ConditionalUNet(
            latent, len(config.inputs), config.widths, config.num_blocks, self.autoencoder.factor, config.stem
        )
        self.register_buffer("latent_mean", torch.zeros(1, latent, 1, 1))
        self.register_buffer("latent_std", torch.ones(1, latent, 1, 1))

    def start_from(self, part: str, trained: Predictor) -> None:
        if part != "autoencoder":
            super().start_from(part, trained)
        load_weights(self.autoencoder, trained)

    @torch.no_grad()
    def prepare(self, batches: Iterable[MapBatch]) -> None:
        """Measures mean and standard deviation of every latent channel, so that diffusion sees unit variance."""
        latents = torch.cat(
            [self.autoencoder.encode(getattr(batch, self.config.target)) for batch in islice(batches, 8)]
        )
        self.latent_mean.copy_(latents.mean(dim=(0, 2, 3), keepdim=True))
        self.latent_std.copy_(latents.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-3))

    def forward(self, batch: MapBatch, part: str = "model") -> dict[str, Tensor]:
        with torch.no_grad():
            z0 = (
                self.autoencoder.encode(getattr(batch, self.config.target)).float() - self.latent_mean
            ) / self.latent_std
        noise = torch.randn_like(z0)
        t = torch.rand(len(batch), device=z0.device).clamp_min(diffusion.T_MIN)
        heads = diffusion.apply_heads(self._network(batch), diffusion.q_sample(z0, noise, t), t)
        terms = diffusion.losses(z0, noise, t, heads, self.config.weighting)
        total = sum(getattr(self.config, f"lambda_{name}") * term for name, term in terms.items())
        return {"loss": total, **terms}

    def _network(self, batch: MapBatch):
        """(c_in·z_t, t) -> raw heads, with the condition of this batch computed once."""
        if abs(batch.cell_m - self.config.cell_m) > 1e-3 * self.config.cell_m:
            raise ValueError(
                f"the model was trained on {self.config.cell_m:g} m cells, this map has {batch.cell_m:g} m; "
                f"coarsen the scene (Scene.coarsen) or train at this cell size"
            )
        condition = self.unet.condition(batch.stack(self.config.inputs))
        return lambda z_t, t: self.unet(z_t, t, condition)

    @torch.no_grad()
    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        """(B, 1, H, W) in [-1, 1]; gain inside footprints is the floor. Raises ValueError for another cell size."""
        height, width = (size // self.autoencoder.factor for size in batch.building.shape[-2:])
        shape = (self.latent_mean.shape[1], height, width)
        network = self._network(batch)
        z0 = diffusion.sample(
            lambda z_t, t: diffusion.apply_heads(network, z_t, t),
            diffusion.seeded_noise(seeds, shape, batch.building.device),
            self.config.steps,
            self.config.stochastic,
        )
        image = self.autoencoder.decode(z0 * self.latent_std + self.latent_mean).float().clamp(-1, 1)
        return torch.where(batch.outdoor, image, -1.0)

    @property
    def network_calls(self) -> int:
        return self.config.steps
