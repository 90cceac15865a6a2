"""The files that start clusters: what Ray, EC2, Kubernetes and our own jobs say of them. No cloud, no cluster.

Ray's and the operators' schemas let much through, so what a cluster needs beyond them is asserted here, and the shell
commands are run for real with a ``ray`` that only tells how it was called.
"""

import copy
import functools
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml
from ray._private.authentication.authentication_token_setup import _get_default_token_path
from ray._private.label_utils import validate_node_label_syntax
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import ServeDeploySchema

from raymap.runtime.cluster import AUTOSCALING, ENVIRONMENT

HOME = Path(__file__).resolve().parent.parent
LAUNCHED = ("cluster.yaml", "cluster-onprem.yaml")
MANIFESTS = {"kuberay/rayjob.yaml": "rayClusterSpec", "kuberay/rayservice.yaml": "rayClusterConfig"}
GUIDE = (HOME / "docs/cluster.md").read_text()
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]


@functools.cache
def _read(name):
    return list(yaml.safe_load_all((HOME / name).read_text()))


def documents(name):
    """All documents of a YAML file, to be changed at will."""
    return copy.deepcopy(_read(name))


def prepared(config):
    """The config as the launcher completes it before it looks at it."""
    return prepare_config(copy.deepcopy(config))


def at(tree, *keys):
    for key in keys:
        tree = tree[key]
    return tree


def commands(text):
    """The commands in a text, with continued lines joined."""
    return [line.strip() for line in text.replace("\\\n", " ").splitlines()]


def python_jobs():
    """(script, arguments) of every job in the guide and the manifests."""
    texts = [*commands(GUIDE), at(documents("kuberay/rayjob.yaml")[0], "spec", "entrypoint")]
    for text in texts:
        if found := re.search(r"\bpython (?:/opt/raymap/)?(jobs/\w+\.py)([^`|]*)", text):
            yield found[1], shlex.split(found[2])


# -- Ray's cluster launcher


@pytest.mark.parametrize("name", LAUNCHED)
def test_the_launcher_accepts_the_file(name):
    config = prepared(documents(name)[0])
    validate_config(config)
    assert config["cluster_name"] == documents(name)[0]["cluster_name"] == "raymap"


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("idle_timeout_minute",), 5),
        (("available_node_types", "gpu", "max_worker"), 2),
        (("available_node_types", "cpu", "resources", "data"), 0.5),
        (("head_node_type",), "heads"),
        (("docker", "container_name"), 5),
    ],
)
def test_the_launcher_refuses_a_slip(keys, value):
    config = documents("cluster.yaml")[0]
    at(config, *keys[:-1])[keys[-1]] = value
    with pytest.raises((ValueError, jsonschema.ValidationError)):
        validate_config(prepared(config))


def test_pools_fit_in_the_cluster_and_say_what_they_are_for():
    config = prepared(documents("cluster.yaml")[0])
    pools = config["available_node_types"]
    assert all(0 <= pool["min_workers"] <= pool["max_workers"] <= config["max_workers"] for pool in pools.values())
    head, cpu, gpu = pools["head"], pools["cpu"], pools["gpu"]
    assert (head["max_workers"], head["resources"]) == (0, {"CPU": 0})
    assert cpu["resources"]["data"] == cpu["resources"]["CPU"] and "GPU" not in cpu["resources"]
    assert gpu["resources"]["train"] == gpu["resources"]["GPU"] > 0
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in head["node_config"] | cpu["node_config"]
    for pool in (cpu, gpu):
        validate_node_label_syntax(pool["labels"])
    assert 0 < config["idle_timeout_minutes"] <= 30 and config["provider"]["cache_stopped_nodes"] is False


@pytest.mark.parametrize("typo", [False, True])
def test_machines_are_described_in_ec2s_own_words(typo):
    """The launcher hands node_config on as it is, with one subnet in place of the list."""
    validate = pytest.importorskip("botocore.validate", reason="EC2's words are in botocore")
    session = pytest.importorskip("botocore.session").get_session()
    shape = session.get_service_model("ec2").operation_model("RunInstances").input_shape
    for pool in documents("cluster.yaml")[0]["available_node_types"].values():
        asked = {"MinCount": 1, "MaxCount": 1, **pool["node_config"]}
        if typo:
            asked["MetadataOptions"] = {"HttpToken": "required"}
        assert validate.ParamValidator().validate(asked, shape).has_errors() == typo
        assert asked["InstanceType"] in shape.members["InstanceType"].enum


@pytest.mark.parametrize("name", LAUNCHED)
def test_what_nodes_get_is_there_and_is_what_they_install(name):
    config = prepared(documents(name)[0])
    token = _get_default_token_path().relative_to(Path.home())
    assert config["file_mounts"] == {f"~/{token}": f"~/{token}", "~/raymap-dist": "dist"}
    assert "pip wheel --no-deps --wheel-dir dist ." in GUIDE
    installing = " ".join(config["worker_setup_commands"])
    extra = re.search(r'pip install [^"]*"\$\(ls ~/raymap-dist/raymap-\*\.whl\)\[(\w+)\]"', installing)
    assert extra and extra[1] in PROJECT["optional-dependencies"]
    assert "constraints" not in installing
    assert "0.0.0.0" not in "".join(line.split("#")[0] for line in (HOME / name).read_text().splitlines())


@pytest.fixture
def shell(tmp_path):
    """Runs a command of a node in bash; ``ray`` tells its arguments and variables, ``nvidia-smi`` knows ``gpus``."""
    tools, gpus = tmp_path / "bin", tmp_path / "gpus"
    tools.mkdir()
    gpus.write_text("")
    told = f"import json, os, sys; json.dump([sys.argv[1:], dict(os.environ)], open({str(tmp_path / 'told')!r}, 'w'))"
    (tools / "ray").write_text(f"#!{sys.executable}\n{told}\n")
    (tools / "nvidia-smi").write_text(f"#!/bin/sh\ncat {gpus}\n")
    (tools / "pip").write_text('#!/bin/sh\necho "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    (tools / "python").symlink_to(sys.executable)
    installed = tmp_path / "raymap-env" / "bin"
    installed.mkdir(parents=True)
    (installed / "activate").write_text("")
    for name in ("python", "pip"):
        (installed / name).symlink_to(tools / name)
    (tmp_path / "raymap-dist").mkdir()
    (tmp_path / "raymap-dist" / "raymap-0.1.0-py3-none-any.whl").write_text("")
    environ = {
        "HOME": str(tmp_path),
        "PATH": f"{tools}:/usr/bin:/bin",
        "PYTHONPATH": str(HOME),
        "RAY_HEAD_IP": "192.0.2.1",
    }

    def run(command):
        (tmp_path / "told").unlink(missing_ok=True)
        done = subprocess.run(["bash", "-c", command], env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "told").read_text()) if (tmp_path / "told").exists() else done.stdout

    run.gpus = gpus.write_text
    return run


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_starts_with_the_token_on_loopback_and_with_all_variables(name, shell):
    config = prepared(documents(name)[0])
    wheel, again = (command for command in config["worker_setup_commands"] if "raymap-dist" in command)
    assert "raymap-0.1.0-py3-none-any.whl[sionna]" in shell(wheel)
    assert "--force-reinstall --no-deps" in shell(again)
    shell(next(command for command in config["worker_setup_commands"] if command.endswith("> ~/raymap.env")))
    for role in ("head", "worker"):
        stop, start = config[f"{role}_start_ray_commands"]
        assert stop.endswith("ray stop")
        arguments, environ = shell(start)
        assert {key: environ.get(key) for key in ENVIRONMENT} == {**ENVIRONMENT, "RAY_AUTH_MODE": "token"}
        period, timeout, threshold = (int(environ[f"RAY_health_check_{key}"]) for key in (
            "period_ms", "timeout_ms", "failure_threshold"))  # fmt: skip
        assert threshold * (period + timeout) <= 15_000 and threshold >= 2
        assert environ["GLOO_SOCKET_IFNAME"] == environ["NCCL_SOCKET_IFNAME"]
        assert environ.get(AUTOSCALING) == (None if config["provider"]["type"] == "local" else "1")
        if role == "head":
            assert {"--head", "--num-cpus=0", "--dashboard-host=127.0.0.1", "--port=6379"} < set(arguments)
            assert any(word.startswith("--autoscaling-config=") for word in arguments)
        else:
            assert "--address=192.0.2.1:6379" in arguments


def test_ray_does_not_start_without_its_variables(shell):
    for name in LAUNCHED:
        for role in ("head", "worker"):
            start = prepared(documents(name)[0])[f"{role}_start_ray_commands"][-1]
            with pytest.raises(AssertionError, match="raymap.env"):
                shell(start)


@pytest.mark.parametrize(("gpus", "pool"), [("GPU 0: an A\nGPU 1: an A\n", "train"), ("", "data")])
def test_own_machines_find_out_which_pool_they_are(gpus, pool, shell):
    config = prepared(documents("cluster-onprem.yaml")[0])
    shell(config["worker_setup_commands"][-1])
    shell.gpus(gpus)
    arguments, _ = shell(config["worker_start_ray_commands"][-1])
    assert f"--labels=pool={pool}" in arguments
    custom = json.loads(next(word for word in arguments if word.startswith("--resources=")).partition("=")[2])
    assert list(custom) == [pool] and (custom[pool] == 2 if gpus else custom[pool] >= 1)


# -- the commands of the guide


def settings(script, arguments):
    """A job's settings from its command line, by the job's own means; None for jobs that are not known here."""
    from raymap import recipes
    from raymap.config import from_command_line, sized
    from raymap.data import sources
    from raymap.space import found_by_sweep

    if script == "jobs/train_k2.py":
        return from_command_line(*found_by_sweep(*sized(recipes.k2, arguments, default="demo")))
    if script == "jobs/generate_maps.py":
        folder = arguments.index("--folder")
        return from_command_line(*sized(sources.plan, arguments[:folder] + arguments[folder + 2 :], default="demo"))
    return None


def test_every_job_in_the_guide_takes_its_options():
    known = {(script, tuple(arguments)): settings(script, arguments) for script, arguments in python_jobs()}
    assert len(known) >= 5 and all(known.values()), known
    with pytest.raises(SystemExit):
        settings("jobs/train_k2.py", ["--size", "full", "--workers.gpu_each", "1"])


def test_the_cluster_can_grow_to_what_the_training_takes():
    pools = [prepared(documents("cluster.yaml")[0])["available_node_types"], node_types("kuberay/rayjob.yaml")]
    trainings = [settings(*job) for job in python_jobs() if "--workers.gpus_each" in job[1]]
    assert len(trainings) >= 3
    for training in trainings:
        workers = training.workers
        assert training.storage.startswith(("s3://", "/shared/")) and training.tracking.uri
        for types in pools:
            cpu, gpu = types["cpu"], types["gpu"]
            assert gpu["max_workers"] * gpu["resources"]["GPU"] >= workers.num * workers.gpus_each
            assert gpu["resources"]["CPU"] >= workers.cpus_each and cpu["min_workers"] >= 1
            if not training.storage.startswith("/shared/"):
                assert workers.data_resource in cpu["resources"] and workers.data_resource not in gpu["resources"]
    container = pods("kuberay/rayjob.yaml")[0]["spec"]["containers"][0]
    assert {"name": AUTOSCALING, "value": "1"} in container["env"]


def test_every_file_in_the_guide_exists():
    text = "\n".join([GUIDE, *((HOME / name).read_text() for name in (*LAUNCHED, *MANIFESTS, "Dockerfile"))])
    named = set(re.findall(r"(?<![\w/.-])(?:jobs|serve|kuberay|docs|tests|raymap)/[\w./-]+\.\w+", text))
    named |= set(re.findall(r"\bcluster[\w-]*\.yaml\b|\bDockerfile\b|\bconstraints\.txt\b", text))
    named |= {f"docs/{link}" for link in re.findall(r"\]\((?!http)([\w./-]+)", GUIDE)}
    assert len(named) > 12
    assert not [name for name in named if not (HOME / name).exists()]


def test_policies_and_arithmetic_of_the_guide_hold():
    policies = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)]
    assert len(policies) == 3 and all(policy["Version"] == "2012-10-17" for policy in policies)
    program, printed = re.search(r"```\npython -c '(.*?)'\n(.*?)```", GUIDE, re.DOTALL).groups()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == printed


# -- Kubernetes


@functools.cache
def definitions():
    found = {}
    for name in ("kubernetes", "kuberay"):
        found |= json.loads((HOME / f"tests/data/kuberay/{name}.json").read_text())["$defs"]
    return found


def complaints(document):
    """What the API server would refuse or drop of a document, by its kind."""
    kind = {"NetworkPolicy": "api.networking.v1.NetworkPolicy"}.get(document["kind"], document["kind"])
    schema = {"$ref": f"#/$defs/{kind}", "$defs": definitions()}
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(document)]


def node_types(name):
    """What Ray's autoscaler makes of a manifest's pods."""
    spec = documents(name)[0]["spec"][MANIFESTS[name]]
    cluster = {"metadata": {"name": "raymap", "namespace": "raymap"}, "spec": spec}
    return _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]


def pods(name):
    spec = documents(name)[0]["spec"][MANIFESTS[name]]
    return [group["template"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_knows_every_field(name):
    assert [complaints(document) for document in documents(name)] == [[], []]


@pytest.mark.parametrize(
    ("keys", "value", "complaint"),
    [
        (("spec", "shutdownAfterJobFinish"), True, "shutdownAfterJobFinish"),
        (("spec", "rayClusterSpec", "authOptions", "secret"), "x", "secret"),
        (("spec", "rayClusterSpec", "authOptions", "mode"), "tokens", "tokens"),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "maxReplica"), 3, "maxReplica"),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 1, "replicas"), "3", "integer"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0, "string"),
        (("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "serviceAcount"), "x", "serviceAcount"),
        (("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "containers", 0, "resources", "limits",
          "memory"), "16 GiB", "16 GiB"),
    ],
)  # fmt: skip
def test_kubernetes_refuses_a_slip(keys, value, complaint):
    job = documents("kuberay/rayjob.yaml")[0]
    at(job, *keys[:-1])[keys[-1]] = value
    assert complaint in str(complaints(job))


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_autoscaler_sees_the_pools(name):
    types = node_types(name)
    assert types["headgroup"]["resources"]["CPU"] == 0
    for pool, size in (("cpu", "data"), ("gpu", "train")):
        validate_node_label_syntax(types[pool]["labels"])
        assert types[pool]["labels"] == {"pool": size} and types[pool]["min_workers"] <= types[pool]["max_workers"]
    assert types["cpu"]["resources"]["data"] == types["cpu"]["resources"]["CPU"] and types["cpu"]["min_workers"] >= 1
    assert types["gpu"]["resources"]["train"] == types["gpu"]["resources"]["GPU"] == 1


@pytest.mark.parametrize("name", MANIFESTS)
def test_pods_are_confined_and_reached_by_few(name):
    cluster, policy = documents(name)[0]["spec"][MANIFESTS[name]], documents(name)[1]["spec"]
    assert cluster["authOptions"] == {"mode": "token", "secretName": "raymap-ray-token"}
    assert not any(document["kind"] == "Secret" for document in documents(name))
    for pod in pods(name):
        assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert pod["spec"]["securityContext"]["runAsNonRoot"] and pod["spec"]["securityContext"]["runAsUser"] > 0
        (container,) = pod["spec"]["containers"]
        assert not {"livenessProbe", "readinessProbe", "startupProbe"} & set(container)
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        given = {
            entry["name"]: int(entry["value"]) for entry in container["env"] if entry["name"].startswith("RAY_health")
        }
        period, timeout, threshold = (given[f"RAY_health_check_{key}"] for key in (
            "period_ms", "timeout_ms", "failure_threshold"))  # fmt: skip
        assert threshold * (period + timeout) <= 15_000
    open_to_all = [port["port"] for rule in policy["ingress"] if "from" not in rule for port in rule["ports"]]
    assert open_to_all == ([8000] if "service" in name else [])


def test_the_endpoint_on_kubernetes_is_the_one_of_the_serve_config():
    inside = yaml.safe_load(documents("kuberay/rayservice.yaml")[0]["spec"]["serveConfigV2"])
    outside = documents("serve/config.yaml")[0]
    assert inside == outside
    assert ServeDeploySchema.model_validate(inside) == ServeDeploySchema.model_validate(outside)


def test_the_image_has_what_the_manifests_need():
    lines = commands((HOME / "Dockerfile").read_text())
    (base,) = (line.split()[1] for line in lines if line.startswith("FROM"))
    launched = documents("cluster.yaml")[0]
    images = {base, *(value for key, value in launched["docker"].items() if key.endswith("image"))}
    images.add(launched["available_node_types"]["cpu"]["docker"]["worker_image"])
    assert {image.rpartition("-")[0] for image in images} == {f"rayproject/ray:{ray.__version__}-py311"}
    assert {image.rpartition("-")[2] for image in images} == {"cpu", "gpu"}
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[2:-1]]
    assert {"pyproject.toml", "raymap", "jobs", "serve"} <= set(copied)
    assert all((HOME / name).exists() for name in copied)
    (variables,) = (dict(pair.split("=") for pair in line.split()[1:]) for line in lines if line.startswith("ENV"))
    assert variables == {key: value for key, value in ENVIRONMENT.items() if key != "RAY_AUTH_MODE"}
    assert lines[-1].startswith("USER") and not lines[-1].split()[1].startswith(("0", "root"))
    for name in MANIFESTS:
        assert documents(name)[0]["spec"][MANIFESTS[name]]["rayVersion"] == ray.__version__
        assert {pod["spec"]["containers"][0]["image"].partition(":")[2] for pod in pods(name)} == {PROJECT["version"]}
