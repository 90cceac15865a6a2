"""The cluster's door: what the user set wins, a cluster too small is refused, a head ends with its block."""

import os
import subprocess
import sys
import urllib.error
import urllib.request

import psutil
import pytest

from raymap.runtime import cluster

pytestmark = pytest.mark.ray


def test_what_the_user_has_set_wins():
    environ = cluster.prepare_environment({"RAY_AUTH_MODE": "disabled"})
    assert environ["RAY_AUTH_MODE"] == "disabled"
    assert environ["RAY_DATA_USE_DATASOURCE_V2"] == "0"


def test_a_token_is_made_once_and_for_nobody_else(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "RAY_AUTH_TOKEN" not in cluster.prepare_environment({"HOME": str(tmp_path)})
    file = tmp_path / ".ray/auth_token"
    token = file.read_text()
    assert len(token) == 64 and file.stat().st_mode & 0o777 == 0o600
    cluster.prepare_environment({})
    assert file.read_text() == token
    assert not (tmp_path / "none").exists()
    given = {"RAY_AUTH_TOKEN": "mine", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}
    assert cluster.prepare_environment(given)["RAY_AUTH_TOKEN"] == "mine"
    cluster.prepare_environment({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")})
    assert not (tmp_path / "none").exists()


def test_nobody_without_the_token_is_answered():
    environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with cluster.local_head(1) as head:
        known = {**environ, **head}
        ask = [
            sys.executable,
            "-c",
            "import ray; ray.init(logging_level='ERROR'); print(ray.cluster_resources()['CPU'])",
        ]
        knows = subprocess.run(ask, env=known, capture_output=True, text=True, timeout=60)
        assert knows.stdout.split() == ["1.0"], knows.stderr
        for headers in ({}, {"authorization": f"Bearer {'0' * 64}"}):
            request = urllib.request.Request(f"{head['RAY_API_SERVER_ADDRESS']}/api/jobs/", headers=headers)
            with pytest.raises(urllib.error.HTTPError, match="401|403"):
                urllib.request.urlopen(request, timeout=10)


def test_who_imports_ray_first_is_known_too():
    script = (
        "import ray; from raymap.runtime import cluster; cluster.connect(); print(ray.cluster_resources()['CPU'] > 0)"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=90)
    assert done.stdout.split() == ["True"], done.stderr


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
