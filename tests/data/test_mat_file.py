"""MATLAB files: what scipy writes is read back alike; whatever else a file holds is refused, never a crash."""

import io
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from raymap.data import mat_file

LIMIT = 1 << 20


def saved(values, **options):
    stream = io.BytesIO()
    scipy.io.savemat(stream, values, **options)
    return stream.getvalue()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 3), (5, 7), (40, 25), (2, 3, 4), (0, 3), (300, 3)])
def test_arrays_are_what_was_saved(packed, dtype, shape):
    array = np.random.default_rng(0).normal(0, 60, shape)
    array = (np.abs(array) % 100 if dtype[0] == "u" else np.clip(array, -99, 99)).astype(dtype)
    decoys = {"a": np.zeros((9, 9)), "text": "words", "cell": np.array(["x", 3], object), "struct": {"power": 1.0}}
    read = mat_file.read(saved({**decoys, "power": array, "z": 1}, do_compression=packed), "power", LIMIT)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


def test_numbers_from_the_other_end_and_in_fewer_bytes_than_their_class():
    # A double array of MATLAB on a big-endian machine, 2 x 3, whose whole numbers are stored as uint8.
    words = b"".join(np.array(part, ">u4").tobytes() for part in ([6, 8, 6, 0], [5, 8, 2, 3], [1, 5]))
    matrix = words + b"power\0\0\0" + np.array([2, 6], ">u4").tobytes() + bytes([1, 4, 2, 5, 3, 6, 0, 0])
    contents = b"MATLAB".ljust(124) + b"\x01\x00MI" + np.array([14, len(matrix)], ">u4").tobytes() + matrix
    read = mat_file.read(contents, "power", LIMIT)
    np.testing.assert_array_equal(read, [[1, 2, 3], [4, 5, 6]])
    assert read.dtype == np.float64


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"loud": np.zeros(3)}, "no 'power', only loud"),
        ({}, "no 'power', only nothing"),
        ({"power": "words"}, "holds text"),
        ({"power": {"a": 1}}, "a struct"),
        ({"power": np.array([1, "a"], object)}, "a cell array"),
        ({"power": np.zeros((2, 2)) + 1j}, "complex numbers"),
        ({"power": np.zeros((2, 2), bool)}, "truth values"),
        ({"power": scipy.sparse.eye(3)}, "a sparse array"),
        ({"power": np.zeros((400, 400))}, r"shape \(400, 400\) is more"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_everything_else_is_refused_by_its_name(values, said, packed):
    with pytest.raises(ValueError, match=said):
        mat_file.read(saved(values, do_compression=packed), "power", LIMIT)


@pytest.mark.parametrize("contents", [b"", b"MATLAB", saved({"power": 1}, format="4"), bytes(200)])
def test_files_of_other_versions_are_refused(contents):
    with pytest.raises(ValueError, match="version 5 to 7"):
        mat_file.read(contents, "power", LIMIT)


def test_the_type_number_that_brings_scipy_down_is_refused():
    contents = bytearray(saved({"power": np.zeros((6, 5), np.float32)}))
    place = len(contents) - 120 - 8
    assert contents[place] == 7
    contents[place + 1] = 0x84
    with pytest.raises(ValueError, match="type 33799, which is none"):
        mat_file.read(bytes(contents), "power", LIMIT)


def test_a_short_element_that_says_it_is_long_is_refused():
    contents = saved({"pow": np.zeros((6, 5))})
    name = b"\x01\x00\x03\x00pow"
    assert name in contents
    with pytest.raises(ValueError, match="5 bytes says that it has at most 4"):
        mat_file.read(contents.replace(name, b"\x01\x00\x05\x00pow"), "pow", LIMIT)


def test_a_deflated_giant_is_not_inflated():
    # 64 MB of zeros behind an honest array: only what the limit allows is ever unpacked.
    honest = saved({"power": np.zeros((8, 8))})
    pump = zlib.compressobj(1)
    bomb = pump.compress(honest[128:]) + b"".join(pump.compress(bytes(1 << 22)) for _ in range(16)) + pump.flush()
    contents = honest[:128] + np.array([15, len(bomb)], "<u4").tobytes() + bomb
    tracemalloc.start()
    read = mat_file.read(contents, "power", LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read.shape == (8, 8) and peak < 8 * LIMIT


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_damaged_files_are_refused_or_whole(data):
    values = {"a": np.arange(6.0), "power": np.ones((4, 5), np.float32)}
    contents = bytearray(saved(values, do_compression=data.draw(st.booleans())))
    for place in data.draw(st.lists(st.integers(0, len(contents) - 1), max_size=4)):
        contents[place] = data.draw(st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255))
    contents = contents[: data.draw(st.just(len(contents)) | st.integers(0, len(contents)))]
    try:
        read = mat_file.read(bytes(contents), "power", LIMIT)
    except ValueError:
        return
    assert read.dtype.kind in "fiu" and read.nbytes <= 8 * 80
