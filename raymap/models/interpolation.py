"""What measurements tell of a map: the nearest one, Kriging, and what a trained model misses. Nothing is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import SerializeAsAny, field_validator
from torch import Tensor

from raymap.config import ModelConfig
from raymap.data.batch import MapBatch
from raymap.models import base
from raymap.models.base import Predictor
from raymap.models.pathloss import FreeSpace

Variogram = Literal["exponential", "spherical", "gaussian", "linear"]
#: Kriging solves one system with all measurements up to so many, and one per cell with so many neighbours beyond.
_MOST_AT_ONCE, _NEIGHBOURS = 512, 32
#: Fewer measurements give neither a slope nor a variogram.
_LEAST = 4


def _filled(batch: MapBatch, values: Tensor, fill: Callable[..., np.ndarray], by: str) -> Tensor:
    """(B, 1, H, W): outdoor cells from ``values`` (B, 1, H, W) where measured, map by map, 0 in footprints.

    ``fill(known, values, wanted, trend, trend_wanted)``: values at ``wanted`` (M, 2), rows and columns of cells, from
    those at ``known`` (N, 2); ``trend`` is the free-space gain there, linear in the logarithm of the distance.
    """
    measured = batch.stack(["sampled"])[:, 0].cpu().numpy() > 0
    outdoor = batch.outdoor[:, 0].cpu().numpy()
    given, trend = (raster[:, 0].double().cpu().numpy() for raster in (values, batch.log_distance))
    image = np.zeros(given.shape)
    for index, (known, wanted) in enumerate(zip(measured, outdoor, strict=True)):
        if not known.any():
            raise ValueError(f"map {index} of the batch has no measured cell; {by} needs one")
        places, cells = np.argwhere(known).astype(float), np.argwhere(wanted).astype(float)
        image[index][wanted] = fill(places, given[index][known], cells, trend[index][known], trend[index][wanted])
    return torch.from_numpy(image).float()[:, None].to(batch.building.device)


def _finished(image: Tensor, batch: MapBatch) -> Tensor:
    return torch.where(batch.outdoor, image.clamp(-1, 1), -1.0)


class NearestMeasurement(Predictor):
    """Every cell has the gain of the measured cell nearest to it."""

    class Config(ModelConfig):
        kind: Literal["nearest_measurement"] = "nearest_measurement"
        inputs: tuple[str, ...] = ("samples", "sampled")

    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        """(B, 1, H, W) in [-1, 1]. Raises ValueError for a map without a measurement."""
        return _finished(_filled(batch, batch.stack(["samples"]), _nearest, self.config.kind), batch)

    @property
    def network_calls(self) -> int:
        return 0


def _nearest(known: np.ndarray, values: np.ndarray, wanted: np.ndarray, *_trends: np.ndarray) -> np.ndarray:
    from scipy.spatial import cKDTree

    return values[cKDTree(known).query(wanted)[1]]


class Kriging(Predictor):
    """Ordinary Kriging (PyKrige) of what measurements leave of their own log-distance law.

    The law, least squares over the map's measurements, keeps far cells from the mean of all; ``trend`` "none" is
    Kriging of the gain itself. Buildings are not known to it. Fewer than four measurements give their mean; where all
    agree with the law there is no variogram, and the law is the answer.
    """

    class Config(ModelConfig):
        kind: Literal["kriging"] = "kriging"
        inputs: tuple[str, ...] = ("samples", "sampled")
        variogram: Variogram = "exponential"
        trend: Literal["log_distance", "none"] = "log_distance"

    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        """(B, 1, H, W) in [-1, 1]. Raises ValueError for a map without a measurement."""
        return _finished(_filled(batch, batch.stack(["samples"]), self._fill, self.config.kind), batch)

    def _fill(self, known, values, wanted, trend, trend_wanted) -> np.ndarray:
        basis, basis_wanted = np.ones((len(known), 1)), np.ones((len(wanted), 1))
        if self.config.trend == "log_distance" and len(known) >= _LEAST:
            basis, basis_wanted = np.c_[basis, trend], np.c_[basis_wanted, trend_wanted]
        coefficients = np.linalg.lstsq(basis, values, rcond=None)[0]
        return basis_wanted @ coefficients + _krige(known, values - basis @ coefficients, wanted, self.config.variogram)

    @property
    def network_calls(self) -> int:
        return 0


def _krige(known: np.ndarray, values: np.ndarray, wanted: np.ndarray, variogram: Variogram) -> np.ndarray:
    """Ordinary Kriging at ``wanted``; the mean of the values where there is no variogram."""
    if len(known) < _LEAST or np.ptp(values) < 1e-6:
        return np.full(len(wanted), values.mean())
    from pykrige.ok import OrdinaryKriging

    solver = OrdinaryKriging(*known.T, values, variogram_model=variogram, pseudo_inv=True)
    near = {} if len(known) <= _MOST_AT_ONCE else {"n_closest_points": _NEIGHBOURS, "backend": "C"}
    return np.asarray(solver.execute("points", *wanted.T, **near)[0])


def correct(predicted: Tensor, batch: MapBatch, variogram: Variogram = "exponential") -> Tensor:
    """(B, 1, H, W): ``predicted``, alike, plus Kriging of what it misses in the measured cells of the batch.

    Where nothing was measured nearby the mean miss is added; measured cells get what was measured. Raises ValueError
    for a map without a measurement.
    """

    def fill(known, missed, wanted, *_trends) -> np.ndarray:
        return _krige(known, missed, wanted, variogram)

    return _finished(predicted + _filled(batch, batch.stack(["samples"]) - predicted, fill, "a correction"), batch)


class Corrected(Predictor):
    """Another model, its map corrected by measurements that it does not read itself (:func:`correct`)."""

    class Config(ModelConfig):
        kind: Literal["corrected"] = "corrected"
        inputs: tuple[str, ...] = ("samples", "sampled")
        model: SerializeAsAny[ModelConfig] = FreeSpace.Config()
        variogram: Variogram = "exponential"

        @field_validator("model", mode="before")
        @classmethod
        def _of_its_kind(cls, value: Any) -> Any:
            return ModelConfig.from_dict(value) if isinstance(value, dict) else value

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.model = base.build(config.model).requires_grad_(False)

    @classmethod
    def of(cls, trained: Predictor) -> Corrected:
        """The correction of a trained model, which it holds."""
        corrected = cls(cls.Config(model=trained.config))
        corrected.model.load_state_dict(trained.state_dict())
        return corrected.eval()

    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        """(B, 1, H, W) in [-1, 1]. Raises ValueError for a map without a measurement, and as the model does."""
        return correct(self.model.predict(batch, seeds), batch, self.config.variogram)

    @property
    def network_calls(self) -> int:
        return self.model.network_calls
