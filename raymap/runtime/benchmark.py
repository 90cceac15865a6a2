"""The benchmark: every entry trained on one dataset per kind of map, scored on unseen towns, written as one page.

Entries are trained in order. What is trained and scored stays in the benchmark's folder, so that running again makes
only what is missing, and every finished entry is on the page at once.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, SerializeAsAny, model_validator

from raymap.config import Settings
from raymap.data.schema import DatasetCard, whole, write_text
from raymap.data.sources import Kind, MapPlan
from raymap.evaluation import benchmark_page
from raymap.runtime import track
from raymap.runtime.evaluate import LAWS, fit_laws, score_rows
from raymap.runtime.method import MethodJob, make_dataset, train

#: Splits that no entry ever sees in training.
TEST_SPLITS = ("test", "test_generated")


Study = Literal["methods", "law", "outline", "physics", "diffusion"]


class Entry(Settings):
    """One training: a method by a setting, on one kind of map. Entries that differ only in ``seed`` share a row."""

    method: str = Field(description="name of the row")
    studies: tuple[Study, ...] = Field(min_length=1, description="tables that the row belongs to")
    kind: Kind = "srm"
    seed: int = 0
    job: SerializeAsAny[MethodJob]
    outline_of: str | None = Field(None, description="method of the same kind and seed whose autoencoder and DM1 serve")

    @property
    def name(self) -> str:
        """Folder of the training."""
        words = re.sub(r"[^a-z0-9]+", "-", self.method.lower().replace("²", "2")).strip("-")
        return f"{self.kind}-{words}-{self.seed}"


class Benchmark(Settings):
    """What is compared, on which towns. Raises ValueError for two entries of one name or one that needs a later one."""

    size: str
    storage: str = Field("runs/benchmark", description="folder under which data, trainings and scores are kept")
    plan: MapPlan
    entries: tuple[Entry, ...]
    references: dict[Study, str] = Field(description="study -> method that its NMSE is told as a multiple of")
    page: str = Field("docs/benchmark.md", description="page to write; the numbers go beside it as .json")

    @model_validator(mode="after")
    def _in_order(self) -> Benchmark:
        seen: set[str] = set()
        for entry in self.entries:
            if entry.name in seen:
                raise ValueError(f"two entries are called {entry.name!r}")
            if entry.outline_of and self._owner(entry).name not in seen:
                raise ValueError(f"{entry.name!r} needs {entry.outline_of!r} before it")
            seen.add(entry.name)
        return self

    def _owner(self, entry: Entry) -> Entry:
        for other in self.entries:
            if (other.method, other.kind, other.seed) == (entry.outline_of, entry.kind, entry.seed):
                return other
        raise ValueError(f"{entry.name!r} needs {entry.outline_of!r}, which is not in the benchmark")

    @property
    def folder(self) -> Path:
        """Absolute folder of this size."""
        return Path(self.storage).resolve() / self.size

    def data(self, kind: Kind) -> Path:
        """Folder of the dataset of a kind."""
        return self.folder / f"data-{kind}"

    def job(self, entry: Entry) -> MethodJob:
        """The entry's job on this benchmark's data, with the stages it borrows."""
        job = entry.job
        borrowed = {}
        if entry.outline_of:
            owner = self.folder / self._owner(entry).name
            borrowed = {stage: str(owner / stage / "model") for stage in job.stages if stage != "map"}
        return job.model_copy(
            update={
                "name": entry.name, "storage": str(self.folder), "seed": entry.seed, "trained": borrowed,
                "data": job.data.model_copy(update={"folder": str(self.data(entry.kind))}),
                "plan": self.plan.model_copy(update={"kind": entry.kind}),
            }
        )  # fmt: skip


def run(benchmark: Benchmark, only: str = "") -> dict:
    """Train and score what is missing of the entries whose name matches the pattern ``only``; returns the numbers.

    Raises as :func:`raymap.runtime.method.train`; what was finished before stays.
    """
    chosen = [entry for entry in benchmark.entries if re.search(only, entry.name)]
    if not chosen:
        raise ValueError(f"no entry matches {only!r}; there are {', '.join(e.name for e in benchmark.entries)}")
    for number, entry in enumerate(chosen, 1):
        print(f"[benchmark] {number}/{len(chosen)} {entry.name}", flush=True)
        job = benchmark.job(entry)
        card = make_dataset(job)
        begun = time.monotonic()
        model = train(job)
        _add_seconds(job.folder, time.monotonic() - begun)
        for split in card.splits:
            if split in TEST_SPLITS:
                _score(entry, job, model, split)
        write_page(benchmark)
    return write_page(benchmark)


def _add_seconds(folder: Path, seconds: float) -> None:
    """Wall time of the training; a start that finds it finished adds nothing, one that went on adds its part."""
    path, done = folder / "seconds.json", folder / "scores"
    if not done.exists():
        before = json.loads(path.read_text())["train"] if path.exists() else 0.0
        write_text(path, json.dumps({"train": before + seconds}) + "\n")


def _score(entry: Entry, job: MethodJob, model: Path, split: str) -> None:
    """The entry's scores on one split as Parquet, unless they are there."""
    out = job.folder / "scores" / f"{split}.parquet"
    if out.exists():
        return
    data = job.resolved_data
    laws = (
        fit_laws(data.folder, "train", LAWS, out.parent / "laws")
        if "methods" in entry.studies and not entry.seed
        else {}
    )
    rows = score_rows(
        {**laws, entry.method: str(model)}, data.folder, split, outline=data.outline, true_outlines=data.true_outlines
    )
    rows["minutes"] = np.where(
        rows["method"] == entry.method, json.loads((job.folder / "seconds.json").read_text())["train"] / 60, np.nan
    )
    out.parent.mkdir(exist_ok=True)
    with whole(out) as temporary:
        rows.assign(seed=entry.seed).to_parquet(temporary, index=False)


def write_page(benchmark: Benchmark) -> dict:
    """Everything scored so far as one page and one JSON file; returns what the JSON holds."""
    tables = []
    keys = dict.fromkeys((study, entry.kind) for entry in benchmark.entries for study in entry.studies)
    for (study, kind), split in itertools.product(keys, TEST_SPLITS):
        entries = [entry for entry in benchmark.entries if entry.kind == kind and study in entry.studies]
        paths = [benchmark.folder / entry.name / "scores" / f"{split}.parquet" for entry in entries]
        rows = [pd.read_parquet(path) for path in paths if path.exists()]
        if rows:
            card = DatasetCard.load(benchmark.data(kind))
            tables.append(
                {"study": study, "kind": kind, "split": split, "reference": benchmark.references[study],
                 "dataset": f"{card.name} {kind} {card.fingerprint[:12]}", "rows": pd.concat(rows)}
            )  # fmt: skip
    return benchmark_page.write(
        Path(benchmark.page), tables, size=benchmark.size, commit=track.git_commit(), hardware=track.hardware(),
        command=f"python jobs/benchmark.py --size {benchmark.size}",
    )  # fmt: skip
