"""The cluster's door: what the user set wins, a cluster too small is refused, a head ends with its block."""

import os
import subprocess
import sys

import psutil
import pytest

from raymap.runtime import cluster

pytestmark = pytest.mark.ray


def test_what_the_user_has_set_wins():
    environ = cluster.prepare_environment({"RAY_AUTH_MODE": "token"})
    assert environ["RAY_AUTH_MODE"] == "token"
    assert environ["RAY_DATA_USE_DATASOURCE_V2"] == "0"


def test_a_cluster_that_is_too_small_is_refused_at_once(ray_local):
    with pytest.raises(RuntimeError, match=r"needs 1000 CPU, has \d+ .* lower --workers.num"):
        cluster.connect(min_cpus=1000)
    with pytest.raises(RuntimeError, match=r"needs 2 GPU, has 0; 1 data, has 0"):
        cluster.connect(needs={"GPU": 2, "data": 1})


def test_a_cluster_that_grows_is_not_refused(ray_local, monkeypatch, capsys):
    monkeypatch.setenv(cluster.AUTOSCALING, "1")
    cluster.connect(min_cpus=1000)
    assert "waiting for nodes: this run needs 1000 CPU" in capsys.readouterr().out


def test_processes_of_a_cluster_know_it_among_several(ray_local):
    def found():
        from ray._private.services import canonicalize_bootstrap_address_or_die

        return ray_local.get_runtime_context().gcs_address, canonicalize_bootstrap_address_or_die(None)

    before = dict(os.environ)
    with cluster.local_head(1) as other:
        mine, guessed = ray_local.get(ray_local.remote(found).remote(), timeout=60)
    assert mine == guessed != other["RAY_ADDRESS"]
    assert {name: os.environ.get(name) for name in before} == before


def test_a_local_head_leaves_nothing_behind():
    environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    script = (
        "import psutil\n"
        "from raymap.runtime.cluster import local_head\n"
        "with local_head(2):\n"
        "    print(*[child.pid for child in psutil.Process().children(recursive=True)])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environ, timeout=120)
    assert done.returncode == 0, done.stderr
    started = [int(word) for word in done.stdout.split()]
    assert len(started) > 2
    left = [pid for pid in started if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
    assert not left
