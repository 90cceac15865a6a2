"""Score trained models on a split of a dataset, beside the two floors; writes numbers, pictures and a report.

    python jobs/evaluate.py --model runs/demo/model --data runs/demo/data --split test --out runs/demo/report
    python jobs/evaluate.py --model k2=runs/demo/model --model old=runs/old/model --data DATASET --out DIR

``--model`` is a folder, "runs:/<id>/model" or "models:/<name>@<alias>", with an optional name before "=".
"""

import sys

from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.runtime.evaluate import name_models, score


class Evaluate(Settings):
    """Score trained models on a split of a dataset, beside the two floors."""

    model: list[str] = Field([], description="folder or MLflow name of a model, as NAME=MODEL or MODEL; repeatable")
    data: str = Field("runs/demo/data", description="dataset folder")
    split: str = "test"
    out: str = Field("runs/demo/report", description="folder for metrics.json, metrics.parquet, pictures, report.html")


if __name__ == "__main__":
    job = from_command_line(Evaluate(), sys.argv[1:], prog="evaluate.py")
    found = score(name_models(job.model), job.data, job.split, job.out)
    for name, scores in found["methods"].items():
        whole = scores["raw"]["all"]
        print(f"{name:24s} NMSE {whole['nmse']['mean']:.4f}  RMSE {whole['rmse_db']['mean']:.2f} dB  "
              f"SSIM {whole['ssim']['mean']:.3f}  PSNR {whole['psnr']['mean']:.1f} dB")  # fmt: skip
    print(f"report: {job.out}/report.html")
