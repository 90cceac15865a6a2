"""Which stages a job trains, in which order, and what each starts from; without a cluster."""

from pathlib import Path

import pytest
import torch

from raymap import recipes
from raymap.models import base
from raymap.runtime import method
from raymap.runtime.train import trained_model
from raymap.runtime.trainer import Trainer


@pytest.fixture
def runs(monkeypatch):
    """The runs that ``method.train`` asks for; each is built, started from its parts, and saved untrained."""
    asked = []

    def fit(run, listener=None, begin_at=None):
        asked.append(run)
        trainer = Trainer(run, rank=0, world=1)
        base.save(trainer.model, trained_model(run))
        return trained_model(run)

    monkeypatch.setattr(method, "make_dataset", lambda job: None)
    monkeypatch.setattr(method, "fit", fit)
    return asked


def a_job(recipe, tmp_path, **changes):
    return recipe("debug").model_copy(update={"storage": str(tmp_path), **changes})


def test_a_curriculum_trains_the_first_net_and_the_whole_from_it(runs, tmp_path):
    job = a_job(recipes.radiounet, tmp_path)
    finished = method.train(job)
    assert finished == job.folder / "map/model"
    assert [(run.name, run.start_from) for run in runs] == [
        ("first", {}),
        ("map", {"first": str(job.folder / "first/model")}),
    ]
    first, whole = base.load(job.folder / "first/model"), base.load(finished)
    assert all(torch.equal(weight, whole.first.state_dict()[name]) for name, weight in first.first.state_dict().items())


def test_a_first_net_that_was_trained_elsewhere_serves(runs, tmp_path, capsys):
    job = a_job(recipes.radiounet, tmp_path)
    base.save(base.build(job.first.model), tmp_path / "there")
    method.train(job.model_copy(update={"trained": {"first": str(tmp_path / "there")}}))
    assert [(run.name, run.start_from) for run in runs] == [("map", {"first": str(tmp_path / "there")})]
    said = capsys.readouterr().out
    assert f"1/2 first net: environment -> map: {tmp_path / 'there'}" in said and "2/2 environment -> map" in said


@pytest.mark.parametrize(
    ("recipe", "stages"),
    [(recipes.regression, {"map": {}}), (recipes.radiodiff, {"autoencoder": {}, "map": {"autoencoder"}})],
)
def test_jobs_of_other_methods_train_their_own_stages(recipe, stages, runs, tmp_path):
    job = a_job(recipe, tmp_path)
    assert method.train(job) == job.folder / "map/model"
    assert {run.name: set(run.start_from) for run in runs} == {name: set(parts) for name, parts in stages.items()}
    for run in runs:
        assert all(Path(folder) == job.folder / part / "model" for part, folder in run.start_from.items())
