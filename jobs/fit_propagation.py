"""Fit the constants of the dominant-path model to real RadioMapSeer maps, checked on maps left out of the fit.

    python jobs/fit_propagation.py --folder FOLDER [--simulation DPM] [--out fit.json]

The loss of a given path is linear in the constants, so the paths of a map are found once per round
(`dominant_path.terms`) and every fit after that is bounded least squares over them: each cell takes its cheapest known
path, the constants are fitted to that choice, and so on until both agree; then the paths are found again with the new
constants and join the known ones. Losses grow with the angle and are not negative. Cells in line of sight follow their
own law and take no part.

Cross-validation leaves out one *map* at a time, with all its transmitters. The maps left out are solved anew
with the constants of the others; the table has RMSE and median absolute error outdoors [dB] and NMSE of the grey levels
over all pixels, for ``start`` (the constants and the corner tolerance that the model began with, in today's geometry),
``built-in`` (`Constants()`, which may have seen these maps) and ``left out``. ``mean`` is over transmitters, ``by map``
over the means of maps. The last line is the fit to all maps.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field
from scipy.optimize import lsq_linear

from raymap import units
from raymap.config import Settings, from_command_line
from raymap.data import radiomapseer
from raymap.evaluation.metrics import score_maps
from raymap.physics import pathloss
from raymap.propagation import dominant_path
from raymap.propagation.dominant_path import Constants
from raymap.scene import RadioMap, Scene, Transmitter

COLUMNS = {"rmse_db": "raw/outdoor/rmse_db", "median_abs_db": "raw/outdoor/median_abs_db", "nmse": "raw/all/nmse"}

#: Where the model started: fitted by hand, with corners at outlines simplified by a whole cell.
START = Constants(
    street_exponent=2.5 + 0.343,
    bend_deg=(0.0, 5.0, 15.0, 30.0, 60.0, 90.0, 135.0, 180.0),
    bend_db=(1.61, 1.94, 3.74, 5.92, 10.39, 14.02, 14.02, 14.02),
    roof_bend_deg=(0.0, 5.0, 15.0, 30.0, 60.0, 90.0, 135.0, 180.0),
    roof_bend_db=(0.1, 14.68, 16.95, 20.26, 24.01, 26.42, 26.42, 26.42),
    roof_credit_db=20.0,
    corner_tolerance_cells=1.0,
    corner_anchor_cells=0.75,
)
_NUM_ALTERNATIONS = 12
#: The least-squares weight of pulling each constant to the last one, per cell: decides only what the data leave open.
_PULL = 1e-6


class Fit(Settings):
    """Which maps are fitted, how finely, and where the JSON goes."""

    folder: Path = Field(Path("radiomapseer"), description="folder in the original RadioMapSeer layout")
    simulation: str = Field("DPM", description="whose gains are the truth")
    every: int = Field(5, ge=1, description="one in so many cells out of sight is fitted")
    rounds: int = Field(2, ge=1, description="how often paths are found anew with better constants")
    out: Path | None = Field(None, description="JSON file to write")


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells out of sight of one real map and the paths known to each: N cells, K constants per kind of path.

    The loss of a path is ``fixed_db`` + ``terms`` @ constants, for the street (P, N) and (P, N, K), one row for every
    round, and for the roofs (N,) and (N, K), there never below ``floor_db`` (N,). ``loss_db`` (N,) is the truth.
    """

    loss_db: np.ndarray
    street_fixed_db: np.ndarray
    street_terms: np.ndarray
    roof_fixed_db: np.ndarray
    roof_terms: np.ndarray
    floor_db: np.ndarray


def vector(constants: Constants) -> tuple[np.ndarray, np.ndarray]:
    """The fitted constants, all ≥ 0: (10·n', w(0), steps of w) and (credit, wr(0), steps of wr)."""
    extra = 10.0 * (constants.street_exponent - constants.exponent)
    street = [extra, constants.bend_db[0], *np.diff(constants.bend_db)]
    return np.array(street), np.array(
        [constants.roof_credit_db, constants.roof_bend_db[0], *np.diff(constants.roof_bend_db)]
    )


def with_vector(constants: Constants, street: np.ndarray, over: np.ndarray) -> Constants:
    """``constants`` with the fitted ones replaced, rounded to what is worth writing down."""
    return replace(
        constants,
        street_exponent=round(float(constants.exponent + street[0] / 10.0), 4),
        bend_db=tuple(round(float(value), 2) for value in np.cumsum(street[1:])),
        roof_credit_db=round(float(over[0]), 2),
        roof_bend_db=tuple(round(float(value), 2) for value in np.cumsum(over[1:])),
    )


def cells(scene: Scene, transmitter: Transmitter, truth: RadioMap, constants: Constants, every: int) -> Cells:
    """The paths that ``constants`` choose in one map. Steps of a table count wherever the angle is above them."""
    found = dominant_path.terms(scene, transmitter, constants=constants)
    taken = np.nonzero((truth.valid & ~found.lit).ravel())[0][::every]
    reference_db = units.free_space_loss_db(1.0, scene.frequency_hz)
    slope = 10.0 * constants.exponent

    def flat(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, *values.shape[2:])[taken].astype(np.float64)

    def steps(weights: np.ndarray) -> np.ndarray:
        return np.cumsum(weights[:, ::-1], axis=1)[:, ::-1]

    street_m, over_m = flat(found.street_m), flat(found.roof_m)
    log_street = np.log10(np.maximum(street_m, 1.0))
    distance_m = flat(pathloss.distance_m(scene.grid.shape, scene.grid.cell_m, transmitter.xyz_m[:2]))
    floor_db = reference_db + slope * np.log10(np.maximum(distance_m, 1.0))
    over_db = reference_db + slope * np.log10(np.maximum(over_m, 1.0))
    return Cells(
        loss_db=-flat(truth.gain_db),
        street_fixed_db=np.where(street_m > 0, reference_db + slope * log_street, np.inf)[None],
        street_terms=np.concatenate([log_street[:, None], steps(flat(found.street_weights))], axis=1)[None],
        roof_fixed_db=np.where(over_m > 0, over_db, floor_db),
        roof_terms=np.concatenate(
            [np.where(over_m > 0, -1.0, 0.0)[:, None], steps(flat(found.roof_weights))], axis=1
        ),
        floor_db=floor_db,
    )  # fmt: skip


def joined(parts: list[Cells], axis: int = 0) -> Cells:
    """Cells of several maps one after the other (``axis`` 0); or of one map, the street paths of all rounds (1)."""
    if axis == 1:
        fixed_db, terms = (np.concatenate([getattr(part, name) for part in parts]) for name in
                           ("street_fixed_db", "street_terms"))  # fmt: skip
        return replace(parts[0], street_fixed_db=fixed_db, street_terms=terms)
    return Cells(
        **{
            name: np.concatenate([getattr(part, name) for part in parts], axis=1 if name.startswith("street") else 0)
            for name in Cells.__dataclass_fields__
        }
    )


def fitted(known: Cells, constants: Constants) -> Constants:
    """Least squares of min(street, roof) over ``known``, from ``constants`` on; all constants stay ≥ 0."""
    street, over = vector(constants)
    rows = np.arange(len(known.loss_db))
    for _ in range(_NUM_ALTERNATIONS):
        street_db = known.street_fixed_db + known.street_terms @ street
        best = street_db.argmin(0)
        over_db = np.maximum(known.roof_fixed_db + known.roof_terms @ over, known.floor_db)
        by_street = street_db[best, rows] <= over_db
        by_roof = ~by_street & (known.roof_terms[:, 0] != 0)
        missing_db = known.loss_db - known.street_fixed_db[best, rows]
        street = _least_squares(known.street_terms[best, rows][by_street], missing_db[by_street], street)
        over = _least_squares(known.roof_terms[by_roof], (known.loss_db - known.roof_fixed_db)[by_roof], over)
    return with_vector(constants, street, over)


def _least_squares(terms: np.ndarray, missing_db: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Half way to the constants ≥ 0 that minimise |terms @ constants − missing_db|², (K,); all the way would swing."""
    if not len(terms):
        return before
    pull = _PULL * len(terms)
    normal = terms.T @ terms + pull * np.eye(len(before))
    lower = np.linalg.cholesky(normal)
    right = np.linalg.solve(lower, terms.T @ missing_db + pull * before)
    return 0.5 * (before + lsq_linear(lower.T, right, bounds=(0.0, np.inf)).x)


def scores(scene: Scene, transmitter: Transmitter, truth: RadioMap, constants: Constants) -> dict[str, float]:
    """The columns of the table for one map solved with ``constants``."""
    predicted = dominant_path.solve(scene, transmitter, constants=constants)
    row = score_maps(predicted.gain_db[None], truth.gain_db[None], truth.valid[None])[0]
    return {name: row[key] for name, key in COLUMNS.items()}


def summary(rows: list[dict], variant: str) -> dict[str, dict[str, float]]:
    """``mean`` over transmitters and ``by map`` over the means of maps, of the columns of one variant."""
    maps = sorted({row["map"] for row in rows})
    values = {name: {m: [row[variant][name] for row in rows if row["map"] == m] for m in maps} for name in COLUMNS}
    return {
        "mean": {name: float(np.mean(np.concatenate(list(of.values())))) for name, of in values.items()},
        "by map": {name: float(np.mean([np.mean(each) for each in of.values()])) for name, of in values.items()},
    }


def main(argv: list[str]) -> dict:
    """Fits, cross-validates, prints the table and writes the JSON if asked to. Raises ValueError for a single map."""
    job = from_command_line(Fit(), argv, prog="fit_propagation.py")
    truths = {pair: radiomapseer.read(job.folder, *pair, job.simulation) for pair in _pairs(job)}
    best, found = Constants(), {pair: [] for pair in truths}
    for _ in range(job.rounds):
        for pair, real in truths.items():
            found[pair].append(cells(*real, best, job.every))
        known = {pair: joined(parts, axis=1) for pair, parts in found.items()}
        best = fitted(joined(list(known.values())), best)
    rows, folds = [], {}
    print(f"{'':>12}{'RMSE dB':^27}{'median dB':^27}{'NMSE':^27}")
    print(f"{'map':>12}" + "".join(f"{name:>9}" for name in ("start", "built-in", "left out")) * 3)
    for map_id in sorted({pair[0] for pair in truths}):
        folds[map_id] = fitted(joined([known[pair] for pair in truths if pair[0] != map_id]), best)
        variants = {"start": START, "built-in": Constants(), "left out": folds[map_id]}
        for pair in (pair for pair in truths if pair[0] == map_id):
            row = {"map": map_id, "tx": pair[1]}
            rows.append(row | {name: scores(*truths[pair], constants) for name, constants in variants.items()})
            _print(f"{map_id}_{pair[1]}", rows[-1])
    means = {name: summary(rows, name) for name in ("start", "built-in", "left out")}
    for kind in ("mean", "by map"):
        _print(kind, {name: each[kind] for name, each in means.items()})
    print(f"fit to all maps: {_fitted_fields(best)}")
    report = {"simulation": job.simulation, "maps": rows, "means": means, "constants": asdict(best)}
    report["folds"] = {str(map_id): _fitted_fields(constants) for map_id, constants in folds.items()}
    if job.out:
        job.out.write_text(json.dumps(report, indent=2) + "\n")
        print(f"written: {job.out}")
    return report


def _pairs(job: Fit) -> list[tuple[int, int]]:
    pairs = radiomapseer.pairs(job.folder, job.simulation)
    num_maps = len({map_id for map_id, _ in pairs})
    if num_maps < 2:
        raise ValueError(
            f"{job.folder}: leaving one map out needs at least 2 maps of {job.simulation}, found {num_maps}"
        )
    return pairs


def _fitted_fields(constants: Constants) -> dict:
    names = ("street_exponent", "bend_deg", "bend_db", "roof_bend_deg", "roof_bend_db", "roof_credit_db")
    return {name: getattr(constants, name) for name in names}


def _print(name: str, row: dict) -> None:
    print(f"{name:>12}" + "".join(
        f"{row[variant][column]:9.{digits}f}"
        for column, digits in (("rmse_db", 2), ("median_abs_db", 2), ("nmse", 4))
        for variant in ("start", "built-in", "left out")
    ), flush=True)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
