"""Files that may hold anything: what is read is exactly what was written, or an error names the file."""

import json
import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from raymap.data import radiomapseer_files as files

FAST = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PICTURE = (np.add.outer(np.arange(256), 3 * np.arange(256)) % 251).astype(np.uint8)


def _png(values=PICTURE, mode=None) -> bytes:
    stream = BytesIO()
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(stream, "PNG")
    return stream.getvalue()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _header(columns: int, rows: int, depth=8, colour=0, interlaced=0) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, interlaced))


def _written(columns: int, rows: int, depth=8, colour=0, pixels=b"", before=b"", interlaced=0) -> bytes:
    """A PNG by hand: its header says whatever is asked."""
    end = _chunk(b"IDAT", zlib.compress(pixels)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + _header(columns, rows, depth, colour, interlaced) + before + end


WHOLE = _png()


@FAST
@given(at=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_an_error_and_never_another_map(tmp_path, at, bit):
    path = tmp_path / "flipped.png"
    content = bytearray(WHOLE)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(ValueError, match="flipped.png"):
        files.picture(path)


@FAST
@given(length=st.integers(0, len(WHOLE) - 1))
def test_a_truncated_picture_is_an_error(tmp_path, length):
    path = tmp_path / "short.png"
    path.write_bytes(WHOLE[:length])
    with pytest.raises(ValueError, match="short.png: cannot be read as a PNG picture"):
        files.picture(path)


@FAST
@given(content=st.binary(max_size=300), signed=st.booleans())
@example(content=b"", signed=True)
@example(content=_chunk(b"IEND", b""), signed=True)
@example(content=_chunk(b"IHDR", b"") + _chunk(b"IDAT", b"") + _chunk(b"IEND", b""), signed=True)
def test_any_bytes_are_an_error(tmp_path, content, signed):
    path = tmp_path / "junk.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" * signed + content)
    with pytest.raises(ValueError, match="junk.png"):
        files.picture(path)


@FAST
@given(pixels=st.binary(max_size=200), colour=st.sampled_from([0, 2, 3, 4, 6, 9]), depth=st.sampled_from([1, 8, 16]))
def test_sound_checksums_around_wrong_pixels_are_an_error(tmp_path, pixels, colour, depth):
    """Everything that only the decoder can find: too few rows, unknown filters, a stream of another kind."""
    path = tmp_path / "hollow.png"
    path.write_bytes(_written(256, 256, depth, colour, pixels))
    with pytest.raises(ValueError, match="hollow.png"):
        files.picture(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (_png(mode="RGB"), "RGB"),
        (_png(mode="RGBA"), "RGBA"),
        (_png(mode="LA"), "LA"),
        (_png(mode="P"), "palette"),
        (_png(mode="1"), "1-bit"),
        (_png(PICTURE.astype(np.uint16)), "16-bit grey"),
        (_png(PICTURE[:, :100]), r"expected \(256, 256\) pixels \(rows, columns\), found \(256, 100\)"),
        (_written(256, 256, 8, 9), "8 bits of colour type 9"),
        (_written(256, 256, pixels=bytes(255 * 257)), "its pixels are not as many as 256 rows"),
        (_written(256, 256, pixels=bytes(257 * 257)), "its pixels are not as many as 256 rows"),
        (_written(256, 256, pixels=(bytes([9]) + bytes(256)) * 256), "cannot be read"),
        (_written(256, 256, interlaced=1), "8-bit grey, interlaced"),
        (_written(0, 256), r"found \(256, 0\)"),
        (b"GIF89a" + WHOLE, "does not begin like one"),
        (WHOLE[:33] + WHOLE[8:], "not those of a picture"),
        (WHOLE[:33] + _chunk(b"IEND", b""), "not those of a picture"),
    ],
)  # fmt: skip
def test_pictures_of_another_kind_are_named(tmp_path, content, found):
    path = tmp_path / "other.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"other.png: .*{found}"):
        files.picture(path)


@pytest.mark.parametrize(
    "bomb",
    [
        _written(2**31 - 1, 2**31 - 1),
        _written(60_000, 60_000, pixels=bytes(1_000_000)),
        _written(256, 256, pixels=bytes(1000), before=_header(9000, 9000)),
        _written(256, 256, before=_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(90_000_000)))),
    ],
    ids=["declared", "filled", "second header", "text"],
)  # fmt: skip
def test_decompression_bombs_are_refused_before_they_are_decoded(tmp_path, bomb):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb)
    assert len(bomb) < 200_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="bomb.png"):
        files.picture(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_huge_files_are_not_read(tmp_path):
    for name, read in (("huge.png", files.picture), ("huge.json", files.read_json)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(20_000_000)
        with pytest.raises(ValueError, match=f"{name}: 20,000,000 bytes"):
            read(tmp_path / name)


def test_sound_pictures_are_read_to_the_last_bit(tmp_path):
    path = tmp_path / "sound.png"
    filtered = b"".join(b"\0" + row.tobytes() for row in PICTURE)
    several = [_chunk(b"IDAT", part) for part in (zlib.compress(filtered)[:99], zlib.compress(filtered)[99:])]
    for content in (WHOLE, _written(256, 256, pixels=filtered, before=_chunk(b"tEXt", b"k\0v")),
                    WHOLE[:33] + b"".join(several) + _chunk(b"IEND", b"")):  # fmt: skip
        path.write_bytes(content)
        assert np.array_equal(files.picture(path), PICTURE)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@FAST
@given(value=ANYTHING)
@example(value=[[1, 2], [3, float("nan")]])
@example(value=[[10**400, 2]])
@example(value=[["1", "2"]])
@example(value=[[True, 2]])
@example(value="12")
def test_any_json_is_a_list_of_antennas_or_an_error(tmp_path, value):
    path = tmp_path / "antenna.json"
    path.write_text(json.dumps(value))
    for read in (files.antennas, files.polygons):
        try:
            found = read(path)
        except ValueError as error:
            assert "antenna.json" in str(error) and len(str(error)) < 1000
        else:
            assert len(found) == len(value) and all(np.isfinite(entry).all() for entry in found)


@FAST
@given(content=st.binary(max_size=60))
@example(content=b"\xff\xfe[1]")
@example(content=b"")
@example(content=b"[" * 100_000)
@example(content=b'{"a":' * 50_000)
@example(content=b"[[1, " + b"9" * 6000 + b"]]")
@example(content=b"[[1, -Infinity]]")
def test_any_bytes_are_json_or_an_error(tmp_path, content):
    path = tmp_path / "bytes.json"
    path.write_bytes(content)
    try:
        value = files.read_json(path)
    except ValueError as error:
        assert "bytes.json: not valid JSON" in str(error) and len(str(error)) < 1000
    else:
        assert json.loads(content) == value


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ({}, r"expected a list of polygons, found \{\}"),
        ([[[1, 2], [3, 4]]], "polygon 0 must be a list of 3 corners or more"),
        ([[[1, 2], [3, 4], [5]]], r"polygon 0 must be \[x, y\]"),
        ([[[1, 2], [3, 4], [5, 10**6]]], "polygon 0 reaches .* far off the map"),
    ],
)
def test_wrong_polygons_are_refused(tmp_path, value, cause):
    path = tmp_path / "polygon.json"
    path.write_text(json.dumps(value))
    with pytest.raises(ValueError, match=f"polygon.json: {cause}"):
        files.polygons(path)


def test_files_that_are_not_there_are_named(tmp_path: Path):
    for read in (files.picture, files.read_json):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            read(tmp_path / "nowhere")
