"""What one prediction costs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from raymap.data.batch import MapBatch
from raymap.models import base

#: Throughput is measured with up to so many maps at once, as scoring and ``raymap.predict`` have them, for so long [s].
MOST_MAPS, BUDGET_S = 16, 1.0
_ATEN = torch.ops.aten


def of(model: base.Predictor, batch: MapBatch, repeats: int = 5) -> dict[str, float | None]:
    """The costs of ``evaluation.summary.COSTS``, from predictions of a batch of one map.

    ``latency_ms``: of that map [ms], median. ``maps_per_s``: see :func:`throughput`. ``flop``: operations of that map,
    see :func:`flops`. ``peak_memory_mb``: of the process [MB] while it predicts one map. Parameters, network calls.
    """
    if len(batch) != 1:
        raise ValueError(f"the cost of a prediction is that of one map, got a batch of {len(batch)}")
    flop = flops(lambda: _seconds(model, batch))  # and all that is only done once
    if batch.tx.is_cuda:
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    seconds = [_seconds(model, batch) for _ in range(repeats)]
    return {
        "latency_ms": 1000 * float(np.median(seconds)),
        "peak_memory_mb": peak_memory_mb(batch.tx.is_cuda),
        "maps_per_s": throughput(lambda num: _seconds(model, _repeated(batch, num)), min(seconds), repeats),
        "flop": flop,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "network_calls": model.network_calls,
    }


def throughput(seconds: Callable[[int], float], alone_s: float, repeats: int) -> float:
    """Maps per second, the most that batches of 1, 2, 4, 8 and :data:`MOST_MAPS` maps reach.

    ``seconds(num)`` predicts so many maps at once and tells how long that took [s]; ``alone_s``: the best of one map.
    The largest batch has ``repeats``. Ends before a batch that would go beyond :data:`BUDGET_S` if it took twice as
    long as the last, so that what takes seconds for one map is not asked for sixteen.
    """
    best, last_s, spent_s = 1 / alone_s, alone_s, 0.0
    for num in (2, 4, 8, *[MOST_MAPS] * repeats):
        if spent_s + 2 * last_s > BUDGET_S:
            break
        last_s = seconds(num)
        spent_s += last_s
        best = max(best, num / last_s)
    return best


def flops(work: Callable[[], object]) -> int:
    """Operations [FLOP], two per multiplication and addition, of convolutions, matrix products and attention.

    Of torch, that is: additions, Fourier transforms and what numpy and its libraries compute count nothing.
    """
    attention = {
        _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention_flop,
        _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flop,
    }
    with FlopCounterMode(display=False, custom_mapping=attention) as counter:
        work()
    return counter.get_total_flops()


def _attention_flop(query, key, value, *_args, **_kwargs) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward_flop(grad, query, key, value, *_args, **_kwargs) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


@torch.no_grad()
def _seconds(model: base.Predictor, batch: MapBatch) -> float:
    """Until the maps are in main memory: a GPU is told what to do long before it has done it."""
    begun = time.perf_counter()
    model.predict(batch, [0] * len(batch)).cpu()
    return time.perf_counter() - begun


def _repeated(batch: MapBatch, num: int) -> MapBatch:
    """The one map of a batch, ``num`` times."""
    return replace(batch, **{name: raster.repeat(num, 1, 1, 1) for name, raster in batch.rasters().items()})


def peak_memory_mb(is_cuda: bool = False) -> float | None:
    """Most memory of this process so far [MB], or of its GPU; None where the system does not tell."""
    if is_cuda:
        return torch.cuda.max_memory_allocated() / 1e6
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    return None
