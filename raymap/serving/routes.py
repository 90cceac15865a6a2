"""The HTTP side of an endpoint: ``/v1`` for programs, ``/`` for people."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from starlette.exceptions import HTTPException

from raymap.serving import answers, problems, tiles
from raymap.serving.answers import Answer, Colours, Encoding, Format
from raymap.serving.ask import AreaRequest, LocateRequest, MapRequest
from raymap.serving.endpoint import Endpoint
from raymap.serving.examples import EXAMPLES, PATHS_EXAMPLES
from raymap.serving.jobs import Jobs
from raymap.serving.paths import PathsRequest
from raymap.serving.problems import Problem

PAGE = Path(__file__).with_name("page")
#: What is asked of an answer beside its content.
FormatQuery = Annotated[Format | None, Query(description="how it is answered; default: what Accept names")]
EncodingQuery = Annotated[Encoding, Query(description="layers in JSON: nested lists, or base64 of bytes")]
NumberQuery = Annotated[int, Query(ge=0, description="whose map a PNG or GeoTIFF holds")]
ColoursQuery = Annotated[Colours, Query(description="of a PNG")]
MAPS = {200: {"content": {media: {} for media in answers.MEDIA.values()}}}
log = logging.getLogger("raymap.serving")


def application(endpoint: Endpoint, jobs: Jobs) -> FastAPI:
    """The HTTP side of an endpoint and its jobs."""
    serving = endpoint.serving

    @contextlib.asynccontextmanager
    async def looked_after(app: FastAPI):
        following = asyncio.create_task(endpoint.models.follow())
        yield
        following.cancel()

    app = FastAPI(
        title="raymap", version="1", docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json",
        lifespan=looked_after, responses=problems.RESPONSES,
        description="Radio maps: path gain of base stations over a city block, drawn by trained models.",
    )  # fmt: skip
    if serving.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(serving.cors_origins), allow_methods=["GET", "POST"],
                           allow_headers=["authorization", "content-type", "x-request-id"])  # fmt: skip
    _handle_problems(app)
    _describe_problems(app)
    _operation_routes(app, endpoint)
    _map_routes(app, endpoint)
    _job_routes(app, jobs)
    if PAGE.is_dir():
        _page_routes(app)
    return app


def _operation_routes(app: FastAPI, endpoint: Endpoint) -> None:
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


def _map_routes(app: FastAPI, endpoint: Endpoint) -> None:
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

    @app.post("/v1/maps", tags=["maps"], summary="Draw radio maps", response_class=Response, responses=MAPS)
    async def maps(
        body: Annotated[MapRequest, Body(openapi_examples=EXAMPLES)], format: FormatQuery = None,
        encoding: EncodingQuery = "lists", transmitter: NumberQuery = 0, colours: ColoursQuery = "viridis",
        accept: Annotated[str, Header()] = "application/json",
    ) -> Response:  # fmt: skip
        found = await endpoint.maps(body)
        return await asyncio.to_thread(_written, found, format or _accepted(accept), encoding, transmitter, colours)

    @app.post("/v1/areas", tags=["maps"], summary="The buildings of an area as an array")
    async def areas(body: AreaRequest) -> dict[str, Any]:
        return await endpoint.area(body)

    @app.post("/v1/locate", tags=["maps"], summary="Find receivers by what they hear")
    async def locate(body: LocateRequest) -> dict[str, Any]:
        return await endpoint.locate(body)

    @app.post("/v1/paths", tags=["paths"], summary="Tell the paths at receivers from those measured at others")
    async def tell_paths(body: Annotated[PathsRequest, Body(openapi_examples=PATHS_EXAMPLES)]) -> dict[str, Any]:
        return await endpoint.paths(body)


def _job_routes(app: FastAPI, jobs: Jobs) -> None:
    @app.post("/v1/jobs", tags=["jobs"], summary="Draw radio maps that take long", status_code=202)
    async def submit(body: Annotated[MapRequest, Body(openapi_examples=EXAMPLES)]) -> JSONResponse:
        job = await jobs.submit(body)
        return JSONResponse(job, 202, headers={"location": f"/v1/jobs/{job['id']}"})

    @app.get("/v1/jobs/{id}", tags=["jobs"], summary="How far a job is")
    async def status(id: str) -> dict[str, Any]:
        return await jobs.status(id)

    @app.delete("/v1/jobs/{id}", tags=["jobs"], summary="End a job and forget it")
    async def cancel(id: str) -> dict[str, Any]:
        return await jobs.cancel(id)

    @app.get("/v1/jobs/{id}/answer", tags=["jobs"], summary="What a job has drawn", response_class=Response,
             responses=MAPS)  # fmt: skip
    async def job_answer(
        id: str, format: FormatQuery = None, encoding: EncodingQuery = "lists", transmitter: NumberQuery = 0,
        colours: ColoursQuery = "viridis", accept: Annotated[str, Header()] = "application/json",
    ) -> Response:  # fmt: skip
        found = await jobs.answer(id)
        return await asyncio.to_thread(_written, found, format or _accepted(accept), encoding, transmitter, colours)


def _page_routes(app: FastAPI) -> None:
    app.mount("/page", StaticFiles(directory=PAGE), name="page")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response((PAGE / "icon.svg").read_bytes(), media_type="image/svg+xml")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response((PAGE / "index.html").read_bytes(), media_type="text/html; charset=utf-8", headers={
            "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; "
            "frame-ancestors 'none'; base-uri 'none'", "x-content-type-options": "nosniff"})  # fmt: skip


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


def _describe_problems(app: FastAPI) -> None:
    """Put the form of problems into the API's description, where every answer that is one refers to it."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        schema = described()
        form = problems.Details.model_json_schema(ref_template="#/components/schemas/{model}")
        schema["components"]["schemas"] |= {**form.pop("$defs"), "Details": form}
        return schema

    app.openapi = openapi


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
