"""Predictor: the one contract that every method keeps, generative or not, learned or not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from raymap import units
from raymap.config import ModelConfig, Settings
from raymap.data.batch import MapBatch
from raymap.models import memory
from raymap.storage import Place, here, place

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "run.json"
#: Of what is saved. Raise it when code changes what saved weights mean and no setting says so (the scale of an input).
SCHEMA_VERSION = 1
#: In compact files, weights of at least so many numbers are bfloat16: nearly all of the size. Small ones are scales,
#: offsets and a map's principal components, on which all cells depend; rounding those would be seen.
COMPACT_FROM = 1024


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

    def validation_loss(self, batch: MapBatch) -> torch.Tensor:
        """What training on other data should lessen: (), by default the losses of all parts together."""
        return sum(self(batch, part)["loss"] for part in self.parts())

    def validation_score(self, batch: MapBatch) -> torch.Tensor:
        """Error of what is predicted, whatever the loss: (), the mean NMSE of the maps (grey levels, all pixels)."""
        grey = units.grey_from_signal(self.predict(batch.blind(), range(len(batch))).float())
        true = units.grey_from_signal(batch.gain)
        missed, power = ((grey - true) ** 2).sum(dim=(1, 2, 3)), (true**2).sum(dim=(1, 2, 3))
        return (missed / power).mean()

    def predict(self, batch: MapBatch, seeds: Sequence[int]) -> torch.Tensor:
        """(B, 1, H, W) in [-1, 1], one seed per sample, so that sample i is the same in a batch of any size."""
        raise TypeError(f"{type(self).__name__} predicts nothing by itself")

    def predict_all(self, batch: MapBatch, seeds: Sequence[int]) -> dict[str, torch.Tensor]:
        """Everything the method can say of a map: "gain", and "outline" where it draws one; shaped as in predict."""
        return {"gain": self.predict(batch, seeds)}

    @contextlib.contextmanager
    def with_sampling(
        self,
        steps: int | None = None,
        stochastic: bool | None = None,
        views: int | None = None,
        measured_noise_db: float | None = None,
    ) -> Iterator[None]:
        """Within this context predictions are sampled another way; None leaves what the model's config says.

        ``steps``: network calls per stage and view. ``stochastic``: draw noise anew at every step. ``views``: mirrored
        views of the scene that a prediction is the mean of. ``measured_noise_db``: draw maps that agree with the
        batch's measurements, which err by so much [dB]; the model need not have been trained on any.
        Raises ValueError for values that are not allowed, and for a model that does not sample.
        """
        fixed = {"views": getattr(self.config, "views", 1)}
        asked = {"steps": steps, "stochastic": stochastic, "views": views, "measured_noise_db": measured_noise_db}
        other = [f"{name}={value}" for name, value in asked.items() if value is not None and value != fixed.get(name)]
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

    @property
    def own_law(self) -> Predictor | None:
        """The law that the model's networks start from, None without one."""
        return getattr(self, "law", None)

    @property
    def cell_m(self) -> float | None:
        """Length of the cells that the model was trained on [m], None if it knows no size."""
        return getattr(self.config, "cell_m", None)

    @property
    def factor(self) -> int:
        """Cells along one side that the model folds into one: its config's ``patch``, 1 without."""
        return int(getattr(self.config, "patch", 1))

    @property
    def multiple(self) -> int:
        """Both sides of a map must be multiples of so many cells: the least common one of ``factor`` of all parts."""
        return math.lcm(*(module.factor for module in self.modules() if isinstance(module, Predictor)))


def further_seeds(seeds: Sequence[int], purpose: str | int) -> list[int]:
    """Seeds for another draw of the same samples, so that its noise has nothing to do with the first.

    Hashed to 32 bits rather than offset: torch's CPU generator looks at no more than the lower 32 bits of a seed.
    """
    return [zlib.crc32(f"{seed}/{purpose}".encode()) for seed in seeds]


def build(config: ModelConfig) -> Predictor:
    """A fresh model of the config's kind. From then on the process keeps freed memory (:mod:`raymap.models.memory`)."""
    memory.keep()
    return Predictor.classes[config.kind](config)


def save(model: Predictor, folder: str | Place, run: dict | None = None, *, compact: bool = False) -> None:
    """Write ``run.json`` (the whole run, or just the model's config) and ``model.safetensors`` into ``folder``.

    ``compact``: half the size. Large weights are rounded to bfloat16, and equal tensors (an autoencoder that two stages
    share) are stored once; buffers and small weights stay float32.
    """
    from safetensors.torch import save

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    # One entry at most: the order of several is not the same in every file.
    metadata = {"format": "pt"}
    if compact:
        weights = {name for name, parameter in model.named_parameters() if parameter.numel() >= COMPACT_FROM}
        state = {name: tensor.bfloat16() if name in weights else tensor for name, tensor in state.items()}
        same_as = _repeated(state)
        state = {name: tensor for name, tensor in state.items() if name not in same_as}
        metadata = {"same_as": json.dumps(same_as)}
    values = {"schema_version": SCHEMA_VERSION, **(run or {}), "model": model.config.model_dump(mode="json")}
    folder = place(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(values, indent=2) + "\n")
    # Not save_file, whose files only their owner may read. Last, since a folder with weights is a model.
    (folder / WEIGHTS_FILE).write_bytes(save(state, metadata=metadata))


def _repeated(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Name of a tensor -> name of an earlier one that is equal bit by bit."""
    first: dict[tuple, str] = {}
    found = {}
    for name, tensor in state.items():
        key = (tensor.dtype, tensor.shape, tensor.flatten().view(torch.uint8).numpy().tobytes())
        if first.setdefault(key, name) != name:
            found[name] = first[key]
    return found


def model_hash(folder: str | Place) -> str:
    """First 16 hex digits of the SHA-256 of a model's weights and config: what it predicts, in one name."""
    folder = place(folder)
    config = json.dumps(json.loads((folder / CONFIG_FILE).read_text())["model"], sort_keys=True)
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes() + config.encode()).hexdigest()[:16]


def is_saved(folder: str | Place, config: ModelConfig) -> bool:
    """Whether ``folder`` holds a model of exactly this config."""
    folder = place(folder)
    if not all((folder / name).is_file() for name in (CONFIG_FILE, WEIGHTS_FILE)):
        return False
    return json.loads((folder / CONFIG_FILE).read_text()).get("model") == config.model_dump(mode="json")


def load(folder: str | Place) -> Predictor:
    """Rebuild a model from a folder written by :func:`save`, for evaluation, in float32; runs no code from the files.

    Raises FileNotFoundError naming the missing file, ValueError for another version of the format, for an unknown kind
    of model, for a config that leaves a setting to its default (which may have been another one when the model was
    trained), for weights that are damaged and if weights and config do not belong together.
    """
    folder = place(folder)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no {name}: not a raymap model folder")
    model = build(_read_config(folder / CONFIG_FILE))
    try:
        with here(folder) as files:
            model.load_state_dict(_read_weights(files / WEIGHTS_FILE))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{folder / WEIGHTS_FILE} does not fit the config beside it: {error}") from error
    return model.eval()


def _read_config(path: Place) -> ModelConfig:
    """The model's config, every setting of it as it was written."""
    try:
        values = json.loads(path.read_text())
        # Files older than versions that say all settings mean what those of version 1 do.
        version, of_model = values.get("schema_version", 1), dict(values.get("model", {}))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if version != SCHEMA_VERSION:
        raise ValueError(f"{path} has schema_version {version!r}; this raymap reads {SCHEMA_VERSION}")
    config = ModelConfig.from_dict(of_model)
    if missing := dict(_left_to_default(config, "model")):
        today = ", ".join(f"{name}={value!r}" for name, value in missing.items())
        raise ValueError(
            f"{path} lacks {', '.join(missing)}: it was written before there were such settings. Add to it what was "
            f"true when the model was trained, which today's defaults ({today}) may not be"
        )
    return config


def _left_to_default(config: Settings, name: str) -> Iterator[tuple[str, object]]:
    """(dotted name, default) of every setting, at any depth, that a config was not given."""
    for field in type(config).model_fields:
        value = getattr(config, field)
        if field not in config.model_fields_set:
            yield f"{name}.{field}", value
        elif isinstance(value, Settings):
            yield from _left_to_default(value, f"{name}.{field}")


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Name -> tensor, those that a compact file stores once under each of their names."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
            same_as = json.loads((file.metadata() or {}).get("same_as", "{}"))
        return state | {name: state[first] for name, first in same_as.items()}
    except (SafetensorError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"damaged: {error}") from error
