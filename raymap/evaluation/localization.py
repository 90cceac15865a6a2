"""Finding a receiver by what it hears: how far the map of a method leads it astray, in metres.

The experiment of Table III of RadioDiff-k² (Wang et al. 2025), which states K = 5 and 3,000 points per map and leaves
the rest open (METHODS §7). What the house settles:

- *Fingerprints*: the J gains [dB] of every outdoor cell in the predicted maps, the position being the cell's centre.
- *Queries*: outdoor cells, drawn without replacement, with their gains in the true maps plus N(0, σ²) of noise,
  independent from transmitter to transmitter.
- *Noise floor*: a receiver tells nothing apart below it, so gains of both sides, noise included, are raised to it. By
  default it is RadioUNet's, -127 dB: 23 dBm sent and -104 dBm of noise (METHODS §3).
- *Position*: the mean of the K nearest fingerprints' positions, all of one weight, nearest in Euclidean distance over
  the J gains.
- *Equal fingerprints* (streets in which nothing is heard, maps of few grey levels) stand for each other: each takes
  part with the mean of their positions, which is what drawing among them gives on average. So the order of cells does
  not matter, and a rotated scene has the same errors.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from raymap import units
from raymap.evaluation.intervals import clustered_mean, clustered_quantile
from raymap.evaluation.metrics import BLACK_LEVEL

NUM_POINTS = 3000
NUM_NEIGHBOURS = 5
#: Standard deviation of a query's gains [dB]; no paper states its own. Noise as large as the maps' errors hides them:
#: on RadioMapSeer's map 0 with 5 transmitters and 2 dB of it, maps that are 2 dB off locate as well as the true ones.
NOISE_DB = 1.0
#: Path gain of a signal as weak as the receiver's noise [dB].
FLOOR_DB = float(units.gain_db_from_grey(BLACK_LEVEL["thr02"]))
#: Points that are summarised, by whether they see a transmitter.
POINTS = ("all", "los", "nlos")
#: Method whose fingerprints are the true maps: the error that noise and neighbours leave.
TRUE_MAPS = "true maps"


def locate(
    predicted_db,
    true_db,
    outdoor,
    line_of_sight,
    cell_m: float,
    *,
    seed: int,
    noise_db: float = NOISE_DB,
    num_points: int = NUM_POINTS,
    num_neighbours: int = NUM_NEIGHBOURS,
    floor_db: float = FLOOR_DB,
) -> pd.DataFrame:
    """Errors of receivers located in one scene by K nearest neighbours among the fingerprints of predicted maps.

    ``predicted_db``, ``true_db``: (J, H, W) path gain [dB] of the same J transmitters. ``outdoor``: (H, W) bool.
    ``line_of_sight``: (J, H, W) bool, True where that transmitter is seen. ``cell_m``: length of a cell [m].
    ``seed``: draws cells and noise, which are the same whatever was predicted, so that methods can be paired.
    ``noise_db``: σ of a query's gains [dB]. ``num_points``: queries; all outdoor cells if there are fewer.
    ``num_neighbours``: K. ``floor_db``: gain at the receiver's noise floor [dB].

    One row per query: ``row`` and ``column`` of its cell, ``line_of_sight`` (bool, it sees any of the transmitters) and
    ``error_m``, the distance [m] from where it is to where it is found. For :func:`summarise` add a column ``scene``.

    Raises ValueError for shapes that differ, masks that are not bool, gains that are not finite outdoors, a negative
    noise, a cell without length, no point or neighbour to take, and fewer outdoor cells than K.
    """
    outdoor, line_of_sight = _masks(outdoor, line_of_sight)
    num_outdoor = int(outdoor.sum())
    if not (noise_db >= 0 and cell_m > 0):
        raise ValueError(f"noise_db must be 0 or more and cell_m positive, got {noise_db} dB and {cell_m} m")
    if num_points < 1 or not 1 <= num_neighbours <= num_outdoor:
        raise ValueError(
            f"there must be a point or more and 1 to {num_outdoor} neighbours (the outdoor cells), "
            f"got {num_points} and {num_neighbours}"
        )
    fingerprints = np.maximum(_gains("predicted_db", predicted_db, line_of_sight.shape, outdoor), floor_db)
    true_db = _gains("true_db", true_db, line_of_sight.shape, outdoor)

    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(num_outdoor, min(num_points, num_outdoor), replace=False))
    noise = rng.normal(0.0, 1.0, (len(chosen), len(line_of_sight)))
    queries = np.maximum(true_db[chosen] + noise_db * noise, floor_db)

    cells = np.argwhere(outdoor)
    found = _nearest_positions(fingerprints, cells, queries, num_neighbours)
    return pd.DataFrame(
        {
            "row": cells[chosen, 0],
            "column": cells[chosen, 1],
            "line_of_sight": line_of_sight[:, outdoor].any(axis=0)[chosen],
            "error_m": cell_m * np.linalg.norm(found - cells[chosen], axis=1),
        }
    )


def find(predicted_db, heard_db, outdoor, cell_m: float, *, num_neighbours: int, floor_db: float) -> np.ndarray:
    """(Q, 2) positions x, y [m] from the top left corner of receivers that hear ``heard_db`` (Q, J) path gains [dB].

    By the fingerprints of ``predicted_db`` (J, H, W) in the cells of ``outdoor`` (H, W) bool; the rest as
    :func:`locate`, and so are the errors raised.
    """
    outdoor = np.asarray(outdoor)
    cells = np.argwhere(outdoor)
    if not 1 <= num_neighbours <= len(cells):
        raise ValueError(f"there must be 1 to {len(cells)} neighbours (the outdoor cells), got {num_neighbours}")
    shape = np.shape(predicted_db)
    fingerprints = np.maximum(_gains("predicted_db", predicted_db, shape, outdoor), floor_db)
    heard_db = np.maximum(np.asarray(heard_db, np.float64), floor_db)
    if heard_db.ndim != 2 or heard_db.shape[1] != shape[0]:
        raise ValueError(f"heard_db must be (receivers, {shape[0]} transmitters), got {heard_db.shape}")
    found = _nearest_positions(fingerprints, cells, heard_db, num_neighbours)
    return (found[:, ::-1] + 0.5) * cell_m


def summarise(points) -> dict:
    """Mean, median and 90 % error [m] over all scenes, for all points and by whether they see a transmitter.

    ``points``: a DataFrame of :func:`locate` 's rows of one method, with a column ``scene`` (name of the scene).

    Returns ``{"num_scenes", "all": scores, "los": scores, "nlos": scores}``, with scores ``mean_m`` =
    ``{mean, low, high, num}`` and ``median_m`` and ``p90_m`` = ``{quantile, low, high, num}``. All points count alike,
    the 95 % intervals are clustered by scene (:mod:`raymap.evaluation.intervals`).

    Raises ValueError for a missing column.
    """
    missing = [name for name in ("scene", "line_of_sight", "error_m") if name not in points]
    if missing:
        raise ValueError(f"points need columns scene, line_of_sight and error_m; missing: {', '.join(missing)}")
    seen = points["line_of_sight"].to_numpy(bool)
    masks = zip(POINTS, (np.ones_like(seen), seen, ~seen), strict=True)
    return {"num_scenes": int(points["scene"].nunique()), **{name: _scores(points[mask]) for name, mask in masks}}


def _scores(points: pd.DataFrame) -> dict:
    errors, scenes = points["error_m"].to_numpy(), points["scene"].to_numpy()
    return {
        "mean_m": clustered_mean(errors, scenes),
        "median_m": clustered_quantile(errors, scenes, 0.5),
        "p90_m": clustered_quantile(errors, scenes, 0.9),
    }


def _nearest_positions(fingerprints: np.ndarray, cells: np.ndarray, queries: np.ndarray, num: int) -> np.ndarray:
    """(Q, 2) mean cell of the ``num`` fingerprints (N, J), at cells (N, 2), nearest to each of (Q, J) queries."""
    distinct, index, counts = np.unique(fingerprints, axis=0, return_inverse=True, return_counts=True)
    middles = np.stack([np.bincount(index, axis) for axis in cells.T.astype(float)], axis=1) / counts[:, None]
    nearest = NearestNeighbors(n_neighbors=min(num, len(distinct))).fit(distinct)
    chosen = nearest.kneighbors(queries, return_distance=False)
    # Of equal fingerprints so many are taken as there is still room for among the K.
    upto = np.cumsum(counts[chosen], axis=1).clip(max=num)
    shares = np.diff(upto, axis=1, prepend=0) / num
    return np.einsum("qk,qkd->qd", shares, middles[chosen])


def _masks(outdoor, line_of_sight) -> tuple[np.ndarray, np.ndarray]:
    outdoor, line_of_sight = np.asarray(outdoor), np.asarray(line_of_sight)
    for name, mask in (("outdoor", outdoor), ("line_of_sight", line_of_sight)):
        if mask.dtype != bool:
            raise ValueError(f"{name} must be bool, got {mask.dtype}")
    if outdoor.ndim != 2 or line_of_sight.shape[1:] != outdoor.shape or not len(line_of_sight):
        raise ValueError(
            f"outdoor must be (H, W) and line_of_sight (J, H, W) of at least one transmitter, "
            f"got {outdoor.shape} and {line_of_sight.shape}"
        )
    return outdoor, line_of_sight


def _gains(name: str, gain_db, shape: tuple[int, ...], outdoor: np.ndarray) -> np.ndarray:
    """(N, J) float64 gains of the N outdoor cells."""
    gain_db = np.asarray(gain_db)
    if gain_db.shape != shape:
        raise ValueError(f"{name} has shape {gain_db.shape}, line_of_sight has {shape}")
    cells = gain_db[:, outdoor].T.astype(np.float64)
    if num_wrong := int((~np.isfinite(cells)).sum()):
        raise ValueError(f"{name} holds {num_wrong} outdoor values that are not finite")
    return cells
