"""Where to measure next, and how wrong paths are likely to be there: places in their order, a table and a picture.

    python jobs/next_measurements.py --measured walk.csv --grid_m 1 --num 20 --method virtual_sources --out next.csv
    python jobs/next_measurements.py --measured walk.csv --candidates places.csv --model runs/town/model --out next.csv

docs/data.md says what may be measured and how columns and units are named; docs/paths.md how places are chosen. The
errors are those of the method at measured receivers that it is not told of: a model that was trained on the same
receivers has seen them, and its errors come out too small.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from raymap.config import from_command_line
from raymap.evaluation import next_places_picture, path_maps
from raymap.models import path_spread
from raymap.models.next_places import next_places
from raymap.recipes.asked_paths import AskedPaths
from raymap.storage import whole, write_text

#: The columns of errors, rms over the paths of a receiver.
ERRORS = ("power_error_db", "delay_error_ns", "zenith_error_deg", "azimuth_error_deg")


class Job(AskedPaths):
    """What is measured, where one can measure next, and by which method paths are completed."""

    candidates: Path | None = Field(
        None, description="where one can measure: a file with columns of positions, or a folder as for --measured"
    )
    num: int = Field(20, ge=1, description="places to measure next")
    out: Path = Field(Path("runs/next.csv"), description="table of the places; a picture of its name lies beside it")


def main(argv: list[str]) -> pd.DataFrame:
    """Run the job, print the places and return their table.

    Raises ValueError and FileNotFoundError, naming it, for what cannot be read, built or asked for.
    """
    job = from_command_line(Job(), argv, prog="next_measurements.py")
    if told := job.missing("candidates", job.candidates):
        raise SystemExit(told)
    if job.measured is None:
        raise SystemExit("--measured FILE or FOLDER is needed: what is measured tells where errors are")
    if job.out.suffix != ".csv":
        raise SystemExit(f"--out is a .csv file, got {job.out}")
    name, model = job.built()
    measured, candidates_m = job.read(model, job.candidates)
    rms = path_spread.spread(model, measured, candidates_m)
    expected = path_spread.mixed_square(rms)
    rows = next_places(expected, measured.receivers_m, candidates_m, job.num)
    table = pd.DataFrame(candidates_m[rows], columns=["x_m", "y_m", "z_m"])
    for column, (error, values) in zip(ERRORS, path_maps.errors(rms[rows]).items(), strict=True):
        table[column] = values / path_maps.ERRORS[error].one
    picture = next_places_picture.draw(
        np.sqrt(expected), candidates_m, rows, measured.receivers_m, measured.transmitter_m
    )
    job.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(job.out, table.round(4).to_csv(index=False))
    with whole(job.out.with_suffix(".png")) as path:
        path.write_bytes(picture)
    print(table.rename(index=lambda row: row + 1).round(2).to_string())
    print(f"{job.num} of {len(candidates_m)} places, by {name} from {len(measured)} measured ones: {job.out}")
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
