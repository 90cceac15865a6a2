"""What one prediction costs."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np
import torch

from raymap.data.batch import MapBatch
from raymap.models import base


def of(model: base.Predictor, batch: MapBatch, repeats: int = 5) -> dict[str, float]:
    """Latency of one map [ms] (median), peak memory of the process [MB] while predicting, parameters, network calls."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    seconds = []
    with torch.no_grad():
        for _ in range(repeats + 1):
            begun = time.perf_counter()
            model.predict(batch, [0] * len(batch))
            seconds.append(time.perf_counter() - begun)
    return {
        "latency_ms": 1000 * float(np.median(seconds[1:])),
        "peak_memory_mb": _peak_memory_mb(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "network_calls": model.network_calls,
    }


def _peak_memory_mb() -> float | None:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    return None
