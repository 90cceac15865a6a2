"""A network with the operation count of RadioDiff's published denoiser, to time against; it is never trained.

Where the released network has a Swin-B and a U-Net with one encoder and two decoders, this has plain blocks of the same
widths on the same rasters: 256 x 256 cells in, latents 64 x 64. Left out is what costs time without costing operations
(shifted windows, Fourier filters, weight standardisation), so that the comparison is kind to the published network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raymap.nn.blocks import ResBlock, TimeEmbedding

#: Operations of one call of the released denoiser on 256 x 256 cells, condition included [FLOP].
PUBLISHED_FLOP = 146.4e9
_EMBEDDING = 512
#: Swin-B: width and blocks per level, from cells of 4 x 4 pixels on; windows of 8 x 8 such cells.
_SWIN = ((128, 2), (256, 2), (512, 18), (1024, 2))
_WINDOW = 8
#: U-Net: width going in and coming out per level, 64 x 64 cells first.
_LEVELS = ((128, 128), (128, 256), (256, 512), (512, 512))


class WindowBlock(nn.Module):
    """Self-attention within windows of 8 x 8 cells, heads of 32 channels, then two layers; (B, h, w, C) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = channels // 32
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.inputs, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.layers = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        shape = (batch, height // _WINDOW, _WINDOW, width // _WINDOW, _WINDOW, channels)
        windows = self.norms[0](x).view(shape).transpose(2, 3).reshape(-1, _WINDOW**2, channels)
        parts = self.inputs(windows).unflatten(2, (3, self.heads, 32)).permute(2, 0, 3, 1, 4)
        mixed = self.out(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        x = x + mixed.view(shape[0], shape[1], shape[3], _WINDOW, _WINDOW, channels).transpose(2, 3).reshape(x.shape)
        return x + self.layers(self.norms[1](x))


class ConditionNet(nn.Module):
    """(B, 3, 256, 256) to features of 128, 256, 512 and 1024 channels at 64, 32, 16 and 8 cells."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Conv2d(3, _SWIN[0][0], 4, stride=4)
        self.levels = nn.ModuleList(nn.Sequential(*(WindowBlock(width) for _ in range(num))) for width, num in _SWIN)
        self.merge = nn.ModuleList(nn.Linear(4 * width, 2 * width) for width, _ in _SWIN[:-1])

    def forward(self, rasters: Tensor) -> list[Tensor]:
        x, features = self.start(rasters).movedim(1, -1), []
        for number, level in enumerate(self.levels):
            if number:
                x = self.merge[number - 1](F.pixel_unshuffle(x.movedim(-1, 1), 2).movedim(1, -1))
            x = level(x.contiguous())
            features.append(x.movedim(-1, 1))
        return features


class Decoder(nn.Module):
    """One head: up through the levels, each joined with what came down and with the condition."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(reversed(_LEVELS))
        self.first = nn.ModuleList(ResBlock(into + out, out, _EMBEDDING) for into, out in pairs)
        self.relation = nn.ModuleList(nn.Conv2d(2 * out, out, 3, padding=1) for _into, out in pairs)
        self.second = nn.ModuleList(ResBlock(into + out, out, _EMBEDDING) for into, out in pairs)
        self.up = nn.ModuleList(nn.Conv2d(out, into, 3, padding=1) for into, out in pairs)
        self.last = ResBlock(256, 128, _EMBEDDING)
        self.exit = nn.Conv2d(128, 3, 1)

    def forward(self, x: Tensor, embedding: Tensor, skips: list[Tensor], entry: Tensor) -> Tensor:
        for number, skip in enumerate(reversed(skips)):
            x = self.first[number](torch.cat([x, skip], dim=1), embedding)
            # In the released network the second half is the condition; the operations are the same.
            x = x + self.relation[number](torch.cat([x, x], dim=1))
            x = self.second[number](torch.cat([x, skip], dim=1), embedding)
            x = self.up[number](F.interpolate(x, scale_factor=2.0) if number + 1 < len(skips) else x)
        return self.exit(self.last(torch.cat([x, entry], dim=1), embedding))


class PublishedDenoiser(nn.Module):
    """Latent (B, 3, 64, 64), t (B,) and rasters (B, 3, 256, 256) to two heads; the condition is computed every time."""

    def __init__(self) -> None:
        super().__init__()
        self.condition, self.time = ConditionNet(), TimeEmbedding(_EMBEDDING)
        self.entry = nn.Conv2d(3 + 128, 128, 7, padding=3)
        self.project = nn.ModuleList(
            nn.Conv2d(wide, into, 1) for (wide, _), (into, _out) in zip(_SWIN, _LEVELS, strict=True)
        )
        self.first = nn.ModuleList(ResBlock(into, into, _EMBEDDING) for into, _out in _LEVELS)
        self.relation = nn.ModuleList(nn.Conv2d(2 * into, into, 3, padding=1) for into, _out in _LEVELS)
        self.second = nn.ModuleList(ResBlock(into, into, _EMBEDDING) for into, _out in _LEVELS)
        self.down = nn.ModuleList(nn.Conv2d(into, out, 4, stride=2, padding=1) for into, out in _LEVELS[:-1])
        self.down.append(nn.Conv2d(*_LEVELS[-1], 3, padding=1))
        self.middle = nn.ModuleList(ResBlock(512, 512, _EMBEDDING) for _ in range(2))
        self.decoders = nn.ModuleList(Decoder() for _ in range(2))

    def forward(self, z: Tensor, t: Tensor, rasters: Tensor) -> tuple[Tensor, Tensor]:
        embedding, features = self.time(t), self.condition(rasters)
        entry = x = self.entry(torch.cat([z, features[0]], dim=1))
        skips = []
        for number, feature in enumerate(features):
            x = self.first[number](x, embedding)
            x = x + self.relation[number](torch.cat([x, self.project[number](feature)], dim=1))
            x = self.second[number](x, embedding)
            skips.append(x)
            x = self.down[number](x)
        for block in self.middle:
            x = block(x, embedding)
        drift, noise = (decoder(x, embedding, skips, entry) for decoder in self.decoders)
        return drift, noise
