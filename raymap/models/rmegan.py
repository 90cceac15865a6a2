"""RME-GAN (Zhang, Wijesinghe and Ding, IEEE IoT-J 2023): a conditional GAN whose generator learns in two phases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.func import functional_call

from raymap import units
from raymap.config import ModelConfig, Settings
from raymap.data.batch import MapBatch, require_inputs
from raymap.models import rmegan_losses as losses
from raymap.models.base import Predictor
from raymap.models.radiodiff import num_channels, require_cells
from raymap.nn.critic import Critic
from raymap.nn.radiounet import FIRST, FIRST_OF_MANY_INPUTS, PlainUNet


class Weights(Settings):
    """λ of every term of the generator's loss (:mod:`raymap.models.rmegan_losses`); 0 leaves a term out."""

    adversarial: float = Field(ge=0)
    squared: float = Field(ge=0)
    absolute: float = Field(0.0, ge=0)
    variation: float = Field(0.0, ge=0)
    gradient: float = Field(0.0, ge=0, description="directions of the generated map's gradients, as in the fitted law")
    structure: float = Field(0.0, ge=0)
    spectrum: float = Field(0.0, ge=0)
    brightest: float = Field(0.0, ge=0)


def _released(
    adversarial: float, squared: float, variation: float, *, gradient=0.0, mixed=0.0, spectrum=0.0, brightest=0.0
) -> Weights:
    """Weights of the released code, for pictures of 256 levels, as weights for grey levels in [0, 1].

    All are in proportion to a squared error that counts 100. There, the variation is 1e-7 of a sum over 30 maps of 256²
    cells; ``mixed`` is 200 times 0.025 of 1 − MS-SSIM and 0.975 of the absolute error in parts of the range.
    """
    levels = 256.0
    unit = 100 / (squared * levels**2)
    return Weights(
        adversarial=adversarial * unit,
        squared=100.0,
        absolute=mixed * 200 * 0.975 * unit,
        variation=variation * 1e-7 * 30 * 256**2 * levels * unit,
        gradient=gradient * unit,
        structure=mixed * 200 * 0.025 * unit,
        spectrum=spectrum * unit,
        brightest=brightest * levels * unit,
    )


#: The first phase: how a map falls off with distance.
GLOBAL = _released(adversarial=10, squared=1, variation=10, gradient=10)
#: The second: shadows and what else is particular to a place.
LOCAL = _released(adversarial=1, squared=100, variation=0.001, mixed=84, spectrum=1, brightest=1)


class RmeGan(Predictor):
    """A generator that draws a map in one pass, and a critic that learns to tell its maps from true ones.

    The generator is the first U of RadioUNet and is given no random vector, so that a scene has one prediction. From
    sparse measurements ("samples" and "sampled" among the inputs) or without: then the fitted law is the one law of all
    training maps, and the brightest cells are those of the true map.
    """

    class Config(ModelConfig):
        kind: Literal["rmegan"] = "rmegan"
        inputs: tuple[str, ...] = ("building", "vehicle", "tx")
        cell_m: float = Field(4.0, gt=0, description="cell length the model is trained on [m]")
        scale: float = Field(0.5, gt=0, description="of all widths of the generator; 1 is RadioUNet's")
        critic_widths: tuple[int, ...] = Field((32, 64, 128), min_length=1, description="every one halves the map")
        weights: Weights = LOCAL

        _known = field_validator("inputs")(require_inputs)

        @property
        def measured(self) -> bool:
            """Whether the model reads sparse measurements."""
            return self.reads("sampled")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        channels = num_channels(config.inputs, None)
        self.generator = PlainUNet(channels, FIRST if channels <= 3 else FIRST_OF_MANY_INPUTS, config.scale)
        self.critic = Critic(channels, config.critic_widths)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        # Of the log-distance law of all training maps, see fitted_map.
        self.register_buffer("coefficients", torch.zeros(2))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The critic first, then the generator, as the paper steps them."""
        return {"critic": list(self.critic.parameters()), "generator": list(self.generator.parameters())}

    def start_from(self, part: str, trained: Predictor) -> None:
        """``first``: an RmeGan after the first phase, from whose generator and critic this one's start."""
        if part != "first":
            super().start_from(part, trained)
        if not isinstance(trained, RmeGan):
            raise ValueError(f"the second phase must start from an RmeGan, got {type(trained).__name__}")
        if trained.config.model_copy(update={"weights": self.config.weights}) != self.config:
            raise ValueError(f"the first phase was trained as {trained.config}, this model wants {self.config}")
        self.load_state_dict(trained.state_dict())

    @torch.no_grad()
    def prepare(self, batches: Iterable[MapBatch]) -> None:
        """Measures mean and standard deviation of the gain, and fits one log-distance law to all maps."""
        first = list(islice(batches, 32))
        gains = torch.cat([batch.gain[batch.valid] for batch in first])
        self.mean.copy_(gains.mean())
        self.std.copy_(gains.std().clamp_min(1e-3))
        moments = [losses.law_moments(batch.log_distance, batch.gain, batch.valid) for batch in first]
        normal, moment = (torch.cat(parts).sum(dim=0) for parts in zip(*moments, strict=True))
        self.coefficients.copy_(losses.solve_law(normal, moment, self.coefficients))

    def fitted(self, batch: MapBatch) -> Tensor:
        """(B, 1, H, W) in the units of the gain: the law of each map's measurements, or that of all training maps."""
        if self.config.measured:
            samples, where = batch.samples, batch.sampled > 0
        else:
            samples, where = torch.zeros_like(batch.tx), torch.zeros_like(batch.tx, dtype=torch.bool)
        return losses.fitted_map(batch.log_distance, samples, where, self.coefficients)

    def _draw(self, batch: MapBatch) -> Tensor:
        require_cells(batch, self.config.cell_m, 1, self.config.inputs)
        drawn = self.generator(batch.stack(self.config.inputs)).float() * self.std + self.mean
        return torch.where(batch.outdoor, drawn, -1.0)

    def forward(self, batch: MapBatch, part: str = "generator") -> dict[str, Tensor]:
        scene, true = batch.stack(self.config.inputs), torch.where(batch.outdoor, batch.gain, -1.0)
        if part == "critic":
            with torch.no_grad():
                drawn = self._draw(batch)
            of_true, of_drawn = self.critic(torch.cat([true, drawn]), torch.cat([scene, scene])).float().chunk(2)
            return {"loss": losses.critic_loss(of_true, of_drawn), "recognised": (of_true > 0).float().mean()}
        drawn = self._draw(batch)
        # Through the critic's weights, but not to them: only the critic's own loss moves it.
        frozen = {name: weight.detach() for name, weight in self.critic.named_parameters()}
        verdict = functional_call(self.critic, frozen, (drawn, scene)).float()
        with torch.autocast(drawn.device.type, enabled=False):
            terms = self._terms(batch, drawn, true)
        terms = {"adversarial": losses.adversarial_loss(verdict), **terms}
        total = sum(getattr(self.config.weights, name) * term for name, term in terms.items())
        return {"loss": total, **terms}

    def _terms(self, batch: MapBatch, drawn: Tensor, true: Tensor) -> dict[str, Tensor]:
        """Every term that has a weight, but for the adversarial one."""
        grey, truth, fit = (units.grey_from_signal(signal) for signal in (drawn, true, self.fitted(batch)))
        street = batch.valid & batch.outdoor
        seen = batch.sampled > 0 if self.config.measured else street
        terms = {
            "squared": lambda: losses.squared_error(grey, truth, street),
            "absolute": lambda: losses.absolute_error(grey, truth, street),
            "variation": lambda: losses.total_variation(grey, street),
            "gradient": lambda: losses.gradient_direction(grey, fit, street),
            "structure": lambda: losses.structure_loss(grey, truth),
            "spectrum": lambda: losses.spectrum_loss(grey, truth),
            "brightest": lambda: losses.brightest_error(grey, truth, seen),
        }
        return {name: term() for name, term in terms.items() if getattr(self.config.weights, name)}

    @torch.no_grad()
    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> Tensor:
        """(B, 1, H, W) in [-1, 1]; inside footprints the floor. Nothing is drawn at random: ``seeds`` are not used.

        Raises ValueError for another cell size.
        """
        drawn = self._draw(batch.blind()).clamp(-1, 1)
        return torch.where(batch.outdoor, drawn, -1.0)
