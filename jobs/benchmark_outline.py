"""Maps per second of the map outline on one core: our batched operator against the released script's per-image loop.

    python jobs/benchmark_outline.py [--num 256] [--repetitions 5] [--out outline.json]

Made maps of 256 x 256 cells, 8-bit grey, with shadows behind walls. Rows, all on the same maps and one core:

    k_log, k_eff, reference     raymap's batched operator on float32 arrays in memory, in batches of 32 maps
    loop                        per image: read gain, transmitter and building PNG, ratio of the Laplacian, write PNG
    loop without files          the arithmetic of the same loop alone

The repetitions of all rows are interleaved, so that a slow spell of the machine hits every row; medians are reported.
"""

from __future__ import annotations

import os

os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")})

import json
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.physics.helmholtz import outline
from raymap.units import gain_db_from_grey, watt_from_dbm

SIZE = 256
BATCH = 32
POWER_DBM = 23.0
KINDS = ("k_log", "k_eff", "reference")


class Benchmark(Settings):
    """What is measured: how many maps, how often, and where the JSON goes."""

    num: int = Field(256, ge=1, description="number of maps")
    repetitions: int = Field(5, ge=1, description="interleaved repetitions, of which the median counts")
    out: Path | None = Field(None, description="JSON file to write")


def made_scene(seed: int) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Grey gain (H, W) uint8 with buildings 0, buildings (H, W) bool and the transmitter's cell of one made city."""
    rng = np.random.default_rng(seed)
    building = np.zeros((SIZE, SIZE), bool)
    for top, left in rng.integers(0, SIZE - 8, (40, 2)):
        building[top : top + rng.integers(8, 32), left : left + rng.integers(8, 32)] = True
    row, column = (int(value) for value in rng.integers(50, 200, 2))
    building[row - 6 : row + 7, column - 6 : column + 7] = False
    rows, columns = np.indices((SIZE, SIZE))
    walls = np.zeros((SIZE, SIZE), np.int64)  # samples of the straight line to the transmitter that lie in buildings
    for share in np.linspace(0.0, 1.0, 96):
        walls += building[
            np.rint(row + share * (rows - row)).astype(int), np.rint(column + share * (columns - column)).astype(int)
        ]
    distance = np.maximum(np.hypot(rows - row, columns - column), 1.0)
    gain_db = -47.0 - 22.0 * np.log10(distance) - np.where(walls > 0, 12.0 + 0.8 * walls, 0.0)
    grey = np.rint(np.clip((gain_db + 147.0) / 100.0, 1 / 255, 1.0) * 255).astype(np.uint8)
    return np.where(building, np.uint8(0), grey), building, (row, column)


def made_maps(num: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, H, W) uint8 greys, (N, H, W) bool buildings and (N, H, W) uint8 transmitter pictures.

    Every made city is used in the 8 symmetries of the square.
    """
    greys, buildings, transmitters = [], [], []
    for index in range(num):
        if index % 8 == 0:
            grey, building, cell = made_scene(index // 8)
            transmitter = np.zeros((SIZE, SIZE), np.uint8)
            transmitter[cell] = 255
        for pictures, picture in ((greys, grey), (buildings, building), (transmitters, transmitter)):
            turned = np.rot90(picture, index % 4)
            pictures.append(turned.T if index % 8 > 3 else turned)
    return tuple(np.ascontiguousarray(pictures) for pictures in (greys, buildings, transmitters))


def one_image(grey: np.ndarray, transmitter: np.ndarray) -> np.ndarray:
    """The released arithmetic for one picture: power, +∇²u/u with a source, negatives, min-max, 8 bits, border 255."""
    power_w = watt_from_dbm(POWER_DBM + gain_db_from_grey(grey / 255.0))
    centre = power_w[1:-1, 1:-1]
    curvature = power_w[2:, 1:-1] + power_w[:-2, 1:-1] + power_w[1:-1, 2:] + power_w[1:-1, :-2] - 4.0 * centre
    ratio = (curvature + (transmitter[1:-1, 1:-1] > 0) * centre) / centre
    negative = np.where(ratio < 0, ratio, 0.0)
    lowest, highest = negative.min(), negative.max()
    stretched = (negative - lowest) / max(highest - lowest, np.finfo(float).tiny)
    return np.pad((stretched * 255).astype(np.uint8), 1, constant_values=255)


def loop(folder: Path, num: int) -> None:
    """Reads three PNG files per map and writes one, as the released script does; the building picture is not used."""
    for index in range(num):
        grey = np.array(Image.open(folder / f"gain_{index}.png"))
        transmitter = np.array(Image.open(folder / f"transmitter_{index}.png"))
        np.array(Image.open(folder / f"building_{index}.png"))
        Image.fromarray(one_image(grey, transmitter)).save(folder / f"outline_{index}.png")


def batched(gain_db: np.ndarray, kind: str, valid: np.ndarray, cells: np.ndarray) -> None:
    """The operator over batches of maps, as the data pipeline calls it."""
    for start in range(0, len(gain_db), BATCH):
        part = slice(start, start + BATCH)
        outline(gain_db[part], 1.0, kind, valid[part], transmitter=cells[part])


def measure(num: int, repetitions: int) -> dict:
    """Medians of the seconds per map of every row, and the ratios of maps per second to both loops."""
    greys, buildings, transmitters = made_maps(num)
    gain_db = gain_db_from_grey(greys.astype(np.float32) / np.float32(255))
    cells, outdoor = np.argwhere(transmitters > 0)[:, 1:], ~buildings
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index in range(num):
            pictures = {"gain": greys, "transmitter": transmitters, "building": buildings.astype(np.uint8) * 255}
            for title, picture in pictures.items():
                Image.fromarray(picture[index]).save(folder / f"{title}_{index}.png")
        rows = {kind: lambda kind=kind: batched(gain_db, kind, outdoor, cells) for kind in KINDS}
        rows["loop without files"] = lambda: [one_image(*pair) for pair in zip(greys, transmitters, strict=True)]
        rows["loop"] = lambda: loop(folder, num)
        seconds = {title: [] for title in rows}
        for kind in KINDS:  # compiles, or reads the compiled kernel from its cache
            batched(gain_db[:2], kind, outdoor[:2], cells[:2])
        for _ in range(repetitions):
            for title, work in rows.items():
                began = time.perf_counter()
                work()
                seconds[title].append((time.perf_counter() - began) / num)
    speed = {title: 1.0 / statistics.median(values) for title, values in seconds.items()}
    return {
        "num": num,
        "shape": [SIZE, SIZE],
        "repetitions": repetitions,
        "hardware": f"{platform.machine()}, one core",
        "maps_per_s": speed,
        "seconds_per_map": seconds,
        "times_loop": {title: value / speed["loop"] for title, value in speed.items()},
        "times_loop_without_files": {title: value / speed["loop without files"] for title, value in speed.items()},
    }


def main(argv: list[str]) -> None:
    """Measures, prints the table and writes the JSON if asked to."""
    settings = from_command_line(Benchmark(), argv, prog="benchmark_outline")
    report = measure(settings.num, settings.repetitions)
    print(f"{settings.num} maps of {SIZE} x {SIZE} on one core, median of {settings.repetitions} repetitions")
    print(f"{'':20}{'maps/s':>10}{'x loop':>10}{'x loop without files':>22}")
    for title, value in report["maps_per_s"].items():
        ratios = report["times_loop"][title], report["times_loop_without_files"][title]
        print(f"{title:20}{value:10.0f}{ratios[0]:10.1f}{ratios[1]:22.1f}")
    if settings.out:
        settings.out.write_text(json.dumps(report, indent=2) + "\n")
        print(f"written: {settings.out}")


if __name__ == "__main__":
    main(sys.argv[1:])
