"""Ray launching against Sionna's PathSolver on the same walls: how far apart, where, and at what cost.

    python jobs/check_multipath.py --city etoile --num_scenes 3 --out check.json

Both see the buildings of city tiles with straightened walls of concrete, 60 m high so that nothing passes over them,
without ground, and at most three interactions of which one is a diffraction. Sionna looks at the centre of a cell, ray
launching at the mean over its open part. Needs the extra ``raymap[sionna]``.

A cell's class is what Sionna finds there: line of sight; else reflected, where reflections carry at least 90 % of the
power; else diffracted; none, where it finds nothing. Noise of a method is the standard deviation over seeds of a cell's
gain [dB], as its root mean square over the cells out of sight that have paths under every seed; "misses" is the share
of those cells that more than 1 dB separates from the same method with ten times the rays. CPU seconds are of one
thread, compiled.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.data import sites
from raymap.propagation import city, meshes, ray_launching, ray_tracing
from raymap.scene import PathKind, Scene, Transmitter

CLASSES = ("line of sight", "reflected", "diffracted", "none")
TALL_M = 60.0


class Check(Settings):
    """Which tiles are compared, and how finely."""

    city: str = Field("etoile", description="city of sionna-rt whose tiles are used")
    num_scenes: int = Field(3, ge=1)
    cell_m: float = Field(4.0, gt=0)
    size_m: float = Field(256.0, gt=0)
    num_seeds: int = Field(3, ge=2, description="runs of which noise is the deviation")
    launched_rays: tuple[int, ...] = Field((500, 2000, 20_000), description="fans of ray launching")
    traced_rays: tuple[int, ...] = Field((3000, 10_000, 30_000), description="rays of Sionna")
    compared: tuple[int, int] = Field((20_000, 30_000), description="rays of both for the differences")
    out: Path | None = Field(None, description="JSON file to write")


def walls_only(scene: Scene) -> meshes.MeshScene:
    """The buildings of a scene, too high to pass over, without ground."""
    tall = replace(scene, building_m=np.where(scene.outdoor, 0.0, TALL_M))
    whole = meshes.extrude(tall, [])
    return meshes.MeshScene(whole.name, tuple(m for m in whole.meshes if m.name == "buildings"), whole.frequency_hz)


def launched(scene: Scene, transmitter: Transmitter, num_rays: int, seed: int) -> np.ndarray:
    """(H, W) path gain [dB]; corners get as many rays as a twentieth of the fan."""
    options = ray_launching.Options(
        max_interactions=3, roof=False, num_rays=num_rays, num_corner_rays=max(num_rays // 20, 50)
    )
    return ray_launching.solve(scene, transmitter, seed=seed, options=options).gain_db.astype(float)


def traced(world, scene: Scene, transmitter: Transmitter, num_rays: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) path gain [dB], −inf without paths, and (3, H, W) power in line of sight, reflected, diffracted."""
    cells = np.argwhere(scene.outdoor)
    receivers_m = np.column_stack([(cells[:, ::-1] + 0.5) * scene.grid.cell_m, np.full(len(cells), 1.5)])
    options = ray_tracing.Options(num_rays=num_rays, seed=seed)
    found = ray_tracing.paths(world, transmitter, receivers_m, 64, options=options)
    power = np.abs(found.gain.astype(np.complex128)) ** 2
    by_kind = np.zeros((3, *scene.grid.shape))
    for part, kind in zip(by_kind, (PathKind.LINE_OF_SIGHT, PathKind.REFLECTION, PathKind.DIFFRACTION), strict=True):
        part[tuple(cells.T)] = np.where(found.kind == kind, power, 0.0).sum(1)
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(by_kind.sum(0)), by_kind


def classes(by_kind: np.ndarray, outdoor: np.ndarray) -> np.ndarray:
    """(H, W) index into `CLASSES`, −1 in buildings."""
    sight, reflected, _ = by_kind
    total = by_kind.sum(0)
    number = np.select([total <= 0, sight > 0, reflected >= 0.9 * total], [3, 0, 1], 2)
    return np.where(outdoor, number, -1)


def noise(run: Callable[[int, int], np.ndarray], num_rays: int, num_seeds: int, hidden: np.ndarray) -> dict[str, float]:
    """CPU seconds, noise [dB] and misses of ``run(num_rays, seed)`` over the cells ``hidden`` (H, W)."""
    seconds, maps_db = [], []
    for seed in range(num_seeds):
        began = time.process_time()
        maps_db.append(run(num_rays, seed)[hidden])
        seconds.append(time.process_time() - began)
    maps_db = np.array(maps_db)
    steady = np.isfinite(maps_db).all(0)
    finest_db = run(10 * num_rays, num_seeds)[hidden]
    with np.errstate(invalid="ignore"):
        apart = ~(np.abs(maps_db[0] - finest_db) <= 1.0) & np.isfinite(finest_db)
    return {
        "rays": num_rays,
        "cpu_s": float(np.median(seconds)),
        "noise_db": float(np.sqrt((maps_db[:, steady].var(0, ddof=1)).mean())),
        "misses": float(apart.sum() / max(np.isfinite(finest_db).sum(), 1)),
    }


def main(argv: list[str]) -> None:
    """Compares on every scene, prints both tables, and writes the JSON if asked to."""
    check = from_command_line(Check(), argv, prog="check_multipath.py")
    tiles = city.tiles(check.city, check.cell_m, check.size_m)
    step = max(len(tiles) // check.num_scenes, 1)
    scenes = tiles[::step][: check.num_scenes]
    ray_tracing.doctor()
    import drjit

    drjit.set_thread_count(1)
    differences: dict[str, list[np.ndarray]] = {name: [] for name in CLASSES}
    costs: dict[str, list[list[dict]]] = {"ray launching": [], "Sionna RT": []}
    for scene in scenes:
        (transmitter,) = sites.place(scene, 1, 0)
        world = ray_tracing.to_sionna(walls_only(scene))
        ours_db = launched(scene, transmitter, check.compared[0], 0)
        theirs_db, by_kind = traced(world, scene, transmitter, check.compared[1], 0)
        number = classes(by_kind, scene.outdoor)
        for index, name in enumerate(CLASSES):
            here = number == index
            differences[name].append(ours_db[here] - (theirs_db[here] if name != "none" else 0.0))
        hidden = (number == 1) | (number == 2)
        methods = {
            "ray launching": (check.launched_rays, lambda rays, seed: launched(scene, transmitter, rays, seed)),  # noqa: B023
            "Sionna RT": (check.traced_rays, lambda rays, seed: traced(world, scene, transmitter, rays, seed)[0]),  # noqa: B023
        }
        for name, (counts, run) in methods.items():
            costs[name].append([noise(run, rays, check.num_seeds, hidden) for rays in counts])
        print(f"{scene.name}: {(number >= 0).sum()} cells outdoors", flush=True)
    report = {"settings": check.model_dump(mode="json"), "difference": table(differences), "cost": mean_costs(costs)}
    print_report(report)
    if check.out:
        check.out.write_text(json.dumps(report, indent=2) + "\n")
        print(f"written: {check.out}")


def table(differences: dict[str, list[np.ndarray]]) -> dict[str, dict[str, float]]:
    """Per class: cells, and of ray launching less Sionna [dB]: median, median and 90 % of the amount, within 3 dB.

    In "none", where Sionna finds nothing, the median is that of ray launching's own gain.
    """
    rows = {}
    for name, parts in differences.items():
        values_db = np.concatenate(parts)
        row = {"cells": float(values_db.size)}
        if values_db.size:
            row["median_db"] = float(np.median(values_db))
        if values_db.size and name != "none":
            amount_db = np.abs(values_db)
            row |= {"median_abs_db": float(np.median(amount_db)), "p90_abs_db": float(np.percentile(amount_db, 90))}
            row["within_3db"] = float((amount_db <= 3.0).mean())
        rows[name] = row
    return rows


def mean_costs(costs: dict[str, list[list[dict]]]) -> dict[str, list[dict]]:
    """Means over scenes of every row."""
    return {
        name: [
            {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} for rows in zip(*parts, strict=True)
        ]
        for name, parts in costs.items()
    }


def print_report(report: dict) -> None:
    """Both tables."""
    print(f"{'class':<16}{'cells':>8}{'median':>9}{'median |d|':>12}{'90 %':>8}{'within 3 dB':>13}")
    for name, row in report["difference"].items():
        shown = [f"{row[key]:.2f}" if key in row else "-" for key in ("median_db", "median_abs_db", "p90_abs_db")]
        share = f"{row['within_3db']:.1%}" if "within_3db" in row else "-"
        print(f"{name:<16}{row['cells']:8.0f}{shown[0]:>9}{shown[1]:>12}{shown[2]:>8}{share:>13}")
    print(f"{'method':<16}{'rays':>8}{'CPU s':>9}{'noise dB':>12}{'misses':>10}")
    for name, rows in report["cost"].items():
        for row in rows:
            print(f"{name:<16}{row['rays']:8.0f}{row['cpu_s']:9.3f}{row['noise_db']:12.3f}{row['misses']:10.2%}")


if __name__ == "__main__":
    main(sys.argv[1:])
