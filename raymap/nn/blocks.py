"""Blocks shared by the networks. Shapes: B batch, C channels, H and W rows and columns, L tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

#: Below so many keys the fused attention's backward costs more on a CPU than attention written out.
_FEW_KEYS = 256


def groups(channels: int) -> int:
    """Groups for a GroupNorm: the largest divisor of ``channels`` that is at most 8."""
    return next(count for count in range(min(8, channels), 0, -1) if channels % count == 0)


class TimeEmbedding(nn.Module):
    """t (B,) to (B, C): Fourier features of log(t)/4, as in the released RadioDiff, then two layers."""

    def __init__(self, channels: int, num_frequencies: int = 32) -> None:
        super().__init__()
        octaves = torch.linspace(-2.0, 5.0, num_frequencies)
        self.register_buffer("frequencies", 2.0**octaves, persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * num_frequencies, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(self, t: Tensor) -> Tensor:
        angle = (t.log() / 4)[:, None] * self.frequencies[None]
        return self.layers(torch.cat([angle.sin(), angle.cos()], dim=1))


class ResBlock(nn.Module):
    """Two 3x3 convolutions with GroupNorm and SiLU, a residual path, and FiLM by an embedding if one is given.

    (B, C_in, H, W), (B, C_emb)? -> (B, C_out, H, W). The last convolution starts at zero.
    """

    def __init__(self, channels_in: int, channels_out: int, embedding: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups(channels_in), channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups(channels_out), channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)
        self.film = nn.Linear(embedding, 2 * channels_out) if embedding else None
        self.skip = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.film is not None:
            scale, shift = self.film(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h))


def positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """(H·W, C) sine and cosine codes of the cell centres, half the channels for rows and half for columns.

    Positions count cells, not fractions of the picture, so that a larger map looks like more of the same ground.
    """
    quarter = channels // 4
    rate = torch.exp(-math.log(100.0) * torch.arange(quarter, device=device) / quarter)
    rows = torch.arange(height, device=device)[:, None] * rate
    columns = torch.arange(width, device=device)[:, None] * rate
    by_row = torch.cat([rows.sin(), rows.cos()], dim=1)[:, None].expand(height, width, 2 * quarter)
    by_column = torch.cat([columns.sin(), columns.cos()], dim=1)[None].expand(height, width, 2 * quarter)
    return torch.cat([by_row, by_column], dim=2).reshape(height * width, 4 * quarter)


class CrossAttention(nn.Module):
    """Every cell of a feature map asks the condition: queries from (B, C, H, W), keys and values from (B, D, h, w).

    Residual, pre-norm, scaled dot product with heads of 32 channels, starting at zero. ``keys_values`` can be computed
    once and used at every diffusion step.
    """

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        if channels % 32:
            raise ValueError(f"CrossAttention needs a multiple of 32 channels, got {channels}")
        self.heads = channels // 32
        self.norm = nn.GroupNorm(groups(channels), channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Conv2d(condition, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def keys_values(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D, h, w) -> keys and values, each (B, heads, h·w, 32)."""
        key, value = self.key_value(condition).chunk(2, dim=1)
        place = positions(*condition.shape[-2:], key.shape[1], key.device).to(key.dtype)
        return self._split(key, place), self._split(value)

    def _split(self, x: Tensor, place: Tensor | None = None) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens if place is None else tokens + place
        # The fused kernels refuse heads whose channels are strided, and fall back to one ten times slower.
        return tokens.contiguous().unflatten(2, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, keys_values: tuple[Tensor, Tensor]) -> Tensor:
        query = self.query(self.norm(x))
        place = positions(*x.shape[-2:], query.shape[1], query.device).to(query.dtype)
        answer = _attend(self._split(query, place), *keys_values)
        return x + self.out(answer.transpose(1, 2).flatten(2).transpose(1, 2).unflatten(2, x.shape[-2:]))


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot product attention by the kernel that is faster."""
    if query.device.type == "cpu" and query.requires_grad and key.shape[2] < _FEW_KEYS:
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(query, key, value)
    return F.scaled_dot_product_attention(query, key, value)
