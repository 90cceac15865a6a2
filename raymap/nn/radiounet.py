"""The U-Net of RadioUNet (METHODS §4): plain convolutions, ReLU and max-pooling, no normalisation, no residuals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Level(NamedTuple):
    """One convolution going down, and the one that answers it going up.

    ``pool`` 2: max-pooling halves the picture going down and a transposed convolution of stride 2 doubles it going up.
    """

    width: int
    kernel: int
    pool: int
    up_width: int
    up_kernel: int


#: The first net, 10.9 million weights. The released code enters 10 channels wide where there are more than 3 inputs.
FIRST = (
    Level(6, 3, 1, 20, 5),
    Level(40, 5, 2, 20, 6),
    Level(50, 5, 2, 40, 6),
    Level(60, 5, 1, 50, 5),
    Level(100, 5, 2, 60, 6),
    Level(100, 3, 1, 100, 3),
    Level(150, 5, 2, 100, 4),
    Level(300, 5, 2, 150, 4),
    Level(500, 5, 2, 300, 4),
)
FIRST_OF_MANY_INPUTS = (FIRST[0]._replace(width=10), *FIRST[1:])
#: The second net, 2.35 million weights.
SECOND = (
    Level(20, 3, 1, 20, 5),
    Level(30, 5, 2, 20, 6),
    Level(40, 5, 2, 30, 6),
    Level(50, 5, 1, 40, 5),
    Level(60, 5, 2, 50, 6),
    Level(70, 3, 1, 60, 3),
    Level(90, 5, 2, 70, 4),
    Level(110, 5, 2, 90, 4),
    Level(150, 5, 2, 110, 4),
)


class PlainUNet(nn.Module):
    """(B, C, H, W) -> (B, 1, H, W), for any H and W: filled up with zeros, as convolutions do, and cut back.

    Going up, every level sees its own features of the way down, and the last two convolutions the input again. The
    last convolution is linear: the paper's has a ReLU, through which a net that begins below 0 everywhere never learns.
    ``scale``: of all widths but those of input and output.
    """

    def __init__(self, channels: int, levels: Sequence[Level], scale: float = 1.0) -> None:
        super().__init__()
        widths = [max(1, round(level.width * scale)) for level in levels]
        up_widths = [max(1, round(level.up_width * scale)) for level in levels]
        # Each level reads its own features and what comes up to it, the first level the input, too.
        read = [own + below for own, below in zip(widths, [*up_widths[1:], 0], strict=True)]
        read[0] += channels
        self.multiple = math.prod(level.pool for level in levels)
        self.down = nn.ModuleList(
            _down(before, after, level)
            for (before, after), level in zip(itertools.pairwise([channels, *widths]), levels, strict=True)
        )
        self.up = nn.ModuleList(
            _up(before, after, level) for before, after, level in zip(read, up_widths, levels, strict=True)
        )
        self.exit = nn.Conv2d(up_widths[0] + channels, 1, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))
        h, features = x, []
        for down in self.down:
            h = down(h)
            features.append(h)
        features[0] = torch.cat([features[0], x], dim=1)
        h = self.up[-1](features.pop())
        for up, own in zip(reversed(self.up[:-1]), reversed(features), strict=True):
            h = up(torch.cat([h, own], dim=1))
        return self.exit(torch.cat([h, x], dim=1))[..., :height, :width]


def _down(before: int, after: int, level: Level) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, level.kernel, padding=level.kernel // 2)
    pool = nn.MaxPool2d(level.pool) if level.pool > 1 else nn.Identity()
    return nn.Sequential(convolution, nn.ReLU(), pool)


def _up(before: int, after: int, level: Level) -> nn.Sequential:
    if level.pool > 1:
        padding = (level.up_kernel - level.pool) // 2
        return nn.Sequential(nn.ConvTranspose2d(before, after, level.up_kernel, level.pool, padding), nn.ReLU())
    return nn.Sequential(nn.Conv2d(before, after, level.up_kernel, padding=level.up_kernel // 2), nn.ReLU())
