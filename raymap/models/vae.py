"""The autoencoder of RadioDiff and RadioDiff-k² (paper eq. 40): one for radio maps and for their outlines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from raymap.config import ModelConfig
from raymap.data.batch import MapBatch
from raymap.models.base import Predictor
from raymap.nn.autoencoder import Autoencoder, complete


class Vae(Predictor):
    """Negative evidence lower bound with a Gaussian likelihood (eq. 40), plus an absolute error term.

    Buildings are known wherever a map is predicted, so none of the latent goes to drawing them: their cells are filled
    from the street around them before encoding (``complete``), and the reconstruction is scored outdoors only.
    """

    class Config(ModelConfig):
        kind: Literal["vae"] = "vae"
        channels: tuple[int, ...] = Field((48, 96), description="width per level, each level halves the raster")
        layers_per_block: int = Field(1, ge=1)
        latent_channels: int = Field(4, ge=1)
        patch: int = Field(2, ge=1, description="pixels folded into channels before the first level; 1: classic")
        linear: bool = Field(True, description="learn what a projection on principal components misses")
        complete: bool = Field(True, description="fill buildings from around them before encoding")
        kl_weight: float = Field(1e-6, ge=0)

        @model_validator(mode="after")
        def _fits(self) -> Vae.Config:
            size = (self.patch * 2 ** (len(self.channels) - 1)) ** 2
            if self.linear and self.latent_channels > size:
                raise ValueError(f"latent_channels={self.latent_channels}: a block has only {size} directions")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.autoencoder = Autoencoder(
            config.channels, config.layers_per_block, config.latent_channels, config.patch, config.linear
        )

    @property
    def factor(self) -> int:
        """Cells of a map along one side of a latent cell."""
        return self.autoencoder.factor

    def encode(self, image: Tensor, outdoor: Tensor) -> Tensor:
        """(B, 1, H, W) in [-1, 1] and where it means something -> mean latent (B, Z, H/f, W/f)."""
        return self.autoencoder.moments(self._prepared(image, outdoor))[0]

    def sketch(self, image: Tensor, outdoor: Tensor) -> Tensor:
        """A latent near :meth:`encode`'s by the linear path alone, at a fraction of the cost; encode's without one."""
        if not self.config.linear:
            return self.encode(image, outdoor)
        return self.autoencoder.project(self._prepared(image, outdoor))

    def _prepared(self, image: Tensor, outdoor: Tensor) -> Tensor:
        return complete(image, outdoor) if self.config.complete else image

    def decode(self, latent: Tensor) -> Tensor:
        """(B, Z, h, w) -> (B, 1, h·f, w·f), not clamped."""
        return self.autoencoder.decode(latent)

    @torch.no_grad()
    def prepare(self, batches: Iterable[MapBatch]) -> None:
        """Sets the linear path to the principal components of the blocks of maps and outlines."""
        if not self.config.linear:
            return
        size = self.factor**2
        second, first, count = torch.zeros(size, size, dtype=torch.float64), 0.0, 0
        for batch in islice(batches, 32):
            images = self._prepared(*self._images(batch)).cpu()
            blocks = F.pixel_unshuffle(images, self.factor).movedim(1, -1).reshape(-1, size).double()
            second, first, count = second + blocks.T @ blocks, first + float(blocks.mean(1).sum()), count + len(blocks)
        centre = first / count
        # Second moments around the centre c of every pixel: E[(x-c)(x-c)ᵀ] = E[xxᵀ] - c², as all pixels share a mean.
        covariance = second / count - centre**2
        _values, vectors = torch.linalg.eigh(covariance)
        self.autoencoder.set_basis(vectors.T.flip(0)[: self.config.latent_channels].float(), centre)

    @staticmethod
    def _images(batch: MapBatch) -> tuple[Tensor, Tensor]:
        """(2B, 1, H, W) gains then outlines, and where they count."""
        return torch.cat([batch.gain, batch.outline]), torch.cat([batch.valid, batch.valid])

    def forward(self, batch: MapBatch, part: str = "model") -> dict[str, Tensor]:
        images, outdoor = self._images(batch)
        images = self._prepared(images, outdoor)
        mean, logvar = self.autoencoder.moments(images)
        mean, logvar = mean.float(), logvar.float()
        latent = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        error = (self.decode(latent).float() - images)[outdoor]
        recon = error.square().mean() + 0.1 * error.abs().mean()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
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
