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

import numpy as np
import pandas as pd

from raymap.config import DataConfig, MeasurementsConfig
from raymap.data.schema import DatasetCard
from raymap.evaluation import benchmark_page, html_page
from raymap.evaluation.benchmark_tables import WHOLE_METHODS
from raymap.models import base
from raymap.runtime import benchmark_costs, benchmark_examples, benchmark_localization, provenance
from raymap.runtime.benchmark_entries import TEST_SPLITS, TRAINING_FILE, Benchmark, Entry, Study, training
from raymap.runtime.evaluate import (
    INTERPOLATIONS,
    LAWS,
    OUTLINE_THRESHOLD,
    OUTLINE_TOLERANCE_CELLS,
    fit_laws,
    score_rows,
)
from raymap.runtime.method import MethodJob, make_dataset, train
from raymap.storage import whole, write_text

#: Costs of predictions, in the benchmark's folder.
COSTS_FILE = "costs.json"


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
                _score(benchmark, entry, job, model, split)
                if entry.is_drawn:
                    benchmark_examples.keep(job.folder, model, job.resolved_data, split)
        if "matrix" in entry.studies and benchmark_localization.load(job.folder) is None:
            located = {**_laws(benchmark, entry, job), entry.method: str(model)}
            benchmark_localization.keep(job.folder, located, job.plan, benchmark.folder / f"localization-{entry.kind}")
        write_page(benchmark)
    return write_page(benchmark)


def _train(job: MethodJob) -> Path:
    """The trained model; beside it ``training.json`` says the wall time and the commits of the code that trained."""
    before, is_scored = training(job.folder), (job.folder / "scores").exists()
    kept = dict(before)
    # Before the training rather than after, so that the part of a start that was killed is known too.
    if not _model(job).exists():
        kept["commits"] = [*dict.fromkeys([*kept["commits"], provenance.git_commit()])]
    if kept != before:
        job.folder.mkdir(parents=True, exist_ok=True)
        write_text(job.folder / TRAINING_FILE, json.dumps(kept) + "\n")
    begun = time.monotonic()
    model = train(job)
    if not is_scored:  # a start that finds it scored adds nothing, one that went on adds its part
        kept["seconds"] += time.monotonic() - begun
        write_text(job.folder / TRAINING_FILE, json.dumps(kept) + "\n")
    return model


def _model(job: MethodJob) -> Path:
    """Where the finished model of a job lies."""
    return job.folder / ("model" if "outline" in job.stages else "map/model")


def measure_costs(benchmark: Benchmark) -> dict:
    """What a prediction costs by every method that is scored, and by every law, in one run; returns the page's numbers.

    From then on the page tells these, until they are measured anew. Raises ValueError if nothing is scored yet.
    """
    models: dict[str, dict[str, Path]] = {}
    for entry in benchmark.entries:
        if entry.is_drawn and benchmark.is_scored(entry):
            job = benchmark.job(entry)
            model = _model(job)
            found = {**_laws(benchmark, entry, job), **_own_law(entry, job, model), entry.method: model}
            models.setdefault(entry.kind, {}).update({name: Path(path) for name, path in found.items()})
    if not models:
        raise ValueError(f"nothing is scored in {benchmark.folder}; train something first")
    data = {kind: DataConfig(folder=str(benchmark.data(kind)), measurements=MeasurementsConfig()) for kind in models}
    benchmark_costs.measure(benchmark.folder / COSTS_FILE, models, data, TEST_SPLITS[0])
    return write_page(benchmark)


def _laws(benchmark: Benchmark, entry: Entry, job: MethodJob) -> dict[str, str]:
    """Name -> folder of what is scored beside an entry whose methods are whole, fitted once per kind of maps."""
    folder = benchmark.folder / f"laws-{entry.kind}"
    known = LAWS | (INTERPOLATIONS if job.data.measurements else {})
    return fit_laws(job.resolved_data.folder, "train", known, folder, again=False) if entry.is_drawn else {}


def _score(benchmark: Benchmark, entry: Entry, job: MethodJob, model: Path, split: str) -> None:
    """The entry's scores on one split as Parquet, unless they are there; those of the laws beside its."""
    out = benchmark.scores(entry, split)
    if out.exists():
        return
    data = job.resolved_data
    rows = score_rows(
        {**_laws(benchmark, entry, job), **_own_law(entry, job, model), entry.method: str(model)},
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
    """Everything scored so far as one page, one JSON file, and ``report.html`` in the benchmark's folder.

    Returns what the JSON holds.
    """
    tables = []
    keys = dict.fromkeys((study, entry.kind) for entry in benchmark.entries for study in entry.studies)
    for (study, kind), split in itertools.product(keys, TEST_SPLITS):
        entries = [entry for entry in benchmark.entries if entry.kind == kind and study in entry.studies]
        scored = [entry for entry in entries if benchmark.scores(entry, split).exists()]
        if scored:
            tables.append(_table(benchmark, study, split, scored))
    found = benchmark_page.write(
        Path(benchmark.page), tables, size=benchmark.size, commit=provenance.git_commit(),
        hardware=provenance.hardware(), command=f"python jobs/benchmark.py --size {benchmark.size}",
        outline_rule=(OUTLINE_THRESHOLD, OUTLINE_TOLERANCE_CELLS),
        num_planned=len(benchmark.entries),
        located=_located(benchmark), localization_rule=benchmark_localization.RULE,
    )  # fmt: skip
    html_page.from_markdown(Path(benchmark.page), benchmark.folder / "report.html")
    return found


def _located(benchmark: Benchmark) -> dict[str, pd.DataFrame]:
    """Kind -> points that the matrix's methods have located, each method's once."""
    found: dict[str, list[pd.DataFrame]] = {}
    for entry in benchmark.entries:
        points = benchmark_localization.load(benchmark.folder / entry.name) if "matrix" in entry.studies else None
        if points is not None:
            found.setdefault(entry.kind, []).append(points)
    key = ["method", "scene", "row", "column"]
    return {kind: pd.concat(parts).drop_duplicates(key) for kind, parts in found.items()}


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
        "duel": benchmark.duels.get(study),
        "dataset": f"{card.name} {kind} {card.fingerprint[:12]}",
        # Every method's scores of seed 0 come with those of the same laws.
        "rows": benchmark_costs.put(
            rows.drop_duplicates(["method", "seed", "scene", "tx_id"]), benchmark.folder / COSTS_FILE, kind
        ),
        "trained": trained, "examples": {method: found for method, found in examples.items() if found},
    }  # fmt: skip
