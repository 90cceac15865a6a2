"""What a report of scores shows: the same maps by several methods first, then the maps of each."""

import numpy as np
import pandas as pd
import pytest

from raymap.evaluation import summary
from raymap.runtime import score_report

NAMES = ["net", "net, corrected", "k2", "rmdm", "unet", "theirs"]
LAWS = ["free space", "log-distance"]


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    building_m = np.where(rng.random((4, 16, 16)) < 0.2, 12.0, 0.0)
    return {
        "scene": np.array([f"town-{index}" for index in range(4)], dtype=object), "tx_id": np.arange(4),
        "share": np.linspace(0.05, 0.95, 4), "tx_xyz_m": np.full((4, 3), 20.0), "cell_m": np.full(4, 4.0),
        "building_m": building_m, "vehicle_m": np.zeros((4, 16, 16)), "valid": (building_m == 0).astype(np.uint8),
        "gain_db": rng.uniform(-140, -60, (4, 16, 16)),
    }  # fmt: skip


@pytest.fixture
def rows(examples):
    return pd.DataFrame(
        {"method": name, "scene": scene, "tx_id": tx_id, "raw/all/nmse": 0.1 * (rank + 1) + 0.01 * tx_id,
         "raw/outdoor/rmse_db": 5.0}
        for rank, name in enumerate([*NAMES, *LAWS])
        for scene, tx_id in zip(examples["scene"], examples["tx_id"], strict=True)
    )  # fmt: skip


def write(folder, examples, rows, names):
    """The page's text, and what the comparison was drawn from."""
    maps = {name: examples["gain_db"] + 1 + index for index, name in enumerate([*names, *LAWS])}
    law = score_report.best(rows, LAWS)
    rows = rows[rows["method"].isin([*names, *LAWS])]
    found = summary.summarise(rows, dataset="d", split="s", commit="c", command="x", hardware="h")
    score_report.write(
        folder, found, rows, examples=examples, drawn={name: (maps[name], None) for name in names},
        law=(law, maps[law]), given=["theirs"], measured=False, floors=LAWS, reference=names[0], notes=[],
        attribution="",
    )  # fmt: skip
    return (folder / "report.html").read_text()


@pytest.fixture
def compared(monkeypatch):
    """The items of every comparison that is drawn."""
    seen, draw = [], score_report.comparison_pictures.comparison
    monkeypatch.setattr(
        score_report.comparison_pictures, "comparison", lambda items: seen.append(items) or draw(items)
    )  # fmt: skip
    return seen


def test_the_first_figure_shows_the_same_maps_by_the_models_and_the_best_law(examples, rows, compared, tmp_path):
    html = write(tmp_path, examples, rows, NAMES[:2])
    (items,) = compared
    assert [item["title"].split(",")[0] for item in items] == ["town-0", "town-2", "town-3"]
    assert [list(item["predicted"]) for item in items] == [["net", "net, corrected", "free space"]] * 3
    image, nmse = items[1]["predicted"]["net, corrected"]
    assert nmse == pytest.approx(0.2 + 0.02) and np.array_equal(image, examples["gain_db"][2] + 2)
    titles = ["The same maps by every method.", "Maps by net.", "Maps by net, corrected."]
    places = [html.index(title) for title in titles]
    assert places == sorted(places) and "others follow below" not in html
    kept = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert kept == ["_comparison.png", "net-corrected-one.png", "net-corrected.png", "net-one.png", "net.png"]


def test_with_many_methods_the_comparison_shows_the_first_ones_and_a_law(examples, rows, compared, tmp_path):
    html = write(tmp_path, examples, rows, NAMES)
    assert list(compared[0][0]["predicted"]) == [*NAMES[:5], "free space"]
    assert "The first 5 methods, and the best law; the others follow below." in html and "Maps by theirs." in html
