"""Progress that a person can follow: stage, step, loss, samples/s, share of time spent waiting for data, ETA."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

from raymap.config import Run
from raymap.runtime.track import Tracker


class Stopwatch:
    """Seconds spent in named phases, summed up. On a GPU a phase is the time to queue its work."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Around what belongs to ``phase``; phases must not lie within each other, or their sum counts twice."""
        begun = self.clock()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + self.clock() - begun


class Progress:
    """Measures the phases of a training and, on rank 0, prints and logs a line every ``log_every`` steps."""

    def __init__(self, run: Run, step: int, rank: int, tracker: Tracker | None) -> None:
        self.run, self.rank, self.tracker = run, rank, tracker
        self.begun = self.mark = time.perf_counter()
        self.first_step = self.mark_step = step
        self.waited_s = self.paused_s = 0.0
        self.sums: dict[str, float] = {}
        self.loss = float("nan")

    @property
    def seconds(self) -> float:
        """Since the loop began."""
        return time.perf_counter() - self.begun

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the wait for the next batch."""
        begun = time.perf_counter()
        yield
        self.waited_s += time.perf_counter() - begun

    @contextlib.contextmanager
    def pausing(self) -> Iterator[None]:
        """Around work that is no training step (validation, checkpoint), to be left out of the rate."""
        begun = time.perf_counter()
        yield
        self.paused_s += time.perf_counter() - begun

    def step(self, step: int, logged: Mapping[str, Tensor], learning_rate: float) -> None:
        """Account for one finished step. Raises FloatingPointError if the loss is not finite."""
        for name, value in logged.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        if not all(value == value and abs(value) != float("inf") for value in self.sums.values()):
            raise FloatingPointError(f"{self.run.name}: loss is not finite at step {step}: {self.sums}")
        if step % self.run.optim.log_every == 0 or step == self.run.optim.num_steps:
            self._line(step, learning_rate)

    def _line(self, step: int, learning_rate: float) -> None:
        num = step - self.mark_step
        busy_s = max(time.perf_counter() - self.mark - self.paused_s, 1e-9)
        means = {name: total / num for name, total in self.sums.items()}
        self.loss = means.get("loss", means.get(next(iter(means))))
        rate = num * self.run.data.batch_size / busy_s
        wait = self.waited_s / busy_s
        if self.rank == 0:
            left_s = (self.run.optim.num_steps - step) * busy_s / num
            terms = "  ".join(f"{name} {value:.4f}" for name, value in means.items() if name != "gradient_norm")
            print(
                f"[{self.run.name}] step {step}/{self.run.optim.num_steps}  {terms}  {rate:.0f} samples/s  "
                f"data wait {wait:.0%}  ETA {int(left_s) // 60}:{int(left_s) % 60:02d}",
                flush=True,
            )
            if self.tracker:
                speed = {"samples_per_s": rate, "data_wait_share": wait, "learning_rate": learning_rate}
                self.tracker.metrics(step, {**{f"train/{name}": value for name, value in means.items()}, **speed})
        self.mark, self.mark_step, self.sums = time.perf_counter(), step, {}
        self.waited_s = self.paused_s = 0.0

    def validated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Print and log the validation loss."""
        if self.rank == 0 and "val_loss" in metrics:
            print(f"[{self.run.name}] step {step}  validation loss {metrics['val_loss']:.4f}", flush=True)
            if self.tracker:
                self.tracker.metrics(step, {"val/loss": metrics["val_loss"]})
