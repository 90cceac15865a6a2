"""The page of a localization: scores that exist are told, those that do not are a dash."""

import numpy as np
import pandas as pd
import pytest

from raymap.evaluation import charts, localization, localization_page
from raymap.evaluation.localization import TRUE_MAPS


def points(scenes=("a", "b", "c"), seen=0.5):
    rng = np.random.default_rng(0)
    methods = {"costs $5 and $6": 9.0, TRUE_MAPS: 3.0}
    return pd.DataFrame(
        {"method": name, "scene": scene, "line_of_sight": rng.random() < seen, "error_m": rng.exponential(mean_m)}
        for name, mean_m in methods.items()
        for scene in np.repeat(scenes, 40)
    )


def found(rows):
    return {
        "dataset": "towns (1234)", "split": "test", "commit": "abc", "command": "python jobs/localize.py",
        "hardware": "two cores", "laws_fitted_on": "split 'train' of towns", "cell_m": 4.0, "num_transmitters": 8,
        "num_points": 40, "noise_db": 1.0, "num_neighbours": 5, "floor_db": -127.0,
        "methods": {name: localization.summarise(part) for name, part in rows.groupby("method", sort=False)},
    }  # fmt: skip


def cells(page, name):
    line = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_table_has_every_score_with_its_interval(tmp_path):
    rows = points()
    page = localization_page.write(tmp_path, found(rows), rows).read_text()
    told = cells(page, TRUE_MAPS)
    scores = localization.summarise(rows[rows["method"] == TRUE_MAPS])
    assert len(told) == 9 and len(cells(page, "error [m]")) == 9
    for number, part in enumerate(("all", "los", "nlos")):
        for offset, (key, value) in enumerate((("mean_m", "mean"), ("median_m", "quantile"), ("p90_m", "quantile"))):
            score = scores[part][key]
            assert told[3 * number + offset] == f"{score[value]:.2f} ({score['low']:.2f}–{score['high']:.2f})"


def test_what_is_not_known_is_not_told(tmp_path):
    rows = points(scenes=("a",), seen=0.0)
    told = cells(localization_page.write(tmp_path, found(rows), rows).read_text(), TRUE_MAPS)
    assert told[3:6] == ["–"] * 3 and all("(" not in cell for cell in told)  # nobody sees; one scene has no interval
    assert float(told[0]) == pytest.approx(float(told[6]))


def test_the_picture_shows_shares_and_takes_errors_of_nothing():
    rows = points()
    png = charts.location_curves(rows, TRUE_MAPS, 0.8)
    assert png.startswith(b"\x89PNG") and png == charts.location_curves(rows, TRUE_MAPS, 0.8)
    assert png != charts.location_curves(rows, "costs $5 and $6", 0.8)  # another method is the grey one
    assert charts.location_curves(rows.assign(error_m=0.0), TRUE_MAPS, 0.8).startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="at least one row"):
        charts.location_curves(rows[:0], TRUE_MAPS, 0.8)
