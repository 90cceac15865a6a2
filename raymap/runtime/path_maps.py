"""predict(model, measured, receivers): the whole map of paths from some that are measured, as files and a page.

measured ──► model ──► paths at every receiver ──► where it was measured, what was ──► files, pictures, a page
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raymap.data import path_file
from raymap.data.path_table import PARAMETERS, UNKNOWN_KIND, PathTable
from raymap.evaluation import path_maps, path_maps_page, point_channel
from raymap.evaluation.point_channel import Sounding
from raymap.evaluation.receiver_drawing import Places
from raymap.models import path_spread
from raymap.models.path_predictor import PathPredictor
from raymap.propagation import surroundings
from raymap.runtime import provenance
from raymap.storage import whole

#: Receivers that a model is asked for at once.
CHUNK = 80_000
#: A receiver within so much of a measured one is that one [m].
SAME_PLACE_M = 1e-3
#: Measured receivers that say how many paths there are at a place between them.
_NUM_AROUND = 4
_MOST_RECEIVERS = 20_000_000


def grid_over(measured: PathTable, spacing_m: float, height_m: float | None = None) -> np.ndarray:
    """(N, 3) [m], row by row along x, a grid from the lowest x and y of what is measured until it covers the highest.

    ``height_m``: z of all, by default the median of the measured. Where nothing is measured the grid covers what stands
    around, but for places that something is above, if that leaves any. Raises ValueError for a spacing that is not
    positive, for more than 20 million receivers, and without a height, or surroundings, where nothing is measured.
    """
    if not spacing_m > 0:
        raise ValueError(f"grid_m must be positive, got {spacing_m}")
    if len(measured):
        corners_m = measured.receivers_m
    elif measured.surroundings is None:
        raise ValueError("a grid covers what is measured or what stands around, and here is neither")
    else:
        corners_m = np.concatenate([mesh.vertices_m for mesh in measured.surroundings.meshes])
    low, high = corners_m[:, :2].min(0), corners_m[:, :2].max(0)
    # A last line that is there but for rounding is not followed by another one.
    num_x, num_y = (math.ceil(steps - 1e-6) + 1 for steps in (high - low) / spacing_m)
    if num_x * num_y > _MOST_RECEIVERS:
        raise ValueError(f"grid_m {spacing_m:g} gives {num_x} x {num_y} receivers, at most {_MOST_RECEIVERS} are made")
    y_m, x_m = (part.ravel() * spacing_m for part in np.indices((num_y, num_x)))
    z_m = np.full(len(x_m), _height_m(measured) if height_m is None else height_m)
    found = np.stack([low[0] + x_m, low[1] + y_m, z_m], axis=1)
    if len(measured):
        return found
    up = np.broadcast_to([0.0, 0.0, 1.0], found.shape)
    is_open = np.isinf(surroundings.of(measured.surroundings).free_m(found, up))
    return found[is_open] if is_open.any() else found


def places(at: Sequence[Sequence[float]], measured: PathTable, receivers_m: np.ndarray) -> np.ndarray:
    """(K, 3) [m] of points (x, y) or (x, y, z); z is by default the median of the measured receivers'.

    Raises ValueError for a point of other length or not finite, and for one that lies beyond the box around the
    measured receivers and ``receivers_m`` in x or y.
    """
    around_m = np.concatenate([measured.receivers_m, receivers_m])[:, :2]
    low, high = around_m.min(0), around_m.max(0)
    found = []
    for point in at:
        if len(point) not in (2, 3) or not np.isfinite(point).all():
            raise ValueError(f"a point is x, y or x, y, z [m], got {','.join(f'{value:g}' for value in point)}")
        if (point[:2] < low).any() or (point[:2] > high).any():
            raise ValueError(
                f"point ({point[0]:g}, {point[1]:g}) m lies outside the map, which spans x {low[0]:g} to {high[0]:g} m "
                f"and y {low[1]:g} to {high[1]:g} m"
            )
        found.append([*point[:2], point[2] if len(point) == 3 else _height_m(measured)])
    return np.array(found, np.float64).reshape(-1, 3)


def _height_m(measured: PathTable) -> float:
    if not len(measured):
        raise ValueError("nothing is measured whose height receivers could have: give theirs (z, or height_m)")
    return float(np.median(measured.receivers_m[:, 2]))


def complete(model: PathPredictor, measured: PathTable, receivers_m: np.ndarray, chunk: int = CHUNK) -> PathTable:
    """The paths at ``receivers_m`` (N, 3) [m]: as measured where it was measured, else as the model tells.

    A model tells of a path at every rank; how many of them there are is :func:`as_many_as_around`, or where nothing is
    measured what the model says of that, too. It is asked for ``chunk`` receivers at a time. Raises ValueError for
    receivers of another shape or none, and as :meth:`PathPredictor.complete`.
    """
    receivers_m = np.asarray(receivers_m, np.float64)
    if receivers_m.ndim != 2 or receivers_m.shape[1] != 3 or not len(receivers_m):
        raise ValueError(f"receivers_m must be (N, 3) of at least one receiver, got {receivers_m.shape}")
    if model.needs_measured:
        model.require_measured(measured)
    with torch.no_grad():
        parts = [
            model.complete(measured, receivers_m[start : start + chunk]) for start in range(0, len(receivers_m), chunk)
        ]
    names = ("receivers_m", *PARAMETERS, "kind", "valid")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    table = replace(parts[0], **joined)
    if not len(measured):
        return replace(table, valid=table.valid & model.ranks(measured, receivers_m))
    return keep_measured(as_many_as_around(table, measured), measured)


def as_many_as_around(predicted: PathTable, measured: PathTable) -> PathTable:
    """``predicted`` without paths of ranks that most of the 4 nearest measured receivers lack, by weight 1/distance.

    A vote on every rank is the weighted median of their numbers of paths. docs/paths.md has what it is worth.
    """
    from scipy.spatial import cKDTree

    num = min(_NUM_AROUND, len(measured))
    distance_m, row = cKDTree(measured.receivers_m).query(predicted.receivers_m, k=range(1, num + 1))
    weight = 1.0 / np.maximum(distance_m, SAME_PLACE_M)
    num_around = measured.valid.sum(1)[row]
    ranks = np.arange(predicted.num_paths)
    votes = np.stack([(weight * (num_around > rank)).sum(1) for rank in ranks], axis=1)
    return replace(predicted, valid=predicted.valid & (votes > 0.5 * weight.sum(1, keepdims=True)))


def keep_measured(predicted: PathTable, measured: PathTable) -> PathTable:
    """``predicted``, but at the places of measured receivers the paths that were measured, and no others.

    What is not known of a measured path is told by the predicted path of the same rank, or the last one before it;
    where none is predicted at all it stays unknown. A measured number is never changed; where a power was filled in,
    the paths of that receiver are sorted again, strongest first. Raises ValueError if the tables have room for other
    numbers of paths.
    """
    if predicted.num_paths != measured.num_paths:
        raise ValueError(f"{predicted.num_paths} paths are predicted, {measured.num_paths} were measured")
    there, row = _measured_at(predicted.receivers_m, measured)
    if not len(there):
        return predicted
    told = measured.take(row)
    values, guess = told.values, predicted.values[there]
    for path in range(1, guess.shape[1]):
        guess[:, path] = np.where(np.isnan(guess[:, path]), guess[:, path - 1], guess[:, path])
    values = np.where(np.isnan(values) & told.valid[..., None], guess, values)
    kind = np.where(told.valid & (told.kind == UNKNOWN_KIND), predicted.kind[there], told.kind)
    level_db = np.where(np.isnan(values[..., 0]), -np.inf, values[..., 0])
    was_known = np.isfinite(told.power_db) | ~told.valid
    level_db[was_known.all(1)] = 0.0  # these stay as they are
    order = np.argsort(-level_db, axis=1, kind="stable")
    new = dict(zip(PARAMETERS, np.moveaxis(values, -1, 0), strict=True)) | {"kind": kind, "valid": told.valid}
    fields = {}
    for name, known in new.items():
        fields[name] = getattr(predicted, name).copy()
        fields[name][there] = np.take_along_axis(known, order, axis=1)
    return replace(predicted, **fields)


def _measured_at(receivers_m: np.ndarray, measured: PathTable) -> tuple[np.ndarray, np.ndarray]:
    """The receivers that were measured, and which of the measured ones they are."""
    from scipy.spatial import cKDTree

    distance_m, row = cKDTree(measured.receivers_m).query(receivers_m)
    there = np.flatnonzero(distance_m <= SAME_PLACE_M)
    return there, row[there]


def predict(
    model: PathPredictor,
    measured: PathTable,
    receivers_m: np.ndarray,
    out: str | Path,
    *,
    method: str,
    at: Sequence[Sequence[float]] = (),
    sounding: Sounding | None = None,
    errors: bool = False,
) -> dict[str, Any]:
    """:func:`complete` the map, and write it into the folder ``out``; returns what ``report.json`` holds.

    - ``paths.parquet``: every path at every receiver, as :func:`raymap.data.path_file.write` does
    - ``maps.npz``: (N,) of every map of :func:`raymap.evaluation.path_maps.maps`, ``receivers_m`` (N, 3),
      ``is_measured`` (N,), and ``row`` and ``column`` of every receiver if they stand on a grid
    - ``maps.png`` all maps, and one picture of each by its name
    - with ``errors`` those to expect in ``maps.npz`` and ``errors.png``, none where it was measured
      (:mod:`raymap.models.path_spread`)
    - ``point1-paths.csv``, ``point1-impulse_response.csv`` and ``.png``, and so on: the channel at every point of
      ``at``, [x, y] or [x, y, z] in m, seen by ``sounding``
    - ``report.md``, ``report.html``, ``report.json``: what was done, how, and what came out

    ``method``: what the page calls the model. Raises ValueError as :func:`complete`, :func:`places`,
    :func:`raymap.evaluation.point_channel.responses` and, with ``errors``, :func:`raymap.models.path_spread.spread`,
    before anything is written.
    """
    out, sounding = Path(out), sounding or Sounding()
    points_m = places(at, measured, receivers_m)
    points = [complete(model, measured, point_m[None]) for point_m in points_m]
    channels = [point_channel.responses(point, sounding) for point in points]
    began = time.perf_counter()
    table = complete(model, measured, receivers_m)
    seconds = time.perf_counter() - began
    expected = _expected(model, measured, table) if errors else {}
    out.mkdir(parents=True, exist_ok=True)
    path_file.write(out / "paths.parquet", table)
    _write_maps(out / "maps.npz", table, measured, expected)
    _write_bytes(out / "maps.png", path_maps.draw(table))
    if expected:
        _write_bytes(out / "errors.png", path_maps.draw(table, list(expected), expected))
    for name in path_maps.QUANTITIES:
        _write_bytes(out / f"{name}.png", path_maps.draw(table, [name]))
    for number, (point, channel) in enumerate(zip(points, channels, strict=True), 1):
        _write_point(out, f"point{number}", point, channel)
    found = {
        "command": provenance.command(), "commit": provenance.git_commit(),
        "hardware": provenance.hardware(), "method": method, "seconds": seconds, **_counts(table, measured),
        "sounding": sounding.model_dump(mode="json"),
    }  # fmt: skip
    return path_maps_page.write(out, found, table, points, expected)


def _expected(model: PathPredictor, measured: PathTable, table: PathTable) -> dict[str, np.ndarray]:
    spread = path_spread.spread(model, measured, table.receivers_m)
    there, row = _measured_at(table.receivers_m, measured)
    spread[there] = np.where(np.isfinite(measured.values[row]), 0.0, spread[there])
    return path_maps.errors(np.where(table.valid[..., None], spread, np.nan))


def _counts(table: PathTable, measured: PathTable) -> dict[str, Any]:
    there, row = _measured_at(table.receivers_m, measured)
    unknown, left = (
        int((part.valid[..., None] & np.isnan(part.values)).sum()) for part in (measured.take(row), table.take(there))
    )
    return {
        "measured": {
            "num_receivers": len(measured),
            "num_dark": int((~measured.valid.any(1)).sum()),
            "num_paths": int(measured.valid.sum()),
            "num_on_map": len(np.unique(row)),
        },
        "map": {
            "num_receivers": len(table),
            "num_dark": int((~table.valid.any(1)).sum()),
            "num_paths": int(table.valid.sum()),
            "num_filled": unknown - left,
            "num_unknown": left,
        },
        "transmitter_m": [float(value) for value in measured.transmitter_m],
        "frequency_hz": float(measured.frequency_hz),
    }


def _write_maps(path: Path, table: PathTable, measured: PathTable, expected: Mapping[str, np.ndarray]) -> None:
    is_measured = np.zeros(len(table), bool)
    is_measured[_measured_at(table.receivers_m, measured)[0]] = True
    arrays = {"receivers_m": table.receivers_m, "is_measured": is_measured, **path_maps.maps(table), **expected}
    cells = Places(table.receivers_m, table.transmitter_m).cells
    if cells is not None:
        arrays |= {"row": cells[:, 1].astype(np.int32), "column": cells[:, 0].astype(np.int32)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    _write_bytes(path, buffer.getvalue())


def _write_point(out: Path, name: str, point: PathTable, channel: Mapping[str, Any]) -> None:
    path_file.write(out / f"{name}-paths.csv", point)
    for what, rows in channel.items():
        _write_bytes(out / f"{name}-{what}.csv", rows.to_csv(index=False, float_format="%.9g").encode())
    for what, picture in point_channel.draw(point, channel).items():
        _write_bytes(out / f"{name}-{what}.png", picture)


def _write_bytes(path: Path, content: bytes) -> None:
    with whole(path) as temporary:
        temporary.write_bytes(content)
