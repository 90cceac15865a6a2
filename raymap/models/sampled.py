"""What diffusions share: how a prediction is drawn, by the model's config or as asked for the moment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from raymap import units
from raymap.config import ModelConfig
from raymap.data.batch import MapBatch, symmetry
from raymap.models import posterior
from raymap.models.base import Predictor

#: Number of views of a scene -> the symmetries of the rectangle that a prediction is the mean of.
MIRRORS = {1: (0,), 2: (0, 3), 4: (0, 1, 2, 3)}


class Sampling(NamedTuple):
    """How predictions are drawn, see :meth:`Predictor.with_sampling`."""

    steps: int
    stochastic: bool
    views: int
    measured_noise_db: float | None = None


class SampledPredictor(Predictor):
    """A Predictor whose config says ``steps``, ``stochastic`` and ``views``, and which draws by ``self.sampling``."""

    #: Network calls that one drawing may take at most; None: any number.
    most_steps: int | None = None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.sampling = Sampling(config.steps, config.stochastic, config.views)

    @contextlib.contextmanager
    def with_sampling(
        self,
        steps: int | None = None,
        stochastic: bool | None = None,
        views: int | None = None,
        measured_noise_db: float | None = None,
    ) -> Iterator[None]:
        asked = {"steps": steps, "stochastic": stochastic, "views": views, "measured_noise_db": measured_noise_db}
        before = self.sampling
        after = before._replace(**{name: value for name, value in asked.items() if value is not None})
        self._require(after)
        self.sampling = after
        try:
            yield
        finally:
            self.sampling = before

    def _require(self, sampling: Sampling) -> None:
        if sampling.steps < 1 or sampling.views not in MIRRORS:
            raise ValueError(f"steps must be at least 1 and views 1, 2 or 4, got {sampling}")
        if self.most_steps is not None and sampling.steps > self.most_steps:
            raise ValueError(f"steps must be at most {self.most_steps}, got {sampling.steps}")
        noise_db = sampling.measured_noise_db
        if noise_db is not None and (noise_db <= 0 or self.config.reads("sampled")):
            raise ValueError(
                f"measured_noise_db must be above 0, and for a model that does not read measurements itself; got "
                f"{noise_db} for one with the inputs {', '.join(self.config.inputs)}"
            )

    def mean_of_views(self, draw: Callable[[int], Tensor]) -> Tensor:
        """Mean over mirrored views of ``draw(code)``, what is drawn for the scene under a symmetry, turned back."""
        return torch.stack([symmetry(draw(code), code) for code in MIRRORS[self.sampling.views]]).mean(dim=0)

    def agreement(
        self, batch: MapBatch, decode: Callable[[Tensor], Tensor]
    ) -> Callable[[Tensor, float], Tensor] | None:
        """(ẑ₀, its variance) -> ẑ₀ that agrees with the batch's measurements (:func:`posterior.agree`); None unless
        asked for. ``decode``: ẑ₀ -> (B, 1, H, W) in the units of ``batch.samples``."""
        if self.sampling.measured_noise_db is None:
            return None
        samples, sampled = batch.stack(["samples"]), batch.stack(["sampled"]) > 0
        noise = 2 * self.sampling.measured_noise_db / units.GAIN_SPAN_DB
        return lambda z0, variance: posterior.agree(z0, variance, decode, samples, sampled, noise)
