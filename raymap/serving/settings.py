"""What an endpoint serves, and how; ``args`` of ``serve/config.yaml``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from raymap.config import Settings
from raymap.models.ensemble import Recipe
from raymap.serving.limits import Limits

#: Error bars of installed models, as ``jobs/study_sampling.py`` fits them to hold nine of ten true values
#: (docs/sampling/sampling.md): of four members.
CALIBRATED = {
    "k2-small": Recipe(num=4, steps=1, stochastic=False, pool_m=8.0, factor=9.5625, floor_db=(0.0, 1.8453)),
}


_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class Served(Settings):
    """A model under the name by which it is asked for."""

    name: str = Field(pattern=_NAME)
    source: str = Field(description="what raymap.load takes: an installed name, a folder, models:/k2@champion, runs:/…")
    frequency_hz: float = Field(5.9e9, gt=0, description="carrier of the maps that it was trained on [Hz]")
    recipe: Recipe | None = Field(
        None, description="how an ensemble's spread becomes an error bar; default: as is known of an installed model"
    )

    @property
    def bars(self) -> Recipe:
        """The recipe, or what is known of an installed model; else the spread as it is."""
        return self.recipe or CALIBRATED.get(self.source, Recipe())


class ServedPaths(Settings):
    """A model of paths under the name by which it is asked for."""

    name: str = Field(pattern=_NAME)
    source: str = Field(description="what raymap.load takes, or method:NAME of a method that learns nothing")


class Stage(Settings):
    """How one deployment of the graph is run."""

    max_batch_size: int = Field(16, ge=1, description="maps drawn at once")
    batch_wait_s: float = Field(0.0, ge=0, description="how long a batch that is not full waits for more")
    max_ongoing_requests: int = Field(32, ge=1, description="requests that a replica has at a time")
    max_queued_requests: int = Field(64, ge=1, description="requests that wait for a replica; more are answered 503")
    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(1, ge=1)
    target_ongoing_requests: float = Field(8, gt=0, description="requests per replica that autoscaling aims at")
    upscale_delay_s: float = Field(5, ge=0)
    downscale_delay_s: float = Field(60, ge=0)
    num_cpus: float = Field(1, ge=0)
    num_gpus: float = Field(0, ge=0, description="may be a fraction")
    threads: int = Field(1, ge=1, description="threads of a prediction on a CPU")

    @model_validator(mode="after")
    def _fits(self) -> Stage:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is above max_replicas {self.max_replicas}")
        if self.max_ongoing_requests < self.max_batch_size:
            raise ValueError(
                f"max_ongoing_requests {self.max_ongoing_requests} is below max_batch_size {self.max_batch_size}: "
                "no batch would ever be full"
            )
        return self


class Serving(Settings):
    """The endpoint."""

    models: tuple[Served, ...] = Field((Served(name="k2-small", source="k2-small"),), min_length=1)
    path_models: tuple[ServedPaths, ...] = Field(
        (ServedPaths(name="virtual-sources", source="method:virtual_sources"),), description="none: no paths are told"
    )
    tracking_uri: str | None = Field(None, description="MLflow store of models:/ and runs:/")
    follow_s: float = Field(30.0, gt=0, description="how often it is looked whether an alias has moved")
    models_per_replica: int = Field(
        3, ge=1, description="models that a replica holds at a time; others are loaded anew"
    )
    precision: Literal["fp32", "bf16"] = "fp32"
    limits: Limits = Limits()
    cors_origins: tuple[str, ...] = Field((), description="pages of other origins that may ask; none by default")
    # Room for many more than limits.max_requests: who cannot be served is told so at once, which costs less than a
    # place in the proxy's queue.
    ingress: Stage = Stage(
        num_cpus=0.2, max_ongoing_requests=1024, max_queued_requests=1024, target_ongoing_requests=32
    )
    outline: Stage = Stage(num_cpus=0.9)
    map: Stage = Stage(num_cpus=0.9)
    paths: Stage = Field(
        Stage(num_cpus=0.5, min_replicas=0, max_batch_size=1, max_ongoing_requests=4, target_ongoing_requests=2),
        description="of path_models; batches are not made of them",
    )

    @property
    def num_cpus(self) -> float:
        """Logical CPUs of all replicas, if there are as many as there may be."""
        stages = (self.ingress, self.outline, self.map, *([self.paths] if self.path_models else []))
        return sum(stage.num_cpus * stage.max_replicas for stage in stages)

    @model_validator(mode="after")
    def _names_differ(self) -> Serving:
        names = [model.name for model in (*self.models, *self.path_models)]
        if len(set(names)) < len(names):
            raise ValueError(f"two models have one name: {', '.join(names)}")
        return self
