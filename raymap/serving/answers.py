"""Answers: the layers that were asked for, and how they are written as JSON, PNG, NumPy and GeoTIFF."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from raymap import units
from raymap.data import geotiff
from raymap.data.place import Place
from raymap.scene import RadioMap, Scene, Transmitter
from raymap.serving import coverage
from raymap.serving.ask import MapRequest, Task
from raymap.serving.problems import Problem

Format = Literal["json", "png", "npz", "geotiff"]
Encoding = Literal["lists", "base64"]
Colours = Literal["viridis", "cividis", "grey"]
MEDIA: dict[str, str] = {
    "json": "application/json", "png": "image/png", "npz": "application/x-npz", "geotiff": "image/tiff",
}  # fmt: skip
#: Ends of the colour scale of each layer, and its unit. Gains are drawn from the floor of the field's grey levels up.
SCALES: dict[str, tuple[float, float, str]] = {
    "gain": (units.GAIN_FLOOR_DB, units.GAIN_CEILING_DB, "dB"), "outline": (0.0, 1.0, ""), "spread": (0.0, 10.0, "dB"),
}  # fmt: skip
_NAMES = {"gain": "gain_db", "outline": "outline", "spread": "spread_db"}


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the models drew of N transmitters: ``gain_db`` (N, H, W) [dB], and where asked for and there, ``outline``
    [0, 1] and ``spread_db`` [dB], likewise."""

    gain_db: np.ndarray
    outline: np.ndarray | None = None
    spread_db: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """``layers``: name -> array; ``about``: everything else, as JSON has it."""

    layers: dict[str, np.ndarray]
    about: dict[str, Any]
    scene: Scene
    place: Place | None
    transmitters: list[Transmitter]


def answer(request: MapRequest, task: Task, drawn: Drawn, model: Mapping[str, Any], seconds: float) -> Answer:
    """Choose and derive what was asked for. ``model``: what is told of the model. Raises Problem (422) for a layer
    that this model does not draw."""
    outdoor = task.scene.outdoor
    layers: dict[str, np.ndarray] = {}
    given = {"gain": drawn.gain_db, "outline": drawn.outline, "spread": drawn.spread_db}
    for layer in request.layers:
        if layer in _NAMES:
            if given[layer] is None:
                raise Problem(422, "layers", layer, f"a layer that {model['name']} draws")
            values = np.asarray(given[layer], np.float32)
            layers[_NAMES[layer]] = values if layer == "outline" else np.where(outdoor, values, np.float32(np.nan))
    about: dict[str, Any] = {
        "model": dict(model), "seed": request.seed, "steps": request.steps, "ensemble": request.ensemble,
        "shape": list(task.scene.grid.shape), "cell_m": task.scene.grid.cell_m,
        "frequency_hz": task.scene.frequency_hz, "notes": task.notes,
        "quantity": "path gain [dB]: received minus transmitted power between isotropic antennas; null indoors",
        "seconds": round(seconds, 4),
    }  # fmt: skip
    if {"best_server", "coverage"} & set(request.layers):
        powers = [transmitter.power_dbm for transmitter in task.transmitters]
        found = coverage.of(drawn.gain_db, powers, outdoor, request.threshold_dbm)
        if "best_server" in request.layers:
            layers |= {"best_server": found.best_server}
        if "coverage" in request.layers:
            layers |= {"received_dbm": np.where(outdoor, found.received_dbm, np.float32(np.nan)),
                       "covered": found.covered}  # fmt: skip
        about["coverage"] = found.statistics
    return Answer(layers, about, task.scene, task.place, task.transmitters)


def as_json(found: Answer, encoding: Encoding = "lists") -> bytes:
    """Layers as nested lists, numbers to 0.01 and null for none; or, "base64", as {"dtype", "shape", "base64"}."""
    write = _packed if encoding == "base64" else _listed
    layers = {name: write(values) for name, values in found.layers.items()}
    return json.dumps({**found.about, "layers": layers}, allow_nan=False).encode()


def _packed(values: np.ndarray) -> dict[str, Any]:
    # Little-endian, as every browser reads it.
    values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
    name = "uint8" if values.dtype == bool else values.dtype.name
    return {"dtype": name, "shape": list(values.shape), "base64": base64.b64encode(values.tobytes()).decode()}


def _listed(values: np.ndarray) -> list:
    if values.dtype.kind != "f":
        return values.tolist()
    rounded = np.round(values.astype(np.float64), 2)
    return np.where(np.isfinite(rounded), rounded, None).tolist()


def as_npz(found: Answer) -> bytes:
    """All layers, and ``about`` as JSON text."""
    with io.BytesIO() as file:
        np.savez_compressed(file, about=json.dumps(found.about), building_m=found.scene.building_m, **found.layers)
        return file.getvalue()


def as_png(found: Answer, transmitter: int, colours: Colours) -> tuple[bytes, str]:
    """The first layer of one transmitter, a pixel a cell, and what its colours mean; buildings are transparent.

    Raises Problem (422) for a transmitter that there is not.
    """
    from PIL import Image, PngImagePlugin

    name, values = next(iter(found.layers.items()))
    if values.ndim == 3:
        if not 0 <= transmitter < len(values):
            raise Problem(422, "transmitter", transmitter, f"0 to {len(values) - 1}")
        values = values[transmitter]
    low, high, unit = _scale(name, values)
    share = np.clip((values.astype(np.float32) - low) / (high - low), 0, 1)
    pixels = _coloured(np.nan_to_num(share), colours)
    pixels[~found.scene.outdoor, 3] = 0
    text = f"{name}, {colours} from {low:g} to {high:g} {unit}".strip()
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Description", text)
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "PNG", pnginfo=notes)
        return file.getvalue(), text


def _scale(name: str, values: np.ndarray) -> tuple[float, float, str]:
    for layer, own in _NAMES.items():
        if own == name:
            return SCALES[layer]
    if name == "received_dbm":
        return -127.0, -27.0, "dBm"
    return (0.0, 1.0, "") if values.dtype == bool else (0.0, max(1.0, float(values.max())), "transmitter")


def _coloured(share: np.ndarray, colours: Colours) -> np.ndarray:
    """(H, W) in [0, 1] -> (H, W, 4) uint8."""
    from matplotlib import colormaps

    level = np.rint(share * 255).astype(np.uint8)
    if colours == "grey":
        return np.stack([level, level, level, np.full_like(level, 255)], axis=-1)
    return colormaps[colours](level, bytes=True)


def as_geotiff(found: Answer, transmitter: int) -> bytes:
    """The gain of one transmitter with its place on Earth.

    Raises Problem: 422 for an area without a place, a request without the gain, a transmitter that there is not.
    """
    if found.place is None:
        raise Problem(422, "format", "geotiff", "json, png or npz: this area has no place on Earth (GeoJSON has one)")
    if "gain_db" not in found.layers:
        raise Problem(422, "layers", list(found.layers), "gain, which is what a GeoTIFF holds")
    if not 0 <= transmitter < len(found.transmitters):
        raise Problem(422, "transmitter", transmitter, f"0 to {len(found.transmitters) - 1}")
    gain_db = np.nan_to_num(found.layers["gain_db"][transmitter], nan=units.GAIN_FLOOR_DB)
    with tempfile.TemporaryDirectory() as folder:
        path = geotiff.write(Path(folder) / "map.tif", RadioMap(gain_db, found.scene.outdoor),
                             Place(found.scene, found.place.crs), found.transmitters[transmitter])  # fmt: skip
        return path.read_bytes()
