"""The row at rest, and the card of a dataset. Everything is physical; no Ray here.

One row is one (scene, transmitter): ``COLUMNS`` says what it holds. A dataset is a folder of shards and a
``dataset.json``, the card, which is written last: a folder without it is incomplete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field, ValidationError, field_validator

from raymap import units
from raymap.config import Settings
from raymap.scene import Grid, RadioMap, Scene, Transmitter
from raymap.storage import Place, place, write_text

SCHEMA_VERSION = 1
CARD_FILE = "dataset.json"
#: What could not become rows, one JSON object per line.
FAILURES_FILE = "quarantine.jsonl"

#: Columns of one number or name per row.
SCALARS = {"scene": pa.string(), "tx_id": pa.int32(), "cell_m": pa.float32(), "frequency_hz": pa.float64()}
#: Columns of one (H, W) raster per row.
RASTERS = {"building_m": np.float32, "vehicle_m": np.float32, "gain_db": np.float32, "valid": np.uint8}
COLUMNS = (*SCALARS, "tx_xyz_m", *RASTERS)
#: What the numbers mean, kept in every card.
UNITS = {
    "cell_m": "m", "frequency_hz": "Hz", "tx_xyz_m": "m (x, y from the top left corner, height above ground)",
    "building_m": "m above ground", "vehicle_m": "m above ground", "gain_db": "dB path gain", "valid": "1 = outdoors",
}  # fmt: skip


class Failure(NamedTuple):
    """Something that could not become rows (a scene, a file) and why."""

    what: str
    reason: str


def write_failures(folder: Place, failed: Iterable[Failure]) -> None:
    """List what failed while the dataset in ``folder`` was made, one JSON object per line."""
    lines = [json.dumps(failure._asdict()) + "\n" for failure in failed]
    write_text(folder / FAILURES_FILE, "".join(lines))


def failures(folder: str | Place) -> list[Failure]:
    """What failed while the dataset in ``folder`` was made. Empty if there is nothing, or no list."""
    path = place(folder) / FAILURES_FILE
    entries = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [Failure(entry["what"], entry["reason"]) for entry in entries]


def tell(failed: Sequence[Failure], folder: str | Place | None = None) -> None:
    """Print the first ten failures, a line each, then how many more there are, and the list in ``folder`` if given."""
    for failure in failed[:10]:
        print(f"left out {failure.what}: {failure.reason}")
    if len(failed) > 10:
        print(f"... and {len(failed) - 10} more" + (f", see {folder}/{FAILURES_FILE}" if folder else ""))


def tensor_type(dtype: Any, shape: Sequence[int]) -> pa.DataType:
    """The one place where tensor types are made: Ray Data refuses to mix types that differ in their permutation."""
    return pa.fixed_shape_tensor(pa.from_numpy_dtype(dtype), tuple(shape))


def tensor_column(values: np.ndarray) -> pa.Array:
    """(N, ...) to an Arrow column of N tensors."""
    values = np.ascontiguousarray(values)
    size = int(np.prod(values.shape[1:]))
    storage = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), size)
    return pa.ExtensionArray.from_storage(tensor_type(values.dtype, values.shape[1:]), storage)


def schema(shape: Sequence[int]) -> pa.Schema:
    """Columns and types of a shard whose rasters are ``shape`` = (H, W)."""
    rasters = {name: tensor_type(dtype, shape) for name, dtype in RASTERS.items()}
    return pa.schema({**SCALARS, "tx_xyz_m": tensor_type(np.float32, (3,)), **rasters})


def row(scene: Scene, tx_id: int, transmitter: Transmitter, radio_map: RadioMap) -> dict[str, Any]:
    """One row, in the types it is stored in. Cells that are not valid and not finite are stored as the floor.

    Raises ValueError if what would be stored is not a usable row (see :func:`fault`); rounding to float32 included.
    """
    finite = np.isfinite(radio_map.gain_db)
    values = {
        "scene": scene.name,
        "tx_id": int(tx_id),
        "cell_m": np.float32(scene.grid.cell_m),
        "frequency_hz": float(scene.frequency_hz),
        "tx_xyz_m": np.array(transmitter.xyz_m, np.float32),
        "building_m": scene.building_m,
        "vehicle_m": scene.vehicle_m,
        "gain_db": np.where(finite, radio_map.gain_db, np.float32(units.GAIN_FLOOR_DB)),
        "valid": radio_map.valid.astype(np.uint8),
    }
    reason = fault(values, scene.grid.shape, scene.grid.cell_m)
    if reason:
        raise ValueError(f"{scene.name}, transmitter {tx_id}: {reason}")
    return values


def nouns(values: Mapping[str, Any]) -> tuple[Scene, Transmitter, RadioMap]:
    """A row back as scene, transmitter (default power) and radio map. Raises ValueError as those do."""
    grid = Grid(np.shape(values["building_m"]), float(values["cell_m"]))
    scene = Scene(str(values["scene"]), grid, values["building_m"], values["vehicle_m"], float(values["frequency_hz"]))
    return scene, Transmitter(tuple(values["tx_xyz_m"])), RadioMap(values["gain_db"], values["valid"] == 1)


def fault(values: Mapping[str, Any], shape: Sequence[int], cell_m: float) -> str | None:
    """Why a row cannot be used in a dataset of this shape and cell size [m]; None if it can.

    The nouns check themselves: heights, gain on valid cells, and the transmitter outdoors on the map.
    """
    if not values["scene"]:
        return "the scene has no name"
    if tuple(np.shape(values["building_m"])) != tuple(shape):
        return f"rasters have shape {np.shape(values['building_m'])}, the dataset has {tuple(shape)}"
    if np.float32(values["cell_m"]) != np.float32(cell_m):
        return f"cell_m is {float(values['cell_m']):g} m, the dataset has {cell_m:g} m"
    if np.max(values["valid"], initial=0) != 1:
        return f"valid must hold 0 and 1, at least one 1; highest is {np.max(values['valid'], initial=0)}"
    try:
        scene, transmitter, _ = nouns(values)
        scene.require_outdoor(transmitter)
    except ValueError as error:
        return str(error)
    return None


def to_table(rows: Iterable[Mapping[str, Any]], shape: Sequence[int] | None = None) -> pa.Table:
    """Rows of one raster shape as a table; ``shape`` = (H, W) is only needed if there may be no rows at all."""
    rows = list(rows)
    shape = np.shape(rows[0]["building_m"]) if rows else shape
    if shape is None:
        raise ValueError("a table without rows needs the shape of its rasters")
    target = schema(shape)
    if not rows:
        return target.empty_table()
    columns = {name: pa.array([values[name] for values in rows], kind) for name, kind in SCALARS.items()}
    for name, dtype in {"tx_xyz_m": np.float32, **RASTERS}.items():
        columns[name] = tensor_column(np.stack([np.asarray(values[name], dtype) for values in rows]))
    return pa.table(columns, schema=target)


def to_columns(table: pa.Table) -> dict[str, np.ndarray]:
    """A table without nulls as numpy columns: (N,) or (N, ...), ``scene`` as str objects."""
    return {name: _to_numpy(table[name]) for name in table.column_names}


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    if isinstance(column.type, pa.FixedShapeTensorType):
        # flatten() rather than to_numpy_ndarray(): it respects the offset of a slice.
        values = column.combine_chunks().storage.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(column), *column.type.shape)
    return column.to_numpy()


def check_table(table: pa.Table, shape: Sequence[int], cell_m: float) -> tuple[pa.Table, list[tuple[int, str]]]:
    """The usable rows of a table, and (row index, reason) of those set aside (see :func:`fault`).

    Raises ValueError if the table as a whole is of another kind: columns, types or raster shape.
    """
    expected = schema(shape)
    if not table.schema.equals(expected, check_metadata=False):
        raise ValueError(_schema_difference(table.schema, expected))
    reasons: dict[int, str] = {}
    index = np.arange(len(table))
    for find in (_null_rows, _null_cells, lambda part: _faults(part, shape, cell_m)):
        found = find(table)
        reasons.update({int(index[row]): reason for row, reason in found.items()})
        if found:
            kept = np.array([row not in found for row in range(len(table))], bool)
            table, index = table.filter(pa.array(kept)), index[kept]
    return table, sorted(reasons.items())


def _schema_difference(found: pa.Schema, expected: pa.Schema) -> str:
    for name in COLUMNS:
        if name not in found.names:
            return f"column {name!r} is missing"
        if found.field(name).type != expected.field(name).type:
            return f"column {name!r} is {found.field(name).type}, expected {expected.field(name).type}"
    return f"columns are {', '.join(found.names)}, expected {', '.join(COLUMNS)}"


def _null_rows(table: pa.Table) -> dict[int, str]:
    found: dict[int, str] = {}
    for name in table.column_names:
        if table[name].null_count:
            found.update({int(row): f"{name} is null" for row in np.flatnonzero(table[name].is_null().to_numpy())})
    return found


def _null_cells(table: pa.Table) -> dict[int, str]:
    found: dict[int, str] = {}
    for name in ("tx_xyz_m", *RASTERS):
        cells = table[name].combine_chunks().storage.flatten()
        if cells.null_count:
            null = cells.is_null().to_numpy(zero_copy_only=False).reshape(len(table), -1)
            found.update({int(row): f"{name} holds nulls" for row in np.flatnonzero(null.any(1))})
    return found


def _faults(table: pa.Table, shape: Sequence[int], cell_m: float) -> dict[int, str]:
    columns = to_columns(table)
    found = {}
    for row in range(len(table)):
        reason = fault({name: values[row] for name, values in columns.items()}, shape, cell_m)
        if reason:
            found[row] = reason
    return found


def row_hashes(columns: Mapping[str, np.ndarray]) -> list[str]:
    """SHA-256 of the contents of every row (little-endian bytes of each column in order), independent of the file."""
    little = {name: np.asarray(columns[name], _little_endian(columns[name])) for name in COLUMNS if name != "scene"}
    shape = repr(little["building_m"].shape[1:]).encode()
    hashes = []
    for index, scene in enumerate(columns["scene"]):
        digest = hashlib.sha256(shape + str(scene).encode() + b"\0")
        for values in little.values():
            digest.update(np.ascontiguousarray(values[index]))
        hashes.append(digest.hexdigest())
    return hashes


def _little_endian(values: np.ndarray) -> np.dtype:
    return np.asarray(values).dtype.newbyteorder("<")


def fingerprint(hashes_by_split: Mapping[str, Iterable[str]]) -> str:
    """SHA-256 over the sorted (split, row hash) pairs: the same however the rows were ordered or cut into shards."""
    lines = sorted(f"{split} {value}\n" for split, hashes in hashes_by_split.items() for value in hashes)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


#: Kinds of maps that are dominant-path maps themselves, without and with vehicles; also those of RadioMapSeer's DPM.
#: An input computed by the same model would be the answer.
DOMINANT_PATH_KINDS = ("srm", "drm")


def require_multipath(name: str, kind: str) -> None:
    """Raises ValueError if the dominant-path map is the truth of a dataset of this kind, and so can be no input."""
    if kind in DOMINANT_PATH_KINDS:
        raise ValueError(
            f"dataset {name!r} is of kind {kind!r}, whose true maps are dominant-path maps: 'dominant_path' can be an "
            f"input for multipath and measured maps only, not for {' and '.join(DOMINANT_PATH_KINDS)}"
        )


class Split(Settings):
    """One split: its scenes (sorted), number of rows (maps) and shard files, relative to the folder."""

    scenes: tuple[str, ...]
    num_rows: int = Field(ge=0)
    shards: tuple[str, ...]


class DatasetCard(Settings):
    """What a dataset is. ``shape`` = (H, W), ``cell_m`` [m], ``gain_range_db`` lowest and highest valid gain [dB].

    ``fingerprint``: see :func:`fingerprint`. Raises ValueError, naming it, if a scene is in two splits.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    kind: str = Field(description='what was simulated: "srm" static, "drm" with vehicles, "mrm" multipath')
    shape: tuple[int, int]
    cell_m: float = Field(gt=0)
    units: dict[str, str] = UNITS
    sources: tuple[str, ...]
    attribution: str
    splits: dict[str, Split]
    fingerprint: str
    gain_range_db: tuple[float, float]

    @field_validator("splits")
    @classmethod
    def _disjoint(cls, splits: dict[str, Split]) -> dict[str, Split]:
        home: dict[str, str] = {}
        for name, split in splits.items():
            for scene in split.scenes:
                if home.setdefault(scene, name) != name:
                    raise ValueError(f"scene {scene!r} is in two splits, {home[scene]!r} and {name!r}")
        return splits

    def split(self, name: str) -> Split:
        """Raises ValueError, with the splits there are, for an unknown one."""
        if name not in self.splits:
            raise ValueError(f"dataset {self.name!r} has no split {name!r}; it has {', '.join(self.splits)}")
        return self.splits[name]

    def save(self, folder: str | Place) -> None:
        """Write ``dataset.json``, whole or not at all."""
        write_text(place(folder) / CARD_FILE, self.model_dump_json(indent=2) + "\n")

    @staticmethod
    def load(folder: str | Place) -> DatasetCard:
        """Raises FileNotFoundError without a card, ValueError for one that is damaged or of an unknown version."""
        path = place(folder) / CARD_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {CARD_FILE}: not a raymap dataset, or one not finished")
        try:
            values = json.loads(path.read_text())
            version = values.get("schema_version")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        if version != SCHEMA_VERSION:
            raise ValueError(f"{path} has schema_version {version!r}; this raymap reads {SCHEMA_VERSION}")
        try:
            return DatasetCard.model_validate(values)
        except ValidationError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
