"""Items come in order, ahead of their use, with the errors of their making."""

import threading
import time

import pytest

from raymap.runtime.ahead import ahead


def of_threads():
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_items_come_in_order_and_the_thread_ends():
    assert list(ahead(range(100))) == list(range(100))
    deadline = time.monotonic() + 5
    while of_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not of_threads()


def test_so_many_are_made_before_they_are_asked_for_and_no_more():
    made = []
    items = ahead((made.append(number) or number for number in range(10)), num=2)
    assert next(items) == 0
    time.sleep(0.5)
    # One given, two in the queue, one in the thread's hand.
    assert made == [0, 1, 2, 3]
    items.close()


def test_making_and_using_run_side_by_side():
    def slow():
        for number in range(6):
            time.sleep(0.1)
            yield number

    begun = time.monotonic()
    for _ in ahead(slow()):
        time.sleep(0.1)
    assert time.monotonic() - begun < 1.05, "one after the other takes 1.2 s"


def test_an_error_comes_where_its_item_would_have():
    def broken():
        yield 1
        raise ValueError("shard 7 is damaged")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="shard 7 is damaged"):
        next(items)


def test_closing_ends_the_thread():
    items = ahead(iter(int, 1))
    next(items)
    items.close()
    deadline = time.monotonic() + 5
    while of_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not of_threads()
