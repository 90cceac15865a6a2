"""fit(run): train one Predictor on Ray Train. Running the same command again continues where it stopped."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from raymap.config import Run, WorkersConfig
from raymap.models import base
from raymap.runtime import cluster, feeds, track
from raymap.runtime.checkpoints import LocalCheckpoints
from raymap.runtime.trainer import Trainer
from raymap.storage import BucketPath, Place, place, require_folder, write_text

#: Told of the metrics of every checkpoint, and of its folder. Must be picklable, since other processes call it.
Listener = Callable[[Mapping[str, float], str], None]
#: How Ray Train ranks checkpoints where the best is kept.
_SCORED = {"checkpoint_score_attribute": "val_loss", "checkpoint_score_order": "min"}
#: Settings that may differ between the interrupted and the resumed command.
MAY_CHANGE = ("workers", "tracking", "storage")


def folder_of(run: Run) -> Place:
    """Where a run keeps its checkpoints and, once trained, its ``model``."""
    return place(run.storage) / run.name


def trained_model(run: Run) -> Place:
    """Folder of the run's finished model (``run.json`` and ``model.safetensors``)."""
    return folder_of(run) / "model"


def fit(run: Run, listener: Listener | None = None, begin_at: Path | None = None) -> Place:
    """Train ``run.model`` and return the folder of the finished model.

    ``begin_at``: another run's checkpoint to go on from, with its weights, optimizers and step, if this run has none.
    Resumes from the last checkpoint if the run was interrupted, and returns at once if it is finished. Raises
    ValueError if the folder holds a run with other settings (naming the first that differs), RuntimeError if the
    cluster is too small, and Ray Train's error if workers keep failing.
    """
    folder, finished = folder_of(run), trained_model(run)
    _claim(folder, run)
    if (finished / base.WEIGHTS_FILE).is_file():
        print(f"[{run.name}] finished before: {finished}", flush=True)
        track.send_leftovers(folder)
        return finished
    if run.workers.num:
        cluster.connect(run.workers.num * run.workers.cpus_each + 1, _needs(run))
    tracker = track.start(run, folder, feeds.kind_of(run).about(run))
    try:
        train = _train_on_ray if run.workers.num else _train_here
        checkpoint = train(run, tracker, listener, begin_at)
        _publish(checkpoint, finished)
        tracker.model(finished)
    except BaseException:
        tracker.end("FAILED", patience_s=5)
        raise
    tracker.end("FINISHED")
    return finished


def _needs(run: Run) -> dict[str, float]:
    """What nodes must offer beside CPUs."""
    workers = run.workers
    needs = {"GPU": workers.num * workers.gpus_each, workers.data_resource: 1}
    return {name: amount for name, amount in needs.items() if name and amount}


def _claim(folder: Place, run: Run) -> None:
    """Write the run's settings into its folder, or check them against the ones already there."""
    wanted = run.model_dump(mode="json", exclude=set(MAY_CHANGE))
    path = folder / "settings.json"
    if path.is_file():
        found = _with_newer_settings(run, json.loads(path.read_text()))
        different = [key for key in wanted if found.get(key) != wanted[key]]
        if different:
            raise ValueError(
                f"{folder} was started with other settings: {different[0]} was {found.get(different[0])}, "
                f"now {wanted[different[0]]}; give the run another --name or remove the folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(wanted, indent=2) + "\n")


def _with_newer_settings(run: Run, found: dict) -> dict:
    """Settings of an earlier start with the defaults of fields that did not exist yet, as far as they still parse."""
    mine = run.model_dump(mode="json")
    try:
        return type(run).model_validate({**mine, **found}).model_dump(mode="json", exclude=set(MAY_CHANGE))
    except ValueError:
        return found


def _publish(checkpoint: Place, finished: Place) -> None:
    """Copy the model out of the last checkpoint; it appears under its name only when whole."""
    if isinstance(finished, BucketPath):
        # The weights last: a folder with weights is a model.
        for name in (base.CONFIG_FILE, base.WEIGHTS_FILE):
            (finished / name).write_bytes((checkpoint / name).read_bytes())
        return
    partial = finished.with_name(f"{finished.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in (base.CONFIG_FILE, base.WEIGHTS_FILE):
        shutil.copy2(checkpoint / name, partial / name)
    partial.rename(finished)


def _train_on_ray(run: Run, tracker: track.Tracker, listener: Listener | None, begin_at: Path | None) -> Place:
    from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    workers, folder = run.workers, folder_of(run)
    in_bucket = isinstance(folder, BucketPath)
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={
            "run": run.model_dump(mode="json"),
            "tracker": tracker.state,
            "begin_at": begin_at and str(begin_at),
        },
        datasets=feeds.kind_of(run).datasets(run, folder),
        dataset_config=data_config(workers),
        scaling_config=ScalingConfig(
            num_workers=workers.num if workers.least is None else (workers.least, workers.num),
            placement_strategy="SPREAD" if workers.spread else "PACK",
            use_gpu=workers.gpus_each > 0,
            resources_per_worker={
                "CPU": workers.cpus_each,
                **({"GPU": workers.gpus_each} if workers.gpus_each else {}),
            },
        ),
        run_config=RunConfig(
            name="checkpoints",
            storage_path=folder.inside if in_bucket else str(folder),
            storage_filesystem=folder.filesystem if in_bucket else None,
            failure_config=FailureConfig(max_failures=workers.max_failures, controller_failure_limit=3),
            checkpoint_config=CheckpointConfig(num_to_keep=2, **_SCORED if run.optim.keep == "best" else {}),
            logging_config=LoggingConfig(log_level="WARNING"),
            callbacks=[_callback(listener)] if listener else [],
        ),
        torch_config=TorchConfig(backend="nccl" if workers.gpus_each else "gloo", timeout_s=120),
    )
    found = trainer.fit()
    kept = found.checkpoint
    if run.optim.keep == "best":
        kept = min(found.best_checkpoints, key=lambda pair: pair[1]["val_loss"])[0]
    return place(f"{folder.scheme}://{kept.path}" if in_bucket else kept.path)


def data_config(workers: WorkersConfig):
    """How maps are dealt out: to each worker its part of the training split, to all the whole validation split."""
    from ray.data import ExecutionOptions
    from ray.train import DataConfig

    return DataConfig(
        datasets_to_split=["train"],
        # In order, Ray deals blocks out by their numbers of rows alone: the same to the same worker every time.
        execution_options=ExecutionOptions(preserve_order=not workers.near_data),
        enable_shard_locality=workers.near_data,
    )


def _callback(listener: Listener):
    from ray.train import UserCallback

    class Tell(UserCallback):
        def after_report(self, run_context, metrics, checkpoint):
            if checkpoint is not None:
                listener(metrics[0], checkpoint.path)

    return Tell()


def _train_here(run: Run, tracker: track.Tracker, listener: Listener | None, begin_at: Path | None) -> Path:
    """The same loop in this process, with checkpoints of its own."""
    kept = LocalCheckpoints(require_folder(folder_of(run), "the storage of a training without workers") / "checkpoints")

    def report(metrics: Mapping[str, float], written: Path) -> None:
        kept.keep(metrics, written)
        if listener is not None:
            listener(metrics, str(kept.last()))

    trainer = Trainer(run, 0, 1)
    trainer.tracker, trainer.report = tracker, report
    found = kept.last() or begin_at
    trainer.prepare() if found is None else trainer.restore(found)
    trainer.run_to_end()
    return kept.best() if run.optim.keep == "best" else kept.last()


def train_loop(config: dict) -> dict:
    """What every worker of Ray Train runs."""
    import ray.train

    # Ray Train reports every report through the root logger.
    logging.getLogger().setLevel(logging.WARNING)
    # A remark about the memory layout of 1x1 convolutions, at every start of every worker.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    run = Run.model_validate(config["run"])
    context = ray.train.get_context()
    trainer = Trainer(run, context.get_world_rank(), context.get_world_size())
    trainer.feed.attach()
    if trainer.rank == 0:
        trainer.tracker = track.Tracker(**config["tracker"])
    found = ray.train.get_checkpoint()
    if found is not None:
        with found.as_directory() as folder:
            trainer.restore(Path(folder))
    elif config["begin_at"]:
        trainer.restore(Path(config["begin_at"]))
    else:
        trainer.prepare()
    trainer.wrap()
    try:
        return trainer.run_to_end()
    finally:
        if trainer.tracker is not None:
            trainer.tracker.close()
