"""A request through the graph: cut into items that models draw together, and put together again.

What is answered for a seed is what :func:`raymap.api.predict` draws for it, whatever else is asked at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raymap import area, units
from raymap.api import OVERLAP_CELLS, TILE_CELLS
from raymap.data.batch import MapBatch, from_scenes, symmetry
from raymap.models import ensemble
from raymap.models.base import further_seeds
from raymap.models.interpolation import correct
from raymap.serving.answers import Drawn
from raymap.serving.ask import Drawing, Task
from raymap.serving.stages import Item, joined

#: Draws an item; outline (None from a model without), signal, each (1, 1, H, W).
Draw = Callable[[Item], Awaitable[tuple[Tensor | None, Tensor]]]


@dataclass(frozen=True)
class About:
    """What has to be known of a model to ask it: its ``multiple``, the cells it takes, what it reads, whether it
    samples, and how an ensemble's spread becomes an error bar."""

    multiple: int
    reads_dominant_path: bool
    reads_measurements: bool
    recipe: ensemble.Recipe


async def drawn(
    request: Drawing,
    task: Task,
    model: str,
    about: About,
    draw: Draw,
    told: Callable[[float], None] | None = None,
) -> Drawn:
    """The maps of a request. ``told``: is called with the share that is done. Raises ValueError as the model does."""
    whole = area.padded(task.scene, about.multiple)
    batches = await asyncio.to_thread(_inputs, whole, task, about)
    done, total = 0, len(batches) * request.ensemble

    async def one(batch: MapBatch, seed: int) -> tuple[Tensor | None, Tensor]:
        nonlocal done
        found = await _map(batch, seed, request, task, model, about, draw)
        done += 1
        if told is not None:
            told(done / total)
        return found

    jobs = [
        one(batch.turn(k % _num_views(batch)) if request.ensemble > 1 else batch, _seed(request, number, k))
        for number, batch in enumerate(batches)
        for k in range(request.ensemble)
    ]
    found = await asyncio.gather(*jobs)
    return await asyncio.to_thread(_collected, found, batches, request, task, about)


def _inputs(whole, task: Task, about: About) -> list[MapBatch]:
    batch = from_scenes([whole] * len(task.transmitters), task.transmitters, dominant_path=about.reads_dominant_path,
                        measurements=task.measurements).blind()  # fmt: skip
    return [batch[index : index + 1] for index in range(len(batch))]


def _num_views(batch: MapBatch) -> int:
    height, width = batch.building.shape[-2:]
    return 8 if height == width else 4


def _seed(request: Drawing, number: int, k: int) -> int:
    """Transmitter n is drawn with seed + n, as by ``raymap.predict``; further members as by ``ensemble.members``."""
    return further_seeds([request.seed + number], k)[0] if k else request.seed + number


async def _map(
    batch: MapBatch, seed: int, request: Drawing, task: Task, model: str, about: About, draw: Draw
) -> tuple[Tensor | None, Tensor]:
    """One map of any size, in windows where it is larger than a model takes at once."""
    asked = {"model": model, "steps": request.steps, "views": 1 if request.ensemble > 1 else None}
    if max(batch.building.shape[-2:]) <= TILE_CELLS:
        outline, signal = await draw(Item(batch=batch, seed=seed, **asked))
    else:
        outline, signal = await _in_windows(batch, seed, about, asked, draw)
    if task.measurements is not None and not about.reads_measurements:
        signal = await asyncio.to_thread(correct, signal, batch)
    return outline, signal


async def _in_windows(batch: MapBatch, seed: int, about: About, asked: dict, draw: Draw):
    windows = area.Windows.over(batch.building.shape[-2:], TILE_CELLS, OVERLAP_CELLS, about.multiple)
    found = await asyncio.gather(*(
        draw(Item(batch=area.cut(batch, [corner], windows.shape), seed=further_seeds([seed], f"window {place}")[0],
                  **asked))
        for place, corner in windows.places()
    ))  # fmt: skip
    signal = windows.blended([one for _outline, one in found])
    outline = None if found[0][0] is None else windows.blended([one for one, _signal in found])
    return outline, torch.where(batch.outdoor, signal.clamp(-1, 1), -1.0)


def _collected(
    found: Sequence[tuple[Tensor | None, Tensor]],
    batches: list[MapBatch],
    request: Drawing,
    task: Task,
    about: About,
) -> Drawn:
    rows, columns = task.scene.grid.shape
    batch = joined(batches)

    def members(tensors: list[Tensor]) -> Tensor:
        """(K, N, 1, H, W), turned back."""
        each = [
            [symmetry(tensors[n * request.ensemble + k], ensemble.BACK[k % _num_views(batches[n])])
             if request.ensemble > 1 else tensors[n] for n in range(len(batches))]
            for k in range(request.ensemble)
        ]  # fmt: skip
        return torch.stack([torch.cat(one) for one in each])

    signal = members([one for _outline, one in found])
    gain_db = units.gain_db_from_signal(signal).mean(dim=0)
    outline = None
    if found[0][0] is not None:
        outline = _plain(units.grey_from_signal(members([one for one, _signal in found])).mean(dim=0), rows, columns)
    spread_db = None
    if request.ensemble > 1:
        recipe = about.recipe
        bars = ensemble.calibrated(ensemble.spread(signal, batch, recipe), batch, recipe)
        spread_db = _plain(bars, rows, columns)
    return Drawn(_plain(gain_db, rows, columns), outline, spread_db)


def _plain(image: Tensor, rows: int, columns: int) -> np.ndarray:
    return image[:, 0, :rows, :columns].float().numpy()
