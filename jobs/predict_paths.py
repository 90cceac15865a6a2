"""The whole map of multipath from a few measurements, and the channel at points of it, as files and a page.

    python jobs/predict_paths.py --measured walk.csv --grid_m 1 --method virtual_sources --out runs/walk
    python jobs/predict_paths.py --measured walk.csv --grid_m 1 --model runs/pinn_gnn/model --at 40,25 --at 60,80,1.5 \\
        --sounding.bandwidth_hz 200e6 --sounding.array [16,16] --out runs/walk
    python jobs/predict_paths.py --measured walk.csv --columns.power rsrp --columns.power_unit dBm \\
        --columns.transmit_power_dbm 43 --columns.transmitter_m [0,0,30] --columns.frequency_hz 3.5e9 \\
        --columns.height_m 1.5 --receivers places.csv --method nearest --out runs/walk

docs/data.md says what may be measured and how columns and units are named; docs/paths.md what is written.
"""

import sys
from pathlib import Path

from pydantic import Field

from raymap import api, recipes
from raymap.config import Settings, from_command_line
from raymap.data import path_file, path_sources
from raymap.data.path_columns import Columns
from raymap.data.path_table import PathTable
from raymap.evaluation.point_channel import Sounding
from raymap.models import base
from raymap.models.path_predictor import PathPredictor
from raymap.runtime import path_maps


class Job(Settings):
    """What is measured, where paths are asked for, and by which method."""

    measured: Path | None = Field(
        None, description="measured paths: .csv or .parquet file, dataset of channels, traced paths, DeepMIMO folder"
    )
    columns: Columns | None = Field(None, description="of .csv and .parquet files: names of columns and their units")
    transmitter: str | None = Field(None, description="which of a source of several transmitters")
    num_paths: int | None = Field(None, ge=1, description="paths at a receiver; default: the model's, or else 5")
    receivers: Path | None = Field(
        None, description="where paths are asked for: a file with columns of positions, or a folder as for --measured"
    )
    grid_m: float | None = Field(None, gt=0, description="instead, a grid over what is measured, its spacing [m]")
    height_m: float | None = Field(None, description="z of that grid [m]; default: the median of what is measured")
    model: str | None = Field(None, description="trained model: a folder, or a name in MLflow")
    method: str | None = Field(None, description="instead, a method that needs no training")
    at: list[tuple[float, ...]] = Field(
        [], description="X,Y or X,Y,Z of a point [m] at which the channel is computed; repeatable"
    )
    sounding: Sounding = Field(Sounding(), description="how the channel at points is seen")
    out: Path = Field(Path("runs/paths"), description="folder for paths, maps, pictures and the page")


def main(argv: list[str]) -> dict:
    """Run the job, say what came out, and return the numbers of the page.

    Raises ValueError and FileNotFoundError, naming it, for what cannot be read, built or asked for.
    """
    job = from_command_line(Job(), _with_points(argv), prog="predict_paths.py")
    if job.measured is None:
        raise SystemExit("--measured FILE or FOLDER is needed")
    if (job.receivers is None) == (job.grid_m is None):
        raise SystemExit("give --receivers FILE or FOLDER, or --grid_m SPACING: one of them")
    if (job.model is None) == (job.method is None):
        raise SystemExit("give --model FOLDER, or --method NAME: one of them")
    if job.height_m is not None and job.grid_m is None:
        raise SystemExit("--height_m is that of the grid of --grid_m; --receivers have heights of their own")
    name, model = _model(job)
    num_paths = job.num_paths or getattr(model.config, "num_paths", 5)
    measured = _table(path_sources.read(job.measured, num_paths, job.columns), job.measured, job.transmitter)
    if job.grid_m is not None:
        receivers_m = path_maps.grid_over(measured, job.grid_m, job.height_m)
    elif job.receivers.is_file():
        receivers_m = path_file.positions(job.receivers, job.columns)
    else:
        receivers_m = _table(path_sources.read(job.receivers, 1), job.receivers, job.transmitter).receivers_m
    found = path_maps.predict(model, measured, receivers_m, job.out, method=name, at=job.at, sounding=job.sounding)
    print(
        f"{found['map']['num_paths']} paths at {found['map']['num_receivers']} receivers from "
        f"{found['measured']['num_receivers']} measured ones by {name} in {found['seconds']:.1f} s: "
        f"{job.out / 'report.html'}"
    )
    return found


def _with_points(argv: list[str]) -> list[str]:
    """``argv`` with every ``--at X,Y`` as a list of one point, so that commas part no points and minus is no option."""
    words, argv = [], list(argv)
    while argv:
        word = argv.pop(0)
        if word == "--at" and argv:
            word = f"--at={argv.pop(0)}"
        if word.startswith("--at="):
            text = word.removeprefix("--at=")
            try:
                point = [float(part) for part in text.strip("[]").split(",")]
            except ValueError as error:
                raise ValueError(f"--at takes X,Y or X,Y,Z in metres, got {text!r}") from error
            word = f"--at={[point]}"
        words.append(word)
    return words


def _table(tables: dict[str, PathTable], source: Path, transmitter: str | None) -> PathTable:
    """The one table of a source, or that of ``--transmitter``."""
    if transmitter is None and len(tables) == 1:
        return next(iter(tables.values()))
    if transmitter not in tables:
        asked = "" if transmitter is None else f", got {transmitter!r}"
        raise ValueError(f"{source}: --transmitter takes one of {', '.join([*tables][:20])} ({len(tables)}){asked}")
    return tables[transmitter]


def _model(job: Job) -> tuple[str, PathPredictor]:
    """What the page calls the method, and the method. Raises ValueError for one that is none of paths or must learn."""
    if job.model is not None:
        name, model = f"the model {job.model}", api.load(job.model)
        if not isinstance(model, PathPredictor):
            raise ValueError(f"{job.model} is a model of kind {model.config.kind!r}, which tells no paths")
        return name, model
    name, config = recipes.path_title(job.method), recipes.path_method(job.method).model
    model = base.build(config).eval()
    if model.parts():
        raise ValueError(f"{job.method!r} learns: train it by jobs/train_pinn_gnn.py and give its folder as --model")
    return name, model


if __name__ == "__main__":
    main(sys.argv[1:])
