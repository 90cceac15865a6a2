"""A network learns paths of some rooms on two workers and is compared in another one, with nothing measured, too."""

import json

import numpy as np
import pytest

from raymap.data import mesh_file, traces
from raymap.models import base
from raymap.models.scene_paths import ScenePaths
from raymap.propagation import meshes
from raymap.scene import PathKind, Paths


@pytest.fixture
def job(load_job):
    return load_job("train_scene_paths")


def trace(folder, size_m, seed, num=60, mapped=True):
    """Line of sight in a room, as a folder of traced paths."""
    rng = np.random.default_rng(seed)
    transmitter_m = np.array([size_m[0] / 2, size_m[1] / 2, 2.0])
    receivers_m = np.column_stack([rng.uniform(0.1, 0.9, (num, 2)) * size_m, np.ones(num)])
    ray_m = transmitter_m - receivers_m
    length_m = np.linalg.norm(ray_m, axis=1)[:, None]
    angles = np.stack([np.arctan2(ray_m[:, 1], ray_m[:, 0]), np.arccos(ray_m[:, 2] / length_m[:, 0])], axis=1)[:, None]
    paths = Paths(
        1e-2 / length_m, length_m / 299_792_458.0, angles, angles, np.full((num, 1), PathKind.LINE_OF_SIGHT),
        np.ones((num, 1), bool),
    )  # fmt: skip
    traces.start(folder, {
        "transmitter_m": transmitter_m.tolist(), "frequency_hz": 2.4e9, "num_receivers": num, "num_paths": 1,
        "num_parts": 1,
    })  # fmt: skip
    traces.write_part(folder, 0, receivers_m, paths)
    if mapped:
        mesh_file.write(folder / traces.SURROUNDINGS_FILE, meshes.room((*size_m, 3.0), 2.4e9))
    return str(folder)


def test_rooms_are_learned_on_two_workers_and_another_is_told_without_measurements(job, tmp_path, ray_local):
    rooms = [trace(tmp_path / f"room{seed}", (6 + 2 * seed, 7), seed) for seed in range(4)]
    model = job.main([
        "--data", rooms[0], "--data", rooms[1], "--unseen", rooms[2], "--test", f"other={rooms[3]}", "--rate", "0,0.2",
        "--methods", "nearest", "--seeds", "2", "--num_paths", "1", "--num_workers", "2", "--size", "debug",
        "--out", str(tmp_path / "out"),
    ])  # fmt: skip
    assert isinstance(base.load(model), ScenePaths)
    rates = json.loads((tmp_path / "out/metrics.json").read_text())["scenes"]["other"]["rates"]
    assert {rate: list(methods) for rate, methods in rates.items()} == {
        "0": ["Learned from other scenes"], "0.2": ["Learned from other scenes", "Nearest receiver"],
    }  # fmt: skip
    # Paths are told by what they have beyond the straight way, so that the delay of a line of sight is known at once.
    assert rates["0"]["Learned from other scenes"]["scores"]["all/delay/rmse"]["mean"] < 3
    settings = json.loads((tmp_path / "out/scene_paths/settings.json").read_text())
    assert len(settings["data"]["scenes"]) == 2 and len(settings["data"]["unseen"]) == 1


def test_a_scene_without_a_map_is_refused(job, tmp_path):
    with pytest.raises(ValueError, match="bare has no map of what stands around"):
        job.main(["--data", trace(tmp_path / "bare", (6, 7), 0, mapped=False), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="--data names scenes"):
        job.main([])
