"""The conditional denoiser: a condition encoder that runs once per map, and a U-Net that runs at every step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raymap.nn.blocks import CrossAttention, ResBlock, TimeEmbedding, groups


class ConditionEncoder(nn.Module):
    """(B, C, H, W) rasters to features at the latent's resolution and below, finest first.

    The first convolution folds ``factor`` x ``factor`` pixels into channels (nothing is thrown away), then one level
    for every level of the U-Net: (B, widths[i], H/(factor·2^i), W/(factor·2^i)).
    """

    def __init__(self, channels: int, widths: Sequence[int], num_blocks: int, factor: int, stem: int) -> None:
        super().__init__()
        if factor % 2:
            raise ValueError(f"latent cells must be an even number of pixels wide, got {factor}")
        self.half = factor // 2
        self.stem = nn.Conv2d(channels * self.half**2, stem, 3, padding=1)
        self.fine = ResBlock(stem, stem)
        self.down = nn.ModuleList()
        self.blocks = nn.ModuleList()
        for before, width in zip((stem, *widths[:-1]), widths, strict=True):
            self.down.append(nn.Conv2d(before, width, 3, stride=2, padding=1))
            self.blocks.append(nn.ModuleList(ResBlock(width, width) for _ in range(num_blocks)))

    def forward(self, rasters: Tensor) -> list[Tensor]:
        x = self.fine(self.stem(F.pixel_unshuffle(rasters, self.half)))
        features = []
        for down, blocks in zip(self.down, self.blocks, strict=True):
            x = down(x)
            for block in blocks:
                x = block(x)
            features.append(x)
        return features


class ConditionalUNet(nn.Module):
    """Raw heads F₁, F₂ of the decoupled diffusion: (B, Z, h, w), t (B,), condition -> two (B, Z, h, w).

    The condition enters twice at every level: added to the features (place by place) and through cross-attention on
    the coarsest two levels (any place can look at any other). ``condition()`` is everything that does not depend on
    z_t or t; compute it once and reuse it over all steps.
    """

    def __init__(
        self,
        latent_channels: int,
        condition_channels: int,
        widths: Sequence[int],
        num_blocks: int,
        factor: int,
        stem: int,
    ) -> None:
        super().__init__()
        embedding = 4 * widths[0]
        self.time = TimeEmbedding(embedding)
        self.encoder = ConditionEncoder(condition_channels, widths, num_blocks, factor, stem)
        self.entry = nn.Conv2d(latent_channels, widths[0], 3, padding=1)
        levels = range(len(widths))
        self.attended = [level for level in levels if level >= len(widths) - 2]
        self.down_blocks = nn.ModuleList(
            nn.ModuleList(ResBlock(width, width, embedding) for _ in range(num_blocks)) for width in widths
        )
        self.attention = nn.ModuleDict(
            {str(level): CrossAttention(widths[level], widths[level]) for level in self.attended}
        )
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in itertools.pairwise(widths)
        )
        self.middle = ResBlock(widths[-1], widths[-1], embedding)
        self.up = nn.ModuleList(nn.Conv2d(after, before, 3, padding=1) for before, after in itertools.pairwise(widths))
        self.up_blocks = nn.ModuleList(
            nn.ModuleList(ResBlock(2 * width if first == 0 else width, width, embedding) for first in range(num_blocks))
            for width in widths
        )
        self.exit = nn.Sequential(
            nn.GroupNorm(groups(widths[0]), widths[0]),
            nn.SiLU(),
            nn.Conv2d(widths[0], 2 * latent_channels, 3, padding=1),
        )

    def condition(self, rasters: Tensor) -> list[tuple[Tensor, tuple[Tensor, Tensor] | None]]:
        """Per level the features to add, and the attention's keys and values where there is one."""
        return [
            (feature, self.attention[str(level)].keys_values(feature) if level in self.attended else None)
            for level, feature in enumerate(self.encoder(rasters))
        ]

    def forward(self, z: Tensor, t: Tensor, condition: list) -> tuple[Tensor, Tensor]:
        embedding = self.time(t)
        x = self.entry(z)
        skips = []
        for level, blocks in enumerate(self.down_blocks):
            feature, keys_values = condition[level]
            x = (self.down[level - 1](x) if level else x) + feature
            for block in blocks:
                x = block(x, embedding)
            if keys_values is not None:
                x = self.attention[str(level)](x, keys_values)
            skips.append(x)
        x = self.middle(x, embedding)
        for level in reversed(range(len(self.up_blocks))):
            if level < len(self.up):
                x = F.interpolate(self.up[level](x), size=skips[level].shape[-2:], mode="nearest")
            x = torch.cat([x, skips[level]], dim=1)
            for block in self.up_blocks[level]:
                x = block(x, embedding)
        drift, noise = self.exit(x).chunk(2, dim=1)
        return drift, noise
