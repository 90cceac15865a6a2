"""The DeepMIMO v4 layout, and the door through which one of its arrays comes in. For files that may hold anything.

A folder holds ``params.json``, ``objects.json``, ``vertices.npz`` and, for every transmitter and set of receivers,
``{key}_t{tx_set:03d}_tx{tx:03d}_r{rx_set:03d}.npz`` (or ``.npy``, ``.mat``), an array under its own key.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from raymap.data import mat_file
from raymap.scene import PathKind

PARAMS_FILE = "params.json"
OBJECTS_FILE = "objects.json"
VERTICES_KEY = "vertices"
FORMATS = (".npz", ".npy", ".mat")
#: Arrays of (receivers, paths) that :mod:`raymap.data.deepmimo` reads, and their units.
PER_PATH = {
    "power": "dB", "phase": "°", "delay": "s", "aoa_az": "°", "aoa_el": "°", "aod_az": "°", "aod_el": "°",
    "inter": "one decimal digit per interaction",
}  # fmt: skip
#: Digits of ``inter``, in the order in which they decide the kind of a path: the first that occurs.
KIND_OF_DIGIT = {
    "2": PathKind.DIFFRACTION, "3": PathKind.SCATTERING, "1": PathKind.REFLECTION, "4": PathKind.TRANSMISSION,
}  # fmt: skip
#: A DeepMIMO folder keeps at most so many paths per receiver.
MAX_PATHS = 25
#: Weakest path that is read or written: weaker ones leave the range in which float32 keeps amplitudes precisely [dB].
MIN_POWER_DB = -590.0
#: Largest array that is read: 10 million receivers with 25 paths.
_MAX_BYTES = 1 << 30


class Pair(NamedTuple):
    """One transmitter and one set of receivers: number of the set of transmitters, place in it, set of receivers."""

    tx_set: int
    tx: int
    rx_set: int

    def __str__(self) -> str:
        return f"t{self.tx_set:03d}_tx{self.tx:03d}_r{self.rx_set:03d}"


class Building(NamedTuple):
    """An upright prism: ``corners_m`` (K, 2) float32 around its footprint, ``base_m`` and ``top_m`` above z = 0 [m]."""

    name: str
    corners_m: np.ndarray
    base_m: float
    top_m: float
    label: str = "buildings"


def found(folder: Path) -> list[Pair]:
    """Sorted pairs that have at least one file per path. Raises FileNotFoundError if there is no such folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    pattern = re.compile(rf"(?:{'|'.join(PER_PATH)})_(t(\d{{3,9}})_tx(\d{{3,9}})_r(\d{{3,9}}))\.(?:npz|npy|mat)")
    names = (pattern.fullmatch(path.name) for path in folder.iterdir())
    pairs = {(Pair(int(name[2]), int(name[3]), int(name[4])), name[1]) for name in names if name}
    return sorted(pair for pair, text in pairs if str(pair) == text)


def locate(folder: Path, stem: str) -> Path:
    """The file of an array. Raises FileNotFoundError if there is none, ValueError if it is there in two formats."""
    paths = [folder / f"{stem}{ending}" for ending in FORMATS if (folder / f"{stem}{ending}").is_file()]
    if not paths:
        raise FileNotFoundError(f"{folder / stem}{FORMATS[0]}: no such file, nor as {' or '.join(FORMATS[1:])}")
    if len(paths) > 1:
        raise ValueError(f"{paths[0]}: also there as {', '.join(path.suffix for path in paths[1:])}; which one counts?")
    return paths[0]


def read_array(path: Path, key: str) -> np.ndarray:
    """The array of real numbers under ``key`` (a ``.npy`` holds only one), as it is stored, native byte order.

    Nothing is unpickled, and no memory is taken for a shape that the file does not fill. Raises ValueError, naming the
    file, for everything that is not such an array.
    """
    reader: Callable[[Path, str], np.ndarray] = {".npz": _npz, ".npy": _npy, ".mat": _mat}[path.suffix]
    try:
        array = reader(path, key)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{key} holds {array.dtype}, real numbers are expected")
    except Exception as error:  # zlib, zipfile, struct and numpy each have their own for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: cannot be read: {reason[:300]}") from error
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _npz(path: Path, key: str) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if f"{key}.npy" not in names:
            raise ValueError(f"it holds no {key!r}, only {', '.join(names)[:200] or 'nothing'}")
        entry = archive.getinfo(f"{key}.npy")
        with archive.open(entry) as stream:
            return _from_stream(stream, entry.file_size)


def _npy(path: Path, _key: str) -> np.ndarray:
    num_bytes = path.stat().st_size
    _require_small(num_bytes)
    return _from_stream(io.BytesIO(path.read_bytes()), num_bytes)


def _from_stream(stream: Any, num_bytes: int) -> np.ndarray:
    """An array in numpy's format. Its header is compared with the bytes that follow before any are read."""
    version = np.lib.format.read_magic(stream)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in headers:
        raise ValueError(f"numpy format {version} is not one of {', '.join(map(str, headers))}")
    shape, in_columns, dtype = headers[version](stream)
    if dtype.kind not in "fiu":
        raise ValueError(f"it holds {dtype}, real numbers are expected")
    wanted, there = _num_bytes(shape, dtype.itemsize), num_bytes - stream.tell()
    if wanted != there:
        raise ValueError(f"its header says {dtype} {shape}, {wanted} bytes, but {there} follow")
    data = stream.read(wanted)
    if len(data) != wanted:
        raise ValueError(f"it ends after {len(data)} of {wanted} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if in_columns else "C")


def _mat(path: Path, key: str) -> np.ndarray:
    _require_small(path.stat().st_size)
    return mat_file.read(path.read_bytes(), key, _MAX_BYTES)


def _num_bytes(shape: tuple[int, ...], itemsize: int) -> int:
    if min(shape, default=0) < 0:
        raise ValueError(f"its header says shape {shape}")
    num_bytes = math.prod(shape) * itemsize
    _require_small(num_bytes)
    return num_bytes


def _require_small(num_bytes: int) -> None:
    if num_bytes > _MAX_BYTES:
        raise ValueError(f"{num_bytes} bytes are more than the {_MAX_BYTES} that are read")


def read_json(path: Path, kind: type) -> Any:
    """A JSON file that holds a dict or list. Raises FileNotFoundError, or ValueError that names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(values, kind):
        raise ValueError(f"{path}: expected a {kind.__name__}, found a {type(values).__name__}")
    return values
