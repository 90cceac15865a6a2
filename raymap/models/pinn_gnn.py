"""PINN-GNN: a network of coordinates under physical laws, and GraphSAGE that corrects it from measured neighbours.

Liu, Chen, Tang, Ma, Wang, Zhang, "PINN and GNN-based RF Map Construction for Wireless Communication Systems", 2025.

Unlike there, the graph network may correct virtual sources (:mod:`raymap.models.virtual_sources`) instead of the PINN
alone, and hears of its measured neighbours what they measured beyond what it corrects. ``Config()`` is ours,
``PUBLISHED`` the paper's, and the paper's baselines are settings too.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from raymap.config import ModelConfig
from raymap.data import point_batch
from raymap.data.path_table import PER_UNIT, PathTable
from raymap.data.point_batch import PointBatch
from raymap.models import path_losses
from raymap.models.path_predictor import PathPredictor
from raymap.models.virtual_sources import VirtualSources
from raymap.nn.point_nets import CoordinateNet, CoordinatePaths, Sage
from raymap.physics import multipath

#: Receivers that are completed at a time.
_CHUNK = 16_384
#: Parts that measured receivers are cut into, so that each is predicted from the others.
_FOLDS = 5
_POWER, _DELAY, _ZENITH, _AZIMUTH = range(4)


class PinnGnn(PathPredictor):
    """Coordinates to paths (PINN), then a correction from measured neighbours (GNN); each can be left out."""

    class Config(ModelConfig):
        kind: Literal["pinn_gnn"] = "pinn_gnn"
        num_paths: int = Field(5, ge=1, description="paths of a receiver, L")
        network: Literal["both", "pinn", "gnn"] = Field("both", description="the two networks, or one alone")
        around: Literal["virtual_sources", "pinn"] = Field(
            "virtual_sources", description="what the GNN corrects; pinn: the PINN's paths, or without one their mean"
        )
        uses_map: bool = Field(False, description="virtual sources are followed among the surfaces of the map")
        hears_measured: bool = Field(True, description="the GNN hears what neighbours measured beyond what it corrects")
        separate: bool = Field(False, description="networks of its own for each of the four parameters")
        width: int = Field(256, ge=1)
        env_width: int = Field(16, ge=1)
        gnn_width: int = Field(128, ge=1)
        num_layers: int = Field(4, ge=1)
        num_neighbours: int = Field(8, ge=1)
        dropout: float = Field(0.1, ge=0, lt=1)
        lambda_power: float = Field(1.0, ge=0, description="λ1 of eq. 11")
        lambda_delay: float = Field(1.0, ge=0, description="λ2")
        lambda_angle: float = Field(1.0, ge=0, description="λ3")
        lambda_consistency: float = Field(1.0, ge=0, description="λ4")
        lambda_phy: tuple[float, float] = Field((0.05, 0.5), description="weight of physics, first and last step")
        lambda_type: tuple[float, float] = Field((0.05, 0.3), description="weight of the kinds, first and last step")

        @model_validator(mode="after")
        def _has_something_to_correct(self) -> PinnGnn.Config:
            if self.network == "pinn" and self.around != "pinn":
                raise ValueError('network "pinn" corrects nothing: around must be "pinn"')
            if self.uses_map and self.around != "virtual_sources":
                raise ValueError(f'virtual sources alone use a map: with around "{self.around}" uses_map must be false')
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        num = config.num_paths
        self._sources: dict[int, Tensor] = {}
        # Of the receivers [m], and of every parameter of every path in the units of its scores, over what is measured.
        self.register_buffer("centre_m", torch.zeros(3))
        self.register_buffer("scale_m", torch.ones(()))
        self.register_buffer("mean", torch.zeros(num, 5))
        self.register_buffer("std", torch.ones(5))
        self.register_buffer("missed", torch.ones(4))
        groups = 4 if config.separate else 1
        if config.network != "gnn":
            self.pinn = nn.ModuleList(
                CoordinateNet(3, num, 5, config.width, config.env_width, config.dropout) for _ in range(groups)
            )
        if config.network != "pinn":
            size = 3 + 5 * num * (1 + (self._has_both)) + 8 * num
            self.gnn = nn.ModuleList(
                Sage(size, num * 4 // groups, config.gnn_width, config.num_layers, config.dropout)
                for _ in range(groups)
            )

    @property
    def _has_both(self) -> bool:
        """Whether the GNN sees the PINN's paths beside what it corrects."""
        return self.config.network == "both" and self.config.around != "pinn"

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The two networks, each with an optimizer of its own."""
        parts = {name: getattr(self, name, None) for name in ("pinn", "gnn")}
        return {name: list(part.parameters()) for name, part in parts.items() if part is not None}

    def prepare(self, batches) -> None:
        """Scales of coordinates, parameters, and of what the GNN has to correct, from the first batch."""
        batch = next(iter(batches))
        table = batch.measured
        low, high = table.receivers_m.min(axis=0), table.receivers_m.max(axis=0)
        self.centre_m.copy_(torch.from_numpy((low + high) / 2))
        self.scale_m.fill_(max(float((high - low).max()) / 2, 1e-3))
        values, known = self._values(table)
        for rank in range(self.config.num_paths):
            for number in range(5):
                told = values[:, rank, number][known[:, rank, min(number, _AZIMUTH)]]
                if len(told):
                    self.mean[rank, number] = told.mean()
        spread = torch.where(known[..., [0, 1, 2, 3, 3]], values - self.mean, torch.nan)
        self.std.copy_(spread.square().nanmean(dim=(0, 1)).sqrt().nan_to_num(1.0).clamp_min(1e-2))
        if self.config.network != "pinn":
            with torch.no_grad():
                error, known = path_losses.error(self._base(table, batch.asked.receivers_m), batch.asked)
            rms = torch.where(known, error, torch.nan).square().nanmean(dim=(0, 1)).sqrt()
            self.missed.copy_(rms.nan_to_num(1.0).clamp_min(1e-2))

    def forward(self, batch: PointBatch, part: str = "pinn") -> dict[str, Tensor]:
        """``part`` "pinn": eq. 4 to 13 on every receiver of the batch; "gnn": eq. 14 where it is asked.

        The GNN's errors count in the units of their scores, dB, ns and degrees, over the mean square that it starts
        from: 1 is what it corrects, uncorrected.
        """
        if part == "pinn":
            return self._pinn_loss(batch)
        told = self._corrected(batch.measured, batch.asked.receivers_m)
        error, known = path_losses.error(told, batch.asked)
        loss = torch.where(known, error, 0.0).square().sum() / known.sum().clamp_min(1) / self.missed.square().mean()
        return {"loss": loss}

    def complete(self, measured: PathTable, receivers_m: np.ndarray) -> PathTable:
        self.require_measured(measured)
        self.require_room(measured)
        receivers_m = np.asarray(receivers_m, np.float64)
        with torch.no_grad():
            heard = None if self.config.network == "pinn" else self._heard(measured)
            parts = [
                self._corrected(measured, receivers_m[start : start + _CHUNK], heard).cpu().numpy()
                for start in range(0, len(receivers_m), _CHUNK)
            ]
        values = np.concatenate([np.zeros((0, measured.num_paths, 4)), *parts]) / PER_UNIT
        # Ranks of nearly one power may be told a little out of order; what is told of a rank stays with it.
        values[..., _POWER] = np.minimum(-np.sort(-values[..., _POWER], axis=1), 0.0)
        values[..., _DELAY] = np.maximum(values[..., _DELAY], 0.0)
        values[..., _ZENITH] = np.clip(values[..., _ZENITH], 0.0, np.pi)
        values[:, ~measured.valid.any(axis=0)] = np.nan
        return PathTable.from_values(measured, receivers_m, values)

    def _corrected(self, measured: PathTable, receivers_m: np.ndarray, heard: _Heard | None = None) -> Tensor:
        """(N, P, 4) [dB, ns, deg, deg] at any receivers."""
        base = self._base(measured, receivers_m)
        if self.config.network == "pinn":
            return base
        heard = heard or self._heard(measured)
        nothing = torch.zeros(*base.shape[:2], 8, device=base.device)
        features = self._features(receivers_m, base, nothing)
        neighbours = point_batch.nearest(measured.receivers_m, receivers_m, self.config.num_neighbours)
        rows = torch.from_numpy(neighbours).to(base.device)
        outs = [net.asked(features, rows, states) for net, states in zip(self.gnn, heard, strict=True)]
        return base + self._joined(outs, 4) * self.missed

    def _heard(self, measured: PathTable) -> _Heard:
        """What measured receivers tell their neighbours: the states of each of the GNN's networks."""
        base = self._base_of_measured(measured)
        told = torch.zeros(*base.shape[:2], 8, device=base.device)
        if self.config.hears_measured:
            error, known = path_losses.error(base, measured)
            told = torch.cat([torch.where(known, -error / self.missed, 0.0), known.float()], dim=-1)
        features = self._features(measured.receivers_m, base, told)
        neighbours = point_batch.nearest(
            measured.receivers_m, measured.receivers_m, self.config.num_neighbours, others=len(measured) > 1
        )
        rows = torch.from_numpy(neighbours).to(base.device)
        return [net.measured(features, rows) for net in self.gnn]

    def _features(self, receivers_m: np.ndarray, base: Tensor, told: Tensor) -> Tensor:
        """(N, size): place, what is corrected, what the PINN says if that is something else, what was measured."""
        columns = [self._coordinates(receivers_m), self._scaled(_on_the_circle(base)).flatten(1)]
        if self._has_both:
            columns.append(self._pinn(receivers_m).values.detach().flatten(1))
        return torch.cat([*columns, told.flatten(1)], dim=1)

    def _base(self, measured: PathTable, receivers_m: np.ndarray) -> Tensor:
        """(N, P, 4) [dB, ns, deg, deg], what the GNN corrects."""
        if self.config.around == "virtual_sources":
            return self._from_sources(measured, receivers_m)
        if self.config.network == "gnn":
            return _off_the_circle(self.mean).expand(len(receivers_m), -1, -1)
        values = _off_the_circle(self._pinn(receivers_m).values * self.std + self.mean)
        return values if self.config.network == "pinn" else values.detach()

    def _from_sources(self, measured: PathTable, receivers_m: np.ndarray) -> Tensor:
        """What virtual sources say. Nothing of it is learned, so in training it is computed once for every batch."""
        key = hash((measured.values.tobytes(), receivers_m.tobytes())) if self.training else None
        if key in self._sources:
            return self._sources[key]
        found = VirtualSources(VirtualSources.Config(uses_map=self.config.uses_map)).complete(measured, receivers_m)
        values = torch.from_numpy((found.values * PER_UNIT).astype(np.float32)).to(self.mean.device)
        # Of a rank that is measured nowhere nothing is known, and nothing will be asked.
        values = torch.where(values.isfinite(), values, _off_the_circle(self.mean))
        if key is not None:
            self._sources[key] = values
        return values

    def _base_of_measured(self, measured: PathTable) -> Tensor:
        """:meth:`_base` at the measured receivers, each from the others: what measuring there adds can then be told."""
        if self.config.around != "virtual_sources" or len(measured) < 2 * _FOLDS:
            return self._base(measured, measured.receivers_m)
        fold = np.random.default_rng(0).permutation(len(measured)) % _FOLDS
        base = torch.zeros(*measured.valid.shape, 4, device=self.mean.device)
        for number in range(_FOLDS):
            one = fold == number
            base[torch.from_numpy(one)] = self._base(measured.take(~one), measured.receivers_m[one])
        return base

    def _coordinates(self, receivers_m: np.ndarray) -> Tensor:
        """(N, 3), about [-1, 1] where receivers were measured."""
        given = torch.from_numpy(np.asarray(receivers_m, np.float32)).to(self.mean.device)
        return (given - self.centre_m) / self.scale_m

    def _pinn(self, receivers_m: np.ndarray) -> CoordinatePaths:
        """The PINN's paths; of networks of their own each tells its parameter, and the first one the rest."""
        found = [net(self._coordinates(receivers_m)) for net in self.pinn]
        if len(found) == 1:
            return found[0]
        owner = [_POWER, _DELAY, _ZENITH, _AZIMUTH, _AZIMUTH]
        values = torch.stack([found[net].values[..., number] for number, net in enumerate(owner)], dim=-1)
        return CoordinatePaths(values, found[0].kinds, found[0].reflection)

    def _joined(self, outs: list[Tensor], num: int) -> Tensor:
        """(N, P, num) of one network's numbers, or of one network for each."""
        if len(outs) == 1:
            return outs[0].unflatten(1, (self.config.num_paths, num))
        return torch.stack(outs, dim=-1)

    def _scaled(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.std

    def _values(self, table: PathTable) -> tuple[Tensor, Tensor]:
        """(N, P, 5) [dB, ns, deg, cosine, sine] of a table, 0 where not known, and (N, P, 4) which are known."""
        values = torch.from_numpy((table.values * PER_UNIT).astype(np.float32)).to(self.mean.device)
        known = values.isfinite()
        return torch.where(known[..., [0, 1, 2, 3, 3]], _on_the_circle(values), 0.0), known

    def _pinn_loss(self, batch: PointBatch) -> dict[str, Tensor]:
        tables, config = (batch.measured, batch.asked), self.config
        receivers_m = np.concatenate([table.receivers_m for table in tables])
        found = self._pinn(receivers_m)
        values, known = (torch.cat(both) for both in zip(*map(self._values, tables), strict=True))
        known = known[..., [0, 1, 2, 3, 3]]
        error = torch.where(known, found.values - self._scaled(values), 0.0)
        supervised = error.square().sum() / known.sum().clamp_min(1)
        kind = torch.cat([path_losses.kinds(table) for table in tables]).to(values.device)
        mask = torch.from_numpy(np.concatenate([table.valid for table in tables])).to(values.device)
        told = _off_the_circle(found.values * self.std + self.mean)
        terms = path_losses.physical(told, found, mask, receivers_m, batch.measured)
        weights = (config.lambda_power, config.lambda_delay, config.lambda_angle, config.lambda_consistency)
        physics = multipath.physical(terms, weights)
        of_kinds = multipath.type_cross_entropy(found.kinds, kind, mask)
        loss = supervised + path_losses.grown(config.lambda_phy, batch.share_done) * physics
        loss = loss + path_losses.grown(config.lambda_type, batch.share_done) * of_kinds
        return {"loss": loss, "supervised": supervised, "kinds": of_kinds, **terms._asdict()}

    def validation_loss(self, batch: PointBatch) -> Tensor:
        """Mean square of what is told at the asked receivers, in dB, ns and degrees."""
        with torch.no_grad():
            return path_losses.mean_square(self._corrected(batch.measured, batch.asked.receivers_m), batch.asked)


#: States of measured receivers, of each network of the GNN: one tensor (M, width) before every layer.
_Heard = list[list[Tensor]]


def _on_the_circle(values: Tensor) -> Tensor:
    """(…, 4) with an azimuth [deg] to (…, 5) with its cosine and sine."""
    azimuth_rad = torch.deg2rad(values[..., _AZIMUTH])
    return torch.cat([values[..., :_AZIMUTH], azimuth_rad.cos()[..., None], azimuth_rad.sin()[..., None]], dim=-1)


def _off_the_circle(values: Tensor) -> Tensor:
    """The inverse of :func:`_on_the_circle`; cosine and sine may have any length."""
    azimuth = torch.rad2deg(torch.atan2(values[..., _AZIMUTH + 1], values[..., _AZIMUTH]))
    return torch.cat([values[..., :_AZIMUTH], azimuth[..., None]], dim=-1)
