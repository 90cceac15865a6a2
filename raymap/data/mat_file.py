"""Arrays of real numbers out of MATLAB files of version 5 to 7 (``save -v6`` or ``-v7``, what scipy writes).

scipy's own reader is compiled code that a damaged file can take down together with the process (a wrong type number is
enough), so files of unknown origin come in here. Layout: MathWorks, *MAT-File Format*, level 5: a header of 128 bytes,
then elements of a tag (type, number of bytes) and data; an array is an element of elements, maybe deflated.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import NamedTuple

import numpy as np

_MATRIX, _COMPRESSED = 14, 15
#: Types of stored numbers, and of arrays ("classes").
_STORED = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_REAL = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_OTHER = {1: "a cell array", 2: "a struct", 3: "an object", 4: "text", 5: "a sparse array"}
_COMPLEX_FLAG, _LOGICAL_FLAG = 0x08, 0x02
#: Enough of a deflated array for its name.
_HEAD = 4096


class _Matrix(NamedTuple):
    """The head of an array: class, flags, shape, name, and where its numbers begin."""

    kind: int
    flags: int
    shape: tuple[int, ...]
    name: str
    start: int


def read(contents: bytes, key: str, max_bytes: int) -> np.ndarray:
    """The array of real numbers called ``key``, column-major. ``max_bytes``: the largest that is read.

    Raises ValueError if the file is of another version, ends early, holds no such array or something else under its
    name, contradicts itself, or cannot be inflated.
    """
    order = {b"IM": "<", b"MI": ">"}.get(contents[126:128])
    if order is None or struct.unpack_from(f"{order}H", contents, 124)[0] >> 8 != 1:
        raise ValueError("it is no MATLAB file of version 5 to 7 (save with -v7)")
    place, names = 128, []
    while place < len(contents):
        kind, start, end, _ = _tag(contents, place, order)
        if kind in (_MATRIX, _COMPRESSED):
            matrix = contents[start:end]
            unpack = zlib.decompressobj()
            if kind == _COMPRESSED:
                matrix = _inside(_inflate(unpack, matrix, _HEAD), order)
            head = _head(matrix, order)
            if head.name == key:
                if math.prod(head.shape) * 8 > max_bytes:
                    raise ValueError(f"shape {head.shape} is more than the {max_bytes} bytes that are read")
                if kind == _COMPRESSED:
                    matrix += _inflate(unpack, unpack.unconsumed_tail, max_bytes)
                return _numbers(matrix, head, order)
            names.append(head.name)
        place = end
    raise ValueError(f"it holds no {key!r}, only {', '.join(names)[:200] or 'nothing'}")


def _tag(data: bytes, place: int, order: str, whole: bool = True) -> tuple[int, int, int, int]:
    """(type, start and end of the data, start of what follows) of the element at ``place``.

    An element of at most 4 bytes packs size and type into one word, and its data into the next. ``whole``: an element
    that the data does not hold to its end is an error.
    """
    if place + 8 > len(data):
        raise ValueError("it ends inside an element")
    word, size = struct.unpack_from(f"{order}II", data, place)
    kind, start, following = word, place + 8, place + 8 + size + -size % 8
    if word >> 16:
        kind, size, start, following = word & 0xFFFF, word >> 16, place + 4, place + 8
        if size > 4:
            raise ValueError(f"an element of {size} bytes says that it has at most 4")
    if whole and start + size > len(data):
        raise ValueError(f"it ends {start + size - len(data)} bytes before an element does")
    return kind, start, start + size, following


def _inflate(unpack: zlib._Decompress, data: bytes, max_bytes: int) -> bytes:
    try:
        return unpack.decompress(data, max_bytes)
    except zlib.error as error:
        raise ValueError(f"its compression is damaged: {error}") from error


def _inside(data: bytes, order: str) -> bytes:
    """What follows the tag of an inflated array; the rest of it may still be to come."""
    kind, start, _, _ = _tag(data, 0, order, whole=False)
    if kind != _MATRIX:
        raise ValueError(f"a deflated element is of type {kind}, arrays are {_MATRIX}")
    return data[start:]


def _head(matrix: bytes, order: str) -> _Matrix:
    found = []
    place = 0
    for what, kinds in (("flags", {6}), ("dimensions", {5}), ("name", {1, 16})):
        kind, start, end, place = _tag(matrix, place, order)
        if kind not in kinds or (what == "flags" and end - start != 8) or (what == "dimensions" and (end - start) % 4):
            raise ValueError(f"the {what} of an array are of type {kind} and {end - start} bytes long")
        found.append(matrix[start:end])
    (flags, _), shape = struct.unpack(f"{order}II", found[0]), np.frombuffer(found[1], f"{order}i4").tolist()
    if min(shape, default=-1) < 0:
        raise ValueError(f"an array has shape {tuple(shape)}")
    return _Matrix(flags & 0xFF, flags >> 8, tuple(shape), found[2].decode("utf-8", "replace"), place)


def _numbers(matrix: bytes, head: _Matrix, order: str) -> np.ndarray:
    if head.kind not in _REAL or head.flags & (_COMPLEX_FLAG | _LOGICAL_FLAG):
        special = "complex numbers" if head.flags & _COMPLEX_FLAG else "truth values"
        what = special if head.kind in _REAL else _OTHER.get(head.kind, f"class {head.kind}")
        raise ValueError(f"it holds {what}, real numbers are expected")
    kind, start, end, _ = _tag(matrix, head.start, order)
    if kind not in _STORED:
        raise ValueError(f"its numbers are of type {kind}, which is none")
    stored = np.dtype(f"{order}{_STORED[kind]}")
    if math.prod(head.shape) * stored.itemsize != end - start:
        raise ValueError(f"shape {head.shape} of {stored} does not take {end - start} bytes")
    # Whole numbers are often stored in fewer bytes than the array's class has.
    return np.frombuffer(matrix[start:end], stored).astype(_REAL[head.kind]).reshape(head.shape, order="F")
