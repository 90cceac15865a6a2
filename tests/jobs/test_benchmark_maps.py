"""What maps cost is measured per map and core, and scaled to a million maps by hand-checked arithmetic."""

import json

import pytest


@pytest.fixture(scope="module")
def job(load_job):
    return load_job("benchmark_maps")


def test_a_million_maps_cost_what_arithmetic_says(job):
    """0.36 s are 100 core-hours a million; 64 cores for 24 h are 1536 core-hours."""
    assert job.million({"seconds": 0.36, "bytes": 150_000}) == pytest.approx(
        {"core_hours": 100.0, "gigabytes": 150.0, "nodes": 1}
    )
    assert job.million({"seconds": 5.5296, "bytes": 2e6})["nodes"] == 1  # exactly one node for a day
    assert job.million({"seconds": 5.53, "bytes": 2e6})["nodes"] == 2
    assert job.million({"seconds": 72.0, "bytes": 2e6}) == pytest.approx(
        {"core_hours": 20_000.0, "gigabytes": 2000.0, "nodes": 14}
    )


def test_rates_and_sizes_are_measured(job, tmp_path, capsys):
    out = tmp_path / "rates.json"
    argv = [
        "--kinds",
        "[srm]",
        "--sizes",
        "[32]",
        "--num_scenes",
        "1",
        "--workers",
        "[]",
        "--traced_rays",
        "0",
        "--out",
        str(out),
    ]
    found = job.main(argv)
    (row,) = found["rates"]
    assert (row["kind"], row["size"]) == ("srm", 32) and 0 < row["seconds"] < 10
    assert row["maps_per_s"] == pytest.approx(1 / row["seconds"])
    assert 1000 < row["bytes"] < 32 * 32 * 16  # less than its rasters take uncompressed
    assert found["workers_s"] == {} and json.loads(out.read_text()) == found
    assert found["million"]["srm"] == {**job.million(row), "size": 32}
    assert "| srm | 32² |" in capsys.readouterr().out
