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


def _edges(neighbours: Tensor) -> Tensor:
    """(2, N·k): from every neighbour to its point."""
    num, k = neighbours.shape
    points = torch.arange(num, device=neighbours.device).repeat_interleave(k)
    return torch.stack([neighbours.flatten(), points])
