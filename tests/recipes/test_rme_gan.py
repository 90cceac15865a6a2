"""RME-GAN's recipe: two phases of one network, together as long as K2's two stages."""

import pytest
import torch

from raymap import recipes
from raymap.config import from_command_line
from raymap.models import base
from raymap.models.rmegan import GLOBAL, LOCAL
from raymap.recipes import both_budgets, k2, rmegan

SIZES = recipes.Size.__args__


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_two_phases_of_one_network(size):
    job = rmegan(size)
    assert job.stages == ("first", "map") and job.model() == job.map.model
    assert job.name == f"{k2(size).name}-rmegan" and job.first.optim == job.map.optim
    assert (job.first.model.weights, job.map.model.weights) == (GLOBAL, LOCAL)
    assert job.first.model.model_copy(update={"weights": LOCAL}) == job.map.model
    assert job.data.batch_size % max(job.workers.num, 1) == 0
    assert from_command_line(job, []) == job == type(job).model_validate_json(job.model_dump_json())


@pytest.mark.parametrize("size", [size for size in SIZES if size != "paper"])
def test_it_sees_the_maps_of_k2_as_often_and_as_many(size):
    job, whole = rmegan(size), k2(size)
    num_steps = both_budgets(whole).num_steps
    assert num_steps - 1 <= job.first.optim.num_steps + job.map.optim.num_steps <= num_steps
    assert (job.plan, job.data.batch_size, job.map.model.cell_m) == (
        whole.plan, whole.data.batch_size, whole.map.model.cell_m
    )  # fmt: skip


def test_the_second_phase_of_a_job_starts_from_its_first():
    job = rmegan("debug")
    torch.manual_seed(0)
    first, second = (base.build(stage.model) for stage in (job.first, job.map))
    second.start_from("first", first)
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name


def test_the_papers_networks_are_of_the_papers_size():
    """The first U of RadioUNet, and DCGAN's critic, 2.77 million weights (METHODS §6)."""
    with torch.device("meta"):
        model = base.build(rmegan("paper").model())
    num = {part: sum(weight.numel() for weight in weights) / 1e6 for part, weights in model.parts().items()}
    assert num["generator"] == pytest.approx(10.9, abs=0.1) and num["critic"] == pytest.approx(2.77, abs=0.03)
