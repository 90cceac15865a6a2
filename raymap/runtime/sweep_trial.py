"""One trial of a sweep: a job with its settings in a folder of its own, and what it tells."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from raymap.config import Run, Settings, Stage, TrackingConfig
from raymap.runtime import method, provenance, track
from raymap.runtime.train import Listener, fit
from raymap.space import fields_of, overridden

#: What every checkpoint of a trial tells: the error of what is predicted, and the time for one sample [ms].
SCORE, TIME = "val_score", "val_ms"
TRIALS_FOLDER, SHARED_FOLDER = "trials", "shared"
TRIAL_FILE, HISTORY_FILE = "trial.json", "history.jsonl"
JOBS: dict[str, type[Settings]] = {
    "MethodJob": method.MethodJob, "CurriculumJob": method.CurriculumJob, "LatentJob": method.LatentJob,
    "K2Job": method.K2Job, "Run": Run,
}  # fmt: skip


class Trial(Settings):
    """All that the trials of a sweep share, in plain values."""

    kind: str
    job: dict[str, Any]
    folder: str
    tracking: TrackingConfig
    hands_over: bool


def kind_of(job: Settings) -> str:
    """The name of a job's class, whatever model it is for. Raises ValueError for what is no job."""
    for found in type(job).__mro__:
        if found.__name__ in JOBS:
            return found.__name__
    raise ValueError(f"a sweep trains {', '.join(JOBS)}, not {type(job).__name__}")


def last_stage(job: Settings) -> Run | Stage:
    """What is scored: the stage that draws the map, or the one training there is."""
    return job if isinstance(job, Run) else job.map


def changeable(job: Settings) -> tuple[str, ...]:
    """How settings begin that may change while the last stage is trained."""
    return ("model.", "optim.") if isinstance(job, Run) else ("map.model.", "map.optim.")


def cpus_of(job: Settings) -> float:
    """CPUs that one trial takes."""
    return job.workers.num * job.workers.cpus_each + 0.1 if job.workers.num else job.workers.cpus_each


def to_tune(key: str) -> str:
    """A key of a space as Tune may have it: it cuts names at slashes, and nothing else."""
    return key.replace("/", "|")


def name_of(trial: Any) -> str:
    """Tune's trial as its folder is called."""
    return trial.trial_id.rsplit("_", 1)[-1]


def prepared(job: Settings, space: Mapping[str, Any], folder: Path, tracking: TrackingConfig) -> Settings:
    """The job as all trials begin with it: scored at every checkpoint, with the stages trained that no setting touches.

    Those lie in ``folder``/shared. All places in it are absolute.
    """
    job = overridden(job, {"optim.score_validation" if isinstance(job, Run) else "map.optim.score_validation": True})
    if isinstance(job, Run):
        return job
    shared = job.model_copy(update={"name": SHARED_FOLDER, "storage": str(folder), "tracking": tracking})
    shared = shared.model_copy(update={"data": job.resolved_data if job.data.folder else shared.resolved_data})
    trained = {stage: str(Path(where).resolve()) for stage, where in job.trained.items()}
    found = method.train_before(shared.model_copy(update={"trained": trained}), _untouched(job, space))
    trained |= {stage: str(where) for stage, where in found.items()}
    return job.model_copy(update={"data": shared.resolved_data, "trained": trained})


def _untouched(job: method.MethodJob, space: Mapping[str, Any]) -> list[str]:
    """Stages, in order, up to the first that a setting of the space changes."""
    touched = {name.split(".")[0] for name in fields_of(space)}
    if touched - set(job.stages):
        return []
    first = min(job.stages.index(stage) for stage in touched)
    return list(job.stages[:first])


def run(config: dict[str, Any], trial: dict[str, Any]) -> None:
    """What Tune calls: train with ``config``, keys of the space -> values, and report every checkpoint."""
    from ray import tune
    from ray.util.queue import Empty, Queue

    shared = Trial.model_validate(trial)
    number = tune.get_context().get_trial_id().rsplit("_", 1)[-1]
    folder = Path(shared.folder) / TRIALS_FOLDER / number
    folder.mkdir(parents=True, exist_ok=True)
    overrides = {key.replace("|", "/"): _plain(value) for key, value in config.items()}
    if not (folder / TRIAL_FILE).is_file():
        (folder / TRIAL_FILE).write_text(json.dumps({"id": number, "begun": time.time()}) + "\n")
    job = overridden(JOBS[shared.kind].model_validate(shared.job), overrides)
    tracker = track.open_run(f"trial {number}", folder, shared.tracking, shared.folder, job, provenance.tags())
    begin_at = _handed_over() if shared.hands_over else None
    past = read(folder)["history"]
    if past and begin_at is None:
        # What was told before this process began; a training that is over will tell nothing more.
        tune.report(past[-1])
    part = len(list(folder.glob("part*"))) if shared.hands_over else 0
    tracking = shared.tracking.model_copy(update={"parent": tracker.run_id})
    job = job.model_copy(update={"name": f"part{part}", "storage": str(folder), "tracking": tracking})
    queue: Queue = Queue(actor_options={"num_cpus": 0})
    work = _Work(job, _Put(queue), begin_at)
    work.start()
    while work.is_alive() or not queue.empty():
        try:
            metrics, checkpoint = queue.get(timeout=0.5)
        except Empty:
            continue
        line = {**metrics, "overrides": overrides}
        with (folder / HISTORY_FILE).open("a") as file:
            file.write(json.dumps(line) + "\n")
        tracker.metrics(metrics["step"], metrics)
        handed = tune.Checkpoint.from_directory(checkpoint) if shared.hands_over else None
        tune.report(metrics, checkpoint=handed)
    work.join()
    tracker.end("FAILED" if work.error else "FINISHED")
    if work.error:
        raise work.error


def _handed_over() -> Path | None:
    """The checkpoint that Tune wants this trial to go on from: its own, or that of a better one."""
    from ray import tune

    found = tune.get_checkpoint()
    return None if found is None else Path(found.to_directory())


def _plain(value: Any) -> Any:
    """Numbers of Python for those of numpy."""
    return value.item() if hasattr(value, "item") else value


class _Put:
    """A listener that hands on what is scored, from whatever process it is called in."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue

    def __call__(self, metrics: Mapping[str, float], checkpoint: str) -> None:
        if SCORE in metrics:
            self.queue.put((dict(metrics), checkpoint))


class _Work(threading.Thread):
    """The training, so that the trial's own thread is free to report."""

    def __init__(self, job: Settings, listener: Listener, begin_at: Path | None) -> None:
        super().__init__(name="training", daemon=True)
        self.job, self.listener, self.begin_at = job, listener, begin_at
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            train = fit if isinstance(self.job, Run) else method.train
            train(self.job, self.listener, self.begin_at)
        except BaseException as error:
            self.error = error


def read(folder: Path) -> dict[str, Any]:
    """A trial's id and history: the metrics of every checkpoint with the settings that led to it.

    Of a checkpoint that was made twice, before and after a failure, the later.
    """
    found = {"history": [], **json.loads((folder / TRIAL_FILE).read_text())}
    history = folder / HISTORY_FILE
    if history.is_file():
        lines = [json.loads(line) for line in history.read_text().splitlines() if line.endswith("}")]
        found["history"] = [line for _step, line in sorted({line["step"]: line for line in lines}.items())]
    return found


def read_all(folder: Path) -> list[dict[str, Any]]:
    """Every trial of a sweep's folder in the order in which they began, with its ``number`` in it from 1."""
    found = [read(path.parent) for path in (folder / TRIALS_FOLDER).glob(f"*/{TRIAL_FILE}")]
    ordered = sorted(found, key=lambda trial: trial["begun"])
    return [{"number": number, **trial} for number, trial in enumerate(ordered, 1)]


def end_runs(folder: Path, failed: Collection[str]) -> None:
    """Mark as KILLED the runs of trials that were stopped and could not say so themselves; ``failed`` have failed."""
    for trial in read_all(folder):
        for path in sorted((folder / TRIALS_FOLDER / trial["id"]).rglob(track.RUN_FILE)):
            tracker = track.Tracker(json.loads(path.read_text())["uri"], path.parent)
            if trial["id"] not in failed and tracker.status() in ("RUNNING", "FAILED"):
                tracker.end("KILLED")
