import json

import pytest

from raymap import benchmarks, recipes
from raymap.data.schema import DatasetCard
from raymap.runtime import benchmark


def test_what_is_compared_differs_in_what_it_says_only():
    chosen = benchmarks.benchmark("small")
    entries = {(entry.method, entry.kind, entry.seed): entry for entry in chosen.entries}
    for kind, seeds in (("srm", 3), ("drm", 1), ("mrm", 1)):
        for seed in range(seeds):
            jobs = [entries[name, kind, seed].job for name in ("RadioDiff", "Regression", "RadioDiff-k²")]
            assert len({job.data.batch_size for job in jobs}) == 1
            steps = [sum(getattr(job, s).optim.num_steps for s in job.stages if s != "autoencoder") for job in jobs]
            assert len(set(steps)) == 1
    bodies = {(e.job.map.model.widths, e.job.map.model.num_blocks, e.job.map.model.stem) for e in chosen.entries}
    assert len(bodies) == 1
    published = entries["RadioDiff", "srm", 0].job.map.model
    assert published.inputs == recipes.ENVIRONMENT and not published.law
    oracles = [entry.method for entry in chosen.entries if entry.job.data.true_outlines]
    assert oracles == ["true outline (oracle)"]


def test_every_reference_is_a_row_of_its_study():
    chosen = benchmarks.benchmark("debug")
    for study, method in chosen.references.items():
        assert any(study in entry.studies and entry.method == method for entry in chosen.entries)


def test_entries_borrow_only_what_was_trained_before():
    chosen = benchmarks.benchmark("debug")
    last = next(entry for entry in chosen.entries if entry.outline_of)
    assert last.outline_of == "outline k_log"
    with pytest.raises(ValueError, match="needs 'outline k_log', which is not in the benchmark"):
        benchmark.Benchmark(**{**dict(chosen), "entries": (last,)})
    owner = next(entry for entry in chosen.entries if entry.method == "outline k_log")
    with pytest.raises(ValueError, match="needs 'outline k_log' before it"):
        benchmark.Benchmark(**{**dict(chosen), "entries": (last, owner)})
    with pytest.raises(ValueError, match="two entries are called 'srm-outline-k-log-0'"):
        benchmark.Benchmark(**{**dict(chosen), "entries": (owner, owner)})


def test_a_pattern_that_matches_nothing_lists_the_entries():
    with pytest.raises(ValueError, match="no entry matches 'no such'; there are srm-radiodiff-0, "):
        benchmark.run(benchmarks.benchmark("debug"), "no such")


def test_entries_are_trained_scored_and_written_once(ray_local, tmp_path):
    chosen = benchmarks.benchmark("debug")
    chosen = chosen.model_copy(update={"storage": str(tmp_path / "runs"), "page": str(tmp_path / "page.md")})
    found = benchmark.run(chosen, "srm-(regression-0|true-outline)")
    assert DatasetCard.load(chosen.data("srm")).kind == "srm"
    by_study = {table["study"]: table for table in found["tables"] if table["split"] == "test"}
    assert list(by_study["methods"]["methods"])[-1] == "Regression" and "Free space" in by_study["methods"]["methods"]
    assert list(by_study["outline"]["methods"]) == ["true outline (oracle)"]
    assert by_study["methods"]["methods"]["Regression"]["minutes"] > 0
    assert json.loads((tmp_path / "page.json").read_text()) == found

    scores = sorted(chosen.folder.glob("*/scores/*.parquet"))
    assert len(scores) == 2
    before = [path.stat().st_mtime_ns for path in scores]
    assert benchmark.run(chosen, "srm-(regression-0|true-outline)") == found
    assert [path.stat().st_mtime_ns for path in scores] == before
