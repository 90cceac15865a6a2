"""RadioUNet: two plain U-Nets, the second drawing the map again from the first's picture (METHODS §4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from raymap.config import ModelConfig
from raymap.data.batch import MapBatch, require_inputs
from raymap.models.base import Predictor
from raymap.models.radiodiff import num_channels, require_cells
from raymap.nn.radiounet import FIRST, FIRST_OF_MANY_INPUTS, SECOND, PlainUNet

_MEASURED = ("samples", "sampled")


class RadioUNet(Predictor):
    """Predicts the gain in one pass of a U-Net, or of two, trained on the squared error of the last one's picture.

    The curriculum is two trainings: a RadioUNet of the ``first`` net alone, then one of ``both`` that starts from it,
    holds it still and trains the second. With "samples" and "sampled" among the inputs it is the paper's variant with
    measurements. Unlike in the paper the gain is not cut off at -127 dB: all methods here learn the same map.
    """

    class Config(ModelConfig):
        kind: Literal["radiounet"] = "radiounet"
        inputs: tuple[str, ...] = ("building", "vehicle", "tx")
        cell_m: float = Field(4.0, gt=0, description="cell length the model is trained on [m]")
        nets: Literal["first", "both"] = Field("both", description="of both the second alone is trained")
        scale: float = Field(1.0, gt=0, description="of all widths of both nets; 1 is the paper's")
        outdoor_only: bool = Field(
            True, description="learn outdoor cells only, for buildings are known; off in the paper"
        )
        sparse_loss: bool = Field(
            False, description="learn from the measured cells alone: the paper's adaptation to maps known in few places"
        )

        _known = field_validator("inputs")(require_inputs)

        @model_validator(mode="after")
        def _answers_are_not_shown(self) -> RadioUNet.Config:
            shown = [name for name in _MEASURED if name in self.inputs]
            if self.sparse_loss and shown:
                raise ValueError(f"inputs {shown} show what sparse_loss asks for; leave out one of the two")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        channels = num_channels(config.inputs, law=None)
        self.first = PlainUNet(channels, FIRST if channels <= 3 else FIRST_OF_MANY_INPUTS, config.scale)
        self.second = None
        if config.nets == "both":
            self.first.requires_grad_(False)
            self.second = PlainUNet(1 + channels, SECOND, config.scale)

    def start_from(self, part: str, trained: Predictor) -> None:
        """``first``: a trained RadioUNet of the first net. ``both``: one of both nets, whose second is trained on."""
        if self.second is None or part not in ("first", "both"):
            super().start_from(part, trained)
        nets = trained.config.nets if isinstance(trained, RadioUNet) else None
        if nets != part:
            raise ValueError(f"{part!r} must start from a RadioUNet of nets={part!r}, got {trained.config!r}")
        theirs, ours = (model.config.model_dump(include={"inputs", "cell_m", "scale"}) for model in (trained, self))
        if theirs != ours:
            raise ValueError(f"{part!r} was trained with {theirs}, this model has {ours}")
        if part == "first":
            self.first.load_state_dict(trained.first.state_dict())
        else:
            self.load_state_dict(trained.state_dict())

    def _draw(self, batch: MapBatch) -> Tensor:
        """(B, 1, H, W) in signal units, not clamped."""
        require_cells(batch, self.config.cell_m, 1, self.config.inputs)
        inputs = batch.stack(self.config.inputs)
        first = self.first(inputs).float()
        if self.second is None:
            return first
        return self.second(torch.cat([_picture(first, batch), inputs], dim=1)).float()

    def forward(self, batch: MapBatch, part: str = "model") -> dict[str, Tensor]:
        target, learned = self._known(batch)
        return {"loss": (self._draw(batch) - target)[learned].square().mean()}

    def _known(self, batch: MapBatch) -> tuple[Tensor, Tensor]:
        """(B, 1, H, W) gain to learn, and where. Raises ValueError for ``sparse_loss`` without measurements."""
        if self.config.sparse_loss:
            samples, sampled = batch.stack(_MEASURED).split(1, dim=1)
            return samples, sampled > 0
        return batch.gain, batch.valid if self.config.outdoor_only else torch.ones_like(batch.valid)

    @torch.no_grad()
    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        """(B, 1, H, W) in [-1, 1]; inside footprints the floor. Raises ValueError for another cell size."""
        batch = batch.blind()
        return _picture(self._draw(batch), batch)

    @property
    def network_calls(self) -> int:
        return 1 if self.second is None else 2


def _picture(drawn: Tensor, batch: MapBatch) -> Tensor:
    """What a net has drawn as a map: within [-1, 1], the floor inside footprints."""
    return torch.where(batch.outdoor, drawn.clamp(-1, 1), -1.0)
