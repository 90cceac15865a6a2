"""Load an endpoint with requests for maps, and tell how it answers.

    python jobs/load_test.py --url http://127.0.0.1:8000 --clients 32 --seconds 60
    python jobs/load_test.py --rate 40 --seconds 600 --out overload.json     # so many a second, whatever comes back

Without ``--rate`` every client asks again as soon as it is answered. Seeds and antennas differ from request to request.
Prints, and writes with ``--out``, how many answers of each status there were, their latency, maps per second, and the
same for every ten seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.runtime import provenance
from raymap.serving import tiles

#: Length of what is told by itself [s].
PART_S = 10.0


class Job(Settings):
    """Who is asked, what, how often."""

    url: str = "http://127.0.0.1:8000"
    tile: str = Field("san-francisco-1", description="city block")
    clients: int = Field(32, ge=1, description="connections; each has one request at a time")
    rate: float | None = Field(None, gt=0, description="requests a second, by as many connections as that takes")
    seconds: float = Field(30.0, gt=0)
    ensemble: int = Field(1, ge=1)
    steps: int | None = Field(None, ge=1)
    timeout_s: float = Field(120.0, gt=0, description="a client that waits longer gives up")
    out: Path | None = Field(None, description="JSON file to write")


class Asked:
    """Bodies, one after the other: another place outdoors, another seed."""

    def __init__(self, job: Job) -> None:
        scene = tiles.scene(job.tile, 5.9e9)
        self.cells, self.cell_m = np.random.default_rng(0).permutation(np.argwhere(scene.outdoor)), scene.grid.cell_m
        self.job, self.number = job, 0

    def __call__(self) -> dict[str, Any]:
        row, column = self.cells[self.number % len(self.cells)]
        self.number += 1
        return {
            "area": {"kind": "tile", "name": self.job.tile}, "seed": self.number, "ensemble": self.job.ensemble,
            "steps": self.job.steps,
            "transmitters": [{"x_m": (column + 0.5) * self.cell_m, "y_m": (row + 0.5) * self.cell_m}],
        }  # fmt: skip


async def load(job: Job) -> list[tuple[float, float, int]]:
    """(seconds since the start, seconds it took, status) of every request; status 0: no answer."""
    asked, done, begun = Asked(job), [], time.perf_counter()
    headers = {"authorization": f"Bearer {os.environ['RAYMAP_TOKEN']}"} if "RAYMAP_TOKEN" in os.environ else {}
    limits = aiohttp.ClientTimeout(total=job.timeout_s)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=limits, headers=headers
    ) as session:

        async def one() -> None:
            sent = time.perf_counter()
            try:
                async with session.post(f"{job.url}/v1/maps?encoding=base64", json=asked()) as answer:
                    await answer.read()
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            done.append((sent - begun, time.perf_counter() - sent, status))

        async def client() -> None:
            while time.perf_counter() - begun < job.seconds:
                await one()
                if done[-1][2] != 200:
                    await asyncio.sleep(0.05)

        if job.rate is None:
            await asyncio.gather(*(client() for _ in range(job.clients)))
        else:
            under_way = set()
            while (now := time.perf_counter() - begun) < job.seconds:
                task = asyncio.create_task(one())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                await asyncio.sleep(max(0.0, (asked.number + 1) / job.rate - now))
            await asyncio.gather(*under_way)
    return done


def told(done: list[tuple[float, float, int]], seconds: float) -> dict[str, Any]:
    """Counts by status, latency of those that were answered with a map [ms], and maps per second."""
    ok = [1000 * took for _sent, took, status in done if status == 200]
    statuses = Counter(str(status) if status else "no answer" for *_times, status in done)
    percentiles = {f"p{q}_ms": float(np.percentile(ok, q)) if ok else None for q in (50, 90, 99)}
    return {"requests": len(done), "statuses": dict(statuses), "per_s": len(ok) / seconds, **percentiles}


def main(argv: list[str]) -> dict[str, Any]:
    """Load, tell, write."""
    job = from_command_line(Job(), argv, prog="load_test.py")
    begun = time.perf_counter()
    done = asyncio.run(load(job))
    seconds = time.perf_counter() - begun
    parts = [
        {"from_s": start, **told([one for one in done if start <= one[0] < start + PART_S], PART_S)}
        for start in np.arange(0.0, job.seconds, PART_S).tolist()
    ]
    found = {"command": provenance.command("jobs/load_test.py", argv), "hardware": provenance.hardware(),
             "commit": provenance.git_commit(), "seconds": seconds, **told(done, seconds), "parts": parts}  # fmt: skip
    if job.out is not None:
        job.out.parent.mkdir(parents=True, exist_ok=True)
        job.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({key: value for key, value in found.items() if key != "parts"}, indent=1))
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
