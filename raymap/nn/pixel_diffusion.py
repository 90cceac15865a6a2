"""PhyRMDM's dual U-Net: one draws a map from the conditions alone, and what it knows conditions the other, a denoiser.

Shapes: B batch, C condition channels, p ``patch``, h = H/p and w = W/p.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raymap.nn.blocks import CrossAttention, ResBlock, TimeEmbedding, groups
from raymap.nn.rf_sa import RfSa


class Representation(NamedTuple):
    """What the second U-Net knows of a scene: a map (B, 1, H, W) in (-1, 1) and the anchor (B, widths[0], h, w)."""

    map: Tensor
    anchor: Tensor


class UNetBody(nn.Module):
    """(B, widths[0], h, w), embedding (B, E)? -> the same: residual blocks, and attention where cells are coarse.

    On the coarsest two levels, never on the finest, every cell looks at all others (self-attention), and then through
    :class:`RfSa` if ``rf_sa``; these levels' widths are multiples of 32. Any h and w.
    """

    def __init__(self, widths: Sequence[int], num_blocks: int, embedding: int | None, rf_sa: bool) -> None:
        super().__init__()
        coarse = range(max(len(widths) - 2, 1), len(widths))
        self.down_blocks = nn.ModuleList(
            nn.ModuleList(ResBlock(width, width, embedding) for _ in range(num_blocks)) for width in widths
        )
        self.attention = nn.ModuleDict({str(level): CrossAttention(widths[level], widths[level]) for level in coarse})
        self.rf_sa = nn.ModuleDict({str(level): RfSa(widths[level]) for level in coarse if rf_sa})
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths))
        self.middle = ResBlock(widths[-1], widths[-1], embedding)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.up_blocks = nn.ModuleList(
            nn.ModuleList(ResBlock(2 * width if first == 0 else width, width, embedding) for first in range(num_blocks))
            for width in widths
        )

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        skips = []
        for level, blocks in enumerate(self.down_blocks):
            x = self.down[level - 1](x) if level else x
            for block in blocks:
                x = block(x, embedding)
            if str(level) in self.attention:
                attend = self.attention[str(level)]
                x = attend(x, attend.keys_values(x))
            if str(level) in self.rf_sa:
                x = self.rf_sa[str(level)](x)
            skips.append(x)
        x = self.middle(x, embedding)
        for level in reversed(range(len(self.up_blocks))):
            if level < len(self.up):
                x = F.interpolate(self.up[level](x), size=skips[level].shape[-2:], mode="nearest")
            x = torch.cat([x, skips[level]], dim=1)
            for block in self.up_blocks[level]:
                x = block(x, embedding)
        return x


def _exit(width: int, patch: int) -> nn.Sequential:
    """(B, width, h, w) to one picture (B, 1, H, W)."""
    return nn.Sequential(
        nn.GroupNorm(groups(width), width), nn.SiLU(), nn.Conv2d(width, patch**2, 3, padding=1), nn.PixelShuffle(patch)
    )


class DualUNet(nn.Module):
    """The denoiser and the U-Net that learns the physical representation.

    ``represent(rasters)`` runs once per map, ``forward`` at every step. Both fold ``patch`` x ``patch`` cells into
    channels at the entry and back at the exit. The anchor is a sigmoid of the second U-Net's last features: the first
    features of the denoiser are multiplied by 1 + anchor, and it is shown the second U-Net's map beside the noisy one.
    In the released code the anchor, a mean over channels, is all there is, and no gradient passes it. Here it passes
    unless ``detach``, so that the noise loss, too, reaches the second U-Net.
    """

    def __init__(
        self,
        condition_channels: int,
        widths: Sequence[int],
        physics_widths: Sequence[int],
        num_blocks: int,
        patch: int,
        rf_sa: bool,
        detach: bool,
    ) -> None:
        super().__init__()
        self.patch, self.detach = patch, detach
        embedding = 4 * widths[0]
        self.time = TimeEmbedding(embedding)
        self.entry = nn.Conv2d((condition_channels + 2) * patch**2, widths[0], 3, padding=1)
        self.denoiser = UNetBody(widths, num_blocks, embedding, rf_sa)
        self.exit = _exit(widths[0], patch)
        self.physics_entry = nn.Conv2d(condition_channels * patch**2, physics_widths[0], 3, padding=1)
        self.physics = UNetBody(physics_widths, num_blocks, None, rf_sa)
        self.physics_exit = _exit(physics_widths[0], patch)
        self.anchor = nn.Conv2d(physics_widths[0], widths[0], 1)

    def represent(self, rasters: Tensor) -> Representation:
        """(B, C, H, W) of conditions to the one-shot map and the anchor; float32 map."""
        features = self.physics(self.physics_entry(F.pixel_unshuffle(rasters, self.patch)))
        drawn = self.physics_exit(features).float().tanh()
        return Representation(drawn, self.anchor(features.detach() if self.detach else features).sigmoid())

    def forward(self, x: Tensor, t: Tensor, rasters: Tensor, known: Representation) -> Tensor:
        """Noisy maps (B, 1, H, W), t (B,) in (0, 1], conditions and what is known of them -> (B, 1, H, W) float32."""
        shown = known.map.detach() if self.detach else known.map
        features = self.entry(F.pixel_unshuffle(torch.cat([x, shown, rasters], dim=1), self.patch))
        return self.exit(self.denoiser(features * (1 + known.anchor), self.time(t))).float()
