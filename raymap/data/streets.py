"""Centrelines of the streets of a scene, read off its open ground.

A point is in the middle of a street if the nearest buildings stand on opposite sides of it: the medial axis (Blum, "A
transformation for extracting new descriptors of shape", 1967), of which only the part is kept whose two nearest
obstacles subtend a wide angle, so that the branches into the corners of walls and yards fall away. The line between
both obstacles is the street's width, the direction across it is the street's. Centrelines are then followed from cell
to cell, straight on over crossings, where the walls that would tell the way are missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.ndimage import distance_transform_edt, gaussian_filter, gaussian_filter1d, uniform_filter

from raymap.data import sites
from raymap.scene import Scene

#: Streets are traced on cells of about this size whatever the scene's [m]; also the step along a centreline.
TRACING_CELL_M = 1.0
#: Narrower ones are passages, wider ones are squares, parks and rivers [m].
WIDTH_M = (5.5, 60.0)
#: Shorter centrelines are courtyard mouths and gaps between houses [m]; so are those hardly longer than wide.
MIN_LENGTH_M = 40.0
_MIN_LENGTH_WIDTHS = 1.5
#: The directions to the two nearest obstacles must differ by more than this for a cell to be mid-street.
_MIN_ANGLE_DEG = 130.0
#: A street may bend by less than this between two steps, or it is another street.
_MAX_TURN_DEG = 30.0
#: Longest way without walls on both sides (a crossing, a square's edge) before a street is taken to end [m].
_MAX_GAP_M = 35.0
_SMOOTHING_M = 4.0


@dataclass(frozen=True, eq=False)
class Street:
    """A centreline: ``points_m`` (N, 2) float64, x and y about ``TRACING_CELL_M`` apart [m], and the street's
    ``width_m`` from wall to wall [m], which it has or exceeds along three quarters of its way."""

    points_m: np.ndarray
    width_m: float

    @property
    def length_m(self) -> float:
        """Length along the centreline [m]."""
        return float(np.hypot(*np.diff(self.points_m, axis=0).T).sum())


def find(scene: Scene) -> list[Street]:
    """The streets of a scene, broadest first; none on open ground and none in closed courtyards.

    Only streets with buildings on both sides are found. The same ground gives nearly the same streets at every cell
    size below half a street's width.
    """
    factor = max(1, round(scene.grid.cell_m / TRACING_CELL_M))
    cell_m = scene.grid.cell_m / factor
    free = np.repeat(np.repeat(sites.streets(scene), factor, 0), factor, 1)
    if free.all() or not free.any():
        return []
    along, width_m, straight = _middle(free, cell_m)
    # Where walls run straight on both sides a street's direction is sure: start there, broad streets before narrow.
    mid = width_m > 0
    seeds = np.argwhere(mid)[np.lexsort((-np.round(width_m[mid]), -np.round(straight[mid] * 8)))]
    traced = np.zeros(free.shape, np.int64)
    found = []
    for row, column in seeds:
        if traced[row, column]:
            continue
        path = _trace(along, mid, free, traced, row, column, cell_m)
        if len(path) * cell_m < MIN_LENGTH_M:
            continue
        widths_m = width_m[*np.minimum(path.astype(int), np.array(free.shape) - 1).T]
        street_m = float(np.percentile(widths_m[widths_m > 0], 25)) if widths_m.any() else np.inf
        if len(path) * cell_m < _MIN_LENGTH_WIDTHS * street_m:
            continue
        points_m = gaussian_filter1d(path[:, ::-1] * cell_m, _SMOOTHING_M / cell_m, axis=0, mode="nearest")
        found.append(Street(points_m, street_m))
    return sorted(found, key=lambda street: -street.width_m)


def _middle(free: np.ndarray, cell_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the street whose middle a cell is: unit direction (H, W, 2), as (row, column) up to its sign, width [m], and
    how straight it is around there, up to 1.

    The width is 0 and the rest meaningless for cells that are not in the middle of a street.
    """
    nearest = distance_transform_edt(free, return_distances=False, return_indices=True).astype(np.float32)
    to_wall = nearest - np.indices(free.shape, np.float32)
    tensor = np.zeros((2, *free.shape), np.float32)  # cos and sin of twice the direction: opposite ones agree
    width_m = np.zeros(free.shape, np.float32)
    everything = slice(None)
    for first, second in (
        ((slice(None, -1), everything), (slice(1, None), everything)),
        ((everything, slice(None, -1)), (everything, slice(1, None))),
    ):
        a, b = to_wall[:, *first], to_wall[:, *second]
        across = nearest[:, *second] - nearest[:, *first]
        wide_m = (np.hypot(*across) - 1.0) * cell_m
        opposite = (a * b).sum(0) < np.cos(np.radians(_MIN_ANGLE_DEG)) * np.hypot(*a) * np.hypot(*b)
        mid = opposite & (wide_m >= WIDTH_M[0]) & (wide_m <= WIDTH_M[1]) & free[first] & free[second]
        # Along is at right angles to across, so twice its angle is twice that of across plus 180 degrees.
        doubled = np.stack([across[0] ** 2 - across[1] ** 2, -2 * across[0] * across[1]])
        doubled = np.where(mid, doubled / np.maximum((across**2).sum(0), 1), 0.0)
        for part in (first, second):
            tensor[:, *part] += doubled
            width_m[part] = np.maximum(width_m[part], np.where(mid, wide_m, 0.0))
    near = [gaussian_filter(plane, _SMOOTHING_M / cell_m / 2, truncate=3.0) for plane in tensor]
    angle = 0.5 * np.arctan2(near[1], near[0])  # from +column towards +row
    around = 2 * round(2 * _SMOOTHING_M / cell_m) + 1
    far = [uniform_filter(plane, around) for plane in (*tensor, np.hypot(*tensor))]
    straight = np.hypot(far[0], far[1]) / np.maximum(far[2], 1e-6)
    return np.stack([np.sin(angle), np.cos(angle)], -1), width_m, straight


def _trace(along, mid, free, traced, row: int, column: int, cell_m: float) -> np.ndarray:
    """(N, 2) positions (row, column) in cells of the street through a cell; marks the cells it came by in ``traced``.

    Only cells that no earlier street came by lead the way, so that no street is found twice.
    """
    clock = int(traced.max()) + 1
    step = along[row, column].astype(np.float64)
    limits = (_MAX_GAP_M / cell_m, float(np.cos(np.radians(_MAX_TURN_DEG))))
    halves = []
    for direction in (step, -step):
        half, clock = _follow(along, mid, free, traced, row + 0.5, column + 0.5, direction, clock, *limits)
        halves.append(half)
        clock += 1
    return np.concatenate([halves[1][::-1], [[row + 0.5, column + 0.5]], halves[0]])


@njit(cache=True, nogil=True)
def _follow(along, mid, free, traced, row, column, direction, clock, max_gap, min_cos):
    """Steps of one cell from a position along a street to its end: (N, 2) positions in cells, and the clock after."""
    height, width = mid.shape
    limit = 4 * (height + width)
    path = np.empty((limit, 2))
    start = clock
    d_row, d_column = direction
    count = last = 0
    while count < limit:
        row, column = row + d_row, column + d_column
        if not (0.0 <= row < height and 0.0 <= column < width) or not free[int(row), int(column)]:
            break
        clock += 1
        weight = side = sum_row = sum_column = 0.0
        for r in range(max(0, int(row) - 3), min(height, int(row) + 4)):
            for c in range(max(0, int(column) - 3), min(width, int(column) + 4)):
                if not mid[r, c]:
                    continue
                cosine = along[r, c, 0] * d_row + along[r, c, 1] * d_column
                if abs(cosine) < min_cos:
                    continue
                # Cells that this half came by just now still lead on; older ones, or another street's, do not.
                fresh = traced[r, c] == 0 or (traced[r, c] >= start and clock - traced[r, c] < 12)
                if traced[r, c] == 0:
                    traced[r, c] = clock
                if not fresh:
                    continue
                sign = 1.0 if cosine > 0 else -1.0
                weight += 1.0
                side += (c + 0.5 - column) * -d_row + (r + 0.5 - row) * d_column
                sum_row += sign * along[r, c, 0]
                sum_column += sign * along[r, c, 1]
        if weight > 0:
            last = count + 1
            shift = 0.3 * side / weight
            row, column = row + shift * d_column, column - shift * d_row
            d_row, d_column = 0.9 * d_row + 0.1 * sum_row / weight, 0.9 * d_column + 0.1 * sum_column / weight
            norm = np.sqrt(d_row * d_row + d_column * d_column)
            d_row, d_column = d_row / norm, d_column / norm
        elif count - last >= max_gap:
            break
        path[count, 0], path[count, 1] = row, column
        count += 1
    return path[:last].copy(), clock
