"""PINN-GNN and what it is compared with: multipath at all receivers of a scene from measurements at a few of them.

    python jobs/train_pinn_gnn.py --data DEEPMIMO_FOLDER --rate 0.1 --methods pinn_gnn,kriging --seeds 5 --out DIR
    python jobs/train_pinn_gnn.py --data S1=runs/s1 --data S2=runs/s2 --rate 0.05,0.1,0.15,0.2 --out runs/paths

``--data`` is a DeepMIMO folder, a folder of traced paths (jobs/trace_paths.py), a dataset of channels, or a CSV or
Parquet table of measurements (docs/data.md), with an optional name before "="; scenes called S1 and S2 stand beside the
paper's. Every method is trained on receivers drawn at random and scored at all others, once for each seed. Writes
``metrics.json`` with its page ``metrics.md`` and pictures into ``--out``, where the trained models lie, too; what is
finished stays, so that the same command goes on where it stopped.
"""

import sys
from pathlib import Path

from pydantic import Field

from raymap import recipes
from raymap.config import Settings, from_command_line
from raymap.data import path_sources
from raymap.data.path_columns import Columns
from raymap.runtime import path_study, provenance
from raymap.runtime.path_study import PathStudy
from raymap.space import overridden, read_best


class Job(Settings):
    """What is measured, which methods complete it, and where results go."""

    data: list[str] = Field([], description="NAME=SOURCE or SOURCE; repeatable")
    columns: Columns | None = Field(None, description="of sources that are tables")
    surroundings: list[str] = Field(
        [], description="NAME=FILE, a mesh of what stands around the source of that name; repeatable"
    )
    rate: str = Field("0.1", description="shares of the receivers that are measured, by commas")
    methods: str = Field(
        "pinn_gnn,kriging,separate,gnn_only,pinn_only", description=f"of {', '.join(recipes.PATH_METHODS)}, by commas"
    )
    model: list[str] = Field([], description="NAME=FOLDER of a model that is trained already; repeatable")
    seeds: int = Field(5, ge=1, description="random draws of the measured receivers")
    scored: int | None = Field(None, ge=2, description="score so many of the other receivers; default: all")
    num_paths: int = Field(5, ge=1, description="paths of a receiver, strongest first")
    tuned: list[str] = Field([], description="METHOD=best.json of jobs/tune_pinn_gnn.py; repeatable")
    size: recipes.Size = Field("small", description="debug for a few steps")
    out: Path = Field(Path("runs/paths"), description="folder for trainings, metrics.json and the page")
    page: Path | None = Field(None, description="also write the page here, its numbers beside it")


def _method(job: Job, name: str):
    """The method as its recipe, or as a sweep has found it."""
    stage, tuned = recipes.path_method(name, job.size, job.num_paths), path_sources.named(job.tuned)
    return overridden(stage, read_best(tuned[name])) if name in tuned else stage


def main(argv: list[str]) -> dict:
    """Run the study, write its page, and return what ``metrics.json`` holds."""
    job = from_command_line(Job(), argv, prog="train_pinn_gnn.py")
    if not job.data:
        raise SystemExit("--data names the folders or tables of measurements; --help tells more")
    names = [name.strip() for name in job.methods.split(",")]
    study = PathStudy(
        sources=path_sources.named(job.data),
        columns=job.columns,
        surroundings=path_sources.named(job.surroundings),
        num_paths=job.num_paths,
        rates=tuple(float(rate) for rate in job.rate.split(",")),
        num_draws=job.seeds,
        num_scored=job.scored,
        models=path_sources.named(job.model),
        methods={name: (recipes.path_title(name), _method(job, name)) for name in names},
        out=str(job.out),
    )
    rows = path_study.run(study)
    command = provenance.command("jobs/train_pinn_gnn.py", argv)
    found = path_study.write_page(study, rows, job.out / "metrics.md", command)
    if job.page:
        path_study.write_page(study, rows, job.page, command)
    print((job.out / "metrics.md").read_text())
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
