"""An outbox delivers everything once it can, in order, across processes and failures."""

import time

import pytest

from raymap.runtime.outbox import Outbox, Refused, left_in


class Store:
    """Takes messages while it is up; refuses those that say so."""

    def __init__(self, up=True, at_once=1):
        self.up, self.at_once, self.taken, self.asked = up, at_once, [], 0

    def __call__(self, messages):
        self.asked += 1
        if not self.up:
            raise ConnectionError("away")
        if messages[0].get("bad"):
            raise Refused("bad")
        taken = [message["number"] for message in messages[: self.at_once] if not message.get("bad")]
        self.taken += taken
        return len(taken)


def numbered(*numbers):
    return [{"kind": "test", "number": number} for number in numbers]


@pytest.mark.parametrize("at_once", [1, 7])
def test_all_is_delivered_in_order_and_nothing_stays_on_disk(tmp_path, at_once):
    store = Store(at_once=at_once)
    outbox = Outbox(tmp_path, store)
    for message in numbered(*range(100)):
        outbox.put(message)
    assert outbox.close(10) == []
    assert store.taken == list(range(100))
    assert list(tmp_path.glob("*.jsonl")) == []


def test_what_a_store_that_is_away_misses_comes_when_it_is_back(tmp_path):
    store = Store(up=False)
    outbox = Outbox(tmp_path, store, retry_s=0.2)
    for message in numbered(*range(10)):
        outbox.put(message)
    assert not outbox.flush(0.5)
    assert len(left_in(tmp_path)) == 10
    store.up = True
    assert outbox.flush(5)
    assert store.taken == list(range(10)) and left_in(tmp_path) == []


def test_a_store_that_is_away_is_not_asked_for_every_message(tmp_path):
    store = Store(up=False)
    outbox = Outbox(tmp_path, store, retry_s=10)
    for message in numbered(*range(200)):
        outbox.put(message)
        time.sleep(0.002)
    assert store.asked < 10
    outbox.close(0)


def test_a_refused_message_is_left_out_and_counted(tmp_path):
    store = Store()
    outbox = Outbox(tmp_path, store)
    for number in range(5):
        outbox.put({"kind": "test", "number": number, "bad": number == 2})
    assert outbox.close(5) == [] and outbox.refused == 1
    assert store.taken == [0, 1, 3, 4]


def test_what_stays_is_sent_by_the_next_process_before_its_own(tmp_path):
    first = Outbox(tmp_path, Store(up=False))
    for message in numbered(0, 1, 2):
        first.put(message)
    assert [message["number"] for message in first.close(0.1)] == [0, 1, 2]
    store = Store()
    second = Outbox(tmp_path, store)
    assert second.take_over() == 3
    second.put({"kind": "test", "number": 3})
    assert second.close(5) == []
    assert store.taken == [0, 1, 2, 3] and left_in(tmp_path) == []


def test_a_line_that_a_killed_process_did_not_finish_is_left_out(tmp_path):
    (tmp_path / "killed.jsonl").write_text('{"kind": "test", "number": 0}\n{"kind": "test", "num')
    store = Store()
    outbox = Outbox(tmp_path, store)
    assert outbox.take_over() == 1
    assert outbox.close(5) == [] and store.taken == [0]


def test_putting_does_not_wait_for_the_store(tmp_path):
    def slow(messages):
        time.sleep(0.5)
        return 1

    outbox = Outbox(tmp_path, slow)
    begun = time.monotonic()
    for message in numbered(*range(50)):
        outbox.put(message)
    assert time.monotonic() - begun < 0.4
    outbox.close(0)


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    store = Store()
    outbox = Outbox(tmp_path / "file" / "outbox", store)
    outbox.put({"kind": "test", "number": 0})
    assert outbox.close(5) == [] and store.taken == [0]
    assert "cannot be written" in caplog.text
