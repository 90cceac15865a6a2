"""One channel on disk: written whole or not at all, described in its own footer, read back checked. No Ray here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from raymap.config import Settings
from raymap.data.channel import Channel
from raymap.data.schema import tensor_column, tensor_type, to_columns
from raymap.scene import PathKind, Paths
from raymap.storage import whole

#: Tensors per row: type, and shape behind the path axis (None: the row has no path axis, but three coordinates).
COLUMNS: dict[str, tuple[type, tuple[int, ...] | None]] = {
    "receiver_m": (np.float32, None), "transmitter_m": (np.float32, None), "gain_re": (np.float32, ()),
    "gain_im": (np.float32, ()), "delay_s": (np.float32, ()), "aoa_rad": (np.float32, (2,)),
    "aod_rad": (np.float32, (2,)), "kind": (np.int8, ()), "valid": (np.uint8, ()),
}  # fmt: skip
#: Key of our entry in a Parquet footer.
_KEY = b"raymap"
_ROW_GROUP = 4096


class Link(Settings):
    """One channel of a dataset: its name, its file relative to the folder, and what it holds.

    ``power_range_db``, ``delay_range_s``: of single paths; None if no receiver has any. ``fingerprint``: SHA-256 of the
    contents, independent of the file.
    """

    name: str
    file: str
    num_receivers: int = Field(ge=1)
    num_without_path: int = Field(ge=0)
    num_paths_left_out: int = Field(ge=0, description="weakest paths beyond num_paths of the dataset, not stored")
    frequency_hz: float
    num_paths_by_kind: dict[str, int]
    power_range_db: tuple[float, float] | None
    delay_range_s: tuple[float, float] | None
    fingerprint: str


def write(folder: Path, file: str, name: str, channel: Channel, num_paths: int) -> Link:
    """Write the ``num_paths`` strongest paths of every receiver of a channel to ``folder / file``."""
    paths = channel.paths.strongest(num_paths)
    kept = Channel(paths, channel.receivers_m, channel.transmitter_m, channel.frequency_hz)
    columns = _columns(kept)
    power_db, delay_s = paths.gain_db[paths.valid], paths.delay_s[paths.valid]
    counts = np.bincount(paths.kind[paths.valid], minlength=len(PathKind))
    link = Link(
        name=name,
        file=file,
        num_receivers=len(paths.valid),
        num_without_path=int((~kept.has_path).sum()),
        num_paths_left_out=int(channel.paths.valid.sum() - paths.valid.sum()),
        frequency_hz=channel.frequency_hz,
        num_paths_by_kind={kind.name.lower(): int(counts[kind]) for kind in PathKind},
        power_range_db=(float(power_db.min()), float(power_db.max())) if power_db.size else None,
        delay_range_s=(float(delay_s.min()), float(delay_s.max())) if delay_s.size else None,
        fingerprint=_fingerprint(kept.frequency_hz, columns),
    )
    table = pa.table(
        {
            "channel": pa.array([name] * len(paths.valid), pa.string()),
            "receiver": pa.array(np.arange(len(paths.valid), dtype=np.int32)),
            "frequency_hz": pa.array(np.full(len(paths.valid), channel.frequency_hz)),
            **{key: tensor_column(values) for key, values in columns.items()},
        }
    )
    _write_table(folder / file, table.replace_schema_metadata({_KEY: link.model_dump_json()}))
    return link


def read_link(folder: Path, file: str, name: str) -> Link | None:
    """What a channel's file says of itself, without reading the channel; None if it is not whole, or another's."""
    try:
        link = Link.model_validate_json((pq.read_metadata(folder / file).metadata or {})[_KEY])
    except (OSError, KeyError, ValueError):  # pyarrow reports a damaged footer as OSError or ArrowInvalid (ValueError)
        return None
    return link if (link.file, link.name) == (file, name) else None


def _columns(channel: Channel) -> dict[str, np.ndarray]:
    """The tensors of a channel, (R, ...), in the types that are stored."""
    paths, num = channel.paths, len(channel.receivers_m)
    return {
        "receiver_m": channel.receivers_m,
        "transmitter_m": np.tile(channel.transmitter_m, (num, 1)),
        "gain_re": np.ascontiguousarray(paths.gain.real),
        "gain_im": np.ascontiguousarray(paths.gain.imag),
        "delay_s": paths.delay_s,
        "aoa_rad": paths.aoa_rad,
        "aod_rad": paths.aod_rad,
        "kind": paths.kind,
        "valid": paths.valid.astype(np.uint8),
    }


def _fingerprint(frequency_hz: float, columns: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(f"{frequency_hz!r}".encode())
    for name in COLUMNS:
        values = np.asarray(columns[name], columns[name].dtype.newbyteorder("<"))
        digest.update(f"{name}{values.shape}".encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _write_table(path: Path, table: pa.Table) -> None:
    """Parquet; a file is visible only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        pq.write_table(
            table, temporary, row_group_size=_ROW_GROUP, compression="zstd", use_dictionary=["channel"],
            write_page_checksum=True,
        )  # fmt: skip


def read(folder: Path, link: Link, num_paths: int) -> Channel:
    """The channel of a link, with room for ``num_paths``. Raises ValueError, naming the file, if it cannot be used."""
    path = (folder / link.file).resolve()
    if folder not in path.parents:
        raise ValueError(f"file {link.file!r} of channel {link.name!r} lies outside the folder {folder}")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
        return _channel(table, link, num_paths)
    except Exception as error:  # whatever a damaged file makes of pyarrow
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} (channel {link.name!r}) cannot be used: {reason}") from error


def _channel(table: pa.Table, link: Link, num_paths: int) -> Channel:
    for name, (dtype, rest) in COLUMNS.items():
        wanted = tensor_type(dtype, (3,) if rest is None else (num_paths, *rest))
        if name not in table.column_names or table.schema.field(name).type != wanted:
            raise ValueError(f"column {name!r} must be {wanted}")
    columns = to_columns(table.select(list(COLUMNS)))
    if len(table) != link.num_receivers or _fingerprint(link.frequency_hz, columns) != link.fingerprint:
        raise ValueError("its contents are not what was written")
    paths = Paths(
        gain=columns["gain_re"] + 1j * columns["gain_im"],
        **{name: columns[name] for name in ("delay_s", "aoa_rad", "aod_rad", "kind")},
        valid=columns["valid"] == 1,
    )
    return Channel(paths, columns["receiver_m"], columns["transmitter_m"][0], link.frequency_hz)
