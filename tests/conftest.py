"""Shared fixtures: the Ray environment, one local cluster at a time, a tiny dataset, and the real maps if present."""

import os
import re
import sys
from pathlib import Path

import pytest

from raymap.runtime.cluster import prepare_environment

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
prepare_environment()

HOME = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items):
    """Whatever asks for the cluster is marked ``ray``, so that ``-m "not ray"`` leaves it out."""
    for item in items:
        if "ray_local" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.ray)


@pytest.fixture
def ray_local():
    """One Ray cluster in this process, shared by the tests that ask for it."""
    return _connected()


def _connected():
    import ray

    from raymap.runtime import cluster

    cluster.connect(min_cpus=4)
    return ray


@pytest.fixture(scope="module")
def quiet_machine():
    """Ends this process's cluster, for tests that start clusters of their own: idle, it still takes a fifth of a core.

    A later test that asks for ``ray_local`` starts it again.
    """
    _disconnect()


def _disconnect():
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


@pytest.fixture(scope="session", autouse=True)
def _leave_nothing_running():
    yield
    _disconnect()


@pytest.fixture(scope="session")
def tiny_city(tmp_path_factory):
    """Folder of the ``debug`` dataset: 16 + 4 + 4 generated towns, 32 x 32 cells of 8 m."""
    from raymap.data import shards, sources

    _connected()
    folder = tmp_path_factory.mktemp("tiny-city")
    shards.generate(sources.plan("debug"), folder)
    return folder


@pytest.fixture
def register_model():
    """A function: makes a model the next version of a registered one; the store's client."""
    from raymap.config import Settings, TrackingConfig
    from raymap.models import base
    from raymap.runtime import registry, track

    def register(folder, uri, model, name="law"):
        base.save(model, folder / "model")
        tracker = track.open_run(folder.name, folder, TrackingConfig(uri=uri), str(folder.parent), Settings(), {})
        tracker.model(folder / "model", registry.Card(name=name, text="a law"))
        tracker.end("FINISHED")
        return tracker.client

    return register


@pytest.fixture
def my_method(tmp_path):
    """Path of the method in a file outside of the package that CONTRIBUTING.md shows, to the letter."""
    (block,) = re.findall(r"```python\n(.*?)```", (HOME / "CONTRIBUTING.md").read_text(), re.DOTALL)
    path = tmp_path / "my_method.py"
    path.write_text(block)
    return path


@pytest.fixture(scope="session")
def radiomapseer_sample():
    """Folder with real RadioMapSeer maps, which are reference data and not part of the project."""
    folder = HOME.parent / "shared" / "data" / "radiomapseer_sample"
    if not folder.is_dir():
        pytest.skip(f"the real RadioMapSeer sample is not at {folder}")
    return folder
