"""Train RadioDiff-k² (autoencoder, then DM1, then DM2 on DM1's outlines) and score it.

    python jobs/train_k2.py --size demo                               # on this machine
    ray job submit --working-dir . -- python jobs/train_k2.py --size demo --storage /shared/runs

Any field of the config is an option by its dotted name (``--help`` lists them), e.g. ``--map.optim.num_steps 4000
--workers.num 4 --workers.gpus_each 1``. Running the same command again continues where it stopped.
"""

import sys

from raymap import recipes
from raymap.config import from_command_line, sized
from raymap.runtime.method import train_and_score

if __name__ == "__main__":
    train_and_score(from_command_line(*sized(recipes.k2, sys.argv[1:], default="demo")), "RadioDiff-k²")
