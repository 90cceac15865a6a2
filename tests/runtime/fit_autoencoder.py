"""A driver for the restart tests: trains the debug autoencoder.

Usage: fit_autoencoder.py STORAGE DATA NUM_STEPS WORKERS [spread] [anew].
"""

import sys

from raymap import recipes
from raymap.config import DataConfig, OptimConfig, TrackingConfig, WorkersConfig
from raymap.runtime.train import fit

if __name__ == "__main__":
    storage, data, num_steps, num_workers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    optim = OptimConfig(num_steps=num_steps, learning_rate=1e-3, checkpoint_every=20, log_every=10, ema_decay=0.9)
    job = recipes.k2("debug").model_copy(
        update={
            "storage": storage,
            "data": DataConfig(folder=data, batch_size=4, materialize="anew" not in sys.argv),
            "workers": WorkersConfig(num=num_workers, spread="spread" in sys.argv),
        }
    )
    run = job.run("autoencoder", optim=optim, tracking=TrackingConfig(uri=f"sqlite:///{storage}/mlflow.db"))
    print(f"finished: {fit(run)}", flush=True)
