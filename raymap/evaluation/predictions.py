"""Maps that somebody else predicted, read from a folder with one file per map of a split.

A file is named ``{scene}_{tx_id}`` like the dataset's rows, with every ``/`` of the scene's name as ``-``; the scene
``radiomapseer/{map}`` is called ``{map}``, so that RadioMapSeer's own names fit: ``12_3.png``. It holds one map of the
dataset's shape, row 0 at the top:

- ``.png``: 8-bit grey, g = px / 255
- ``.npy``: an array of numbers; ``.npz``: one such array, under any name

What the numbers mean must be said, because files do not tell (:data:`SCALES`):

- ``radiomapseer``: grey levels g as in RadioMapSeer's pictures, whose white is -47.84 dB. So are predictions of code
  that was trained on them, or on what ``jobs/export_radiomapseer.py`` writes: the dataset's own pictures score no error
- ``grey``: this house's g, from -147 dB to -47 dB (``raymap.units``), 0.84 dB brighter in the white
- ``db``: path gain [dB], at most 0; only in arrays

Other files in the folder are not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow.parquet as pq

from raymap import units
from raymap.config import Settings
from raymap.data.radiomapseer_files import ENCODING, picture
from raymap.data.schema import DatasetCard
from raymap.storage import opened, place

Scale = Literal["radiomapseer", "grey", "db"]
SCALES = get_args(Scale)
SUFFIXES = (".png", ".npy", ".npz")
#: Networks overshoot [0, 1] a little; numbers beyond this are no grey levels but decibels or pixels.
_GREY_RANGE = (-1.0, 2.0)
#: So many files are named of each fault.
_NUM_NAMED = 5


def rows_of(data: str | Path, split: str) -> list[tuple[str, int]]:
    """(scene, tx_id) of every row that a split's shards list, whether or not it will be set aside when read.

    Raises FileNotFoundError or ValueError for a folder without a usable card, an unknown split, and a shard that cannot
    be read, whose maps are then unknown.
    """
    rows: list[tuple[str, int]] = []
    for shard in DatasetCard.load(data).split(split).shards:
        try:
            table = pq.read_table(opened(place(data) / shard), columns=["scene", "tx_id"]).to_pydict()
        except Exception as error:  # whatever a damaged file may hold
            raise ValueError(f"{Path(data) / shard}: cannot be read, so its maps are unknown: {error}") from error
        rows += zip(table["scene"], table["tx_id"], strict=True)
    return rows


def file_stem(scene: str, tx_id: int) -> str:
    """What the file of a map is called, without its suffix: ``munich-r03c07_2``, or ``12_2`` for RadioMapSeer's."""
    return f"{scene.removeprefix('radiomapseer/').replace('/', '-')}_{tx_id}"


class Predictions(Settings):
    """A method of which only the predicted maps are known: ``folder`` and ``scale`` as told above."""

    folder: Path
    scale: Scale = "radiomapseer"

    def check(self, rows: Iterable[tuple[str, int]], shape: Sequence[int]) -> None:
        """Reads every file once, so that a fault is found before anything is scored.

        ``rows``: (scene, tx_id) of all maps, ``shape``: their (H, W). Raises FileNotFoundError without such a folder,
        and ValueError, naming the first few of each kind and how many there are, for maps without a file, with two
        files or with one name for two of them, files of no map, and files that cannot be used.
        """
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder}: no such folder; predicted maps are looked for there")
        stems = Counter(file_stem(*row) for row in rows)
        files = sorted(path for path in self.folder.iterdir() if path.suffix in SUFFIXES)
        found = Counter(path.stem for path in files)
        ours = [path for path in files if path.stem in stems]
        faults = {
            "maps of one name": _repeated(stems),
            "maps without a file": sorted(stems.keys() - found.keys()),
            "maps with two files": _repeated(found),
            "files of no map": [path.name for path in files if path.stem not in stems],
            "files that cannot be used": [fault for path in ours if (fault := self._fault(path, shape))],
        }
        told = [f"{what}: {len(named)} ({_some(named)})" for what, named in faults.items() if named]
        if told:
            raise ValueError(f"{self.folder}, {stems.total()} maps. " + "; ".join(told))

    def gain_db(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """(B, H, W) float32 path gain [dB] of the maps of columns ``scene`` and ``tx_id`` (B,).

        ``building_m`` (B, H, W) says of which shape they are. Raises FileNotFoundError or ValueError naming the file.
        """
        shape = columns["building_m"].shape[1:]
        rows = zip(columns["scene"], columns["tx_id"], strict=True)
        return np.stack([self._read(self._path(file_stem(*row)), shape) for row in rows], dtype=np.float32)

    def _path(self, stem: str) -> Path:
        paths = (self.folder / f"{stem}{suffix}" for suffix in SUFFIXES)
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"{self.folder}: holds no {stem} with one of {', '.join(SUFFIXES)}")
        return path

    def _fault(self, path: Path, shape: Sequence[int]) -> str | None:
        try:
            self._read(path, shape)
        except ValueError as error:
            return str(error)
        return None

    def _read(self, path: Path, shape: Sequence[int]) -> np.ndarray:
        """(H, W) path gain [dB] of one file. Raises ValueError naming it."""
        if path.suffix == ".png":
            if self.scale == "db":
                raise ValueError(f"{path}: a picture holds grey levels, not dB")
            levels = picture(path, tuple(shape))
            return ENCODING.gain_db(levels) if self.scale == "radiomapseer" else units.gain_db_from_grey(levels / 255)
        values = _array(path, shape)
        low, high = (-np.inf, 0.0) if self.scale == "db" else _GREY_RANGE
        if values.min() < low or values.max() > high:
            what = "path gains [dB], which are at most 0" if self.scale == "db" else "grey levels from 0 to 1"
            raise ValueError(f"{path}: expected {what}, found {values.min():g} to {values.max():g}")
        if self.scale == "db":
            return values
        if self.scale == "radiomapseer":
            return ENCODING.gain_db(values * ENCODING.white_grey)
        return units.gain_db_from_grey(values)


def _array(path: Path, shape: Sequence[int]) -> np.ndarray:
    """(H, W) float64 finite numbers of a ``.npy`` file, or of the only array in a ``.npz`` file."""
    try:
        values = np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            with values as arrays:
                (name,) = arrays.files
                values = arrays[name]
    except Exception as error:  # whatever a damaged file may hold
        raise ValueError(f"{path}: cannot be read as one array of numbers: {error}") from error
    if values.shape != tuple(shape):
        raise ValueError(f"{path}: expected an array of shape {tuple(shape)}, found {values.shape}")
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{path}: expected real numbers, found {values.dtype}")
    if num_wrong := int((~np.isfinite(values)).sum()):
        raise ValueError(f"{path}: holds {num_wrong} values that are not finite")
    return values.astype(np.float64)


def _repeated(counts: Counter[str]) -> list[str]:
    return sorted(name for name, count in counts.items() if count > 1)


def _some(named: Sequence[str]) -> str:
    return ", ".join(named[:_NUM_NAMED]) + ", ..." * (len(named) > _NUM_NAMED)
