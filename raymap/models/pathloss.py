"""The floors that every learned method must clear: free space, and a log-distance law with line of sight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from raymap.config import ModelConfig
from raymap.data.batch import MapBatch
from raymap.models.base import Predictor


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
