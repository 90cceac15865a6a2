"""Paths learned across scenes: what a map shows of a place says which paths arrive there, in cities never measured too.

The PINN of Liu et al. ("PINN and GNN-based RF Map Construction for Wireless Communication Systems", 2025) sees x and y,
so what it learns of one place is worth nothing at another. Here the environment is what a receiver sees among the
surfaces of a map (:mod:`raymap.propagation.environment`), and paths are told by how they differ from the straight way.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from raymap import units
from raymap.data.path_table import PER_UNIT, PathTable
from raymap.data.point_batch import PointBatch
from raymap.models import path_losses
from raymap.models.path_interpolation import inverse_distance, numbers, straight, to_table
from raymap.models.virtual_sources import AROUND, VirtualSources
from raymap.nn.point_nets import SurveyedPaths, SurveyNet
from raymap.physics import multipath
from raymap.propagation import environment
from raymap.propagation.environment import Environment

#: Receivers that are completed at a time.
_CHUNK = 8192
_LENGTH, _COSINE, _SINE = 1, 3, 4


class ScenePaths(VirtualSources):
    """A network that learns of many scenes what a map says of paths, and virtual sources where something is measured.

    Where nothing is measured the network tells all, also which ranks there are (:meth:`ranks`). What is measured
    corrects it: by the mean of what the measured receivers around miss in it, by inverse distance, and by virtual
    sources among the surfaces of the map, as much of each as would have been right at the measured receivers.
    """

    needs_measured: ClassVar[bool] = False

    class Config(VirtualSources.Config):
        kind: Literal["scene_paths"] = "scene_paths"
        uses_map: Literal[True] = True
        num_paths: int = Field(5, ge=1, description="paths of a receiver, L")
        width: int = Field(48, ge=1)
        num_layers: int = Field(3, ge=0)
        dropout: float = Field(0.3, ge=0, lt=1)
        lambda_type: tuple[float, float] = Field((0.05, 0.3), description="weight of the kinds, first and last step")
        lambda_there: float = Field(0.2, ge=0, description="weight of which ranks there are")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._seen: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        num = config.num_paths
        self.net = SurveyNet(
            list(environment.ELEVATIONS_RAD), environment.NUM_AZIMUTHS, environment.NUM_AROUND, environment.NUM_PLACE,
            num, config.width, config.num_layers, config.dropout,
        )  # fmt: skip
        # Of what is seen, and of what paths have beyond the straight way [dB, m, rad, cosine, sine].
        for name, size in (("place", environment.NUM_PLACE), ("around", environment.NUM_AROUND), ("of", (num, 5))):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size if name != "of" else 5))

    def prepare(self, batches) -> None:
        """Means and scales of what is seen and told, over all batches."""
        place, around, beyond = zip(*map(self._looked_at, (_whole(batch) for batch in batches)), strict=True)
        for name, array in (("place", torch.cat(place)), ("around", torch.cat(around).flatten(0, 2))):
            getattr(self, f"{name}_mean").copy_(array.mean(0))
            getattr(self, f"{name}_std").copy_(array.std(0).clamp_min(1e-3))
        beyond = torch.cat(beyond)
        self.of_mean.copy_(beyond.nanmean(0).nan_to_num(0.0))
        self.of_std.copy_((beyond - self.of_mean).square().nanmean((0, 1)).sqrt().nan_to_num(1.0).clamp_min(1e-3))

    def _looked_at(self, table: PathTable) -> tuple[Tensor, Tensor, Tensor]:
        """``place`` and ``around`` as :class:`Environment`, and (N, P, 5) what is beyond the straight way."""
        seen = self._environment(table, table.receivers_m)
        return torch.from_numpy(seen.place), torch.from_numpy(seen.around), _beyond(table)

    @staticmethod
    def _environment(table: PathTable, receivers_m: np.ndarray) -> Environment:
        if table.surroundings is None:
            raise ValueError("no map of what stands around comes with what is measured, and this method uses one")
        return environment.environment(table.surroundings, table.transmitter_m, receivers_m)

    def forward(self, batch: PointBatch, part: str = "model") -> dict[str, Tensor]:
        """Squared errors in the scale of each number, and cross entropies of kinds and of which ranks there are, at
        every receiver of the batch.

        Every other time the scene is seen in a mirror, drawn at random.
        """
        table, config = _whole(batch), self.config
        place, around, beyond = self._kept(table)
        if self.training and torch.rand(()) < 0.5:
            around, beyond = around.flip(2).roll(1, 2), beyond * beyond.new_tensor([1, 1, 1, 1, -1])
        found = self._told(place, around)
        known = beyond.isfinite()
        wanted = (torch.where(known, beyond, 0.0) - self.of_mean) / self.of_std
        supervised = torch.where(known, found.values - wanted, 0.0).square().sum() / known.sum().clamp_min(1)
        mask = torch.from_numpy(table.valid).to(known.device)
        of_there = nn.functional.binary_cross_entropy_with_logits(found.there, mask.float())
        of_kinds = multipath.type_cross_entropy(found.kinds, path_losses.kinds(table).to(known.device), mask)
        loss = supervised + config.lambda_there * of_there
        loss = loss + path_losses.grown(config.lambda_type, batch.share_done) * of_kinds
        return {"loss": loss, "supervised": supervised, "there": of_there, "kinds": of_kinds}

    def _kept(self, table: PathTable) -> tuple[Tensor, Tensor, Tensor]:
        """:meth:`_looked_at`, which is the same in every pass over the data and computed in the first."""
        key = hash((table.receivers_m.tobytes(), table.transmitter_m.tobytes(), id(table.surroundings)))
        if key not in self._seen:
            self._seen[key] = self._looked_at(table)
        return tuple(array.to(self.of_mean.device) for array in self._seen[key])

    def _told(self, place: Tensor, around: Tensor) -> SurveyedPaths:
        return self.net((place - self.place_mean) / self.place_std, (around - self.around_mean) / self.around_std)

    def _in_world(self, values: Tensor, table: PathTable, receivers_m: np.ndarray) -> Tensor:
        """(N, P, 5) as :func:`numbers`, of what the network tells."""
        values = values * self.of_std + self.of_mean
        base = torch.from_numpy(straight(table, receivers_m)).to(values)[:, None]
        cosine, sine = values[..., _COSINE], values[..., _SINE]
        ahead = base[..., _COSINE], base[..., _SINE]
        turned = [cosine * ahead[0] - sine * ahead[1], cosine * ahead[1] + sine * ahead[0]]
        return torch.cat([values[..., :3] + base[..., :3], torch.stack(turned, -1)], dim=-1)

    @torch.no_grad()
    def told(self, table: PathTable, receivers_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the network says without any measurement: (N, P, 5) :func:`numbers`, and (N, P) bool which are there."""
        found, there = [np.zeros((0, self.config.num_paths, 5))], [np.zeros((0, self.config.num_paths), bool)]
        for start in range(0, len(receivers_m), _CHUNK):
            some_m = receivers_m[start : start + _CHUNK]
            seen = (torch.from_numpy(array).to(self.of_mean.device) for array in self._environment(table, some_m))
            paths = self._told(*seen)
            found.append(self._in_world(paths.values, table, some_m).cpu().numpy())
            there.append(np.minimum.accumulate(paths.there.cpu().numpy() > 0, axis=1))
        return np.concatenate(found), np.concatenate(there)

    def complete(self, measured: PathTable, receivers_m: np.ndarray) -> PathTable:
        """As in :class:`PathPredictor`. Raises ValueError if ``measured`` has no map, or room for another number of
        paths."""
        self.require_room(measured)
        receivers_m = np.ascontiguousarray(receivers_m, np.float64)
        if (measured.valid & np.isfinite(measured.power_db)).any():
            return super().complete(measured, receivers_m)
        found, there = self.told(measured, receivers_m)
        return to_table(found, measured, receivers_m, np.ones_like(there))

    def ranks(self, table: PathTable, receivers_m: np.ndarray) -> np.ndarray:
        """As in :class:`PathPredictor`, by the map of ``table`` alone."""
        return self.told(table, receivers_m)[1]

    def _around(self, measured: PathTable, receivers_m: np.ndarray, besides: bool = False) -> np.ndarray:
        """What the network tells, corrected by what it misses around; by itself; what is measured around."""
        told = self.told(measured, receivers_m)[0]
        missed = numbers(measured) - self.told(measured, measured.receivers_m)[0]
        corrected = told + np.nan_to_num(inverse_distance(measured, receivers_m, AROUND, besides, given=missed))
        return np.stack([corrected, told, inverse_distance(measured, receivers_m, AROUND, besides)])

    @staticmethod
    def _few(num: int) -> np.ndarray:
        """(num,) shares where few can say: none, what the network tells, corrected, stays."""
        return np.zeros(num)

    def validation_loss(self, batch: PointBatch) -> Tensor:
        """Mean square at the asked receivers with nothing measured, in dB, ns and degrees."""
        found = torch.from_numpy(self.told(batch.asked, batch.asked.receivers_m)[0])
        return path_losses.mean_square(_in_units(found), batch.asked)

    @property
    def network_calls(self) -> int:
        return 1


def _whole(batch: PointBatch) -> PathTable:
    """All receivers of a batch."""
    return batch.measured.joined(batch.asked)


def _beyond(table: PathTable) -> Tensor:
    """(N, P, 5) float32, what the paths of a table have beyond the straight way [dB, m, rad, cosine, sine]."""
    values, base = numbers(table), straight(table, table.receivers_m)[:, None]
    cosine, sine = values[..., _COSINE], values[..., _SINE]
    ahead = base[..., _COSINE], base[..., _SINE]
    turned = [cosine * ahead[0] + sine * ahead[1], sine * ahead[0] - cosine * ahead[1]]
    return torch.from_numpy(np.concatenate([values[..., :3] - base[..., :3], np.stack(turned, -1)], -1)).float()


def _in_units(values: Tensor) -> Tensor:
    """(N, P, 5) of :func:`numbers` as (N, P, 4) [dB, ns, deg, deg]."""
    azimuth_rad = torch.atan2(values[..., _SINE], values[..., _COSINE])
    delay_s = values[..., _LENGTH] / units.SPEED_OF_LIGHT_M_S
    si = torch.stack([values[..., 0], delay_s, values[..., 2], azimuth_rad], dim=-1)
    return si * torch.from_numpy(PER_UNIT).to(si)
