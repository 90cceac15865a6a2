"""Serve radio maps on this machine, or on the cluster that RAY_ADDRESS names.

    python jobs/serve.py
    python jobs/serve.py --port 9000 --serving.precision bf16 --serving.map.max_replicas 4
    python jobs/serve.py --serving.models '[{"name": "k2", "source": "models:/k2@champion"}]' \\
        --serving.tracking_uri sqlite:///runs/mlflow.db

The page is at /, the API at /v1, its description at /v1/openapi.json. Ends with Ctrl+C, after the requests that are
under way. On a cluster that goes on without this command: ``serve deploy serve/config.yaml`` (docs/serving.md).
"""

import signal
import sys
import threading

from pydantic import Field

from raymap.config import Settings, from_command_line
from raymap.runtime import cluster
from raymap.serving.settings import Serving

#: Logical CPUs beside those of the stages: Serve's own processes, and jobs.
SPARE_CPUS = 0.5


class Job(Settings):
    """Where the endpoint listens, and what it serves."""

    host: str = Field("127.0.0.1", description="0.0.0.0 for other machines; set RAYMAP_TOKEN then")
    port: int = Field(8000, ge=1, le=65535)
    serving: Serving = Serving()


def main(job: Job) -> None:
    """Serve until a signal."""
    cluster.connect(min_cpus=job.serving.num_cpus + SPARE_CPUS)
    from ray import serve

    from raymap.serving.app import build

    timeout_s = job.serving.limits.timeout_s
    serve.start(http_options={"host": job.host, "port": job.port, "request_timeout_s": timeout_s + 10})
    serve.run(build(job.serving.model_dump(mode="json")), name="raymap")
    print(f"radio maps at http://{job.host}:{job.port}/ ; the API is described at /v1/openapi.json", flush=True)
    ended = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: ended.set())
    ended.wait()
    serve.shutdown()


if __name__ == "__main__":
    main(from_command_line(Job(), sys.argv[1:], prog="serve.py"))
