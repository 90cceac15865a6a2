"""The models of an endpoint by name, each at the version that its source means now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor

from raymap.data.path_table import PathTable
from raymap.runtime import registry, track
from raymap.serving.drawing import About
from raymap.serving.problems import Problem
from raymap.serving.settings import Served, ServedPaths, Serving
from raymap.serving.stages import Item

log = logging.getLogger("raymap.serving")
ThereT = TypeVar("ThereT")


class Graph(Protocol):
    """The stages, wherever they run."""

    async def warm(self, name: str) -> dict[str, Any]:
        """Load a model where it is needed; what is known of it."""

    async def warm_paths(self, source: str) -> None:
        """Load a model of paths where it is needed. Raises ValueError if it is none."""

    async def complete(self, source: str, measured: PathTable, receivers_m: np.ndarray) -> tuple[PathTable, list[str]]:
        """As :func:`raymap.serving.paths.completed`."""

    async def draw(self, item: Item, two_stages: bool) -> tuple[Tensor | None, Tensor]:
        """Outline (None of a model of one stage) and signal, (1, 1, H, W) each. Raises what the model raised."""


@dataclass(frozen=True)
class Model:
    """A model as it is served: ``pinned`` is what it is loaded by, ``told`` what is known of it."""

    served: Served
    pinned: str
    told: dict[str, Any]

    @property
    def about(self) -> About:
        """What has to be known to ask it."""
        return About(self.told["multiple"], self.told["reads_dominant_path"], self.told["reads_measurements"],
                     self.served.bars)  # fmt: skip

    @property
    def listed(self) -> dict[str, Any]:
        """What is told of it to whoever asks."""
        return {
            "name": self.served.name, "version": self.pinned, "answers": "maps", "kind": self.told["kind"],
            "cell_m": self.told["cell_m"], "other_cell_sizes": self.told["reads_cell_size"],
            "frequency_hz": self.served.frequency_hz, "two_stages": self.told["two_stages"],
            "needs_measurements": self.told["reads_measurements"],
        }  # fmt: skip


def pinned(source: str, tracking_uri: str | None) -> str:
    """What a source means now, by a name under which nothing changes; an alias becomes a version.

    Raises ValueError for a registered model or an alias that does not exist.
    """
    if source.startswith("models:/") and "@" in source:
        name, alias = source.removeprefix("models:/").split("@", 1)
        return f"models:/{name}/{registry.version_of(track.client(tracking_uri), name, alias)}"
    return source


class Followed:
    """The models, which are looked after: a moved alias is loaded first and served then, so that nobody waits."""

    def __init__(self, serving: Serving, graph: Graph) -> None:
        self.serving, self.graph = serving, graph
        self._models: dict[str, Model] = {}
        self._path_models: dict[str, str] = {}
        self._lock = asyncio.Lock()
        #: Set once it is known what can be served; who asks before waits for it.
        self.looked = asyncio.Event()
        self.failures: dict[str, str] = {}

    @property
    def is_ready(self) -> bool:
        """Whether every model is there."""
        serving = self.serving
        return len(self._models) + len(self._path_models) == len(serving.models) + len(serving.path_models)

    async def look(self) -> None:
        """Serve what the sources mean now. A model that cannot be had is told in ``failures``, others are served."""
        async with self._lock:
            for served in (*self.serving.models, *self.serving.path_models):
                try:
                    now = await asyncio.to_thread(pinned, served.source, self.serving.tracking_uri)
                    if isinstance(served, ServedPaths):
                        await self._have_paths(served, now)
                    else:
                        await self._have(served, now)
                    self.failures.pop(served.name, None)
                except Exception as error:
                    self.failures[served.name] = str(error)
                    log.warning("%s (%s) cannot be served: %s", served.name, served.source, error)
        self.looked.set()

    async def _have(self, served: Served, now: str) -> None:
        known = self._models.get(served.name)
        if known is None or known.pinned != now:
            self._models[served.name] = Model(served, now, await self.graph.warm(now))
            log.info("%s is now %s", served.name, now)

    async def _have_paths(self, served: ServedPaths, now: str) -> None:
        if self._path_models.get(served.name) != now:
            await self.graph.warm_paths(now)
            self._path_models[served.name] = now
            log.info("%s is now %s", served.name, now)

    async def follow(self) -> None:
        """Look again and again, for good."""
        while True:
            await self.look()
            await asyncio.sleep(self.serving.follow_s if self.is_ready else min(2.0, self.serving.follow_s))

    def named(self, name: str | None) -> Model:
        """The model of a name, the first without one. Raises Problem: 422 for an unknown name, 503 for one that is
        not there yet."""
        return self._chosen(name, self.serving.models, self._models)

    def path_model(self, name: str | None) -> tuple[str, str]:
        """Name and source of a model of paths. Raises Problem as :meth:`named`, and 404 if none is served."""
        if not self.serving.path_models:
            raise Problem(404, "", None, "no model of paths is served here")
        source = self._chosen(name, self.serving.path_models, self._path_models)
        return name or self.serving.path_models[0].name, source

    def _chosen(self, name: str | None, served: Sequence[Served | ServedPaths], there: Mapping[str, ThereT]) -> ThereT:
        names = [one.name for one in served]
        chosen = names[0] if name is None else name
        if chosen not in names:
            raise Problem(422, "model", name, f"one of {', '.join(names)}")
        if chosen not in there:
            why = self.failures.get(chosen, "it is being loaded")
            raise Problem(503, "", None, f"{chosen} is not there yet: {why}", {"retry-after": "5"})
        return there[chosen]

    def listed(self) -> list[dict[str, Any]]:
        """Every model that is there."""
        maps = [self._models[served.name].listed for served in self.serving.models if served.name in self._models]
        paths = [{"name": name, "version": source, "answers": "paths"} for name, source in self._path_models.items()]
        return maps + paths
