"""Recipes: a size (:data:`Size`) in, a whole config out. One paper, one file; one method, one function."""

from raymap.recipes.radio_unet import radiounet, sparse_finetune, with_measurements
from raymap.recipes.radiodiff_k2 import (
    ENVIRONMENT,
    K2_SIZES,
    PHYSICS,
    both_budgets,
    k2,
    law_of,
    of_several_cells,
    radiodiff,
    regression,
    taken_over,
)
from raymap.recipes.rme_gan import rmegan
from raymap.recipes.sizes import Size

__all__ = [
    "ENVIRONMENT",
    "K2_SIZES",
    "PHYSICS",
    "Size",
    "both_budgets",
    "k2",
    "law_of",
    "of_several_cells",
    "radiodiff",
    "radiounet",
    "regression",
    "rmegan",
    "sparse_finetune",
    "taken_over",
    "with_measurements",
]
