"""PhyRMDM's recipe: every size is a whole, buildable config on RadioDiff-k²'s data, and the paper's is the paper's."""

import pytest
import torch

from raymap import recipes
from raymap.config import from_command_line
from raymap.models import base
from raymap.models.rmdm import Rmdm
from raymap.runtime.method import MethodJob


@pytest.mark.parametrize("size", recipes.Size.__args__)
def test_every_size_is_a_job_on_the_same_data_and_budget(size):
    job, whole = recipes.rmdm(size), recipes.k2(size)
    assert MethodJob[Rmdm.Config].model_validate_json(job.model_dump_json()) == job
    assert from_command_line(job, []) == job
    assert (job.plan, job.workers, job.data.batch_size) == (whole.plan, whole.workers, whole.data.batch_size)
    assert job.map.model.cell_m == whole.map.model.cell_m
    assert job.map.optim == recipes.both_budgets(whole) or size == "paper"
    with torch.device("meta"):
        model = base.build(job.model())
    assert sum(parameter.numel() for parameter in model.parameters()) > 0


def test_the_papers_networks_are_the_papers():
    job = recipes.rmdm("paper")
    model, optim = job.map.model, job.map.optim
    assert (optim.learning_rate, optim.final_learning_rate, optim.weight_decay) == (1e-4, 1e-4, 1e-4)
    assert (model.num_timesteps, model.steps, model.prediction, model.patch) == (1000, 1000, "noise", 1)
    assert [width // 96 for width in model.widths] == [1, 1, 2, 2, 4, 4] and model.physics_widths[0] == 32
    with torch.device("meta"):
        built = base.build(model)
    # The released denoiser has 66.8 million weights, its second U-Net 16.0 (METHODS §5); ours have attention in both.
    num = sum(parameter.numel() for parameter in built.parameters())
    assert 60e6 < num < 120e6


def test_an_unknown_size_lists_the_known():
    with pytest.raises(ValueError, match="unknown size 'huge'; allowed: debug"):
        recipes.rmdm("huge")
