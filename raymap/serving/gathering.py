"""Batches of what came in while the last one was under way.

Ray Serve's own ``@serve.batch`` closes a batch by the clock, and closed ones queue: without waiting, each is of one
however many wait. Here nothing waits for a clock, and a batch closes only when its turn has come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Gathering(Generic[ItemT, ResultT]):
    """Calls ``draw`` with up to ``most`` items at a time, one call after the other.

    ``draw`` returns an answer for every item, in their order; an exception among them is raised to whoever sent that
    item. ``wait_s``: how long the first of a batch waits for others when nothing is under way.
    """

    def __init__(
        self, draw: Callable[[list[ItemT]], Awaitable[Sequence[ResultT | Exception]]], most: int, wait_s: float = 0.0
    ) -> None:
        self.draw, self.most, self.wait_s = draw, most, wait_s
        self._waiting: deque[tuple[ItemT, asyncio.Future[ResultT]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: ItemT) -> ResultT:
        """The answer for one item. Raises what ``draw`` raised, or answered, for it."""
        answer: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        if self.wait_s:
            await asyncio.sleep(self.wait_s)
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self.most, len(self._waiting)))]
            # Whoever has left needs no answer.
            batch = [(item, answer) for item, answer in batch if not answer.done()]
            if batch:
                await self._answered(batch)
        self._running = None

    async def _answered(self, batch: list[tuple[ItemT, asyncio.Future[ResultT]]]) -> None:
        try:
            found = await self.draw([item for item, _answer in batch])
        except Exception as error:
            found = [error] * len(batch)
        for (_item, answer), one in zip(batch, found, strict=True):
            if answer.done():
                continue
            if isinstance(one, Exception):
                answer.set_exception(one)
            else:
                answer.set_result(one)
