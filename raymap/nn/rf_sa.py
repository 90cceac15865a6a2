"""Radio frequency - spatial attention (PhyRMDM): what a spectrum says of the whole map, where space wants it.

The article names two branches, one by Fourier transform, a learnable filter and their product; the released code never
builds it (METHODS §5), and its filter would fit one resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raymap.nn.blocks import groups


class FrequencyFilter(nn.Module):
    """(B, C, H, W) to the same: each channel times a learnable complex filter in the Fourier domain, at any H and W.

    The filter is given at ``num_nodes`` frequencies from -½ to ½ cycles per cell down the rows, at half as many (from
    0) along the columns, and is linear in between: a larger map is filtered by the same rule in cells. It reaches about
    ``num_nodes`` cells far, wraps around at the borders, and starts as the identity.
    """

    def __init__(self, channels: int, num_nodes: int = 17) -> None:
        super().__init__()
        # The difference from 1 is learned, so that weight decay pulls towards the identity.
        self.change = nn.Parameter(torch.zeros(2, channels, num_nodes, num_nodes // 2 + 1))

    def response(self, height: int, width: int) -> Tensor:
        """(C, H, W//2 + 1) complex: the filter at the frequencies of a real transform of H x W cells."""
        device = self.change.device
        # Twice the frequency is -1 ... 1 down the rows; of 0 ... 1 along the columns grid_sample wants -1 ... 1.
        rows = 2 * torch.fft.fftfreq(height, device=device)
        columns = 4 * torch.fft.rfftfreq(width, device=device) - 1
        places = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1)
        real, imaginary = F.grid_sample(
            self.change.float(), places.expand(2, -1, -1, -1), mode="bilinear", align_corners=True
        )
        return torch.complex(1 + real, imaginary)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        # bfloat16 has no Fourier transform.
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.fft.rfft2(x.float()) * self.response(height, width)
            return torch.fft.irfft2(spectrum, s=(height, width)).to(x.dtype)


class RfSa(nn.Module):
    """(B, C, H, W) to the same, residual: filtered features, multiplied by a gate that a convolution reads in space.

    The last convolution starts at zero.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups(channels), channels)
        self.frequency = FrequencyFilter(channels)
        self.space = nn.Conv2d(channels, channels, 3, padding=1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        return x + self.out(self.frequency(h) * self.space(h).sigmoid())
