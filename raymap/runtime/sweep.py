"""sweep(sweep): trainings of one job with settings drawn from a space, by Ray Tune over the same ``fit``.

::

    driver    stages that no setting touches, once; Tuner.fit: who comes next, who may go on; best.json as it goes
    trial     the job with its settings in a folder of its own, trained by Ray Train; tells Tune of every checkpoint
    workers   as in any training

Running the same command again continues where it stopped: Tune remembers the trials, and every trial's training its
checkpoints.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field, SerializeAsAny, model_validator

from raymap.config import Settings, TrackingConfig
from raymap.runtime import cluster, provenance, sweep_trial, track
from raymap.runtime.method import MethodJob
from raymap.runtime.sweep_confirm import confirm
from raymap.runtime.sweep_log import SWEEP_FILE, Budget, SweepLog
from raymap.runtime.sweep_trial import SCORE, Trial
from raymap.space import Choice, Range, Space, fields_of, require_fits
from raymap.storage import require_folder

JobT = TypeVar("JobT", bound=Settings)
TUNE_FOLDER = "tune"
#: Settings of a sweep that may differ between the interrupted and the resumed command.
MAY_CHANGE = ("tracking", "storage", "parallel", "max_hours", "confirm_seeds", "confirm_steps")


class Sweep(Settings, Generic[JobT]):
    """Which job is trained with which settings, how they are chosen, and for how long."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="folder of the sweep under storage")
    storage: str = Field("runs", description="folder under which sweeps are kept")
    job: SerializeAsAny[JobT]
    space: Space = Field(
        description="FIELD=LOW..HIGH (log, int behind it) or FIELD=A|B|C; fields by commas share a value; repeatable"
    )
    search: Literal["optuna", "random"] = Field("optuna", description="how settings are drawn; PBT draws its own")
    scheduler: Literal["asha", "pbt", "none"] = Field(
        "asha", description="asha: trials that are behind are stopped; pbt: they go on from better ones; none"
    )
    objectives: tuple[Literal["val_score", "val_ms"], ...] = Field(
        (SCORE,), min_length=1, description="what is lessened: val_score, or with val_ms also the time of a prediction"
    )
    num_trials: int = Field(16, ge=1, description="budget: trials")
    max_hours: float | None = Field(None, gt=0, description="budget: hours since the start of the command")
    max_epochs: float | None = Field(None, gt=0, description="budget: passes over the training data, of all trials")
    first_look: float = Field(0.1, gt=0, le=1, description="share of the steps after which asha may stop a trial")
    keep: int = Field(3, ge=2, description="asha lets one in so many go on at every look")
    parallel: int | None = Field(None, ge=1, description="trials at a time; default: as many as there are CPUs or GPUs")
    max_failures: int = Field(2, ge=0, description="how often a failed trial is tried again")
    confirm_seeds: int = Field(
        0, ge=0, description="afterwards train what was found, and the job as it was, from so many seeds each"
    )
    confirm_steps: int | None = Field(None, ge=1, description="steps of these trainings; default: those of a trial")
    tracking: TrackingConfig = TrackingConfig()
    seed: int = 0

    @model_validator(mode="after")
    def _fits(self) -> Sweep[JobT]:
        if not self.space:
            raise ValueError("nothing is searched; name fields by --space FIELD=LOW..HIGH")
        require_fits(self.space, self.job)
        if self.objectives[0] != SCORE or len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives begin with {SCORE}, and none is there twice, got {self.objectives}")
        if self.confirm_seeds and not isinstance(self.job, MethodJob):
            raise ValueError(
                "only methods of maps are confirmed here; of paths, train_pinn_gnn.py --tuned compares them"
            )
        if self.scheduler == "pbt":
            fixed = [name for name in fields_of(self.space) if not name.startswith(sweep_trial.changeable(self.job))]
            if fixed:
                raise ValueError(f"pbt changes settings within a training, which {fixed[0]} does not allow")
            if len(self.objectives) > 1:
                raise ValueError("pbt follows one objective")
        return self

    @property
    def folder(self) -> Path:
        """Absolute folder of the sweep."""
        return require_folder(self.storage, "the storage of a sweep") / self.name


def sweep(sweep: Sweep) -> dict[str, Any]:
    """Run the sweep, or go on with it; returns what ``best.json`` holds.

    Writes ``best.json`` as soon as there is a result and whenever there is a better one, ``sweep.html`` and
    ``sweep.json`` with all trials, and ``confirm.json`` where that is asked for
    (:func:`raymap.runtime.sweep_confirm.confirm`). A trial that fails is tried again and never ends the sweep. Raises
    ValueError if the folder holds a sweep with other settings, RuntimeError if no trial came to a result.
    """
    _claim(sweep)
    num_parallel = _connect(sweep)
    uri = sweep.tracking.uri or track.default_uri(sweep.storage)
    tracking = sweep.tracking.model_copy(update={"uri": uri})
    tracker = track.open_run(sweep.name, sweep.folder, tracking, sweep.storage, sweep, provenance.tags())
    log = _log(sweep)
    try:
        inside = tracking.model_copy(update={"parent": tracker.run_id})
        job = sweep_trial.prepared(sweep.job, sweep.space, sweep.folder, inside)
        _tuner(sweep, job, inside, num_parallel, log).fit()
        found = log.write()
        if sweep.confirm_seeds:
            confirm(job, found["overrides"], sweep.folder, inside, sweep.confirm_seeds, sweep.confirm_steps)
            log.write()
    except BaseException:
        tracker.end("FAILED", patience_s=5)
        raise
    sweep_trial.end_runs(sweep.folder, log.failed)
    tracker.metrics(len(log.trials()), {f"best/{name}": found[name] for name in sweep.objectives})
    for path in ("best.json", "sweep.json", "sweep.html"):
        tracker.file(sweep.folder / path)
    tracker.end("FINISHED")
    return found


def _log(sweep: Sweep) -> SweepLog:
    kept = sweep.folder / SWEEP_FILE
    before = json.loads(kept.read_text())["commit"].split(", ") if kept.is_file() else []
    about = {
        "name": sweep.name, "space": sweep.model_dump(mode="json")["space"], "search": sweep.search,
        "scheduler": sweep.scheduler, "objectives": list(sweep.objectives), "num_trials": sweep.num_trials,
        "num_steps": sweep_trial.last_stage(sweep.job).optim.num_steps, "hardware": provenance.hardware(),
        "commit": ", ".join(dict.fromkeys([*before, provenance.git_commit()])),
        "command": provenance.command(),
    }  # fmt: skip
    return SweepLog(str(sweep.folder), about)


def _claim(sweep: Sweep) -> None:
    wanted = sweep.model_dump(mode="json", exclude=set(MAY_CHANGE))
    path = sweep.folder / "settings.json"
    if path.is_file():
        found = json.loads(path.read_text())
        different = [key for key in wanted if found.get(key) != wanted[key]]
        if different:
            raise ValueError(
                f"{sweep.folder} was started with other settings: {different[0]} was {found.get(different[0])}, now "
                f"{wanted[different[0]]}; give the sweep another --name or remove the folder"
            )
    sweep.folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(wanted, indent=2) + "\n")


def _connect(sweep: Sweep) -> int:
    """Join or start the cluster; the trials that run at a time. One CPU is left for data."""
    cpus, workers = sweep_trial.cpus_of(sweep.job), sweep.job.workers
    # A cluster that is started here has as many logical CPUs as trials keep its cores busy.
    here = 1 if os.environ.get("RAY_ADDRESS") else (os.cpu_count() or 1) // math.ceil(cpus - 0.1)
    cluster.connect(min_cpus=max(1, sweep.parallel or here) * cpus + 1)
    import ray

    there = ray.cluster_resources()
    rooms = [(there["CPU"] - 1) // cpus]
    if workers.gpus_each:
        rooms.append(there.get("GPU", 0) // (workers.gpus_each * workers.num))
    return sweep.parallel or max(1, math.floor(min(rooms)))


def _tuner(sweep: Sweep, job: Settings, tracking: TrackingConfig, num_parallel: int, log: SweepLog):
    from ray import tune

    trial = Trial(kind=sweep_trial.kind_of(job), job=job.model_dump(mode="json"), folder=str(sweep.folder),
                  tracking=tracking.model_dump(), hands_over=sweep.scheduler == "pbt")  # fmt: skip
    # A trial's own process only waits; its workers hold the CPUs. Without workers it does the work.
    cpus = 0.1 if job.workers.num else job.workers.cpus_each
    trainable = tune.with_resources(tune.with_parameters(sweep_trial.run, trial=trial.model_dump()), {"cpu": cpus})
    where = sweep.folder / TUNE_FOLDER
    run_config = tune.RunConfig(
        name=TUNE_FOLDER, storage_path=str(sweep.folder), verbose=0, callbacks=[log.callback()],
        failure_config=tune.FailureConfig(max_failures=sweep.max_failures),
        stop=Budget(sweep.max_hours, sweep.max_epochs).stopper(),
    )  # fmt: skip
    if tune.Tuner.can_restore(str(where)):
        print(f"[{sweep.name}] goes on with the trials in {where}", flush=True)
        return tune.Tuner.restore(str(where), trainable=trainable, resume_unfinished=True)
    several = len(sweep.objectives) > 1
    config = tune.TuneConfig(
        metric=None if several else SCORE, mode=None if several else "min", num_samples=sweep.num_trials,
        search_alg=_search(sweep, num_parallel), scheduler=_scheduler(sweep),
        trial_name_creator=sweep_trial.name_of, trial_dirname_creator=sweep_trial.name_of,
    )  # fmt: skip
    return tune.Tuner(trainable, param_space=_tune_space(sweep), tune_config=config, run_config=run_config)


def _search(sweep: Sweep, num_parallel: int):
    """What draws settings; it is asked for no more than so many trials at a time."""
    if sweep.search == "random" or sweep.scheduler == "pbt":
        from ray.tune.search.basic_variant import BasicVariantGenerator

        return BasicVariantGenerator(max_concurrent=num_parallel, random_state=sweep.seed)
    import optuna
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    names = list(sweep.objectives)
    several = len(names) > 1
    searcher = OptunaSearch(
        metric=names if several else None, mode=["min"] * len(names) if several else None,
        sampler=optuna.samplers.TPESampler(seed=sweep.seed, multivariate=True, constant_liar=True),
    )  # fmt: skip
    return ConcurrencyLimiter(searcher, max_concurrent=num_parallel)


def _scheduler(sweep: Sweep):
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining

    num_steps = sweep_trial.last_stage(sweep.job).optim.num_steps
    about = {} if len(sweep.objectives) == 1 else {"metric": SCORE, "mode": "min"}
    if sweep.scheduler == "asha":
        first = max(1, round(sweep.first_look * num_steps))
        return ASHAScheduler(
            time_attr="step", max_t=num_steps + 1, grace_period=first, reduction_factor=sweep.keep, **about
        )
    if sweep.scheduler == "pbt":
        return PopulationBasedTraining(
            time_attr="step", perturbation_interval=max(1, round(sweep.first_look * num_steps)),
            hyperparam_mutations=_tune_space(sweep), synch=True,
        )  # fmt: skip
    return FIFOScheduler()


def _tune_space(sweep: Sweep) -> dict[str, Any]:
    return {sweep_trial.to_tune(key): _tune_domain(domain) for key, domain in sweep.space.items()}


def _tune_domain(domain: Range | Choice):
    from ray import tune

    if isinstance(domain, Choice):
        return tune.choice(list(domain.values))
    if domain.integer:
        draw = tune.lograndint if domain.log else tune.randint
        return draw(int(domain.low), int(domain.high) + 1)
    return (tune.loguniform if domain.log else tune.uniform)(domain.low, domain.high)
