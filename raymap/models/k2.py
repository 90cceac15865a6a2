"""RadioDiff-k²: DM1 draws where the field turns abruptly, DM2 draws the map from that outline and the environment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import model_validator
from torch import Tensor

from raymap.config import ModelConfig
from raymap.data.batch import MapBatch
from raymap.models.base import Predictor, further_seeds
from raymap.models.radiodiff import RadioDiff


class K2(Predictor):
    """Both stages as one Predictor: one config tree, one state dict, one artifact.

    The stages are trained one after the other (``raymap.recipes.k2``), DM2 on outlines that DM1 generated, so K2 itself
    has no loss. Nothing derived from a true map can reach it: :meth:`predict` reads ``batch.blind()``.
    """

    class Config(ModelConfig):
        kind: Literal["k2"] = "k2"
        outline: RadioDiff.Config
        map: RadioDiff.Config

        @model_validator(mode="after")
        def _stages_fit(self) -> K2.Config:
            if (self.outline.target, self.map.target) != ("outline", "gain"):
                raise ValueError(
                    f"K2 needs an outline stage and a gain stage, got {self.outline.target!r} and {self.map.target!r}"
                )
            if "outline_predicted" in self.outline.inputs or "outline_predicted" not in self.map.inputs:
                raise ValueError("'outline_predicted' is made by the outline stage and read by the map stage")
            if self.outline.cell_m != self.map.cell_m:
                raise ValueError(f"stages trained on different cells: {self.outline.cell_m} m and {self.map.cell_m} m")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.outline = RadioDiff(config.outline)
        self.map = RadioDiff(config.map)

    def start_from(self, part: str, trained: Predictor) -> None:
        if part not in ("outline", "map"):
            super().start_from(part, trained)
        wanted = getattr(self, part)
        if trained.config != wanted.config:
            raise ValueError(f"stage {part!r} was trained with another config: {trained.config}")
        wanted.load_state_dict(trained.state_dict())

    def parts(self) -> dict:
        return {}

    def predict_all(self, batch: MapBatch, seeds: Sequence[int]) -> dict[str, Tensor]:
        batch = batch.blind()
        law = self.outline.by_law(batch) if self.is_law_shared() else None
        outline = self.outline.predict(batch, seeds, law)
        # Seeds of their own, or DM2 would start from the very noise that drew its outline.
        gain = self.map.predict(batch.with_outline(outline), further_seeds(seeds, "map"), law)
        return {"gain": gain, "outline": outline}

    def is_law_shared(self) -> bool:
        """Whether both stages have the same law, as they do unless one was trained from other inputs."""
        one, other = self.outline.law, self.map.law
        if one is None or other is None or one.config != other.config:
            return False
        values = other.state_dict()
        return all(torch.equal(value, values[name]) for name, value in one.state_dict().items())

    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        """(B, 1, H, W) in [-1, 1]."""
        return self.predict_all(batch, seeds)["gain"]

    @contextlib.contextmanager
    def with_sampling(
        self,
        steps: int | None = None,
        stochastic: bool | None = None,
        views: int | None = None,
        measured_noise_db: float | None = None,
    ) -> Iterator[None]:
        # Gains are measured, not outlines.
        with (
            self.outline.with_sampling(steps, stochastic, views),
            self.map.with_sampling(steps, stochastic, views, measured_noise_db),
        ):
            yield

    @property
    def own_law(self) -> Predictor | None:
        return self.map.own_law

    @property
    def cell_m(self) -> float:
        return self.config.map.cell_m

    @property
    def network_calls(self) -> int:
        return self.outline.network_calls + self.map.network_calls
