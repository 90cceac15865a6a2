"""One shard on disk: written whole or not at all, read with tolerance. No Ray here.

A shard is a Parquet file of rows (``raymap.data.schema``) whose footer carries a :class:`Footer`: the hash of every row
and what failed while it was made. Page checksums find flipped bits, the row hashes find everything else, so a row is
either exactly what was written or set aside.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raymap.config import Settings
from raymap.data import schema
from raymap.data.schema import Failure
from raymap.storage import Place, opened, whole

#: Key of our entry in a Parquet footer.
_KEY = b"raymap"
#: Rows per row group: small, so that a reader never holds more than a few megabytes of pages.
_ROW_GROUP = 16


class Footer(Settings):
    """What a shard says about itself without being read: row hashes in order, scenes, lowest and highest valid gain
    [dB] (None without rows), what failed, and a hash of the work item that it was made of ("" if of none)."""

    rows: tuple[str, ...]
    scenes: tuple[str, ...]
    gain_range_db: tuple[float, float] | None
    failures: tuple[Failure, ...] = ()
    item: str = ""

    @property
    def shard_hash(self) -> str:
        """One hash of all rows in order."""
        return hashlib.sha256("".join(self.rows).encode()).hexdigest()


class SetAside(NamedTuple):
    """A row, or with ``row`` None a whole shard, that is not used, and why."""

    row: int | None
    reason: str


def write(
    path: Place, rows: Iterable[Mapping[str, Any]], shape: Sequence[int], failures: Iterable[Failure], item: str = ""
) -> Footer:
    """Write rows of rasters ``shape`` = (H, W) as one shard; ``item``: hash of what they were made of."""
    table = schema.to_table(rows, shape)
    columns = schema.to_columns(table)
    gain_db = columns["gain_db"][columns["valid"] == 1]
    footer = Footer(
        rows=tuple(schema.row_hashes(columns)),
        scenes=tuple(sorted(set(columns["scene"]))),
        gain_range_db=(float(gain_db.min()), float(gain_db.max())) if gain_db.size else None,
        failures=tuple(failures),
        item=item,
    )
    write_table(path, table.replace_schema_metadata({_KEY: footer.model_dump_json()}))
    return footer


def write_table(path: Place, table: pa.Table) -> None:
    """Write Parquet; a shard is visible only when it is whole."""
    # Nested columns are named by their path: "gain_db" alone would silently select nothing.
    floats = [
        f"{field.name}.list.element"
        for field in table.schema
        if isinstance(field.type, pa.FixedShapeTensorType) and pa.types.is_floating(field.type.value_type)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=_ROW_GROUP,
            compression="zstd",
            compression_level=1,
            use_dictionary=["scene"],
            use_byte_stream_split=floats,
            write_page_checksum=True,
        )


def read_footer(path: Place) -> Footer | None:
    """The footer of a shard, None if there is no whole shard of ours at ``path``."""
    try:
        return Footer.model_validate_json(_metadata(path)[_KEY])
    except (KeyError, ValueError):
        return None


def read(path: str | Place, shape: Sequence[int], cell_m: float) -> tuple[pa.Table, list[SetAside]]:
    """The usable rows of a shard, in order, and what was set aside.

    Never raises for what a file may hold, but OSError for a bucket that does not answer: that says nothing of the file.
    """
    empty = schema.schema(shape).empty_table()
    try:
        source = opened(path)
    except FileNotFoundError:
        return empty, [SetAside(None, "the file is missing")]
    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            footer = Footer.model_validate_json((file.metadata.metadata or {})[_KEY])
            table = file.read(use_threads=False)
        good, faults = schema.check_table(table, shape, cell_m)
        good, changed = _unchanged(good, footer)
    except FileNotFoundError:
        return empty, [SetAside(None, "the file is missing")]
    except KeyError:
        return empty, [SetAside(None, "a Parquet file, but not a shard written by raymap")]
    except Exception as error:
        return empty, [SetAside(None, f"cannot be read: {_one_line(error)}")]
    index = np.setdiff1d(np.arange(len(table)), [row for row, _ in faults])
    aside = [SetAside(row, reason) for row, reason in faults]
    aside += [SetAside(int(index[row]), "its contents are not what was written") for row in changed]
    return good, sorted(aside)


def _metadata(path: Place) -> dict[bytes, bytes]:
    """What the footer of a Parquet file holds beside its schema; nothing if there is no whole one."""
    try:
        source = opened(path)
    except FileNotFoundError:
        return {}
    try:
        return pq.read_metadata(source).metadata or {}
    except (OSError, ValueError):  # so pyarrow reports a damaged footer
        return {}


def _unchanged(table: pa.Table, footer: Footer) -> tuple[pa.Table, list[int]]:
    """The rows whose contents are what was written, and the indices of the others."""
    written = set(footer.rows)
    same = np.array([value in written for value in schema.row_hashes(schema.to_columns(table))], bool)
    return (table, []) if same.all() else (table.filter(pa.array(same)), np.flatnonzero(~same).tolist())


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


# Outlines that DM1 predicted: a sidecar per shard, same file name, tied to the shard's contents.


def write_outlines(path: Place, keys: Mapping[str, np.ndarray], outlines: np.ndarray, shard_hash: str) -> None:
    """Write a sidecar: ``scene`` and ``tx_id`` (N,) out of ``keys``, and ``outlines`` (N, H, W) in [0, 1] as float16.

    Raises ValueError for another number of outlines or values that are not finite or outside [0, 1].
    """
    outlines = np.asarray(outlines)
    if outlines.ndim != 3 or len(outlines) != len(keys["scene"]):
        raise ValueError(f"outline_predicted must be ({len(keys['scene'])}, H, W), got {outlines.shape}")
    _check_outlines(outlines)
    columns = {name: pa.array(keys[name], schema.SCALARS[name]) for name in ("scene", "tx_id")}
    columns["outline_predicted"] = schema.tensor_column(outlines.astype(np.float16))
    write_table(path, pa.table(columns).replace_schema_metadata({_KEY: json.dumps({"shard": shard_hash})}))


def read_outlines_hash(path: Place) -> str | None:
    """The hash of the shard that a sidecar was made for, None if there is no whole sidecar at ``path``."""
    try:
        return json.loads(_metadata(path)[_KEY])["shard"]
    except (KeyError, ValueError, TypeError):
        return None


def read_outlines(path: str | Place, rows: pa.Table, shard_hash: str) -> np.ndarray:
    """(N, H, W) float32 in [0, 1]: the predicted outlines of ``rows``, matched by scene and transmitter.

    Raises ValueError if the sidecar is missing or damaged, was made for another version of the shard, or lacks a row.
    """
    shape = tuple(rows.schema.field("gain_db").type.shape)
    try:
        source = opened(path)
    except FileNotFoundError:
        raise ValueError("there is no predicted outline for it") from None
    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
        made_for = json.loads((table.schema.metadata or {})[_KEY])["shard"]
        columns = schema.to_columns(table.select(["scene", "tx_id", "outline_predicted"]))
    except Exception as error:
        raise ValueError(f"its predicted outlines cannot be read: {_one_line(error)}") from error
    if made_for != shard_hash:
        raise ValueError("its predicted outlines were made for another version of the shard")
    outlines = columns["outline_predicted"]
    if outlines.shape[1:] != shape or outlines.dtype not in (np.float16, np.float32):
        raise ValueError(f"its predicted outlines are {outlines.dtype} {outlines.shape[1:]}, the maps are {shape}")
    _check_outlines(outlines)
    position = {key: index for index, key in enumerate(zip(columns["scene"], columns["tx_id"], strict=True))}
    wanted = list(zip(rows["scene"].to_pylist(), rows["tx_id"].to_pylist(), strict=True))
    missing = [key for key in wanted if key not in position]
    if missing or len(position) != len(outlines):
        what = f"lack transmitter {missing[0][1]} of {missing[0][0]}" if missing else "hold a row twice"
        raise ValueError(f"its predicted outlines {what}")
    return outlines[[position[key] for key in wanted]].astype(np.float32)


def _check_outlines(outlines: np.ndarray) -> None:
    if outlines.size and not (np.isfinite(outlines).all() and outlines.min() >= 0 and outlines.max() <= 1):
        raise ValueError(f"predicted outlines must lie in [0, 1], found {outlines.min():g} to {outlines.max():g}")
