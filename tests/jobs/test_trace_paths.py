"""A trace on disk stops, goes on where it stopped, refuses to be mixed, and comes out in DeepMIMO's layout."""

import numpy as np
import pytest

from raymap.data import deepmimo, mesh_file, scenarios, traces
from raymap.propagation import ray_tracing


@pytest.fixture
def job(load_job):
    try:
        ray_tracing.doctor()
    except (ImportError, RuntimeError) as reason:
        pytest.skip(str(reason))
    return load_job("trace_paths")


def test_a_trace_goes_on_where_it_stopped(job, tmp_path, capsys):
    argv = ["--scenario", "S1", "--spacing_m", "1", "--max_depth", "1", "--num_rays", "2000", "--part_size", "40",
            "--out", str(tmp_path / "s1")]  # fmt: skip
    assert job.main([*argv, "--max_parts", "2"]) == 80
    with pytest.raises(ValueError, match="1 of 3 parts are missing"):
        traces.read(tmp_path / "s1")
    first = (tmp_path / "s1/part-00000.npz").read_bytes()
    assert job.main(argv) == 20
    assert job.main([*argv, "--deepmimo", str(tmp_path / "deepmimo")]) == 0
    assert (tmp_path / "s1/part-00000.npz").read_bytes() == first
    assert "100 of 100 receivers traced, 100.0% reached" in capsys.readouterr().out
    found = traces.read(tmp_path / "s1")
    wanted = scenarios.scenario("S1", 0, 1.0)
    assert np.array_equal(found.receivers_m, wanted.receivers_m)
    room = mesh_file.read(tmp_path / "s1" / traces.SURROUNDINGS_FILE, 2.4e9)
    assert np.allclose(np.ptp(room.meshes[0].vertices_m, axis=0), scenarios.ROOM_M)
    assert found.transmitter.xyz_m == wanted.transmitter.xyz_m and found.about["frequency_hz"] == 2.4e9
    again = ray_tracing.paths(
        wanted.scene, wanted.transmitter, wanted.receivers_m, 5, options=ray_tracing.Options(max_depth=1, num_rays=2000)
    )
    assert np.array_equal(found.paths.valid, again.valid)
    assert np.allclose(found.paths.gain, again.gain, rtol=1e-3)
    channel = deepmimo.read(tmp_path / "deepmimo")
    np.testing.assert_allclose(channel.paths.gain, found.paths.gain, rtol=1e-5)
    np.testing.assert_allclose(channel.paths.aoa_rad, found.paths.aoa_rad, atol=1e-6)
    assert np.array_equal(channel.paths.kind, found.paths.kind)
    assert np.array_equal(channel.paths.delay_s, found.paths.delay_s)
    with pytest.raises(ValueError, match="holds another trace: seed is 0 and not 5"):
        job.main([*argv, "--seed", "5"])
