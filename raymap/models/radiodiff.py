"""RadioDiff: decoupled latent diffusion of one raster of the scene, conditioned on the environment.

The same class is RadioDiff-k²'s DM1 (``target="outline"``) and DM2 (``target="gain"``, with DM1's outline among its
inputs), and RadioDiff as published (no outline, no physics channels), by setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional as F

from raymap import diffusion
from raymap.config import ModelConfig
from raymap.data.batch import CHANNELS, MapBatch, require_inputs, symmetry
from raymap.models.base import Predictor
from raymap.models.cell_law import CellLaw
from raymap.models.sampled import SampledPredictor
from raymap.models.vae import Vae, load_weights
from raymap.nn.unet import ConditionalUNet

#: A model that is told the cell size takes cells up to so many times longer or shorter than those it was trained on.
CELL_RANGE = 4.0


def require_cells(batch: MapBatch, cell_m: float, multiple: int, inputs: Sequence[str]) -> None:
    """Raises ValueError for sides that are no ``multiple``, and for cells unlike those of ``cell_m`` [m] trained on.

    With "cell_size" among the ``inputs`` they may differ by a factor of :data:`CELL_RANGE`, else not at all.
    """
    if "cell_size" in inputs:
        if not 1 / CELL_RANGE <= batch.cell_m / cell_m <= CELL_RANGE:
            raise ValueError(
                f"the model was trained around {cell_m:g} m cells and takes {cell_m / CELL_RANGE:g} to "
                f"{cell_m * CELL_RANGE:g} m, this map has {batch.cell_m:g} m"
            )
    elif abs(batch.cell_m - cell_m) > 1e-3 * cell_m:
        raise ValueError(
            f"the model was trained on {cell_m:g} m cells, this map has {batch.cell_m:g} m; coarsen the scene "
            f"(Scene.coarsen), or train with the input cell_size and --data.coarsen"
        )
    shape = tuple(batch.building.shape[-2:])
    if any(size % multiple for size in shape):
        raise ValueError(f"map of {shape} cells: both sides must be multiples of {multiple}")


def num_channels(inputs: Sequence[str], law: CellLaw.Config | None) -> int:
    """Channels of :func:`stack`."""
    return sum(CHANNELS.get(name, 1) for name in inputs) + (law is not None)


def stack(batch: MapBatch, inputs: Sequence[str], law: Tensor | None) -> Tensor:
    """(B, C, H, W): what a network sees, the map (B, 1, H, W) of a law first if there is one."""
    rasters = batch.stack(inputs)
    return rasters if law is None else torch.cat([law, rasters], dim=1)


class RadioDiff(SampledPredictor):
    """Predicts ``target`` from ``inputs``: encode, diffuse (raymap.diffusion), decode."""

    class Config(ModelConfig):
        kind: Literal["radiodiff"] = "radiodiff"
        target: Literal["gain", "outline"] = "gain"
        inputs: tuple[str, ...] = ("building", "vehicle", "tx", "line_of_sight", "log_distance")
        cell_m: float = Field(4.0, gt=0, description="cell length the model is trained on [m]")
        autoencoder: Vae.Config = Vae.Config()
        widths: tuple[int, ...] = Field((64, 128, 128), description="width per level of the denoiser, multiples of 32")
        num_blocks: int = Field(2, ge=1, description="residual blocks per level, going down and going up")
        stem: int = Field(32, ge=1, description="width of the condition encoder's finest level")
        lambda_drift: float = Field(1.0, ge=0, description="λ1 of paper eq. 45")
        lambda_noise: float = Field(1.0, ge=0, description="λ2 of paper eq. 45")
        lambda_recon: float = Field(1.0, ge=0, description="λ3 of paper eq. 45")
        weighting: Literal["plain", "unit"] = Field("unit", description="over t; plain is the paper's")
        times: Literal["uniform", "late", "end"] = Field("end", description="how t is drawn; uniform is the paper's")
        fade: bool = Field(True, description="show the network no noise where z_t is noise alone; off in the paper")
        outdoor_only: bool = Field(True, description="weigh latent cells by their outdoor share; off in the paper")
        law: CellLaw.Config | None = Field(
            None, description="shown to the network; where the target is the gain, only what it leaves is diffused"
        )
        steps: int = Field(3, ge=1, description="network calls per prediction")
        views: Literal[1, 2, 4] = Field(1, description="mirrored views of the scene that a prediction is the mean of")
        stochastic: bool = Field(False, description="sample the posterior at each step instead of following its mean")

        _known = field_validator("inputs")(require_inputs)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.autoencoder = Vae(config.autoencoder).requires_grad_(False)
        latent = config.autoencoder.latent_channels
        self.law = CellLaw(config.law) if config.law else None
        self.unet = ConditionalUNet(
            latent,
            num_channels(config.inputs, config.law),
            config.widths,
            config.num_blocks,
            self.autoencoder.factor,
            config.stem,
        )
        self.register_buffer("latent_mean", torch.zeros(1, latent, 1, 1))
        self.register_buffer("latent_std", torch.ones(()))

    def start_from(self, part: str, trained: Predictor) -> None:
        """``autoencoder``: a trained Vae. ``body``: another RadioDiff, whose denoiser this one's starts from."""
        if part == "body":
            self._start_body(trained)
        elif part == "autoencoder":
            load_weights(self.autoencoder, trained)
        else:
            super().start_from(part, trained)

    @torch.no_grad()
    def _start_body(self, trained: Predictor) -> None:
        """Copy a denoiser; inputs that it does not have come last here, and are not looked at in the beginning."""
        if not isinstance(trained, RadioDiff):
            raise ValueError(f"the body must start from a RadioDiff, got {type(trained).__name__}")
        theirs, ours = trained.config.inputs, self.config.inputs
        if ours[: len(theirs)] != theirs or trained.config.law != self.config.law:
            raise ValueError(
                f"the body was trained on the inputs {theirs} and law {trained.config.law}, this model begins with "
                f"{ours} and law {self.config.law}"
            )
        if self.law is not None:
            self.law.load_state_dict(trained.law.state_dict())
        weights = trained.unet.state_dict()
        stem = "encoder.stem.weight"
        wide = torch.zeros_like(self.unet.state_dict()[stem])
        wide[:, : weights[stem].shape[1]] = weights[stem]
        self.unet.load_state_dict({**weights, stem: wide})

    @torch.no_grad()
    def prepare(self, batches: Iterable[MapBatch]) -> None:
        """Measures the latent's mean per channel and one standard deviation, so that diffusion sees unit variance.

        One scale for all channels: a channel that carries little of the picture weighs little in the loss, too.
        """
        batches = iter(batches)
        first = list(islice(batches, 32))
        if self.law is not None and not self.law.fitted:
            self.law.prepare(chain(first, batches))
        latents = [self._encode(batch) - self._offset(batch, self.by_law(batch)) for batch in first]
        # Cell by cell, for maps of several sizes have no common shape.
        cells = torch.cat([latent.movedim(1, -1).flatten(0, 2) for latent in latents])
        mean = cells.mean(dim=0)
        self.latent_mean.copy_(mean[:, None, None])
        self.latent_std.copy_((cells - mean).square().mean().sqrt().clamp_min(1e-3))

    def _encode(self, batch: MapBatch) -> Tensor:
        return self.autoencoder.encode(getattr(batch, self.config.target), batch.valid).float()

    def by_law(self, batch: MapBatch) -> Tensor | None:
        """(B, 1, H, W), the law's map, which turns with the scene; None without a law."""
        return None if self.law is None else self.law.predict(batch, ())

    def _offset(self, batch: MapBatch, law: Tensor | None) -> Tensor | float:
        """Latent of the law's map, which the diffusion is relative to; 0 where none is.

        Any latent known at prediction time would do, so the cheap one serves.
        """
        if law is None or self.config.target != "gain":
            return 0.0
        return self.autoencoder.sketch(law, batch.outdoor).float()

    def forward(self, batch: MapBatch, part: str = "model") -> dict[str, Tensor]:
        with torch.no_grad():
            law = self.by_law(batch)
            z0 = (self._encode(batch) - self._offset(batch, law) - self.latent_mean) / self.latent_std
        noise = torch.randn_like(z0)
        t = diffusion.draw_times(len(batch), self.config.times, z0.device)
        heads = diffusion.apply_heads(self._network(batch, law), diffusion.q_sample(z0, noise, t), t, self.config.fade)
        share = F.avg_pool2d(batch.valid.float(), self.autoencoder.factor) if self.config.outdoor_only else None
        terms = diffusion.losses(z0, noise, t, heads, self.config.weighting, share)
        total = sum(getattr(self.config, f"lambda_{name}") * term for name, term in terms.items())
        return {"loss": total, **terms}

    def _network(self, batch: MapBatch, law: Tensor | None):
        """(c_in·z_t, t) -> raw heads, with the condition of this batch computed once."""
        require_cells(batch, self.config.cell_m, self.autoencoder.factor, self.config.inputs)
        condition = self.unet.condition(stack(batch, self.config.inputs, law))
        return lambda z_t, t: self.unet(z_t, t, condition)

    @torch.no_grad()
    def predict(self, batch: MapBatch, seeds: Sequence[int], law: Tensor | None = None) -> Tensor:
        """(B, 1, H, W) in [-1, 1]; gain inside footprints is the floor. Raises ValueError for another cell size.

        With several ``views``, the mean of what is drawn for the scene and for its mirror images, each turned back.
        ``law``: (B, 1, H, W), the map of this model's law (:meth:`by_law`) where it is known already.
        """
        batch = batch.blind()
        law = self.by_law(batch) if law is None else law
        detail = self._detail(batch, law)
        if self.sampling.measured_noise_db is not None:
            batch = replace(batch, samples=batch.stack(["samples"]) - detail)
        signal = detail + self.mean_of_views(
            lambda code: self._draw(batch.turn(code), seeds, None if law is None else symmetry(law, code))
        )
        return torch.where(batch.outdoor, signal.clamp(-1, 1), -1.0)

    def _draw(self, batch: MapBatch, seeds: Sequence[int], law: Tensor | None) -> Tensor:
        height, width = (size // self.autoencoder.factor for size in batch.building.shape[-2:])
        shape = (self.latent_mean.shape[1], height, width)
        network, offset = self._network(batch, law), self._offset(batch, law)

        def decode(z0: Tensor) -> Tensor:
            return self.autoencoder.decode(z0 * self.latent_std + self.latent_mean + offset).float()

        return decode(
            diffusion.sample(
                lambda z_t, t: diffusion.apply_heads(network, z_t, t, self.config.fade),
                diffusion.seeded_noise(seeds, shape, batch.building.device),
                self.sampling.steps,
                self.sampling.stochastic,
                self.agreement(batch, decode),
            )
        )

    def _detail(self, batch: MapBatch, law: Tensor | None) -> Tensor | float:
        """(B, 1, H, W): what of the law's map no latent holds. It is known cell by cell, and need not be lost."""
        if law is None or self.config.target != "gain":
            return 0.0
        return law - self.autoencoder.decode(self.autoencoder.encode(law, batch.outdoor)).float()

    @property
    def network_calls(self) -> int:
        return self.sampling.steps * self.sampling.views
