"""Maps on the benchmark's page: chosen by the dataset alone, predicted once, the same for every method."""

import numpy as np
import pytest
import torch

from raymap import units
from raymap.config import DataConfig, MeasurementsConfig
from raymap.data import schema, shards
from raymap.data.batch import from_columns
from raymap.data.schema import DatasetCard
from raymap.models import base
from raymap.models.interpolation import NearestMeasurement
from raymap.models.pathloss import FreeSpace
from raymap.runtime import benchmark_examples
from raymap.runtime.evaluate import sample_seeds
from raymap.scene import Grid, RadioMap, Scene, Transmitter

SHAPE = (16, 16)


def rows(order=range(6), seed=0, kind="town"):
    """Two maps of each of six towns, one building in each; the transmitters of a town are listed last first."""
    rng = np.random.default_rng(seed)
    for number in order:
        building_m = np.zeros(SHAPE)
        building_m[2:6, number : number + 4] = 12.0
        scene = Scene(f"{kind}{number}", Grid(SHAPE, 4.0), building_m)
        for tx_id in (1, 0):
            gain_db = np.where(scene.outdoor, rng.uniform(-140, -50, SHAPE), -147)
            transmitter = Transmitter((30.0 + tx_id, 40.0, 1.5))
            yield schema.row(scene, tx_id, transmitter, RadioMap(gain_db, scene.outdoor))


def write(folder, found):
    about = {"name": "tiny", "kind": "srm", "shape": SHAPE, "cell_m": 4.0, "sources": ("made up",), "attribution": ""}
    shards.write({"test": found}, folder, rows_per_shard=4, **about)
    return DataConfig(folder=str(folder))


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data", rows())


@pytest.fixture
def model(tmp_path):
    base.save(FreeSpace(FreeSpace.Config()), tmp_path / "model")
    return tmp_path / "model"


def test_examples_depend_on_the_names_of_scenes_alone(data, tmp_path):
    """Another order of rows in the shards and other gains, as of another kind of maps, show the same places."""
    first = benchmark_examples.choose(data, "test")
    other = benchmark_examples.choose(write(tmp_path / "other", rows(range(5, -1, -1), seed=1)), "test")
    assert len(set(first["scene"])) == len(first["scene"]) == benchmark_examples.NUM_MAPS
    assert list(first["scene"]) == list(other["scene"]) and set(first["tx_id"]) == set(other["tx_id"]) == {0}
    assert not np.array_equal(first["gain_db"], other["gain_db"])


def test_few_scenes_are_all_shown(tmp_path):
    few = benchmark_examples.choose(write(tmp_path / "few", rows(range(2))), "test")
    assert list(few["scene"]) == ["town0", "town1"]


def test_kept_examples_are_what_the_model_predicts(data, model, tmp_path):
    benchmark_examples.keep(tmp_path, model, data, "test")
    found = benchmark_examples.load(tmp_path, DatasetCard.load(data.folder), "test")
    columns = benchmark_examples.choose(data, "test")
    with torch.no_grad():
        signal = base.load(model).predict(from_columns(columns).blind(), sample_seeds(columns))
    assert found["predicted_db"] == pytest.approx(units.gain_db_from_signal(signal.numpy()[:, 0]))
    assert np.array_equal(found["true_db"], columns["gain_db"]) and found["outdoor"].dtype == bool
    assert found["scene"].tolist() == columns["scene"].tolist()


def test_examples_are_made_once_and_anew_for_other_data(data, model, tmp_path):
    path = benchmark_examples.keep(tmp_path, model, data, "test")
    before = path.stat().st_mtime_ns
    (model / base.WEIGHTS_FILE).unlink()  # no model is needed for what is there
    assert benchmark_examples.keep(tmp_path, model, data, "test") == path and path.stat().st_mtime_ns == before
    other = write(tmp_path / "other", rows(kind="village"))
    assert benchmark_examples.load(tmp_path, DatasetCard.load(other.folder), "test") == {}
    with pytest.raises(FileNotFoundError):
        benchmark_examples.keep(tmp_path, model, other, "test")
    base.save(FreeSpace(FreeSpace.Config()), model)
    benchmark_examples.keep(tmp_path, model, other, "test")
    found = benchmark_examples.load(tmp_path, DatasetCard.load(other.folder), "test")
    assert all(scene.startswith("village") for scene in found["scene"])


def test_another_number_of_maps_is_another_choice(data, model, tmp_path, monkeypatch):
    benchmark_examples.keep(tmp_path, model, data, "test")
    monkeypatch.setattr(benchmark_examples, "NUM_MAPS", 4)
    assert benchmark_examples.load(tmp_path, DatasetCard.load(data.folder), "test") == {}
    benchmark_examples.keep(tmp_path, model, data, "test")
    assert len(benchmark_examples.load(tmp_path, DatasetCard.load(data.folder), "test")["scene"]) == 4


def test_without_examples_there_are_none(data, tmp_path):
    assert benchmark_examples.load(tmp_path, DatasetCard.load(data.folder), "test") == {}


def test_what_was_measured_is_shown_to_models_that_read_it(data, tmp_path):
    """The nearest measurement repeats what was measured where it was."""
    base.save(NearestMeasurement(NearestMeasurement.Config()), tmp_path / "nearest")
    data = data.model_copy(update={"measurements": MeasurementsConfig(rates=(0.2, 0.2))})
    benchmark_examples.keep(tmp_path, tmp_path / "nearest", data, "test")
    found = benchmark_examples.load(tmp_path, DatasetCard.load(data.folder), "test")
    columns = benchmark_examples.choose(data, "test")
    sampled = columns["sampled"].astype(bool)
    assert sampled.any(axis=(1, 2)).all()
    assert found["predicted_db"][sampled] == pytest.approx(columns["gain_db"][sampled], abs=1e-3)
