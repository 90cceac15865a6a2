"""Paths learned across scenes: from a map alone, or with a few measurements, in a city that nothing was learned of.

    for seed in 0 1 2 3; do python jobs/trace_paths.py --scenario S2 --city florence --seed $seed --spacing_m 8 \\
        --out runs/florence$seed; done
    python jobs/train_scene_paths.py --data runs/florence0 --data runs/florence1 --data runs/florence2 \\
        --unseen runs/florence3 --test S2=runs/s2 --rate 0,0.001,0.01 --out runs/scene_paths

``--data``, ``--unseen`` and ``--test`` are sources as of jobs/train_pinn_gnn.py, each with what stands around; all of
one height of antennas and one frequency, or of many: what is learned is how paths differ from the straight way. On
``--data`` it trains, on Ray Train; ``--unseen`` tells which checkpoint is best, and when to stop; on ``--test`` the
model is compared with other methods, by the same page. ``jobs/predict_paths.py --model OUT/scene_paths/model`` uses it.
"""

import sys
from pathlib import Path

from pydantic import Field

from raymap import recipes
from raymap.config import PointsScene, Settings, from_command_line
from raymap.data import mesh_file, path_file, path_sources
from raymap.recipes.scene_paths import TITLE, scene_paths
from raymap.runtime import path_study, provenance
from raymap.runtime.path_study import PathStudy
from raymap.runtime.train import fit


class Job(Settings):
    """What is learned from, what the model is compared on, and where results go."""

    data: list[str] = Field([], description="scenes to learn from, NAME=SOURCE or SOURCE; repeatable")
    unseen: list[str] = Field([], description="scenes that tell how well others are told; repeatable")
    test: list[str] = Field([], description="scenes on which methods are compared; repeatable")
    rate: str = Field("0,0.0005,0.001,0.003,0.01", description="shares of their receivers that are measured, by commas")
    methods: str = Field("kriging,virtual_sources_map", description="what the model is compared with, by commas")
    seeds: int = Field(5, ge=1, description="random draws of the measured receivers")
    scored: int | None = Field(None, ge=2, description="score so many of the other receivers; default: all")
    num_paths: int = Field(5, ge=1, description="paths of a receiver, strongest first")
    num_workers: int = Field(1, ge=1, description="training processes")
    size: recipes.Size = Field("small", description="debug for a few steps")
    out: Path = Field(Path("runs/scene_paths"), description="folder for the training, metrics.json and the page")
    page: Path | None = Field(None, description="also write the page here, its numbers beside it")


def main(argv: list[str]) -> Path:
    """Train, compare, and return the folder of the model.

    Raises ValueError for a scene without a map, and as the reading of sources does.
    """
    job = from_command_line(Job(), argv, prog="train_scene_paths.py")
    if not job.data:
        raise SystemExit("--data names scenes to learn from; --help tells more")
    folder = job.out / "scenes"
    scenes, unseen = (kept(path_sources.named(names), job.num_paths, folder) for names in (job.data, job.unseen))
    run = scene_paths(scenes, unseen, str(job.out), job.size, job.num_paths, job.num_workers)
    model = fit(run)
    if not job.test:
        print(f"trained: {model}")
        return model
    names = [name.strip() for name in job.methods.split(",")]
    study = PathStudy(
        sources=path_sources.named(job.test), num_paths=job.num_paths, num_draws=job.seeds, num_scored=job.scored,
        rates=tuple(float(rate) for rate in job.rate.split(",")), out=str(job.out / "test"),
        methods={
            name: (recipes.path_title(name), recipes.path_method(name, job.size, job.num_paths)) for name in names
        },
        models={TITLE: str(model)},
    )  # fmt: skip
    rows = path_study.run(study)
    command = provenance.command("jobs/train_scene_paths.py", argv)
    for page in filter(None, (job.out / "metrics.md", job.page)):
        path_study.write_page(study, rows, page, command)
    print((job.out / "metrics.md").read_text())
    return model


def kept(sources: dict[str, str], num_paths: int, folder: Path) -> tuple[PointsScene, ...]:
    """What workers read: a table and a mesh of every transmitter of every source."""
    found = []
    for name, source in sources.items():
        for channel, table in path_sources.read(source, num_paths).items():
            if table.surroundings is None:
                raise ValueError(f"{source} has no map of what stands around, from which all is learned here")
            file = (folder / name / channel).with_suffix(".parquet").resolve()
            around = file.with_suffix(".ply")
            file.parent.mkdir(parents=True, exist_ok=True)
            path_file.write(file, table)
            mesh_file.write(around, table.surroundings)
            found.append(PointsScene(file=str(file), surroundings=str(around)))
    return tuple(found)


if __name__ == "__main__":
    main(sys.argv[1:])
