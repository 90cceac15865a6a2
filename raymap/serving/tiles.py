"""City blocks that come with the installation, by name. ``jobs/make_tiles.py`` makes them."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from raymap.scene import Grid, Scene
from raymap.serving.problems import Problem

FILE = Path(__file__).with_name("tiles.npz")
ATTRIBUTION = "Buildings © OpenStreetMap contributors, ODbL"


@functools.cache
def _all() -> dict[str, np.ndarray]:
    with np.load(FILE, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def names() -> list[str]:
    """In the order in which they are offered."""
    return [name for name in _all() if name != "about"]


def scene(name: str, frequency_hz: float) -> Scene:
    """The block of a name. Raises Problem (422) with the names there are."""
    if name not in names():
        raise Problem(422, "area.name", name, f"one of {', '.join(names())}")
    cell_m = json.loads(str(_all()["about"]))["cell_m"]
    heights_m = _all()[name].astype(np.float32)
    return Scene(name, Grid(heights_m.shape, cell_m), heights_m, frequency_hz=frequency_hz)


def listed() -> list[dict[str, object]]:
    """What is told of each: name, rows and columns, cell size [m]."""
    about = json.loads(str(_all()["about"]))
    return [{"name": name, "shape": list(_all()[name].shape), "cell_m": about["cell_m"]} for name in names()]
