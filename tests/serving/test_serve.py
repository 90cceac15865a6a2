"""The endpoint on a real Ray Serve: its answers, its batches, its patience, and what happens when a process dies."""

import concurrent.futures
import json
import os
import re
import signal
import time
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

import raymap
from raymap.scene import Transmitter
from raymap.serving import tiles
from raymap.serving.app import build
from raymap.serving.examples import PATHS_EXAMPLES
from raymap.serving.limits import Limits
from raymap.serving.settings import Serving, Stage

CONFIG = Path(__file__).parents[2] / "serve/config.yaml"
PORT = 8765

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def deployed(client_at):
    """A client of the endpoint on Ray Serve with small queues, and what it was built from."""
    from ray import serve

    from raymap.runtime import cluster

    cluster.connect(min_cpus=4)
    stage = Stage(num_cpus=0.5, max_ongoing_requests=16, max_queued_requests=8, max_batch_size=8)
    serving = Serving(outline=stage, map=stage, limits=Limits(max_requests=12))
    serve.start(http_options={"port": PORT})
    serve.run(build(serving.model_dump(mode="json")), name="raymap")
    client = client_at(f"http://127.0.0.1:{PORT}")
    deadline = time.monotonic() + 120
    while client.get("/readyz").status != 200:
        assert time.monotonic() < deadline, client.get("/readyz").content
        time.sleep(0.2)
    yield client
    serve.shutdown()


def running(stage):
    """Processes of a deployment."""
    return [process for process in psutil.process_iter(["cmdline"])
            if any(f"ServeReplica:raymap:{stage}" in word for word in process.info["cmdline"] or ())]  # fmt: skip


def gain_db(answer):
    return np.array(answer.json["layers"]["gain_db"], np.float32)


def at_once(client, bodies, threads=32):
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda body: client.post("/v1/maps", body), bodies))


def test_two_stages_answer_what_the_model_predicts(deployed, block):
    (wanted,) = raymap.predict(
        raymap.load("k2-small"), tiles.scene("san-francisco-1", 5.9e9), [Transmitter((130.0, 130.0, 1.5))], seeds=[4]
    )
    answer = deployed.post("/v1/maps", {**block, "seed": 4})
    np.testing.assert_allclose(gain_db(answer)[0], np.where(wanted.valid, wanted.gain_db, np.nan), atol=0.0051)


def test_many_at_once_are_drawn_in_batches_and_each_gets_its_own(deployed, block):
    bodies = [{**block, "ensemble": 1 + k % 2, "layers": ["gain"], "seed": k} for k in range(12)]
    alone = [gain_db(deployed.post("/v1/maps", body)) for body in bodies[:3]]
    answers = at_once(deployed, bodies, threads=6)
    assert {answer.status for answer in answers} == {200}
    for one, answer in zip(alone, answers, strict=False):
        np.testing.assert_allclose(gain_db(answer), one, atol=0.011)


def test_who_cannot_be_served_now_is_told_when_to_come_again(deployed, block):
    answers = at_once(deployed, [{**block, "ensemble": 8}] * 40, threads=40)
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {200, 503} and statuses.count(200) >= 12
    refused = [answer for answer in answers if answer.status == 503]
    assert all(int(answer.headers["retry-after"]) > 0 and "errors" in answer.json for answer in refused)
    assert deployed.post("/v1/maps", block).status == 200


def test_a_model_s_process_that_dies_costs_nobody_an_answer(deployed, block):
    replicas = running("Map")
    assert replicas
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(deployed.post, "/v1/maps", {**block, "seed": k}) for k in range(24)]
        time.sleep(0.3)
        for process in replicas:
            os.kill(process.pid, signal.SIGKILL)
        statuses = [one.result().status for one in asked]
    assert statuses == [200] * 24


def test_a_large_area_travels_between_the_stages(deployed):
    body = {"area": {"kind": "tile", "name": "munich-centre"}, "transmitters": [{"x_m": 566, "y_m": 558}], "steps": 1}
    answer = deployed.post("/v1/maps", body)
    assert answer.status == 200, answer.content
    assert gain_db(answer).shape == (1, 256, 256)


def test_a_request_is_in_the_log_by_its_id(deployed, block):
    import ray

    asked = "an-id-that-i-gave"
    assert deployed.post("/v1/maps", block, x_request_id=asked).headers["x-request-id"] == asked
    folder = Path(ray._private.worker._global_node.get_logs_dir_path()) / "serve"
    deadline = time.monotonic() + 20
    while not (lines := [line for file in folder.glob("*Ingress*") for line in file.read_text().splitlines()
                         if asked in line]):  # fmt: skip
        assert time.monotonic() < deadline
        time.sleep(0.2)
    told = json.loads(lines[0][lines[0].index("{") :])
    assert told["status"] == 200 and told["path"] == "/v1/maps" and told["ms"] > 1


def test_jobs_are_kept_by_a_process_of_their_own(deployed, block):
    path = deployed.post("/v1/jobs", {**block, "ensemble": 4}).headers["location"]
    while (now := deployed.get(path).json)["status"] in ("waiting", "running"):
        time.sleep(0.05)
    assert now["status"] == "done", now
    assert gain_db(deployed.get(f"{path}/answer")).shape == (1, 64, 64)
    assert deployed.get("/v1/jobs/none").status == 404


def test_paths_are_told_by_a_process_that_starts_when_it_is_asked(deployed):
    example = PATHS_EXAMPLES["two paths"]["value"]
    assert not running("Paths")
    (receiver,) = deployed.post("/v1/paths", example).json["receivers"]
    assert receiver["position_m"] == example["receivers_m"][0] and receiver["paths"]
    assert running("Paths")
    assert deployed.post("/v1/paths", {**example, "bandwidth_hz": 1e10}).status == 422


def test_what_the_dashboard_shows_is_told_by_ray(deployed, block):
    import ray

    assert deployed.post("/v1/maps", block).status == 200
    text = (Path(__file__).parents[2] / "serve/grafana.json").read_text()
    shown = set(re.findall(r"ray_(?:serve|raymap|node)_[a-z_]+", text))
    # Counted only once something goes wrong.
    shown -= {"ray_raymap_stage_failures_total", "ray_serve_deployment_error_counter_total"}
    assert len(shown) >= 10
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    deadline, missing = time.monotonic() + 60, shown
    while missing and time.monotonic() < deadline:
        told = urllib.request.urlopen(url, timeout=10).read().decode()
        missing = {name for name in shown if not re.search(rf"^{name}\{{", told, re.MULTILINE)}
        time.sleep(1)
    assert not missing


def test_the_file_for_clusters_is_valid_and_names_what_is_built():
    from ray.serve.schema import ServeDeploySchema

    found = ServeDeploySchema.model_validate(yaml.safe_load(CONFIG.read_text()))
    (application,) = found.applications
    assert application.import_path == "raymap.serving.app:build"
    serving = Serving.model_validate(json.loads(json.dumps(application.args)))
    assert found.http_options.request_timeout_s > serving.limits.timeout_s
