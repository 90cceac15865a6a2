"""The door for arrays: whatever a file holds, it is an array of real numbers or a ValueError that names the file."""

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raymap.data import deepmimo_format

STEM = "t000_tx000_r001"
#: Hypothesis may use one folder for many examples: every example writes all of what it reads.
REPEATED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def content(array, key, ending):
    stream = io.BytesIO()
    {
        ".npz": lambda: np.savez_compressed(stream, **{key: array}),
        ".npy": lambda: np.save(stream, array),
        ".mat": lambda: scipy.io.savemat(stream, {key: array}, do_compression=bool(len(array) % 2)),
    }[ending]()
    return stream.getvalue()


def read_or_refused(path, reading):
    """Either something readable, or a ValueError that names the file: nothing else is an answer."""
    try:
        return reading()
    except ValueError as error:
        assert path.name in str(error)
        return None


@pytest.mark.parametrize("ending", deepmimo_format.FORMATS)
@given(data=st.data())
@REPEATED
def test_damaged_arrays_are_refused_or_whole(tmp_path, ending, data):
    array = np.random.default_rng(0).uniform(-100, 0, (data.draw(st.integers(1, 4)), 5)).astype(np.float32)
    whole = content(array, "power", ending)
    damage = data.draw(st.sampled_from(["cut", "flip", "noise", "longer"]))
    if damage == "cut":
        spoilt = whole[: data.draw(st.integers(0, len(whole) - 1))]
    elif damage == "flip":
        spoilt = bytearray(whole)
        for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
            spoilt[place] = data.draw(st.integers(0, 255))
    elif damage == "noise":
        head = data.draw(st.sampled_from([b"", whole[:8], whole[:128], b"PK\x03\x04", b"\x93NUMPY\x01\x00"]))
        spoilt = head + data.draw(st.binary(max_size=200))
    else:
        spoilt = whole + data.draw(st.binary(min_size=1, max_size=20))
    path = tmp_path / f"power_{STEM}{ending}"
    path.write_bytes(bytes(spoilt))
    read = read_or_refused(path, lambda: deepmimo_format.read_array(path, "power"))
    if read is not None:
        assert read.dtype.kind in "fiu" and read.nbytes <= 8 * max(len(spoilt), array.size)


def npy_header(shape, dtype="<f4"):
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize("shape", [(10**9, 10**9), (1 << 27, 1), (10**400,), (-1, 5), (3, -7), (4096, 4096)])
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_a_shape_that_the_file_does_not_fill_takes_no_memory(tmp_path, shape, ending):
    path = tmp_path / f"power_{STEM}{ending}"
    if ending == ".npy":
        path.write_bytes(npy_header(shape) + bytes(64))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("power.npy", npy_header(shape) + bytes(64))
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"{path.name}: cannot be read"):
        deepmimo_format.read_array(path, "power")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


@pytest.mark.parametrize("ending", deepmimo_format.FORMATS)
def test_what_is_larger_than_what_is_read_is_refused(tmp_path, monkeypatch, ending):
    path = tmp_path / f"power_{STEM}{ending}"
    path.write_bytes(content(np.zeros((100, 25)), "power", ending))
    assert deepmimo_format.read_array(path, "power").nbytes == 20_000
    monkeypatch.setattr(deepmimo_format, "_MAX_BYTES", 19_999)
    with pytest.raises(ValueError, match=f"{path.name}: .*more than the 19999"):
        deepmimo_format.read_array(path, "power")


def test_bytes_behind_the_array_are_refused(tmp_path):
    path = tmp_path / "power.npy"
    path.write_bytes(content(np.zeros((4, 5)), "power", ".npy") + bytes(8))
    with pytest.raises(ValueError, match="160 bytes, but 168 follow"):
        deepmimo_format.read_array(path, "power")


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    np.save(tmp_path / "power.npy", np.array([Trap()]), allow_pickle=True)
    np.savez(tmp_path / "power.npz", power=np.array([Trap()]))
    for ending in (".npy", ".npz"):
        with pytest.raises(ValueError, match="real numbers are expected"):
            deepmimo_format.read_array(tmp_path / f"power{ending}", "power")
    assert not (tmp_path / "sprung").exists()
