"""Sparse measurements: the gain that a few receivers have measured, as inputs of a map."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from raymap import units
from raymap.config import MeasurementsConfig
from raymap.scene import Scene


@dataclass(frozen=True, eq=False)
class Measurements:
    """Path gain measured at some places: ``xy_m`` (N, 2), from the grid's top left corner [m], ``gain_db`` (N,) [dB].

    Raises ValueError for arrays of other shapes and for numbers that are not finite.
    """

    xy_m: np.ndarray
    gain_db: np.ndarray

    def __post_init__(self) -> None:
        xy_m, gain_db = np.asarray(self.xy_m, np.float64), np.asarray(self.gain_db, np.float32)
        if xy_m.ndim != 2 or xy_m.shape[1] != 2 or gain_db.shape != xy_m.shape[:1]:
            raise ValueError(
                f"Measurements need xy_m (N, 2) and gain_db (N,), got shapes {xy_m.shape} and {gain_db.shape}"
            )
        for name, values in (("xy_m", xy_m), ("gain_db", gain_db)):
            if not np.isfinite(values).all():
                raise ValueError(f"Measurements.{name} must be finite, got {values[~np.isfinite(values)][0]}")
        object.__setattr__(self, "xy_m", xy_m)
        object.__setattr__(self, "gain_db", gain_db)

    def raster(self, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """``samples_db`` (H, W) float32, the mean [dB] of what was measured in a cell, and ``sampled`` (H, W) bool.

        Raises ValueError naming the first place that is outside the map or inside a building.
        """
        rows_cols = np.floor(self.xy_m[:, ::-1] / scene.grid.cell_m).astype(int)
        inside = ((rows_cols >= 0) & (rows_cols < scene.grid.shape)).all(axis=1)
        outdoor = inside.copy()
        outdoor[inside] = scene.outdoor[tuple(rows_cols[inside].T)]
        if not outdoor.all():
            x_m, y_m = self.xy_m[~outdoor][0]
            where = "inside a building" if inside[~outdoor][0] else f"outside {scene.name!r}"
            raise ValueError(f"the measurement at ({x_m:g}, {y_m:g}) m is {where}; receivers are outdoors")
        total, count = np.zeros(scene.grid.shape), np.zeros(scene.grid.shape)
        np.add.at(total, tuple(rows_cols.T), self.gain_db)
        np.add.at(count, tuple(rows_cols.T), 1)
        mean_db = np.where(count > 0, total / np.maximum(count, 1), units.GAIN_FLOOR_DB)
        return mean_db.astype(np.float32), count > 0


def measure(columns: Mapping[str, np.ndarray], config: MeasurementsConfig, seed: int) -> dict[str, np.ndarray]:
    """Adds ``sampled`` (B, H, W) bool, the cells measured, and ``samples_db`` (B, H, W) float32, the floor elsewhere.

    Of the outdoor cells of each true map so many as ``config`` says, at least one, without replacement. What is drawn
    depends on ``scene``, ``tx_id`` and ``seed`` alone: another seed for every epoch of a training, 0 for scores.
    From ``gain_db`` and ``valid`` (B, H, W). Raises ValueError naming a map without an outdoor cell.
    """
    sampled = np.zeros(columns["gain_db"].shape, bool)
    samples_db = np.full(sampled.shape, units.GAIN_FLOOR_DB, np.float32)
    for index, (scene, tx_id) in enumerate(zip(columns["scene"], columns["tx_id"], strict=True)):
        draw = np.random.default_rng([zlib.crc32(f"{scene}/{tx_id}".encode()), seed])
        outdoor = np.flatnonzero(columns["valid"][index] == 1)
        if not len(outdoor):
            raise ValueError(f"nothing to measure on {scene}, transmitter {tx_id}: it has no outdoor cell")
        rate = math.exp(draw.uniform(*np.log(config.rates)))
        chosen = draw.choice(outdoor, max(1, round(rate * len(outdoor))), replace=False)
        gain_db = columns["gain_db"][index].flat[chosen]
        sampled[index].flat[chosen] = True
        samples_db[index].flat[chosen] = gain_db + draw.normal(0.0, config.noise_db, len(chosen))
    return {**columns, "sampled": sampled, "samples_db": samples_db}
