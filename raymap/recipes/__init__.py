"""Recipes: a size (:data:`Size`) in, a whole config out. One paper, one file; one method, one function."""

from raymap.recipes.phyrmdm import rmdm
from raymap.recipes.pinn_gnn import PATH_METHODS, path_method, path_title
from raymap.recipes.radio_unet import radiounet, sparse_finetune
from raymap.recipes.radiodiff_k2 import (
    ENVIRONMENT,
    K2_SIZES,
    PHYSICS,
    both_budgets,
    k2,
    law_of,
    radiodiff,
    regression,
    taken_over,
)
from raymap.recipes.rme_gan import rmegan
from raymap.recipes.sizes import Size
from raymap.recipes.variants import VARIANTS, of_several_cells, with_dominant_path, with_measurements

__all__ = [
    "ENVIRONMENT",
    "K2_SIZES",
    "METHODS",
    "PATH_METHODS",
    "PHYSICS",
    "VARIANTS",
    "Size",
    "both_budgets",
    "k2",
    "law_of",
    "of_several_cells",
    "path_method",
    "path_title",
    "radiodiff",
    "radiounet",
    "regression",
    "rmdm",
    "rmegan",
    "sparse_finetune",
    "taken_over",
    "with_dominant_path",
    "with_measurements",
]

#: Name on the command line -> (title in tables, recipe) of every method that is trained. Files of methods outside of
#: the package (``raymap.outside``) add theirs.
METHODS = {
    "radiounet": ("RadioUNet", radiounet),
    "rmegan": ("RME-GAN", rmegan),
    "rmdm": ("RMDM", rmdm),
    "radiodiff": ("RadioDiff", radiodiff),
    "regression": ("Regression", regression),
    "k2": ("RadioDiff-k²", k2),
}
