import numpy as np
import pytest

from raymap.data import path_file
from raymap.data.path_table import line_of_sight


@pytest.fixture
def job(load_job):
    return load_job("train_pinn_gnn")


def square(path, num=120):
    """Line of sight alone on an open square, at random places, as a table of measurements."""
    receivers_m = np.pad(np.random.default_rng(0).uniform(0, 100, (num, 2)), [(0, 0), (0, 1)])
    path_file.write(path, line_of_sight(receivers_m, (50.0, 50.0, 20.0), 3.5e9))
    return path


def test_methods_are_trained_side_by_side_scored_and_written_once(job, tmp_path, ray_local, capsys):
    arguments = [
        "--data", f"square={square(tmp_path / 'square.csv')}", "--rate", "0.2,0.4", "--seeds", "1", "--num_paths", "1",
        "--methods", "published,nearest,virtual_sources", "--size", "debug", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    found = job.main(arguments)
    rates = found["scenes"]["square"]["rates"]
    assert list(rates) == ["0.2", "0.4"]
    for methods in rates.values():
        assert list(methods) == ["PINN-GNN as published", "Nearest receiver", "Virtual sources"]
        mse = {name: part["scores"]["all/mixed/mse"]["mean"] for name, part in methods.items()}
        # The direct path comes from one place, whoever sees it.
        assert mse["Virtual sources"] < 1e-3 < mse["Nearest receiver"]
    assert (tmp_path / "out/square/0.2/0/published/model/model.safetensors").is_file()
    assert "| Nearest receiver |" in (tmp_path / "out/metrics.md").read_text()
    capsys.readouterr()
    assert job.main(arguments) == found | {"commit": found["commit"]}
    assert "6 trials of 1 scenes, 0 to run" in capsys.readouterr().out


def test_nothing_to_complete_is_said(job):
    with pytest.raises(SystemExit, match="--data names"):
        job.main([])
