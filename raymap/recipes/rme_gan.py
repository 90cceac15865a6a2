"""RME-GAN by its two phases, with the inputs and the budget of RadioDiff as published."""

from __future__ import annotations

from raymap.config import OptimConfig, Stage, WorkersConfig
from raymap.models.rmegan import GLOBAL, LOCAL, RmeGan
from raymap.recipes.radiodiff_k2 import ENVIRONMENT, both_budgets, k2, taken_over
from raymap.recipes.sizes import Size
from raymap.runtime.method import CurriculumJob

#: Size -> scale of the generator's widths, which is RadioUNet's here too, and the critic's own widths.
_WIDTHS: dict[Size, tuple[float, tuple[int, ...]]] = {
    "debug": (0.25, (8, 16)),
    "demo": (0.5, (32, 64, 128)),
    "small": (0.5, (32, 64, 128)),
    "full": (1.0, (64, 128, 256, 512)),
    "paper": (1.0, (64, 128, 256, 512)),
}
#: Of the released code: 501 towns of 80 transmitters, 30 maps a step.
_STEPS_PER_EPOCH = 501 * 80 // 30


def rmegan(size: Size) -> CurriculumJob[RmeGan.Config]:
    """RME-GAN at a size, without measurements: half of K2's steps for each phase, the second from the first.

    Raises ValueError for an unknown size.
    """
    whole = k2(size)
    scale, critic_widths = _WIDTHS[size]
    model = RmeGan.Config(
        inputs=ENVIRONMENT, cell_m=whole.map.model.cell_m, scale=scale, critic_widths=critic_widths, weights=LOCAL
    )
    shared, optim = taken_over(whole, "rmegan"), both_budgets(whole)
    optim = optim.model_copy(update={"num_steps": optim.num_steps // 2})
    if size == "paper":
        data = shared["data"].model_copy(update={"batch_size": 30, "augment": False})
        shared |= {"data": data, "workers": WorkersConfig(num=1, cpus_each=4, gpus_each=1)}
        optim = _paper_optim()
    first = model.model_copy(update={"weights": GLOBAL})
    return CurriculumJob[RmeGan.Config](
        first=Stage[RmeGan.Config](model=first, optim=optim),
        map=Stage[RmeGan.Config](model=model, optim=optim),
        **shared,
    )


def _paper_optim() -> OptimConfig:
    """Adam from 1e-4 to a tenth of it over 50 epochs a phase: by the house's cosine, where the released code steps."""
    return OptimConfig(
        num_steps=50 * _STEPS_PER_EPOCH, learning_rate=1e-4, final_learning_rate=1e-5, weight_decay=0.0,
        warmup_steps=0, ema_decay=0.0, precision="fp32", checkpoint_every=_STEPS_PER_EPOCH,
    )  # fmt: skip
