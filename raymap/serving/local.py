"""The endpoint in one process without Ray, for trying things out and for tests; no batches, no replicas.

python -m raymap.serving.local --port 8000
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field
from torch import Tensor

import raymap
from raymap.config import Settings, from_command_line
from raymap.data.path_table import PathTable
from raymap.models.base import Predictor
from raymap.models.path_predictor import PathPredictor
from raymap.serving import paths, stages
from raymap.serving.endpoint import Endpoint
from raymap.serving.gate import TOKEN, Gate
from raymap.serving.graph import known
from raymap.serving.jobs import Kept
from raymap.serving.routes import application
from raymap.serving.settings import Serving
from raymap.serving.stages import Item


class Local:
    """Both stages in this process, one item after the other."""

    def __init__(self, serving: Serving) -> None:
        self.serving, self._models = serving, dict[str, Predictor]()
        self._path_models: dict[str, PathPredictor] = {}
        self._turn = asyncio.Lock()

    async def warm(self, name: str) -> dict[str, Any]:
        """As :meth:`raymap.serving.graph.Deployed.warm`."""
        if name not in self._models:
            uri = self.serving.tracking_uri
            self._models[name] = await asyncio.to_thread(raymap.load, name, tracking_uri=uri)
        return known(self._models[name])

    async def draw(self, item: Item, two_stages: bool) -> tuple[Tensor | None, Tensor]:
        """As :meth:`raymap.serving.graph.Deployed.draw`."""
        await self.warm(item.model)
        async with self._turn:
            return await asyncio.to_thread(self._drawn, self._models[item.model], item, two_stages)

    async def warm_paths(self, source: str) -> None:
        """As :meth:`raymap.serving.graph.Deployed.warm_paths`."""
        if source not in self._path_models:
            loaded = await asyncio.to_thread(paths.loaded, source, self.serving.tracking_uri)
            self._path_models[source] = loaded

    async def complete(self, source: str, measured: PathTable, receivers_m: np.ndarray) -> tuple[PathTable, list[str]]:
        """As :meth:`raymap.serving.graph.Deployed.complete`."""
        await self.warm_paths(source)
        async with self._turn:
            return await asyncio.to_thread(paths.completed, self._path_models[source], measured, receivers_m)

    def _drawn(self, model: Predictor, item: Item, two_stages: bool) -> tuple[Tensor | None, Tensor]:
        bf16 = self.serving.precision == "bf16"
        if not two_stages:
            return None, stages.maps(model, [item], bf16)[0]
        outline, law = stages.outlines(model, [item], bf16)[0]
        return outline, stages.maps(model, [replace(item, outline=outline, law=law)], bf16)[0]


class Here(Settings):
    """Where the endpoint listens, and what it serves."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    serving: Serving = Serving()


def asgi(serving: Serving) -> Gate:
    """The whole application."""
    endpoint = Endpoint(serving, Local(serving))
    return Gate(application(endpoint, Kept(endpoint)), serving.limits, os.environ.get(TOKEN))


if __name__ == "__main__":
    import logging

    import uvicorn

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("raymap.serving").setLevel(logging.INFO)
    here = from_command_line(Here(), sys.argv[1:], prog="raymap.serving.local")
    uvicorn.run(asgi(here.serving), host=here.host, port=here.port, log_level="warning")
