"""Publishing: a model of any machine becomes a small folder that loads by name, and its card says what was measured."""

import json

import numpy as np
import pytest
import torch

import raymap
from raymap import api, recipes
from raymap.data import schema, shards, sites
from raymap.data.generated import city
from raymap.evaluation import summary
from raymap.models import base
from raymap.propagation import dominant_path
from raymap.scene import Grid

COMMAND = "python /somewhere/else/jobs/train_k2.py --size debug --storage=/somewhere/runs --seed 3"


@pytest.fixture(scope="module")
def job(load_job):
    return load_job("publish_model")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = base.build(recipes.k2("debug").model())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A dataset of two towns, one each for training and test."""
    folder, splits = tmp_path_factory.mktemp("data"), {}
    for seed, split in enumerate(("train", "test")):
        scene = city(seed, Grid((32, 32), 8.0))
        splits[split] = [
            schema.row(scene, number, place, dominant_path.solve(scene, place))
            for number, place in enumerate(sites.place(scene, 2, seed))
        ]
    shards.write(splits, folder, name="two-towns", kind="srm", shape=(32, 32), cell_m=8.0,
                 sources=("generated towns",), attribution="Made up by a generator.")  # fmt: skip
    return folder


def report(folder, model, **changes):
    """A report of two methods, the model and a law."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    methods = {
        "Free space": (
            {"nmse": 0.5, "rmse_db": 20.0, "ssim": 0.4, "psnr": 12.0},
            {"parameters": 0, "network_calls": 0},
        ),
        "K2": (
            {"nmse": 0.03, "rmse_db": 3.0, "ssim": 0.9, "psnr": 29.0},
            {"parameters": parameters, "network_calls": 4},
        ),
    }
    rows = [
        {"method": method, "scene": f"town{number}", "latency_ms": 12.0, **costs}
        | {f"raw/all/{metric}": value + 0.01 * number for metric, value in scores.items()}
        for method, (scores, costs) in methods.items()
        for number in range(3)
    ]
    words = {"dataset": "two-towns (abc)", "split": "test", "commit": "abc123", "command": COMMAND, "hardware": "a CPU"}
    summary.write_metrics(folder, summary.summarise(rows, **{**words, **changes}))


@pytest.fixture
def trained(model, data, tmp_path):
    """The folder of a finished job: model and report."""
    run = {"name": "debug", "seed": 3, "data": {"folder": str(data), "outline": {"kind": "k_log"}, "batch_size": 4}}
    base.save(model, tmp_path / "run" / "model", run)
    report(tmp_path / "run" / "report", model)
    return tmp_path / "run" / "model"


def publish(job, trained, tmp_path, *more):
    return job.main(["--model", str(trained), "--name", "k2-tiny", "--out", str(tmp_path / "pretrained"), *more])


@pytest.fixture
def published(job, trained, tmp_path):
    return publish(job, trained, tmp_path)


def test_the_published_model_is_loaded_by_name_and_predicts_the_same(published, model, tmp_path, monkeypatch):
    monkeypatch.setattr(api, "PRETRAINED", tmp_path / "pretrained")
    monkeypatch.chdir(tmp_path)
    assert raymap.pretrained() == {"k2-tiny": published}
    scene = city(9, Grid((32, 40), 8.0))
    places = sites.place(scene, 2, 0)
    pairs = zip(
        raymap.predict(raymap.load("k2-tiny"), scene, places), raymap.predict(model, scene, places), strict=True
    )
    difference_db = np.concatenate([abs(one.gain_db - other.gain_db)[one.valid] for one, other in pairs])
    assert 0 < np.median(difference_db) <= 0.05 and difference_db.max() < 1.0


def test_only_what_is_needed_is_said_and_nothing_of_the_machine(published, model, data):
    assert {path.name for path in published.iterdir()} == {"run.json", "model.safetensors", "README.md"}
    run = json.loads((published / "run.json").read_text())
    assert run["model"] == model.config.model_dump(mode="json") and run["schema_version"] == base.SCHEMA_VERSION
    assert run["dataset"]["fingerprint"] == schema.DatasetCard.load(data).fingerprint
    assert run["data"] == {"outline": {"kind": "k_log"}} and run["commit"] == "abc123"
    assert run["command"] == "python jobs/train_k2.py --size debug --storage=runs --seed 3"
    for name in ("run.json", "README.md"):
        text = (published / name).read_text()
        assert "somewhere" not in text and str(data) not in text


def test_the_card_holds_the_reports_numbers(published):
    card = (published / "README.md").read_text()
    assert 'raymap.load("k2-tiny")' in card and "Made up by a generator." in card and "two-towns" in card
    assert "| K2 | 0.0400 (" in card and "| Free space | 0.5100 (" in card
    assert "5.9 GHz, transmitters 1.5 m above ground" in card
    assert "train 1 scenes (generated), test 1 scenes (generated)" in card


def test_more_reports_more_tables_and_a_method_by_name(job, trained, model, tmp_path):
    report(tmp_path / "real", model, dataset="real maps")
    again = ["--report", str(trained.parent / "report"), "--report", f"Real maps zero-shot={tmp_path / 'real'}"]
    card = (publish(job, trained, tmp_path, *again, "--method", "K2") / "README.md").read_text()
    assert card.count("| K2 |") == 2 and "## Scores: Real maps zero-shot" in card


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--report", "nowhere"], "score the model first"),
        (["--method", "K3"], "no method 'K3'; it has Free space, K2"),
        (["--method", "Free space"], "scores another model: 'Free space' has 0 parameters"),
    ],
)
def test_a_report_that_is_not_the_models_is_refused(job, trained, tmp_path, more, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        publish(job, trained, tmp_path, *more)
    assert not list((tmp_path / "pretrained").glob("*"))


@pytest.mark.parametrize(
    ("limit", "value", "message"), [("MAX_BYTES", 1000, "too large"), ("MAX_DIFFERENCE_DB", 0.0, "maps differ by 0.0")]
)
def test_what_is_too_large_or_too_different_leaves_the_published_one_alone(
    job, trained, published, tmp_path, monkeypatch, limit, value, message
):
    before = (published / "README.md").read_text()
    monkeypatch.setattr(job, limit, value)
    with pytest.raises(ValueError, match=message):
        publish(job, trained, tmp_path)
    assert [path.name for path in (tmp_path / "pretrained").iterdir()] == ["k2-tiny"]
    assert (published / "README.md").read_text() == before


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("python jobs/demo.py --out runs/x", "python jobs/demo.py --out runs/x"),
        ("python /a/b/jobs/demo.py --out /a/b/runs --n 3", "python jobs/demo.py --out runs --n 3"),
        ("python /a/jobs/evaluate.py --model K2=/a/b/model", "python jobs/evaluate.py --model K2=model"),
    ],
)
def test_a_command_loses_the_machines_folders_only(job, command, wanted):
    assert job.portable(command) == wanted


def test_names(job):
    with pytest.raises(SystemExit, match="--name"):
        job.main(["--model", "somewhere"])
    with pytest.raises(ValueError, match="name"):
        job.main(["--model", "somewhere", "--name", "../k2"])
