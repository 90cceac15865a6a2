"""Shared fixtures: the Ray environment, one local cluster per session, a tiny dataset, and the real maps if present."""

from pathlib import Path

import pytest

from raymap.runtime.cluster import prepare_environment

prepare_environment()

HOME = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items):
    """Whatever asks for the cluster is marked ``ray``, so that ``-m "not ray"`` leaves it out."""
    for item in items:
        if "ray_local" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.ray)


@pytest.fixture(scope="session")
def ray_local():
    """One Ray cluster for the whole session, in this process."""
    import ray

    from raymap.runtime import cluster

    cluster.connect(min_cpus=4)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def tiny_city(tmp_path_factory, ray_local):
    """Folder of the ``debug`` dataset: 16 + 4 + 4 generated towns, 32 x 32 cells of 8 m."""
    from raymap.data import shards, sources

    folder = tmp_path_factory.mktemp("tiny-city")
    shards.generate(sources.plan("debug"), folder)
    return folder


@pytest.fixture(scope="session")
def radiomapseer_sample():
    """Folder with real RadioMapSeer maps, which are reference data and not part of the project."""
    folder = HOME.parent / "shared" / "data" / "radiomapseer_sample"
    if not folder.is_dir():
        pytest.skip(f"the real RadioMapSeer sample is not at {folder}")
    return folder
