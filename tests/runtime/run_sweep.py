"""The driver of a small sweep, for tests that kill it: python run_sweep.py FOLDER."""

import sys
from pathlib import Path

import numpy as np

from raymap.config import OptimConfig, PointsConfig, PointsScene, Run, WorkersConfig
from raymap.data import path_file
from raymap.data.path_table import line_of_sight
from raymap.models.pinn_gnn import PinnGnn
from raymap.runtime.sweep import Sweep, sweep

STEPS = 40


def table(num=200):
    """Line of sight alone on an open square, at random places."""
    rng = np.random.default_rng(0)
    receivers_m = np.pad(rng.uniform(0, 100, (num, 2)), [(0, 0), (0, 1)])
    return line_of_sight(receivers_m, (50.0, 50.0, 20.0), 3.5e9)


def planned(folder, **changes):
    """A sweep over the learning rate of a tiny PINN on the square."""
    file = Path(folder) / "square.parquet"
    if not file.is_file():
        path_file.write(file, table())
    model = PinnGnn.Config(network="pinn", around="pinn", num_paths=1, width=32, env_width=8)
    optim = OptimConfig(
        num_steps=STEPS, warmup_steps=1, checkpoint_every=10, log_every=10, precision="fp32", ema_decay=0.5,
        final_learning_rate=0.0,
    )  # fmt: skip
    job = Run[PinnGnn.Config](
        name="tiny", storage=str(folder), model=model, optim=optim, workers=WorkersConfig(num=0),
        data=PointsConfig(scenes=(PointsScene(file=str(file)),), batch_size=64),
    )  # fmt: skip
    wanted = {"name": "sweep", "storage": str(folder), "job": job, "num_trials": 4, "first_look": 0.25,
              "space": {"optim.learning_rate": "1e-5..1e-2 log"}}  # fmt: skip
    return Sweep[Run[PinnGnn.Config]](**{**wanted, **changes})


if __name__ == "__main__":
    sweep(planned(sys.argv[1], scheduler="none", parallel=1, num_trials=3))
