"""Find the weights of RMDM's losses and its wavenumber κ by Ray Tune.

    python jobs/tune_rmdm.py --size demo --num_trials 16
    python jobs/tune_rmdm.py --space "map.model.lambda_pinn=0.001..10 log" --objectives '["val_score", "val_ms"]'

Options, what is written and how to go on are those of ``jobs/tune_k2.py``; ``train_baseline.py --method rmdm --from``
takes ``best.json``.
"""

import sys

from raymap.config import from_command_line, sized
from raymap.recipes import sweeps
from raymap.runtime.sweep import sweep

if __name__ == "__main__":
    sweep(from_command_line(*sized(sweeps.rmdm_sweep, sys.argv[1:], default="demo"), prog="tune_rmdm.py"))
