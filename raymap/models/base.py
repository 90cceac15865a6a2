"""Predictor: the one contract that every method keeps, generative or not, learned or not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from raymap.config import ModelConfig
from raymap.data.batch import MapBatch

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "run.json"


class Predictor(nn.Module):
    """A method. Data parallel wrappers only see ``forward``, therefore forward IS the loss.

    A subclass nests its ``Config`` (frozen, with a Literal ``kind``) and is registered by that kind.
    """

    Config: ClassVar[type[ModelConfig]]
    classes: ClassVar[dict[str, type[Predictor]]] = {}

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "Config" in cls.__dict__:
            Predictor.classes[cls.Config.model_fields["kind"].default] = cls

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Name -> parameters of one optimizer; the parts are stepped in turn. Empty: nothing is learned by steps."""
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return {"model": trainable} if trainable else {}

    def prepare(self, batches: Iterable[MapBatch]) -> None:
        """Called once before the first step with a pass over training batches, for scales and closed-form fits."""

    def start_from(self, part: str, trained: Predictor) -> None:
        """Load a trained model into a part of this one. Raises ValueError for a part it does not have."""
        raise ValueError(f"{type(self).__name__} has no part {part!r} that could start from another model")

    def forward(self, batch: MapBatch, part: str = "model") -> dict[str, torch.Tensor]:
        """The training loss: {"loss": (), and any terms to log: ()}."""
        raise TypeError(f"{type(self).__name__} has no training loss")

    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> torch.Tensor:
        """(B, 1, H, W) in [-1, 1], one seed per sample, so that sample i is the same in a batch of any size."""
        raise TypeError(f"{type(self).__name__} predicts nothing by itself")

    def predict_all(self, batch: MapBatch, seeds: Sequence[int]) -> dict[str, torch.Tensor]:
        """Everything the method can say of a map: "gain", and "outline" where it draws one; shaped as in predict."""
        return {"gain": self.predict(batch, seeds)}

    @contextlib.contextmanager
    def with_sampling(
        self, steps: int | None = None, stochastic: bool | None = None, views: int | None = None
    ) -> Iterator[None]:
        """Within this context predictions are sampled another way; None leaves what the model's config says.

        ``steps``: network calls per stage and view. ``stochastic``: draw noise anew at every step. ``views``: mirrored
        views of the scene that a prediction is the mean of.
        Raises ValueError for values that are not allowed, and for a model that does not sample.
        """
        fixed = {"steps": None, "stochastic": None, "views": getattr(self.config, "views", 1)}
        asked = {"steps": steps, "stochastic": stochastic, "views": views}
        other = [f"{name}={value}" for name, value in asked.items() if value is not None and value != fixed[name]]
        if other:
            raise ValueError(f"{type(self).__name__} does not predict in steps or views of choice, got {other[0]}")
        yield

    def with_steps(self, steps: int | None) -> contextlib.AbstractContextManager[None]:
        """:meth:`with_sampling` for the steps alone."""
        return self.with_sampling(steps=steps)

    @property
    def network_calls(self) -> int:
        """Passes through a network that one prediction takes."""
        return 1


def further_seeds(seeds: Sequence[int], purpose: str | int) -> list[int]:
    """Seeds for another draw of the same samples, so that its noise has nothing to do with the first.

    Hashed to 32 bits rather than offset: torch's CPU generator looks at no more than the lower 32 bits of a seed.
    """
    return [zlib.crc32(f"{seed}/{purpose}".encode()) for seed in seeds]


def build(config: ModelConfig) -> Predictor:
    """A fresh model of the config's kind."""
    return Predictor.classes[config.kind](config)


def save(model: Predictor, folder: Path, run: dict | None = None) -> None:
    """Write ``run.json`` (the whole run, or just the model's config) and ``model.safetensors`` into ``folder``."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    values = {**(run or {}), "model": model.config.model_dump(mode="json")}
    (folder / CONFIG_FILE).write_text(json.dumps(values, indent=2) + "\n")


def weights_hash(folder: Path) -> str:
    """First 16 hex digits of the SHA-256 of a model's weights: which training made it."""
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()[:16]


def load(folder: Path) -> Predictor:
    """Rebuild a model from a folder written by :func:`save`, in evaluation mode; runs no code from the files.

    Raises FileNotFoundError naming the missing file, ValueError for an unknown kind of model, for weights that are
    damaged and if weights and config do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no {name}: not a raymap model folder")
    model = build(ModelConfig.from_dict(json.loads((folder / CONFIG_FILE).read_text()).get("model", {})))
    try:
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"{folder / WEIGHTS_FILE} does not fit the config beside it: {error}") from error
    return model.eval()
