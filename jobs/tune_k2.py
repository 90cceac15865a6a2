"""Find the loss weights, outline and learning rate of RadioDiff-k² by Ray Tune.

    python jobs/tune_k2.py --size demo --num_trials 16
    python jobs/tune_k2.py --space "map.model.lambda_drift=0.1..10 log" --job.map.optim.num_steps 300 --scheduler pbt
    ray job submit --working-dir . -- python jobs/tune_k2.py --size small --storage /shared/runs --job.workers.num 2

Any field of the sweep is an option by its dotted name (``--help`` lists them), the job's below ``--job``. Stages that
no searched setting changes are trained once for all trials. Running the same command again continues where it stopped.
Writes ``best.json``, which ``train_k2.py --from`` takes, and ``sweep.html``; docs/sweeps.md tells more.
"""

import sys

from raymap.config import from_command_line, sized
from raymap.recipes import sweeps
from raymap.runtime.sweep import sweep

if __name__ == "__main__":
    sweep(from_command_line(*sized(sweeps.k2_sweep, sys.argv[1:], default="demo"), prog="tune_k2.py"))
