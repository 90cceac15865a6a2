"""What Prometheus is told of a stage, beside what Ray Serve tells of every deployment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ray.serve import metrics

ResultT = TypeVar("ResultT")
_MILLISECONDS = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000]
_SIZES = [1, 2, 4, 8, 16, 32, 64]


class Meters:
    """``raymap_stage_ms`` (a batch through the models), ``raymap_stage_batch`` (maps of it), ``raymap_stage_maps``
    (in all), ``raymap_stage_failures`` and ``raymap_model_loaded`` (1 by model), all by stage."""

    def __init__(self, stage: str) -> None:
        about = {"tag_keys": ("stage",)}
        self._stage = {"stage": stage}
        self.ms = metrics.Histogram("raymap_stage_ms", "time of a batch [ms]", _MILLISECONDS, **about)
        self.sizes = metrics.Histogram("raymap_stage_batch", "maps drawn at once", _SIZES, **about)
        # Ray tells the sum of a histogram by the middles of its buckets only.
        self.maps = metrics.Counter("raymap_stage_maps", "maps drawn", **about)
        self.failures = metrics.Counter("raymap_stage_failures", "maps that could not be drawn", **about)
        self.loaded = metrics.Gauge("raymap_model_loaded", "1: a replica holds this model", tag_keys=("stage", "model"))

    def batch(self, items: Sequence[Any], draw: Callable[[], list[ResultT]]) -> list[ResultT]:
        """What ``draw`` returns for a batch, measured."""
        begun = time.perf_counter()
        found = draw()
        self.ms.observe(1000 * (time.perf_counter() - begun), self._stage)
        self.sizes.observe(len(items), self._stage)
        self.maps.inc(len(items), self._stage)
        failed = sum(isinstance(one, Exception) for one in found)
        if failed:
            self.failures.inc(failed, self._stage)
        return found

    def holds(self, model: str, there: bool) -> None:
        """A model was loaded, or made room."""
        self.loaded.set(1.0 if there else 0.0, {**self._stage, "model": model})
