"""What a benchmark is made of: entries, each a training, and where what they leave lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, SerializeAsAny, model_validator

from raymap.config import Settings
from raymap.data.sources import Kind, MapPlan
from raymap.evaluation.benchmark_tables import WHOLE_METHODS
from raymap.runtime.method import MethodJob
from raymap.runtime.score_report import slug
from raymap.storage import require_folder

#: Splits that no entry ever sees in training.
TEST_SPLITS = ("test", "test_generated")
#: Seconds and commits of a training, in its folder.
TRAINING_FILE = "training.json"


Study = Literal["methods", "matrix", "law", "outline", "physics", "diffusion", "rmdm", "measured"]


class Entry(Settings):
    """One training: a method by a setting, on one kind of map. Entries that differ only in ``seed`` share a row."""

    method: str = Field(description="name of the row")
    studies: tuple[Study, ...] = Field(min_length=1, description="tables that the row belongs to")
    kind: Kind = "srm"
    seed: int = 0
    variant: str = Field("", description="tells its folder from that of the same method in another table")
    job: SerializeAsAny[MethodJob]
    lender: str | None = Field(None, description="method of the same kind and seed whose autoencoder, and DM1, serve")

    @property
    def name(self) -> str:
        """Folder of the training."""
        return "-".join(filter(None, [self.kind, slug(self.method), self.variant, str(self.seed)]))

    @property
    def is_drawn(self) -> bool:
        """Whether its maps are on the page, and the laws scored beside it: whole methods by their first seed."""
        return not self.seed and not set(WHOLE_METHODS).isdisjoint(self.studies)


class Benchmark(Settings):
    """What is compared, on which towns. Raises ValueError for two entries of one name or one that needs a later one."""

    size: str
    storage: str = Field("runs/benchmark", description="folder under which data, trainings and scores are kept")
    plan: MapPlan
    entries: tuple[Entry, ...]
    references: dict[Study, str] = Field(description="study -> method that its NMSE is told as a multiple of")
    duels: dict[Study, tuple[str, str]] = Field({}, description="study -> two methods that are also compared directly")
    page: str = Field(
        "docs/benchmark.md", description="page to write; beside it numbers (.json) and a folder of pictures"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Benchmark:
        seen: set[str] = set()
        for entry in self.entries:
            if entry.name in seen:
                raise ValueError(f"two entries are called {entry.name!r}")
            if entry.lender and self.lender(entry).name not in seen:
                raise ValueError(f"{entry.name!r} needs {entry.lender!r} before it")
            seen.add(entry.name)
        return self

    def lender(self, entry: Entry) -> Entry:
        """The entry whose stages this one borrows. Raises ValueError if the benchmark has none such."""
        for other in self.entries:
            if (other.method, other.kind, other.variant, other.seed) == (
                entry.lender, entry.kind, entry.variant, entry.seed,
            ):  # fmt: skip
                return other
        raise ValueError(f"{entry.name!r} needs {entry.lender!r}, which is not in the benchmark")

    @property
    def folder(self) -> Path:
        """Absolute folder of this size."""
        return require_folder(self.storage, "the storage of a benchmark") / self.size

    def data(self, kind: Kind) -> Path:
        """Folder of the dataset of a kind."""
        return self.folder / f"data-{kind}"

    def scores(self, entry: Entry, split: str) -> Path:
        """File of the entry's scores on a split."""
        return self.folder / entry.name / "scores" / f"{split}.parquet"

    def is_scored(self, entry: Entry) -> bool:
        """Whether there are scores of the entry on any split."""
        return any(self.scores(entry, split).exists() for split in TEST_SPLITS)

    def job(self, entry: Entry) -> MethodJob:
        """The entry's job on this benchmark's data, with the stages it borrows."""
        job = entry.job
        borrowed = {}
        if entry.lender:
            owner = self.folder / self.lender(entry).name
            borrowed = {stage: str(owner / stage / "model") for stage in job.stages if stage != "map"}
        return job.model_copy(
            update={
                "name": entry.name, "storage": str(self.folder), "seed": entry.seed, "trained": borrowed,
                "data": job.data.model_copy(update={"folder": str(self.data(entry.kind))}),
                "plan": self.plan.model_copy(update={"kind": entry.kind}),
            }
        )  # fmt: skip


def training(folder: Path) -> dict:
    """``{"seconds", "commits"}`` of the training in a folder: 0.0 and none where nothing is known."""
    if (folder / TRAINING_FILE).is_file():
        return json.loads((folder / TRAINING_FILE).read_text())
    return {"seconds": 0.0, "commits": []}
