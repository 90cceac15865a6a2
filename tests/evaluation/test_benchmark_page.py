import json

import pandas as pd
import pytest

from raymap.evaluation import benchmark_page


def rows(method, nmse, seed=0, scenes=("a", "b", "c"), **extra):
    """One training's scores: two maps per scene, ``nmse`` growing a little from scene to scene."""
    return [
        {
            "method": method, "scene": scene, "tx_id": tx_id, "seed": seed, "minutes": 12.0, "latency_ms": 5.0,
            "peak_memory_mb": 1.0, "parameters": 2_000_000, "network_calls": 3,
            "raw/all/nmse": nmse * (1 + 0.1 * index),
            "raw/all/rmse_db": 4.0, "raw/all/ssim": 0.9, "raw/all/psnr": 25.0, **extra,
        }
        for index, scene in enumerate(scenes)
        for tx_id in (0, 1)
    ]  # fmt: skip


def write(path, *trainings, study="methods", reference="base"):
    table = {
        "study": study, "kind": "srm", "split": "test", "dataset": "towns abc", "reference": reference,
        "rows": pd.DataFrame([row for training in trainings for row in training]),
    }  # fmt: skip
    return benchmark_page.write(
        path / "page.md", [table], size="small", commit="abc", hardware="two cores", command="python x"
    )


def test_ratios_are_paired_with_the_reference(tmp_path):
    found = write(tmp_path, rows("base", 0.04), rows("half", 0.02))
    methods = found["tables"][0]["methods"]
    assert methods["base"]["to_reference"]["mean"] == pytest.approx(1.0)
    ratio = methods["half"]["to_reference"]
    # Every map has exactly half of the error: there is no spread between scenes.
    assert ratio["mean"] == pytest.approx(0.5) and ratio["high"] - ratio["low"] == pytest.approx(0.0, abs=1e-9)


def test_seeds_are_one_row_with_their_mean(tmp_path):
    found = write(tmp_path, rows("base", 0.04), rows("ours", 0.01, seed=0), rows("ours", 0.03, seed=1))
    scores = found["tables"][0]["methods"]["ours"]
    assert scores["num_seeds"] == 2 and scores["raw"]["all"]["nmse"]["num"] == 12
    assert scores["to_reference"]["mean"] == pytest.approx(0.5)
    assert (tmp_path / "page.md").read_text().count("| ours |") == 1


def test_without_the_reference_there_is_no_ratio(tmp_path):
    found = write(tmp_path, rows("ours", 0.02))
    assert found["tables"][0]["methods"]["ours"]["to_reference"] is None
    assert "| – |" in (tmp_path / "page.md").read_text()


def test_the_file_holds_what_is_returned_and_the_page_says_it(tmp_path):
    found = write(tmp_path, rows("base", 0.04, **{"outline/dtc": 0.9, "outline/dtiou": 0.8}), study="outline")
    assert json.loads((tmp_path / "page.json").read_text()) == found
    page = (tmp_path / "page.md").read_text()
    assert "## Which outline helps: static maps, San Francisco" in page and "python x" in page
    line = next(line for line in page.splitlines() if line.startswith("| base |"))
    assert "0.0440" in line and "4.00 dB" in line and "| 0.90 | 0.80 |" in line and "2.0 M" in line and "12 min" in line


def test_outline_columns_only_where_outlines_are_scored(tmp_path):
    write(tmp_path, rows("base", 0.04))
    assert "DTC" not in (tmp_path / "page.md").read_text()
