"""Any method by its name, as a user runs it: two phases of two optimisers each, shown measurements, on Ray."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import raymap
from raymap import recipes
from raymap.runtime.evaluate import INTERPOLATIONS, LAWS

JOB = Path(__file__).parents[2] / "jobs/train_baseline.py"


def test_unknown_names_list_the_known(load_job):
    chosen = load_job("train_baseline").chosen
    assert chosen(recipes.METHODS, "method")("rmdm") == ("RMDM", recipes.rmdm)
    with pytest.raises(ValueError, match="unknown input 'more'; allowed: no more, cell_size, dominant_path, measurem"):
        chosen(recipes.VARIANTS, "input")("more")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Where the first job makes the dataset, and the second finds it."""
    return tmp_path_factory.mktemp("train-baseline") / "data"


def run_job(folder, data, *options, **variables):
    """The job at debug size in a process of its own, with everything but the dataset under ``folder``."""
    environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | variables
    given = ["--size", "debug", "--storage", str(folder), "--data.folder", str(data)]
    done = subprocess.run(
        [sys.executable, str(JOB), *options, *given],
        capture_output=True, text=True, env=environ, cwd=folder, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.slow
@pytest.mark.ray
def test_a_method_is_trained_with_measurements_and_scored(tmp_path, data, quiet_machine):
    run_job(tmp_path, data, "--method", "rmegan", "--seeing", "measurements")
    folder = tmp_path / "debug-rmegan-measurements"
    found = json.loads((folder / "report/metrics.json").read_text())
    assert list(found["methods"]) == [*LAWS, *INTERPOLATIONS, "RME-GAN-measurements"]
    first, second = (raymap.load(folder / stage / "model") for stage in ("first", "map"))
    assert first.config.reads("sampled") and first.config.weights != second.config.weights


@pytest.mark.ray
def test_a_method_in_a_file_outside_is_trained_and_scored(my_method, tmp_path, data, quiet_machine):
    """Named by a path that means nothing in the folders where Ray's workers run."""
    run_job(tmp_path, data, "--method", "my_method", RAYMAP_METHODS=my_method.name)
    folder = tmp_path / "debug-my_method"
    found = json.loads((folder / "report/metrics.json").read_text())
    assert list(found["methods"]) == [*LAWS, "My method"]
    assert found["methods"]["My method"]["raw"]["all"]["nmse"]["num"] > 0
    assert json.loads((folder / "map/model/run.json").read_text())["model"]["kind"] == "my_method"
