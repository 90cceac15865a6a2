"""RadioUNet's recipe: the curriculum, K2's budget, the paper's own settings, and its two variants."""

import pytest
import torch

from raymap import recipes
from raymap.config import DataConfig, MeasurementsConfig, OptimConfig, Run, from_command_line
from raymap.data.batch import MEASURED
from raymap.models import base
from raymap.models.pathloss import FreeSpace
from raymap.models.radiounet import RadioUNet
from raymap.runtime.method import CurriculumJob

SIZES = recipes.Size.__args__


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_a_job_of_two_stages_that_fit(size):
    job = recipes.radiounet(size)
    assert CurriculumJob[RadioUNet.Config].model_validate_json(job.model_dump_json()) == job
    assert from_command_line(job, []) == job
    assert job.stages == ("first", "map")
    first, both = job.first.model, job.map.model
    assert both == first.model_copy(update={"nets": "both"}) and first.nets == "first"
    with torch.device("meta"):
        base.build(both).start_from("first", base.build(first))
    assert job.plan == recipes.k2(size).plan and both.cell_m == job.plan.cell_m
    for stage in job.stages:
        assert job.run(stage).optim.warmup_steps < job.run(stage).optim.num_steps
        assert job.data.batch_size % job.workers.num == 0


@pytest.mark.parametrize("size", [size for size in SIZES if size != "paper"])
def test_both_trainings_take_the_steps_of_k2s_stages(size):
    job, whole = recipes.radiounet(size), recipes.k2(size)
    assert job.first.optim.num_steps + job.map.optim.num_steps == recipes.both_budgets(whole).num_steps
    assert job.data.batch_size == whole.data.batch_size


def test_the_papers_size_is_the_papers():
    job = recipes.radiounet("paper")
    with torch.device("meta"):
        num_weights = sum(weight.numel() for weight in base.build(job.map.model).parameters())
    assert num_weights / 1e6 == pytest.approx(13.27, abs=0.01)
    assert job.plan.shape == (256, 256) and job.map.model.cell_m == 1.0 and not job.map.model.outdoor_only
    for stage in (job.first, job.map):
        samples = stage.optim.num_steps * job.data.batch_size
        assert samples == pytest.approx(50 * 501 * 80, rel=1e-3) and job.data.batch_size == 15
        assert stage.optim.learning_rate == 1e-4 and not stage.optim.weight_decay and not stage.optim.ema_decay


def test_an_unknown_size_lists_the_known():
    with pytest.raises(ValueError, match="unknown size 'huge'; allowed: debug, demo, small, full, paper"):
        recipes.radiounet("huge")


def test_with_measurements_both_nets_see_them_and_still_fit():
    measured = recipes.with_measurements(recipes.radiounet("debug"))
    first, both = base.build(measured.first.model), base.build(measured.map.model)
    assert set(MEASURED) < set(first.config.inputs)
    both.start_from("first", first)
    assert both.second.down[0][0].in_channels == 1 + first.first.down[0][0].in_channels == 1 + 5


def test_a_sparse_finetuning_goes_on_from_the_finished_model_with_measurements_alone(tmp_path):
    both = recipes.radiounet("debug").map.model
    base.save(base.build(both), tmp_path / "trained")
    data = DataConfig(folder=str(tmp_path), measurements=MeasurementsConfig())
    about = {"name": "sparse", "storage": str(tmp_path), "optim": OptimConfig(num_steps=3)}
    run = recipes.sparse_finetune(tmp_path / "trained", data, **about)
    assert Run.model_validate_json(run.model_dump_json()) == run
    assert run.model == both.model_copy(update={"sparse_loss": True}) and run.optim.num_steps == 3
    assert run.start_from == {"both": f"{tmp_path}/trained"}
    assert run.data == data.model_copy(update={"measurements": MeasurementsConfig(redraw=False)})
    with pytest.raises(ValueError, match="learns from measurements"):
        recipes.sparse_finetune(tmp_path / "trained", DataConfig(folder=str(tmp_path)), **about)


def test_what_cannot_be_finetuned_is_refused(tmp_path):
    measured = recipes.with_measurements(recipes.radiounet("debug"))
    job = recipes.radiounet("debug")
    data = DataConfig(folder=str(tmp_path), measurements=MeasurementsConfig())
    for config, why in (
        (measured.map.model, "show what sparse_loss asks for"),
        (job.first.model, "goes on with both nets"),
        (FreeSpace.Config(), "is 'free_space'; a sparse fine-tuning goes on with both nets of a 'radiounet'"),
    ):
        base.save(base.build(config), tmp_path / "model")
        with pytest.raises(ValueError, match=why):
            recipes.sparse_finetune(tmp_path / "model", data, name="sparse", storage=str(tmp_path))
