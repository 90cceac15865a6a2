"""A model is served by its alias: when the alias moves, so does what is served, and nobody is sent away."""

import threading
import time

import numpy as np
import pytest

from raymap.models.pathloss import Cell3gpp, FreeSpace
from raymap.serving import followed
from raymap.serving.settings import Served, Serving


def test_a_moved_alias_is_served_without_a_request_lost(endpoint_of, register_model, block, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = register_model(tmp_path / "first", uri, FreeSpace(FreeSpace.Config()))
    served = Served(name="law", source="models:/law@champion")
    asked = endpoint_of(Serving(models=(served,), tracking_uri=uri, follow_s=0.2))
    answers, stopped = [], threading.Event()

    def ask():
        while not stopped.is_set():
            answers.append(asked.post("/v1/maps", block))

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        register_model(tmp_path / "second", uri, Cell3gpp(Cell3gpp.Config(scenario="umi")))
        client.set_registered_model_alias("law", "champion", "2")
        deadline = time.monotonic() + 60
        while not answers or answers[-1].headers.get("x-raymap-model") != "models:/law/2":
            assert time.monotonic() < deadline, answers and answers[-1]
            time.sleep(0.05)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert {answer.status for answer in answers} == {200}
    versions = [answer.headers["x-raymap-model"] for answer in answers]
    assert versions[0] == "models:/law/1" and versions[-1] == "models:/law/2"
    first, last = (np.array(answers[index].json["layers"]["gain_db"], float) for index in (0, -1))
    assert np.nanmax(np.abs(first - last)) > 1.0
    assert asked.get("/v1/models").json[0]["version"] == "models:/law/2"


def test_several_models_are_asked_for_by_name(endpoint_of, register_model, block, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    register_model(tmp_path / "first", uri, FreeSpace(FreeSpace.Config()))
    models = (Served(name="k2-small", source="k2-small"), Served(name="law", source="models:/law/1"))
    asked = endpoint_of(Serving(models=models, tracking_uri=uri))
    versions = {
        asked.post("/v1/maps", {**block, "model": name}).json["model"]["version"] for name in ("k2-small", "law")
    }
    assert versions == {"k2-small", "models:/law/1"}
    refused = asked.post("/v1/maps", {**block, "model": "law", "layers": ["outline"]})
    assert refused.status == 422 and "a layer that law draws" in refused.json["detail"]
    refused = asked.post("/v1/maps", {**block, "model": "law", "steps": 3})
    assert refused.status == 422 and "steps" in refused.json["detail"]


def test_an_alias_means_a_version_and_nothing_else_changes(register_model, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    register_model(tmp_path / "first", uri, FreeSpace(FreeSpace.Config()))
    assert followed.pinned("models:/law@champion", uri) == "models:/law/1"
    assert followed.pinned("models:/law/1", uri) == "models:/law/1"
    assert followed.pinned("k2-small", uri) == "k2-small"
    with pytest.raises(ValueError, match="no version of 'law' has the alias 'best'"):
        followed.pinned("models:/law@best", uri)
