"""What the models of a graph do with many requests at once, without Ray: equal ones together, one bad one alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from raymap.data.batch import MapBatch
from raymap.models.base import Predictor, further_seeds
from raymap.models.k2 import K2


@dataclass(frozen=True, eq=False)
class Item:
    """One map to draw: a batch of one, blind. ``steps``, ``views``: None as the model does. ``outline`` and ``law``,
    (1, 1, H, W): what the first stage has found."""

    model: str
    batch: MapBatch
    seed: int
    steps: int | None = None
    views: int | None = None
    outline: Tensor | None = None
    law: Tensor | None = None

    @property
    def key(self) -> Hashable:
        """Items of one key can be drawn together."""
        batch = self.batch
        about = (type(batch), batch.cell_m, tuple(batch.building.shape), tuple(batch.rasters()))
        return self.model, *about, self.steps, self.views, self.outline is None, self.law is None

    def __reduce__(self):
        # Tensors go between processes as arrays, which is ten times as fast as PyTorch's own way.
        rasters = {name: arrays(raster) for name, raster in self.batch.rasters().items()}
        own = (self.model, self.seed, self.steps, self.views, arrays(self.outline), arrays(self.law))
        return _arrived, (type(self.batch), self.batch.cell_m, rasters, own)


def _arrived(kind: type[MapBatch], cell_m: float, rasters: dict[str, np.ndarray], own: tuple) -> Item:
    model, seed, steps, views, outline, law = own
    batch = kind(cell_m=cell_m, **{name: tensors(raster) for name, raster in rasters.items()})
    return Item(model, batch, seed, steps, views, tensors(outline), tensors(law))


def arrays(found):
    """A tensor, or tuple of tensors and None, as arrays, to be sent."""
    if isinstance(found, tuple):
        return tuple(map(arrays, found))
    return found if found is None else found.numpy()


def tensors(found):
    """What :func:`arrays` was given, from what arrived, which may lie in memory that is not to be written to."""
    if isinstance(found, tuple):
        return tuple(map(tensors, found))
    return found if found is None else torch.from_numpy(found.copy())


def together(items: Sequence[Item], draw: Callable[[list[Item]], list]) -> list:
    """What ``draw`` makes of the items, in their order; it is given those of one key at a time.

    An exception stands in the place of each item of a group that raised it.
    """
    found: list = [None] * len(items)
    groups: dict[Hashable, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(item.key, []).append(index)
    for indices in groups.values():
        try:
            drawn = draw([items[index] for index in indices])
        except Exception as error:
            drawn = [error] * len(indices)
        for index, one in zip(indices, drawn, strict=True):
            found[index] = one
    return found


def joined(batches: Sequence[MapBatch]) -> MapBatch:
    """Batches of one kind and shape as one."""
    first = batches[0]
    tensors = {
        field.name: torch.cat([getattr(batch, field.name) for batch in batches])
        for field in fields(first)
        if isinstance(getattr(first, field.name), Tensor)
    }
    return replace(first, **tensors)


@torch.no_grad()
def outlines(model: Predictor, items: Sequence[Item], bf16: bool = False) -> list[tuple[Tensor, Tensor | None]]:
    """DM1 of a two-stage model: outline and the map of its law (None if DM2 has another), each (1, 1, H, W)."""
    batch, device = _batch(model, items)
    with model.outline.with_sampling(steps=items[0].steps, views=items[0].views), _rounded(device, bf16):
        law = model.outline.by_law(batch) if model.is_law_shared() else None
        drawn = model.outline.predict(batch, [item.seed for item in items], law)
    laws = [None] * len(items) if law is None else law.float().cpu().split(1)
    return list(zip(drawn.float().cpu().split(1), laws, strict=True))


@torch.no_grad()
def maps(model: Predictor, items: Sequence[Item], bf16: bool = False) -> list[Tensor]:
    """DM2 of a two-stage model on what DM1 has drawn, or any other model: the signal (1, 1, H, W) in [-1, 1]."""
    batch, device = _batch(model, items)
    seeds = [item.seed for item in items]
    sampling = {"steps": items[0].steps, "views": items[0].views}
    with _rounded(device, bf16):
        if isinstance(model, K2):
            law = None if items[0].law is None else torch.cat([item.law for item in items]).to(device)
            batch = batch.with_outline(torch.cat([item.outline for item in items]).to(device))
            with model.map.with_sampling(**sampling):
                signal = model.map.predict(batch, further_seeds(seeds, "map"), law)
        else:
            with model.with_sampling(**sampling):
                signal = model.predict(batch, seeds)
    return list(signal.float().cpu().split(1))


def _batch(model: Predictor, items: Sequence[Item]) -> tuple[MapBatch, torch.device]:
    device = next((tensor.device for tensor in model.state_dict().values()), torch.device("cpu"))
    return joined([item.batch for item in items]).to(device), device


def _rounded(device: torch.device, bf16: bool) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)
