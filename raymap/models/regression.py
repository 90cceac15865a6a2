"""A regression with the same body as the diffusion, to tell what the diffusion itself is worth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional as F

from raymap.config import ModelConfig
from raymap.data.batch import MapBatch, require_inputs, symmetry
from raymap.models.base import Predictor
from raymap.models.cell_law import CellLaw
from raymap.models.radiodiff import num_channels, require_cells, stack
from raymap.models.sampled import MIRRORS
from raymap.nn.unet import ConditionalUNet


class Regression(Predictor):
    """Predicts ``target`` in one pass, trained on its squared error over outdoor cells.

    The network is RadioDiff's (condition encoder, attention, U-Net) at t = 1 with zeros for the noisy latent. Where
    RadioDiff decodes a latent, one convolution gives the ``patch`` x ``patch`` cells under each cell of the U-Net.
    """

    class Config(ModelConfig):
        kind: Literal["regression"] = "regression"
        target: Literal["gain", "outline"] = "gain"
        inputs: tuple[str, ...] = ("building", "vehicle", "tx", "line_of_sight", "log_distance")
        cell_m: float = Field(4.0, gt=0, description="cell length the model is trained on [m]")
        patch: int = Field(4, ge=2, multiple_of=2, description="cells of the map along one side of a U-Net's cell")
        widths: tuple[int, ...] = Field((64, 128, 128), description="width per level, multiples of 32")
        num_blocks: int = Field(2, ge=1, description="residual blocks per level, going down and going up")
        stem: int = Field(32, ge=1, description="width of the condition encoder's finest level")
        law: CellLaw.Config | None = Field(
            None, description="shown to the network; where the target is the gain, only what it leaves is learned"
        )
        views: Literal[1, 2, 4] = Field(1, description="mirrored views of the scene that a prediction is the mean of")

        _known = field_validator("inputs")(require_inputs)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        channels = num_channels(config.inputs, config.law)
        # The U-Net has two heads; together they are one picture.
        self.unet = ConditionalUNet(
            config.patch**2 // 2, channels, config.widths, config.num_blocks, config.patch, config.stem
        )
        self.law = CellLaw(config.law) if config.law else None
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    @torch.no_grad()
    def prepare(self, batches: Iterable[MapBatch]) -> None:
        """Measures mean and standard deviation of what is to be learned."""
        batches = iter(batches)
        first = list(islice(batches, 32))
        if self.law is not None:
            self.law.prepare(chain(first, batches))
        values = torch.cat([(self._target(batch) - self._offset(self._by_law(batch)))[batch.valid] for batch in first])
        self.mean.copy_(values.mean())
        self.std.copy_(values.std().clamp_min(1e-3))

    def _target(self, batch: MapBatch) -> Tensor:
        return getattr(batch, self.config.target)

    def _by_law(self, batch: MapBatch) -> Tensor | None:
        return None if self.law is None else self.law.predict(batch, ())

    def _offset(self, law: Tensor | None) -> Tensor | float:
        return 0.0 if law is None or self.config.target != "gain" else law

    def _draw(self, batch: MapBatch, law: Tensor | None) -> Tensor:
        require_cells(batch, self.config.cell_m, self.config.patch, self.config.inputs)
        height, width = (size // self.config.patch for size in batch.building.shape[-2:])
        nothing = batch.building.new_zeros(len(batch), self.config.patch**2 // 2, height, width)
        end = batch.building.new_ones(len(batch))
        heads = self.unet(nothing, end, self.unet.condition(stack(batch, self.config.inputs, law)))
        learned = F.pixel_shuffle(torch.cat(heads, dim=1), self.config.patch).float()
        return self._offset(law) + self.mean + self.std * learned

    def forward(self, batch: MapBatch, part: str = "model") -> dict[str, Tensor]:
        error = (self._draw(batch, self._by_law(batch)) - self._target(batch))[batch.valid] / self.std
        return {"loss": error.square().mean()}

    @torch.no_grad()
    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        """(B, 1, H, W) in [-1, 1]; inside footprints the floor. Raises ValueError for another cell size."""
        batch = batch.blind()
        law = self._by_law(batch)
        drawn = [
            symmetry(self._draw(batch.turn(code), None if law is None else symmetry(law, code)), code)
            for code in MIRRORS[self.config.views]
        ]
        return torch.where(batch.outdoor, torch.stack(drawn).mean(dim=0).clamp(-1, 1), -1.0)

    @property
    def network_calls(self) -> int:
        return self.config.views
