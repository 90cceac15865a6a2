"""Areas of any size: one pass where it fits, else windows of one pass each, blended where they overlap.

A window far from the transmitter cannot be predicted from itself alone: who is in sight, what stands in between, the
distance and the direction are computed on the whole area and then cut (:class:`Window`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from raymap.data.batch import MapBatch, MultipathBatch
from raymap.models.base import Predictor, further_seeds
from raymap.scene import Grid, Scene

#: Cells given to a model at once, over all maps of a call, unless a single window is larger.
MAX_CELLS = 2**18
_OF_AREA = ("tx_cell_of_area", "openness_of_area")


@dataclass(frozen=True, eq=False)
class Window(MapBatch):
    """Equal windows of larger areas. Rasters are cut; what follows from the transmitter's place is that of the area.

    ``tx_cell_of_area``: (B, 2) row and column of the transmitter, counted from the window's corner, inside it or not
    (then ``tx`` is -1 everywhere). ``openness_of_area``: (B, 1, 1, 1).
    """

    tx_cell_of_area: Tensor = field(kw_only=True)
    openness_of_area: Tensor = field(kw_only=True)

    def rasters(self) -> dict[str, Tensor]:
        """Name -> (B, 1, H, W), those that are present."""
        return {name: raster for name, raster in super().rasters().items() if name not in _OF_AREA}

    @property
    def tx_cell(self) -> Tensor:
        """(B, 2), see above; ``bearing`` points there."""
        return self.tx_cell_of_area

    @property
    def openness(self) -> Tensor:
        """(B, 1, H, W), of the whole area."""
        return self.openness_of_area.expand_as(self.tx)

    def turn(self, code: int) -> Window:
        """Every raster and the transmitter's place under one of the symmetries of the square."""
        row, column = self.tx_cell_of_area.unbind(dim=1)
        height, width = self.building.shape[-2:]
        row = height - 1 - row if code & 1 else row
        column = width - 1 - column if code & 2 else column
        place = torch.stack([column, row] if code & 4 else [row, column], dim=1)
        return replace(super().turn(code), tx_cell_of_area=place)

    def to(self, *args: object, **kwargs: object) -> Window:
        """Everything through ``Tensor.to``."""
        moved = {name: getattr(self, name).to(*args, **kwargs) for name in _OF_AREA}
        return replace(super().to(*args, **kwargs), **moved)

    def __getitem__(self, index: slice) -> Window:
        return replace(super().__getitem__(index), **{name: getattr(self, name)[index] for name in _OF_AREA})

    def augment(self, generator: torch.Generator) -> Window:
        """Raises TypeError: windows are predicted from and not trained on."""
        raise TypeError("windows of an area are predicted from and not trained on; augment the area")


@dataclass(frozen=True, eq=False)
class MultipathWindow(Window, MultipathBatch):
    """Windows of a :class:`MultipathBatch`, whose dominant-path map is that of the area, cut."""


def cut(batch: MapBatch, corners: Sequence[tuple[int, int]], shape: tuple[int, int]) -> Window:
    """Windows of ``shape`` (rows, columns) at their top left ``corners``: all maps at the first, all at the second...

    (B, 1, H, W) and N corners -> (N·B, 1, *shape). Raises ValueError for a window that reaches over the area's rim.
    """
    size = tuple(batch.building.shape[-2:])
    for row, column in corners:
        if not (0 <= row <= size[0] - shape[0] and 0 <= column <= size[1] - shape[1]):
            raise ValueError(f"a window of {shape} cells at {(row, column)} reaches over an area of {size}")

    def windows(raster: Tensor) -> Tensor:
        return torch.cat([raster[..., row : row + shape[0], column : column + shape[1]] for row, column in corners])

    kind = MultipathWindow if isinstance(batch, MultipathBatch) else Window
    return kind(
        cell_m=batch.cell_m,
        tx_cell_of_area=torch.cat([batch.tx_cell - batch.tx_cell.new_tensor(corner) for corner in corners]),
        openness_of_area=batch.openness[..., :1, :1].repeat(len(corners), 1, 1, 1),
        **{name: windows(raster) for name, raster in batch.rasters().items()},
    )


def starts(size: int, tile: int, overlap: int, multiple: int = 1) -> list[int]:
    """Where windows of ``tile`` cells begin on an axis of ``size`` cells, evenly, overlapping by at least ``overlap``.

    Multiples of ``multiple``, which must divide all three. Raises ValueError if it does not, or if windows do not move
    on (0 ≤ overlap < tile ≤ size is needed).
    """
    if not 0 <= overlap < tile <= size or any(length % multiple for length in (size, tile, overlap)):
        raise ValueError(
            f"tiles of {tile} cells with {overlap} shared do not fit {size} cells in steps of {multiple}: needed are "
            f"0 <= overlap < tile <= size, all multiples of {multiple}"
        )
    num = 1 + math.ceil((size - tile) / (tile - overlap))
    return [multiple * round(place / multiple) for place in np.linspace(0, size - tile, num)]


def weights(size: int, tile: int, overlap: int, begins: Sequence[int]) -> np.ndarray:
    """(num windows, tile) float64: how much a cell of a window counts; over all windows the weights of a cell sum to 1.

    A window's weight falls to 0 over ``overlap`` cells towards a side that has a neighbour.
    """
    inside = np.arange(tile) + 0.5
    rim = max(overlap, 1)
    ramps = np.ones((len(begins), tile))
    for ramp, begin in zip(ramps, begins, strict=True):
        if begin > 0:
            ramp[:] = np.minimum(ramp, inside / rim)
        if begin + tile < size:
            ramp[:] = np.minimum(ramp, (tile - inside) / rim)
    total = np.zeros(size)
    for ramp, begin in zip(ramps, begins, strict=True):
        total[begin : begin + tile] += ramp
    return np.stack([ramp / total[begin : begin + tile] for ramp, begin in zip(ramps, begins, strict=True)])


@torch.no_grad()
def predict(model: Predictor, batch: MapBatch, seeds: Sequence[int], *, tile_cells: int, overlap_cells: int) -> Tensor:
    """(B, 1, H, W) in [-1, 1], as ``model.predict``, for areas of any size; -1 inside footprints.

    An area with no side longer than ``tile_cells`` is predicted in one pass. A longer one is cut into windows of at
    most that length on each side, which share ``overlap_cells`` with their neighbours; their predictions are blended
    linearly in dB. Both lengths are rounded to what the model takes. The model never sees more than ``MAX_CELLS`` at
    once, or one window. Raises ValueError if the windows do not move on, and as the model does.
    """
    size = tuple(batch.building.shape[-2:])
    if max(size) <= tile_cells:
        return model.predict(batch, seeds)
    windows = Windows.over(size, tile_cells, overlap_cells, model.multiple)
    at_once = max(1, MAX_CELLS // (len(batch) * windows.shape[0] * windows.shape[1]))
    places, parts = windows.places(), []
    for start in range(0, len(places), at_once):
        chosen = places[start : start + at_once]
        # Windows draw noise of their own; equal noise would show as a pattern that repeats.
        noise = [seed for place, _ in chosen for seed in further_seeds(seeds, f"window {place}")]
        signal = model.predict(cut(batch, [corner for _, corner in chosen], windows.shape), noise)
        parts += signal.split(len(batch))
    return torch.where(batch.outdoor, windows.blended(parts).clamp(-1, 1), -1.0)


@dataclass(frozen=True)
class Windows:
    """How an area is cut into windows of one ``shape``, and put together again."""

    axes: tuple[_Axis, _Axis]

    @staticmethod
    def over(size: Sequence[int], tile_cells: int, overlap_cells: int, multiple: int) -> Windows:
        """Windows over (rows, columns); arguments and errors as :func:`predict`."""
        rows, columns = (_Axis.over(length, tile_cells, overlap_cells, multiple) for length in size)
        return Windows((rows, columns))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a window."""
        return self.axes[0].tile, self.axes[1].tile

    def places(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """(number of the row and column of windows, top left corner [cells]) of every window."""
        rows, columns = (list(enumerate(axis.begins)) for axis in self.axes)
        return [((row, column), (top, left)) for (row, top), (column, left) in product(rows, columns)]

    def blended(self, parts: Sequence[Tensor]) -> Tensor:
        """Predictions of all windows, (B, 1, *shape) in the order of :meth:`places`, -> (B, 1, H, W)."""
        drawn = parts[0].new_zeros((*parts[0].shape[:2], *(axis.size for axis in self.axes)))
        height, width = self.shape
        for ((row, column), (top, left)), part in zip(self.places(), parts, strict=True):
            weight = np.outer(self.axes[0].weights[row], self.axes[1].weights[column])
            drawn[..., top : top + height, left : left + width] += torch.from_numpy(weight).to(part) * part
        return drawn


class _Axis(NamedTuple):
    """How one side of an area is cut."""

    size: int
    tile: int
    begins: list[int]
    weights: np.ndarray

    @staticmethod
    def over(size: int, tile_cells: int, overlap_cells: int, multiple: int) -> _Axis:
        if size <= tile_cells:
            return _Axis(size, size, [0], np.ones((1, size)))
        tile, overlap = tile_cells // multiple * multiple, -(-overlap_cells // multiple) * multiple
        begins = starts(size, tile, overlap, multiple)
        return _Axis(size, tile, begins, weights(size, tile, overlap, begins))


def padded(scene: Scene, multiple: int) -> Scene:
    """The scene with rows and columns added at its bottom and right until both sides are multiples of ``multiple``.

    What stands on the last row or column stands on the added ones, too: a street goes on as a street. The scene itself
    if it already fits.
    """
    more = [-length % multiple for length in scene.grid.shape]
    if not any(more):
        return scene
    rows, columns = scene.grid.shape
    grid = Grid((rows + more[0], columns + more[1]), scene.grid.cell_m, scene.grid.origin_m)
    building_m, vehicle_m = (
        np.pad(height_m, ((0, more[0]), (0, more[1])), mode="edge") for height_m in (scene.building_m, scene.vehicle_m)
    )
    return replace(scene, grid=grid, building_m=building_m, vehicle_m=vehicle_m)
