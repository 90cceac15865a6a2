"""Recipes: every size is a whole, buildable config, and the paper's is the paper's."""

import itertools

import pytest
import torch

from raymap import recipes
from raymap.config import MeasurementsConfig, from_command_line
from raymap.data.batch import from_scenes
from raymap.models import base
from raymap.models.cell_law import CellLaw
from raymap.runtime.method import K2Job
from raymap.scene import Grid, Scene, Transmitter

SIZES = tuple(recipes.K2_SIZES)
STAGES = ("autoencoder", "outline", "map")


def test_the_sizes_are_the_documented_ones():
    assert recipes.Size.__args__ == SIZES


@pytest.mark.parametrize("size", SIZES)
def test_every_size_survives_json_and_an_empty_command_line(size):
    job = recipes.k2(size)
    assert job.name == size
    assert K2Job.model_validate_json(job.model_dump_json()) == job
    assert from_command_line(job, []) == job


@pytest.mark.parametrize("size", SIZES)
def test_every_stage_of_every_size_is_a_run_of_its_own_folder(size):
    job = recipes.k2(size)
    runs = [job.run(stage) for stage in STAGES]
    assert [run.name for run in runs] == list(STAGES)
    for run, stage in zip(runs, STAGES, strict=True):
        assert run.model == getattr(job, stage).model and run.optim == getattr(job, stage).optim
        assert run.optim.warmup_steps < run.optim.num_steps
        assert run.optim.final_learning_rate < run.optim.learning_rate
        assert run.data.batch_size % max(run.workers.num, 1) == 0


@pytest.mark.parametrize("size", SIZES)
def test_the_stages_fit_each_other(size):
    job = recipes.k2(size)
    assert job.autoencoder.model == job.outline.model.autoencoder == job.map.model.autoencoder
    assert job.model().outline == job.outline.model and job.model().map == job.map.model
    assert (job.outline.model.target, job.map.model.target) == ("outline", "gain")
    assert job.map.model.inputs == (*job.outline.model.inputs, "outline_predicted")


@pytest.mark.parametrize("size", SIZES)
def test_every_size_builds(size):
    with torch.device("meta"):
        model = base.build(recipes.k2(size).model())
    assert sum(parameter.numel() for parameter in model.parameters()) > 0


def test_larger_sizes_train_longer():
    steps = [sum(getattr(recipes.k2(size), stage).optim.num_steps for stage in STAGES) for size in SIZES]
    assert all(small < large for small, large in itertools.pairwise(steps))


def test_the_debug_size_draws_maps():
    torch.manual_seed(0)
    model = base.build(recipes.k2("debug").model()).eval()
    building_m = torch.zeros(24, 32)
    building_m[8:16, 8:20] = 12.0
    scene = Scene("block", Grid((24, 32), recipes.k2("debug").map.model.cell_m), building_m.numpy())
    batch = from_scenes([scene] * 2, [Transmitter((20.0, 20.0, 1.5)), Transmitter((200.0, 150.0, 1.5))])
    said = model.predict_all(batch, [0, 1])
    assert set(said) == {"gain", "outline"}
    assert said["gain"].shape == (2, 1, 24, 32) and torch.isfinite(said["gain"]).all()


@pytest.mark.parametrize("size", ["huge", "", "Debug", None])
def test_an_unknown_size_lists_the_known(size):
    with pytest.raises(ValueError, match=f"unknown size {size!r}; allowed: debug, demo, small, full, paper"):
        recipes.k2(size)


def test_the_paper_recipe_is_the_papers():
    job = recipes.k2("paper")
    assert job.data.batch_size == 64 and not job.warm_start
    for stage in (job.outline, job.map):
        assert stage.optim.learning_rate == pytest.approx(5e-5)
        assert stage.optim.final_learning_rate == pytest.approx(5e-6)
        assert stage.optim.warmup_steps == 0 and stage.optim.precision == "fp32"
        model = stage.model
        assert model.weighting == "plain" and model.times == "uniform" and model.law is None and model.stochastic
        assert not model.fade and not model.outdoor_only and model.views == 1
        assert not set(model.inputs) & set(recipes.PHYSICS) and model.cell_m == 1.0


def test_the_papers_latent_is_64_by_64_by_4():
    config = recipes.k2("paper").autoencoder.model
    with torch.device("meta"):
        coder = base.build(config)
        mean, logvar = coder.autoencoder.moments(torch.empty(1, 1, 256, 256))
    assert mean.shape == logvar.shape == (1, 4, 64, 64)
    assert not config.linear and not config.complete


def test_several_cells_are_told_to_both_stages_and_their_laws():
    job = recipes.of_several_cells(recipes.k2("small"), (1, 2))
    first, second = job.outline.model, job.map.model
    assert first.inputs[-1] == "cell_size" and second.inputs == (*first.inputs, "outline_predicted")
    assert first.law == second.law and first.law.inputs[-1] == "cell_size"
    assert job.data.coarsen == (1, 2) and recipes.k2("small").data.coarsen == (1,)


def test_a_law_reads_the_dominant_path_map_only_where_the_inputs_do():
    assert recipes.law_of(recipes.PHYSICS).inputs == tuple(name for name in recipes.PHYSICS if name != "bearing")
    inputs = (*recipes.ENVIRONMENT, "log_distance", "dominant_path", "outline_predicted")
    assert recipes.law_of(inputs, width=8) == CellLaw.Config(inputs=("log_distance", "dominant_path"), width=8)
    assert recipes.law_of(recipes.ENVIRONMENT) is None
    for size in SIZES:
        jobs = (recipes.k2(size), recipes.radiodiff(size), recipes.regression(size))
        assert not any(job.model().reads("dominant_path") or job.data.dominant_path for job in jobs)


@pytest.mark.parametrize("name", recipes.METHODS)
def test_every_method_can_be_shown_measurements(name):
    _title, recipe = recipes.METHODS[name]
    plain, config = recipe("debug"), MeasurementsConfig(rates=(0.05, 0.05), noise_db=1.0)
    shown = recipes.with_measurements(plain, config)
    assert shown.data.measurements == config and shown.resolved_data.folder == plain.resolved_data.folder
    assert shown.folder != plain.folder
    for stage in plain.stages:
        before, after = getattr(plain, stage).model, getattr(shown, stage).model
        if not hasattr(before, "inputs"):
            assert after == before
            continue
        assert set(after.inputs) - set(before.inputs) == {"samples", "sampled"}
        assert (after.inputs[-1] == "outline_predicted") == ("outline_predicted" in before.inputs)
        assert getattr(after, "law", None) == getattr(before, "law", None), "one cell alone knows nothing of them"
    assert shown.map.model.reads("sampled") and not plain.map.model.reads("sampled")
