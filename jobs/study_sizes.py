"""One trained model on maps of many sizes: as it was trained, longer than wide, and over a square kilometre.

    python jobs/study_sizes.py --model raymap/pretrained/k2-small --out runs/sizes.json

Crops of a city are solved on 2 m cells and stored on the model's, as the benchmark's maps are. Maps larger than a
window are predicted in one pass and in windows (``--windows``). Minutes on two cores. ``--cell_m 8`` asks a model that
is told the cell size (``--data.coarsen``) for other cells than it was trained on.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

import raymap
from raymap.config import Settings, from_command_line
from raymap.data import schema, sources
from raymap.data.batch import from_scenes, to_radio_maps
from raymap.data.sources import MapPlan
from raymap.evaluation.intervals import clustered_mean
from raymap.evaluation.metrics import score_maps
from raymap.models.base import Predictor
from raymap.propagation import city
from raymap.runtime import provenance
from raymap.scene import RadioMap, Scene, Transmitter


class Job(Settings):
    """What to predict."""

    model: Path = Field(Path("raymap/pretrained/k2-small"), description="folder of a trained model")
    city: str = Field("san_francisco", description=f"one of {', '.join(city.CITIES)}")
    shapes: tuple[str, ...] = Field(
        ("64x64", "64x128", "128x128", "whole"), description="rows x columns of maps [cells]; 'whole' is the whole city"
    )
    cell_m: float | None = Field(None, gt=0, description="length of a cell [m]; default: that of the model's training")
    max_scenes: int = Field(12, ge=1, description="crops of each shape, evenly chosen")
    num_tx: int = Field(2, ge=1, description="transmitters in each crop")
    windows: tuple[int, ...] = Field((64, 128), description="also predict larger maps in windows of so many cells")
    overlap_cells: int = Field(16, ge=0, description="cells that neighbouring windows share")
    solve_cell_m: float = Field(2.0, gt=0, description="cell on which the true maps are solved [m]")
    out: Path | None = Field(None, description="JSON file to write")


def plan(job: Job, shape: str, cell_m: float) -> MapPlan:
    """How the maps of a shape are made. Raises ValueError for what is no shape, and for cells that do not fit."""
    if shape == "whole":
        grid, _height_m = city.heights(job.city, job.solve_cell_m)
        rows, columns = (int(length_m / cell_m) for length_m in grid.size_m)
    else:
        try:
            rows, columns = map(int, shape.split("x"))
        except ValueError:
            raise ValueError(f"shape {shape!r} must be like 64x128 (rows x columns), or 'whole'") from None
    return MapPlan(name="sizes", shape=(rows, columns), cell_m=cell_m, solve_cell_m=job.solve_cell_m)


def cases(job: Job, shape: str, cell_m: float) -> Iterator[tuple[Scene, Transmitter, RadioMap]]:
    """Scenes and true maps as the benchmark makes them. Raises ValueError for a shape that the city has no crop of."""
    made = plan(job, shape, cell_m)
    stride_m = max(min(made.shape) // 2, 1) * cell_m
    found = city.tiles(job.city, job.solve_cell_m, made.solve_grid.size_m, stride_m)
    if not found:
        raise ValueError(f"{job.city} has no crop of {shape} cells of {cell_m:g} m")
    for index in np.linspace(0, len(found) - 1, min(job.max_scenes, len(found))).round().astype(int):
        yield from map(schema.nouns, sources.scene_rows(found[index], job.num_tx, made))


def ways(job: Job, model: Predictor, scene: Scene) -> dict[str, Callable[[Transmitter], RadioMap]]:
    """Every way to predict a map of this size, and the law alone."""

    def by_law(place: Transmitter) -> RadioMap:
        batch = from_scenes([scene], [place])
        return to_radio_maps(law.predict(batch, [0]), batch)[0]

    def by_model(tile_cells: int, overlap_cells: int) -> Callable[[Transmitter], RadioMap]:
        tiles = {"tile_cells": tile_cells, "overlap_cells": overlap_cells}
        return lambda place: raymap.predict(model, scene, [place], **tiles)[0]

    longest = max(scene.grid.shape)
    found = {"one pass": by_model(max(longest, 64) + model.multiple, 0)}
    found |= {f"windows of {w}": by_model(w, job.overlap_cells) for w in job.windows if w < longest}
    law = model.own_law
    return found if law is None else {**found, "its law alone": by_law}


def study(job: Job) -> dict:
    """Scores and seconds of every shape by every way."""
    model = raymap.load(job.model)
    cell_m = job.cell_m or model.cell_m
    if cell_m is None:
        raise ValueError("a law is for cells of any length: say which with --cell_m")
    tables = []
    for shape in job.shapes:
        rows: dict[str, list[tuple[str, dict, float]]] = {}
        for scene, place, truth in cases(job, shape, cell_m):
            for name, predict in ways(job, model, scene).items():
                begun = time.perf_counter()
                gain_db = predict(place).gain_db
                seconds = time.perf_counter() - begun
                (scores,) = score_maps(gain_db[None], truth.gain_db[None], scene.outdoor[None])
                rows.setdefault(name, []).append((scene.name, scores, seconds))
        tables.append({"shape": list(scene.grid.shape), "area_km2": float(np.prod(scene.grid.size_m)) / 1e6,
                       "num_maps": len(next(iter(rows.values()))),
                       "ways": {name: _summary(found) for name, found in rows.items()}})  # fmt: skip
        print("\n".join(_lines(tables[-1], head=len(tables) == 1)), flush=True)
    return {"model": str(job.model), "city": job.city, "cell_m": cell_m, "commit": provenance.git_commit(),
            "hardware": provenance.hardware(), "tables": tables}  # fmt: skip


def _summary(found: list[tuple[str, dict, float]]) -> dict:
    names, scores, seconds = zip(*found, strict=True)
    return {
        "nmse": clustered_mean([one["raw/all/nmse"] for one in scores], names),
        "rmse_db": clustered_mean([one["raw/outdoor/rmse_db"] for one in scores], names),
        # Not the mean: the first call of a shape compiles and allocates.
        "seconds": float(np.median(seconds)),
    }


def _lines(table: dict, head: bool) -> Iterator[str]:
    if head:
        yield "| map [cells] | km² | maps | predicted | NMSE | RMSE outdoors [dB] | seconds |"
        yield "|---" * 7 + "|"
    rows, columns = table["shape"]
    for name, found in table["ways"].items():
        nmse, rmse = (found[key] for key in ("nmse", "rmse_db"))
        spread = "" if nmse["low"] is None else f" ({nmse['low']:.4f} to {nmse['high']:.4f})"
        of_map = f"{rows} x {columns} | {table['area_km2']:.2f} | {table['num_maps']}"
        yield f"| {of_map} | {name} | {nmse['mean']:.4f}{spread} | {rmse['mean']:.2f} | {found['seconds']:.2f} |"


def main(argv: list[str]) -> dict:
    """Run the study, print its table; returns the numbers."""
    job = from_command_line(Job(), argv, prog="study_sizes.py")
    found = study(job)
    if job.out:
        job.out.parent.mkdir(parents=True, exist_ok=True)
        job.out.write_text(json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
