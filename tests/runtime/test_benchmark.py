import json
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from raymap import benchmarks, recipes
from raymap.config import Run
from raymap.data import generated, schema, shards, sites, sources
from raymap.data.schema import DatasetCard
from raymap.models import base
from raymap.models.pathloss import FreeSpace
from raymap.propagation import dominant_path
from raymap.runtime import benchmark, benchmark_entries, benchmark_localization
from raymap.runtime.evaluate import INTERPOLATIONS
from raymap.runtime.method import _draw_outlines, make_dataset
from raymap.scene import Grid


def test_what_is_compared_differs_in_what_it_says_only():
    chosen = benchmarks.benchmark("small")
    entries = {(entry.method, entry.kind, entry.seed): entry for entry in chosen.entries if not entry.variant}
    titles = {title for title, _recipe in recipes.METHODS.values()}
    for seed in range(3):
        compared = {name for name, _kind, of_seed in entries if of_seed == seed} & titles
        assert compared == (titles if seed == 0 else {"RadioDiff", "Regression", "RadioDiff-k²"})
        assert len({entries[name, "srm", seed].job.data.batch_size for name in compared}) == 1
        assert len({num_steps(entries[name, "srm", seed].job) for name in compared}) == 1
    ours = ("radiodiff", "regression")
    networks = [e.job.map.model for e in chosen.entries if e.job.map.model.kind in ours]
    bodies = {(model.widths, model.num_blocks, model.stem) for model in networks}
    assert len(bodies) == 1
    published = entries["RadioDiff", "srm", 0].job.map.model
    assert published.inputs == recipes.ENVIRONMENT and not published.law
    oracles = [entry.method for entry in chosen.entries if entry.job.data.true_outlines]
    assert oracles == ["true outline (oracle)", "true outline (oracle), no physics"]


def num_steps(job):
    return sum(getattr(job, stage).optim.num_steps for stage in job.stages if stage != "autoencoder")


def test_the_matrix_has_every_method_on_every_kind_with_a_third_of_the_steps():
    chosen = benchmarks.benchmark("small")
    matrix = [entry for entry in chosen.entries if "matrix" in entry.studies]
    titles = {title for title, _recipe in recipes.METHODS.values()}
    for kind in ("srm", "drm", "mrm"):
        here = {entry.method for entry in matrix if entry.kind == kind}
        assert here - {"RadioDiff-k², no dominant path"} == titles
    whole = num_steps(recipes.k2("small"))
    assert all(abs(num_steps(entry.job) - whole / 3) < 2 for entry in matrix)
    assert all(entry.name.endswith("-short-0") for entry in matrix)


def test_receivers_are_located_in_the_towns_of_the_test_with_more_transmitters():
    for size in ("debug", "small"):
        whole = recipes.k2(size).plan
        plan = benchmark_localization.plan(whole)
        items = sources.work(plan)
        assert {item.split for item in items} == {"test"}
        assert plan.num_transmitters.test == benchmark_localization.RULE["num_transmitters"]
        seen = {ref for item in items for ref in item.scenes}
        assert {ref.source for ref in seen} == {
            ref.source for item in sources.work(whole) if item.split == "test" for ref in item.scenes
        }


def test_the_study_of_rmdm_has_every_choice_of_losses_once():
    rows = [entry for entry in benchmarks.benchmark("small").entries if "rmdm" in entry.studies]
    models = {entry.method: entry.job.map.model for entry in rows}
    assert len({num_steps(entry.job) for entry in rows}) == 1
    plain = {name: model for name, model in models.items() if model.rf_sa and not model.guidance}
    weights = {(m.lambda_mse, m.lambda_pinn, m.lambda_reg) for m in plain.values()}
    assert len(weights) == len(plain) == 7
    assert {name: getattr(models["RMDM, L_PINN"], f"lambda_{name}") > 0 for name in ("mse", "pinn", "reg")} == {
        "mse": False, "pinn": True, "reg": False,
    }  # fmt: skip
    assert set(models) - set(plain) == {"RMDM, no RF-SA", "RMDM, guided"}


def test_the_study_of_the_law_leaves_out_what_its_rows_say():
    laws = {e.method: e.job.map.model for e in benchmarks.benchmark("small").entries if "law" in e.studies}
    whole = set(laws["law: all inputs"].inputs)
    assert whole == set(recipes.k2("small").map.model.law.inputs)
    assert whole - set(laws["law: no detour"].inputs) == {"detour", "soft_detour"}
    assert "law: no bearing" not in laws, "a law of one cell has no direction to leave out"
    assert len({model.inputs for model in laws.values()}) == len(laws)


def test_the_dominant_path_map_is_an_input_for_multipath_maps_only():
    for size in ("debug", "small", "full"):
        chosen = benchmarks.benchmark(size)
        seeing = {entry.name: entry for entry in chosen.entries if entry.job.model().reads("dominant_path")}
        assert list(seeing) == ["mrm-regression-short-0", "mrm-radiodiff-k2-short-0"]
        for entry in chosen.entries:
            assert entry.job.data.dominant_path == (entry.name in seeing)
        named = {entry.name: entry.job for entry in chosen.entries}
        assert named["mrm-radiodiff-k2-no-dominant-path-short-0"] == named["drm-radiodiff-k2-short-0"]
        k2, regression = named["mrm-radiodiff-k2-short-0"], named["mrm-regression-short-0"]
        outline, gain = k2.outline.model, k2.map.model
        assert (
            outline.inputs == (*recipes.k2(size).outline.model.inputs, "dominant_path") == regression.map.model.inputs
        )
        assert gain.inputs == (*outline.inputs, "outline_predicted"), "DM2's denoiser starts from DM1's"
        assert outline.law == gain.law == regression.map.model.law
        assert gain.law.inputs == recipes.law_of(outline.inputs).inputs
        stages = [job.run(stage) for job in (chosen.job(seeing[name]) for name in seeing) for stage in job.stages]
        assert len(stages) == 4 and all(Run.model_validate_json(run.model_dump_json()) == run for run in stages)


def test_a_job_that_reads_the_truth_is_refused_before_a_map_is_made(tmp_path):
    """The plan says the kind, and so does the card of a dataset that is there."""
    chosen = benchmarks.benchmark("debug").model_copy(update={"storage": str(tmp_path)})
    entry = next(entry for entry in chosen.entries if entry.name == "mrm-regression-short-0")
    for kind in ("srm", "drm"):
        with pytest.raises(ValueError, match=f"of kind '{kind}', whose true maps are dominant-path maps"):
            make_dataset(chosen.job(entry.model_copy(update={"kind": kind})))
    job = chosen.job(entry)
    folder = tmp_path / "measured"
    rows = [schema.row(scene, 0, place, dominant_path.solve(scene, place)) for scene, place in [a_town()]]
    for kind in ("srm", "measured"):
        shards.write({"train": rows}, folder / kind, name="tiny", kind=kind, shape=(32, 32), cell_m=8.0,
                     sources=("made up",), attribution="")  # fmt: skip
    there = {kind: job.data.model_copy(update={"folder": str(folder / kind)}) for kind in ("srm", "measured")}
    with pytest.raises(ValueError, match="'tiny' is of kind 'srm'"):
        make_dataset(job.model_copy(update={"data": there["srm"]}))
    assert make_dataset(job.model_copy(update={"data": there["measured"]})).kind == "measured"


@pytest.mark.parametrize("name", ["mrm-radiodiff-k2-short-0", "mrm-radiodiff-k2-no-dominant-path-short-0"])
def test_dm1_draws_its_outlines_from_the_inputs_it_was_trained_on(name, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(shards, "write_outlines", lambda *_, **options: asked.update(options))
    chosen = benchmarks.benchmark("debug").model_copy(update={"storage": str(tmp_path)})
    (entry,) = [entry for entry in chosen.entries if entry.name == name]
    scene, place = a_town()
    rows = [schema.row(scene, 0, place, dominant_path.solve(scene, place))]
    shards.write({"train": rows}, tmp_path / "data", name="tiny", kind="mrm", shape=(32, 32), cell_m=8.0,
                        sources=("made up",), attribution="")  # fmt: skip
    job = chosen.job(entry)
    job = job.model_copy(update={"data": job.data.model_copy(update={"folder": str(tmp_path / "data")})})
    base.save(base.build(job.outline.model), tmp_path / "outline")
    _draw_outlines(job, tmp_path / "outline")
    assert asked["dominant_path"] == job.outline.model.reads("dominant_path") == ("no-dominant" not in name)


def a_town():
    scene = generated.city(0, Grid((32, 32), 8.0))
    return scene, sites.place(scene, 1, 0)[0]


def test_every_reference_is_a_row_of_its_study():
    chosen = benchmarks.benchmark("debug")
    for study, method in chosen.references.items():
        if method in INTERPOLATIONS:  # which every row of its study is scored beside
            continue
        assert any(study in entry.studies and entry.method == method for entry in chosen.entries)


def test_entries_borrow_only_what_was_trained_before():
    chosen = benchmarks.benchmark("debug")
    last = next(entry for entry in chosen.entries if entry.lender)
    assert last.lender == "outline k_log"
    with pytest.raises(ValueError, match="needs 'outline k_log', which is not in the benchmark"):
        benchmark_entries.Benchmark(**{**dict(chosen), "entries": (last,)})
    owner = next(entry for entry in chosen.entries if entry.method == "outline k_log")
    with pytest.raises(ValueError, match="needs 'outline k_log' before it"):
        benchmark_entries.Benchmark(**{**dict(chosen), "entries": (last, owner)})
    with pytest.raises(ValueError, match="two entries are called 'srm-outline-k-log-0'"):
        benchmark_entries.Benchmark(**{**dict(chosen), "entries": (owner, owner)})


def test_the_paper_s_own_comparison_sees_no_physics_at_any_stage():
    jobs = {entry.method: entry.job for entry in benchmarks.benchmark("small").entries}
    none, predicted, true = (
        jobs[name]
        for name in ("no outline, no physics", "outline k_log, no physics", "true outline (oracle), no physics")
    )
    for job in (none, predicted, true):
        assert not any(job.map.model.reads(name) for name in recipes.PHYSICS) and job.map.model.law is None
    assert predicted.outline.model.inputs == recipes.ENVIRONMENT == none.map.model.inputs
    assert predicted.map.model.inputs == true.map.model.inputs == (*recipes.ENVIRONMENT, "outline_predicted")
    assert true.data.true_outlines and not predicted.data.true_outlines
    steps = predicted.outline.optim.num_steps + predicted.map.optim.num_steps
    assert none.map.optim.num_steps == steps


def test_a_pattern_that_matches_nothing_lists_the_entries():
    with pytest.raises(ValueError, match="no entry matches 'no such'; there are srm-radiounet-0, "):
        benchmark.run(benchmarks.benchmark("debug"), "no such")


def test_entries_are_trained_scored_and_written_once(ray_local, tmp_path):
    chosen = benchmarks.benchmark("debug")
    chosen = chosen.model_copy(update={"storage": str(tmp_path / "runs"), "page": str(tmp_path / "page.md")})
    found = benchmark.run(chosen, "srm-(regression-0|law-no-turns)")
    assert DatasetCard.load(chosen.data("srm")).kind == "srm"
    by_study = {table["study"]: table for table in found["tables"] if table["split"] == "test"}
    assert list(by_study["methods"]["methods"])[-2:] == ["Regression, its law alone", "Regression"]
    assert "Free space" in by_study["methods"]["methods"]
    law = base.load(chosen.folder / "srm-regression-0" / "law")
    whole = base.load(chosen.folder / "srm-regression-0" / "map" / "model")
    assert all(torch.equal(value, law.state_dict()[name]) for name, value in whole.law.state_dict().items())
    assert list(by_study["law"]["methods"]) == ["law: no turns"]
    assert by_study["methods"]["methods"]["Regression"]["minutes"] > 0
    assert json.loads((tmp_path / "page.json").read_text()) == found

    pictures = by_study["methods"]["pictures"]
    assert pictures == {"maps": "page/methods-srm-test.png", "intervals": "page/methods-srm.png"}
    assert "maps" not in by_study["law"]["pictures"] and (tmp_path / pictures["maps"]).is_file()
    kept = json.loads((chosen.folder / "srm-regression-0" / "training.json").read_text())
    assert kept["seconds"] > 0 and kept["commits"] == [found["commit"]]

    scores = sorted(chosen.folder.glob("*/scores/*.*"))
    assert [path.name for path in scores] == ["test.parquet", "test-examples.npz", "test.parquet"]
    before = [path.stat().st_mtime_ns for path in scores]
    assert benchmark.run(chosen, "srm-(regression-0|law-no-turns)") == found
    assert [path.stat().st_mtime_ns for path in scores] == before


def test_who_lends_stages_is_trained_first(monkeypatch, tmp_path):
    chosen = benchmarks.benchmark("debug").model_copy(update={"storage": str(tmp_path)})
    trained = []
    monkeypatch.setattr(benchmark, "make_dataset", lambda job: SimpleNamespace(splits=()))
    monkeypatch.setattr(benchmark, "_train", lambda job: trained.append(job))
    monkeypatch.setattr(benchmark, "write_page", lambda chosen: {})
    benchmark.run(chosen, "^srm-(no-roofs|true-outline-oracle)-0$")
    assert [job.name for job in trained] == ["srm-outline-k-log-0", "srm-true-outline-oracle-0", "srm-no-roofs-0"]
    lent = str(chosen.folder / "srm-outline-k-log-0")
    assert trained[1].trained == {"autoencoder": f"{lent}/autoencoder/model"}
    assert trained[2].trained == {stage: f"{lent}/{stage}/model" for stage in ("autoencoder", "outline")}


def test_multipath_maps_are_drawn_and_scored_with_the_dominant_path_map(ray_local, tmp_path):
    chosen = benchmarks.benchmark("debug")
    chosen = chosen.model_copy(update={"storage": str(tmp_path / "runs"), "page": str(tmp_path / "page.md")})
    found = benchmark.run(chosen, "mrm-regression-short-0")
    assert DatasetCard.load(chosen.data("mrm")).kind == "mrm"
    (table,) = [table for table in found["tables"] if table["split"] == "test"]
    assert list(table["methods"])[-1] == "Regression" and "Free space" in table["methods"]
    located = found["localization"]["kinds"]["mrm"]
    assert list(located)[-2:] == ["Regression", "true maps"] and "Free space" in located
    assert all(scores["all"]["mean_m"]["num"] > 100 for scores in located.values())
    card = DatasetCard.load(chosen.folder / "localization-mrm")
    assert (card.kind, list(card.splits)) == ("mrm", ["test"])
    assert base.load(chosen.folder / "mrm-regression-short-0" / "map" / "model").config.reads("dominant_path")


@pytest.fixture
def trained_by(monkeypatch, tmp_path):
    """``_train`` of one job without any training: ``trained_by(commit)`` returns what is kept."""
    job = benchmarks.benchmark("debug").job(benchmarks.benchmark("debug").entries[0])
    job = job.model_copy(update={"storage": str(tmp_path)})

    def train(commit, fails=False):
        def fit(job):
            if fails:
                raise InterruptedError
            (job.folder / "map/model").mkdir(parents=True, exist_ok=True)
            return job.folder / "map/model"

        monkeypatch.setattr(benchmark, "train", fit)
        monkeypatch.setattr(benchmark.provenance, "git_commit", lambda: commit)
        benchmark._train(job)
        return benchmark_entries.training(job.folder)

    train.folder = job.folder
    return train


def test_a_training_keeps_the_commits_of_all_its_parts(trained_by):
    with pytest.raises(InterruptedError):
        trained_by("aaa", fails=True)
    first = trained_by("bbb+")
    assert first["commits"] == ["aaa", "bbb+"] and first["seconds"] > 0
    (trained_by.folder / "scores").mkdir()
    assert trained_by("ccc") == first  # finished and scored: this code has no part in it


def test_methods_that_are_shown_measurements_are_compared_with_kriging():
    chosen = benchmarks.benchmark("debug")
    rows = [entry for entry in chosen.entries if "measured" in entry.studies]
    assert chosen.references["measured"] in INTERPOLATIONS
    assert len(rows) >= 4 and all(row.job.data.measurements and row.job.model().reads("sampled") for row in rows)
    assert not any(e.job.data.measurements for e in chosen.entries if e not in rows)


def test_costs_are_those_of_one_run_and_stand_on_the_page(tmp_path, monkeypatch):
    """One training is scored; its rows then tell the costs of that run, other methods' keep their own."""
    chosen = benchmarks.benchmark("debug")
    chosen = chosen.model_copy(update={"storage": str(tmp_path / "runs"), "page": str(tmp_path / "page.md")})
    with pytest.raises(ValueError, match="nothing is scored"):
        benchmark.measure_costs(chosen)
    entry = next(entry for entry in chosen.entries if entry.name == "srm-radiounet-0")
    job = chosen.job(entry)
    scene, place = a_town()
    rows = [schema.row(scene, 0, place, dominant_path.solve(scene, place))]
    shards.write({"test": rows}, chosen.data("srm"), name="tiny", kind="srm", shape=(32, 32), cell_m=8.0,
                 sources=("made up",), attribution="")  # fmt: skip
    base.save(base.build(job.map.model), job.folder / "map" / "model")
    law = base.build(FreeSpace.Config())
    base.save(law, tmp_path / "law")
    monkeypatch.setattr(benchmark, "_laws", lambda *_: {"Free space": str(tmp_path / "law")})
    scores = {"raw/all/nmse": 0.1, "raw/all/rmse_db": 3.0, "raw/all/ssim": 0.9, "raw/all/psnr": 20.0}
    known = {"scene": "a", "tx_id": 0, "seed": 0, "minutes": 1.0, "latency_ms": 9e9, "parameters": 1, **scores}
    path = chosen.scores(entry, "test")
    path.parent.mkdir(parents=True)
    pd.DataFrame([{"method": name, **known} for name in ("RadioUNet", "Free space", "Other")]).to_parquet(path)
    found = benchmark.measure_costs(chosen)
    (table,) = [table for table in found["tables"] if table["study"] == "methods"]
    ours, other = table["methods"]["RadioUNet"], table["methods"]["Other"]
    assert ours["latency_ms"] < 1e6 and ours["network_calls"] == 2 and ours["flop"] > 1e6
    assert ours["parameters"] == sum(p.numel() for p in base.load(job.folder / "map" / "model").parameters())
    assert table["methods"]["Free space"]["flop"] == 0 and other["latency_ms"] == 9e9 and other["flop"] is None
    told = json.loads((chosen.folder / "costs.json").read_text())
    assert told["kinds"]["srm"]["RadioUNet"]["latency_ms"] == ours["latency_ms"]
