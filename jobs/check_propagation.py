"""The dominant-path model against real RadioMapSeer maps: one row per map, then the mean.

    python jobs/check_propagation.py --folder FOLDER [--simulation DPM] [--cell_m 1] [--out check.json]

Columns: RMSE and median absolute error outdoors [dB], NMSE of the grey levels over all pixels, seconds on one core.
With ``--cell_m 2`` or ``4`` scene and truth are coarsened first and the model runs on the coarse scene; maps whose
transmitter then stands in a coarse building are left out and listed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.data import radiomapseer
from raymap.evaluation.metrics import score_maps
from raymap.propagation import dominant_path
from raymap.scene import RadioMap, Scene, Transmitter

COLUMNS = {
    "rmse_db": "raw/outdoor/rmse_db",
    "median_abs_db": "raw/outdoor/median_abs_db",
    "nmse": "raw/all/nmse",
}


class Check(Settings):
    """Which maps are compared, on which cells, and where the JSON goes."""

    folder: Path = Field(Path("radiomapseer"), description="folder in the original RadioMapSeer layout")
    simulation: str = Field("DPM", description="whose gains are the truth")
    cell_m: float = Field(1.0, gt=0, description="cell on which the model runs [m], a multiple of the dataset's")
    out: Path | None = Field(None, description="JSON file to write")


def coarsened(scene: Scene, truth: RadioMap, cell_m: float) -> tuple[Scene, RadioMap]:
    """Scene and truth on cells of ``cell_m`` [m]. Raises ValueError if that is no multiple of the scene's cell."""
    factor = round(cell_m / scene.grid.cell_m)
    if factor < 1 or not np.isclose(factor * scene.grid.cell_m, cell_m):
        raise ValueError(f"cell_m must be a multiple of the dataset's {scene.grid.cell_m:g} m, got {cell_m:g}")
    if factor == 1:
        return scene, truth
    scene = scene.coarsen(factor)
    return scene, truth.coarsen(factor, scene.outdoor)


def compare(scene: Scene, transmitter: Transmitter, truth: RadioMap) -> dict[str, float]:
    """One row: the scores of `COLUMNS` and the seconds that the model took."""
    began = time.process_time()
    predicted = dominant_path.solve(scene, transmitter)
    seconds = time.process_time() - began
    scores = score_maps(predicted.gain_db[None], truth.gain_db[None], truth.valid[None])[0]
    return {name: scores[key] for name, key in COLUMNS.items()} | {"seconds": seconds}


def main(argv: list[str]) -> None:
    """Compares all maps of the folder, prints the table and writes the JSON if asked to."""
    check = from_command_line(Check(), argv, prog="check_propagation")
    rows, left_out = [], []
    print(f"{'map':>12}{'RMSE dB':>10}{'median dB':>11}{'NMSE':>9}{'s':>8}")
    for map_id, tx_id in radiomapseer.pairs(check.folder, check.simulation):
        scene, transmitter, truth = radiomapseer.read(check.folder, map_id, tx_id, check.simulation)
        scene, truth = coarsened(scene, truth, check.cell_m)
        if not scene.outdoor[transmitter.cell(scene.grid)]:
            left_out.append(f"{map_id}_{tx_id}")
            continue
        if not rows:
            dominant_path.solve(scene, transmitter)  # compiles, or reads the compiled kernels from their cache
        rows.append({"map": f"{map_id}_{tx_id}"} | compare(scene, transmitter, truth))
        print_row(rows[-1])
    if not rows:
        raise SystemExit(f"{check.folder}: no map of {check.simulation} to compare with")
    mean = {"map": "mean"} | {name: float(np.mean([row[name] for row in rows])) for name in (*COLUMNS, "seconds")}
    print_row(mean)
    if left_out:
        print(f"left out, transmitter in a coarse building: {', '.join(left_out)}")
    if check.out:
        report = {"simulation": check.simulation, "cell_m": check.cell_m, "maps": rows, "mean": mean}
        check.out.write_text(json.dumps(report | {"left_out": left_out}, indent=2) + "\n")
        print(f"written: {check.out}")


def print_row(row: dict) -> None:
    """Prints one line of the table."""
    print(f"{row['map']:>12}{row['rmse_db']:10.2f}{row['median_abs_db']:11.2f}{row['nmse']:9.4f}{row['seconds']:8.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
