"""The whole map of multipath from a few measurements, and the channel at points of it, as files and a page.

    python jobs/predict_paths.py --measured walk.csv --grid_m 1 --method virtual_sources --out runs/walk
    python jobs/predict_paths.py --measured walk.csv --grid_m 1 --model runs/pinn_gnn/model --at 40,25 --at 60,80,1.5 \\
        --sounding.bandwidth_hz 200e6 --sounding.array [16,16] --out runs/walk
    python jobs/predict_paths.py --measured walk.csv --columns.power rsrp --columns.power_unit dBm \\
        --columns.transmit_power_dbm 43 --columns.transmitter_m [0,0,30] --columns.frequency_hz 3.5e9 \\
        --columns.height_m 1.5 --receivers places.csv --method nearest --out runs/walk
    python jobs/predict_paths.py --model runs/scene_paths/scene_paths/model --surroundings city.ply \\
        --transmitter_m [120,80,30] --frequency_hz 3.5e9 --grid_m 2 --height_m 1.5 --out runs/unmeasured

docs/data.md says what may be measured and how columns and units are named; docs/paths.md what is written.
"""

import sys
from pathlib import Path

from pydantic import Field

from raymap.config import from_command_line
from raymap.evaluation.point_channel import Sounding
from raymap.models import path_spread
from raymap.recipes.asked_paths import AskedPaths
from raymap.runtime import path_maps


class Job(AskedPaths):
    """What is measured, where paths are asked for, and by which method."""

    receivers: Path | None = Field(
        None, description="where paths are asked for: a file with columns of positions, or a folder as for --measured"
    )
    at: list[tuple[float, ...]] = Field(
        [], description="X,Y or X,Y,Z of a point [m] at which the channel is computed; repeatable"
    )
    errors: bool | None = Field(
        None, description="whether errors to expect are told; default: of a method, if enough is measured"
    )
    sounding: Sounding = Field(Sounding(), description="how the channel at points is seen")
    out: Path = Field(Path("runs/paths"), description="folder for paths, maps, pictures and the page")


def main(argv: list[str]) -> dict:
    """Run the job, say what came out, and return the numbers of the page.

    Raises ValueError and FileNotFoundError, naming it, for what cannot be read, built or asked for.
    """
    job = from_command_line(Job(), _with_points(argv), prog="predict_paths.py")
    if told := job.missing("receivers", job.receivers):
        raise SystemExit(told)
    name, model = job.built()
    measured, receivers_m = job.read(model, job.receivers)
    found = path_maps.predict(
        model, measured, receivers_m, job.out, method=name, at=job.at, sounding=job.sounding,
        errors=job.model is None and path_spread.can_tell(measured) if job.errors is None else job.errors,
    )  # fmt: skip
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


if __name__ == "__main__":
    main(sys.argv[1:])
