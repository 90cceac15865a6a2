"""Find λ1 to λ4, λ_phy, λ_type and k of a PINN-GNN by Ray Tune, on what is measured of one transmitter.

    python jobs/tune_pinn_gnn.py --data runs/s1 --rate 0.1 --method published --num_trials 32
    python jobs/train_pinn_gnn.py --data S1=runs/s1 --methods published --tuned published=runs/sweep-published/best.json

``--data`` is what ``jobs/train_pinn_gnn.py`` takes, without a name. Receivers to measure are drawn with ``--seed``;
some of them are kept for validation, and by their paths trials are compared. The other options, what is written and how
to go on are those of ``jobs/tune_k2.py``; a trial trains in one process on one CPU (``--job.workers.num 0``).
"""

import sys

from raymap.config import from_command_line, sized
from raymap.data import path_sources
from raymap.recipes import sweeps
from raymap.runtime import path_study
from raymap.runtime.sweep import Sweep, sweep


def with_measured(plan: Sweep, source: str, rate: float) -> Sweep:
    """The sweep on a share of a source's receivers, which are written into its folder.

    Raises ValueError as the reader of the source, and for a source of several transmitters.
    """
    tables = path_sources.read(source, num_paths=plan.job.model.num_paths)
    if len(tables) != 1:
        raise ValueError(f"{source} has {len(tables)} transmitters; a sweep takes one: {', '.join(tables)}")
    measured, _others = path_study.draw(next(iter(tables.values())), rate=rate, seed=plan.seed)
    scene = path_study.written(measured, plan.job.model, plan.folder, plan.folder)
    data = plan.job.data.model_copy(update={"scenes": (scene,)})
    return plan.model_copy(update={"job": plan.job.model_copy(update={"data": data})})


if __name__ == "__main__":
    source, rest = sized(str, sys.argv[1:], default="", flag="data")
    if not source:
        raise SystemExit("--data names the folder or table of measurements; --help tells more")
    rate, rest = sized(float, rest, default="0.1", flag="rate")
    method, rest = sized(str, rest, default="published", flag="method")
    plan, rest = sized(lambda size: sweeps.pinn_gnn_sweep(method, size), rest, default="small")
    sweep(with_measured(from_command_line(plan, rest, prog="tune_pinn_gnn.py"), source, rate))
