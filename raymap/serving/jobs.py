"""Long calls as jobs: asked for, looked after, and fetched when they are done."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Protocol

from raymap.serving import problems
from raymap.serving.answers import Answer
from raymap.serving.ask import MapRequest
from raymap.serving.endpoint import Endpoint
from raymap.serving.problems import Problem

#: Jobs that are drawn at a time; each sends all its maps through the stages at once.
AT_A_TIME = 2


@dataclass(eq=False)
class Job:
    """One request, and what became of it."""

    id: str
    status: str = "waiting"
    progress: float = 0.0
    asked_at: float = field(default_factory=time.time)
    answer: Answer | None = None
    problem: dict[str, Any] | None = None
    task: asyncio.Task | None = None

    @property
    def told(self) -> dict[str, Any]:
        """What is told of it."""
        return {"id": self.id, "status": self.status, "progress": round(self.progress, 4), "asked_at": self.asked_at,
                "problem": self.problem}  # fmt: skip


class Jobs(Protocol):
    """Where jobs are kept, wherever that is. Every call raises Problem (404) for a job that is not there."""

    async def submit(self, request: MapRequest) -> dict[str, Any]:
        """Take a job on; what is told of it. Raises Problem (503) if there are too many."""

    async def status(self, id: str) -> dict[str, Any]:
        """What is told of a job."""

    async def answer(self, id: str) -> Answer:
        """A job's answer. Raises Problem: 409 before it is done, what ended it if it failed."""

    async def cancel(self, id: str) -> dict[str, Any]:
        """End a job, and forget it."""


class Kept:
    """Jobs in this process: those that are over make room for new ones, the oldest first."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self._jobs = endpoint, dict[str, Job]()
        self._turn = asyncio.Semaphore(AT_A_TIME)

    async def submit(self, request: MapRequest) -> dict[str, Any]:
        """As :class:`Jobs`."""
        most = self.endpoint.serving.limits.max_jobs
        over = [job for job in self._jobs.values() if job.status in ("done", "failed")]
        while len(self._jobs) >= most and over:
            del self._jobs[over.pop(0).id]
        if len(self._jobs) >= most:
            raise Problem(503, "", None, f"{most} jobs wait or run, no more are taken", {"retry-after": "30"})
        job = Job(uuid.uuid4().hex)
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job, request))
        return job.told

    async def _run(self, job: Job, request: MapRequest) -> None:
        def told(share: float) -> None:
            job.progress = share

        async with self._turn:
            job.status = "running"
            try:
                job.answer = await self.endpoint.maps(request, told)
                job.status, job.progress = "done", 1.0
            except Problem as problem:
                job.status, job.problem = "failed", problem.body()
            except Exception as error:
                job.status, job.problem = "failed", problems.body(500, f"an error of the endpoint: {error}")

    def _job(self, id: str) -> Job:
        if id not in self._jobs:
            raise Problem(404, "id", id, "the id of a job that is kept")
        return self._jobs[id]

    async def status(self, id: str) -> dict[str, Any]:
        """As :class:`Jobs`."""
        return self._job(id).told

    async def answer(self, id: str) -> Answer:
        """As :class:`Jobs`."""
        job = self._job(id)
        if job.problem is not None:
            raise Problem(job.problem["status"], "", None, job.problem["detail"])
        if job.answer is None:
            raise Problem(409, "id", id, f"a job that is done; this one is {job.status}")
        return job.answer

    async def cancel(self, id: str) -> dict[str, Any]:
        """As :class:`Jobs`."""
        job = self._job(id)
        if job.task is not None:
            job.task.cancel()
        del self._jobs[id]
        return {**job.told, "status": "cancelled"}
