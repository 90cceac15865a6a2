"""What may be asked of the endpoint, and how it becomes the nouns of the house.

Every number is in the unit that its name says. Nothing in a request names a file or an address: what is not in the
request itself is among the tiles and models that the endpoint lists.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

from raymap.data import footprints, generated
from raymap.data.measurements import Measurements
from raymap.data.place import Place
from raymap.data.vehicles import rasterize
from raymap.evaluation.localization import FLOOR_DB
from raymap.scene import Grid, Scene, Transmitter, Vehicle
from raymap.serving import pixels, tiles
from raymap.serving.limits import Limits
from raymap.serving.problems import Problem

Layer = Literal["gain", "outline", "spread", "best_server", "coverage"]
_Metres = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Cell = Annotated[float, Field(ge=0.05, le=1000, allow_inf_nan=False)]
_MAX_TOWN_M = 4096.0
_ItemT = TypeVar("_ItemT")
#: JSON has lists for what is a tuple here.
_Pair = Annotated[tuple[_ItemT, _ItemT], Strict(False)]


class Ask(BaseModel):
    """Base of all parts of a request: no field that is not known, no text or truth value for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Raster(Ask):
    """Buildings as an array of heights."""

    kind: Literal["raster"]
    heights_m: list[list[Annotated[float, Field(ge=0, le=2000, allow_inf_nan=False)]]] = Field(
        description="rows from the north, height above ground [m]; 0 is outdoors"
    )
    cell_m: _Cell = Field(description="side of a cell [m]")


class Picture(Ask):
    """Buildings as a grey picture: black is outdoors, white as high as ``height_m``, grey in proportion."""

    kind: Literal["png"]
    png_base64: str = Field(description="a PNG file, base64; colours are turned to grey, transparency is outdoors")
    cell_m: _Cell = Field(description="side of a pixel [m]")
    height_m: _Positive = Field(20.0, le=2000, description="height of white [m]")


class Footprints(Ask):
    """Buildings as GeoJSON polygons in longitude and latitude, with "height" or "building:levels" where known."""

    kind: Literal["geojson"]
    geojson: dict[str, Any] = Field(description="a FeatureCollection, Feature or geometry")
    cell_m: _Cell = Field(4.0, description="side of a cell [m]")
    shape: _Pair[Annotated[int, Field(ge=1)]] | None = Field(
        None, description="rows and columns; default: what covers all buildings"
    )
    centre_lonlat: _Pair[_Metres] | None = Field(None, description="middle of the map [deg]; needs the shape")
    default_height_m: _Positive = Field(10.0, le=2000, description="of buildings without a height [m]")


class Tile(Ask):
    """A block of a city by its name; ``GET /v1/tiles`` lists them."""

    kind: Literal["tile"]
    name: str


class Town(Ask):
    """A generated town."""

    kind: Literal["town"]
    seed: int = Field(ge=0, lt=2**31)
    shape: _Pair[Annotated[int, Field(ge=16, le=1024)]] = (64, 64)
    cell_m: _Cell = 4.0


Area = Annotated[Raster | Picture | Footprints | Tile | Town, Field(discriminator="kind")]


class Position(Ask):
    """Where something is: ``x_m``, ``y_m`` from the map's top left corner, or ``lonlat`` where the area has a place on
    Earth."""

    x_m: _Metres | None = Field(None, description="metres to the east of the map's left edge")
    y_m: _Metres | None = Field(None, description="metres to the south of the map's top edge")
    lonlat: _Pair[_Metres] | None = Field(None, description="longitude and latitude [deg]")

    @model_validator(mode="after")
    def _one_of_two(self) -> Position:
        by_metres = self.x_m is not None and self.y_m is not None
        if by_metres == (self.lonlat is not None) or (self.x_m is None) != (self.y_m is None):
            raise ValueError("a position is x_m and y_m, or lonlat")
        return self


class Antenna(Position):
    """A base station."""

    height_m: _Positive = Field(1.5, le=2000, description="above ground [m]")
    power_dbm: _Metres = Field(23.0, ge=-100, le=100, description="transmit power [dBm]")


class Box(Position):
    """A vehicle: an upright box."""

    heading_deg: _Metres = Field(0.0, description="direction of its length, from east to south [deg]")
    length_m: _Positive = Field(4.5, le=100)
    width_m: _Positive = Field(1.8, le=100)
    height_m: _Positive = Field(1.5, le=100)


class Measured(Position):
    """What somebody measured: the path gain from one of the transmitters."""

    transmitter: int = Field(0, ge=0, description="which transmitter, counted from 0")
    gain_db: float = Field(ge=-250, le=0, allow_inf_nan=False, description="path gain, at most 0 [dB]")


class Drawing(Ask):
    """What is drawn: maps of every transmitter of an area."""

    area: Area
    transmitters: list[Antenna] = Field(min_length=1)
    vehicles: list[Box] = []
    measurements: list[Measured] = []
    frequency_hz: _Positive | None = Field(
        None, description="carrier [Hz], if the model was trained for it; default: the model's"
    )
    model: str | None = Field(None, description="GET /v1/models lists them; default: the first")
    seed: int = Field(0, ge=0, lt=2**31, description="the same seed draws the same map")
    steps: int | None = Field(None, ge=1, le=100, description="network calls per stage; default: the model's number")
    ensemble: int = Field(1, ge=1, le=64, description="maps drawn per transmitter; their mean is answered")

    @model_validator(mode="after")
    def _measured_of_somebody(self) -> Drawing:
        for measured in self.measurements:
            if measured.transmitter >= len(self.transmitters):
                raise ValueError(
                    f"a measurement names transmitter {measured.transmitter}, there are {len(self.transmitters)}"
                )
        return self


class MapRequest(Drawing):
    """A radio map of every transmitter of an area."""

    layers: list[Layer] = Field(["gain"], min_length=1, description="what is answered")
    threshold_dbm: _Metres = Field(-90.0, description="received power from which a cell is covered [dBm]")

    @model_validator(mode="after")
    def _spread_of_several(self) -> MapRequest:
        if "spread" in self.layers and self.ensemble < 2:
            raise ValueError("the spread needs an ensemble of at least 2")
        return self


class LocateRequest(Drawing):
    """Where receivers are that hear the transmitters so and so strongly."""

    readings_dbm: list[list[Annotated[float, Field(allow_inf_nan=False)]]] = Field(
        min_length=1, max_length=10_000, description="received power from every transmitter, a row a receiver [dBm]"
    )
    num_neighbours: int = Field(5, ge=1, le=1000, description="cells that a position is the mean of")
    floor_db: float = Field(
        FLOOR_DB,
        allow_inf_nan=False,
        description="path gain at the receiver's noise; weaker ones are taken for it [dB]",
    )

    @model_validator(mode="after")
    def _one_per_transmitter(self) -> LocateRequest:
        for number, row in enumerate(self.readings_dbm):
            if len(row) != len(self.transmitters):
                raise ValueError(
                    f"readings_dbm.{number} has {len(row)} numbers, there are {len(self.transmitters)} transmitters"
                )
        return self


class AreaRequest(Ask):
    """The buildings of an area."""

    area: Area


class Task(BaseModel):
    """A request as the nouns of the house."""

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    scene: Scene
    place: Place | None
    transmitters: list[Transmitter]
    measurements: list[Measurements] | None
    notes: list[str]


def understood(request: Drawing, limits: Limits, frequency_hz: float) -> Task:
    """The request with its area painted and every position checked. ``frequency_hz``: the model's carrier.

    Raises Problem (422) naming the field for what cannot be, (413) for what is too much.
    """
    _require_few("transmitters", len(request.transmitters), limits.max_transmitters)
    _require_few("vehicles", len(request.vehicles), limits.max_vehicles)
    _require_few("measurements", len(request.measurements), limits.max_measurements)
    _require_few("ensemble", len(request.transmitters) * request.ensemble, limits.max_maps, "maps are drawn")
    scene, place, notes = painted(request.area, limits, frequency_hz)
    vehicles = [
        Vehicle(_xy_m(box, place, f"vehicles.{number}"), math.radians(box.heading_deg),
                (box.length_m, box.width_m, box.height_m))
        for number, box in enumerate(request.vehicles)
    ]  # fmt: skip
    if vehicles:
        scene = Scene(scene.name, scene.grid, scene.building_m, np.where(
            scene.outdoor, rasterize(vehicles, scene.grid), 0), scene.frequency_hz)  # fmt: skip
    transmitters = []
    for number, antenna in enumerate(request.transmitters):
        where = f"transmitters.{number}"
        xy_m = _xy_m(antenna, place, where)
        _require_outdoors(where, xy_m, scene)
        transmitters.append(Transmitter((*xy_m, antenna.height_m), antenna.power_dbm))
    return Task(scene=scene, place=place, transmitters=transmitters, notes=notes,
                measurements=_measurements(request, scene, place))  # fmt: skip


def painted(area: Area, limits: Limits, frequency_hz: float) -> tuple[Scene, Place | None, list[str]]:
    """The buildings, where on Earth they lie if that is known, and what a caller should know of them.

    Raises Problem as :func:`understood`.
    """
    if isinstance(area, Tile):
        return tiles.scene(area.name, frequency_hz), None, []
    if isinstance(area, Footprints):
        return _footprints(area, limits, frequency_hz)
    if isinstance(area, Town):
        _require_cells("area.shape", area.shape, limits)
        if max(area.shape) * area.cell_m > _MAX_TOWN_M:
            raise Problem(422, "area.town.cell_m", area.cell_m, f"a town of at most {_MAX_TOWN_M:,g} m a side")
        return generated.city(area.seed, Grid(area.shape, area.cell_m)), None, []
    if isinstance(area, Picture):
        heights_m = pixels.heights_m(area.png_base64, area.height_m, limits.max_cells)
    else:
        lengths = {len(row) for row in area.heights_m}
        if len(lengths) != 1 or not min(lengths):
            raise Problem(422, "area.heights_m", sorted(lengths), "rows of one length, at least one cell")
        _require_cells("area.heights_m", (len(area.heights_m), *lengths), limits)
        heights_m = np.array(area.heights_m, np.float32)
    return Scene("area", Grid(heights_m.shape, area.cell_m), heights_m, frequency_hz=frequency_hz), None, []


def _footprints(area: Footprints, limits: Limits, frequency_hz: float) -> tuple[Scene, Place, list[str]]:
    if area.shape:
        _require_cells("area.shape", area.shape, limits)
    try:
        town = footprints.read(
            area.geojson, cell_m=area.cell_m, shape=area.shape, centre_lonlat=area.centre_lonlat,
            default_height_m=area.default_height_m, frequency_hz=frequency_hz, max_cells=limits.max_cells,
        )  # fmt: skip
    except ValueError as error:
        raise Problem(422, "area.geojson", area.geojson, str(error)) from error
    notes = [f"{failure.what}: {failure.reason}" for failure in town.failures[:20]]
    if town.num_default_heights:
        notes.append(f"{town.num_default_heights} buildings have no height and got {area.default_height_m:g} m")
    return town.scene, town, notes


def _xy_m(position: Position, place: Place | None, where: str) -> tuple[float, float]:
    if position.lonlat is None:
        return position.x_m, position.y_m
    if place is None:
        raise Problem(422, f"{where}.lonlat", position.lonlat, "x_m and y_m: this area has no place on Earth")
    x_m, y_m = place.xy_m(position.lonlat).tolist()
    if not math.isfinite(x_m + y_m):
        raise Problem(422, f"{where}.lonlat", position.lonlat, "a place near the area")
    return x_m, y_m


def _measurements(request: Drawing, scene: Scene, place: Place | None) -> list[Measurements] | None:
    """One set per transmitter, None without any."""
    if not request.measurements:
        return None
    found: list[tuple[list, list]] = [([], []) for _ in request.transmitters]
    for number, measured in enumerate(request.measurements):
        xy_m = _xy_m(measured, place, f"measurements.{number}")
        _require_outdoors(f"measurements.{number}", xy_m, scene)
        found[measured.transmitter][0].append(xy_m)
        found[measured.transmitter][1].append(measured.gain_db)
    return [Measurements(np.array(xy_m).reshape(-1, 2), np.array(gain_db)) for xy_m, gain_db in found]


def _require_outdoors(field: str, xy_m: tuple[float, float], scene: Scene) -> None:
    height_m, width_m = scene.grid.size_m
    row, column = (math.floor(length_m / scene.grid.cell_m) for length_m in xy_m[::-1])
    if not (0 <= row < scene.grid.shape[0] and 0 <= column < scene.grid.shape[1]):
        raise Problem(422, field, list(xy_m), f"a place on the map, 0 to {width_m:g} m by 0 to {height_m:g} m")
    if not scene.outdoor[row, column]:
        raise Problem(422, field, list(xy_m), f"a place outdoors; a building of {scene.building_m[row, column]:g} m "
                      "stands there")  # fmt: skip


def _require_few(field: str, number: int, most: int, what: str = "are given") -> None:
    if number > most:
        raise Problem(413, field, number, f"at most {most}: {number} {what}")


def _require_cells(field: str, shape: tuple[int, ...], limits: Limits) -> None:
    if math.prod(shape) > limits.max_cells:
        raise Problem(413, field, list(shape), f"at most {limits.max_cells:,} cells")
