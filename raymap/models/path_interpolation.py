"""What the measured receivers around tell of paths, rank by rank, with no word on where paths come from."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch

from raymap import units
from raymap.config import ModelConfig
from raymap.data.path_table import PARAMETERS, PathTable
from raymap.models.interpolation import Variogram
from raymap.models.path_predictor import PathPredictor

#: Columns of :func:`numbers` of each parameter: an azimuth is a cosine and a sine.
COLUMNS = {"power_db": [0], "delay_s": [1], "zenith_rad": [2], "azimuth_rad": [3, 4]}
#: A variogram is fitted to so many receivers at most, in turn with all pairs of them.
_MOST_FITTED = 1000
#: Fewer values give no variogram.
_LEAST = 4


def numbers(table: PathTable) -> np.ndarray:
    """(N, P, 5) float64: power [dB], length [m], zenith [rad], cosine and sine of the azimuth; NaN where not known."""
    power, delay, zenith, azimuth = np.moveaxis(table.values.astype(np.float64), -1, 0)
    return np.stack([power, units.SPEED_OF_LIGHT_M_S * delay, zenith, np.cos(azimuth), np.sin(azimuth)], axis=-1)


def straight(table: PathTable, receivers_m: np.ndarray) -> np.ndarray:
    """(N, 5) of the straight way from receivers (N, 3) to the transmitter, in free space, as :func:`numbers`."""
    ray_m = table.transmitter_m - receivers_m
    level_m = np.hypot(ray_m[:, 0], ray_m[:, 1])
    straight_m = np.linalg.norm(ray_m, axis=1)
    azimuth_rad = np.arctan2(ray_m[:, 1], ray_m[:, 0])
    loss_db = units.free_space_loss_db(1.0, table.frequency_hz) + 20.0 * np.log10(np.maximum(straight_m, 0.1))
    return np.stack(
        [-loss_db, straight_m, np.arctan2(level_m, ray_m[:, 2]), np.cos(azimuth_rad), np.sin(azimuth_rad)], 1
    ).reshape(len(receivers_m), 5)


def to_table(
    found: np.ndarray, measured: PathTable, receivers_m: np.ndarray, valid: np.ndarray | None = None
) -> PathTable:
    """The table of ``found`` (N, P, 5) as in :func:`numbers`; NaN is filled.

    ``valid``: (N, P), by default the ranks that were measured anywhere.

    A number that nobody knows at a rank is that of the rank before, of the first rank that of the line of sight. Powers
    above those of the rank before are lowered to them.
    """
    found, before = found.copy(), straight(measured, receivers_m)
    for rank in range(found.shape[1]):
        before = found[:, rank] = np.where(np.isfinite(found[:, rank]), found[:, rank], before)
    power_db = np.minimum.accumulate(np.minimum(found[..., 0], 0.0), axis=1)
    delay_s = np.maximum(found[..., 1], 0.0) / units.SPEED_OF_LIGHT_M_S
    zenith_rad = np.clip(found[..., 2], 0.0, np.pi)
    values = np.stack([power_db, delay_s, zenith_rad, np.arctan2(found[..., 4], found[..., 3])], axis=-1)
    valid = np.broadcast_to(measured.valid.any(0), found.shape[:2]) if valid is None else valid
    return PathTable.from_values(measured, receivers_m, values, valid=valid)


def by_rank(measured: PathTable, receivers_m: np.ndarray, fill, given: np.ndarray | None = None) -> np.ndarray:
    """(N, P, 5) from ``fill(places (M, 3), values (M, C), receivers_m) -> (N, C)`` of every rank and parameter.

    ``places``: the measured receivers which know the parameter at the rank. NaN where none does. ``given``: (M, P, 5),
    by default the :func:`numbers` of the table.
    """
    given = numbers(measured) if given is None else given
    found = np.full((len(receivers_m), *given.shape[1:]), np.nan)
    for rank in range(measured.num_paths):
        known = {name: np.isfinite(given[:, rank, columns[0]]) for name, columns in COLUMNS.items()}
        for mask in {mask.tobytes(): mask for mask in known.values()}.values():
            columns = [column for name in PARAMETERS if (known[name] == mask).all() for column in COLUMNS[name]]
            if mask.any():
                found[:, rank, columns] = fill(measured.receivers_m[mask], given[mask, rank][:, columns], receivers_m)
    return found


def inverse_distance(
    measured: PathTable, receivers_m: np.ndarray, num: int, besides: bool = False, given: np.ndarray | None = None
) -> np.ndarray:
    """(N, P, 5): means over the ``num`` nearest receivers that know a number, weighted by 1/distance².

    The vector of an azimuth is the shorter the less the receivers agree on it. ``besides``: a receiver at the very
    place is left out, as where measurements are told by their neighbours. Shepard, "A two-dimensional interpolation
    function for irregularly-spaced data", ACM 1968. ``given``: as in :func:`by_rank`.
    """
    from scipy.spatial import cKDTree

    def fill(places_m: np.ndarray, values: np.ndarray, wanted_m: np.ndarray) -> np.ndarray:
        nearest = range(1, min(num + besides, len(places_m)) + 1)
        distance_m, rows = cKDTree(places_m).query(wanted_m, k=nearest, workers=torch.get_num_threads())
        weight = 1.0 / (distance_m**2 + 1e-6)
        if besides:
            weight[distance_m < 1e-6] = 1e-12
        weight /= weight.sum(1, keepdims=True)
        return np.einsum("nk,nkc->nc", weight, values[rows])

    return by_rank(measured, receivers_m, fill, given)


class NearestPaths(PathPredictor):
    """Every receiver has the paths of the measured one nearest to it; ranks that it lacks, of the next that has."""

    turns_with_scene: ClassVar[bool] = True

    class Config(ModelConfig):
        kind: Literal["nearest_paths"] = "nearest_paths"
        inputs: tuple[str, ...] = ()

    def complete(self, measured: PathTable, receivers_m: np.ndarray) -> PathTable:
        """As in :class:`PathPredictor`."""
        self.require_measured(measured)
        return to_table(by_rank(measured, receivers_m, _nearest), measured, receivers_m)

    @property
    def network_calls(self) -> int:
        return 0


def _nearest(places_m: np.ndarray, values: np.ndarray, wanted_m: np.ndarray) -> np.ndarray:
    from scipy.spatial import cKDTree

    return values[cKDTree(places_m).query(wanted_m)[1]]


class PathKriging(PathPredictor):
    """Ordinary Kriging (PyKrige) of every parameter of every rank by itself, over x and y, from the nearest receivers.

    An azimuth is kriged as cosine and sine. Variograms are fitted to 1,000 receivers, spread over the measured ones.
    Where all receivers agree there is no variogram, and their mean is the answer.
    """

    class Config(ModelConfig):
        kind: Literal["path_kriging"] = "path_kriging"
        inputs: tuple[str, ...] = ()
        variogram: Variogram = "exponential"
        num_neighbours: int = 16

    def complete(self, measured: PathTable, receivers_m: np.ndarray) -> PathTable:
        """As in :class:`PathPredictor`."""
        self.require_measured(measured)

        def fill(places_m: np.ndarray, values: np.ndarray, wanted_m: np.ndarray) -> np.ndarray:
            return np.stack([self._krige(places_m, column, wanted_m) for column in values.T], axis=1)

        return to_table(by_rank(measured, receivers_m, fill), measured, receivers_m)

    def _krige(self, places_m: np.ndarray, values: np.ndarray, wanted_m: np.ndarray) -> np.ndarray:
        # A surface needs receivers off one line, and numbers that differ by more than float32 rounds them.
        spread = np.linalg.svd(places_m[:, :2] - places_m[:, :2].mean(0), compute_uv=False)
        if len(values) < _LEAST or np.ptp(values) < 1e-5 * max(np.abs(values).max(), 1.0) or spread[1] < 1e-6:
            return np.full(len(wanted_m), values.mean())
        if not len(wanted_m):
            return np.zeros(0)
        from pykrige.ok import OrdinaryKriging

        some = np.linspace(0, len(values) - 1, min(_MOST_FITTED, len(values))).astype(int)
        fitted = OrdinaryKriging(*places_m[some, :2].T, values[some], variogram_model=self.config.variogram)
        if len(some) < len(values):
            # The pairs of all receivers are too many, and PyKrige looks at all of them: the rest joins after the fit.
            fitted.X_ADJUSTED, fitted.Y_ADJUSTED = places_m[:, 0].copy(), places_m[:, 1].copy()
            fitted.Z = values.copy()
        near = min(self.config.num_neighbours, len(values))
        return np.asarray(fitted.execute("points", *wanted_m[:, :2].T, backend="C", n_closest_points=near)[0])

    @property
    def network_calls(self) -> int:
        return 0
