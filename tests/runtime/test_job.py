"""The main job as a user runs it: `ray job submit` to a local head, then its model, scores, report and records."""

import json
import math
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

import raymap
from raymap.data import generated, sites
from raymap.runtime.evaluate import LAWS
from raymap.scene import Grid

HOME = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def submitted(tmp_path_factory, quiet_machine):
    """Storage folder and log of `jobs/demo.py --size debug`: a head of its own, a submitted job, all five steps."""
    storage = tmp_path_factory.mktemp("submitted")
    environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, str(HOME / "jobs/demo.py"), "--size", "debug", "--storage", str(storage)],
        capture_output=True, text=True, env=environ, timeout=540,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return storage, done.stdout


@pytest.fixture(scope="module")
def metrics(submitted):
    text = (submitted[0] / "debug/report/metrics.json").read_text()
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_progress_names_stage_step_loss_rate_and_time_left(submitted):
    for stage in ("autoencoder", "outline", "map"):
        lines = [line for line in submitted[1].splitlines() if f"[{stage}] step 6/6  loss" in line]
        assert lines, f"no progress of {stage}"
        assert "samples/s" in lines[0] and "ETA" in lines[0]


def test_metrics_follow_the_protocol(metrics):
    assert {"dataset", "split", "commit", "command", "hardware", "methods"} <= set(metrics)
    assert list(metrics["methods"]) == [*LAWS, "RadioDiff-k²"]
    for scores in metrics["methods"].values():
        for convention in ("raw", "thr02"):
            for region in ("all", "outdoor", "los", "nlos"):
                assert {"nmse", "rmse", "rmse_db", "ssim", "psnr"} <= set(scores[convention][region])
        whole = scores["raw"]["all"]["nmse"]
        assert whole["low"] <= whole["mean"] <= whole["high"] and whole["num"] == 4
        assert scores["latency_ms"] >= 0 and math.isfinite(scores["latency_ms"])
    k2 = metrics["methods"]["RadioDiff-k²"]
    assert k2["network_calls"] == 4 and k2["parameters"] > 10_000
    assert 0 <= k2["outline"]["dtc"]["mean"] <= 1


def test_one_row_per_method_and_map_agrees_with_the_summary(submitted, metrics):
    rows = pd.read_parquet(submitted[0] / "debug/report/metrics.parquet")
    assert len(rows) == (len(LAWS) + 1) * 4
    assert not rows.duplicated(["method", "scene", "tx_id"]).any()
    for method, part in rows.groupby("method"):
        summary = metrics["methods"][method]["raw"]["all"]["nmse"]["mean"]
        assert part["raw/all/nmse"].mean() == pytest.approx(summary, rel=1e-9)


def test_the_report_stands_alone(submitted):
    html = (submitted[0] / "debug/report/report.html").read_text()
    references = []

    class References(HTMLParser):
        def handle_starttag(self, tag, attributes):
            references.extend(value for name, value in attributes if name in ("src", "href") and value)

    References().feed(html)
    assert any(reference.startswith("data:image/png") for reference in references)
    assert all(reference.startswith(("data:", "#")) for reference in references)
    assert "RadioDiff-k²" in html


def test_the_model_loads_alone_and_predicts(submitted):
    model = raymap.load(submitted[0] / "debug/model")
    scene = generated.city(123, Grid((32, 32), 8.0))
    transmitters = sites.place(scene, 2, seed=0)
    maps = raymap.predict(model, scene, transmitters)
    assert len(maps) == 2
    for radio_map in maps:
        assert np.isfinite(radio_map.gain_db).all()
        assert (radio_map.valid == scene.outdoor).all()
        assert (radio_map.gain_db[~scene.outdoor] == -147).all()
    assert not np.array_equal(maps[0].gain_db, maps[1].gain_db)


def test_mlflow_holds_every_stage_and_a_model_that_loads_by_itself(submitted):
    import mlflow

    uri = f"sqlite:///{submitted[0]}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("raymap")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"autoencoder", "outline", "map", "debug"}
    fingerprint = json.loads((submitted[0] / "debug/data/dataset.json").read_text())["fingerprint"]
    for name, run in runs.items():
        assert run.info.status == "FINISHED"
        assert run.data.tags["dataset_fingerprint"] == fingerprint
        assert run.data.tags["git_commit"]
        if name != "debug":
            history = client.get_metric_history(run.info.run_id, "train/loss")
            assert [point.step for point in history] == [2, 4, 6]
            assert run.data.params["optim.num_steps"] == "6"
    run_id = runs["debug"].info.run_id
    pictures = [artifact.path for artifact in client.list_artifacts(run_id, "samples")]
    assert pictures and all(path.endswith(".png") for path in pictures)
    assert "test/nmse" in runs["debug"].data.metrics

    artifacts = {artifact.path for artifact in client.list_artifacts(run_id)}
    assert {"report.html", "model", "samples"} <= artifacts

    direct = raymap.load(submitted[0] / "debug/model")
    tracked = raymap.load(f"runs:/{run_id}/model", tracking_uri=uri)
    assert all((a == b).all() for a, b in zip(
        direct.state_dict().values(), tracked.state_dict().values(), strict=True))  # fmt: skip

    mlflow.set_tracking_uri(uri)
    generic = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    from raymap.data.columns import scene_columns

    scene = generated.city(5, Grid((32, 32), 8.0))
    site = sites.place(scene, 1, seed=0)
    gain_db = generic.predict(scene_columns([scene], site))
    np.testing.assert_allclose(gain_db[0], raymap.predict(direct, scene, site)[0].gain_db, atol=1e-4)
    assert Path(submitted[0] / "debug/model/run.json").is_file()


def test_the_model_is_registered_with_all_that_who_finds_it_there_needs(submitted):
    import mlflow

    uri = f"sqlite:///{submitted[0]}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    version = client.get_model_version_by_alias("k2", "champion")
    assert int(version.version) == 1 and "challenger" not in client.get_registered_model("k2").aliases
    fingerprint = json.loads((submitted[0] / "debug/data/dataset.json").read_text())["fingerprint"]
    assert version.tags["dataset_fingerprint"] == fingerprint and version.tags["commit"]
    for told in ("# RadioDiff-k²", fingerprint, "Scores on the split test", "| Free space |", "32 x 32 cells of 8 m"):
        assert told in version.description

    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model("models:/k2@champion")
    folder = Path(mlflow.artifacts.download_artifacts("models:/k2@champion"))
    assert (folder / "README.md").read_text() == version.description
    example = dict(np.load(folder / "input_example.npz"))
    assert [spec.name for spec in model.metadata.signature.inputs] == list(example)
    gain_db = model.predict(example)
    assert gain_db.shape == (1, 32, 32) and gain_db.dtype == np.float32 and np.isfinite(gain_db).all()
    with pytest.raises(mlflow.exceptions.MlflowException, match="building_m"):
        model.predict({name: value for name, value in example.items() if name != "building_m"})
    served, direct = raymap.load("models:/k2@champion", tracking_uri=uri), raymap.load(submitted[0] / "debug/model")
    assert all((a == b).all() for a, b in zip(served.state_dict().values(), direct.state_dict().values(), strict=True))
