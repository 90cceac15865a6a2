"""Sweeps on a real Ray Tune: they resume, survive failures, stop what is behind, and hand over what is better."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from raymap import recipes
from raymap.config import TrackingConfig
from raymap.recipes import sweeps
from raymap.runtime import sweep_trial, track
from raymap.runtime.sweep import _claim, sweep
from raymap.runtime.sweep_log import Budget, SweepLog
from raymap.runtime.sweep_trial import SCORE
from raymap.space import found_by_sweep

sys.path.insert(0, str(Path(__file__).parent))
from run_sweep import STEPS, planned

DRIVER = Path(__file__).with_name("run_sweep.py")


def runs_of(folder):
    client = track.client(track.default_uri(str(folder)))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return {run.info.run_id: run for run in client.search_runs(experiments, max_results=500)}


def started(folder):
    log = folder / f"driver-{time.monotonic_ns()}.log"
    environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, str(DRIVER), str(folder)], stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True, env=environ)  # fmt: skip
    return process, log


@pytest.mark.ray
@pytest.mark.usefixtures("quiet_machine")
def test_a_killed_sweep_goes_on_by_the_same_command(tmp_path):
    process, log = started(tmp_path)
    deadline = time.monotonic() + 240
    while not re.search(r"trial 1 ended", log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    early = json.loads((tmp_path / "sweep/best.json").read_text())
    before = {trial["id"]: trial["history"] for trial in sweep_trial.read_all(tmp_path / "sweep")}

    process, log = started(tmp_path)
    assert process.wait(timeout=300) == 0, log.read_text()[-4000:]
    assert "goes on with the trials" in log.read_text()
    trials = sweep_trial.read_all(tmp_path / "sweep")
    assert len(trials) == 3
    for trial in trials:
        assert [line["step"] for line in trial["history"]] == [*range(10, STEPS + 1, 10)]
        kept = before.get(trial["id"], [])
        assert trial["history"][: len(kept)] == kept, "what was told before the kill is not told anew"
    best = json.loads((tmp_path / "sweep/best.json").read_text())
    assert best[SCORE] == min(line[SCORE] for trial in trials for line in trial["history"]) <= early[SCORE]

    runs = runs_of(tmp_path)
    (parent,) = [run for run in runs.values() if run.info.run_name == "sweep"]
    children = [run for run in runs.values() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == 3 and {run.info.status for run in runs.values()} == {"FINISHED"}
    for run in children:
        assert "optim.learning_rate" in run.data.params and SCORE in run.data.metrics
        assert run.data.tags["hardware"] and run.data.tags["torch"]


@pytest.mark.usefixtures("ray_local")
def test_trials_that_fail_are_tried_again_and_never_end_the_sweep(tmp_path, capfd):
    # At such a rate the loss is soon no number.
    space = {"optim.learning_rate": "0.001|1e30"}
    plan = planned(tmp_path, space=space, search="random", scheduler="none", max_failures=1, num_trials=4, seed=3)
    found = sweep(plan)
    trials = json.loads((tmp_path / "sweep/sweep.json").read_text())["trials"]
    failed = [trial for trial in trials if trial["status"] == "failed"]
    assert len(trials) == 4 and 0 < len(failed) < 4
    assert found["overrides"] == {"optim.learning_rate": 0.001}
    assert "finished" in {trial["status"] for trial in trials}
    assert (tmp_path / "sweep/sweep.html").is_file()
    assert sweep(plan) == found, "a sweep that is over tells the same"


@pytest.mark.slow
@pytest.mark.usefixtures("ray_local")
def test_trials_that_are_behind_are_stopped_and_say_so(tmp_path):
    space = {"optim.learning_rate": "1e-6|3e-3"}
    sweep(planned(tmp_path, space=space, search="random", num_trials=6, parallel=1, seed=1, keep=2))
    shown = json.loads((tmp_path / "sweep/sweep.json").read_text())["trials"]
    steps = {trial["number"]: trial["history"][-1]["step"] for trial in shown}
    slow = [trial for trial in shown if trial["history"][0]["overrides"]["optim.learning_rate"] == 1e-6]
    assert 0 < len(slow) < 6 and min(steps.values()) < STEPS == max(steps.values())
    assert all(trial["status"] == ("finished" if steps[trial["number"]] == STEPS else "stopped") for trial in shown)
    assert {run.info.status for run in runs_of(tmp_path).values()} <= {"FINISHED", "KILLED"}


@pytest.mark.slow
@pytest.mark.usefixtures("ray_local")
def test_a_population_goes_on_from_its_better_members(tmp_path):
    space = {"optim.learning_rate": "1e-6..1e-2 log"}
    sweep(planned(tmp_path, space=space, scheduler="pbt", num_trials=2, parallel=2, seed=2, first_look=0.5))
    trials = sweep_trial.read_all(tmp_path / "sweep")
    assert [trial["history"][-1]["step"] for trial in trials] == [STEPS] * 2
    drawn = {json.dumps(line["overrides"]) for trial in trials for line in trial["history"]}
    assert len(drawn) > 2, "somebody has taken over another's weights and settings"


def test_a_sweep_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="'learning_rat' is none of"):
        planned(tmp_path, space={"optim.learning_rat": "1..2"})
    with pytest.raises(ValueError, match="nothing is searched"):
        planned(tmp_path, space={})
    with pytest.raises(ValueError, match=r"pbt changes settings within a training, which data\.hidden does not allow"):
        planned(tmp_path, space={"data.hidden": "0.1..0.5"}, scheduler="pbt")
    with pytest.raises(ValueError, match="objectives begin with val_score"):
        planned(tmp_path, objectives=("val_ms",))


def test_every_method_has_a_space_that_fits_it():
    for size in ("debug", "demo", "small", "paper"):
        assert sweeps.k2_sweep(size).space and sweeps.rmdm_sweep(size).space
    assert sweeps.pinn_gnn_sweep("published").space
    with pytest.raises(ValueError, match="'kriging' is no PINN-GNN"):
        sweeps.pinn_gnn_sweep("kriging")


def test_stages_that_no_setting_changes_are_shared():
    job = recipes.k2("debug")
    assert sweep_trial._untouched(job, {"map.model.lambda_drift": 1}) == ["autoencoder", "outline"]
    assert sweep_trial._untouched(job, {"outline.optim.learning_rate,map.optim.learning_rate": 1}) == ["autoencoder"]
    assert sweep_trial._untouched(job, {"map.model.lambda_drift": 1, "data.outline.kind": 1}) == []


def test_a_job_is_rebuilt_from_plain_values_whatever_its_model():
    for job in (recipes.k2("debug"), recipes.rmdm("debug"), recipes.radiounet("debug"), planned("/tmp").job):
        kind = sweep_trial.JOBS[sweep_trial.kind_of(job)]
        assert kind.model_validate(job.model_dump(mode="json")).model_dump() == job.model_dump()


@pytest.mark.parametrize("limit", [{"max_hours": 0.001}, {"max_epochs": 5}])
def test_a_budget_is_spent_across_restarts(limit, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budget = Budget(limit.get("max_hours"), limit.get("max_epochs"))
    budget.spend("a", {"epochs": 2.0})
    now[0] = 2.0
    assert not budget.is_spent()
    state, later = budget.__getstate__(), Budget(None, None)
    now[0] = 1000.0  # another process: time in between does not count
    later.__setstate__(state)
    assert not later.is_spent()
    later.spend("a", {"epochs": 2.5})
    later.spend("b", {"epochs": 2.5})
    now[0] = 1002.0
    assert later.is_spent()


def test_without_a_result_a_sweep_says_where_to_look(tmp_path):
    with pytest.raises(RuntimeError, match=f"no trial of 0 came to a result; {tmp_path}"):
        SweepLog(str(tmp_path), {"objectives": [SCORE], "num_steps": 1}).write()


def test_what_a_sweep_found_is_what_a_training_begins_with(tmp_path):
    best = tmp_path / "best.json"
    best.write_text(json.dumps({"overrides": {"outline.model.lambda_drift,map.model.lambda_drift": 0.3}}))
    job, rest = found_by_sweep(recipes.k2("debug"), ["--from", str(best), "--seed", "2"])
    assert (job.outline.model.lambda_drift, job.map.model.lambda_drift, rest) == (0.3, 0.3, ["--seed", "2"])
    assert found_by_sweep(recipes.k2("debug"), ["--seed", "2"]) == (recipes.k2("debug"), ["--seed", "2"])
    best.write_text("{}")
    with pytest.raises(ValueError, match=r"is no best\.json of a sweep"):
        found_by_sweep(recipes.k2("debug"), ["--from", str(best)])


def test_a_sweep_s_folder_belongs_to_one_sweep(tmp_path):
    _claim(planned(tmp_path))
    _claim(planned(tmp_path, parallel=2, tracking=TrackingConfig(uri="sqlite:///elsewhere.db")))
    with pytest.raises(ValueError, match="other settings: num_trials was 4, now 5"):
        _claim(planned(tmp_path, num_trials=5))
