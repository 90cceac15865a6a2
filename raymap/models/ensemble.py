"""Several predictions of one map: their mean, and how far a planner may be off, in dB. Works with every Predictor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from raymap import units
from raymap.config import Settings
from raymap.data.batch import MapBatch, symmetry
from raymap.models.base import Predictor, further_seeds

#: What undoes each symmetry of the square (``raymap.data.batch.symmetry``): a transposed flip flips the other axis.
BACK = (0, 1, 2, 3, 4, 6, 5, 7)


class Ensemble(NamedTuple):
    """(B, 1, H, W) each [dB]; inside footprints the spread is 0."""

    mean_db: Tensor
    spread_db: Tensor


class Recipe(Settings):
    """How an ensemble is drawn, and how the members' spread becomes an honest error bar.

    ``jobs/study_sampling.py`` compares recipes and fits ``factor`` and ``floor_db`` on the validation split.
    """

    num: int = Field(4, ge=2, description="members; each costs what a prediction from one view costs")
    steps: int | None = Field(None, ge=1, description="network calls per stage and member; None: the model's own")
    stochastic: bool | None = Field(None, description="draw noise anew at every step; None: as the model does")
    pool_m: float = Field(8.0, ge=0, description="variances are averaged over about this distance; 0: not [m]")
    factor: float = Field(1.0, ge=0, description="what the members' spread is multiplied by")
    floor_db: tuple[float, float] = Field((0.0, 0.0), description="added where the transmitter is seen, and elsewhere")


def predict(model: Predictor, batch: MapBatch, seeds: Sequence[int], recipe: Recipe) -> Ensemble:
    """Mean and calibrated spread of a batch of maps [dB]; mean ± 1.645·spread is meant to hold 90 % of the cells.

    Raises ValueError as :meth:`Predictor.predict`, and for steps that the model does not take.
    """
    drawn = members(model, batch, seeds, recipe)
    return Ensemble(
        units.gain_db_from_signal(drawn).mean(dim=0), calibrated(spread(drawn, batch, recipe), batch, recipe)
    )


@torch.no_grad()
def members(model: Predictor, batch: MapBatch, seeds: Sequence[int], recipe: Recipe) -> Tensor:
    """(K, B, 1, H, W) in [-1, 1]: predictions of every map that differ in seed and in view.

    Member k is drawn for another mirror image of the scene (of 8 if it is square, else of 4, over and over), with
    seeds of its own, and turned back; it is never itself a mean of views. Member 0 is the scene as it is under the
    seeds given. A model without seeds, or one that takes a single step and is shown no noise, differs by views alone.
    """
    batch = batch.blind()
    height, width = batch.building.shape[-2:]
    num_views = 8 if height == width else 4
    drawn = []
    with model.with_sampling(recipe.steps, recipe.stochastic, views=1):
        for k in range(recipe.num):
            image = model.predict(batch.turn(k % num_views), further_seeds(seeds, k) if k else seeds)
            drawn.append(symmetry(image, BACK[k % num_views]))
    return torch.stack(drawn)


def spread(drawn: Tensor, batch: MapBatch, recipe: Recipe) -> Tensor:
    """(B, 1, H, W) standard deviation of members (K, B, 1, H, W), with variances pooled over outdoor neighbours [dB].

    Few members tell a variance badly (four: to ± 80 %), and neighbouring cells err alike. The weights are a Gaussian's
    with ``pool_m`` as its standard deviation.
    """
    outdoor = batch.outdoor.to(drawn.dtype)
    variance = units.gain_db_from_signal(drawn).var(dim=0) * outdoor
    sigma = recipe.pool_m / batch.cell_m
    if sigma > 0:
        variance = outdoor * _blur(variance, sigma) / _blur(outdoor, sigma).clamp_min(1e-6)
    return variance.sqrt()


def calibrated(spread_db: Tensor, batch: MapBatch, recipe: Recipe) -> Tensor:
    """``factor`` times the members' spread plus the floor of lit or dark cells, outdoors [dB]."""
    lit, dark = recipe.floor_db
    floor_db = torch.where(batch.line_of_sight > 0, lit, dark)
    return torch.where(batch.outdoor, recipe.factor * spread_db + floor_db, 0.0)


def _blur(image: Tensor, sigma: float) -> Tensor:
    """A Gaussian of ``sigma`` cells over (B, 1, H, W), zero outside."""
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = kernel / kernel.sum()
    image = F.conv2d(image, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    return F.conv2d(image, kernel.view(1, 1, 1, -1), padding=(0, reach))
