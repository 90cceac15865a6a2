"""Networks on points: a map from coordinates to paths, and GraphSAGE from measured points to others.

Liu et al., "PINN and GNN-based RF Map Construction for Wireless Communication Systems", section III.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CoordinatePaths(NamedTuple):
    """What coordinates tell of N receivers: ``values`` (N, P, V), ``kinds`` (N, P, 4) logits, ``reflection`` (N, 1)."""

    values: Tensor
    kinds: Tensor
    reflection: Tensor


class CoordinateNet(nn.Module):
    """(N, D) coordinates, about [-1, 1], to the paths there.

    Three layers make 16 features of the environment, and from them the reflection factor in (0, 1); the trunk of
    residual layers, 256 wide, sees coordinates, its output those features too; a last layer tells kinds of paths.
    """

    def __init__(self, size: int, num_paths: int, num_values: int, width: int, env_width: int, dropout: float) -> None:
        super().__init__()
        self.num_paths = num_paths
        self.environment = nn.Sequential(
            nn.Linear(size, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, env_width)
        )
        self.reflection = nn.Linear(env_width, 1)
        self.first = nn.Linear(size, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width + env_width, num_paths * num_values)
        self.kinds = nn.Linear(width + env_width, num_paths * 4)

    def forward(self, coordinates: Tensor) -> CoordinatePaths:
        """(N, D) to the paths there."""
        environment = self.environment(coordinates)
        state = F.silu(self.first(coordinates))
        for layer in self.hidden:
            state = state + self.dropout(F.silu(layer(state)))
        state = torch.cat([state, environment], dim=1)
        return CoordinatePaths(
            self.out(state).unflatten(1, (self.num_paths, -1)),
            self.kinds(state).unflatten(1, (self.num_paths, 4)),
            torch.sigmoid(self.reflection(environment)),
        )


class Sage(nn.Module):
    """GraphSAGE with skips: every layer adds the mean of k neighbours to what a point is.

    Measured points listen to their measured neighbours; points that are asked for listen to measured ones and are never
    heard. So one answer does not depend on what else is asked, and measured points are computed once for all.
    """

    def __init__(self, size: int, out: int, width: int, num_layers: int, dropout: float) -> None:
        from torch_geometric.nn import SAGEConv

        super().__init__()
        self.first = nn.Linear(size, width)
        self.layers = nn.ModuleList(SAGEConv(width, width, aggr="mean") for _ in range(num_layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_layers))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, out)
        # Until it has learned something, the network adds nothing to what it corrects.
        nn.init.zeros_(self.out.weight), nn.init.zeros_(self.out.bias)

    def measured(self, features: Tensor, neighbours: Tensor) -> list[Tensor]:
        """States of measured points before every layer. ``features`` (M, size), ``neighbours`` (M, k) rows of them."""
        states, edges = [F.silu(self.first(features))], _edges(neighbours)
        for number in range(len(self.layers) - 1):
            states.append(self._layer(number, states[-1], states[-1], edges))
        return states

    def asked(self, features: Tensor, neighbours: Tensor, states: list[Tensor]) -> Tensor:
        """(N, out) for points that are asked for. ``neighbours``: (N, k) rows of ``states``, from :meth:`measured`."""
        state, edges = F.silu(self.first(features)), _edges(neighbours)
        for number, heard in enumerate(states):
            state = self._layer(number, heard, state, edges)
        return self.out(state)

    def _layer(self, number: int, heard: Tensor, state: Tensor, edges: Tensor) -> Tensor:
        new = self.layers[number]((self.norms[number](heard), self.norms[number](state)), edges)
        return state + self.dropout(F.silu(new))


class SurveyedPaths(NamedTuple):
    """What N receivers see of paths: ``values`` (N, P, 5), logits of ``kinds`` (N, P, 4) and ``there`` (N, P)."""

    values: Tensor
    kinds: Tensor
    there: Tensor


class SurveyNet(nn.Module):
    """What a receiver sees around it (:mod:`raymap.propagation.environment`) to the paths there.

    Circular convolutions over the horizontal directions, which elevations share; every rank of a path looks in the
    directions that it chooses by a softmax, whose mean is where its azimuth starts from.
    """

    def __init__(
        self, elevations_rad: list[float], num_azimuths: int, size: int, place: int, num_paths: int, width: int,
        num_layers: int, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        turn_rad = torch.arange(num_azimuths) * (2 * torch.pi / num_azimuths)
        level = turn_rad.cos(), turn_rad.sin()
        ways = torch.stack([torch.stack([*level, torch.full_like(turn_rad, up)], -1) for up in elevations_rad])
        self.register_buffer("ways", ways, persistent=False)
        self.place, self.first = nn.Linear(place, width), nn.Linear(size + 3, width)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, 5, padding=2, padding_mode="circular") for _ in range(num_layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.looks, self.sees = nn.Linear(width, num_paths), nn.Linear(width, width)
        self.rank = nn.Parameter(torch.zeros(num_paths, 2 * width))
        self.inner, self.outer = nn.Linear(2 * width, 2 * width), nn.Linear(2 * width, 2 * width)
        self.out = nn.Linear(2 * width, 5)
        self.kinds, self.there = nn.Linear(2 * width, 4), nn.Linear(2 * width, 1)

    def forward(self, place: Tensor, around: Tensor) -> SurveyedPaths:
        """The paths by scaled ``place`` (N, G) and ``around`` (N, E, A, C)."""
        num, elevations, azimuths, _ = around.shape
        here = F.silu(self.place(place))
        state = torch.cat([around, self.ways.expand(num, -1, -1, -1)], dim=-1)
        state = F.silu(self.first(state) + here[:, None, None])
        state = state.flatten(0, 1).transpose(1, 2)
        for layer in self.layers:
            state = state + self.dropout(F.silu(layer(state)))
        state = state.transpose(1, 2).reshape(num, elevations * azimuths, -1)
        share = self.looks(state).softmax(dim=1).transpose(1, 2)
        seen = torch.cat([share @ self.sees(state), here[:, None].expand(-1, share.shape[1], -1)], dim=2)
        seen = F.silu(self.inner(seen) + self.rank)
        seen = seen + F.silu(self.outer(seen))
        values, looked = self.out(seen), share @ self.ways[..., :2].flatten(0, 1)
        values = torch.cat([values[..., :3], values[..., 3:] + looked], dim=2)
        return SurveyedPaths(values, self.kinds(seen), self.there(seen).squeeze(-1))


def _edges(neighbours: Tensor) -> Tensor:
    """(2, N·k): from every neighbour to its point."""
    num, k = neighbours.shape
    points = torch.arange(num, device=neighbours.device).repeat_interleave(k)
    return torch.stack([neighbours.flatten(), points])
