"""What is to be written to a store that may not answer: kept in order, on disk, until the store has taken it."""

from __future__ import annotations

import collections
import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
Message = dict[str, Any]


class Refused(Exception):
    """The store answered, and will never take this message."""


class Outbox:
    """Messages of one process, sent in order by a thread of their own.

    ``send(messages)`` delivers the first of ``messages``, or as many as go together, and returns how many those were.
    It raises :class:`Refused` if the first can never be delivered, which is then left out and told, and anything else
    if it should be tried again; the time between trials grows to ``retry_s`` [s].

    What is not delivered yet stands in a file of ``folder`` with a name of this process, so that it outlives the
    process: :meth:`take_over` sends what others left.
    """

    def __init__(self, folder: Path, send: Callable[[Sequence[Message]], int], retry_s: float = 5.0) -> None:
        self.folder, self.send, self.retry_s = folder, send, retry_s
        self.path = folder / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self.refused = 0
        self._waiting: collections.deque[Message] = collections.deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = self._failing = False
        self._others: list[Path] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message) -> None:
        """Send this when all before it is sent. Returns at once."""
        with self._changed:
            self._waiting.append(message)
            self._keep(message)
            self._wake()

    def take_over(self) -> int:
        """Also send, before anything else, what processes that have ended left in the folder; how many that is."""
        taken: list[Message] = []
        for path in sorted(self.folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime):
            if path != self.path and path not in self._others:
                taken += messages_of(path)
                self._others.append(path)
        with self._changed:
            self._waiting.extendleft(reversed(taken))
            self._wake()
        return len(taken)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is sent, at most so long; whether it is."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._waiting and (left_s := deadline - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return not self._waiting

    def close(self, timeout_s: float) -> list[Message]:
        """Flush, end the thread, and return what could not be sent; that stays in the folder."""
        self.flush(timeout_s)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            return list(self._waiting)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        pause_s = 0.1
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    return
                first = list(self._waiting)
            try:
                sent = self._deliver(first)
                pause_s, self._failing = 0.1, False
            except Exception as error:
                if not self._failing:
                    log.warning("%s; kept and tried again", error)
                self._failing = True
                with self._changed:
                    # Not wait_for: a new message is no reason to ask a store that is down.
                    end = time.monotonic() + pause_s
                    while not self._closing and (left_s := end - time.monotonic()) > 0:
                        self._changed.wait(left_s)
                pause_s = min(2 * pause_s, self.retry_s)
                continue
            with self._changed:
                # By value, since others' messages may have come before them meanwhile.
                for message in first[:sent]:
                    self._waiting.remove(message)
                if not self._waiting:
                    self._forget()
                self._changed.notify_all()

    def _deliver(self, first: list[Message]) -> int:
        try:
            return self.send(first)
        except Refused as error:
            if not self.refused:
                log.warning("not written: %s", error)
            self.refused += 1
            return 1

    def _keep(self, message: Message) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(message) + "\n")
        except OSError as error:
            log.warning("%s cannot be written (%s): what is not sent is lost if this process ends", self.path, error)

    def _forget(self) -> None:
        for path in (self.path, *self._others):
            with contextlib.suppress(OSError):
                path.unlink()
        self._others = []


def messages_of(path: Path) -> list[Message]:
    """Messages in the file of an outbox, without a last line that was not written whole."""
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


def left_in(folder: Path) -> list[Message]:
    """Messages that wait in a folder of outboxes."""
    return [message for path in sorted(folder.glob("*.jsonl")) for message in messages_of(path)]
