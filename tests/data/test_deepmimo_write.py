"""DeepMIMO folders that we write: they read back to the last digit of their format, and look like the sample."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from raymap.data import deepmimo, deepmimo_format
from raymap.data.channel import Channel
from raymap.scene import Paths

STEM = "t000_tx000_r001"
PI = np.float32(np.pi)


@pytest.fixture(scope="module")
def sample() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared/data/deepmimo_sample"
    if not folder.is_dir():
        pytest.skip(f"no DeepMIMO sample at {folder}")
    return folder


def random_paths(rng, num_receivers, num_paths, share=0.7):
    """Paths in any order with gaps between, and every value at the ends of its range among them."""
    shape = (num_receivers, num_paths)

    def draw(values, *ends):
        at_end = rng.random(values.shape) < 0.15
        return np.where(at_end, rng.choice(np.array(ends, np.float64), values.shape), values)

    amplitude = draw(10 ** rng.uniform(-12, 0, shape), 1.0, 1e-29)
    azimuth = draw(rng.uniform(-3.14, 3.14, (2, *shape)), 0.0, PI, -PI)
    zenith = draw(rng.uniform(0, 3.14, (2, *shape)), 0.0, PI)
    gain = (amplitude * np.exp(1j * draw(rng.uniform(-3.14, 3.14, shape), 0.0, np.pi))).astype(np.complex64)
    gain[np.abs(gain) > 1] *= np.float32(1 - 1e-6)
    return Paths(
        gain=gain, delay_s=draw(rng.uniform(0, 1e-5, shape), 0.0), aoa_rad=np.stack([azimuth[0], zenith[0]], -1),
        aod_rad=np.stack([azimuth[1], zenith[1]], -1), kind=rng.integers(0, 5, shape), valid=rng.random(shape) < share,
    )  # fmt: skip


def random_channel(seed=0, num_receivers=4, num_paths=5, **changes):
    rng = np.random.default_rng(seed)
    paths = random_paths(rng, num_receivers, num_paths, **changes)
    return Channel(paths, rng.uniform(-500, 500, (num_receivers, 3)), rng.uniform(-500, 500, 3), 3.5e9)


def assert_same_paths(read, given):
    """Equal to the precision that ``write`` promises; ``given`` may be in any order and have gaps."""
    assert read.valid.sum() == given.valid.sum()
    for receiver in range(len(given.valid)):
        there = np.flatnonzero(given.valid[receiver])
        power_db = (20 * np.log10(np.abs(given.gain[receiver, there].astype(complex)))).astype(np.float32)
        wanted = there[np.argsort(-np.minimum(power_db, 0), kind="stable")]
        np.testing.assert_array_equal(np.flatnonzero(read.valid[receiver]), np.arange(len(wanted)))
        got = np.arange(len(wanted))
        for name in ("delay_s", "kind"):
            np.testing.assert_array_equal(getattr(read, name)[receiver, got], getattr(given, name)[receiver, wanted])
        ratio = read.gain[receiver, got] / given.gain[receiver, wanted].astype(complex)
        np.testing.assert_allclose(np.abs(ratio), 1, atol=4e-6)
        np.testing.assert_allclose(np.angle(ratio), 0, atol=5e-7)
        for name in ("aoa_rad", "aod_rad"):
            turn = getattr(read, name)[receiver, got].astype(float) - getattr(given, name)[receiver, wanted]
            np.testing.assert_allclose(np.abs(np.exp(1j * turn[:, 0]) - 1), 0, atol=5e-7)
            np.testing.assert_allclose(turn[:, 1], 0, atol=5e-7)


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(0, 7), st.sampled_from([0.0, 0.3, 1.0]))
@settings(deadline=None, max_examples=30)
def test_what_is_written_reads_back(tmp_path_factory, seed, num_receivers, num_paths, share):
    folder = tmp_path_factory.mktemp("written")
    channel = random_channel(seed, num_receivers, num_paths, share=share)
    (pair,) = deepmimo.write(folder, channel)
    assert deepmimo.pairs(folder) == [pair]
    back = deepmimo.read(folder)
    np.testing.assert_array_equal(back.receivers_m, channel.receivers_m)
    np.testing.assert_array_equal(back.transmitter_m, channel.transmitter_m)
    assert back.frequency_hz == channel.frequency_hz
    assert_same_paths(back.paths, channel.paths)
    np.testing.assert_array_equal(back.has_path, channel.has_path)
    for key in deepmimo_format.PER_PATH:
        stored = np.load(folder / f"{key}_{STEM}.npz")[key]
        assert stored.dtype == np.float32 and stored.shape[1] >= 1
        assert not key.endswith("az") or (stored[~np.isnan(stored)] > -180).all()


def test_several_transmitters_keep_their_own_paths_and_number(tmp_path):
    channels = [random_channel(seed, num_paths=num_paths) for seed, num_paths in enumerate((5, 2, 9))]
    receivers_m = channels[0].receivers_m
    channels = [Channel(c.paths, receivers_m, c.transmitter_m, c.frequency_hz) for c in channels]
    pairs = deepmimo.write(tmp_path / "town", channels)
    assert pairs == deepmimo.pairs(tmp_path / "town") and [pair.tx for pair in pairs] == [0, 1, 2]
    for pair, channel in zip(pairs, channels, strict=True):
        back = deepmimo.read(tmp_path / "town", *pair)
        assert_same_paths(back.paths, channel.paths)
        np.testing.assert_array_equal(back.transmitter_m, channel.transmitter_m)
        assert back.paths.valid.shape[1] == channel.paths.valid.sum(1).max()


def key_tree(values):
    return {key: key_tree(value) for key, value in values.items()} if isinstance(values, dict) else None


def test_a_written_folder_has_the_files_and_keys_of_the_sample(sample, tmp_path):
    channel = deepmimo.read(sample)
    deepmimo.write(tmp_path / "copy", channel, deepmimo.buildings(sample), ray_tracer=deepmimo.made_with(sample))
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {path.name for path in sample.iterdir()}
    ours, theirs = (json.loads((folder / "params.json").read_text()) for folder in (tmp_path / "copy", sample))
    for part in ("txrx_sets", "scene"):
        assert key_tree(ours[part]) == key_tree(theirs[part])
    assert ours.keys() == theirs.keys() and ours["rt_params"].keys() == theirs["rt_params"].keys()
    assert ours["materials"]["material_0"].keys() == theirs["materials"]["material_0"].keys()
    for number in ("txrx_set_0", "txrx_set_1"):
        assert ours["txrx_sets"][number] == theirs["txrx_sets"][number]
    for key in (*deepmimo_format.PER_PATH, "rx_pos", "tx_pos", "inter_pos"):
        mine, wanted = (np.load(folder / f"{key}_{STEM}.npz")[key] for folder in (tmp_path / "copy", sample))
        assert mine.dtype == wanted.dtype and mine.ndim == wanted.ndim and mine.shape[:2] == wanted.shape[:2], key
        if key not in ("inter", "inter_pos"):
            np.testing.assert_allclose(mine, wanted, rtol=3e-7, atol=3e-5, err_msg=key)
    assert_same_paths(deepmimo.read(tmp_path / "copy").paths, channel.paths)
    again = deepmimo.buildings(tmp_path / "copy")
    assert len(again) == 69
    for mine, wanted in zip(again, deepmimo.buildings(sample), strict=True):
        assert (mine.name, mine.base_m, mine.top_m) == (wanted.name, wanted.base_m, wanted.top_m)
        np.testing.assert_array_equal(mine.corners_m, wanted.corners_m)


@pytest.mark.parametrize("ending", [".npy", ".mat"])
def test_every_format_gives_the_same(ending, tmp_path):
    deepmimo.write(tmp_path / "npz", random_channel())
    other = shutil.copytree(tmp_path / "npz", tmp_path / "other")
    for path in other.glob("*.npz"):
        key = path.name.split("_t000")[0].removesuffix(".npz")
        array = np.load(path)[key]
        path.unlink()
        # Column-major, big-endian doubles are as good as what the package writes.
        array = np.asfortranarray(array, ">f8" if ending == ".npy" else "f8")
        np.save(path.with_suffix(ending), array) if ending == ".npy" else scipy.io.savemat(
            path.with_suffix(ending), {key: array}, do_compression=True
        )
    first, second = deepmimo.read(tmp_path / "npz"), deepmimo.read(other)
    for name in Paths.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first.paths, name), getattr(second.paths, name))
    np.testing.assert_array_equal(first.receivers_m, second.receivers_m)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda o: o[0].pop("face_vertex_idxs"), "object 0 needs face_vertex_idxs"),
        (lambda o: o[0].update(face_vertex_idxs=[[0, 1, 99]]), "not among the 12"),
        (lambda o: o[0].update(face_vertex_idxs=[[0, 1, -1]]), "not among the 12"),
        (lambda o: o[0].update(face_vertex_idxs=[[0, 1, [2]]]), "not among the 12"),
        (lambda o: o[0].update(face_vertex_idxs=[[4, 5, 6, 7]]), "not a prism"),
        (lambda o: o[0].update(face_vertex_idxs=[[0, 1, 4]]), "not a prism"),
        (lambda o: o.insert(0, 3), "object 0 needs"),
    ],
)
def test_objects_that_make_no_sense_are_named(tmp_path, change, said):
    house = deepmimo.Building("house", np.array([[0, 0], [9, 0], [9, 5], [0, 5]], np.float32), 0.0, 12.0)
    deepmimo.write(tmp_path / "town", random_channel(), [house])
    (back,) = deepmimo.buildings(tmp_path / "town")
    np.testing.assert_array_equal(back.corners_m, house.corners_m)
    assert back[2:] == (0.0, 12.0, "buildings")
    path = tmp_path / "town/objects.json"
    objects = json.loads(path.read_text())
    change(objects)
    path.write_text(json.dumps(objects))
    with pytest.raises(ValueError, match=f"objects.json: .*{said}"):
        deepmimo.buildings(tmp_path / "town")


def test_what_the_layout_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    many = random_channel(num_paths=26, share=1.0)
    few = random_channel(2)
    other_hz = Channel(few.paths, few.receivers_m, few.transmitter_m, 2.4e9)
    nobody = Channel(random_paths(np.random.default_rng(0), 0, 3), np.zeros((0, 3)), np.zeros(3), 3.5e9)
    for channels, said in (
        (many, r"26 paths .*strongest\(25\)"), ([few, random_channel(3)], "other receivers than channel 0"),
        ([few, other_hz], "2.4e.09 Hz, channel 0 at 3.5e.09"), ([], "at least one channel"), (nobody, "one receiver"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            deepmimo.write(tmp_path / "new", channels)
    assert not (tmp_path / "new").exists()
    deepmimo.write(tmp_path / "new", few)
    with pytest.raises(ValueError, match="already holds"):
        deepmimo.write(tmp_path / "new", few)
