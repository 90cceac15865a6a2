"""The autoencoder of RadioDiff and RadioDiff-k² (paper eq. 40): one for radio maps and for their outlines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from raymap.config import ModelConfig
from raymap.data.batch import MapBatch
from raymap.models.base import Predictor
from raymap.nn.autoencoder import Autoencoder


class Vae(Predictor):
    """Negative evidence lower bound with a Gaussian likelihood (eq. 40), plus an absolute error term.

    The reconstruction of a gain map is scored outdoors only: footprints are known wherever a map is predicted, so no
    latent capacity goes to drawing them.
    """

    class Config(ModelConfig):
        kind: Literal["vae"] = "vae"
        channels: tuple[int, ...] = Field((48, 96), description="width per level, each level halves the raster")
        layers_per_block: int = Field(1, ge=1)
        latent_channels: int = Field(4, ge=1)
        patch: int = Field(2, ge=1, description="pixels folded into channels before the first level; 1: classic")
        kl_weight: float = Field(1e-4, ge=0)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.autoencoder = Autoencoder(config.channels, config.layers_per_block, config.latent_channels, config.patch)

    @property
    def factor(self) -> int:
        """Cells of a map along one side of a latent cell."""
        return self.autoencoder.factor

    def encode(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) in [-1, 1] -> mean latent (B, Z, H/f, W/f)."""
        return self.autoencoder.moments(image)[0]

    def decode(self, latent: Tensor) -> Tensor:
        """(B, Z, h, w) -> (B, 1, h·f, w·f), not clamped."""
        return self.autoencoder.decode(latent)

    def forward(self, batch: MapBatch, part: str = "model") -> dict[str, Tensor]:
        images = torch.cat([batch.gain, batch.outline])
        weight = torch.cat([batch.valid.float(), torch.ones_like(batch.gain)])
        mean, logvar = self.autoencoder.moments(images)
        latent = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        error = self.decode(latent).float() - images
        recon = (weight * (error.square() + error.abs())).sum() / weight.sum()
        kl = 0.5 * (mean.float().square() + logvar.float().exp() - 1 - logvar.float()).mean()
        return {"loss": recon + self.config.kl_weight * kl, "recon": recon, "kl": kl}

    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        raise TypeError("Vae encodes and decodes maps; it predicts none. Score a model that holds it, such as K2.")


def load_weights(part: Vae, trained: Predictor) -> None:
    """Copy a trained autoencoder into ``part``. Raises ValueError if ``trained`` is none, or of another shape."""
    if not isinstance(trained, Vae):
        raise ValueError(f"the autoencoder must start from a Vae, got {type(trained).__name__}")
    if trained.config != part.config:
        raise ValueError(f"autoencoder was trained as {trained.config}, this model wants {part.config}")
    part.load_state_dict(trained.state_dict())
