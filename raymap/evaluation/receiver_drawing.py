"""Maps of numbers at receivers: cells where receivers stand on a grid, dots where they do not."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize
from scipy.ndimage import distance_transform_edt

from raymap.evaluation.drawing import MUTED, STAR

#: Where there is no receiver, and where its number is not known.
EMPTY = "#c9cdd2"
#: A smaller share of cells than this is too sparse to be seen as a map.
_SPARSE = 0.25


class Places:
    """Where receivers (N, 3) [m] of a transmitter (3,) [m] stand on a picture: in the cells of a grid, or as dots.

    ``cells``: (N, 2) int, column and row of every receiver, counted along x and y, or None if they stand on no grid;
    ``shape``: how many columns and rows there are.
    """

    def __init__(self, receivers_m: np.ndarray, transmitter_m: np.ndarray) -> None:
        self.xy_m = receivers_m[:, :2]
        self.tx_m = transmitter_m[:2]
        steps = [_step_m(along) for along in self.xy_m.T]
        origin, far = self.xy_m.min(0), self.xy_m.max(0)
        self.cells = None
        if None not in steps:
            cells = np.rint((self.xy_m - origin) / steps).astype(int)
            shape = cells.max(0) + 1
            # Two in one cell are of two heights; few in many cells are no grid but a coincidence of rounding.
            if len(np.unique(cells, axis=0)) == len(cells) and shape.prod() <= 40 * len(cells):
                self.cells, self.shape = cells, shape
                origin, far = origin - np.divide(steps, 2), far + np.divide(steps, 2)
        edge_m = np.maximum(far - origin, 1.0) * (0.0 if self.cells is not None else 0.03)
        self.low, self.high = origin - edge_m, np.maximum(far, origin + 1e-3) + edge_m
        self.width_m, self.height_m = self.high - self.low

    def draw(self, axis, values: np.ndarray, colormap, norm: Normalize) -> None:
        """``values``: (N,), NaN is grey; a star is the transmitter, if it is among the receivers.

        Where receivers are in few of the cells, those around them have their colour.
        """
        axis.set_facecolor(EMPTY)
        if self.cells is not None:
            image = np.full(self.shape[::-1], np.nan)
            image[self.cells[:, 1], self.cells[:, 0]] = values
            image = self._spread(image)
            extent = (self.low[0], self.high[0], self.high[1], self.low[1])
            axis.imshow(np.ma.masked_invalid(image), cmap=colormap, norm=norm, extent=extent, interpolation="nearest")
        else:
            known = np.isfinite(values)
            size = float(np.clip(12000.0 / max(len(values), 1), 1.0, 60.0))
            axis.scatter(*self.xy_m[~known].T, s=size, marker="o", facecolor="none", edgecolor="#b4bac1", linewidth=0.5)
            axis.scatter(*self.xy_m[known].T, c=values[known], s=size, cmap=colormap, norm=norm, linewidth=0)
        axis.set(xlim=(self.low[0], self.high[0]), ylim=(self.high[1], self.low[1]), aspect="equal")
        axis.tick_params(colors=MUTED, labelsize=7, length=2, width=0.5)
        for spine in axis.spines.values():
            spine.set(linewidth=0.5, color=MUTED)
        if (self.tx_m >= self.low).all() and (self.tx_m <= self.high).all():
            axis.plot(*self.tx_m, "*", **STAR)

    def _spread(self, image: np.ndarray) -> np.ndarray:
        """``image`` (H, W) with the number of the nearest receiver in cells near one, where few cells have one."""
        filled = len(self.cells) / image.size
        if filled > _SPARSE:
            return image
        is_empty = np.ones(image.shape, bool)
        is_empty[self.cells[:, 1], self.cells[:, 0]] = False
        away, nearest = distance_transform_edt(is_empty, return_indices=True)
        return np.where(away <= 0.5 / np.sqrt(filled), image[tuple(nearest)], np.nan)


def _step_m(along: np.ndarray) -> float | None:
    """Spacing [m] of the lines that coordinates (N,) stand on, None if they stand on no regular ones."""
    lines = np.unique(np.round(along, 4))
    if len(lines) < 2:
        return None
    step = float(np.diff(lines).min())
    off = (lines - lines[0]) / step
    return step if np.abs(off - np.rint(off)).max() < 0.02 else None
