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
from raymap.evaluation.benchmark_tables import WHOLE_METHODS
from raymap.models import base
from raymap.runtime import benchmark_examples, track
from raymap.runtime.evaluate import (
    INTERPOLATIONS,
    LAWS,
    OUTLINE_THRESHOLD,
    OUTLINE_TOLERANCE_CELLS,
    fit_laws,
    score_rows,
)
from raymap.runtime.method import MethodJob, make_dataset, train
from raymap.runtime.score_report import slug

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
        return Path(self.storage).resolve() / self.size

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


def run(benchmark: Benchmark, only: str = "") -> dict:
    """Train and score what is missing of the entries whose name matches the pattern ``only``; returns the numbers.

    Entries that lend them stages come along. Raises as :func:`raymap.runtime.method.train`; what was finished before
    stays.
    """
    chosen = [entry for entry in benchmark.entries if re.search(only, entry.name)]
    if not chosen:
        raise ValueError(f"no entry matches {only!r}; there are {', '.join(e.name for e in benchmark.entries)}")
    lenders = [benchmark.lender(entry) for entry in chosen if entry.lender]
    chosen = [entry for entry in benchmark.entries if entry in chosen or entry in lenders]
    for number, entry in enumerate(chosen, 1):
        print(f"[benchmark] {number}/{len(chosen)} {entry.name}", flush=True)
        job = benchmark.job(entry)
        card = make_dataset(job)
        model = _train(job)
        for split in card.splits:
            if split in TEST_SPLITS:
                _score(entry, job, model, split, benchmark.folder / f"laws-{entry.kind}")
                if entry.is_drawn:
                    benchmark_examples.keep(job.folder, model, job.resolved_data, split)
        write_page(benchmark)
    return write_page(benchmark)


def _train(job: MethodJob) -> Path:
    """The trained model; beside it ``training.json`` says the wall time and the commits of the code that trained."""
    before, is_scored = training(job.folder), (job.folder / "scores").exists()
    kept = dict(before)
    # Before the training rather than after, so that the part of a start that was killed is known too.
    if not (job.folder / ("model" if "outline" in job.stages else "map/model")).exists():
        kept["commits"] = [*dict.fromkeys([*kept["commits"], track.git_commit()])]
    if kept != before:
        job.folder.mkdir(parents=True, exist_ok=True)
        write_text(job.folder / TRAINING_FILE, json.dumps(kept) + "\n")
    begun = time.monotonic()
    model = train(job)
    if not is_scored:  # a start that finds it scored adds nothing, one that went on adds its part
        kept["seconds"] += time.monotonic() - begun
        write_text(job.folder / TRAINING_FILE, json.dumps(kept) + "\n")
    return model


def training(folder: Path) -> dict:
    """``{"seconds", "commits"}`` of the training in a folder: 0.0 and none where nothing is known."""
    if (folder / TRAINING_FILE).is_file():
        return json.loads((folder / TRAINING_FILE).read_text())
    return {"seconds": 0.0, "commits": []}


def _score(entry: Entry, job: MethodJob, model: Path, split: str, laws_folder: Path) -> None:
    """The entry's scores on one split as Parquet, unless they are there; the laws, fitted once, beside its."""
    out = job.folder / "scores" / f"{split}.parquet"
    if out.exists():
        return
    data = job.resolved_data
    known = LAWS | (INTERPOLATIONS if data.measurements else {})
    laws = fit_laws(data.folder, "train", known, laws_folder, again=False) if entry.is_drawn else {}
    laws |= _own_law(entry, job, model)
    rows = score_rows(
        {**laws, entry.method: str(model)},
        data.folder,
        split,
        outline=data.outline,
        true_outlines=data.true_outlines,
        measurements=data.measurements,
    )
    rows["minutes"] = np.where(rows["method"] == entry.method, training(job.folder)["seconds"] / 60, np.nan)
    out.parent.mkdir(exist_ok=True)
    with whole(out) as temporary:
        rows.assign(seed=entry.seed).to_parquet(temporary, index=False)


def _own_law(entry: Entry, job: MethodJob, model: Path) -> dict[str, str]:
    """The law that a method's networks start from, as a row of its own: what they add to it is what they learned."""
    law = base.load(model).own_law if entry.is_drawn else None
    if law is None:
        return {}
    base.save(law, job.folder / "law")
    return {f"{entry.method}, its law alone": str(job.folder / "law")}


def write_page(benchmark: Benchmark) -> dict:
    """Everything scored so far as one page and one JSON file; returns what the JSON holds."""
    tables = []
    keys = dict.fromkeys((study, entry.kind) for entry in benchmark.entries for study in entry.studies)
    for (study, kind), split in itertools.product(keys, TEST_SPLITS):
        entries = [entry for entry in benchmark.entries if entry.kind == kind and study in entry.studies]
        scored = [entry for entry in entries if benchmark.scores(entry, split).exists()]
        if scored:
            tables.append(_table(benchmark, study, split, scored))
    return benchmark_page.write(
        Path(benchmark.page), tables, size=benchmark.size, commit=track.git_commit(), hardware=track.hardware(),
        command=f"python jobs/benchmark.py --size {benchmark.size}",
        outline_rule=(OUTLINE_THRESHOLD, OUTLINE_TOLERANCE_CELLS),
        trainings=(sum(benchmark.is_scored(entry) for entry in benchmark.entries), len(benchmark.entries)),
    )  # fmt: skip


def _table(benchmark: Benchmark, study: Study, split: str, entries: list[Entry]) -> dict:
    """One table of the page, as ``benchmark_page.write`` takes it."""
    kind = entries[0].kind
    card = DatasetCard.load(benchmark.data(kind))
    rows = pd.concat([pd.read_parquet(benchmark.scores(entry, split)) for entry in entries])
    if study not in WHOLE_METHODS:
        rows = rows[rows["method"].isin({entry.method for entry in entries})]
    trained: dict[str, list] = {}
    examples = {}
    for entry in entries:
        folder = benchmark.folder / entry.name
        trained.setdefault(entry.method, []).append({"name": entry.name, "commits": training(folder)["commits"]})
        if entry.is_drawn and study in WHOLE_METHODS:
            examples[entry.method] = benchmark_examples.load(folder, card, split)
    return {
        "study": study, "kind": kind, "split": split, "reference": benchmark.references[study],
        "dataset": f"{card.name} {kind} {card.fingerprint[:12]}",
        # Every method's scores of seed 0 come with those of the same laws.
        "rows": rows.drop_duplicates(["method", "seed", "scene", "tx_id"]),
        "trained": trained, "examples": {method: found for method, found in examples.items() if found},
    }  # fmt: skip
