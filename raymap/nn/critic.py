"""A critic of pictures: whether a picture could be the true one of what it is said to show."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from raymap.nn.blocks import groups


class Critic(nn.Module):
    """Picture (B, 1, H, W) and condition (B, C, H, W) -> logits (B, 1, h, w), one per patch; above 0 means true.

    The five strided convolutions of DCGAN (Radford et al., ICLR 2016) as RME-GAN has them (METHODS §6), one for each of
    ``widths``, with two changes. The condition is the scene, where the released code shows the critic which pictures
    are the true ones. And GroupNorm instead of BatchNorm, so that a verdict does not depend on the rest of the batch.
    Takes any map of at least 2^len(widths) cells a side.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in itertools.pairwise((channels + 1, *widths)):
            layers.append(nn.Conv2d(before, width, 4, stride=2, padding=1))
            if len(layers) > 1:
                layers.append(nn.GroupNorm(groups(width), width))
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, picture: Tensor, condition: Tensor) -> Tensor:
        return self.layers(torch.cat([picture, condition], dim=1))
