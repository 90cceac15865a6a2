"""Train RadioDiff-k² (autoencoder, then DM1, then DM2 on DM1's outlines) and score it.

    python jobs/train_k2.py --size demo                               # on this machine
    python jobs/train_k2.py --size demo --from runs/sweep-k2-demo/best.json   # with what a sweep found (tune_k2.py)
    ray job submit --working-dir . -- python jobs/train_k2.py --size demo --storage /shared/runs

Any field of the config is an option by its dotted name (``--help`` lists them), e.g. ``--map.optim.num_steps 4000
--workers.num 4 --workers.gpus_each 1``. Running the same command again continues where it stopped.
"""

import sys

from raymap import recipes
from raymap.config import from_command_line, sized
from raymap.runtime.method import train_and_score
from raymap.space import found_by_sweep

if __name__ == "__main__":
    job, rest = found_by_sweep(*sized(recipes.k2, sys.argv[1:], default="demo"))
    train_and_score(from_command_line(job, rest), "RadioDiff-k²")
