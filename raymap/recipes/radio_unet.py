"""RadioUNet by its curriculum, with the inputs and the budget that RadioDiff as published has here."""

from __future__ import annotations

from raymap.config import DataConfig, OptimConfig, Run, Stage, WorkersConfig
from raymap.models.radiounet import RadioUNet
from raymap.recipes.radiodiff_k2 import ENVIRONMENT, both_budgets, k2, taken_over
from raymap.recipes.sizes import Size
from raymap.runtime.method import CurriculumJob

#: Size -> scale of the paper's widths. Half of them make a network of K2's size, which two cores can train.
SCALES: dict[Size, float] = {"debug": 0.25, "demo": 0.5, "small": 0.5, "full": 1.0, "paper": 1.0}


def radiounet(size: Size) -> CurriculumJob[RadioUNet.Config]:
    """RadioUNet at a size: half the steps for the first net, half for the second. Raises ValueError for an unknown size.

    With measurements it is this job with "samples" and "sampled" among the inputs of both stages.
    """
    whole = k2(size)
    if size == "paper":
        return _paper()
    budget = both_budgets(whole)
    half = budget.num_steps // 2
    return CurriculumJob[RadioUNet.Config](
        first=_stage("first", )
    )
