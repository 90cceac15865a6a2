"""Multipath at receivers, told from paths that were measured at others: what is asked, and what is answered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, Strict

import raymap
from raymap import units
from raymap.data.path_table import UNKNOWN_KIND, PathTable
from raymap.evaluation import path_maps, point_channel
from raymap.models.path_predictor import PathPredictor
from raymap.recipes.asked_paths import AskedPaths
from raymap.runtime.path_maps import complete
from raymap.scene import PathKind
from raymap.serving.ask import Ask
from raymap.serving.limits import Limits
from raymap.serving.problems import Problem

#: Before the name of a method that learns nothing, in place of what ``raymap.load`` takes.
METHOD = "method:"
#: Paths of a receiver that can be told, and that are told by a method that takes any number.
MOST_PATHS, _NUM_PATHS = 32, 5
#: Positions lie within so much of the frame's origin: farther out, a metre is lost in the digits of a float32.
_FARTHEST_M = 1e6
_Metres = Annotated[float, Field(ge=-_FARTHEST_M, le=_FARTHEST_M, allow_inf_nan=False)]
_Point = Annotated[tuple[_Metres, _Metres, _Metres], Strict(False)]
_KINDS = {kind.name.lower(): kind for kind in PathKind}
Kind = Literal["line_of_sight", "reflection", "scattering", "diffraction", "transmission"]
#: Name in JSON -> which number of a path it is, and how much of ours one of it is.
_UNITS = {"power_db": 1.0, "delay_ns": units.SECONDS["ns"], "zenith_deg": units.RADIANS["deg"],
          "azimuth_deg": units.RADIANS["deg"]}  # fmt: skip


class MeasuredPath(Ask):
    """A path that arrives at a receiver; what is left out is not known."""

    power_db: float | None = Field(None, ge=-400, le=0, allow_inf_nan=False, description="path gain [dB]")
    delay_ns: float | None = Field(None, ge=0, le=1e6, allow_inf_nan=False)
    zenith_deg: float | None = Field(None, ge=0, le=180, allow_inf_nan=False, description="it comes from, 0: above")
    azimuth_deg: float | None = Field(
        None, ge=-180, le=180, allow_inf_nan=False, description="it comes from, from +x towards +y"
    )
    kind: Kind | None = None


class MeasuredReceiver(Ask):
    """A place where paths were measured, perhaps none."""

    position_m: _Point
    paths: list[MeasuredPath] = Field(max_length=MOST_PATHS)


class PathsRequest(Ask):
    """The paths at receivers."""

    transmitter_m: _Point = Field(description="x, y, z [m]; all positions are in one frame")
    frequency_hz: float = Field(gt=0, le=1e13, allow_inf_nan=False, description="carrier [Hz]")
    measured: list[MeasuredReceiver] = Field(min_length=1)
    receivers_m: list[_Point] = Field(min_length=1, description="where paths are asked for: x, y, z [m]")
    model: str | None = Field(None, description="GET /v1/models lists them; default: the first that answers paths")
    bandwidth_hz: float | None = Field(
        None, ge=1, allow_inf_nan=False, description="with it, the impulse response in that band at every receiver [Hz]"
    )


def loaded(source: str, tracking_uri: str | None) -> PathPredictor:
    """A model of paths by what ``raymap.load`` takes, or ``method:NAME`` of a method that learns nothing.

    Raises ValueError for a model that tells no paths and a method that must learn or is unknown.
    """
    if source.startswith(METHOD):
        return AskedPaths(method=source.removeprefix(METHOD)).built()[1]
    model = raymap.load(source, tracking_uri=tracking_uri)
    if not isinstance(model, PathPredictor):
        raise ValueError(f"{source} is a model of kind {model.config.kind!r}, which tells no paths")
    return model


def table(request: PathsRequest, limits: Limits) -> PathTable:
    """What was measured. Raises Problem (413) for more receivers than ``limits`` allow, (422) for what cannot be."""
    for field, most in (("measured", limits.max_measurements), ("receivers_m", limits.max_receivers)):
        num = len(getattr(request, field))
        if num > most:
            raise Problem(413, field, f"{num:,} receivers", f"at most {most:,}")
    most = max(_NUM_PATHS, *(len(receiver.paths) for receiver in request.measured))
    shape = (len(request.measured), most)
    values, kind = np.full((*shape, len(_UNITS)), np.nan), np.full(shape, UNKNOWN_KIND, np.int8)
    valid = np.zeros(shape, bool)
    for row, receiver in enumerate(request.measured):
        # Strongest first; those of unknown power behind.
        paths = sorted(receiver.paths, key=lambda path: np.inf if path.power_db is None else -path.power_db)
        for rank, path in enumerate(paths):
            told = [getattr(path, name) for name in _UNITS]
            values[row, rank] = [np.nan if number is None else number for number in told]
            kind[row, rank] = UNKNOWN_KIND if path.kind is None else _KINDS[path.kind]
            valid[row, rank] = True
    positions_m = np.array([receiver.position_m for receiver in request.measured])
    empty = PathTable.empty(request.transmitter_m, request.frequency_hz, most)
    return PathTable.from_values(empty, positions_m, values * list(_UNITS.values()), kind=kind, valid=valid)


def completed(model: PathPredictor, measured: PathTable, receivers_m: np.ndarray) -> tuple[PathTable, list[str]]:
    """The paths at ``receivers_m`` (N, 3), and what whoever asked should know. Raises ValueError as the model."""
    notes, room = [], getattr(model.config, "num_paths", measured.num_paths)
    if measured.num_paths > room and measured.valid[:, room:].any():
        more = int(measured.valid[:, room:].any(axis=1).sum())
        notes.append(f"the model tells {room} paths; of {more} measured receivers only the strongest {room} are used")
    return complete(model, _with_room(measured, room), receivers_m), notes


def _with_room(measured: PathTable, room: int) -> PathTable:
    """With room for so many paths, the strongest."""

    def fitted(array: np.ndarray, blank: float) -> np.ndarray:
        missing = [(0, 0)] * array.ndim
        missing[1] = (0, max(0, room - array.shape[1]))
        return np.pad(array[:, :room], missing, constant_values=blank)

    return PathTable.from_values(
        measured, measured.receivers_m, fitted(measured.values, np.nan), kind=fitted(measured.kind, UNKNOWN_KIND),
        valid=fitted(measured.valid, False),
    )  # fmt: skip


def answer(request: PathsRequest, found: PathTable, most_taps: int) -> list[dict[str, Any]]:
    """Every receiver with its paths, and what they come to. Raises Problem (413) for more taps than ``most_taps``
    over all receivers, (422) for a band that cannot be."""
    known, maps, left = found.values / np.array([*_UNITS.values()], np.float32), path_maps.maps(found), most_taps
    receivers = []
    for row in range(len(found)):
        paths = [
            {**{name: _number(known[row, rank, at]) for at, name in enumerate(_UNITS)},
             "kind": _named(found.kind[row, rank])}
            for rank in np.flatnonzero(found.valid[row])
        ]  # fmt: skip
        told: dict[str, Any] = {
            "position_m": found.receivers_m[row].tolist(), "paths": paths,
            "power_db": _number(maps["power_db"][row]),
            "delay_spread_ns": _number(maps["delay_spread_s"][row] / units.SECONDS["ns"]),
        }  # fmt: skip
        if request.bandwidth_hz is not None:
            told["impulse_response"] = response = _impulse_response(found.take(np.array([row])), request.bandwidth_hz)
            left -= len(response["delay_ns"]) if response else 0
            if left < 0:
                allowed = f"impulse responses of at most {most_taps:,} taps over all receivers"
                raise Problem(413, "bandwidth_hz", request.bandwidth_hz, allowed)
        receivers.append(told)
    return receivers


def _impulse_response(point: PathTable, bandwidth_hz: float) -> dict[str, list[float]] | None:
    """None where no path arrives."""
    if not (point.valid & np.isfinite(point.values).all(-1)).any():
        return None
    try:
        taps = point_channel.impulse_response(point, bandwidth_hz)
    except ValueError as error:
        raise Problem(422, "bandwidth_hz", bandwidth_hz, str(error)) from error
    return {"delay_ns": (taps["delay_s"] / units.SECONDS["ns"]).round(6).tolist(),
            "real": taps["real"].tolist(), "imag": taps["imag"].tolist()}  # fmt: skip


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _named(kind: int) -> str | None:
    return None if kind == UNKNOWN_KIND else PathKind(kind).name.lower()
