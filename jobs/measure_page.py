"""How soon the page of an endpoint shows the map of an antenna that is dragged, in a headless Chromium.

    make serve & python jobs/measure_page.py
    python jobs/measure_page.py --url http://127.0.0.1:8000 --drags 20 --picture page.png

Times from a change to the frame that shows its map. While an antenna is dragged there is one request at a time, always
of the newest place. Needs Chromium, and the package websockets (``pip install websockets``).
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from browser import Browser
from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.runtime import provenance

MAPS = "Number(document.getElementById('map').dataset.maps || 0)"


class Job(Settings):
    """Which page, how long."""

    url: str = "http://127.0.0.1:8000"
    drags: int = Field(20, ge=1, description="moves of the antenna, there and back")
    picture: Path | None = Field(None, description="PNG file of the page to write")
    dark: bool = False
    out: Path | None = Field(None, description="JSON file to write")


def main(argv: list[str]) -> dict:
    """Drag, measure, tell."""
    job = from_command_line(Job(), argv, prog="measure_page.py")
    with tempfile.TemporaryDirectory() as folder:
        page = Browser(Path(folder), height=1000)
        try:
            page.dark(job.dark)
            page.open(job.url + "/")
            page.until(f"document.getElementById('map') && {MAPS} > 0", seconds=60)
            if job.picture is not None:
                job.picture.write_bytes(page.picture())
            times_ms = dragged(page, job.drags)
        finally:
            page.end()
    found = {"command": provenance.command("jobs/measure_page.py", argv), "hardware": provenance.hardware(),
             "updates": len(times_ms), "p50_ms": float(np.median(times_ms)),
             "p90_ms": float(np.percentile(times_ms, 90)), "max_ms": max(times_ms)}  # fmt: skip
    if job.out is not None:
        job.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return found


def dragged(page: Browser, drags: int) -> list[float]:
    """Milliseconds of every update while the antenna is dragged to and fro."""
    x, y = page.middle("#map")
    page.js("performance.clearMeasures()")
    for _ in range(drags):
        for start, end in (((x, y), (x - 40, y)), ((x - 40, y), (x, y))):
            before = page.js(MAPS)
            page.drag(start, end, steps=12)
            page.until(f"{MAPS} > {before}")
    page.until("document.getElementById('busy').hidden")
    return page.js("performance.getEntriesByName('update').map((entry) => entry.duration)")


if __name__ == "__main__":
    main(sys.argv[1:])
