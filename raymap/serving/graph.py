"""The graph on Ray Serve: ingress -> DM1 (outlines) -> DM2 (maps), each with its own batches and replicas.

::

    Ingress    HTTP; areas and positions are checked, inputs computed in threads, items sent through the stages
    Outline    DM1 of two-stage models, many items at once
    Map        DM2 of two-stage models, and every other model of maps
    Paths      models of paths; there only where some are served

A replica holds several models and is told with every item which one is meant. Models are named by what does not change
under them (a version, never an alias), so that a moved alias is another model and both are served for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from torch import Tensor

import raymap
from raymap.data.path_table import PathTable
from raymap.models.base import Predictor
from raymap.models.k2 import K2
from raymap.models.path_predictor import PathPredictor
from raymap.runtime import cluster
from raymap.serving import paths, stages
from raymap.serving.gathering import Gathering
from raymap.serving.meters import Meters
from raymap.serving.paths import METHOD, loaded
from raymap.serving.settings import Serving, Stage
from raymap.serving.stages import Item

#: Between two attempts to send an item whose process was lost [s].
_PAUSE_S = 0.2
ResultT = TypeVar("ResultT")


class _Replica:
    """What both stages share: models by name, and batches of items."""

    def __init__(self, serving: dict[str, Any], stage: str) -> None:
        self.serving = Serving.model_validate(serving)
        about: Stage = getattr(self.serving, stage)
        self.device, self.bf16 = cluster.device(), self.serving.precision == "bf16"
        if self.device.type == "cpu":
            torch.set_num_threads(about.threads)
        self.drawn = Gathering(self._drawn, about.max_batch_size, about.batch_wait_s)
        self.meters = Meters(stage)
        self._loads: dict[str, asyncio.Lock] = {}
        self._models: dict[str, Predictor] = {}

    async def model(self, name: str):
        """The model of a name, loaded if it is not there; the one that was not asked for longest makes room."""
        async with self._loads.setdefault(name, asyncio.Lock()):
            if name not in self._models:
                loaded = await asyncio.to_thread(raymap.load, name, tracking_uri=self.serving.tracking_uri)
                while len(self._models) >= self.serving.models_per_replica:
                    oldest = next(iter(self._models))
                    self.meters.holds(oldest, False)
                    del self._models[oldest]
                self._models[name] = loaded.to(self.device)
                self.meters.holds(name, True)
            self._models[name] = self._models.pop(name)
            return self._models[name]

    async def __call__(self, item: Item):
        """One item, drawn together with others. Raises what its model raised."""
        await self.model(item.model)
        return stages.arrays(await self.drawn(item))

    async def _drawn(self, items: list[Item]) -> list:
        models = {name: await self.model(name) for name in {item.model for item in items}}

        def draw() -> list:
            return stages.together(items, lambda group: self.draw(models[group[0].model], group))

        return await asyncio.to_thread(self.meters.batch, items, draw)

    def draw(self, model, items: list[Item]) -> list:
        raise NotImplementedError

    async def warm(self, name: str) -> dict[str, Any]:
        """Load a model before it is asked for; what is known of it."""
        return known(await self.model(name))


def known(model: Predictor) -> dict[str, Any]:
    """What an endpoint has to know of a model."""
    return {
        "two_stages": isinstance(model, K2), "multiple": model.multiple, "cell_m": model.cell_m,
        "reads_dominant_path": model.config.reads("dominant_path"),
        "reads_measurements": model.config.reads("sampled"), "reads_cell_size": model.config.reads("cell_size"),
        "kind": model.config.kind,
    }  # fmt: skip


@serve.deployment(name="Outline")
class Outline(_Replica):
    """DM1."""

    def __init__(self, serving: dict[str, Any]) -> None:
        super().__init__(serving, "outline")

    def draw(self, model, items: list[Item]) -> list[tuple[Tensor, Tensor | None]]:
        return stages.outlines(model, items, self.bf16)


@serve.deployment(name="Map")
class Map(_Replica):
    """DM2, and models of one stage."""

    def __init__(self, serving: dict[str, Any]) -> None:
        super().__init__(serving, "map")

    def draw(self, model, items: list[Item]) -> list[Tensor]:
        return stages.maps(model, items, self.bf16)


@serve.deployment(name="Paths")
class Paths:
    """Models of paths; a request is a batch by itself."""

    def __init__(self, serving: dict[str, Any]) -> None:
        self.serving = Serving.model_validate(serving)
        torch.set_num_threads(self.serving.paths.threads)
        self.meters = Meters("paths")
        self._lock = asyncio.Lock()
        self._models: dict[str, PathPredictor] = {}

    async def warm(self, source: str) -> None:
        """Load a model before it is asked for. Raises ValueError if it is none of paths."""
        async with self._lock:
            if source not in self._models:
                loaded = await asyncio.to_thread(paths.loaded, source, self.serving.tracking_uri)
                self._models[source] = loaded.to(cluster.device())
                self.meters.holds(source, True)

    async def complete(self, source: str, measured: PathTable, receivers_m: np.ndarray) -> tuple[PathTable, list[str]]:
        """As :func:`raymap.serving.paths.completed`."""
        await self.warm(source)

        def told() -> list[tuple[PathTable, list[str]]]:
            return [paths.completed(self._models[source], measured, receivers_m)]

        return (await asyncio.to_thread(self.meters.batch, [receivers_m], told))[0]


class Deployed:
    """The two stages as an ingress calls them. Drawing twice is drawing the same, so what is lost with a process is
    sent again until somebody draws it."""

    def __init__(
        self, serving: Serving, outline: DeploymentHandle, map: DeploymentHandle, paths: DeploymentHandle | None
    ) -> None:
        self.paths, self.patience_s = paths, serving.limits.timeout_s
        self.outline = _Sent(outline, serving.outline, serving.limits.timeout_s)
        self.map = _Sent(map, serving.map, serving.limits.timeout_s)

    async def draw(self, item: Item, two_stages: bool) -> tuple[Tensor | None, Tensor]:
        """Outline (None of a model of one stage) and signal, (1, 1, H, W) each. Raises what the model raised."""
        if not two_stages:
            return None, await self.map(item)
        outline, law = await self.outline(item)
        return outline, await self.map(replace(item, outline=outline, law=law))

    async def warm(self, name: str) -> dict[str, Any]:
        """Load a model where it is needed; what is known of it."""
        about = await self.map.handle.warm.remote(name)
        if about["two_stages"]:
            await self.outline.handle.warm.remote(name)
        return about

    async def warm_paths(self, source: str) -> None:
        """Load a model of paths, unless that is nothing but its name. Raises ValueError if it is none."""
        if source.startswith(METHOD):
            await asyncio.to_thread(loaded, source, None)
        else:
            await self.paths.warm.remote(source)

    async def complete(self, source: str, measured: PathTable, receivers_m: np.ndarray) -> tuple[PathTable, list[str]]:
        """As :func:`raymap.serving.paths.completed`."""
        return await again(lambda: self.paths.complete.remote(source, measured, receivers_m), self.patience_s)


async def again(send: Callable[[], Awaitable[ResultT]], patience_s: float) -> ResultT:
    """What ``send`` answers, sent again if the process was lost that had it, for ``patience_s``."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            return await send()
        except (RayActorError, DeploymentUnavailableError, BackPressureError):
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(_PAUSE_S)


class _Sent:
    """Items to one stage, no more at a time than it has room for: they wait here, where whoever waits can leave."""

    def __init__(self, handle: DeploymentHandle, stage: Stage, patience_s: float) -> None:
        self.handle, self.patience_s = handle, patience_s
        self.room = asyncio.Semaphore(stage.max_ongoing_requests * stage.max_replicas)

    async def __call__(self, item: Item):
        async with self.room:
            return stages.tensors(await again(lambda: self.handle.remote(item), self.patience_s))


def options(stage: Stage) -> dict[str, Any]:
    """A deployment's options."""
    return {
        "max_ongoing_requests": stage.max_ongoing_requests,
        "max_queued_requests": stage.max_queued_requests,
        "ray_actor_options": {"num_cpus": stage.num_cpus, "num_gpus": stage.num_gpus},
        "autoscaling_config": {
            "min_replicas": stage.min_replicas, "max_replicas": stage.max_replicas,
            "target_ongoing_requests": stage.target_ongoing_requests, "upscale_delay_s": stage.upscale_delay_s,
            "downscale_delay_s": stage.downscale_delay_s,
        },
        # The gate writes a line for every request.
        "logging_config": {"enable_access_log": False},
        "graceful_shutdown_timeout_s": 30, "health_check_period_s": 5, "health_check_timeout_s": 30,
    }  # fmt: skip
