"""RadioUNet: two plain U-Nets, the second drawing the map again from the first's picture (METHODS §4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from raymap import units
from raymap.config import ModelConfig
from raymap.data.batch import MEASURED, MapBatch, require_inputs
from raymap.models.base import Predictor
from raymap.models.radiodiff import num_channels, require_cells
from raymap.nn.radiounet import FIRST, FIRST_OF_MANY_INPUTS, SECOND, PlainUNet


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
            shown = [name for name in MEASURED if name in self.inputs]
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
        wanted = f"nets={part!r}"
        found = f"nets={trained.config.nets!r}" if isinstance(trained, RadioUNet) else type(trained).__name__
        if found != wanted:
            raise ValueError(f"{part!r} must start from a RadioUNet of {wanted}, got {found}")
        theirs, ours = (model.config.model_dump(include={"inputs", "cell_m", "scale"}) for model in (trained, self))
        if theirs != ours:
            raise ValueError(f"{part!r} was trained with {theirs}, this model has {ours}")
        if part == "first":
            self.first.load_state_dict(trained.first.state_dict())
        else:
            self.load_state_dict(trained.state_dict())

    @torch.no_grad()
    def prepare(self, batches: Iterable[MapBatch]) -> None:
        """Sets the last bias so that the errors have no mean; steps alone spend their first hundreds on that."""
        net = self.first if self.second is None else self.second
        error = torch.cat([self._error(batch) for batch in islice(batches, 8)])
        net.exit.bias -= error.mean() / 2  # a net draws grey, half as wide as the signal

    def _draw(self, batch: MapBatch) -> Tensor:
        """(B, 1, H, W) signal, not clamped."""
        require_cells(batch, self.config.cell_m, 1, self.config.inputs)
        inputs = batch.stack(self.config.inputs)
        drawn = _signal(self.first, inputs)
        if self.second is None:
            return drawn
        return _signal(self.second, torch.cat([_picture(drawn, batch), inputs], dim=1))

    def _error(self, batch: MapBatch) -> Tensor:
        """(N,) of the cells that are learned."""
        target, learned = self._known(batch)
        return (self._draw(batch) - target)[learned]

    def forward(self, batch: MapBatch, part: str = "model") -> dict[str, Tensor]:
        return {"loss": self._error(batch).square().mean()}

    def _known(self, batch: MapBatch) -> tuple[Tensor, Tensor]:
        """(B, 1, H, W) gain to learn, and where. Raises ValueError for ``sparse_loss`` without measurements."""
        if self.config.sparse_loss:
            samples, sampled = batch.stack(MEASURED).split(1, dim=1)
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


def _signal(net: PlainUNet, inputs: Tensor) -> Tensor:
    """What a net draws of its inputs, both in [-1, 1]; the net itself sees and draws grey, as the paper's.

    There 0 is nothing: no building, no transmitter, no field, and no map beyond the edge where convolutions see zeros.
    """
    return units.signal_from_grey(net(units.grey_from_signal(inputs)).float())


def _picture(drawn: Tensor, batch: MapBatch) -> Tensor:
    """What a net has drawn as a map: within [-1, 1], the floor inside footprints."""
    return torch.where(batch.outdoor, drawn.clamp(-1, 1), -1.0)
