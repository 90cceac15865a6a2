import json

import numpy as np
import pandas as pd
import pytest

from raymap.evaluation import benchmark_page, summary

SCENES = ("a", "b", "c")


def rows(method, nmse, seed=0, scenes=SCENES, **extra):
    """One training's scores: two maps per scene, ``nmse`` growing a little from scene to scene."""
    return [
        {
            "method": method, "scene": scene, "tx_id": tx_id, "seed": seed, "minutes": 12.0, "latency_ms": 5.0,
            "peak_memory_mb": 1.0, "parameters": 2_000_000, "network_calls": 3, "flop": 4.2e9,
            "raw/all/nmse": nmse * (1 + 0.1 * index),
            "raw/all/rmse_db": 4.0, "raw/all/ssim": 0.9, "raw/all/psnr": 25.0, **extra,
        }
        for index, scene in enumerate(scenes)
        for tx_id in (0, 1)
    ]  # fmt: skip


def table(*trainings, study="methods", split="test", reference="base", **more):
    """One table as the page takes it."""
    return {
        "study": study, "kind": "srm", "split": split, "dataset": "towns abc", "reference": reference,
        "rows": pd.DataFrame([row for training in trainings for row in training]), **more,
    }  # fmt: skip


def write_all(path, *tables, **more):
    about = {"size": "small", "commit": "abc", "hardware": "two cores", "command": "python x", "outline_rule": (0.5, 1)}
    return benchmark_page.write(path / "page.md", tables, **{**about, **more})


def write(path, *trainings, **more):
    return write_all(path, table(*trainings, **more))


def examples(seed=0, shape=(64, 64), tx_id=(0, 1)):
    """Noise instead of maps, which no picture file can shrink: two maps of the first scenes."""
    rng = np.random.default_rng(seed)
    building_m = np.where(np.random.default_rng(9).random((2, *shape)) > 0.7, 12.0, 0.0)
    return {
        "scene": np.array(SCENES[:2]), "tx_id": np.array(tx_id), "cell_m": np.full(2, 4.0),
        "tx_xyz_m": np.array([[9.0, 17.0, 1.5]] * 2), "building_m": building_m, "vehicle_m": np.zeros_like(building_m),
        "outdoor": building_m == 0, "true_db": np.full((2, *shape), -90.0),
        "predicted_db": rng.uniform(-147, -47, (2, *shape)),
    }  # fmt: skip


def test_ratios_are_paired_with_the_reference(tmp_path):
    found = write(tmp_path, rows("base", 0.04), rows("half", 0.02))
    methods = found["tables"][0]["methods"]
    assert methods["base"]["to_reference"]["mean"] == pytest.approx(1.0)
    ratio = methods["half"]["to_reference"]
    # Every map has exactly half of the error: there is no spread between scenes.
    assert ratio["mean"] == pytest.approx(0.5) and ratio["high"] - ratio["low"] == pytest.approx(0.0, abs=1e-9)


def test_a_difference_in_every_scene_is_no_chance_and_none_is(tmp_path):
    many = [f"town {number}" for number in range(12)]
    base = rows("base", 0.04, scenes=many)
    same = [row | {"method": "same"} for row in base]
    found = write(tmp_path, base, rows("half", 0.02, scenes=many), same)
    methods = found["tables"][0]["methods"]
    # All of 12 scenes on one side, twice corrected: 2 · 2 / 2^12.
    assert methods["half"]["p_holm"] == pytest.approx(2 * 2 / 2**12)
    assert methods["same"]["p_holm"] == 1 and methods["base"]["p_holm"] is None
    lines = {line.split(" | ")[0]: line for line in (tmp_path / "page.md").read_text().splitlines()}
    assert "| < 0.001 |" in lines["| half"] and "| 1.000 |" in lines["| same"] and ") | – |" in lines["| base"]


def test_two_methods_are_compared_directly_where_asked(tmp_path):
    many = [f"town {number}" for number in range(12)]
    parts = [rows("base", 0.04, scenes=many), rows("ours", 0.02, scenes=many), rows("theirs", 0.025, scenes=many)]
    found = write(tmp_path, *parts, duel=("ours", "theirs"))["tables"][0]["duel"]
    assert (found["num_lower"], found["num_higher"], found["num_scenes"]) == (12, 0, 12)
    assert found["to_other"]["mean"] == pytest.approx(0.8) and found["p"] == pytest.approx(2 / 2**12)
    said = "ours against theirs: 0.80 (0.80–0.80) of its NMSE; less error in 12 and more in 0 of 12 scenes, p < 0.001."
    assert said in (tmp_path / "page.md").read_text()
    assert write(tmp_path, *parts[:2], duel=("ours", "theirs"))["tables"][0]["duel"] is None


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
    assert "## Which outline helps: static maps\n" in page and "### San Francisco" in page and "    python x\n" in page
    line = next(line for line in page.splitlines() if line.startswith("| base |"))
    assert "0.0440" in line and "4.00 dB" in line and "| 0.90 | 0.80 |" in line and "| 2 M |" in line


def test_times_are_told_where_methods_are_compared_and_not_in_studies(tmp_path):
    for study, told in (("methods", True), ("outline", False)):
        write(tmp_path / study, rows("base", 0.04), study=study)
        page = (tmp_path / study / "page.md").read_text()
        line = next(line for line in page.splitlines() if line.startswith("| base |"))
        assert ("12 min" in line) == ("| trained |" in page) == ("| ms per map |" in page) == told
        assert ("| 4.20 |" in line) == told


def test_outline_columns_only_where_outlines_are_scored(tmp_path):
    write(tmp_path, rows("base", 0.04))
    assert "| DTC |" not in (tmp_path / "page.md").read_text()


def test_tables_are_what_summarise_writes_and_more(tmp_path):
    scores = table(rows("base", 0.04), rows("ours", 0.02), rows("ours", 0.03, seed=1))
    found = write_all(tmp_path, scores)["tables"][0]
    plain = summary.summarise(
        scores["rows"], dataset="towns abc", split="test", commit="abc", command="python x", hardware="two cores"
    )
    methods = {name: {key: found["methods"][name][key] for key in kept} for name, kept in plain["methods"].items()}
    assert {key: found[key] for key in plain} | {"methods": methods} == plain
    assert found["num_images"] == 12 and found["num_maps"] == 6  # ours twice
    assert "6 maps of 3 scenes" in (tmp_path / "page.md").read_text()


def test_the_first_lines_name_the_best_method_of_every_split(tmp_path):
    trained = {name: [{"name": f"srm-{name}-0", "commits": ["1a"]}] for name in ("base", "ours")}
    test = table(rows("base", 0.04), rows("ours", 0.02), trained=trained)
    generated = table(rows("base", 0.01), rows("ours", 0.03), split="test_generated", trained=trained)
    write_all(tmp_path, test, generated, num_planned=9)
    short = (tmp_path / "page.md").read_text().partition("Written by")[0].splitlines()
    assert "2 of 9 trainings are scored." in short
    best = [line for line in short if line.startswith("| Methods | static maps")]
    assert "San Francisco | **ours** | 0.0220" in best[0] and "| 0.50 (" in best[0] and "| base | 0.0440" in best[0]
    assert "generated towns | **base** | 0.0110" in best[1] and "| 1.00 (" in best[1]


def test_how_outlines_are_compared_is_said(tmp_path):
    found = write_all(tmp_path, table(rows("base", 0.04)), outline_rule=(0.4, 2))
    page = (tmp_path / "page.md").read_text()
    assert found["outline_rule"] == {"threshold": 0.4, "tolerance_cells": 2}
    assert "cut at 0.4" in page and "2 cells:" in page


def png_size(path):
    """(width, height) of a PNG file."""
    png = path.read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def test_pictures_lie_beside_the_page_and_are_linked(tmp_path):
    names = ("base", "law", "ours")
    both = [
        table(
            *(rows(name, 0.04) for name in names), split=split, examples={n: examples(i) for i, n in enumerate(names)}
        )
        for split in ("test", "test_generated")
    ]
    found, page = write_all(tmp_path, *both), (tmp_path / "page.md").read_text()
    for numbers in found["tables"]:
        maps = f"page/methods-srm-{numbers['split']}.png"
        assert numbers["pictures"] == {"maps": maps, "intervals": "page/methods-srm.png"}
        assert page.count(f"]({maps})") == 1 and page.count("](page/methods-srm.png)") == 1
        for path in (tmp_path / name for name in numbers["pictures"].values()):
            assert png_size(path)[0] == 1400 and path.stat().st_size < 500_000
    assert 1500 < png_size(tmp_path / "page/methods-srm-test.png")[1] < 2500


def test_without_examples_there_is_no_picture_of_maps(tmp_path):
    assert list(write(tmp_path, rows("base", 0.04))["tables"][0]["pictures"]) == ["intervals"]
    assert [path.name for path in (tmp_path / "page").iterdir()] == ["methods-srm.png"]


def test_methods_are_compared_on_the_same_maps_only(tmp_path):
    shown = {"base": examples(), "ours": examples(tx_id=(0, 0))}
    with pytest.raises(ValueError, match="the maps of 'ours' are not those of 'base'"):
        write(tmp_path, rows("base", 0.04), rows("ours", 0.02), examples=shown)


def test_the_code_of_every_training_is_named(tmp_path):
    trained = {
        "base": [{"name": "srm-base-0", "commits": ["1a"]}],
        "ours": [{"name": "srm-ours-0", "commits": ["1a", "2b+"]}, {"name": "srm-ours-1", "commits": []}],
    }
    found = write(tmp_path, rows("base", 0.04), rows("ours", 0.02), trained=trained)
    methods = found["tables"][0]["methods"]
    assert methods["ours"]["trainings"] == trained["ours"] and methods["ours"]["commits"] == ["1a", "2b+"]
    page = (tmp_path / "page.md").read_text()
    assert "| 1a | srm-base-0 |" in page and "| 1a, 2b+ | srm-ours-0 |" in page and "| not known | srm-ours-1 |" in page
    assert "    python x --only '^srm-base-0$'" in page


@pytest.mark.parametrize(("num", "said"), [(5, "5"), (11_137, "11.1 k"), (6_710_000, "6.71 M")])
def test_numbers_of_weights_are_said_in_three_digits(tmp_path, num, said):
    write(tmp_path, rows("base", 0.04, parameters=num))
    assert f"| {said} |" in (tmp_path / "page.md").read_text()


def test_the_paper_stands_beside_what_is_measured(tmp_path):
    both = {"outline/dtc": 0.91, "outline/dtiou": 0.83}
    ours = rows("RadioDiff-k²", 0.01, **both)
    matrix = [table(rows("RadioDiff", 0.04), ours, study="matrix", split=split) for split in ("test", "test_generated")]
    study = table(rows("outline canny", 0.03), study="outline")
    write_all(tmp_path, *matrix, study)
    page = (tmp_path / "page.md").read_text()
    assert page.count("## What the paper reports") == 1
    beside = page.partition("## What the paper reports")[2]
    assert "| static | RadioDiff-k² | 0.0043 | 0.60 | 0.0193 | 0.977 | 34.5 | 0.0110 | 0.25 | 0.0400 |" in beside
    assert "| static | 0.97 | 0.90 | 0.91 | 0.83 |" in beside
    assert "| Canny | 0.0414 | outline canny | 0.0330 |" in beside
    assert "multipath" not in beside and "RME-GAN" not in beside, "nothing is measured there"


def test_receivers_that_were_located_stand_beside_the_paper_s(tmp_path):
    points = pd.DataFrame(
        {"method": name, "scene": scene, "line_of_sight": seen, "error_m": error_m}
        for name, error_m in (("RadioUNet", 20.0), ("true maps", 4.0))
        for scene in SCENES
        for seen in (True, False)
    )
    rule = {"num_transmitters": 5, "noise_db": 1.0}
    found = write_all(tmp_path, table(rows("base", 0.04)), located={"drm": points}, localization_rule=rule)
    assert found["localization"]["rule"] == rule and json.loads((tmp_path / "page.json").read_text()) == found
    page = (tmp_path / "page.md").read_text()
    assert "here each hears 5 transmitters, 1 dB off" in page
    assert "| vehicles | RadioUNet | 9.86 m | 20.0 (20.0–20.0) | 20.0 | 20.0 | 20.0 | 20.0 |" in page
    assert "| vehicles | true maps | – | 4.0" in page


def test_without_the_matrix_the_paper_is_not_quoted(tmp_path):
    write(tmp_path, rows("base", 0.04))
    assert "What the paper reports" not in (tmp_path / "page.md").read_text()


def test_the_residual_is_told_where_rmdm_is_taken_apart(tmp_path):
    for study, told in (("rmdm", True), ("methods", False)):
        write(tmp_path / study, rows("base", 0.04, **{"helmholtz/residual": 0.0123}), study=study)
        page = (tmp_path / study / "page.md").read_text()
        assert ("| residual |" in page) == ("| 0.0123 |" in page) == told


def test_a_page_keeps_the_rows_that_it_had(tmp_path):
    trained = {"base": [{"name": "srm-base-0", "commits": ["1a"]}], "ours": [{"name": "srm-ours-0", "commits": ["2b"]}]}
    write(tmp_path, rows("base", 0.04), trained=trained)
    first = (tmp_path / "page.md").read_text()
    found = write_all(
        tmp_path,
        table(rows("ours", 0.02), trained=trained),
        table(rows("ours", 0.02), study="outline", trained=trained),
        num_planned=5,
    )
    assert list(found["tables"][0]["methods"]) == ["base", "ours"] and found["trainings_scored"] == 2
    page = (tmp_path / "page.md").read_text()
    kept = next(line for line in first.splitlines() if line.startswith("| base |"))
    assert kept in page.splitlines()
    assert "whose trainings are not where this one was written: srm-base-0." in page
    assert "| 1a | srm-base-0 |" in page and "| 2b | srm-ours-0 |" in page


def test_kept_rows_are_compared_with_new_ones_map_by_map(tmp_path):
    base, ours = rows("base", 0.04), rows("ours", 0.02)
    together = write(tmp_path / "together", base, ours)["tables"][0]["methods"]
    write(tmp_path, base)
    methods = write(tmp_path, ours)["tables"][0]["methods"]
    assert methods["base"]["kept"]
    for name in ("base", "ours"):
        for key in ("to_reference", "p_holm"):
            assert methods[name][key] == together[name][key]
