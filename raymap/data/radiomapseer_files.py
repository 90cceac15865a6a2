"""RadioMapSeer's files, one by one: what a picture means, and reading a PNG or a JSON that may hold anything.

Whatever is wrong with a file ends in a ValueError (FileNotFoundError if it is not there) that names the file. Size and
kind of a picture are settled, and its checksums compared, before anything is decoded: a picture that claims a billion
pixels costs nothing, and a flipped bit is an error and not another map.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from raymap import units
from raymap.config import Settings


class Encoding(Settings):
    """What a dataset's pictures mean: grey levels to path loss [dB], pixels to metres, and the simulated set-up.

    ``grain_px``: pixels per side of the cells that were simulated; 1 unless a coarser map was enlarged to the shape.
    Raises ValueError for a scale that does not rise from black to white.
    """

    black_loss_db: float = -units.GAIN_FLOOR_DB
    white_loss_db: float = 47.84
    white_grey: int = Field(255, ge=1, le=255)
    shape: tuple[int, int] = (256, 256)
    cell_m: float = Field(1.0, gt=0)
    grain_px: int = Field(1, ge=1)
    building_m: float = Field(25.0, gt=0)
    vehicle_m: float = Field(1.5, gt=0)
    antenna_m: float = Field(1.5, gt=0)
    frequency_hz: float = Field(5.9e9, gt=0)
    power_dbm: float = 23.0

    @model_validator(mode="after")
    def _rising(self) -> Encoding:
        if not 0 <= self.white_loss_db < self.black_loss_db:
            raise ValueError(f"white must be a loss from 0 to below black, got {self.white_loss_db} dB for white")
        return self

    @property
    def level_db(self) -> float:
        """What one grey level is worth [dB]; 0.389 in RadioMapSeer."""
        return (self.black_loss_db - self.white_loss_db) / self.white_grey

    def gain_db(self, grey: np.ndarray) -> np.ndarray:
        """Path gain [dB] of grey levels (any shape): -(black - g/white·(black - white))."""
        share = np.asarray(grey, np.float32) / self.white_grey
        return share * (self.black_loss_db - self.white_loss_db) - self.black_loss_db

    def grey(self, gain_db: np.ndarray) -> np.ndarray:
        """uint8 grey levels of path gains [dB] (any shape), the inverse of :meth:`gain_db`: exact on what it returns.

        The nearest level, so between the ends of the scale the error is at most half of ``level_db``; a gain half way
        between two goes to the even one. Gains beyond the ends take the end: who cares counts them first.
        """
        levels = (np.asarray(gain_db, np.float64) + self.black_loss_db) / self.level_db
        return np.rint(np.clip(levels, 0, self.white_grey)).astype(np.uint8)

    def pixel(self, x: float, y: float) -> tuple[int, int]:
        """(row, column) in the pictures of an antenna listed as [x, y]."""
        return round(self.shape[0] - 1 - y), round(x)

    def listed(self, row: int, column: int) -> list[int]:
        """The [x, y] under which an antenna at (row, column) of the pictures is listed; inverse of :meth:`pixel`."""
        return [column, self.shape[0] - 1 - row]


ENCODING = Encoding()

#: Real pictures are of 20 kB at most, and the longest real lists of 30 kB; what is far larger is something else.
_MAX_PICTURE_BYTES = 4_000_000
_MAX_JSON_BYTES = 16_000_000
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MODES = {
    (1, 0): "1-bit black and white", (2, 0): "2-bit grey", (4, 0): "4-bit grey", (8, 0): "8-bit grey",
    (16, 0): "16-bit grey (I;16)", (8, 2): "RGB", (16, 2): "16-bit RGB", (8, 4): "grey with alpha (LA)",
    (8, 6): "RGBA", (8, 3): "palette (P)",
}  # fmt: skip
#: Polygons may reach over the edge of the map by as much as the map is long.
_POLYGON_MARGIN = 256


def picture(path: Path, shape: tuple[int, int] = ENCODING.shape) -> np.ndarray:
    """(H, W) uint8 grey levels of an 8-bit grey PNG of exactly this shape."""
    content = _bytes(path, _MAX_PICTURE_BYTES)
    try:
        found, mode, compressed = _parts(content)
        if mode == _MODES[8, 0] and found == shape:
            _check_filled(compressed, shape)
            with Image.open(BytesIO(content), formats=["PNG"]) as image:
                if (image.mode, image.size) != ("L", shape[::-1]):
                    raise ValueError("its parts contradict each other")
                image.load()
                values = np.asarray(image)
    except Exception as error:  # a decoder of damaged pictures may fail in any way
        raise ValueError(f"{path}: cannot be read as a PNG picture: {error}") from error
    if mode != _MODES[8, 0]:
        raise ValueError(f"{path}: expected an 8-bit grey picture, found {mode}")
    if found != shape:
        raise ValueError(f"{path}: expected {shape} pixels (rows, columns), found {found}")
    return values


def _parts(content: bytes) -> tuple[tuple[int, int], str, bytes]:
    """((rows, columns), mode, compressed pixels) of a PNG all of whose chunks are whole (PNG specification, 5.3)."""
    if not content.startswith(_SIGNATURE):
        raise ValueError("it does not begin like one")
    start, names, compressed = len(_SIGNATURE), [], []
    while start < len(content) and names[-1:] != [b"IEND"]:
        (length,) = struct.unpack_from(">I", content, start)
        name, end = content[start + 4 : start + 8], start + 12 + length
        if len(content) < end:
            raise ValueError("it is truncated")
        if zlib.crc32(content[start + 4 : end - 4]) != struct.unpack_from(">I", content, end - 4)[0]:
            raise ValueError(f"its part {name!r} does not fit its checksum")
        if name == b"IDAT":
            compressed.append(content[start + 8 : end - 4])
        names.append(name)
        start = end
    if names[-1:] != [b"IEND"]:
        raise ValueError("it is truncated")
    if names[0] != b"IHDR" or names.count(b"IHDR") != 1 or not compressed:
        raise ValueError("its parts are not those of a picture")
    columns, rows, depth, colour, *_, interlaced = struct.unpack_from(">IIBBBBB", content, len(_SIGNATURE) + 8)
    mode = _MODES.get((depth, colour), f"{depth} bits of colour type {colour}")
    return (rows, columns), mode + ", interlaced" * bool(interlaced), b"".join(compressed)


def _check_filled(compressed: bytes, shape: tuple[int, int]) -> None:
    """Raises ValueError or zlib.error unless all pixels are there and no more: Pillow lets the last row be missing."""
    stream, size = zlib.decompressobj(), shape[0] * (1 + shape[1])  # every row begins with the number of its filter
    if len(stream.decompress(compressed, size + 1)) != size or not stream.eof:
        raise ValueError(f"its pixels are not as many as {shape[0]} rows of {shape[1]}")


def antennas(path: Path) -> list[tuple[float, float]]:
    """All [x, y] of an antenna file, entry k for transmitter k."""
    entries = read_json(path)
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected a list of [x, y], found no entries but {_short(entries)}")
    return [_pair(path, entry, f"entry {index}") for index, entry in enumerate(entries)]


def polygons(path: Path, encoding: Encoding = ENCODING) -> list[np.ndarray]:
    """The polygons of a file, each (N, 2) float64 corners (x, y) [m] on our grid, N ≥ 3, without the closing repeat.

    A corner [u, v] of the file lies at the centre of column u - 1, row 256 - v (checked against the pictures; antennas,
    unlike polygons, are counted from 0).
    """
    entries = read_json(path)
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected a list of polygons, found {_short(entries)}")
    found = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, list) or len(entry) < 3:
            raise ValueError(f"{path}: polygon {index} must be a list of 3 corners or more, found {_short(entry)}")
        corners = np.array([_pair(path, corner, f"polygon {index}") for corner in entry])
        low, high = -_POLYGON_MARGIN, max(encoding.shape) + _POLYGON_MARGIN
        if corners.min() < low or corners.max() > high:
            raise ValueError(f"{path}: polygon {index} reaches {_short(corners.tolist())}, far off the map")
        if len(corners) > 3 and (corners[0] == corners[-1]).all():
            corners = corners[:-1]
        on_grid = np.stack([corners[:, 0] - 0.5, encoding.shape[0] + 0.5 - corners[:, 1]], axis=1)
        found.append(on_grid * encoding.cell_m)
    return found


def read_json(path: Path) -> Any:
    """What a JSON file holds; numbers are finite."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no number of JSON")

    content = _bytes(path, _MAX_JSON_BYTES)
    try:
        return json.loads(content.decode(), parse_constant=refuse)
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: not valid JSON for our purposes: nested too deeply") from error


def _pair(path: Path, entry: Any, where: str) -> tuple[float, float]:
    if isinstance(entry, list) and len(entry) == 2 and all(type(value) in (int, float) for value in entry):
        try:
            x, y = (float(value) for value in entry)
        except OverflowError:  # an integer beyond the largest float
            x = y = math.inf
        if math.isfinite(x) and math.isfinite(y):
            return x, y
    raise ValueError(f"{path}: {where} must be [x, y], two finite numbers; found {_short(entry)}")


def _short(value: Any) -> str:
    """Enough of a value to recognise it, of however large or deep a one."""
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):  # more digits than Python prints
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _bytes(path: Path, most: int) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"{path}: {size:,} bytes, far more than such a file holds (at most {most:,})")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
