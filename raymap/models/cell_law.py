"""A law for one cell at a time: gain from what physics says of the cell, and from nothing around it.

A small network instead of a formula, because how free space, street and roof combine is not linear. It is fitted in
a minute, knows no size of a map, and is both a floor that a network must clear and what a network can start from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from raymap.config import ModelConfig
from raymap.data.batch import CHANNELS, INPUTS, MEASURED, MapBatch, require_inputs
from raymap.models.base import Predictor

#: Inputs that say something of a cell by themselves and do not turn with the map.
OF_A_CELL = tuple(name for name in INPUTS if name not in ("building", "tx", "outline_predicted", *MEASURED, *CHANNELS))
#: Those that maps of every kind have.
_OF_ANY_MAP = tuple(name for name in OF_A_CELL if name != "dominant_path")
#: Cells taken from the first batches; more do not make the law better.
_NUM_BATCHES, _NUM_CELLS = 128, 2**21
_MOST_PASSES = 400


class CellLaw(Predictor):
    """Gain of a cell as a perceptron of its ``inputs``, least squares over outdoor cells of training maps.

    Fitted in :meth:`prepare`, from the same random numbers every time; nothing of it is learned in later steps.
    """

    class Config(ModelConfig):
        kind: Literal["cell_law"] = "cell_law"
        inputs: tuple[str, ...] = _OF_ANY_MAP
        width: int = Field(96, ge=1, description="width of both hidden layers")
        num_steps: int = Field(5000, ge=1, description="steps of Adam in prepare, or 400 passes if that is less")
        cells_per_step: int = Field(4096, ge=1)
        learning_rate: float = Field(5e-3, gt=0, description="highest of one cycle")

        @field_validator("inputs")
        @classmethod
        def _of_a_cell(cls, names: tuple[str, ...]) -> tuple[str, ...]:
            wrong = [name for name in require_inputs(names) if name not in OF_A_CELL]
            if wrong:
                raise ValueError(f"inputs {wrong} say nothing of a single cell; choose from {', '.join(OF_A_CELL)}")
            return names

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        size, width = len(config.inputs), config.width
        self.layers = nn.Sequential(
            nn.Conv2d(size, width, 1), nn.SiLU(), nn.Conv2d(width, width, 1), nn.SiLU(), nn.Conv2d(width, 1, 1)
        ).requires_grad_(False)
        # Mean and standard deviation of the inputs, then of the gain.
        self.register_buffer("mean", torch.zeros(size + 1))
        self.register_buffer("std", torch.ones(size + 1))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    def prepare(self, batches: Iterable[MapBatch]) -> None:
        """Fits the law. Raises ValueError if there is no outdoor cell."""
        generator = torch.Generator().manual_seed(0)
        cells = torch.cat([self._cells(batch, generator) for batch in islice(batches, _NUM_BATCHES)])
        if not len(cells):
            raise ValueError("no outdoor cell to fit a law to")
        self.mean.copy_(cells.mean(dim=0))
        self.std.copy_(cells.std(dim=0, correction=0).clamp_min(1e-3))
        self._fit((cells - self.mean) / self.std, generator)
        self.fitted.fill_(True)

    def _cells(self, batch: MapBatch, generator: torch.Generator) -> Tensor:
        """(N, inputs + 1): outdoor cells of a batch, no more than its share."""
        columns = torch.cat([batch.stack(self.config.inputs), batch.gain], dim=1)
        cells = columns.movedim(1, -1)[batch.valid[:, 0]].float()
        most = _NUM_CELLS // _NUM_BATCHES
        if len(cells) <= most:
            return cells
        return cells[torch.randint(len(cells), (most,), generator=generator).to(cells.device)]

    @torch.enable_grad()
    def _fit(self, cells: Tensor, generator: torch.Generator) -> None:
        config, layers = self.config, self.layers.requires_grad_(True)
        for parameter in layers.parameters():
            if parameter.ndim > 1:
                values = torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5
                parameter.data.copy_(values)
            else:
                parameter.data.zero_()
        size = min(config.cells_per_step, len(cells))
        num_steps = min(config.num_steps, _MOST_PASSES * math.ceil(len(cells) / size))
        optimizer = torch.optim.Adam(layers.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, num_steps)
        for _ in range(num_steps):
            chosen = torch.randint(len(cells), (size,), generator=generator)
            picked = cells[chosen.to(cells.device)]
            error = self._raw(picked[:, :-1]) - picked[:, -1]
            optimizer.zero_grad(set_to_none=True)
            error.square().mean().backward()
            optimizer.step()
            schedule.step()
        layers.requires_grad_(False)

    def _raw(self, cells: Tensor) -> Tensor:
        """(N, inputs) -> (N,), both scaled. Matrix products take three quarters of the convolutions' time."""
        for layer in self.layers:
            is_convolution = isinstance(layer, nn.Conv2d)
            cells = F.linear(cells, layer.weight[:, :, 0, 0], layer.bias) if is_convolution else layer(cells)
        return cells[:, 0]

    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        """(B, 1, H, W) in [-1, 1]; inside footprints the floor. Nothing is drawn: ``seeds`` may be empty."""
        mean, std = self.mean.view(1, -1, 1, 1), self.std.view(1, -1, 1, 1)
        inputs = (batch.stack(self.config.inputs) - mean[:, :-1]) / std[:, :-1]
        with torch.autocast(batch.building.device.type, enabled=False):
            gain = self.layers(inputs.float()) * std[:, -1:] + mean[:, -1:]
        return torch.where(batch.outdoor, gain.clamp(-1, 1), -1.0)

    @property
    def network_calls(self) -> int:
        """None of a network that sees the map."""
        return 0
