"""metrics.json: shape of the tree, strict JSON, the same from every kind of table, ratio to the better floor."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from raymap.evaluation import metrics, summary
from raymap.evaluation.intervals import clustered_mean

FACTS = {"dataset": "tiny", "split": "test", "commit": "abc", "command": "evaluate", "hardware": "two cores"}


@pytest.fixture(scope="module")
def rows():
    """Two methods and two floors on six maps in three scenes; the last map sees no shadow."""
    rng = np.random.default_rng(0)
    outdoor = rng.random((6, 12, 12)) > 0.2
    true_db = rng.uniform(-140, -50, outdoor.shape)
    seen = rng.random(outdoor.shape) > 0.5
    seen[-1] = True
    noise = rng.normal(0, 1, outdoor.shape)
    found = []
    for name, size_db in (("k2", 2.0), ("unet", 4.0), ("far floor", 20.0), ("near floor", 10.0)):
        scores = metrics.score_maps(np.where(outdoor, true_db + size_db * noise, -147), true_db, outdoor, seen)
        for image, row in enumerate(scores):
            cost = {"latency_ms": 10.0 + image, "maps_per_s": 20.0, "flop": 3e9, "parameters": 7, "network_calls": 4}
            cost = cost if name == "k2" else {}
            if name == "k2":
                row = row | metrics.outline_agreement(noise[[image]], noise[[image]], outdoor[[image]])[0]
            found.append({"method": name, "scene": f"city-{image // 2}", "tx": image % 2} | row | cost)
    return found


def test_the_tree_has_the_promised_shape(rows):
    result = summary.summarise(rows, **FACTS)
    assert {key: result[key] for key in FACTS} == FACTS
    assert (result["num_scenes"], result["num_images"]) == (3, 6)
    assert list(result["methods"]) == ["k2", "unet", "far floor", "near floor"]
    method = result["methods"]["k2"]
    for convention in metrics.CONVENTIONS:
        assert set(method[convention]) == set(metrics.REGIONS)
        for region in metrics.REGIONS:
            assert set(metrics.METRICS) <= set(method[convention][region])
    scenes = [row["scene"] for row in rows if row["method"] == "k2"]
    values = [row["thr02/los/rmse_db"] for row in rows if row["method"] == "k2"]
    assert method["thr02"]["los"]["rmse_db"] == clustered_mean(values, scenes)
    assert method["raw"]["nlos"]["nmse"]["num"] == 5 and method["raw"]["all"]["nmse"]["num"] == 6
    assert method["outline"]["dtc"]["mean"] == 1 and "outline" not in result["methods"]["unet"]
    wanted = {"latency_ms": 12.5, "maps_per_s": 20.0, "peak_memory_mb": None, "flop": 3_000_000_000, "parameters": 7}
    assert {key: method[key] for key in summary.COSTS} == wanted | {"network_calls": 4}
    assert isinstance(method["flop"], int) and isinstance(method["parameters"], int), "counts are whole"
    assert all(result["methods"]["unet"][key] is None for key in summary.COSTS)


def test_rows_from_before_a_cost_was_measured_are_still_summarised(rows):
    older = [{key: value for key, value in row.items() if key not in ("flop", "maps_per_s")} for row in rows]
    method = summary.summarise(older, **FACTS)["methods"]["k2"]
    assert (method["flop"], method["maps_per_s"], method["latency_ms"]) == (None, None, 12.5)


def test_the_file_is_strict_json_and_reads_back_equal(rows, tmp_path):
    perfect = [row | {key: np.inf for key in row if key.endswith("psnr")} for row in rows]
    result = summary.summarise(perfect, **FACTS)
    path = summary.write_metrics(tmp_path / "new" / "folder", result)
    assert path.name == "metrics.json"

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    read = json.loads(path.read_text(), parse_constant=refuse)
    assert read == result
    assert read["methods"]["k2"]["raw"]["all"]["psnr"] == {"mean": None, "low": None, "high": None, "num": 0}


def test_every_kind_of_table_gives_the_same(rows):
    expected = summary.summarise(rows, **FACTS)
    table = pd.DataFrame(rows)
    assert summary.summarise(table, **FACTS) == expected
    assert summary.summarise(pa.Table.from_pandas(table), **FACTS) == expected
    assert summary.summarise(pa.Table.from_pylist(rows, schema=pa.Table.from_pandas(table).schema), **FACTS) == expected


def test_ratio_is_to_the_floor_with_the_lower_error(rows):
    result = summary.ratio_to_better_floor(rows, ["far floor", "near floor"])
    assert result["floor"] == "near floor" and result["floors"] == ["far floor", "near floor"]
    mean = {name: np.mean([row["raw/all/nmse"] for row in rows if row["method"] == name]) for name in result["ratios"]}
    for name, ratio in result["ratios"].items():
        assert ratio["mean"] == pytest.approx(mean[name] / mean["near floor"])
        assert ratio["low"] <= ratio["mean"] <= ratio["high"] and ratio["num"] == 6
    assert result["ratios"]["near floor"]["low"] == 1
    assert result["ratios"]["k2"]["high"] < 0.2 < 1 < result["ratios"]["far floor"]["low"]


def test_bad_inputs_are_named(rows):
    with pytest.raises(ValueError, match="'kriging'"):
        summary.ratio_to_better_floor(rows, ["kriging"])
    with pytest.raises(ValueError, match="no column 'raw/all/mae'"):
        summary.ratio_to_better_floor(rows, ["far floor"], key="raw/all/mae")
    with pytest.raises(ValueError, match="'k2' against floor 'near floor'.*same images"):
        summary.ratio_to_better_floor(rows[1:], ["near floor"])
    with pytest.raises(ValueError, match="scene"):
        summary.summarise([{"method": "k2"}], **FACTS)
    with pytest.raises(ValueError, match="at least one row"):
        summary.summarise([], **FACTS)
