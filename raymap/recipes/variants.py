"""Variants of any method's job: the same networks with more inputs, in a folder of their own beside the same data."""

from __future__ import annotations

from typing import TypeVar

from raymap.config import MeasurementsConfig, ModelConfig
from raymap.models.cell_law import OF_A_CELL
from raymap.runtime.method import MethodJob

JobT = TypeVar("JobT", bound=MethodJob)


def of_several_cells(job: JobT, factors: tuple[int, ...] = (1, 2)) -> JobT:
    """The method told the length of a cell, and trained on maps coarsened by each of ``factors``."""
    return _seeing(job, "several-cells", ("cell_size",), coarsen=factors)


def with_dominant_path(job: JobT) -> JobT:
    """The method shown the dominant-path map; a job of srm or drm maps is refused when it runs."""
    return _seeing(job, "dominant-path", ("dominant_path",), dominant_path=True)


def with_measurements(job: JobT, measurements: MeasurementsConfig | None = None) -> JobT:
    """The method shown what was measured on the spot, by default 1 to 10 % of the outdoor cells without error."""
    return _seeing(job, "measurements", ("samples", "sampled"), measurements=measurements or MeasurementsConfig())


#: Name on the command line -> the variant that sees so much more.
VARIANTS = {
    "no more": lambda job: job,
    "cell_size": of_several_cells,
    "dominant_path": with_dominant_path,
    "measurements": with_measurements,
}


def _seeing(job: JobT, suffix: str, names: tuple[str, ...], **data: object) -> JobT:
    """The job with ``names`` among the inputs of its networks, and of their laws what a single cell tells."""
    data["folder"] = job.data.folder or f"{job.storage}/{job.name}/data"
    changes: dict[str, object] = {"name": f"{job.name}-{suffix}", "data": job.data.model_copy(update=data)}
    for stage in job.stages:
        chosen = getattr(job, stage)
        if hasattr(chosen.model, "inputs"):
            changes[stage] = chosen.model_copy(update={"model": _with_inputs(chosen.model, names)})
    return job.model_copy(update=changes)


def _with_inputs(model: ModelConfig, names: tuple[str, ...]) -> ModelConfig:
    # DM2 starts from DM1's denoiser, so what it alone sees stays last.
    last = tuple(name for name in model.inputs if name == "outline_predicted")
    changes: dict[str, object] = {"inputs": (*(name for name in model.inputs if name not in last), *names, *last)}
    if law := getattr(model, "law", None):
        of_a_cell = tuple(name for name in names if name in OF_A_CELL)
        changes["law"] = law.model_copy(update={"inputs": (*law.inputs, *of_a_cell)})
    return model.model_copy(update=changes)
