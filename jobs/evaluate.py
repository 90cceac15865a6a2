"""Score trained models on a split of a dataset, beside four floors and the law of a cell; writes a report.

    python jobs/evaluate.py --model runs/demo/model --data runs/demo/data --split test --out runs/demo/report
    python jobs/evaluate.py --model k2=runs/demo/model --model old=runs/old/model --data DATASET --out DIR
    python jobs/evaluate.py --model k2=runs/demo/model --measurements.rates '[0.01, 0.01]' --measurements.noise_db 2
    python jobs/evaluate.py --predictions RadioUNet=maps/radiounet --data runs/radiomapseer/data --out DIR

``--model`` is a folder, "runs:/<id>/model" or "models:/<name>@<alias>", with an optional name before "=".
``--predictions`` is a name and a folder of maps that other code predicted, one file per map of the split
(``raymap.evaluation.predictions`` has their names and scales); every file is checked before anything is scored.
"""

import math
import sys

from pydantic import Field

from raymap.config import MeasurementsConfig, Settings, from_command_line
from raymap.evaluation.predictions import Scale
from raymap.runtime.evaluate import name_models, name_predictions, score


class Evaluate(Settings):
    """Score trained models on a split of a dataset, beside four floors and the law of a cell."""

    model: list[str] = Field([], description="folder or MLflow name of a model, as NAME=MODEL or MODEL; repeatable")
    predictions: list[str] = Field([], description="folder of predicted maps, as NAME=FOLDER; repeatable")
    measurements: MeasurementsConfig | None = Field(
        None, description="let models be shown, or corrected by, what is measured in some cells of every map"
    )
    predictions_scale: Scale = Field("radiomapseer", description="what the numbers in those files mean")
    data: str = Field("runs/demo/data", description="dataset folder")
    split: str = "test"
    out: str = Field("runs/demo/report", description="folder for metrics.json, metrics.parquet, pictures, report.html")


if __name__ == "__main__":
    job = from_command_line(Evaluate(), sys.argv[1:], prog="evaluate.py")
    models = name_models(job.model)
    given = name_predictions(job.predictions, job.predictions_scale, models)
    found = score(models, job.data, job.split, job.out, given=given, measurements=job.measurements)
    for name, scores in found["methods"].items():
        whole = scores["raw"]["all"]
        psnr = whole["psnr"]["mean"]
        print(f"{name:24s} NMSE {whole['nmse']['mean']:.4f}  RMSE {whole['rmse_db']['mean']:.2f} dB  "
              f"SSIM {whole['ssim']['mean']:.3f}  PSNR {math.inf if psnr is None else psnr:.1f} dB")  # fmt: skip
    print(f"report: {job.out}/report.html")
