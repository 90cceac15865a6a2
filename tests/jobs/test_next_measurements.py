"""The command that tells where to measure next: a table of places in their order, its picture, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from raymap.data import path_file
from raymap.data.path_table import PathTable

COLUMNS = [
    "x_m", "y_m", "z_m", "power_error_db", "delay_error_ns", "zenith_error_deg", "azimuth_error_deg",
]  # fmt: skip


@pytest.fixture
def job(load_job):
    return load_job("next_measurements")


@pytest.fixture
def measured(tmp_path):
    """Two paths at 80 places of 40 m x 40 m, in disorder where x > 30 m."""
    rng = np.random.default_rng(0)
    receivers_m = np.pad(rng.uniform(0, 40, (80, 2)), [(0, 0), (0, 1)], constant_values=1.5)
    noise = rng.normal(0, 1, (80, 2, 4)) * np.where(receivers_m[:, 0] > 30, 1.0, 0.01)[:, None, None]
    values = np.array([[-70, 3e-7, 1.2, 3.1], [-90, 6e-7, 1.5, 0.4]]) + noise * [3.0, 2e-8, 0.1, 0.2]
    like = PathTable(
        receivers_m, np.array([20.0, 20, 25]), 3.5e9, *np.zeros((5, 80, 2)), valid=np.ones((80, 2), bool)
    )  # fmt: skip
    path_file.write(tmp_path / "walk.parquet", PathTable.from_values(like, receivers_m, values))
    return str(tmp_path / "walk.parquet")


def test_places_on_a_grid_are_told_in_their_order(job, measured, tmp_path, capsys):
    out = tmp_path / "deep" / "next.csv"
    found = job.main(
        ["--measured", measured, "--grid_m", "2", "--num", "9", "--method", "nearest", "--out", str(out)]
    )  # fmt: skip
    written = pd.read_csv(out)
    assert [*written] == COLUMNS and len(written) == 9 and np.allclose(written, found, atol=1e-3)
    assert (written["z_m"] == 1.5).all() and not written.duplicated(["x_m", "y_m"]).any()
    assert (written["x_m"] > 25).sum() >= 6 and (written[COLUMNS[3:]] > 0).all(axis=None)
    assert imread(out.with_suffix(".png")).shape[0] > 500
    told = capsys.readouterr().out
    assert "9 of 441 places, by Nearest receiver from 80 measured ones" in told and "power_error_db" in told


def test_its_table_can_be_measured_and_asked_for_again(job, measured, tmp_path):
    first, second = (tmp_path / f"{name}.csv" for name in ("first", "second"))
    asked = ["--measured", measured, "--method", "nearest"]
    job.main([*asked, "--grid_m", "5", "--num", "30", "--out", str(first)])
    found = job.main([*asked, "--candidates", str(first), "--num", "4", "--columns.transmitter_m", "[20,20,25]",
                      "--columns.frequency_hz", "3.5e9", "--out", str(second)])  # fmt: skip
    places_m, candidates_m = found[COLUMNS[:3]].to_numpy(), path_file.positions(first)
    assert len(candidates_m) == 30 and np.abs(places_m[:, None] - candidates_m).sum(-1).min(1).max() < 1e-3


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        (["--grid_m", "5"], SystemExit, "--model"),
        (["--method", "nearest"], SystemExit, "--candidates FILE or FOLDER, or --grid_m"),
        (["--method", "nearest", "--grid_m", "5", "--out", "next.json"], SystemExit, "--out is a .csv file"),
        (["--method", "pinn_gnn", "--grid_m", "5"], ValueError, "'pinn_gnn' learns"),
        (["--method", "nearest", "--grid_m", "20", "--num", "99"], ValueError, "num must lie in 1 to .*got 99"),
    ],
)
def test_what_is_missing_or_wrong_is_told(job, measured, tmp_path, words, error, told):
    with pytest.raises(error, match=told):
        job.main(["--measured", measured, "--out", str(tmp_path / "next.csv"), *words])
    assert not (tmp_path / "next.csv").exists()
