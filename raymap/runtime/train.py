"""fit(run): train one Predictor on Ray Train. Running the same command again continues where it stopped."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.optim.swa_utils import AveragedModel

from raymap.config import Run
from raymap.models import base
from raymap.runtime import cluster, feeds, track
from raymap.runtime.checkpoints import LocalCheckpoints
from raymap.runtime.progress import Progress, Stopwatch

STATE_FILE = "state.pt"
#: How Ray Train ranks checkpoints where the best is kept.
_SCORED = {"checkpoint_score_attribute": "val_loss", "checkpoint_score_order": "min"}
#: Settings that may differ between the interrupted and the resumed command.
MAY_CHANGE = ("workers", "tracking", "storage")


def folder_of(run: Run) -> Path:
    """Where a run keeps its checkpoints and, once trained, its ``model``."""
    return Path(run.storage).resolve() / run.name


def trained_model(run: Run) -> Path:
    """Folder of the run's finished model (``run.json`` and ``model.safetensors``)."""
    return folder_of(run) / "model"


def fit(run: Run) -> Path:
    """Train ``run.model`` and return the folder of the finished model.

    Resumes from the last checkpoint if the run was interrupted, and returns at once if it is finished. Raises
    ValueError if the folder holds a run with other settings (naming the first that differs), RuntimeError if the
    cluster is too small, and Ray Train's error if workers keep failing.
    """
    folder, finished = folder_of(run), trained_model(run)
    _claim(folder, run)
    if (finished / base.WEIGHTS_FILE).is_file():
        print(f"[{run.name}] finished before: {finished}", flush=True)
        return finished
    if run.workers.num:
        cluster.connect(min_cpus=run.workers.num * run.workers.cpus_each + 1)
    tracker = track.start(run, folder, feeds.kind_of(run).about(run))
    try:
        checkpoint = _train_on_ray(run, tracker) if run.workers.num else _train_here(run, tracker)
        _publish(checkpoint, finished)
        tracker.model(finished)
    except BaseException:
        tracker.end("FAILED")
        raise
    tracker.end("FINISHED")
    return finished


def _claim(folder: Path, run: Run) -> None:
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
    path.write_text(json.dumps(wanted, indent=2) + "\n")


def _with_newer_settings(run: Run, found: dict) -> dict:
    """Settings of an earlier start with the defaults of fields that did not exist yet, as far as they still parse."""
    mine = run.model_dump(mode="json")
    try:
        return type(run).model_validate({**mine, **found}).model_dump(mode="json", exclude=set(MAY_CHANGE))
    except ValueError:
        return found


def _publish(checkpoint: Path, finished: Path) -> None:
    """Copy the model out of the last checkpoint; it appears under its name only when whole."""
    partial = finished.with_name(f"{finished.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in (base.CONFIG_FILE, base.WEIGHTS_FILE):
        shutil.copy2(checkpoint / name, partial / name)
    partial.rename(finished)


def _train_on_ray(run: Run, tracker: track.Tracker) -> Path:
    from ray.train import CheckpointConfig, DataConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    workers = run.workers
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={"run": run.model_dump(mode="json"), "tracker": tracker.state},
        datasets=feeds.kind_of(run).datasets(run, folder_of(run)),
        dataset_config=DataConfig(datasets_to_split=["train"]),
        scaling_config=ScalingConfig(
            num_workers=workers.num,
            use_gpu=workers.gpus_each > 0,
            resources_per_worker={
                "CPU": workers.cpus_each,
                **({"GPU": workers.gpus_each} if workers.gpus_each else {}),
            },
        ),
        run_config=RunConfig(
            name="checkpoints",
            storage_path=str(folder_of(run)),
            failure_config=FailureConfig(max_failures=workers.max_failures, controller_failure_limit=3),
            checkpoint_config=CheckpointConfig(num_to_keep=2, **_SCORED if run.optim.keep == "best" else {}),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
        torch_config=TorchConfig(backend="nccl" if workers.gpus_each else "gloo", timeout_s=120),
    )
    found = trainer.fit()
    if run.optim.keep == "last":
        return Path(found.checkpoint.path)
    return Path(min(found.best_checkpoints, key=lambda pair: pair[1]["val_loss"])[0].path)


def _train_here(run: Run, tracker: track.Tracker) -> Path:
    """The same loop in this process, with checkpoints of its own."""
    kept = LocalCheckpoints(folder_of(run) / "checkpoints")
    trainer = Trainer(run, 0, 1)
    trainer.tracker, trainer.report = tracker, kept.keep
    found = kept.last()
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
    if found is None:
        trainer.prepare()
    else:
        with found.as_directory() as folder:
            trainer.restore(Path(folder))
    trainer.wrap()
    return trainer.run_to_end()


def _report(metrics: dict, written: Path | None) -> None:
    """Hand metrics, and rank 0's checkpoint, to Ray Train, which keeps it whole or not at all."""
    import ray.train

    checkpoint = written and ray.train.Checkpoint.from_directory(str(written))
    ray.train.report(metrics, checkpoint=checkpoint, checkpoint_dir_name=f"step_{metrics['step']:08d}")


def _warm_average(decay: float):
    """Exponential average whose memory grows with training, so that the first weights are soon forgotten.

    Decay after n updates: min(decay, (1+n)/(10+n)).
    """

    def update(averaged: list, current: list, num_averaged: torch.Tensor) -> None:
        num = float(num_averaged)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + num) / (10 + num)))

    return update


class _Average(AveragedModel):
    """AveragedModel that updates all weights in two calls; its own update takes two for every tensor.

    Buffers are not followed: they are set before the first step.
    """

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        averaged, current = list(self.module.parameters()), list(model.parameters())
        if self.n_averaged == 0:
            torch._foreach_copy_(averaged, current)
        else:
            self.multi_avg_fn(averaged, current, self.n_averaged)
        self.n_averaged += 1


class Trainer:
    """One worker's training: model, optimizers, schedule, EMA, and the position in the data stream."""

    def __init__(self, run: Run, rank: int, world: int) -> None:
        if run.data.batch_size % max(world, 1):
            raise ValueError(f"data.batch_size {run.data.batch_size} must be a multiple of the {world} workers")
        torch.manual_seed(run.seed)
        self.run, self.rank, self.world = run, rank, world
        self.device = (
            torch.device("cuda", torch.cuda.current_device()) if run.workers.gpus_each else torch.device("cpu")
        )
        self.tracker, self.report = None, _report
        self.feed = feeds.of(run, rank, world)
        self.watch = Stopwatch()
        self.step = self.epoch = self.batch_index = 0
        self.is_resumed = False
        self.model = base.build(run.model).to(self.device)
        for part, folder in run.start_from.items():
            self.model.start_from(part, base.load(Path(folder)))
        self.ema = _Average(self.model, multi_avg_fn=_warm_average(run.optim.ema_decay))
        optim = run.optim
        self.optimizers = {
            part: torch.optim.AdamW(parameters, lr=optim.learning_rate, weight_decay=optim.weight_decay, fused=True)
            for part, parameters in self.model.parts().items()
        }
        self.module: nn.Module = self.model

    def prepare(self) -> None:
        """The model's own first look at the data; the EMA starts from what it measured."""
        batches = self.feed.first_look(self.run.seed)
        self.model.prepare(batch.to(self.device) for batch in batches)
        self.ema.module.load_state_dict(self.model.state_dict())

    def wrap(self) -> None:
        """Data parallel over the workers. Broadcasts rank 0's weights and measured scales to all."""
        if self.world > 1:
            # The loss of one part of several leaves the weights of the others alone, and must not wait for them.
            several = len(self.optimizers) > 1
            self.module = nn.parallel.DistributedDataParallel(self.model, find_unused_parameters=several)
            if self.device.type == "cpu":
                # Over gloo the exchange costs a third of a step; gradients in half precision cost half of that.
                self.module.register_comm_hook(None, fp16_compress_hook)
            self.ema.module.load_state_dict(self.model.state_dict()) if self.step == 0 else None

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then cosine from ``learning_rate`` to ``final_learning_rate``."""
        optim = self.run.optim
        if step < optim.warmup_steps:
            return optim.learning_rate * (step + 1) / optim.warmup_steps
        share = (step - optim.warmup_steps) / max(1, optim.num_steps - optim.warmup_steps)
        cosine = 0.5 * (1 + torch.cos(torch.tensor(share * torch.pi)).item())
        return optim.final_learning_rate + (optim.learning_rate - optim.final_learning_rate) * cosine

    def autocast(self) -> torch.autocast:
        """bf16 where the run asks for it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.optim.precision == "bf16")

    def stream(self):
        """Endless (batch) of this worker from the current position; epoch e is shuffled by (seed, e)."""
        while True:
            shuffle_seed = self.run.seed * 100_003 + self.epoch
            epoch = self.feed.epoch(shuffle_seed, drop_last=True)
            seen = 0
            for index, batch in enumerate(epoch):
                seen += 1
                if index < self.batch_index:
                    continue
                self.batch_index = index + 1
                yield batch
            if not seen:
                raise ValueError(
                    f"the training split gives worker {self.rank} fewer than one batch of "
                    f"{self.run.data.batch_size // max(self.world, 1)} maps; lower --data.batch_size"
                )
            self.epoch, self.batch_index = self.epoch + 1, 0

    def one_step(self, batch) -> dict[str, torch.Tensor]:
        """Every part's optimizer once on this batch."""
        # Seeded by position, so that a resumed run draws what the uninterrupted one would have drawn.
        seed = (self.run.seed * 1_000_003 + self.step) * 1009 + self.rank
        torch.manual_seed(seed)
        with self.watch("augment"):
            batch = self.feed.prepared(batch, self.step, seed).to(self.device)
        logged: dict[str, torch.Tensor] = {}
        for part, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate(self.step)
            optimizer.zero_grad(set_to_none=True)
            with self.watch("forward"), self.autocast():
                terms = self.module(batch, part)
            with self.watch("backward"):
                terms["loss"].backward()
            with self.watch("optimizer"):
                parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
                norm = nn.utils.clip_grad_norm_(parameters, self.run.optim.clip_norm)
                optimizer.step()
            prefix = "" if part == "model" else f"{part}/"
            logged.update(
                {f"{prefix}{name}": value.detach() for name, value in (terms | {"gradient_norm": norm}).items()}
            )
        with self.watch("ema"):
            self.ema.update_parameters(self.model)
        self.step += 1
        return logged

    def run_to_end(self) -> dict:
        """Step until ``num_steps``, with a checkpoint every ``checkpoint_every`` steps and at the end."""
        optim, progress = self.run.optim, Progress(self.run, self.step, self.rank, self.tracker)
        if self.step >= optim.num_steps:
            self.checkpoint({"step": self.step})
        elif not self.is_resumed and optim.keep == "best":
            # What training must improve on.
            self.checkpoint({"step": 0, **self.validate()})
        batches = self.stream()
        while self.step < optim.num_steps:
            with progress.waiting():
                batch = next(batches)
            logged = self.one_step(batch)
            progress.step(self.step, logged, self.learning_rate(self.step - 1))
            if self.step % optim.checkpoint_every == 0 or self.step == optim.num_steps:
                with progress.pausing():
                    metrics = {"step": self.step, "loss": progress.loss, **self.validate()}
                    progress.validated(self.step, metrics)
                    self.checkpoint(metrics)
        return {"step": self.step, "loss": progress.loss, "seconds": progress.seconds}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean loss of the EMA weights on the validation batches, under fixed noise; rank 0's answer counts."""
        if self.rank != 0 or not self.optimizers:
            return {}
        total, count = 0.0, 0
        self.ema.eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for batch in self.feed.validation():
                with self.autocast():
                    total += float(self.ema.module.validation_loss(batch.to(self.device)))
                count += 1
        return {"val_loss": total / count} if count else {}

    def checkpoint(self, metrics: dict) -> None:
        """Report a checkpoint that holds the model (EMA weights and run.json) and all that training needs to go on."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if self.rank == 0:
                base.save(self.ema.module, folder, self.run.model_dump(mode="json"))
                torch.save(self.state(), folder / STATE_FILE)
            self.report(metrics, folder if self.rank == 0 else None)

    def state(self) -> dict:
        """All that a resumed worker needs beside the run."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": {part: optimizer.state_dict() for part, optimizer in self.optimizers.items()},
            "position": [self.step, self.epoch, self.batch_index, self.world],
        }

    def restore(self, folder: Path) -> None:
        """Continue from a checkpoint; the place within an epoch carries over if the number of workers is the same."""
        self.is_resumed = True
        state = torch.load(folder / STATE_FILE, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for part, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][part])
        self.step, self.epoch, self.batch_index, world = state["position"]
        if world != self.world:
            self.epoch, self.batch_index = self.epoch + 1, 0
        if self.rank == 0:
            print(f"[{self.run.name}] resumed at step {self.step}", flush=True)
