"""The floors that every learned method must clear: free space, 3GPP's path loss, a law with line of sight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from raymap import units
from raymap.config import ModelConfig
from raymap.data.batch import MapBatch
from raymap.models.base import Predictor
from raymap.physics import pathloss


def _finish(image: Tensor, batch: MapBatch) -> Tensor:
    return torch.where(batch.outdoor, image.clamp(-1, 1), -1.0)


class FreeSpace(Predictor):
    """Friis everywhere outdoors, as if there were no buildings."""

    class Config(ModelConfig):
        kind: Literal["free_space"] = "free_space"

    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        return _finish(batch.log_distance, batch)

    @property
    def network_calls(self) -> int:
        return 0


class Cell3gpp(Predictor):
    """Path loss of 3GPP TR 38.901 for base stations in streets ("umi") or above roofs ("uma"), by line of sight.

    The report's own heights, whatever the map's transmitter has; nothing is fitted. The frequency is read off the map's
    free-space gain, whose distances are known.
    """

    class Config(ModelConfig):
        kind: Literal["cell_3gpp"] = "cell_3gpp"
        scenario: Literal["umi", "uma"] = "umi"

    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        """(B, 1, H, W) in [-1, 1]. Raises ValueError for frequencies outside of 0.5 to 100 GHz."""
        scenario = {"umi": pathloss.UMI, "uma": pathloss.UMA}[self.config.scenario]
        free_db = units.gain_db_from_signal(batch.log_distance[:, 0].double().cpu().numpy())
        lit = batch.line_of_sight[:, 0].cpu().numpy() > 0
        maps = []
        for index, (row, column) in enumerate(batch.tx_cell.tolist()):
            centre_m = ((column + 0.5) * batch.cell_m, (row + 0.5) * batch.cell_m)
            near_m = pathloss.distance_m(free_db.shape[1:], batch.cell_m, centre_m)
            # Exact in the median: the transmitter is as likely on one side of its cell's centre as on the other.
            amplitude = units.linear_from_db(free_db[index] / 2)
            wavelength_m = 4 * np.pi * np.median(near_m * amplitude)
            distance_m = wavelength_m / (4 * np.pi * amplitude)
            frequency_hz = units.SPEED_OF_LIGHT_M_S / wavelength_m
            maps.append(pathloss.cell_3gpp_gain_db(distance_m, lit[index], frequency_hz, scenario))
        return _finish(torch.from_numpy(units.signal_from_gain_db(np.stack(maps))).to(batch.tx)[:, None], batch)

    @property
    def network_calls(self) -> int:
        return 0


class _Fitted(Predictor):
    """A gain that is linear in features of the scene, fitted by least squares on training maps [dB], outdoors."""

    def __init__(self, config: ModelConfig, num_features: int) -> None:
        super().__init__(config)
        self.register_buffer("coefficients", torch.zeros(num_features))

    @staticmethod
    def features(batch: MapBatch) -> Tensor:
        """(B, num_features, H, W)."""
        raise TypeError("a fitted law names its features")

    def prepare(self, batches: Iterable[MapBatch]) -> None:
        size = len(self.coefficients)
        normal, moment = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
        for batch in batches:
            rows = self.features(batch).movedim(1, -1)[batch.valid[:, 0]].double().cpu()
            normal += rows.T @ rows
            moment += rows.T @ batch.gain[:, 0][batch.valid[:, 0]].double().cpu()
        # A ridge far below the data's own scale keeps maps that are all lit or all shadowed solvable.
        self.coefficients.copy_(torch.linalg.solve(normal + 1e-6 * torch.eye(size, dtype=torch.float64), moment))

    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        image = (self.features(batch) * self.coefficients.view(1, -1, 1, 1)).sum(dim=1, keepdim=True)
        return _finish(image, batch)

    @property
    def network_calls(self) -> int:
        return 0


class LogDistance(_Fitted):
    """PL = a + 10·n·log10(d), with its own a and n in and out of line of sight."""

    class Config(ModelConfig):
        kind: Literal["log_distance"] = "log_distance"

    def __init__(self, config: Config) -> None:
        super().__init__(config, num_features=4)

    @staticmethod
    def features(batch: MapBatch) -> Tensor:
        """(B, 4, H, W): constant and free-space gain (linear in log d), each for lit and for shadowed cells."""
        lit = (batch.line_of_sight > 0).float()
        return torch.cat([lit, lit * batch.log_distance, 1 - lit, (1 - lit) * batch.log_distance], dim=1)
