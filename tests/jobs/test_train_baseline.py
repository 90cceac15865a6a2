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


@pytest.mark.ray
def test_a_method_is_trained_with_measurements_and_scored(tmp_path, quiet_machine):
    environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = ["--method", "rmegan", "--seeing", "measurements", "--size", "debug", "--storage", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(JOB), *command, "--data.folder", str(tmp_path / "data")],
        capture_output=True, text=True, env=environ, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    folder = tmp_path / "debug-rmegan-measurements"
    found = json.loads((folder / "report/metrics.json").read_text())
    assert list(found["methods"]) == [*LAWS, *INTERPOLATIONS, "RME-GAN-measurements"]
    first, second = (raymap.load(folder / stage / "model") for stage in ("first", "map"))
    assert first.config.reads("sampled") and first.config.weights != second.config.weights
