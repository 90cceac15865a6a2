"""A Ray cluster of several nodes on this machine, each with addresses and processes of its own. No job of its own.

Every node is a network namespace behind a bridge and a process namespace, so that a node can be killed with all that
runs on it, and its cable be cut. Needs Linux and root; :func:`reason_against` says what is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from raymap.runtime.cluster import prepare_environment

GCS_PORT = 6379
#: A node that does not answer is given up after about 10 s; one whose process is gone, sooner.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "2000", "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000", "RAY_health_check_failure_threshold": "4",
}  # fmt: skip


def reason_against() -> str | None:
    """Why there can be no such nodes here; None if there can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces need Linux"
    if os.geteuid():
        return "network namespaces need root"
    for program in ("ip", "unshare", "nsenter", "mount"):
        if shutil.which(program) is None:
            return f"there is no program {program!r}"
    probe = f"rmp{os.getpid()}"
    try:
        _ip("link", "add", probe, "type", "veth", "peer", "name", f"{probe}x")
        _ip("link", "delete", probe)
        subprocess.run(["unshare", "-fpmn", "--mount-proc", "true"], check=True, capture_output=True)
    except (subprocess.CalledProcessError, OSError) as error:
        return f"the kernel gives no namespaces: {getattr(error, 'stderr', error)!r}"
    return None


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Node:
    """One node: its ``ip``, and ways to start, kill and cut it."""

    def __init__(self, cluster: Nodes, number: int) -> None:
        self.cluster, self.number = cluster, number
        self.ip = f"10.88.{cluster.subnet}.{number + 1}"
        self.cable, self.namespace = f"rm{cluster.subnet}v{number}", f"raymap{cluster.subnet}n{number}"
        self.log = cluster.folder / f"node{number}.log"
        self._holder: subprocess.Popen | None = None

    def start(self) -> None:
        """Start the node's processes; the first node is the head. Returns when Ray answers."""
        is_head = self.number == 0
        start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={self.ip}",
                 f"--num-cpus={self.cluster.cpus}", f"--object-store-memory={self.cluster.object_store_mb * 2**20}",
                 f"--resources={json.dumps(self.cluster.resources.get(self.number, {}))}",
                 "--disable-usage-stats"]  # fmt: skip
        start += (
            ["--head", f"--port={GCS_PORT}", "--include-dashboard=true", "--dashboard-host=127.0.0.1"]
            if is_head else [f"--address={self.cluster.address}"]
        )  # fmt: skip
        # A name server that refuses at once: without any, Ray's processes wait seconds for the name of an address.
        resolv = self.cluster.folder / "resolv.conf"
        resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        script = (
            f"mkdir -p /tmp/ray; mount -t tmpfs tmpfs /tmp/ray; mount --bind {resolv} /etc/resolv.conf; "
            f"ip link set lo up; {shlex.join(start)} & wait; sleep infinity"
        )
        with self.log.open("a") as output:
            self._holder = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, "unshare", "-fpm", "--kill-child", "--mount-proc",
                 "bash", "-c", script],
                stdout=output, stderr=subprocess.STDOUT, env=self.cluster.environ,
            )  # fmt: skip

    def lay_cable(self) -> None:
        """Network namespace and the cable to the bridge."""
        _ip("netns", "add", self.namespace)
        _ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        _ip("link", "set", self.cable, "master", self.cluster.bridge, "up")
        _ip("-n", self.namespace, "addr", "add", f"{self.ip}/24", "dev", "eth0")
        _ip("-n", self.namespace, "link", "set", "eth0", "up")

    @property
    def init(self) -> psutil.Process:
        """The first process of the node's process namespace. Raises RuntimeError if there is none."""
        deadline = time.monotonic() + 10
        while self._holder.poll() is None and time.monotonic() < deadline:
            for child in psutil.Process(self._holder.pid).children():
                return child
            time.sleep(0.01)
        raise RuntimeError(f"node {self.number} did not start: {self.log.read_text()[-2000:]}")

    def processes(self, word: str = "") -> list[psutil.Process]:
        """What runs on the node and has this word in its command."""
        found = []
        for process in self.init.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if word in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def run(self, command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None) -> subprocess.Popen:
        """A command on the node; ``RAY_ADDRESS`` is the cluster's. Its output goes into ``log``."""
        inside = ["nsenter", f"--target={self.init.pid}", "--net", "--mount", "--pid", "--", *command]
        with log.open("a") as output:
            return subprocess.Popen(
                inside, stdout=output, stderr=subprocess.STDOUT, cwd=os.getcwd(),
                env={**self.cluster.environ, "RAY_ADDRESS": self.cluster.address, **(environ or {})},
            )  # fmt: skip

    def kill(self) -> None:
        """Everything on the node ends at once, without a word, as when a machine is taken away."""
        if self._holder is not None:
            with contextlib.suppress(psutil.NoSuchProcess, RuntimeError):
                self.init.kill()
            self._holder.wait()

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """The cable is pulled while the block lasts."""
        _ip("link", "set", self.cable, "down")
        try:
            yield
        finally:
            _ip("link", "set", self.cable, "up")


class Nodes:
    """A cluster of ``num`` nodes with ``cpus`` each, the first of which is the head; a context manager.

    ``resources``: custom resources by the number of a node. A SIGTERM ends the block, and so the nodes.
    """

    def __init__(
        self, num: int = 2, cpus: int = 2, object_store_mb: int = 200,
        resources: Mapping[int, Mapping[str, float]] | None = None,
    ) -> None:  # fmt: skip
        self.cpus, self.object_store_mb, self.resources = cpus, object_store_mb, resources or {}
        self.subnet = os.getpid() % 250 + 1
        self.bridge, self.folder = f"rmb{self.subnet}", Path(tempfile.mkdtemp(prefix="raymap-nodes-"))
        known = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        self.environ = prepare_environment({**known, **HEALTH, "GLOO_SOCKET_IFNAME": "eth0"})
        self.nodes = [Node(self, number) for number in range(num)]

    @property
    def head(self) -> Node:
        return self.nodes[0]

    @property
    def address(self) -> str:
        """Of the cluster, for drivers on its nodes."""
        return f"{self.head.ip}:{GCS_PORT}"

    def __enter__(self) -> Nodes:
        self._before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        try:
            _ip("link", "add", self.bridge, "type", "bridge")
            _ip("link", "set", self.bridge, "up")
            for node in self.nodes:
                node.lay_cable()
            self.head.start()
            self.wait_for(1)
            for node in self.nodes[1:]:
                node.start()
            self.wait_for(len(self.nodes))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self.nodes):
            node.kill()
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", node.namespace)
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("link", "delete", node.cable)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "delete", self.bridge)
        shutil.rmtree(self.folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, self._before)

    def alive(self) -> int:
        """Nodes that the head takes for alive; 0 if it does not answer."""
        told = self._asked("print(sum(node['Alive'] for node in ray.nodes()))").split()
        return int(told[-1]) if told and told[-1].isdigit() else 0

    def spilled_mb(self) -> float:
        """What did not fit into the object stores and was written to disk so far [MiB]."""
        summary = "from ray._private.internal_api import memory_summary; print(memory_summary(stats_only=True))"
        return float(sum(map(int, re.findall(r"Spilled (\d+) MiB", self._asked(summary)))))

    def _asked(self, script: str) -> str:
        """What a Python script on the head prints once it is connected."""
        log = self.folder / "asked.log"
        log.unlink(missing_ok=True)
        connected = f"import ray; ray.init('auto', logging_level='ERROR'); {script}"
        self.head.run([sys.executable, "-c", connected], log).wait()
        return log.read_text()

    def wait_for(self, num: int, timeout_s: float = 60) -> float:
        """Until the head takes so many nodes for alive; how long that took [s]. Raises RuntimeError after the limit."""
        begun = time.monotonic()
        while self.alive() != num:
            if time.monotonic() - begun > timeout_s:
                logs = "\n".join(node.log.read_text()[-2000:] for node in self.nodes if node.log.is_file())
                raise RuntimeError(f"not {num} nodes within {timeout_s:g} s; they said:\n{logs}")
        return time.monotonic() - begun
