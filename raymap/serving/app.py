"""The endpoint: ``/v1`` for programs, ``/`` for people. ``build`` is what ``serve/config.yaml`` names."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.exceptions import HTTPException

from raymap.scene import Scene
from raymap.serving import answers, ask, drawing, graph, problems, tiles
from raymap.serving.answers import Answer, Colours, Encoding, Format
from raymap.serving.ask import MapRequest
from raymap.serving.examples import EXAMPLES
from raymap.serving.followed import Followed, Graph, Model
from raymap.serving.gate import Gate
from raymap.serving.problems import Problem
from raymap.serving.settings import Serving

PAGE = Path(__file__).with_name("page")
#: Environment variable with the bearer token that requests must carry; none without it.
TOKEN = "RAYMAP_TOKEN"
log = logging.getLogger("raymap.serving")


class Endpoint:
    """What answers requests, whatever carries them."""

    def __init__(self, serving: Serving, stages: Graph) -> None:
        self.serving, self.graph = serving, stages
        self.models = Followed(serving, stages)

    async def answer(self, request: MapRequest, told=lambda share: None) -> Answer:
        """The maps of a request. Raises Problem for what cannot be."""
        begun = time.perf_counter()
        model = self.models.named(request.model)
        carrier = self._frequency_hz(request, model)
        task = await asyncio.to_thread(ask.understood, request, self.serving.limits, carrier)
        task = self._on_its_cells(task, model)

        async def draw(item):
            return await self.graph.draw(item, model.told["two_stages"])

        try:
            drawn = await drawing.drawn(request, task, model.pinned, model.about, draw, told)
        except (RayTaskError, ValueError) as error:
            raise _refused_by_model(error) from error
        return await asyncio.to_thread(answers.answer, request, task, drawn, model.listed, time.perf_counter() - begun)

    def _frequency_hz(self, request: MapRequest, model: Model) -> float:
        own = model.served.frequency_hz
        if request.frequency_hz is not None and abs(request.frequency_hz - own) > 1e-3 * own:
            raise Problem(422, "frequency_hz", request.frequency_hz, f"{own:g}, which {model.served.name} knows")
        return own

    def _on_its_cells(self, task: ask.Task, model: Model) -> ask.Task:
        """The area on cells that the model takes; finer ones are joined."""
        own_m, cell_m = model.told["cell_m"], task.scene.grid.cell_m
        if own_m is None or model.told["reads_cell_size"] or math.isclose(own_m, cell_m, rel_tol=1e-3):
            return task
        factor = round(own_m / cell_m)
        if factor < 2 or not math.isclose(factor * cell_m, own_m, rel_tol=1e-3):
            raise Problem(422, "area.cell_m", cell_m, f"{own_m:g} m, which {model.served.name} was trained on, or a "
                          "whole fraction of it")  # fmt: skip
        rows, columns = (size // factor * factor for size in task.scene.grid.shape)
        if not rows or not columns:
            raise Problem(
                422, "area", list(task.scene.grid.shape), f"at least {factor} x {factor} cells of {cell_m:g} m"
            )
        scene = task.scene
        if (rows, columns) != scene.grid.shape:
            from raymap.scene import Grid

            grid = Grid((rows, columns), cell_m, scene.grid.origin_m)
            scene = Scene(scene.name, grid, scene.building_m[:rows, :columns], scene.vehicle_m[:rows, :columns],
                          scene.frequency_hz)  # fmt: skip
        coarse = scene.coarsen(factor)
        for number, transmitter in enumerate(task.transmitters):
            try:
                coarse.require_outdoor(transmitter)
            except ValueError as error:
                where = list(transmitter.xyz_m[:2])
                raise Problem(422, f"transmitters.{number}", where, f"{error} on cells of {own_m:g} m") from error
        note = f"cells of {cell_m:g} m were joined to {own_m:g} m, which the model was trained on"
        return task.model_copy(update={"scene": coarse, "notes": [*task.notes, note]})


def _refused_by_model(error: Exception) -> Problem:
    cause = getattr(error, "cause", error)
    if isinstance(cause, Problem):
        return cause
    if isinstance(cause, ValueError):
        return Problem(422, "", None, str(cause))
    raise error


def application(endpoint: Endpoint) -> FastAPI:
    """The HTTP side of an endpoint."""
    serving = endpoint.serving

    @contextlib.asynccontextmanager
    async def looked_after(app: FastAPI):
        following = asyncio.create_task(endpoint.models.follow())
        yield
        following.cancel()

    app = FastAPI(
        title="raymap", version="1", docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json",
        lifespan=looked_after,
        description="Radio maps: path gain of base stations over a city block, drawn by trained models.",
    )  # fmt: skip
    if serving.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(serving.cors_origins), allow_methods=["GET", "POST"],
                           allow_headers=["authorization", "content-type", "x-request-id"])  # fmt: skip
    _handle_problems(app)

    @app.get("/healthz", tags=["operation"], summary="Whether this process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["operation"], summary="Whether every model is loaded")
    async def readyz() -> JSONResponse:
        models = endpoint.models
        body = {
            "ready": models.is_ready,
            "models": [one["name"] for one in models.listed()],
            "failures": models.failures,
        }
        return JSONResponse(body, 200 if models.is_ready else 503)

    @app.get("/v1/models", tags=["maps"], summary="The models that are served")
    async def list_models() -> list[dict[str, Any]]:
        return endpoint.models.listed()

    @app.get("/v1/tiles", tags=["maps"], summary="The city blocks that can be asked for by name")
    async def list_tiles() -> dict[str, Any]:
        return {"attribution": tiles.ATTRIBUTION, "tiles": tiles.listed()}

    @app.get("/v1/tiles/{name}", tags=["maps"], summary="The buildings of a city block")
    async def tile(name: str) -> dict[str, Any]:
        if name not in tiles.names():
            raise Problem(404, "name", name, f"one of {', '.join(tiles.names())}")
        scene = tiles.scene(name, 5.9e9)
        return {"name": name, "cell_m": scene.grid.cell_m, "heights_m": scene.building_m.round(2).tolist(),
                "attribution": tiles.ATTRIBUTION}  # fmt: skip

    @app.post("/v1/maps", tags=["maps"], summary="Draw radio maps", response_class=Response,
              responses={200: {"content": {media: {} for media in answers.MEDIA.values()}}})  # fmt: skip
    async def maps(
        body: Annotated[MapRequest, Body(openapi_examples=EXAMPLES)],
        format: Annotated[Format | None, Query(description="how it is answered; default: what Accept names")] = None,
        encoding: Annotated[
            Encoding, Query(description="layers in JSON: nested lists, or base64 of the bytes")
        ] = "lists",
        transmitter: Annotated[int, Query(ge=0, description="whose map a PNG or GeoTIFF holds")] = 0,
        colours: Annotated[Colours, Query(description="of a PNG")] = "viridis",
        accept: Annotated[str, Header()] = "application/json",
    ) -> Response:
        found = await endpoint.answer(body)
        return await asyncio.to_thread(_written, found, format or _accepted(accept), encoding, transmitter, colours)

    if PAGE.is_dir():
        app.mount("/page", StaticFiles(directory=PAGE), name="page")

        @app.get("/", include_in_schema=False)
        async def page() -> Response:
            return Response((PAGE / "index.html").read_bytes(), media_type="text/html; charset=utf-8", headers={
                "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; "
                "frame-ancestors 'none'; base-uri 'none'", "x-content-type-options": "nosniff"})  # fmt: skip

    return app


def _accepted(accept: str) -> Format:
    for part in accept.split(","):
        media = part.split(";")[0].strip().lower()
        for name, known in answers.MEDIA.items():
            if media == known:
                return name
        if media in ("*/*", "application/*", ""):
            return "json"
    raise Problem(406, "accept", accept, ", ".join(answers.MEDIA.values()))


def _written(found: Answer, format: Format, encoding: Encoding, transmitter: int, colours: Colours) -> Response:
    headers = {"x-raymap-model": found.about["model"]["version"]}
    if format == "png":
        content, scale = answers.as_png(found, transmitter, colours)
        headers["x-raymap-scale"] = scale
    elif format == "geotiff":
        content = answers.as_geotiff(found, transmitter)
    else:
        content = answers.as_npz(found) if format == "npz" else answers.as_json(found, encoding)
    return Response(content, media_type=answers.MEDIA[format], headers=headers)


def _handle_problems(app: FastAPI) -> None:
    def written(problem: Problem) -> Response:
        return Response(json.dumps(problem.body()), problem.status, media_type="application/problem+json",
                        headers=problem.headers)  # fmt: skip

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return written(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        body = problems.of_validation(error.errors())
        return Response(json.dumps(body), 422, media_type="application/problem+json")

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return written(Problem(error.status_code, "", None, str(error.detail), dict(error.headers or {})))

    @app.exception_handler(BackPressureError)
    async def busy(request: Request, error: BackPressureError) -> Response:
        return written(Problem(503, "", None, "too many requests wait; try again", {"retry-after": "1"}))

    @app.exception_handler(DeploymentUnavailableError)
    @app.exception_handler(RayActorError)
    async def lost(request: Request, error: Exception) -> Response:
        return written(Problem(503, "", None, "a model's process was lost; try again", {"retry-after": "2"}))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        request_id = request.state.request_id
        log.error("request %s failed", request_id, exc_info=error)
        return written(Problem(500, "", None, f"an error of the endpoint, logged as {request_id}"))


@serve.deployment(name="Ingress")
@serve.ingress()
class Ingress:
    """The HTTP side as a deployment."""

    def __init__(self, serving: dict[str, Any], outline: DeploymentHandle, map: DeploymentHandle) -> None:
        self.endpoint = Endpoint(Serving.model_validate(serving), graph.Deployed(outline, map))

    def __serve_build_asgi_app__(self):
        serving = self.endpoint.serving
        return Gate(application(self.endpoint), serving.limits, os.environ.get(TOKEN))


def build(args: dict[str, Any]) -> serve.Application:
    """The application of a :class:`Serving` in plain values; raises ValueError for settings that cannot be."""
    serving = Serving.model_validate(args)
    plain = serving.model_dump(mode="json")
    return Ingress.options(**graph.options(serving.ingress)).bind(
        plain,
        graph.Outline.options(**graph.options(serving.outline)).bind(plain),
        graph.Map.options(**graph.options(serving.map)).bind(plain),
    )
