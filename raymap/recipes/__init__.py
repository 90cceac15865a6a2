"""Recipes: a size (:data:`Size`) in, a whole config out. One paper, one file; one method, one function."""

from raymap.recipes.phyrmdm import rmdm
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
    "regression",
    "rmdm",
    "taken_over",
]
