"""Buckets by URI, asked of a real S3 server: as folders are, whole or absent, patient where it is not well."""

import os
import pickle
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.bucket import Bucket
from raymap import storage
from raymap.data import schema, shards
from raymap.data.reader import ShardReader, quarantined
from raymap.data.schema import DatasetCard, Failure
from raymap.models import base
from raymap.models.pathloss import LogDistance
from raymap.scene import Grid, RadioMap, Scene, Transmitter
from raymap.storage import BucketPath, place


@pytest.fixture(scope="module")
def server():
    with Bucket() as bucket, bucket.in_environment():
        yield bucket


@pytest.fixture
def bucket(server, request):
    """The server, well again, and a folder of the test's own."""
    server.errors, server.slow_s = 0.0, 0.0
    yield server, place(server.uri) / request.node.name.replace("[", "-").replace("]", "")
    server.errors, server.slow_s = 0.0, 0.0


@pytest.fixture
def hurried(monkeypatch):
    """Gives up after two attempts."""
    monkeypatch.setattr(storage, "ATTEMPTS", 2)
    storage.filesystem.cache_clear()
    yield
    storage.filesystem.cache_clear()


def rows(num_scenes=6):
    shape = (10, 14)
    rng = np.random.default_rng(0)
    for number in range(num_scenes):
        scene = Scene(f"town{number}", Grid(shape, 4.0), np.zeros(shape), np.zeros(shape, bool))
        gain_db = rng.uniform(-120, -60, shape).astype(np.float32)
        yield schema.row(scene, 0, Transmitter((10.0, 12.0, 1.5)), RadioMap(gain_db, np.ones(shape, bool)))


def write(folder, entries=None):
    about = {"name": "towns", "kind": "srm", "shape": (10, 14), "cell_m": 4.0, "sources": ("towns",), "attribution": ""}
    return shards.write({"train": entries or rows()}, folder, rows_per_shard=2, **about)


def test_names_of_places(tmp_path):
    assert place(tmp_path / "x" / ".." / "y") == tmp_path / "y"
    assert isinstance(place("runs"), Path)
    there = place("s3://bucket/runs/")
    assert isinstance(there, BucketPath)
    assert str(there / "a" / "b.json") == "s3://bucket/runs/a/b.json"
    assert (there / "a.json").name == "a.json"
    assert (there / "a.json").suffix == ".json"
    assert (there / "a" / "b").parent == there / "a"
    assert pickle.loads(pickle.dumps(there)) == there
    assert str(place("gs://bucket/runs")) == "gs://bucket/runs"


@pytest.mark.parametrize("uri", ["http://host/x", "s3://", "file://x/y", "hdfs://host/x"])
def test_other_uris_are_refused_by_name(uri):
    with pytest.raises(ValueError, match=f"{uri}.*s3://BUCKET"):
        place(uri)


def test_a_bucket_is_no_path_of_this_machine():
    with pytest.raises(TypeError):
        os.listdir(place("s3://bucket/x"))
    with pytest.raises(ValueError, match=r"a sweep must be in a folder .* not in s3://bucket/runs"):
        storage.require_folder("s3://bucket/runs", "a sweep")


def test_files_come_and_go_as_in_a_folder(bucket):
    _, folder = bucket
    file = folder / "part" / "a.txt"
    assert not file.exists() and not folder.exists()
    with pytest.raises(FileNotFoundError):
        file.read_text()
    file.write_text("täxt")
    assert file.read_text() == "täxt"
    assert file.is_file() and folder.is_dir() and not folder.is_file()
    (folder / "b.json").write_text("{}")
    assert sorted(path.name for path in folder.iterdir()) == ["b.json", "part"]
    assert list(folder.glob("*.json")) == [folder / "b.json"]
    assert list((folder / "none").iterdir()) == []
    file.unlink()
    file.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        file.unlink()


def test_what_is_not_written_to_its_end_does_not_appear(bucket):
    _, folder = bucket
    with pytest.raises(RuntimeError), storage.whole(folder / "a") as temporary:
        temporary.write_text("half of it")
        raise RuntimeError
    with pytest.raises(RuntimeError), storage.written(folder) as files:
        (files / "b").write_text("half of it")
        raise RuntimeError
    assert list(folder.iterdir()) == []


def test_a_folder_goes_there_and_back(bucket):
    _, folder = bucket
    with storage.written(folder, last="done") as files:
        (files / "pictures").mkdir()
        (files / "pictures" / "a.png").write_bytes(b"a")
        (files / "done").write_text("")
    with storage.here(folder) as files:
        found = {path.relative_to(files).as_posix(): path.read_bytes() for path in files.rglob("*") if path.is_file()}
    assert found == {"pictures/a.png": b"a", "done": b""}


def read(folder, **options):
    return ShardReader(folder, "train", **options).load().columns


@pytest.mark.parametrize("ill", [{}, {"errors": 0.3}, {"slow_s": 0.1}])
def test_a_dataset_in_a_bucket_is_that_in_a_folder(tmp_path, bucket, ill):
    server, folder = bucket
    for name, value in ill.items():
        setattr(server, name, value)
    there, here = write(folder), write(tmp_path / "here")
    assert there.fingerprint == here.fingerprint == DatasetCard.load(str(folder)).fingerprint
    mine, theirs = read(tmp_path / "here"), read(str(folder))
    assert mine.keys() == theirs.keys()
    assert all((mine[name] == theirs[name]).all() for name in mine)


def test_a_bucket_that_does_not_answer_is_no_damaged_shard(bucket, hurried):
    """A shard that cannot be reached must not be left out of a training as if it were broken."""
    server, folder = bucket
    write(folder)
    reader = ShardReader(folder, "train", quarantine=folder / "quarantine")
    (folder / "train" / "00001.parquet").write_bytes(b"PAR1 no longer")
    assert [columns["scene"][0] for columns in reader] == ["town0", "town4"]
    assert [entry["shard"] for entry in quarantined(folder / "quarantine")] == ["train/00001.parquet"]
    server.errors = 1.0
    with pytest.raises(OSError, match="AWS Error"):
        reader.columns("train/00000.parquet")
    server.errors = 0.0
    assert len(quarantined(folder / "quarantine")) == 1


def test_a_server_that_is_away_for_a_while_is_waited_for(bucket):
    server, folder = bucket
    (folder / "a").write_text("a")
    away, back = threading.Event(), threading.Event()

    def leave():
        with server.away():
            away.set()
            time.sleep(3)
        back.set()

    thread = threading.Thread(target=leave)
    thread.start()
    away.wait()
    assert (folder / "a").read_text() == "a"
    assert back.is_set()
    thread.join()


def test_models_are_saved_and_loaded_there(tmp_path, bucket):
    _, folder = bucket
    torch.manual_seed(0)
    model = base.build(LogDistance.Config())
    base.save(model, folder)
    base.save(model, tmp_path)
    assert base.model_hash(str(folder)) == base.model_hash(tmp_path)
    assert base.is_saved(folder, model.config)
    state = base.load(str(folder)).state_dict()
    assert all((tensor == state[name]).all() for name, tensor in model.state_dict().items())
    with pytest.raises(FileNotFoundError, match="s3://raymap/.*none holds no"):
        base.load(folder / "none")


def test_what_failed_is_listed_there(bucket):
    _, folder = bucket
    entries = [*rows(2), Failure("town9", "no antenna")]
    write(folder, entries)
    assert [entry["what"] for entry in quarantined(folder)] == ["town9"]
