"""The autoencoder shared by maps and outlines: diffusers' AutoencoderKL, made slim, beside a linear path."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Autoencoder(nn.Module):
    """(B, 1, H, W) <-> (B, latent_channels, H/f, W/f) with f = patch · 2^(len(channels)-1).

    ``patch`` > 1 folds patch x patch pixels into channels before the first convolution, so that the widest part of the
    work happens on a smaller raster; 1 is the classic layout. ``channels``: width per level, coarsest last.

    ``linear``: also project every f x f block onto latent_channels directions and back, and let the network learn what
    that misses. Set to the blocks' principal components (:meth:`set_basis`) this path alone is the best linear code,
    and, as the network starts at zero, training starts there.
    """

    def __init__(
        self, channels: Sequence[int], layers_per_block: int, latent_channels: int, patch: int, linear: bool
    ) -> None:
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
        self.project = self.unproject = None
        if linear:
            self.project = nn.Conv2d(1, latent_channels, self.factor, stride=self.factor)
            self.unproject = nn.ConvTranspose2d(latent_channels, 1, self.factor, stride=self.factor)
            for last in (self.network.encoder.conv_out, self.network.quant_conv, self.network.decoder.conv_out):
                nn.init.zeros_(last.bias)
            nn.init.zeros_(self.network.quant_conv.weight)
            nn.init.zeros_(self.network.decoder.conv_out.weight)
            # The spread of q(z|x) starts well below the scale of the codes: exp(-4/2) = 0.14.
            nn.init.constant_(self.network.quant_conv.bias[latent_channels:], -4.0)

    @torch.no_grad()
    def set_basis(self, directions: Tensor, centre: float) -> None:
        """Set the linear path to orthonormal ``directions`` (latent_channels, f·f) of blocks around ``centre``."""
        kernel = directions.view(-1, 1, self.factor, self.factor)
        self.project.weight.copy_(kernel)
        self.project.bias.copy_(-centre * kernel.sum(dim=(1, 2, 3)))
        self.unproject.weight.copy_(kernel)
        self.unproject.bias.fill_(centre)

    def moments(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), each (B, latent_channels, H/f, W/f).

        Raises ValueError if H or W is no multiple of the factor.
        """
        if any(size % self.factor for size in image.shape[-2:]):
            raise ValueError(f"map of {tuple(image.shape[-2:])} cells: both sides must be multiples of {self.factor}")
        posterior = self.network.encode(F.pixel_unshuffle(image, self.patch)).latent_dist
        mean = posterior.mean if self.project is None else posterior.mean + self.project(image)
        return mean, posterior.logvar

    def decode(self, latent: Tensor) -> Tensor:
        """(B, latent_channels, h, w) -> (B, 1, h·f, w·f), unbounded."""
        image = F.pixel_shuffle(self.network.decode(latent).sample, self.patch)
        return image if self.unproject is None else image + self.unproject(latent)


def complete(image: Tensor, known: Tensor) -> Tensor:
    """Fill what is not ``known`` smoothly from what is around it; known values stay as they are.

    ``image`` (B, 1, H, W), ``known`` (B, 1, H, W) bool. Pull-push: averages of known cells are taken over ever larger
    blocks, then brought back, interpolated, wherever a finer level knows nothing.
    """
    weights = [known.to(image.dtype)]
    sums = [torch.where(known, image, 0.0)]
    while max(sums[-1].shape[-2:]) > 1:
        sums.append(F.avg_pool2d(sums[-1], 2, ceil_mode=True, count_include_pad=False))
        weights.append(F.avg_pool2d(weights[-1], 2, ceil_mode=True, count_include_pad=False))
    filled = sums[-1] / weights[-1].clamp_min(1e-6)
    for total, weight in zip(sums[-2::-1], weights[-2::-1], strict=True):
        coarse = F.interpolate(filled, size=total.shape[-2:], mode="bilinear", align_corners=False)
        filled = torch.where(weight > 0, total / weight.clamp_min(1e-6), coarse)
    return filled
