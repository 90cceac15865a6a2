"""What measurements alone tell of a map: the nearest one, and Kriging. Nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from raymap.config import ModelConfig
from raymap.data.batch import MapBatch
from raymap.models.base import Predictor

#: Kriging solves one system with all measurements up to so many, and one per cell with so many neighbours beyond.
_MOST_AT_ONCE, _NEIGHBOURS = 512, 32
#: Fewer measurements give neither a slope nor a variogram.
_LEAST = 4


class _Interpolation(Predictor):
    """Fills a map from its measured cells, map by map; the floor inside footprints."""

    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        """(B, 1, H, W) in [-1, 1]; nothing is drawn. Raises ValueError for a map without a measurement."""
        measured = batch.stack(["sampled"])[:, 0].cpu().numpy() > 0
        samples = batch.stack(["samples"])[:, 0].double().cpu().numpy()
        outdoor = batch.outdoor[:, 0].cpu().numpy()
        distances = batch.log_distance[:, 0].double().cpu().numpy()
        image = np.full(samples.shape, -1.0)
        for index in range(len(batch)):
            if not measured[index].any():
                raise ValueError(f"map {index} of the batch has no measured cell; {self.config.kind} needs one")
            known, wanted = np.argwhere(measured[index]), np.argwhere(outdoor[index])
            values, places = samples[index][measured[index]], outdoor[index]
            image[index][places] = self.fill(
                known.astype(float), values, wanted.astype(float),
                distances[index][measured[index]], distances[index][places],
            )  # fmt: skip
        return torch.from_numpy(image).float().clamp(-1, 1)[:, None].to(batch.building.device)

    def fill(
        self, known: np.ndarray, values: np.ndarray, wanted: np.ndarray, trend: np.ndarray, trend_wanted: np.ndarray
    ) -> np.ndarray:
        """Values (M,) at ``wanted`` (M, 2) from ``values`` (N,) at ``known`` (N, 2), rows and columns of cells.

        ``trend`` (N,), ``trend_wanted`` (M,): the free-space gain there, linear in the logarithm of the distance.
        """
        raise NotImplementedError

    @property
    def network_calls(self) -> int:
        """None."""
        return 0


class NearestMeasurement(_Interpolation):
    """Every cell has the gain of the measured cell nearest to it."""

    class Config(ModelConfig):
        kind: Literal["nearest_measurement"] = "nearest_measurement"
        inputs: tuple[str, ...] = ("samples", "sampled")

    def fill(self, known, values, wanted, trend, trend_wanted) -> np.ndarray:
        """The value of the nearest known place."""
        from scipy.spatial import cKDTree

        return values[cKDTree(known).query(wanted)[1]]


class Kriging(_Interpolation):
    """Ordinary Kriging (PyKrige) of what measurements leave of their own log-distance law.

    The law, least squares over the map's measurements, keeps far cells from the mean of all; ``trend`` "none" is
    Kriging of the gain itself. Buildings are not known to it. Fewer than four measurements give their mean; where all
    agree with the law there is no variogram, and the law is the answer.
    """

    class Config(ModelConfig):
        kind: Literal["kriging"] = "kriging"
        inputs: tuple[str, ...] = ("samples", "sampled")
        variogram: Literal["exponential", "spherical", "gaussian", "linear"] = "exponential"
        trend: Literal["log_distance", "none"] = "log_distance"

    def fill(self, known, values, wanted, trend, trend_wanted) -> np.ndarray:
        """Law of the measurements plus Kriging of the rest."""
        basis, basis_wanted = np.ones((len(known), 1)), np.ones((len(wanted), 1))
        if self.config.trend == "log_distance" and len(known) >= _LEAST:
            basis, basis_wanted = np.c_[basis, trend], np.c_[basis_wanted, trend_wanted]
        coefficients = np.linalg.lstsq(basis, values, rcond=None)[0]
        rest, law = values - basis @ coefficients, basis_wanted @ coefficients
        if len(known) < _LEAST or np.ptp(rest) < 1e-6:
            return law
        return law + self._krige(known, rest, wanted)

    def _krige(self, known: np.ndarray, rest: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        from pykrige.ok import OrdinaryKriging

        solver = OrdinaryKriging(*known.T, rest, variogram_model=self.config.variogram, pseudo_inv=True)
        if len(known) <= _MOST_AT_ONCE:
            return np.asarray(solver.execute("points", *wanted.T)[0])
        found = solver.execute("points", *wanted.T, n_closest_points=_NEIGHBOURS, backend="C")[0]
        return np.asarray(found)
