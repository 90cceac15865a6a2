"""What the driver of a sweep keeps while trials run: the best so far, the page, and the budget.

Tune pickles both with its own state, so they hold nothing but plain values.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from pathlib import Path
from typing import Any

from raymap.evaluation import sweep_page
from raymap.runtime import sweep_trial
from raymap.runtime.sweep_confirm import CONFIRM_FILE
from raymap.runtime.sweep_trial import SCORE, TIME
from raymap.storage import write_text

BEST_FILE, SWEEP_FILE, PAGE_FILE = "best.json", "sweep.json", "sweep.html"


class SweepLog:
    """Of the sweep in ``folder``; ``about`` is what is told of it on the page."""

    def __init__(self, folder: str, about: dict[str, Any]) -> None:
        self.folder, self.about = Path(folder), about
        self.best = math.inf
        self.failed: set[str] = set()

    def trials(self) -> list[dict[str, Any]]:
        """Every trial that has begun: number, id, history, status."""
        found = sweep_trial.read_all(self.folder)
        for trial in found:
            done = bool(trial["history"]) and trial["history"][-1]["step"] >= self.about["num_steps"]
            trial["status"] = "finished" if done else "failed" if trial["id"] in self.failed else "stopped"
        return found

    def write(self, page: bool = True) -> dict[str, Any]:
        """Write ``best.json``, which is returned, ``sweep.json`` and, with ``page``, ``sweep.html`` of what is known.

        Raises RuntimeError if no trial has told a score.
        """
        trials, objectives = self.trials(), self.about["objectives"]
        known = [trial for trial in trials if trial["history"]]
        if not known:
            raise RuntimeError(f"no trial of {len(trials)} came to a result; {self.folder} holds what they left")
        best = min(known, key=lambda trial: sweep_page.at_best(trial)[SCORE])
        found = {"sweep": self.about["name"], "commit": self.about["commit"], "num_trials": len(trials), **_told(best)}
        if len(objectives) > 1:
            found["front"] = [_told(trial) for trial in sweep_page.front(known, objectives)]
        confirmed = self.folder / CONFIRM_FILE
        about = self.about | ({"confirmed": json.loads(confirmed.read_text())} if confirmed.is_file() else {})
        write_text(self.folder / BEST_FILE, json.dumps(found, indent=2) + "\n")
        write_text(self.folder / SWEEP_FILE, json.dumps({**about, "trials": trials}, indent=1) + "\n")
        if page:
            sweep_page.write(self.folder / PAGE_FILE, about, trials)
        return found

    def told(self, trial_id: str, result: dict[str, Any]) -> None:
        """A trial tells of a checkpoint."""
        if result.get(SCORE, math.inf) < self.best:
            self.best = result[SCORE]
            found = self.write(page=False)
            number = found["trial"]["number"]
            self._say(f"best so far: {SCORE} {self.best:.5g} by trial {number} at step {found['step']}")

    def ended(self, trial_id: str, failed: bool) -> None:
        """A trial is over: by itself, stopped, or failed once too often."""
        if failed:
            self.failed.add(trial_id)
        numbers = {trial["id"]: trial["number"] for trial in sweep_trial.read_all(self.folder)}
        word = "failed" if failed else "ended"
        self._say(f"trial {numbers.get(trial_id, trial_id)} {word}; {len(numbers)} of {self.about['num_trials']} began")
        with contextlib.suppress(RuntimeError):
            self.write()

    def _say(self, text: str) -> None:
        print(f"[{self.about['name']}] {text}", flush=True)

    def callback(self):
        """This log, as Tune calls it."""
        from ray import tune

        class Callback(tune.Callback):
            def __init__(self, log: SweepLog) -> None:
                self.log = log

            def on_trial_result(self, iteration, trials, trial, result, **info):
                self.log.told(sweep_trial.name_of(trial), result)

            def on_trial_complete(self, iteration, trials, trial, **info):
                self.log.ended(sweep_trial.name_of(trial), failed=False)

            def on_trial_error(self, iteration, trials, trial, **info):
                self.log.ended(sweep_trial.name_of(trial), failed=True)

        return Callback(self)


def _told(trial: dict[str, Any]) -> dict[str, Any]:
    best = sweep_page.at_best(trial)
    scores = {name: best[name] for name in (SCORE, TIME) if name in best}
    about = {name: trial[name] for name in ("id", "number")}
    return {"trial": about, "overrides": best["overrides"], "step": best["step"], **scores}


class Budget:
    """Ends a sweep after so many hours of running, and after so many passes over the data by all trials together.

    Told of every result, and asked whether all should stop.
    """

    def __init__(self, max_hours: float | None, max_epochs: float | None) -> None:
        self.max_hours, self.max_epochs = max_hours, max_epochs
        self.epochs: dict[str, float] = {}
        self.before_s, self.begun = 0.0, time.monotonic()

    def spend(self, trial_id: str, result: dict[str, Any]) -> None:
        """A trial has come so far."""
        self.epochs[trial_id] = max(self.epochs.get(trial_id, 0.0), result.get("epochs", 0.0))

    def is_spent(self) -> bool:
        """Whether the sweep should end."""
        seconds = self.before_s + time.monotonic() - self.begun
        too_long = self.max_hours is not None and seconds >= 3600 * self.max_hours
        return too_long or (self.max_epochs is not None and sum(self.epochs.values()) >= self.max_epochs)

    def stopper(self):
        """This budget, as Tune asks it."""
        from ray import tune

        class Stopper(tune.Stopper):
            def __init__(self, budget: Budget) -> None:
                self.budget = budget

            def __call__(self, trial_id, result):
                self.budget.spend(trial_id, result)
                return False

            def stop_all(self):
                return self.budget.is_spent()

        return Stopper(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "before_s": self.before_s + time.monotonic() - self.begun}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.begun = time.monotonic()
