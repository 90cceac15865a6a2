"""The next items of an iterator while the last one is worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
#: What the thread puts into the queue: an item, its error, or the end.
_ITEM, _ERROR, _END = range(3)


def ahead(items: Iterable[Item], num: int = 2) -> Iterator[Item]:
    """The items in their order, up to ``num`` of them taken in another thread before they are asked for.

    What ``items`` raises is raised where the item would have been. The thread ends with the iterator: at the end of the
    items, or at the latest one item after the iterator was closed.
    """
    ready: queue.Queue[tuple[int, Any]] = queue.Queue(maxsize=num)
    closed = threading.Event()

    def put(kind: int, value: Any = None) -> bool:
        while not closed.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def take() -> None:
        try:
            for item in items:
                if not put(_ITEM, item):
                    return
        except BaseException as error:
            put(_ERROR, error)
        else:
            put(_END)

    thread = threading.Thread(target=take, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == _END:
                return
            if kind == _ERROR:
                raise value
            yield value
    finally:
        closed.set()
