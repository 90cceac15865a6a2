"""S1 and S2 are what the paper says, drawn by the seed; a damaged part of a trace is named."""

import json
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest

from raymap.data import scenarios, traces
from raymap.propagation import ray_tracing
from raymap.scene import Paths


def _installed() -> bool:
    try:
        return bool(version("sionna-rt"))
    except PackageNotFoundError:
        return False


needs_cities = pytest.mark.skipif(not _installed(), reason="the city is in sionna-rt, which is not installed")


@pytest.fixture
def tracer():
    try:
        ray_tracing.doctor()
    except (ImportError, RuntimeError) as reason:
        pytest.skip(str(reason))


def test_s1_is_the_room_of_the_paper():
    scene, transmitter, receivers_m, num_paths = scenarios.scenario("S1", 4)
    assert scene.frequency_hz == 2.4e9 and num_paths == 5
    corners_m = np.concatenate([mesh.vertices_m for mesh in scene.meshes])
    assert np.array_equal(np.ptp(corners_m, axis=0), [10, 10, 5])
    assert transmitter.xyz_m[2] == 2.5 and all(2.5 <= value <= 7.5 for value in transmitter.xyz_m[:2])
    assert receivers_m.shape == (100 * 100, 3) and np.array_equal(np.unique(receivers_m[:, 2]), [1.0])
    assert receivers_m.min(0)[:2] == pytest.approx(0.05) and receivers_m.max(0)[:2] == pytest.approx(9.95)
    assert receivers_m[1] - receivers_m[0] == pytest.approx([0.1, 0, 0])


@needs_cities
def test_s2_is_a_window_of_a_city():
    scene, transmitter, receivers_m, num_paths = scenarios.scenario("S2", 1, 8.0)
    raster = scenarios.window(1)
    assert raster.grid.shape == (512, 512) and raster.grid.cell_m == 1.0
    assert scene.frequency_hz == raster.frequency_hz == 3.5e9 and num_paths == 5
    assert transmitter.xyz_m[2] == 30.0 and raster.building_m[transmitter.cell(raster.grid)] <= scenarios.MAX_ROOF_M
    assert all(128 <= value <= 384 for value in transmitter.xyz_m[:2])
    column, row = receivers_m[:, :2].astype(int).T
    assert raster.outdoor[row, column].all() and 0.35 < len(receivers_m) / 64**2 < 0.85
    # the meshes lie where the raster says: their roofs over built cells
    tops_m = np.concatenate([mesh.vertices_m[mesh.faces].mean(1) for mesh in scene.meshes])
    tops_m = tops_m[(tops_m[:, :2] > 0).all(1) & (tops_m[:, :2] < 512).all(1) & (tops_m[:, 2] > 12)]
    assert (raster.building_m[tops_m[:, 1].astype(int), tops_m[:, 0].astype(int)] > 0).mean() > 0.75
    assert len(tops_m) > 500


@needs_cities
def test_sight_in_s2_is_what_the_raster_shows(tracer):
    scene, transmitter, receivers_m, _ = scenarios.scenario("S2", 1, 16.0)
    options = ray_tracing.Options(max_depth=0)
    sight = ray_tracing.paths(scene, transmitter, receivers_m, 1, options=options).valid[:, 0]
    height_m, start_m = scenarios.window(1).building_m, np.array(transmitter.xyz_m)
    free = []
    for receiver_m in receivers_m:
        x, y, z = (start_m + np.linspace(0, 1, 1500)[1:-1, None] * (receiver_m - start_m)).T
        free.append((height_m[y.astype(int), x.astype(int)] < z).all())
    assert 0.02 < sight.mean() < 0.6
    assert (sight == free).mean() > 0.98


@needs_cities
def test_seeds_draw_and_repeat():
    places = {scenarios.scenario("S2", seed, 64.0).transmitter.xyz_m for seed in (0, 1, 0)}
    assert len(places) == 2
    assert scenarios.scenario("S1", 0).transmitter != scenarios.scenario("S1", 1).transmitter


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("S3",), "unknown scenario 'S3'; there are S1, S2"),
        (("S1", -1), "seed must not be negative, got -1"),
        (("S1", 0, 0.0), "spacing_m must be above 0 and at most 10 m, got 0.0"),
        (("S1", 0, 11.0), "got 11.0"),
        (("S1", 0, None, "munich"), "S1 is a room, it is in no city; got 'munich'"),
        (("S2", 0, None, "paris"), "unknown city 'paris'; the cities are munich, florence"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        scenarios.scenario(*arguments)


def test_damaged_parts_are_named(tmp_path):
    traces.start(tmp_path, {"num_parts": 1, "num_paths": 2, "transmitter_m": [1, 2, 3]})
    angles = np.zeros((1, 2, 2))
    paths = Paths(np.full((1, 2), 1e-5), np.zeros((1, 2)), angles, angles, np.zeros((1, 2)), np.array([[True, False]]))
    traces.write_part(tmp_path, 0, np.ones((1, 3)), paths)
    assert traces.read(tmp_path).paths.valid.tolist() == [[True, False]]
    whole = (tmp_path / "part-00000.npz").read_bytes()
    for broken in (b"", whole[: len(whole) // 2], b"no archive" * 50):
        (tmp_path / "part-00000.npz").write_bytes(broken)
        with pytest.raises(ValueError, match="part-00000.npz is no readable part"):
            traces.read(tmp_path)
    assert json.loads((tmp_path / "trace.json").read_text())["num_paths"] == 2
