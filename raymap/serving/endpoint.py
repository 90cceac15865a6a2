"""What answers requests, whatever carries them."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
from ray.exceptions import RayTaskError

from raymap.evaluation import localization
from raymap.scene import Grid, Scene
from raymap.serving import answers, ask, drawing, paths
from raymap.serving.answers import Answer, Drawn
from raymap.serving.ask import AreaRequest, Drawing, LocateRequest, MapRequest, Task
from raymap.serving.followed import Followed, Graph, Model
from raymap.serving.paths import PathsRequest
from raymap.serving.problems import Problem
from raymap.serving.settings import Serving

#: Told the share that is done.
Told = Callable[[float], None]


class Endpoint:
    """The models of an endpoint, and what is asked of them."""

    def __init__(self, serving: Serving, graph: Graph) -> None:
        self.serving, self.graph = serving, graph
        self.models = Followed(serving, graph)
        self._under_way = 0

    async def maps(self, request: MapRequest, told: Told | None = None) -> Answer:
        """The layers that are asked for. ``told``: makes it a job, which may be long. Raises Problem for what cannot
        be."""
        begun = time.perf_counter()
        task, model, drawn = await self._drawn(request, told)
        seconds = time.perf_counter() - begun
        return await asyncio.to_thread(answers.answer, request, task, drawn, model.listed, seconds)

    async def area(self, request: AreaRequest) -> dict[str, object]:
        """The buildings of an area as an array. Raises Problem for what cannot be."""
        carrier = self.serving.models[0].frequency_hz
        scene, place, notes = await asyncio.to_thread(ask.painted, request.area, self.serving.limits, carrier)
        found: dict[str, object] = {
            "shape": list(scene.grid.shape), "cell_m": scene.grid.cell_m, "notes": notes,
            "heights_m": np.round(scene.building_m.astype(np.float64), 2).tolist(),
        }  # fmt: skip
        if place is not None:
            found["corner_lonlat"] = place.lonlat((0.0, 0.0)).tolist()
        return found

    async def locate(self, request: LocateRequest) -> dict[str, object]:
        """Where the receivers are, by the nearest fingerprints of the maps. Raises Problem for what cannot be."""
        task, model, drawn = await self._drawn(request, None)
        powers_dbm = [transmitter.power_dbm for transmitter in task.transmitters]
        try:
            found_m = await asyncio.to_thread(
                localization.find, drawn.gain_db, np.array(request.readings_dbm) - powers_dbm, task.scene.outdoor,
                task.scene.grid.cell_m, num_neighbours=request.num_neighbours, floor_db=request.floor_db,
            )  # fmt: skip
        except ValueError as error:
            raise Problem(422, "num_neighbours", request.num_neighbours, str(error)) from error
        positions = [{"x_m": round(x_m, 3), "y_m": round(y_m, 3)} for x_m, y_m in found_m.tolist()]
        if task.place is not None:
            for position, lonlat in zip(positions, task.place.lonlat(found_m).tolist(), strict=True):
                position["lonlat"] = lonlat
        return {"model": model.listed, "positions": positions, "notes": task.notes}

    async def paths(self, request: PathsRequest) -> dict[str, object]:
        """The paths at receivers. Raises Problem for what cannot be."""
        await self.models.looked.wait()
        limits, (name, source) = self.serving.limits, self.models.path_model(request.model)
        with self._admission():
            measured = await asyncio.to_thread(paths.table, request, limits)
            receivers_m = np.array(request.receivers_m, np.float64)
            try:
                found, notes = await self.graph.complete(source, measured, receivers_m)
            except (RayTaskError, ValueError) as error:
                raise _refused_by_model(error) from error
            receivers = await asyncio.to_thread(paths.answer, request, found, limits.max_taps)
        return {"model": {"name": name, "version": source}, "receivers": receivers, "notes": notes}

    async def _drawn(self, request: Drawing, told: Told | None) -> tuple[Task, Model, Drawn]:
        with self._admission():
            return await self._admitted(request, told)

    @contextlib.contextmanager
    def _admission(self) -> Iterator[None]:
        if self._under_way >= self.serving.limits.max_requests:
            allowed = f"{self._under_way} requests are under way, no more are taken"
            raise Problem(503, "", None, allowed, {"retry-after": "1"})
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def _admitted(self, request: Drawing, told: Told | None) -> tuple[Task, Model, Drawn]:
        await self.models.looked.wait()
        model = self.models.named(request.model)
        carrier = self._frequency_hz(request, model)
        task = await asyncio.to_thread(ask.understood, request, self.serving.limits, carrier)
        task = _on_cells_of(model, task)
        most = self.serving.limits.max_cells_at_once
        cells = task.scene.building_m.size * len(task.transmitters) * request.ensemble
        if told is None and cells > most:
            raise Problem(
                413, "", cells, f"{cells:,} cells over all maps are more than {most:,}; ask for them as a job"
            )

        async def draw(item):
            return await self.graph.draw(item, model.told["two_stages"])

        try:
            return task, model, await drawing.drawn(request, task, model.pinned, model.about, draw, told)
        except (RayTaskError, ValueError) as error:
            raise _refused_by_model(error) from error

    def _frequency_hz(self, request: Drawing, model: Model) -> float:
        own = model.served.frequency_hz
        if request.frequency_hz is not None and abs(request.frequency_hz - own) > 1e-3 * own:
            raise Problem(422, "frequency_hz", request.frequency_hz, f"{own:g}, which {model.served.name} knows")
        return own


def _on_cells_of(model: Model, task: Task) -> Task:
    """The area on cells that the model takes; finer ones are joined."""
    own_m, cell_m = model.told["cell_m"], task.scene.grid.cell_m
    if own_m is None or model.told["reads_cell_size"] or math.isclose(own_m, cell_m, rel_tol=1e-3):
        return task
    factor = round(own_m / cell_m)
    if factor < 2 or not math.isclose(factor * cell_m, own_m, rel_tol=1e-3):
        allowed = f"{own_m:g} m, which {model.served.name} was trained on, or a whole fraction of it"
        raise Problem(422, "area.cell_m", cell_m, allowed)
    rows, columns = (size // factor * factor for size in task.scene.grid.shape)
    if not rows or not columns:
        least = f"at least {factor} x {factor} cells of {cell_m:g} m"
        raise Problem(422, "area", list(task.scene.grid.shape), least)
    scene = task.scene
    grid = Grid((rows, columns), cell_m, scene.grid.origin_m)
    scene = Scene(
        scene.name, grid, scene.building_m[:rows, :columns], scene.vehicle_m[:rows, :columns], scene.frequency_hz
    ).coarsen(factor)
    for number, transmitter in enumerate(task.transmitters):
        try:
            scene.require_outdoor(transmitter)
        except ValueError as error:
            where = list(transmitter.xyz_m[:2])
            raise Problem(422, f"transmitters.{number}", where, f"{error} on cells of {own_m:g} m") from error
    note = f"cells of {cell_m:g} m were joined to {own_m:g} m, which the model was trained on"
    return task.model_copy(update={"scene": scene, "notes": [*task.notes, note]})


def _refused_by_model(error: Exception) -> Exception:
    cause = getattr(error, "cause", error)
    return Problem(422, "", None, str(cause)) if isinstance(cause, ValueError) else error
