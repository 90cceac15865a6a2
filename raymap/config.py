"""The one config tree. Frozen, unknown keys refused, plain JSON between processes.

A recipe (``raymap.recipes``) returns a whole tree, the command line overrides fields of it by their dotted name, and
jobs, sweeps, checkpoints and MLflow all carry the same tree.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, CliApp, CliUnknownArgs, SettingsConfigDict, SettingsError

from raymap import outside

#: A URI that was made a path.
_BUCKET = re.compile(r"^[a-z][a-z0-9+.-]+:/")
#: The password in the address of a server.
_PASSWORD = re.compile(r"://[^/@:]*:([^/@]+)@")


class Settings(BaseModel):
    """Base of every config: frozen, and a key it does not know is an error that names the key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="after")
    def _paths_are_of_this_machine(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Path) and _BUCKET.match(str(value)):
                raise ValueError(f"{name} must be a path of this machine, no URI, got {str(value)!r}")
        return self


class ModelConfig(Settings):
    """Base of the Config nested in every Predictor. ``kind`` is a Literal that names the class in files."""

    kinds: ClassVar[dict[str, type[ModelConfig]]] = {}
    kind: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        kind = cls.model_fields["kind"].default
        if isinstance(kind, str):
            known = ModelConfig.kinds.get(kind, cls)
            if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(f"kind {kind!r} is that of {known.__module__}.{known.__qualname__}; name another")
            ModelConfig.kinds[kind] = cls

    @staticmethod
    def from_dict(values: dict) -> ModelConfig:
        """Rebuild the config of any registered model, or of one in a file of its own (:mod:`raymap.outside`).

        Raises ValueError naming an unknown kind.
        """
        kind = values.get("kind")
        if kind not in ModelConfig.kinds:
            outside.register()
        if kind not in ModelConfig.kinds:
            known = ", ".join(sorted(ModelConfig.kinds))
            raise ValueError(
                f"unknown model kind {kind!r}; known: {known}. {outside.VARIABLE} names the files of others"
            )
        return ModelConfig.kinds[kind].model_validate(values)

    def reads(self, name: str) -> bool:
        """Whether this model, or a part of it, has an input of that name."""
        parts = (getattr(self, field) for field in type(self).model_fields)
        return name in getattr(self, "inputs", ()) or any(
            part.reads(name) for part in parts if isinstance(part, ModelConfig)
        )


class OutlineConfig(Settings):
    """How the outline is computed from a gain map: by :func:`raymap.physics.helmholtz.outline`, or, to compare with,
    by a detector of :mod:`raymap.physics.edges`."""

    kind: Literal["k_log", "k_eff", "reference", "canny", "lbp"] = "k_log"
    threshold_db: float | None = Field(
        None, description="τ of k_log and k_eff: curvature that begins to count [dB per cell²]; default: the kind's"
    )
    saturation_db: float | None = Field(None, description="curvature that counts in full; default: the kind's")


class MeasurementsConfig(Settings):
    """How many cells of a map somebody has measured, and how well (:func:`raymap.data.measurements.measure`)."""

    rates: tuple[float, float] = Field(
        (0.01, 0.1), description="least and highest share of the outdoor cells; drawn log-uniformly for every map"
    )
    noise_db: float = Field(0.0, ge=0, description="standard deviation of the error of a measurement [dB]")
    redraw: bool = Field(True, description="in training, measure other cells in every epoch; off: the same for good")

    @field_validator("rates")
    @classmethod
    def _ordered(cls, rates: tuple[float, float]) -> tuple[float, float]:
        if not 0 < rates[0] <= rates[1] <= 1:
            raise ValueError(f"rates must be two shares, 0 < least <= highest <= 1, got {rates}")
        return rates


class DataConfig(Settings):
    """Which maps are trained on, and how they are fed."""

    folder: str = Field(
        "", description="dataset folder (dataset.json and its shards); default: data/ in the job's folder"
    )
    batch_size: int = Field(32, ge=1, description="samples per step, over all workers together")
    augment: bool = Field(True, description="draw one of the 8 symmetries of the square for every sample")
    outline: OutlineConfig = OutlineConfig()
    predicted_outlines: str | None = Field(None, description="folder of outlines that DM1 generated for this dataset")
    true_outlines: bool = Field(
        False, description="feed the true outline as if DM1 had drawn it: an upper bound to compare with, no method"
    )
    coarsen: tuple[int, ...] = Field(
        (1,), min_length=1, description="cells are made so many times as long, one of these drawn for every batch"
    )
    dominant_path: bool = Field(
        False, description="compute the dominant-path map as an input; refused for srm and drm datasets"
    )
    measurements: MeasurementsConfig | None = Field(
        None, description="also give `samples` and `sampled`, drawn from the true maps"
    )
    max_scenes: int | None = Field(None, ge=1, description="use only so many training scenes")
    materialize: bool = Field(
        True, description="keep the prepared split in the object store; off for sets that do not fit"
    )


class PointsScene(Settings):
    """Measured receivers of one transmitter, and what stands around."""

    file: str = Field(description="table of measured receivers (raymap.data.path_file)")
    surroundings: str = Field("", description="surfaces around (raymap.data.mesh_file), for methods that use a map")


class PointsConfig(Settings):
    """Measured receivers, for methods of paths: of one transmitter, or of many for methods that learn across scenes."""

    scenes: tuple[PointsScene, ...] = Field(min_length=1, description="what is trained on")
    unseen: tuple[PointsScene, ...] = Field((), description="what it is validated on instead of receivers kept")
    val_share: float = Field(0.15, ge=0, lt=1, description="share of the receivers kept for validation")
    batch_size: int = Field(4096, ge=4, description="receivers per step, over all workers together")
    hidden: float = Field(0.2, gt=0, lt=1, description="share of a step's receivers that is asked for")


class OptimConfig(Settings):
    """AdamW with linear warm-up and cosine decay, gradient clipping, EMA and autocast."""

    num_steps: int = Field(1000, ge=0)
    learning_rate: float = Field(1e-3, gt=0)
    final_learning_rate: float = Field(1e-5, ge=0)
    warmup_steps: int = Field(50, ge=0)
    weight_decay: float = Field(1e-2, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.995, ge=0, lt=1)
    precision: Literal["bf16", "fp32"] = "bf16"
    checkpoint_every: int = Field(200, ge=1, description="steps between checkpoints")
    keep: Literal["last", "best"] = Field(
        "last", description="the checkpoint that becomes the model: the last, or that of least validation loss"
    )
    log_every: int = Field(20, ge=1, description="steps between logged points")
    score_validation: bool = Field(
        False,
        description="also predict at every checkpoint: val_score, which does not hang on the weights of the loss",
    )


class WorkersConfig(Settings):
    """Ray Train workers."""

    num: int = Field(1, ge=0, description="training processes; 0: the loop in this process, for methods of paths only")
    cpus_each: float = Field(1, gt=0)
    gpus_each: float = Field(0, ge=0)
    max_failures: int = Field(3, ge=-1, description="restarts from the last checkpoint before giving up; -1: no limit")
    least: int | None = Field(
        None,
        ge=1,
        description="go on with so few while nodes are lost; default: wait until there are num again",
    )
    spread: bool = Field(False, description="on as many nodes as there are, instead of on as few as hold them")
    sharded: bool = Field(
        False,
        description="cut weights and optimizer over the workers (FSDP), for large models; else DDP",
    )
    data_resource: str | None = Field(
        None, description="custom resource of the nodes that prepare data, e.g. data of cluster.yaml; default: any node"
    )
    near_data: bool = Field(
        False,
        description="give a worker what was prepared on its node first, to spare the network; the order of maps then "
        "depends on who prepared what",
    )

    @model_validator(mode="after")
    def _least_of_num(self) -> WorkersConfig:
        if self.least is not None and self.least > self.num:
            raise ValueError(f"workers.least must be at most workers.num, {self.num}, got {self.least}")
        return self


class TrackingConfig(Settings):
    """Where MLflow keeps runs."""

    model_config = ConfigDict(hide_input_in_errors=True)

    uri: str | None = Field(
        None, description="MLflow tracking URI; default: sqlite file mlflow.db in the storage folder"
    )
    experiment: str = "raymap"
    parent: str = Field("", description="MLflow run that this one is a part of; set by sweeps")

    @field_validator("uri", mode="before")
    @classmethod
    def _holds_no_password(cls, uri: Any) -> Any:
        # Settings stand in logs, checkpoints and the parameters of runs. Not in the error either.
        if isinstance(uri, str) and (found := _PASSWORD.search(uri)):
            shown = f"{uri[: found.start(1)]}***{uri[found.end(1) :]}"
            raise PydanticCustomError(
                "password", "must hold no password ({shown}), which would stand in logs: use PGPASSWORD, ~/.pgpass, or "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD", {"shown": shown},
            )  # fmt: skip
        return uri


ModelT = TypeVar("ModelT", bound=ModelConfig)


def _model_by_kind(value: Any) -> Any:
    return ModelConfig.from_dict(value) if isinstance(value, dict) else value


class Run(Settings, Generic[ModelT]):
    """Everything one training needs, and all that a checkpoint needs to be rebuilt."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    storage: str = Field(description="folder or bucket (s3://, gs://) of checkpoints and the model")
    model: SerializeAsAny[ModelT]
    data: DataConfig | PointsConfig
    optim: OptimConfig = OptimConfig()
    workers: WorkersConfig = WorkersConfig()
    tracking: TrackingConfig = TrackingConfig()
    start_from: dict[str, str] = Field({}, description="part of the model -> folder of a trained model to load into it")
    seed: int = 0

    _by_kind = field_validator("model", mode="before")(lambda value: _model_by_kind(value))

    @model_validator(mode="after")
    def _inputs_are_computed(self) -> Run[ModelT]:
        computed = isinstance(self.data, DataConfig) and self.data.dominant_path
        if self.model.reads("dominant_path") and not computed:
            raise ValueError("the model reads 'dominant_path', which is computed only with data.dominant_path on")
        return self


class Stage(Settings, Generic[ModelT]):
    """What is particular to one stage of a method that is trained in several."""

    model: SerializeAsAny[ModelT]
    optim: OptimConfig

    _by_kind = field_validator("model", mode="before")(lambda value: _model_by_kind(value))


SettingsT = TypeVar("SettingsT", bound=Settings)
AnyT = TypeVar("AnyT")


class _CommandLineOnly(BaseSettings):
    """Options come from the command line and nowhere else: an environment variable named SEED must not change a run."""

    @classmethod
    def settings_customise_sources(cls, settings_cls, init_settings, **_others):
        return (init_settings,)


def from_command_line(default: SettingsT, argv: Sequence[str], *, prog: str | None = None) -> SettingsT:
    """``default`` with the fields that ``argv`` names replaced, e.g. ``--optim.num_steps 50 --seed 3``.

    Every field of the tree is an option, nested ones by their dotted name. Ends the process with a message for an
    unknown option, and raises pydantic's ValidationError (a ValueError) for a value that is not allowed.
    """
    kind = type(default)
    fields = {name: (info.annotation, getattr(default, name)) for name, info in kind.model_fields.items()}
    command_line = create_model(
        kind.__name__.split("[")[0],
        __base__=_CommandLineOnly,
        __doc__=kind.__doc__,
        **{
            name: (annotation, Field(value, description=kind.model_fields[name].description))
            for name, (annotation, value) in fields.items()
        },
    )
    command_line.model_config.update(
        SettingsConfigDict(
            extra="forbid",
            nested_model_default_partial_update=True,
            cli_prog_name=prog,
            cli_hide_none_type=True,
            cli_avoid_json=True,
            cli_implicit_flags=True,
        )
    )
    try:
        values = CliApp.run(command_line, cli_args=list(argv), cli_exit_on_error=False)
    except SettingsError as error:
        # argparse would print every option there is, which is pages, before it says what is wrong.
        print(f"{prog or Path(sys.argv[0]).name}: {error}; --help lists the options", file=sys.stderr)
        raise SystemExit(2) from None
    except ValidationError as error:
        secret = [line for line in error.errors(include_input=False) if line["type"] == "password"]
        if not secret:
            raise
        # pydantic's own message shows what was given.
        raise ValueError(f"{'.'.join(map(str, secret[0]['loc']))} {secret[0]['msg']}") from None
    return kind.model_validate({name: getattr(values, name) for name in fields})


def flatten(settings: Settings, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> plain value, for tables and MLflow parameters."""

    def walk(values: dict, prefix: str) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for key, value in values.items():
            flat.update(
                walk(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
            )
        return flat

    return walk(settings.model_dump(mode="json"), prefix)


def sized(
    recipe: Callable[[str], AnyT], argv: Sequence[str], *, default: str, flag: str = "size"
) -> tuple[AnyT, list[str]]:
    """``recipe(size)`` for the ``--size`` in ``argv`` and the arguments that are left for :func:`from_command_line`."""

    class First(_CommandLineOnly):
        model_config = SettingsConfigDict(cli_ignore_unknown_args=True, cli_parse_args=False)
        rest: CliUnknownArgs

    first = create_model("First", __base__=First, **{flag: (str, default)})
    asks_for_help = [word for word in argv if word in ("-h", "--help")]
    if asks_for_help:
        print(f"--{flag} NAME  the recipe that gives every other option its default ({default!r} unless given)\n")
    values = CliApp.run(first, cli_args=[word for word in argv if word not in asks_for_help])
    return recipe(getattr(values, flag)), [*values.rest, *asks_for_help]
