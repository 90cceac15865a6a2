"""Locate receivers by fingerprints from predicted maps, as in Table III of RadioDiff-k²; writes numbers and a page.

    python jobs/localize.py --model k2=runs/demo/model --data DATASET --num_transmitters 8 --out DIR
    python jobs/localize.py --model k2=raymap/pretrained/k2-small --data runs/small/localization \\
        --laws_data runs/benchmark/small/data-srm --num_transmitters 8 --out runs/small/localization-report
    python jobs/localize.py --predictions RadioUNet=maps/radiounet --data runs/radiomapseer/data --num_transmitters 5

Every scene of the split needs so many transmitters; docs/methods.md has the command that makes such a dataset.
``--model`` and ``--predictions`` are named as in ``jobs/evaluate.py``; floors, laws and true maps stand beside them.
"""

import sys
from pathlib import Path

from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.evaluation.localization import NOISE_DB, NUM_POINTS
from raymap.evaluation.predictions import Scale
from raymap.runtime.evaluate import name_models, name_predictions
from raymap.runtime.localize import localize


class Localize(Settings):
    """Locate receivers by K nearest neighbours among fingerprints from predicted maps."""

    model: list[str] = Field([], description="folder or MLflow name of a model, as NAME=MODEL or MODEL; repeatable")
    predictions: list[str] = Field([], description="folder of maps of the whole split, as NAME=FOLDER; repeatable")
    predictions_scale: Scale = Field("radiomapseer", description="what the numbers in those files mean")
    data: str = Field("runs/demo/data", description="dataset folder")
    split: str = "test"
    laws_data: str | None = Field(
        None, description="dataset on whose training split floors and laws are fitted, if not on that of --data"
    )
    num_transmitters: int = Field(2, ge=1, description="transmitters that a receiver hears, the first of every scene")
    noise_db: float = Field(NOISE_DB, ge=0, description="standard deviation of what a receiver measures [dB]")
    num_points: int = Field(NUM_POINTS, ge=1, description="receivers in a scene, if it has as many outdoor cells")
    out: str = Field("runs/demo/localization", description="folder for localization.json, .parquet, .md and .png")


def main(argv: list[str]) -> dict:
    """Run the job and print its page; returns the numbers. Raises as ``localize``."""
    job = from_command_line(Localize(), argv, prog="localize.py")
    models = name_models(job.model)
    found = localize(
        models, job.data, job.split, job.out,
        num_transmitters=job.num_transmitters, noise_db=job.noise_db, num_points=job.num_points,
        given=name_predictions(job.predictions, job.predictions_scale, models), laws_data=job.laws_data,
    )  # fmt: skip
    print((Path(job.out) / "localization.md").read_text())
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
