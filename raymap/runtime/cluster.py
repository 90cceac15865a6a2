"""Reaching a Ray cluster: the environment Ray needs, joining or starting one, and a local head for demos and tests."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from raymap import outside

if TYPE_CHECKING:
    import torch

#: Set before Ray is imported; a value that the user has set wins.
ENVIRONMENT = {
    # Ray's ports are open to the network, and whoever may call them runs code here: nobody does without the token. Left
    # unset, it depends on whether there is a token already, and servers and clients come to differ.
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # The second-generation Parquet source starts 32 actors per pass over the data: seconds per epoch.
    "RAY_DATA_USE_DATASOURCE_V2": "0",
    # How often the train controller looks at its workers [s]; every report waits for the next look.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    # Threads that wait must sleep: spinning ones starve each other as soon as a core is shared.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    # A line for every pass over the data is too many for a person to follow.
    "RAY_DATA_LOG_LEVEL": "ERROR",
    # Otherwise Ray warns in every driver that it will stop hiding GPUs from tasks that ask for none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Serve's processes call each other directly and log into files alone: a tenth off each request.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # ... but requests come through the proxy's port alone, not also through one of each ingress open to the network.
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
    # ... of any size: the inputs of a map of 256 x 256 cells are more than the 4 MB that is the default.
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(2**31 - 1),
    # ... but log lines are in the files at once.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    # A job may have been submitted with the same variable that `connect` hands on; equal or not, Ray would refuse it.
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",
}

#: Environment variable of clusters whose autoscaler adds nodes on demand: one that is too small now may grow.
AUTOSCALING = "RAYMAP_AUTOSCALING"


def prepare_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Fill in ENVIRONMENT where the user set nothing; in ``os.environ``, or in a copy of a given ``environ``.

    Makes a token of Ray's, in the file where Ray looks for one, if there is none and none was turned off.
    """
    found = {**ENVIRONMENT, **(os.environ if environ is None else environ)}
    if found["RAY_AUTH_MODE"] == "token":
        found |= _token(found)
    if environ is None:
        os.environ.update(found)
    return found


def _token_file(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def _token(environ: Mapping[str, str]) -> dict[str, str]:
    """Nothing if Ray will find a token where it looks; else it finds a new one there, which only the user may read."""
    file = _token_file(environ)
    if environ.get("RAY_AUTH_TOKEN") or file.is_file():
        return {}
    token = secrets.token_hex(32)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Written aside first: another process may look for it just now.
        with tempfile.NamedTemporaryFile("w", dir=file.parent) as aside:
            aside.write(token)
            aside.flush()
            with contextlib.suppress(FileExistsError):
                os.link(aside.name, file)
    except OSError:
        # A home that cannot be written: for this process and those that it starts.
        return {"RAY_AUTH_TOKEN": token}
    return {}


def connect(min_cpus: float = 1, needs: Mapping[str, float] | None = None) -> None:
    """Join the cluster that ``RAY_ADDRESS`` names (as under ``ray job submit``), else start one in this process.

    A cluster started here offers at least ``min_cpus`` logical CPUs even on a smaller machine: training processes and
    the data stream take turns on the cores. Workers find the methods outside of the package that this process does
    (:mod:`raymap.outside`), by the same paths. Does nothing when already connected. Raises RuntimeError if a joined
    cluster has fewer CPUs than needed, or less of what ``needs`` names (resource -> amount), because Ray would then
    wait for ever without a word; where ``RAYMAP_AUTOSCALING`` says that nodes are added on demand, that is told.
    """
    is_imported = "ray" in sys.modules
    prepare_environment()
    import ray
    from ray._raylet import Config

    if is_imported and not ray.is_initialized():
        # It read the environment when it was imported, and would not know that a token is wanted.
        Config.initialize("")
    if not ray.is_initialized():
        found = outside.environment()
        if address := os.environ.get("RAY_ADDRESS"):
            ray.init(logging_level="WARNING", runtime_env=_told(found, address))
        else:
            _forget_head()
            port = _free_port()
            with _environment(RAY_GCS_SERVER_PORT=str(port)):
                ray.init(address="local", num_cpus=max(os.cpu_count() or 1, math.ceil(min_cpus)),
                         logging_level="WARNING", runtime_env=_told(found, f"{_node_ip()}:{port}"))  # fmt: skip
    ray.data.DataContext.get_current().enable_progress_bars = False
    has, wanted = ray.cluster_resources(), {"CPU": min_cpus, **(needs or {})}
    too_few = [name for name, amount in wanted.items() if has.get(name, 0) < amount]
    missing = "; ".join(f"{wanted[name]:g} {name}, has {has.get(name, 0):g}" for name in too_few)
    if missing and os.environ.get(AUTOSCALING):
        print(f"waiting for nodes: this run needs {missing}", flush=True)
    elif missing:
        raise RuntimeError(
            f"this run needs {missing} (CPUs for its workers, and one for the data stream); lower --workers.num or "
            f"--workers.cpus_each, add nodes, or set {AUTOSCALING}=1 where an autoscaler adds them"
        )


def _told(variables: dict[str, str], address: str) -> dict[str, dict[str, str]]:
    """The runtime environment of all processes of a job: ``variables``, and which cluster is theirs.

    What Ray asks about a cluster from within one of its processes, it asks the only cluster that it sees on the
    machine, and fails where it sees two.
    """
    host, _, port = address.rpartition(":")
    told = {"RAY_ADDRESS": address} if host and port.isdigit() and "://" not in host else {}
    return {"env_vars": {**variables, **told}}


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """With these environment variables, and afterwards as before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def device() -> torch.device:
    """The GPU that Ray gave this process, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _forget_head(address: str | None = None) -> None:
    """Remove Ray's note of the machine's current head if it is ``address``, or (None) if nothing answers there.

    Ray writes the note in ``ray start`` and only ``ray stop``, which ends every cluster on the machine, removes it.
    A note of a head that is gone makes every state query of a later cluster wait out its time limit.
    """
    from ray._common.utils import get_ray_address_file

    note = Path(get_ray_address_file(None))
    with contextlib.suppress(OSError, ValueError):
        found = note.read_text().strip()
        host, port = found.rsplit(":", 1)
        if address is None:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError:
                address = found
        if found == address:
            note.unlink()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def local_head(num_cpus: int, timeout_s: float = 60) -> Iterator[dict[str, str]]:
    """A Ray head node on this machine, on ports of its own; yields the environment for ``ray job submit``.

    Ends exactly the processes it started. Raises RuntimeError with the head's own output if it does not come up.
    """
    environ = prepare_environment(os.environ)
    environ.pop("RAY_ADDRESS", None)
    gcs_port, dashboard_port = _free_port(), _free_port()
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--num-cpus={num_cpus}",
               f"--port={gcs_port}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard_port}",
               f"--dashboard-agent-listen-port={_free_port()}", "--include-dashboard=true",
               "--disable-usage-stats"]  # fmt: skip
    log = Path(tempfile.mkdtemp(prefix="raymap-head-")) / "head.log"
    with log.open("w") as output:
        # A session of its own, so that everything the head starts can be ended as one group.
        head = subprocess.Popen(command, env=environ, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        _wait_for_dashboard(head, dashboard_port, log, timeout_s, environ)
        yield {**environ, "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard_port}",
               "RAY_ADDRESS": f"127.0.0.1:{gcs_port}"}  # fmt: skip
    finally:
        _end_group(head)
        _forget_head(f"{_node_ip()}:{gcs_port}")


def _node_ip() -> str:
    from ray.util import get_node_ip_address

    return get_node_ip_address()


def _authorization(environ: Mapping[str, str]) -> dict[str, str]:
    """The header by which Ray knows who has its token."""
    if environ["RAY_AUTH_MODE"] != "token":
        return {}
    token = environ.get("RAY_AUTH_TOKEN") or _token_file(environ).read_text().strip()
    return {"authorization": f"Bearer {token}"}


def _wait_for_dashboard(
    head: subprocess.Popen, port: int, log: Path, timeout_s: float, environ: Mapping[str, str]
) -> None:
    import urllib.error
    import urllib.request

    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if head.poll() is not None:
            break
        with contextlib.suppress(urllib.error.URLError, OSError):
            request = urllib.request.Request(f"http://127.0.0.1:{port}/api/jobs/", headers=_authorization(environ))
            urllib.request.urlopen(request, timeout=2).close()
            return
        time.sleep(0.2)
    raise RuntimeError(f"the local Ray head did not come up within {timeout_s:g} s; it printed:\n{log.read_text()}")


def _end_group(head: subprocess.Popen) -> None:
    for sign, patience_s in ((signal.SIGTERM, 3), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, sign)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            head.poll()
            try:
                os.killpg(head.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)
