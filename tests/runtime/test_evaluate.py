"""What may be scored: models that do not read the truth, and maps that others predicted, by the very same scores."""

import json

import numpy as np
import pandas as pd
import pytest

from raymap import units
from raymap.config import MeasurementsConfig
from raymap.data import schema
from raymap.data.batch import from_columns
from raymap.data.reader import ShardReader
from raymap.evaluation import summary
from raymap.evaluation.predictions import Predictions, file_stem
from raymap.models import base
from raymap.models.cell_law import CellLaw
from raymap.models.interpolation import Kriging
from raymap.models.pathloss import FreeSpace
from raymap.runtime.evaluate import INTERPOLATIONS, LAWS, Scorer, name_predictions, score, score_gain


@pytest.fixture
def towns(town, write_towns, tmp_path):
    """Dataset folder, the columns of its test split, and predictions of it that are 5 dB wrong outdoors."""
    write_towns(tmp_path / "data", train=town(0, 2), test=[*town(1, 2), *town(2, 2)])
    columns = ShardReader(tmp_path / "data", "test").load().columns
    (tmp_path / "theirs").mkdir()
    floor_db = np.float32(units.GAIN_FLOOR_DB)
    for index, row in enumerate(zip(columns["scene"], columns["tx_id"], strict=True)):
        shifted_db = np.where(columns["valid"][index] == 1, columns["gain_db"][index] - 5, floor_db)
        np.save(tmp_path / "theirs" / f"{file_stem(*row)}.npy", shifted_db)
    return tmp_path / "data", columns, Predictions(folder=tmp_path / "theirs", scale="db")


@pytest.mark.parametrize("kind", schema.DOMINANT_PATH_KINDS)
def test_a_model_that_reads_the_truth_is_refused_before_anything_is_scored(kind, town, write_towns, tmp_path):
    write_towns(tmp_path / "data", kind, test=town(0))
    base.save(CellLaw(CellLaw.Config(inputs=("log_distance", "dominant_path"))), tmp_path / "law")
    with pytest.raises(ValueError, match=f"'towns' is of kind '{kind}', whose true maps are dominant-path maps"):
        score({"law": tmp_path / "law"}, str(tmp_path / "data"), "test", tmp_path / "report")
    assert not list((tmp_path / "report").iterdir())


def test_given_maps_are_scored_as_the_same_maps_of_a_model_would_be(towns):
    _, columns, given = towns
    found = Scorer({}, {"theirs": given})(columns)
    assert set(found["method"]) == {"theirs"}
    assert list(zip(found["scene"], found["tx_id"], strict=True)) == list(
        zip(columns["scene"], columns["tx_id"], strict=True)
    )
    scores = [json.loads(text) for text in found["json"]]
    pd.testing.assert_frame_equal(
        pd.DataFrame(scores), pd.DataFrame(score_gain(given.gain_db(columns), from_columns(columns)))
    )
    for row in scores:
        assert row["raw/outdoor/median_abs_db"] == pytest.approx(5, abs=1e-3)  # most cells lie above the floor


def test_rings_are_counted_from_the_transmitter(towns):
    _, columns, _ = towns
    batch = from_columns(columns)
    true_db = units.gain_db_from_signal(batch.gain[:, 0].numpy())
    rows, cols = np.mgrid[:32, :32] + 0.5
    x_m, y_m = columns["tx_xyz_m"][:, 0, None, None], columns["tx_xyz_m"][:, 1, None, None]
    near = np.hypot(8 * rows - y_m, 8 * cols - x_m) < 40  # far from the ring's edge at 64 m
    for row in score_gain(np.where(near, true_db - 3, true_db), batch):
        assert row["raw/0-32m/rmse_db"] > 2 and row["raw/64-128m/rmse_db"] == row["raw/128m+/rmse_db"] == 0


def test_given_maps_are_checked_before_anything_is_scored(towns, tmp_path):
    data, columns, given = towns
    (given.folder / f"{file_stem(columns['scene'][0], columns['tx_id'][0])}.npy").unlink()
    np.save(given.folder / "elsewhere_0.npy", np.zeros((32, 32)))
    with pytest.raises(ValueError, match=r"maps without a file: 1 .*files of no map: 1 \(elsewhere_0.npy\)"):
        score({}, str(data), "test", tmp_path / "report", given={"theirs": given})
    assert not list((tmp_path / "report").iterdir())


def test_given_maps_need_a_name_of_their_own(tmp_path):
    named = name_predictions([f"a={tmp_path}", f"b={tmp_path}"], "grey", ["k2"])
    assert named == {name: Predictions(folder=tmp_path, scale="grey") for name in "ab"}
    for texts in ([str(tmp_path)], [f"={tmp_path}"], ["k2=maps"], ["a=maps", "a=maps"], ["Free space=maps"]):
        with pytest.raises(ValueError, match=f"as --predictions NAME=FOLDER; got '{texts[-1]}'"):
            name_predictions(texts, "grey", ["k2"])


def test_given_maps_stand_beside_the_floors_in_one_report(towns, ray_local, tmp_path):
    data, columns, given = towns
    found = score({}, str(data), "test", tmp_path / "report", given={"theirs": given})
    assert list(found["methods"]) == [*LAWS, "theirs"]
    theirs = found["methods"]["theirs"]
    expected = pd.DataFrame(score_gain(given.gain_db(columns), from_columns(columns)))["raw/all/nmse"].mean()
    assert theirs["raw"]["all"]["nmse"]["mean"] == pytest.approx(expected) and theirs["raw"]["all"]["nmse"]["num"] == 4
    assert all(theirs[key] is None for key in summary.COSTS)
    floor = found["methods"]["Free space"]
    assert (floor["flop"], floor["network_calls"]) == (0, 0) and floor["maps_per_s"] >= 1000 / floor["latency_ms"] > 0
    assert theirs["raw"]["0-32m"]["rmse_db"]["num"] == 4
    assert (tmp_path / "report" / "pictures" / "theirs.png").is_file()
    assert "Given as files" in (tmp_path / "report" / "report.html").read_text()


def test_measurements_correct_what_does_not_read_them(towns, ray_local, tmp_path):
    data, _columns, _given = towns
    base.save(FreeSpace(FreeSpace.Config()), tmp_path / "model")
    config = MeasurementsConfig(rates=(0.1, 0.1), noise_db=1.0)
    found = score({"friis": tmp_path / "model"}, str(data), "test", tmp_path / "report", measurements=config)
    assert list(found["methods"]) == [*LAWS, *INTERPOLATIONS, "friis", "friis, corrected"]
    nmse = {name: scores["raw"]["all"]["nmse"]["mean"] for name, scores in found["methods"].items()}
    assert nmse["friis, corrected"] < 0.5 * nmse["friis"] and nmse["friis"] == nmse["Free space"]
    assert found["measurements"] == config.model_dump(mode="json")
    report = (tmp_path / "report" / "report.html").read_text()
    assert "10.00% to 10.00% of the outdoor cells" in report and "From the environment and measurements" in report


def test_who_reads_measurements_is_not_scored_without(towns, tmp_path):
    base.save(Kriging(Kriging.Config()), tmp_path / "model")
    with pytest.raises(ValueError, match="theirs reads measurements; say how many cells"):
        score({"theirs": tmp_path / "model"}, str(towns[0]), "test", tmp_path / "report")
