"""Train a RadioUNet on with maps known in a few measured places only, RadioUNet's third training, and score it.

    python jobs/finetune_sparse.py --model runs/demo-radiounet/map/model --data.folder runs/demo/data \\
        --data.measurements.rates '[0.01, 0.01]' --name demo-radiounet-sparse

For who has a model of simulated maps and a few measurements of real ones: only what was measured in the training split
is learned from, in the same cells in every epoch. The report has the model as it was and as it is now, on the test
split. Any field of the config is an option by its dotted name (``--help`` lists them). Running the same command again
continues where it stopped.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from raymap import recipes
from raymap.config import (
    DataConfig,
    MeasurementsConfig,
    OptimConfig,
    Settings,
    TrackingConfig,
    WorkersConfig,
    from_command_line,
)
from raymap.runtime import track
from raymap.runtime.evaluate import score
from raymap.runtime.train import fit


class Job(Settings):
    """Which model goes on, with which measurements."""

    name: str = Field("radiounet-sparse", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="folder under storage")
    storage: str = Field("runs", description="folder under which runs are kept")
    model: str = Field("runs/demo-radiounet/map/model", description="folder of the trained RadioUNet, both its nets")
    data: DataConfig = DataConfig(folder="runs/demo/data", measurements=MeasurementsConfig(rates=(0.01, 0.01)))
    optim: OptimConfig = OptimConfig(num_steps=300, learning_rate=2e-4, warmup_steps=20, checkpoint_every=100)
    workers: WorkersConfig = WorkersConfig()
    tracking: TrackingConfig = TrackingConfig()
    seed: int = 0


def main(argv: Sequence[str]) -> Path:
    """Run the job and print where its model and report are."""
    job = from_command_line(Job(), argv, prog="finetune_sparse.py")
    storage = str(Path(job.storage).resolve())
    uri = job.tracking.uri or track.default_uri(storage)
    run = recipes.sparse_finetune(
        job.model, job.data, name=job.name, storage=storage, optim=job.optim, workers=job.workers, seed=job.seed,
        tracking=job.tracking.model_copy(update={"uri": uri}),
    )  # fmt: skip
    model = fit(run)
    report = Path(storage) / job.name / "report"
    found = score({"RadioUNet": job.model, "RadioUNet, sparse": model}, job.data.folder, "test", report)
    for name in ("RadioUNet", "RadioUNet, sparse"):
        whole = found["methods"][name]["raw"]["all"]
        print(f"{name:18s} NMSE {whole['nmse']['mean']:.4f}  RMSE {whole['rmse_db']['mean']:.2f} dB")
    print(f"model: {model}\nreport: {report}/report.html")
    return model


if __name__ == "__main__":
    main(sys.argv[1:])
