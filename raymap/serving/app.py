"""The endpoint on Ray Serve. ``build`` is what ``serve/config.yaml`` names."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

from ray import serve
from ray.exceptions import RayTaskError
from ray.serve.handle import DeploymentHandle

from raymap.serving import graph
from raymap.serving.endpoint import Endpoint
from raymap.serving.gate import TOKEN, Gate
from raymap.serving.jobs import Kept
from raymap.serving.problems import Problem
from raymap.serving.routes import application
from raymap.serving.settings import Serving


@serve.deployment(name="Jobs")
class KeptOnRay:
    """Jobs, in a process of their own so that every ingress finds them."""

    def __init__(self, serving: dict[str, Any], **stages: DeploymentHandle | None) -> None:
        about = Serving.model_validate(serving)
        endpoint = Endpoint(about, graph.Deployed(about, **stages))
        self.kept, self.following = Kept(endpoint), None

    async def call(self, name: str, *arguments: Any) -> Any:
        """A method of :class:`Jobs`."""
        models = self.kept.endpoint.models
        if self.following is None:
            await models.look()
            self.following = asyncio.create_task(models.follow())
        return await getattr(self.kept, name)(*arguments)


class FarJobs:
    """:class:`Jobs` by a handle."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self.handle = handle

    def __getattr__(self, name: str):
        async def call(*arguments: Any) -> Any:
            try:
                return await self.handle.call.remote(name, *arguments)
            except RayTaskError as error:
                raise (error.cause if isinstance(error.cause, Problem) else error) from None

        return call


@serve.deployment(name="Ingress")
@serve.ingress()
class Ingress:
    """The HTTP side as a deployment."""

    def __init__(self, serving: dict[str, Any], jobs: DeploymentHandle, **stages: DeploymentHandle | None) -> None:
        _log_as_serve_does()
        about = Serving.model_validate(serving)
        self.endpoint = Endpoint(about, graph.Deployed(about, **stages))
        self.jobs = FarJobs(jobs)

    def __serve_build_asgi_app__(self):
        limits = self.endpoint.serving.limits
        return Gate(application(self.endpoint, self.jobs), limits, os.environ.get(TOKEN))


def _log_as_serve_does() -> None:
    """The lines of the gate go into the files that Serve writes for this process."""
    log = logging.getLogger("raymap.serving")
    log.handlers, log.propagate = list(logging.getLogger("ray.serve").handlers), False
    log.setLevel(logging.INFO)


def build(args: dict[str, Any]) -> serve.Application:
    """The application of a :class:`Serving` in plain values; raises ValueError for settings that cannot be."""
    serving = Serving.model_validate(args)
    plain = serving.model_dump(mode="json")
    paths = graph.Paths.options(**graph.options(serving.paths)).bind(plain) if serving.path_models else None
    stages = {
        "outline": graph.Outline.options(**graph.options(serving.outline)).bind(plain),
        "map": graph.Map.options(**graph.options(serving.map)).bind(plain), "paths": paths,
    }  # fmt: skip
    jobs = KeptOnRay.options(num_replicas=1, ray_actor_options={"num_cpus": 0.1}).bind(plain, **stages)
    return Ingress.options(**graph.options(serving.ingress)).bind(plain, jobs, **stages)
