"""Localization by the stages that Ray Data runs, here in one process: what is compared, and what is refused."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from raymap.data import schema, shards, sources
from raymap.data.batch import from_columns
from raymap.data.reader import ShardReader
from raymap.data.sources import Counts
from raymap.evaluation import localization
from raymap.evaluation.localization import FLOOR_DB, TRUE_MAPS
from raymap.evaluation.predictions import Predictions, file_stem
from raymap.models import base
from raymap.models.cell_law import CellLaw
from raymap.models.interpolation import Kriging
from raymap.models.pathloss import FreeSpace, LogDistance
from raymap.runtime import cluster
from raymap.runtime import localize as runtime
from raymap.runtime.evaluate import FLOORS, sample_seeds, score_batch, score_gain
from raymap.runtime.localize import Mapper, by_scene, first_transmitters, localize, only, score_points


@pytest.fixture(scope="module")
def towns(town):
    """Rows of three towns."""
    return [row for seed in (1, 2, 3) for row in town(seed, 4)]


@pytest.fixture(scope="module")
def data(towns, write_towns, tmp_path_factory):
    """A dataset with a test and no training split; rows of a town lie in several shards."""
    return write_towns(tmp_path_factory.mktemp("data"), rows_per_shard=3, test=towns)


@pytest.fixture(scope="module")
def models(data, tmp_path_factory):
    """Two floors, by name."""
    folder = tmp_path_factory.mktemp("models")
    law = LogDistance(LogDistance.Config())
    law.prepare([from_columns(ShardReader(data, "test").load().columns)])
    base.save(law, folder / "law")
    base.save(FreeSpace(FreeSpace.Config()), folder / "friis")
    return {"friis": folder / "friis", "law": folder / "law"}


class InProcess:
    """Blocks of columns that pass through stages as those of a Ray Dataset do, in batches of a stage's own size."""

    def __init__(self, blocks):
        self.blocks = list(blocks)

    def iter_batches(self, *, batch_size, **_unused):
        if batch_size is None:
            yield from self.blocks
            return
        whole = {name: np.concatenate([block[name] for block in self.blocks]) for name in self.blocks[0]}
        for start in range(0, len(whole["scene"]), batch_size):
            yield {name: values[start : start + batch_size] for name, values in whole.items()}

    def map_batches(self, stage, *, batch_size, compute=None, fn_kwargs=None, fn_constructor_kwargs=None):
        stage = stage(**fn_constructor_kwargs) if isinstance(stage, type) else stage
        made = (stage(columns, **(fn_kwargs or {})) for columns in self.iter_batches(batch_size=batch_size))
        return InProcess(itertools.chain.from_iterable([one] if isinstance(one, dict) else one for one in made))


@pytest.fixture
def in_process(monkeypatch):
    """Streams read in this process; blocks come in the order that ``in_process["order"]`` makes of theirs."""
    how = {"order": list}

    def stream(folder, split, **asked):
        return InProcess(how["order"](list(ShardReader(folder, split, **asked))))

    monkeypatch.setattr(shards, "stream", stream)
    monkeypatch.setattr(cluster, "connect", lambda min_cpus: None)
    return how


def one_by_one(blocks):
    """Every row a block of its own, the last first."""
    rows = [{name: values[i : i + 1] for name, values in block.items()} for block in blocks for i in range(3)]
    return rows[::-1]


def test_points_do_not_depend_on_blocks_and_their_order(in_process, data, models):
    asked = {"num_transmitters": 3, "noise_db": 1.0, "num_points": 200}
    points = score_points(models, data, "test", **asked)
    assert list(points) == ["method", "scene", "row", "column", "line_of_sight", "error_m"]
    assert points.groupby(["method", "scene"]).size().eq(200).all()
    assert list(points["method"].unique()) == ["friis", "law", TRUE_MAPS] and points["scene"].nunique() == 3
    in_process["order"] = one_by_one
    pd.testing.assert_frame_equal(score_points(models, data, "test", **asked), points)


def test_methods_are_paired_and_scenes_draw_by_their_name_alone(in_process, data, models, towns, write_towns, tmp_path):
    asked = {"num_transmitters": 4, "num_points": 100}
    points = score_points(models, data, "test", **asked)
    places = ["row", "column", "line_of_sight"]
    for _scene, part in points.groupby("scene"):
        first, *others = (one[places].reset_index(drop=True) for _method, one in part.groupby("method"))
        for other in others:
            pd.testing.assert_frame_equal(other, first)
    last = towns[-4:]
    alone = score_points({"law": models["law"]}, write_towns(tmp_path / "one", test=last), "test", **asked)
    same = points[(points["scene"] == last[0]["scene"]) & points["method"].isin(["law", TRUE_MAPS])]
    pd.testing.assert_frame_equal(alone, same.reset_index(drop=True))
    drawn = [set(zip(part["row"], part["column"], strict=True)) for _scene, part in points.groupby("scene")]
    assert drawn[0] != drawn[1] != drawn[2]


def test_the_true_maps_locate_best_and_more_transmitters_help(in_process, data, models):
    means = {}
    for num in (2, 4):
        points = score_points(models, data, "test", num_transmitters=num, noise_db=1.0)
        means[num] = points.groupby("method")["error_m"].mean()
        assert means[num].idxmin() == TRUE_MAPS and means[num].drop(TRUE_MAPS).min() > 1.2 * means[num][TRUE_MAPS]
    assert means[4][TRUE_MAPS] < means[2][TRUE_MAPS]


def test_maps_are_those_that_are_scored_and_do_not_see_the_truth(data, models, tmp_path):
    columns = ShardReader(data, "test").load().columns
    for row in zip(columns["scene"], columns["tx_id"], columns["gain_db"], strict=True):
        np.save(tmp_path / f"{file_stem(*row[:2])}.npy", np.minimum(row[2] - 5, 0))
    given = Predictions(folder=tmp_path, scale="db")
    mapper = Mapper({"law": str(models["law"])}, {"theirs": given})
    law_db, theirs_db, true_db = mapper(columns)["maps_db"].swapaxes(0, 1)
    batch = from_columns(columns)
    assert score_gain(law_db, batch) == score_batch(base.load(models["law"]), batch, sample_seeds(columns))
    np.testing.assert_array_equal(theirs_db, given.gain_db(columns))
    np.testing.assert_array_equal(true_db, columns["gain_db"])
    other = mapper({**columns, "gain_db": columns["gain_db"] - 10, "valid": 1 - columns["valid"]})["maps_db"]
    np.testing.assert_array_equal(other[:, 0], law_db)


def test_a_scene_of_too_few_transmitters_is_named(data, models):
    assert first_transmitters([("b", 7), ("a", 2), ("b", 3), ("a", 0), ("b", 5)], 2) == {"b": [3, 5], "a": [0, 2]}
    with pytest.raises(ValueError, match="scene 'a' has 2 transmitters, num_transmitters asks for 3"):
        first_transmitters([("b", 7), ("a", 2), ("b", 3), ("a", 0), ("b", 5)], 3)
    with pytest.raises(ValueError, match="num_transmitters must be at least 1, got 0"):
        score_points(models, data, "test", num_transmitters=0)
    with pytest.raises(ValueError, match="generated/000001' has 4 transmitters, num_transmitters asks for 5"):
        score_points(models, data, "test", num_transmitters=5)


def test_a_scene_is_given_away_as_soon_as_it_is_whole():
    chosen = {"a": [0, 2], "b": [0, 1]}
    rows = [("b", 1), ("a", 2), ("a", 0), ("b", 0)]
    seen = []

    def blocks():
        for row in rows:
            seen.append(row)
            yield {"scene": np.array(row[:1], object), "tx_id": np.array(row[1:])}

    found = [(scene, list(columns["tx_id"]), len(seen)) for scene, columns in by_scene(blocks(), chosen)]
    assert found == [("a", [0, 2], 3), ("b", [0, 1], 4)]
    rows.pop()
    with pytest.raises(ValueError, match="scene 'b' has 1 usable maps, num_transmitters asks for 2"):
        list(by_scene(blocks(), chosen))


def test_only_chosen_maps_are_predicted():
    columns = {"scene": np.array(["a", "b", "a", "b"], object), "tx_id": np.arange(4), "x": np.eye(4)}
    (kept,) = only(columns, {"a": [0], "b": [1, 3]})
    assert list(kept["tx_id"]) == [0, 1, 3] and np.array_equal(kept["x"], np.eye(4)[[0, 1, 3]])
    assert not list(only(columns, {"a": [], "b": []}))  # Ray is not given a block without rows


def test_a_map_that_is_not_finite_is_named(in_process, data, models, monkeypatch):
    monkeypatch.setattr(FreeSpace, "predict", lambda self, batch, seeds: batch.building * np.nan)
    with pytest.raises(ValueError, match="scene 'generated/000001', friis: predicted_db holds .* not finite"):
        score_points(models, data, "test", num_transmitters=1)


@pytest.mark.parametrize("kind", schema.DOMINANT_PATH_KINDS)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(kind, towns, write_towns, models, tmp_path):
    data = write_towns(tmp_path / "data", kind, test=towns)
    base.save(Kriging(Kriging.Config()), tmp_path / "kriging")
    base.save(CellLaw(CellLaw.Config(inputs=("log_distance", "dominant_path"))), tmp_path / "oracle")
    for name, folder, message in [
        ("kriging", tmp_path / "kriging", "kriging reads measurements, but fingerprints"),
        ("oracle", tmp_path / "oracle", "whose true maps are dominant-path maps"),
    ]:
        with pytest.raises(ValueError, match=message):
            localize({name: folder}, data, "test", tmp_path / "out", num_transmitters=2)
    with pytest.raises(ValueError, match="has 4 transmitters, num_transmitters asks for 9"):
        localize(models, data, "test", tmp_path / "out", num_transmitters=9)
    with pytest.raises(ValueError, match="no split 'val'"):
        localize(models, data, "val", tmp_path / "out", num_transmitters=2)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="the true maps themselves are the method 'true maps'"):
        score_points({TRUE_MAPS: models["law"]}, data, "test", num_transmitters=2)


def test_floors_stand_beside_models_and_laws_come_from_another_dataset(
    in_process, data, models, town, write_towns, tmp_path, monkeypatch
):
    monkeypatch.setattr(runtime, "LAWS", {"Taught": LogDistance.Config()})
    asked = {"num_transmitters": 2, "noise_db": 2.0, "num_points": 50}
    found = localize({"friis": models["friis"]}, data, "test", tmp_path / "a", **asked)
    assert list(found["methods"]) == [*FLOORS, "friis", TRUE_MAPS]
    assert found["laws_fitted_on"] == "split 'test' of towns"
    assert found["methods"]["friis"] == found["methods"]["Free space"]
    taught = write_towns(tmp_path / "taught", train=town(0, 4))
    other = localize({"friis": models["friis"]}, data, "test", tmp_path / "b", laws_data=taught, **asked)
    assert list(other["methods"]) == ["Taught", "friis", TRUE_MAPS]
    assert other["laws_fitted_on"] == "split 'train' of towns"
    assert other["methods"]["Taught"] != found["methods"]["Log-distance + LoS"]
    assert other["methods"]["friis"] == found["methods"]["friis"]  # the same points


def test_numbers_points_and_page_agree(in_process, data, models, tmp_path):
    found = localize(models, data, "test", tmp_path, num_transmitters=3, noise_db=2.0, num_points=50)
    assert json.loads((tmp_path / "localization.json").read_text()) == found
    asked = {"num_transmitters": 3, "noise_db": 2.0, "num_points": 50, "num_neighbours": 5, "floor_db": FLOOR_DB}
    assert found | asked == found
    points = pd.read_parquet(tmp_path / "localization.parquet")
    for name, part in points.groupby("method"):
        assert localization.summarise(part) == found["methods"][name]
    page = (tmp_path / "localization.md").read_text()
    for name, scores in found["methods"].items():
        assert f"| {name} | {scores['all']['mean_m']['mean']:.2f} (" in page
    assert "J = 3" in page and "noise of 2 dB" in page and "K = 5" in page and "150 points" in page
    assert (tmp_path / "localization.png").read_bytes().startswith(b"\x89PNG")


def test_test_splits_with_more_transmitters_keep_the_scenes_and_the_first_transmitter():
    """What docs/methods.md says of the dataset that ``generate_maps.py`` makes for this."""
    small = sources.plan("debug")
    more = small.model_copy(update={"num_generated": Counts(test=2), "num_transmitters": Counts(test=8)})
    (item,) = sources.work(more)
    made, failures = sources.rows(item, more)
    assert item.split == "test" and not failures and [row["tx_id"] for row in made] == [*range(8)] * 2
    known, _ = sources.rows(item, small)
    for first, same in zip(made[::8], known, strict=True):
        assert first["scene"] == same["scene"]
        for name in ("tx_xyz_m", "building_m", "gain_db"):
            np.testing.assert_array_equal(first[name], same[name])
