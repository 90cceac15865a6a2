"""PhyRMDM (RMDM), with the data and budget of RadioDiff-k² at each size."""

from __future__ import annotations

from raymap.config import OptimConfig, Stage
from raymap.models.rmdm import Rmdm
from raymap.recipes.radiodiff_k2 import both_budgets, k2, taken_over
from raymap.recipes.sizes import Size
from raymap.runtime.method import MethodJob

_MODELS: dict[Size, Rmdm.Config] = {
    "debug": Rmdm.Config(cell_m=8.0, widths=(16, 32), physics_widths=(16, 32), steps=2),
    "demo": Rmdm.Config(),
    "small": Rmdm.Config(),
    "full": Rmdm.Config(
        cell_m=1.0, widths=(64, 128, 192, 256, 256), physics_widths=(32, 64, 128, 256, 256), num_blocks=2
    ),
    # METHODS §5: 96 channels times (1, 1, 2, 2, 4, 4), a second U-Net of five pools from 32 to 480, no L_REG.
    "paper": Rmdm.Config(
        cell_m=1.0, patch=1, widths=(96, 96, 192, 192, 384, 384), physics_widths=(32, 64, 128, 256, 480, 480),
        num_blocks=2, prediction="noise", lambda_pinn=1.0, lambda_reg=0.0, steps=1000, stochastic=True,
    ),
}  # fmt: skip


def rmdm(size: Size) -> MethodJob[Rmdm.Config]:
    """PhyRMDM at a size; the paper's networks and training are the released code's. ValueError for an unknown size."""
    whole = k2(size)
    optim = _paper() if size == "paper" else both_budgets(whole)
    return MethodJob[Rmdm.Config](map=Stage[Rmdm.Config](model=_MODELS[size], optim=optim), **taken_over(whole, "rmdm"))


def _paper() -> OptimConfig:
    """AdamW at 1e-4 throughout, 100 000 steps, no average of the weights (METHODS §5)."""
    return OptimConfig(
        num_steps=100_000, learning_rate=1e-4, final_learning_rate=1e-4, weight_decay=1e-4, warmup_steps=0,
        ema_decay=0.0, precision="fp32", checkpoint_every=1000,
    )  # fmt: skip
