"""The autoencoder shared by maps and outlines: diffusers' AutoencoderKL, made slim by folding pixels into channels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class Autoencoder(nn.Module):
    """(B, 1, H, W) <-> (B, latent_channels, H/f, W/f) with f = patch · 2^(len(channels)-1).

    ``patch`` > 1 folds patch x patch pixels into channels before the first convolution, so that the widest part of the
    work happens on a smaller raster; 1 is the classic layout. ``channels``: width per level, coarsest last.
    """

    def __init__(self, channels: Sequence[int], layers_per_block: int, latent_channels: int, patch: int) -> None:
        super().__init__()
        # Imported here: diffusers takes seconds and 250 MB, and only this class needs it.
        from diffusers import AutoencoderKL

        self.patch = patch
        self.factor = patch * 2 ** (len(channels) - 1)
        self.network = AutoencoderKL(
            in_channels=patch**2,
            out_channels=patch**2,
            block_out_channels=tuple(channels),
            down_block_types=("DownEncoderBlock2D",) * len(channels),
            up_block_types=("UpDecoderBlock2D",) * len(channels),
            layers_per_block=layers_per_block,
            latent_channels=latent_channels,
            norm_num_groups=8,
        )

    def moments(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), each (B, latent_channels, H/f, W/f).

        Raises ValueError if H or W is no multiple of the factor.
        """
        if any(size % self.factor for size in image.shape[-2:]):
            raise ValueError(f"map of {tuple(image.shape[-2:])} cells: both sides must be multiples of {self.factor}")
        posterior = self.network.encode(F.pixel_unshuffle(image, self.patch)).latent_dist
        return posterior.mean, posterior.logvar

    def decode(self, latent: Tensor) -> Tensor:
        """(B, latent_channels, h, w) -> (B, 1, h·f, w·f), unbounded."""
        return F.pixel_shuffle(self.network.decode(latent).sample, self.patch)
