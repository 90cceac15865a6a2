"""The page of paths: its numbers are those of its file, the paper's stand apart, and gaps are dashes."""

import json

import numpy as np
import pandas as pd
import pytest

from raymap.data.path_table import UNKNOWN_KIND, PathTable
from raymap.evaluation import path_metrics, paths_page, published_paths

METHODS = {"PINN-GNN": 1.0, "Kriging": 3.0}
ABOUT = {"commit": "abc", "hardware": "two cores", "command": "python jobs/train_pinn_gnn.py"}


def table(num=30, num_paths=2):
    rng = np.random.default_rng(0)
    shape = (num, num_paths)
    valid = np.ones(shape, bool)
    valid[::4, -1] = False
    return PathTable(
        rng.uniform(0, 50, (num, 3)), np.zeros(3), 3.5e9, -np.sort(rng.uniform(60, 90, shape)),
        rng.uniform(1e-7, 5e-7, shape), rng.uniform(1, 2, shape), rng.uniform(-3, 3, shape),
        np.full(shape, UNKNOWN_KIND), valid,
    )  # fmt: skip


def told(true, size, seed):
    values = true.values + np.random.default_rng(seed).normal(0, size, true.values.shape) * [1.0, 1e-9, 0.02, 0.05]
    return PathTable.from_values(true, true.receivers_m, values)


def found(rates=(0.05, 0.1), num_draws=3, with_example=False, **more):
    true = table()
    runs = pd.DataFrame(
        {"rate": rate, "method": name, "seed": seed, "fit_s": 10 * size, "peak_memory_mb": 100.0}
        | path_metrics.scores(true, told(true, size * (0.1 / rate), 10 * seed + int(size)))
        for rate in rates
        for name, size in METHODS.items()
        for seed in range(num_draws)
    )
    scene = {"about": "A room.", "paper": "S1", "runs": runs} | more
    if with_example:
        predicted = {name: told(true, size, 1) for name, size in METHODS.items()}
        scene["example"] = {"rate": 0.1, "true": true, "predicted": predicted}
    return {"reference": "Kriging", "scenes": {"room": scene}}


def section(page, title):
    """Rows of the table below a heading: cells by their first."""
    lines = page.split(f"{title}\n", 1)[1].strip().splitlines()
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[0], rows[2:]


def test_the_page_tells_the_numbers_of_the_file(tmp_path):
    page = tmp_path / "docs" / "paths.md"
    returned = paths_page.write(page, found(), **ABOUT)
    kept = json.loads(page.with_suffix(".json").read_text())
    assert kept == returned and kept["command"] in page.read_text() and kept["commit"] in page.read_text()
    rates = kept["scenes"]["room"]["rates"]
    for rate, title in (("0.05", "### 5 % measured"), ("0.1", "### 10 % measured")):
        head, rows = section(page.read_text(), title)
        assert head[1:3] == ["mixed MSE", "÷ Kriging"] and [row[0] for row in rows] == [*METHODS]
        for row in rows:
            part = rates[rate][row[0]]
            mse, azimuth = part["scores"]["all/mixed/mse"], part["scores"]["path1/azimuth/p90"]
            assert row[1] == f"{mse['mean']:.1f} ({mse['low']:.1f}–{mse['high']:.1f})"
            assert row[10] == f"{azimuth['mean']:.2f} ({azimuth['low']:.2f}–{azimuth['high']:.2f})"
            assert row[-1] == "3"
        ratio = rates[rate]["PINN-GNN"]["ratios"]["all/mixed/mse"]
        assert rows[0][2] == f"{ratio['mean']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})" and rows[1][2] == "1"


def test_rates_parameters_paths_and_costs_have_their_tables(tmp_path):
    page = tmp_path / "paths.md"
    rates = paths_page.write(page, found(), **ABOUT)["scenes"]["room"]["rates"]
    text = page.read_text()
    head, rows = section(text, "### Mixed MSE by share measured")
    assert head == ["method", "5 %", "10 %"]
    assert rows[0][2].startswith(f"{rates['0.1']['PINN-GNN']['scores']['all/mixed/mse']['mean']:.1f} (")
    head, rows = section(text, "### Each parameter, all paths")
    assert head[2] == "power: RMSE [dB]" and len(rows) == 4
    assert rows[0][2].startswith(f"{rates['0.05']['PINN-GNN']['scores']['all/power/rmse']['mean']:.2f} (")
    assert section(text, "### Which paths there are")[1][0][2:] == ["0.00 %"] * 3
    head, rows = section(text, "### Time and memory")
    assert head == ["measured", "method", "training [s]", "most memory [MB]"] and rows[1] == [
        "5 %",
        "Kriging",
        "30.0",
        "100",
    ]


def test_the_paper_stands_beside_and_its_ratios_are_its_own(tmp_path):
    page = tmp_path / "paths.md"
    rates = paths_page.write(page, found(), **ABOUT)["scenes"]["room"]["rates"]
    head, rows = section(page.read_text(), "**Table II, methods at 10 %**")
    assert head[2] == "paper, its own data: MSE" and head[6] == "here: MSE"
    by_name = {row[1]: row for row in rows}
    assert by_name["PINN-GNN"][2:6] == ["82.72", "0.52", "9.10", "0.0181"]  # 48.0 % below Kriging, as the paper says
    assert by_name["PINN-GNN"][7].startswith(f"{rates['0.1']['PINN-GNN']['ratios']['all/mixed/mse']['mean']:.2f} (")
    assert by_name["Separate"][6:] == ["–"] * 4  # not run here
    _, rows = section(page.read_text(), "**Table I, PINN-GNN at every sampling rate**")
    assert [row[2] for row in rows] == ["121.76", "82.72", "73.87", "66.10"] and rows[3][6] == "–"
    means = [rates[rate]["PINN-GNN"]["scores"]["all/mixed/mse"]["mean"] for rate in ("0.05", "0.1")]
    assert rows[1][7] == f"{means[1] / means[0]:.2f}"


def test_what_the_paper_prints_agrees_with_itself():
    for printed in (*published_paths.RATES.values(), *published_paths.METHODS.values()):
        for mse, rmse, _ in printed.values():
            assert rmse == pytest.approx(np.sqrt(mse), rel=1e-3)
    for scene, less in (("S1", 48.0), ("S2", 62.7)):
        ours, kriging = (published_paths.METHODS[name][scene][0] for name in ("PINN-GNN", "Kriging"))
        assert 100 * (1 - ours / kriging) == pytest.approx(less, abs=0.05)


def test_methods_may_be_written_as_in_commands():
    runs = found()["scenes"]["room"]["runs"].replace({"PINN-GNN": "pinn_gnn", "Kriging": "kriging"})
    rates = path_metrics.summarise(runs.assign(scene="room"), "kriging")["room"]
    lines = published_paths.lines({"room": {"paper": "S1", "rates": rates}}, "kriging")
    assert "| – |" not in next(line for line in lines if "| PINN-GNN |" in line)


def test_pictures_are_kept_and_shown(tmp_path):
    page = tmp_path / "paths.md"
    drawn = paths_page.write(page, found(with_example=True), **ABOUT)
    files = [drawn["pictures"]["rates"], *drawn["scenes"]["room"]["pictures"]["files"].values()]
    assert len(files) == 4 == len(set(files))
    for name in files:
        assert f"]({name})" in page.read_text() and (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert drawn["scenes"]["room"]["pictures"]["method"] == "PINN-GNN"


def test_the_receivers_that_are_shown_are_the_median_and_a_hard_one():
    true = table(num=11)
    power_db = true.power_db - np.arange(11)[:, None]
    assert paths_page._shown(true, PathTable(**(vars(true) | {"power_db": power_db}))) == [5, 9]


def test_one_draw_has_no_interval_and_no_reference_no_ratio(tmp_path):
    page = tmp_path / "paths.md"
    paths_page.write(page, found(num_draws=1, paper=None) | {"reference": None}, **ABOUT)
    _, rows = section(page.read_text(), "### 10 % measured")
    assert "(" not in rows[0][1] and rows[0][2] == "–" and "What the paper reports" not in page.read_text()


def test_pages_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(ValueError, match="at least one scene"):
        paths_page.write(tmp_path / "paths.md", {"scenes": {}}, **ABOUT)
    with pytest.raises(ValueError, match="'S1' and 'S2', got .*S3"):
        paths_page.write(tmp_path / "paths.md", found(paper="S3"), **ABOUT)
    assert not [*tmp_path.iterdir()]


def test_draws_of_an_earlier_page_stay_where_the_data_are_the_same(tmp_path):
    page, whole = tmp_path / "paths.md", found(data="f00d", with_example=True)
    first = paths_page.write(page, whole, **ABOUT)["scenes"]["room"]
    runs = whole["scenes"]["room"]["runs"]
    fewer = runs[(runs["method"] == "PINN-GNN") & (runs["rate"] == 0.1) & (runs["seed"] == 1)]
    better = fewer.assign(**{"all/mixed/mse": 0.001})
    again = {"reference": None, "scenes": {"room": {"about": "A room.", "paper": "S1", "data": "f00d", "runs": better}}}
    later = {**ABOUT, "commit": "def"}
    second = paths_page.write(page, again, **later)["scenes"]["room"]
    drawn = [row[second["draws"]["columns"].index("commit")] for row in second["draws"]["data"]]
    assert sorted(drawn) == ["abc"] * (len(runs) - 1) + ["def"]
    assert second["rates"]["0.05"] == first["rates"]["0.05"]
    old, new = (scene["rates"]["0.1"]["PINN-GNN"]["scores"]["all/mixed/mse"] for scene in (first, second))
    assert 0 < new["mean"] < old["mean"] and new["num"] == 3
    assert second["rates"]["0.1"]["PINN-GNN"]["ratios"]["all/mixed/mse"]["mean"] > 0
    assert "| Kriging † |" in page.read_text() and "† Draws of earlier commits" in page.read_text()
    assert "†" not in paths_page.write(tmp_path / "other.md", whole, **ABOUT)["command"]
    other = {**again["scenes"]["room"], "data": "beef"}
    changed = paths_page.write(page, {"reference": None, "scenes": {"room": other}}, **later)["scenes"]["room"]
    assert len(changed["draws"]["data"]) == 1


def test_a_scene_that_is_not_in_the_study_stays_with_its_pictures(tmp_path):
    page = tmp_path / "paths.md"
    first = paths_page.write(page, found(data="f00d", with_example=True), **ABOUT)["scenes"]["room"]
    street = found(data="beef")["scenes"]["room"] | {"paper": "S2"}
    both = paths_page.write(page, {"reference": "Kriging", "scenes": {"street": street}}, **ABOUT)["scenes"]
    assert list(both) == ["room", "street"] and both["room"] == first
    assert first["pictures"]["files"]["maps"] in page.read_text()
    lines = page.with_suffix(".json").read_text().splitlines()
    assert sum("PINN-GNN" in line and "abc" in line for line in lines) == 12  # a line for every draw
