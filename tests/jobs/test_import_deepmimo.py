"""Importing DeepMIMO: a folder in, a dataset of channels out; a broken pair costs that pair."""

import json

import numpy as np
import pytest

from raymap import units
from raymap.data import deepmimo, deepmimo_import, points, schema
from raymap.data.channel import Channel
from raymap.scene import Paths


@pytest.fixture(scope="module")
def job(load_job):
    return load_job("import_deepmimo")


def channel_from(transmitter_m, receivers_m, num_echoes):
    """Lines of sight and echoes to receivers; the last receiver hears nothing."""
    ray_m = receivers_m.astype(float) - transmitter_m
    distance_m = np.linalg.norm(ray_m, axis=1)
    azimuth = np.arctan2(ray_m[:, 1], ray_m[:, 0])
    zenith = np.arccos(ray_m[:, 2] / distance_m)
    turned = np.where(azimuth > 0, azimuth - np.pi, azimuth + np.pi)
    num = 1 + num_echoes
    gain = 0.5 ** np.arange(num) * (1e-3 / distance_m)[:, None]
    delay_s = (1 + np.arange(num)) * distance_m[:, None] / units.SPEED_OF_LIGHT_M_S

    def every(azimuth, zenith):
        return np.repeat(np.stack([azimuth, zenith], -1)[:, None], num, 1)

    kind = np.tile(np.minimum(np.arange(num), 1), (len(receivers_m), 1))
    valid = np.ones(kind.shape, bool)
    valid[-1] = False
    paths = Paths(gain, delay_s, every(turned, np.pi - zenith), every(azimuth, zenith), kind, valid)
    return Channel(paths, receivers_m, transmitter_m, 3.5e9)


@pytest.fixture
def folder(tmp_path):
    """Three transmitters over 12 receivers."""
    rng = np.random.default_rng(0)
    receivers_m = np.column_stack([rng.uniform(0, 100, (12, 2)), np.full(12, 1.5)]).astype(np.float32)
    channels = [
        channel_from(np.array([x, 50.0, 25.0]), receivers_m, echoes) for x, echoes in ((0, 3), (50, 6), (99, 0))
    ]
    deepmimo.write(tmp_path / "town", channels, ray_tracer="Test Tracer", ray_tracer_version="1.0")
    return tmp_path / "town"


def test_pairs_become_channels_and_a_broken_one_is_listed(ray_local, job, folder, tmp_path, capsys):
    broken = folder / "phase_t000_tx001_r001.npz"
    broken.write_bytes(broken.read_bytes()[:100])
    card = job.main(["--folder", str(folder), "--out", str(tmp_path / "out")])
    assert "2 of 3 channels, 24 receivers" in capsys.readouterr().out
    assert [link.name for link in card.splits["train"]] == ["town/t000_tx000_r001", "town/t000_tx002_r001"]
    assert card.share_without_path == 1 / 12 and "Test Tracer 1.0" in card.attribution
    (failure,) = schema.failures(tmp_path / "out")
    assert failure.what == "town/t000_tx001_r001" and broken.name in failure.reason
    for (_, channel), tx in zip(points.read(tmp_path / "out", "train"), (0, 2), strict=True):
        wanted = deepmimo.read(folder, tx=tx)
        np.testing.assert_array_equal(channel.receivers_m, wanted.receivers_m)
        np.testing.assert_array_equal(channel.paths.gain, wanted.paths.strongest(25).gain)
        np.testing.assert_array_equal(channel.paths.aoa_rad, wanted.paths.strongest(25).aoa_rad)


def test_running_again_makes_only_what_is_missing(ray_local, job, folder, tmp_path):
    broken = folder / "phase_t000_tx001_r001.npz"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    out = tmp_path / "out"
    argv = ["--folder", str(folder), "--out", str(out), "--num_paths", "2"]
    first = job.main(argv)
    times = {path: path.stat().st_mtime_ns for path in out.glob("train/*.parquet")}
    assert [path.name for path in sorted(times)] == ["t000_tx000_r001.parquet", "t000_tx002_r001.parquet"]

    broken.write_bytes(whole)  # what failed is tried again
    gone, kept = sorted(times)
    gone.write_bytes(gone.read_bytes()[:-10])
    (folder / "power_t000_tx002_r001.npz").write_bytes(b"no longer needed")
    card = job.main(argv)
    assert kept.stat().st_mtime_ns == times[kept] and gone.stat().st_mtime_ns != times[gone]
    assert [link.num_paths_left_out for link in card.splits["train"]] == [11 * 2, 11 * 5, 0]
    assert schema.failures(out) == []
    assert {link.fingerprint for link in first.splits["train"]} < {link.fingerprint for link in card.splits["train"]}
    assert [name for name, _ in points.read(out, "train")] == [link.name for link in card.splits["train"]]
    times = {path: path.stat().st_mtime_ns for path in out.glob("train/*.parquet")}
    assert job.main(argv) == card
    assert times == {path: path.stat().st_mtime_ns for path in out.glob("train/*.parquet")}
    with pytest.raises(ValueError, match="another plan: num_paths was 2, now 3"):
        job.main([*argv[:-1], "3"])


def test_a_pair_that_contradicts_its_positions_is_no_channel_unless_asked_otherwise(folder):
    path = folder / "aod_el_t000_tx002_r001.npz"
    zenith_deg = np.load(path)["aod_el"]
    np.savez(path, aod_el=np.abs(90 - zenith_deg))
    plan = deepmimo_import.ImportPlan(folder=str(folder), split="test")
    first, _, last = deepmimo_import.work(plan)
    assert deepmimo_import.channel(first, plan).paths.valid.shape == (12, 4)
    with pytest.raises(ValueError, match="off by .* departure"):
        deepmimo_import.channel(last, plan)
    trusting = plan.model_copy(update={"check_line_of_sight": False})
    assert deepmimo_import.channel(last, trusting).paths.valid.sum() == 11


def test_a_folder_without_anything_usable_is_refused(ray_local, job, folder, tmp_path):
    with pytest.raises(SystemExit, match="--folder"):
        job.main(["--folder", str(folder)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no arrays"):
        job.main(["--folder", str(tmp_path / "empty"), "--out", str(tmp_path / "out")])
    params = json.loads((folder / "params.json").read_text())
    params["rt_params"]["frequency"] = -1
    (folder / "params.json").write_text(json.dumps(params))
    with pytest.raises(ValueError, match="no channel could be written.*town/t000_tx000_r001: .*found -1"):
        job.main(["--folder", str(folder), "--out", str(tmp_path / "out")])
