"""Ask an endpoint what makes no sense, thousands of times: nothing may fail, nothing may grow.

    python jobs/fuzz_endpoint.py --num 5000

Starts an endpoint of its own in one process. Bodies are the examples of the API's description with random parts taken
out, doubled, swapped or replaced by what should not be there; some are no JSON at all. Ends with status 1 if an answer
was a 5xx other than "not now", or if the process has grown by more than ``--max_growth_mb`` since a tenth of the
requests were answered.
"""

from __future__ import annotations

import copy
import json
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.runtime import provenance
from raymap.serving.examples import EXAMPLES, PATHS_EXAMPLES

#: What is put where something else should be.
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 3.5, 1e308, -1e308, 1e-300, float("nan"), float("inf"), 2**63, "", "0", "x" * 5000, "../../x",
    "http://127.0.0.1/x", "\x00", "𝔘", [], [[]], [[[0]]], {}, {"kind": "raster"}, {"kind": "tile", "name": "munich-1"},
    [1, 2], "AAAA", [None], {"type": "FeatureCollection", "features": [None, {}, {"geometry": {}}]},
)  # fmt: skip


class Job(Settings):
    """How much nonsense."""

    num: int = Field(5000, ge=1, description="requests")
    seed: int = 0
    max_growth_mb: float = Field(150.0, gt=0)
    out: Path | None = Field(None, description="JSON file to write")


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths to everything in a body but the insides of long arrays."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, part in items:
        found += places(part, (*path, key))
    return found


_MAPS = [example["value"] for example in EXAMPLES.values()]
_READ = {**EXAMPLES["coverage"]["value"], "readings_dbm": [[-70.0, -85.0], [-90.0, -60.0]]}
#: Where bodies go, and what they are made of.
ROUTES = {
    "maps": _MAPS, "areas": [{"area": value["area"]} for value in _MAPS],
    "locate": [{key: value for key, value in _READ.items() if key not in ("layers", "threshold_dbm")}],
    "paths": [example["value"] for example in PATHS_EXAMPLES.values()],
}  # fmt: skip


def odd(rng: random.Random) -> Any:
    """Something that should not be there; a copy, since it may be taken apart in turn."""
    return copy.deepcopy(rng.choice(ODD))


def body(rng: random.Random, route: str) -> bytes:
    """One request's body."""
    asked = copy.deepcopy(rng.choice(ROUTES[route]))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        path = rng.choice(places(asked))
        if not path:
            asked = odd(rng) if rng.random() < 0.1 else asked
            if not isinstance(asked, dict | list):
                break
            continue
        inside = asked
        for key in path[:-1]:
            inside = inside[key]
        how, key = rng.random(), path[-1]
        if how < 0.2:
            del inside[key]
        elif how < 0.3 and isinstance(inside, list):
            inside *= rng.choice((2, 50))
        elif how < 0.4 and isinstance(inside, dict):
            inside[rng.choice(("x", "", "kind", "area", "seed"))] = odd(rng)
        else:
            inside[key] = odd(rng)
    text = json.dumps(asked).encode()
    if rng.random() < 0.05:
        cut = rng.randrange(len(text))
        text = text[:cut] + bytes(rng.randrange(256) for _ in range(rng.randrange(4))) + text[cut + rng.randrange(3) :]
    return text


def asked(url: str, content: bytes) -> int:
    """The status of the answer."""
    request = urllib.request.Request(url, content, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as error:
        error.read()
        return error.code


def _answers(url: str, content: bytes) -> bool:
    try:
        return asked(url, content) == 200
    except urllib.error.URLError:
        return False


def memory_mb(pid: int) -> float:
    """What a process holds in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return float(line.split()[1]) / 1024
    return 0.0


def main(argv: list[str]) -> dict[str, Any]:
    """Ask; returns what was answered."""
    job = from_command_line(Job(), argv, prog="fuzz_endpoint.py")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = subprocess.Popen([sys.executable, "-m", "raymap.serving.local", "--port", str(port)],
                                stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        plain = json.dumps(EXAMPLES["a city block"]["value"]).encode()
        while endpoint.poll() is None and not _answers(f"http://127.0.0.1:{port}/v1/maps", plain):
            time.sleep(0.2)
        rng, statuses, failed, early_mb = random.Random(job.seed), Counter(), [], 0.0
        for number in range(job.num):
            route = rng.choice(("maps", "maps", "maps", "areas", "locate", "paths"))
            content = body(rng, route)
            status = asked(f"http://127.0.0.1:{port}/v1/{route}", content)
            statuses[status] += 1
            if status >= 500 and status not in (503, 504):
                failed.append(content.decode("utf-8", "replace")[:500])
            if number == job.num // 10:
                early_mb = memory_mb(endpoint.pid)
        late_mb = memory_mb(endpoint.pid)
    finally:
        endpoint.kill()
        endpoint.wait()
    found = {
        "command": provenance.command("jobs/fuzz_endpoint.py", argv), "commit": provenance.git_commit(),
        "hardware": provenance.hardware(), "statuses": dict(sorted(statuses.items())), "failed": failed,
        "early_mb": early_mb, "late_mb": late_mb,
    }  # fmt: skip
    if job.out is not None:
        job.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    if failed or late_mb - early_mb > job.max_growth_mb:
        raise SystemExit(1)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
