"""One worker's training: the loop that Ray Train's workers run, and a process without Ray alike."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.optim.swa_utils import AveragedModel

from raymap.config import Run
from raymap.models import base
from raymap.runtime import feeds, sharded
from raymap.runtime.ahead import ahead
from raymap.runtime.progress import Progress, Stopwatch

STATE_FILE = "state.pt"


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
        averaged, current = sharded.local(self.module.parameters()), sharded.local(model.parameters())
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
            self.model.start_from(part, base.load(folder))
        self.ema = _Average(self.model, multi_avg_fn=_warm_average(run.optim.ema_decay))
        optim = run.optim
        self.optimizers = {
            part: torch.optim.AdamW(parameters, lr=optim.learning_rate, weight_decay=optim.weight_decay, fused=True)
            for part, parameters in self.model.parts().items()
        }
        self.module: nn.Module = self.model
        self.is_sharded = run.workers.sharded and world > 1
        if self.is_sharded and len(self.optimizers) > 1:
            raise ValueError(f"workers.sharded is for models of one part; {run.model.kind} has {len(self.optimizers)}")

    def prepare(self) -> None:
        """The model's own first look at the data; the EMA starts from what it measured."""
        batches = self.feed.first_look(self.run.seed)
        self.model.prepare(batch.to(self.device) for batch in batches)
        self.ema.module.load_state_dict(self.model.state_dict())

    def wrap(self) -> None:
        """Data parallel over the workers. Broadcasts rank 0's weights and measured scales to all."""
        if self.is_sharded:
            for tensor in [*self.model.parameters(), *self.model.buffers()]:
                torch.distributed.broadcast(tensor.detach(), src=0)
            if self.step == 0:
                self.ema.module.load_state_dict(self.model.state_dict())
            models = (self.model, self.ema.module)
            sharded.cut(models, self.optimizers.values(), self.device.type, self.world)
        elif self.world > 1:
            # The loss of one part of several leaves the weights of the others alone, and must not wait for them.
            several = len(self.optimizers) > 1
            self.module = nn.parallel.DistributedDataParallel(self.model, find_unused_parameters=several)
            if self.device.type == "cpu":
                # Over gloo the exchange costs a third of a step; gradients in half precision cost half of that.
                self.module.register_comm_hook(None, fp16_compress_hook)
            if self.step == 0:
                self.ema.module.load_state_dict(self.model.state_dict())

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then cosine from ``learning_rate`` to ``final_learning_rate``."""
        optim = self.run.optim
        if step < optim.warmup_steps:
            return optim.learning_rate * (step + 1) / optim.warmup_steps
        share = (step - optim.warmup_steps) / max(1, optim.num_steps - optim.warmup_steps)
        cosine = 0.5 * (1 + torch.cos(torch.tensor(share * torch.pi)).item())
        return optim.final_learning_rate + (optim.learning_rate - optim.final_learning_rate) * cosine

    def epochs(self) -> float:
        """Passes over the training data so far."""
        return self.step / self.feed.steps_per_epoch()

    def autocast(self) -> torch.autocast:
        """bf16 where the run asks for it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.optim.precision == "bf16")

    def stream(self):
        """Endless (batch) of this worker from the current position, made while the last one is worked on."""
        for epoch, batch_index, batch in ahead(self._batches(self.epoch, self.batch_index)):
            self.epoch, self.batch_index = epoch, batch_index
            yield batch

    def _batches(self, epoch: int, skip: int) -> Iterator[tuple[int, int, Any]]:
        """Endless (epoch, number of its batches with this one, batch); epoch e is shuffled by (seed, e)."""
        while True:
            count = 0
            for batch in self.feed.epoch(self.run.seed * 100_003 + epoch, drop_last=True):
                count += 1
                if count > skip:
                    yield epoch, count, batch
            if not count:
                raise ValueError(
                    f"the training split gives worker {self.rank} fewer than one batch of "
                    f"{self.run.data.batch_size // max(self.world, 1)} maps; lower --data.batch_size"
                )
            epoch, skip = epoch + 1, 0

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
            found = terms | {"gradient_norm": sharded.whole(norm)}
            logged.update({f"{prefix}{name}": value.detach() for name, value in found.items()})
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
                    metrics = {"step": self.step, "epochs": self.epochs(), "loss": progress.loss, **self.validate()}
                    progress.validated(self.step, metrics)
                    self.checkpoint(metrics)
        if self.tracker:
            self.tracker.metrics(self.step, {f"seconds/{phase}": s for phase, s in self.watch.seconds.items()})
        return {"step": self.step, "loss": progress.loss, "seconds": progress.seconds}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean loss of the EMA weights on the validation batches, under fixed noise; rank 0's answer counts.

        Where weights are cut over the workers all take part, and find the same.

        Where the run asks for it, also the mean error of what is predicted, and the time for one sample [ms].
        """
        if (self.rank != 0 and not self.is_sharded) or not self.optimizers:
            return {}
        total, score, score_s, count = 0.0, 0.0, 0.0, 0
        self.ema.eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for batch in self.feed.validation():
                batch = batch.to(self.device)
                with self.autocast():
                    total += float(self.ema.module.validation_loss(batch))
                    if self.run.optim.score_validation:
                        begun = time.perf_counter()
                        score += float(self.ema.module.validation_score(batch))
                        score_s += (time.perf_counter() - begun) / len(batch)
                count += 1
        if not count:
            return {}
        found = {"val_loss": total / count}
        if self.run.optim.score_validation:
            found |= {"val_score": score / count, "val_ms": 1000 * score_s / count}
        return found

    def checkpoint(self, metrics: dict) -> None:
        """Report a checkpoint that holds the model (EMA weights and run.json) and all that training needs to go on."""
        with self.watch("checkpoint"), tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            state = sharded.whole(self.state()) if self.is_sharded else self.state()
            if self.rank == 0:
                base.save(self._average(state), folder, self.run.model_dump(mode="json"))
                torch.save(state, folder / STATE_FILE)
            self.report(metrics, folder if self.rank == 0 else None)

    def _average(self, state: dict) -> base.Predictor:
        """The model of the averaged weights, whole."""
        if not self.is_sharded:
            return self.ema.module
        model = base.build(self.run.model)
        prefix = "module."
        weights = {
            name.removeprefix(prefix): tensor for name, tensor in state["ema"].items() if name.startswith(prefix)
        }
        model.load_state_dict(weights)
        return model

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
