"""Reading DeepMIMO: the sample reads as measured, units become ours, and whatever is broken is named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymap import units
from raymap.data import deepmimo, deepmimo_format
from raymap.data.channel import Channel, check_line_of_sight
from raymap.scene import PathKind, Paths

STEM = "t000_tx000_r001"
PI = np.float32(np.pi)


@pytest.fixture(scope="module")
def sample() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared/data/deepmimo_sample"
    if not folder.is_dir():
        pytest.skip(f"no DeepMIMO sample at {folder}")
    return folder


# The sample, made with Sionna RT.


def test_the_sample_reads_as_measured(sample):
    assert [str(pair) for pair in deepmimo.pairs(sample)] == [STEM]
    channel = deepmimo.read(sample)
    assert channel.paths.valid.shape == (210, 25) and channel.frequency_hz == 3.5e9
    assert (~channel.has_path).sum() == 46 and channel.paths.valid.sum() == 2300
    kinds = np.bincount(channel.paths.kind[channel.paths.valid], minlength=5)
    # 67 + 89 + 60 paths of ones only; everything else holds a 2.
    assert dict(zip(PathKind, kinds.tolist(), strict=True)) == {
        PathKind.LINE_OF_SIGHT: 21, PathKind.REFLECTION: 216, PathKind.SCATTERING: 0, PathKind.DIFFRACTION: 2063,
        PathKind.TRANSMISSION: 0,
    }  # fmt: skip
    strongest_db = channel.paths.gain_db
    assert (np.diff(np.where(channel.paths.valid, strongest_db, -1e3), axis=1) <= 1e-4).all()
    assert deepmimo.made_with(sample) == "Sionna Ray Tracing 2.2.0"


def test_lines_of_sight_of_the_sample_obey_geometry_and_friis(sample):
    channel = deepmimo.read(sample)
    assert check_line_of_sight(channel, max_angle_deg=0.02, max_delay_s=1e-11) == 21
    receiver, number = np.nonzero(channel.paths.valid & (channel.paths.kind == PathKind.LINE_OF_SIGHT))
    distance_m = np.linalg.norm(channel.receivers_m[receiver] - channel.transmitter_m, axis=1)
    loss_db = [units.free_space_loss_db(float(d), channel.frequency_hz) for d in distance_m]
    np.testing.assert_allclose(channel.paths.gain_db[receiver, number], np.negative(loss_db), atol=1e-3)


# One folder, spoilt in one place.


def small_channel():
    """4 receivers with 5, 4, 1 and 0 paths of falling power."""
    rng = np.random.default_rng(1)
    angle_rad = np.stack([rng.uniform(-3, 3, (4, 5)), rng.uniform(0, 3, (4, 5))], -1)
    gain = np.sort(rng.uniform(1e-6, 1e-3, (4, 5)))[:, ::-1] * np.exp(1j * rng.uniform(-3, 3, (4, 5)))
    valid = np.arange(5) < np.array([[5], [4], [1], [0]])
    paths = Paths(gain, rng.uniform(1e-8, 1e-6, (4, 5)), angle_rad, angle_rad[::-1], rng.integers(0, 5, (4, 5)), valid)
    return Channel(paths, rng.uniform(-500, 500, (4, 3)), rng.uniform(-500, 500, 3), 3.5e9)


@pytest.fixture
def folder(tmp_path):
    """A whole folder, to be spoilt."""
    deepmimo.write(tmp_path / "town", small_channel())
    return tmp_path / "town"


def rewrite(folder, key, change):
    path = folder / f"{key}_{STEM}.npz"
    array = np.load(path)[key]
    changed = change(array)
    np.savez(path, **{key: array if changed is None else changed})


def set_entry(place, value):
    def change(array):
        array[place] = value

    return change


def test_paths_in_any_order_with_gaps_are_the_same_paths(folder):
    sorted_paths = deepmimo.read(folder).paths
    order = np.random.default_rng(0).permuted(np.tile(np.arange(5), (4, 1)), axis=1)
    for key in deepmimo_format.PER_PATH:
        rewrite(folder, key, lambda array: np.take_along_axis(array, order, 1))
    mixed = deepmimo.read(folder).paths
    for name in Paths.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(mixed, name), getattr(sorted_paths, name))


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        ("delay", lambda a: a[:, :-1], r"delay has shape \(4, 4\), power wants \(4, 5\)"),
        ("power", lambda a: a[:-1], r"power has shape \(3, 5\), rx_pos wants \(4, 5\)"),
        ("power", lambda a: a[:, 0], r"power has shape \(4,\)"),
        ("rx_pos", lambda a: a[:, :2], r"rx_pos has shape \(4, 2\)"),
        ("rx_pos", lambda a: a[:0], r"rx_pos has shape \(0, 3\)"),
        ("rx_pos", set_entry((1, 2), np.nan), "rx_pos must be finite"),
        ("tx_pos", lambda a: np.zeros((2, 3)), r"tx_pos has shape \(1, 6\)"),
        ("tx_pos", set_entry((0, 0), np.inf), "tx_pos must be finite"),
        ("power", set_entry((1, 2), 3.5), r"power must lie in \[-590, 0\] \(dB\); receiver 1, path 2 has 3.5"),
        ("power", lambda a: 10 ** (a / 10), r"power must lie in \[-590, 0\]"),
        ("power", set_entry((0, 0), -np.inf), "receiver 0, path 0 has -inf"),
        ("phase", set_entry((0, 1), np.inf), "receiver 0, path 1 has inf"),
        ("delay", set_entry((0, 1), -1e-9), "delay .* has -1e-09"),
        ("delay", lambda a: a * 1e9, r"delay must lie in \[0, 1\] \(s\)"),
        ("aoa_az", set_entry((2, 0), 181.0), r"aoa_az must lie in \[-180, 180\] \(°\); receiver 2, path 0 has 181"),
        ("aod_el", set_entry((2, 0), -3.0), r"aod_el must lie in \[0, 180\].*has -3"),
        ("phase", set_entry((0, 1), np.nan), "receiver 0, path 1 is NaN where power is a number"),
        ("aod_az", set_entry((3, 0), 12.0), "receiver 3, path 0 is a number where power is NaN"),
        ("inter", set_entry((0, 0), 15), "inter 15 is no row of interactions"),
        ("inter", set_entry((0, 0), 101), "inter 101 is no row"),
        ("inter", set_entry((0, 0), 1.5), "inter 1.5 is no row"),
        ("inter", set_entry((0, 0), -1), "inter must lie in"),
        ("inter", set_entry((0, 0), 111_111_111), "more than its number type holds exactly"),
        ("power", lambda a: a.astype(complex), "complex128.*real numbers"),
        ("power", lambda a: np.full(a.shape, "loud"), "U4.*real numbers"),
        ("power", lambda a: a.astype(object), "real numbers are expected"),
        ("power", lambda a: np.zeros(a.shape, [("power", "f4")]), "real numbers are expected"),
    ],
)
def test_a_spoilt_array_is_named_with_place_and_value(folder, key, change, said):
    rewrite(folder, key, change)
    with pytest.raises(ValueError, match=f"(?s){key}_{STEM}.npz: .*{said}"):
        deepmimo.read(folder)


@pytest.mark.parametrize("key", [*deepmimo_format.PER_PATH, "rx_pos", "tx_pos"])
def test_a_missing_array_is_named(folder, key):
    (folder / f"{key}_{STEM}.npz").unlink()
    with pytest.raises(FileNotFoundError, match=f"{key}_{STEM}.npz: no such file"):
        deepmimo.read(folder, 0, 0, 1)


def test_an_array_that_is_there_twice_is_refused(folder):
    np.save(folder / f"power_{STEM}.npy", np.zeros((4, 5)))
    with pytest.raises(ValueError, match="also there as .npy"):
        deepmimo.read(folder)


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: "{", "not valid JSON"),
        (lambda p: nested(200_000), "not valid JSON"),
        (lambda p: "[1]", "expected a dict"),
        (lambda p: p.update(version="3.0.0"), "version is '3.0.0'"),
        (lambda p: p.pop("rt_params"), "rt_params.frequency .* None"),
        (lambda p: p["rt_params"].update(frequency="3.5 GHz"), "'3.5 GHz'"),
        (lambda p: p["rt_params"].update(frequency=0), "found 0"),
        (lambda p: p["rt_params"].update(frequency=10**400), "must be in Hz"),
        (lambda p: p["rt_params"].update(frequency=float("nan")), "found nan"),
        (lambda p: p.update(txrx_sets=[]), "txrx_sets must list"),
        (lambda p: p["txrx_sets"].update(x=3), r"txrx_sets.x needs an id"),
        (lambda p: p["txrx_sets"]["txrx_set_0"].update(id="0"), r"txrx_set_0 needs an id"),
        (lambda p: p["txrx_sets"]["txrx_set_1"].update(id=0), r"txrx_set_1 needs an id of its own"),
        (lambda p: p["txrx_sets"]["txrx_set_0"].update(is_tx="yes"), "true or false"),
        (lambda p: p["txrx_sets"]["txrx_set_0"].update(is_tx=False), "set 0 says is_tx false"),
        (lambda p: p["txrx_sets"]["txrx_set_1"].update(is_rx=False), "set 1 says is_rx false"),
        (lambda p: p["txrx_sets"].pop("txrx_set_1"), r"no set 1 in txrx_sets; there are \[0\]"),
    ],
)
def test_wrong_parameters_are_named(folder, change, said):
    path = folder / "params.json"
    values = json.loads(path.read_text())
    text = change(values)
    path.write_text(text if isinstance(text, str) else json.dumps(values))
    with pytest.raises(ValueError, match=f"(?s)params.json: .*{said}"):
        deepmimo.read(folder)


def test_a_folder_without_parameters_or_that_does_not_exist(folder):
    (folder / "params.json").unlink()
    with pytest.raises(FileNotFoundError, match="params.json"):
        deepmimo.read(folder)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        deepmimo.pairs(folder / "elsewhere")


def test_a_pair_is_chosen_only_where_there_is_one_choice(folder):
    with pytest.raises(ValueError, match=rf"0 pairs fit tx_set=None, tx=7.*{STEM}"):
        deepmimo.read(folder, tx=7)
    params = json.loads((folder / "params.json").read_text())
    params["txrx_sets"]["txrx_set_0"]["is_rx"] = True
    params["txrx_sets"]["more"] = {**params["txrx_sets"]["txrx_set_1"], "id": 2}
    (folder / "params.json").write_text(json.dumps(params))
    for path in list(folder.glob(f"*_{STEM}.npz")):
        shutil.copy(path, path.with_name(path.name.replace("r001", "r000")))
    # Between base stations: there, but not what is meant when nothing is said.
    assert len(deepmimo.pairs(folder)) == 2
    assert len(deepmimo.read(folder).receivers_m) == len(deepmimo.read(folder, rx_set=0).receivers_m) == 4
    for path in list(folder.glob(f"*_{STEM}.npz")):
        shutil.copy(path, path.with_name(path.name.replace("r001", "r002")))
    with pytest.raises(ValueError, match="2 pairs fit"):
        deepmimo.read(folder)


def test_files_of_other_names_are_nobodys_pairs(folder):
    (folder / f"power_{STEM}.npz.part").write_bytes(b"")
    (folder / "power_t0000_tx000_r001.npz").write_bytes(b"")
    (folder / "power_t00x_tx000_r001.npz").write_bytes(b"")
    (folder / "power_t٠٠٠_tx000_r001.npz").write_bytes(b"")
    assert deepmimo.pairs(folder) == [deepmimo.Pair(0, 0, 1)]


# What single numbers mean.


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0, "LINE_OF_SIGHT"), (1, "REFLECTION"), (2, "DIFFRACTION"), (3, "SCATTERING"), (4, "TRANSMISSION"),
        (11, "REFLECTION"), (14, "REFLECTION"), (41, "REFLECTION"), (44, "TRANSMISSION"), (13, "SCATTERING"),
        (31, "SCATTERING"), (34, "SCATTERING"), (23, "DIFFRACTION"), (32, "DIFFRACTION"), (4312, "DIFFRACTION"),
        (1111111, "REFLECTION"),
    ],
)  # fmt: skip
def test_the_strongest_claim_decides_the_kind(folder, code, kind):
    rewrite(folder, "inter", set_entry((0, 0), code))
    assert deepmimo.read(folder).paths.kind[0, 0] == PathKind[kind]


@pytest.mark.parametrize(
    ("degrees", "azimuth_rad"),
    [(180.0, PI), (-180.0, PI), (180.00002, -PI), (90.0, PI / 2), (-90.0, -PI / 2), (0.0, 0.0), (-179.99, -3.1414182)],
)
def test_angles_become_radians_and_the_ends_of_the_range_are_one_direction(folder, degrees, azimuth_rad):
    rewrite(folder, "aod_az", set_entry((0, 0), np.float32(degrees)))
    rewrite(folder, "aod_el", set_entry((0, 0), np.float32(abs(degrees))))
    azimuth, zenith = deepmimo.read(folder).paths.aod_rad[0, 0]
    assert azimuth == pytest.approx(azimuth_rad, abs=6e-7)
    assert zenith == pytest.approx(np.radians(min(abs(degrees), 180)), abs=6e-7) and zenith <= PI


def test_a_path_of_zero_decibels_is_one_at_every_phase(folder):
    rewrite(folder, "power", set_entry((0, slice(None)), 0.0))
    for phase_deg in range(0, 360, 7):
        rewrite(folder, "phase", set_entry((0, slice(None)), phase_deg + np.arange(5)))
        assert np.abs(deepmimo.read(folder).paths.gain[0]) == pytest.approx(np.ones(5), abs=1e-6)


# Parameters that are anything.

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=4), part, max_size=3),
    max_leaves=6,
)


def places(values, path=()):
    """The paths of keys to everything in nested dicts."""
    yield path
    if isinstance(values, dict):
        for key, value in values.items():
            yield from places(value, (*path, key))


@pytest.fixture(scope="module")
def fuzzed_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed") / "town"
    deepmimo.write(folder, small_channel())
    return folder, json.loads((folder / "params.json").read_text())


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_parameters_with_anything_in_one_place_are_read_or_named(fuzzed_folder, data):
    folder, params = fuzzed_folder
    values = json.loads(json.dumps(params))
    *way, last = data.draw(st.sampled_from([path for path in places(params) if path and path[0] != "materials"]))
    entry = values
    for key in way:
        entry = entry[key]
    entry[last] = data.draw(ANYTHING)
    text = json.dumps(values).encode()
    if data.draw(st.booleans()):
        text = text[: data.draw(st.integers(0, len(text)))] + data.draw(st.binary(max_size=3))
    (folder / "params.json").write_bytes(text)
    try:
        channel = deepmimo.read(folder, 0, 0, 1)
    except ValueError as error:
        assert str(folder / "params.json") in str(error)
    else:
        assert channel.paths.valid.sum() == 10 and channel.frequency_hz > 0
