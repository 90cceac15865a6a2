"""Several transmitters together: who serves a cell best, and where enough arrives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: In a map of best servers: no cell for a receiver.
INDOORS = -1


@dataclass(frozen=True, eq=False)
class Coverage:
    """``received_dbm``: (H, W) float32, the strongest of all transmitters, -inf indoors. ``best_server``: (H, W) int16,
    its number, :data:`INDOORS` indoors. ``covered``: (H, W) bool, at least the threshold. ``statistics``: shares of the
    outdoor area."""

    received_dbm: np.ndarray
    best_server: np.ndarray
    covered: np.ndarray
    statistics: dict[str, Any]


def of(gain_db: np.ndarray, power_dbm: Sequence[float], outdoor: np.ndarray, threshold_dbm: float) -> Coverage:
    """From path gains (N, H, W) [dB] of transmitters of ``power_dbm`` (N,); ``outdoor`` (H, W) bool.

    ``statistics``: ``covered_share``, ``mean_dbm``, ``percentiles_dbm`` {5, 50, 95} of the strongest, and for every
    transmitter ``served_share`` (where it is the strongest) and ``covered_share`` (by itself). Shares and numbers are
    None where nothing is outdoors.
    """
    received_dbm = gain_db + np.asarray(power_dbm, np.float32)[:, None, None]
    best = received_dbm.argmax(axis=0).astype(np.int16)
    strongest_dbm = np.where(outdoor, received_dbm.max(axis=0), -np.inf).astype(np.float32)
    covered = outdoor & (strongest_dbm >= threshold_dbm)
    num = int(outdoor.sum())

    def share(mask: np.ndarray) -> float | None:
        return float((mask & outdoor).sum() / num) if num else None

    values_dbm = strongest_dbm[outdoor]
    statistics = {
        "threshold_dbm": threshold_dbm,
        "covered_share": share(covered),
        "mean_dbm": float(values_dbm.mean()) if num else None,
        "percentiles_dbm": {str(q): float(np.percentile(values_dbm, q)) if num else None for q in (5, 50, 95)},
        "transmitters": [
            {"served_share": share(best == number), "covered_share": share(mine_dbm >= threshold_dbm)}
            for number, mine_dbm in enumerate(received_dbm)
        ],
    }
    return Coverage(strongest_dbm, np.where(outdoor, best, INDOORS).astype(np.int16), covered, statistics)
