"""Measured paths in CSV and Parquet files: anybody's, by :class:`Columns`, and the one layout that is written.

    receiver, x_m, y_m, z_m                                          who receives, and where
    path, power_db, delay_s, zenith_rad, azimuth_rad, kind           one path, one row; what is empty is not known
    transmitter_x_m, transmitter_y_m, transmitter_z_m, frequency_hz  the same in every row

A row that tells nothing tells of no path: a receiver that has only such rows was measured, and is in the dark.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from raymap.data import path_columns
from raymap.data.cells import ENDINGS, Cells
from raymap.data.path_columns import PATH, Columns
from raymap.data.path_table import PARAMETERS, UNKNOWN_KIND, PathTable
from raymap.scene import PathKind
from raymap.storage import whole

#: The field of :class:`Columns` that each number of a path is read by; elevation goes to zenith.
_FIELDS = {"power_db": "power", "delay_s": "delay", "zenith_rad": "zenith", "azimuth_rad": "azimuth"}


@dataclass(frozen=True, eq=False)
class _Rows:
    """What n rows tell in our units, W paths each: W is 1 where one row is one path."""

    number: np.ndarray  # (n,) the row's number in the file, from 0
    receiver: np.ndarray  # (n,) equal for rows of one receiver
    receivers_m: np.ndarray  # (n, 3)
    station: np.ndarray  # (n, 4) transmitter [m] and frequency [Hz]
    path: np.ndarray  # (n, W) which path of its receiver it is
    told: np.ndarray  # (n, W) whether there is a path
    values: np.ndarray  # (n, W, 4) in the order of PARAMETERS
    kind: np.ndarray  # (n, W)

    def take(self, mask: np.ndarray) -> _Rows:
        return replace(self, **{name: getattr(self, name)[mask] for name in self.__dataclass_fields__})


def read(path: str | Path, columns: Columns | None = None, num_paths: int | None = None) -> PathTable:
    """The one table of a file; as :func:`tables`, and ValueError if there are several transmitters in it."""
    found = tables(path, columns, num_paths)
    if len(found) > 1:
        raise ValueError(f"{path} holds {len(found)} transmitters or frequencies; path_file.tables reads them all")
    return next(iter(found.values()))


def tables(path: str | Path, columns: Columns | None = None, num_paths: int | None = None) -> dict[str, PathTable]:
    """Name to table for every transmitter and frequency of a .csv or .parquet file, in order of appearance.

    ``columns``: as :func:`write` names them, by default. ``num_paths``: room per receiver, of which the strongest paths
    take what they need; by default as much as the receiver with the most paths needs. Names are the file's, numbered
    where there are several. Receivers come in order of appearance, paths strongest first, and one of unknown power
    behind the one that the file has before it.

    Raises FileNotFoundError if there is no such file. Raises ValueError, naming the column, the row and the value where
    there is one, for a file that is no table, a column that is missing, a cell that is no number, infinite or outside
    its range, a receiver without a position or with two, a path that comes twice, and without transmitter or frequency.
    """
    columns = columns or Columns()
    if num_paths is not None and num_paths < 1:
        raise ValueError(f"num_paths must be 1 or more, got {num_paths}")
    cells = Cells(path, columns.separator)
    rows = _rows(cells, columns)
    stations = pd.DataFrame(rows.station).groupby(list(range(4)), sort=False).ngroup().to_numpy()
    several = stations.max() > 0
    return {
        f"{cells.path.stem}/{station}" if several else cells.path.stem: _table(
            cells, columns, rows.take(stations == station) if several else rows, num_paths
        )
        for station in range(stations.max() + 1)
    }


def positions(path: str | Path, columns: Columns | None = None) -> np.ndarray:
    """(N, 3) float64 [m], every position of a .csv or .parquet file once, in order of appearance; nothing else is read.

    ``columns`` and what is raised as in :func:`tables`.
    """
    columns = columns or Columns()
    receivers_m = _positions(Cells(path, columns.separator), columns)
    _, first = np.unique(receivers_m, axis=0, return_index=True)
    return receivers_m[np.sort(first)]


def _rows(cells: Cells, columns: Columns) -> _Rows:
    receivers_m = _positions(cells, columns)
    receiver = _receivers(cells, columns, receivers_m)
    station = _stations(cells, columns)
    tokens = columns.paths_of(cells) if columns.is_wide else [""]
    shape = (len(cells), len(tokens))
    values = np.full((*shape, len(PARAMETERS)), np.nan)
    for place, parameter in enumerate(PARAMETERS):
        field = "elevation" if parameter == "zenith_rad" and columns.elevation else _FIELDS[parameter]
        if name := columns.found(field, cells.names):
            for slot, token in enumerate(tokens):
                values[:, slot, place] = columns.numbers(cells, field, name.replace(PATH, token))
    kind = np.full(shape, UNKNOWN_KIND, np.int8)
    if name := columns.found("kind", cells.names):
        for slot, token in enumerate(tokens):
            kind[:, slot] = path_columns.kinds(cells, name.replace(PATH, token))
    told = np.isfinite(values).any(-1) | (kind != UNKNOWN_KIND)
    path = np.broadcast_to(np.arange(shape[1], dtype=np.float64), shape)
    if not columns.is_wide:
        path = np.arange(shape[0], dtype=np.float64)[:, None]
        if name := columns.found("path", cells.names):
            path = cells.numbers(name)[:, None]
            nameless = (told & np.isnan(path))[:, 0]
            if nameless.any():
                raise cells.error(int(nameless.argmax()), name, "is empty, but the row tells of a path")
    return _Rows(np.arange(shape[0]), receiver, receivers_m, station, path, told, values, kind)


def _positions(cells: Cells, columns: Columns) -> np.ndarray:
    """(n, 3) [m]."""
    names = {"x": columns.x, "y": columns.y} | ({} if columns.height_m is not None else {"z": columns.z})
    places = [_known(cells, columns, field, name) for field, name in names.items()]
    if columns.height_m is not None:
        places.append(np.full(len(cells), columns.height_m))
    return np.stack(places, 1)


def _known(cells: Cells, columns: Columns, field: str, name: str) -> np.ndarray:
    """(n,) a column of which no cell may be empty."""
    values = columns.numbers(cells, field, name)
    if np.isnan(values).any():
        raise cells.error(int(np.isnan(values).argmax()), name, f"is empty; {field} must be known in every row")
    return values


def _receivers(cells: Cells, columns: Columns, receivers_m: np.ndarray) -> np.ndarray:
    """(n,) numbers from 0, in order of appearance, equal for rows of one receiver."""
    if columns.is_wide:
        return np.arange(len(cells))
    name = columns.found("receiver", cells.names)
    if name is None:
        return pd.DataFrame(receivers_m).groupby([0, 1, 2], sort=False).ngroup().to_numpy()
    receiver, values = cells.labels(name)
    if (receiver < 0).any():
        raise cells.error(int((receiver < 0).argmax()), name, "is empty")
    _, first = np.unique(receiver, return_index=True)
    moved = (receivers_m != receivers_m[first][receiver]).any(1)
    if moved.any():
        row = int(moved.argmax())
        place, before = (
            tuple(float(value) for value in at) for at in (receivers_m[row], receivers_m[first][receiver][row])
        )
        raise cells.error(
            row, name, f"receiver {values[receiver[row]]!r} is at {place} m, and was at {before} m before"
        )
    return receiver


def _stations(cells: Cells, columns: Columns) -> np.ndarray:
    """(n, 4): x, y, z of the transmitter [m] and the frequency [Hz] of every row."""
    station = np.empty((len(cells), 4))
    station[:, :3], station[:, 3] = columns.transmitter_m or np.nan, columns.frequency_hz or np.nan
    fields = ["frequency"] if columns.frequency_hz is None else []
    if columns.transmitter_m is None:
        fields = ["transmitter_x", "transmitter_y", "transmitter_z", *fields]
    for field in fields:
        name = columns.found(field, cells.names)
        if name is None:
            setting = "frequency_hz" if field == "frequency" else "transmitter_m"
            raise ValueError(
                f"{cells.path}: {field} is not known: give {setting}, or name its column; there are {cells.listed}"
            )
        place = 3 if field == "frequency" else "xyz".index(field[-1])
        station[:, place] = _known(cells, columns, field, name)
    return station


class _Slots(NamedTuple):
    """Where the paths go: row and place in the row that they come from, receiver and slot that they go to, all (K,)."""

    row: np.ndarray
    place: np.ndarray
    receiver: np.ndarray
    slot: np.ndarray


def _table(cells: Cells, columns: Columns, rows: _Rows, num_paths: int | None) -> PathTable:
    """The table of the rows of one transmitter."""
    receiver, receivers = pd.factorize(rows.receiver)
    _, first = np.unique(receiver, return_index=True)
    slots = _slots(cells, columns, rows, receiver)
    num_paths = num_paths or int(slots.slot.max(initial=0)) + 1
    kept = slots.slot < num_paths
    row, place, *there = (part[kept] for part in slots)
    there = tuple(there)
    valid = np.zeros((len(receivers), num_paths), bool)
    kind = np.full(valid.shape, UNKNOWN_KIND, np.int8)
    values = np.full((*valid.shape, len(PARAMETERS)), np.nan, np.float32)
    valid[there], kind[there], values[there] = True, rows.kind[row, place], rows.values[row, place]
    numbers = dict(zip(PARAMETERS, np.moveaxis(values, -1, 0), strict=True))
    station = rows.station[0]
    return PathTable(rows.receivers_m[first], station[:3], float(station[3]), **numbers, kind=kind, valid=valid)


def _slots(cells: Cells, columns: Columns, rows: _Rows, receiver: np.ndarray) -> _Slots:
    """Paths by receiver, strongest first. Raises ValueError for a number of a path that a receiver has twice."""
    row, place = np.nonzero(rows.told)
    number, owner = rows.path[row, place], receiver[row]
    order = np.lexsort((number, owner))
    row, place, number, owner = row[order], place[order], number[order], owner[order]
    twice = np.flatnonzero((owner[1:] == owner[:-1]) & (number[1:] == number[:-1]))
    if len(twice):
        name = columns.found("path", cells.names)
        at = twice[0] + 1
        raise cells.error(int(rows.number[row[at]]), str(name), f"path {number[at]:g} of this receiver comes twice")
    # A path of unknown power stays behind the one before it.
    power_db = pd.Series(rows.values[row, place, 0]).groupby(owner).ffill().fillna(np.inf).to_numpy()
    order = np.lexsort((-power_db, owner))
    row, place, owner = row[order], place[order], owner[order]
    begin = np.searchsorted(owner, owner)
    return _Slots(row, place, owner, np.arange(len(owner)) - begin)


def write(path: str | Path, table: PathTable) -> None:
    """Write a table as a .csv or .parquet file, whole or not at all, that :func:`read` reads without being told more.

    A file of that name is replaced. Read back into as many paths per receiver, everything is the same to the last bit
    if the paths of every receiver are strongest first, without gaps. Paths of which nothing is known are left out.
    Raises ValueError for another ending, and for a table without receivers.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path}: tables are written as {' or '.join(ENDINGS)}, not as {path.suffix!r}")
    if not len(table):
        raise ValueError(f"a table without receivers cannot be written to {path}")
    told = np.isfinite(table.values).any(-1) | (table.kind != UNKNOWN_KIND)
    receiver, slot = np.nonzero(told)
    # Receivers without any path have one row, in which nothing is told.
    dark = np.flatnonzero(~told.any(1))
    who = np.concatenate([receiver, dark])
    order = np.argsort(who, kind="stable")
    who, slot = who[order], np.concatenate([slot, np.full(len(dark), -1)])[order]
    kinds = np.array([*(kind.name.lower() for kind in PathKind), None], object)
    cells = {"receiver": who, **{f"{axis}_m": table.receivers_m[who, place] for place, axis in enumerate("xyz")}}
    cells["path"] = pa.array(slot, pa.int32(), mask=slot < 0)
    for name in PARAMETERS:
        padded = np.pad(getattr(table, name), ((0, 0), (0, 1)), constant_values=np.nan)
        cells[name] = pa.array(padded[who, slot], from_pandas=True)
    padded = np.pad(table.kind, ((0, 0), (0, 1)), constant_values=UNKNOWN_KIND)
    cells["kind"] = pa.array(kinds[padded[who, slot]], pa.string())
    station = dict(zip(("transmitter_x_m", "transmitter_y_m", "transmitter_z_m"), table.transmitter_m, strict=True))
    for name, value in {**station, "frequency_hz": float(table.frequency_hz)}.items():
        cells[name] = np.full(len(who), value)
    with whole(path) as temporary:
        done = pa.table(cells)
        pq.write_table(done, temporary) if path.suffix.lower() == ".parquet" else pa.csv.write_csv(done, temporary)
