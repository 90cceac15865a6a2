"""Datasets of paths at points: many channels, each from one transmitter to many receivers, on disk. No Ray here.

A dataset is a folder with one Parquet file per channel, one row per receiver (``COLUMNS``), and the card
``points.json``, which is written last. :func:`read` gives channels back, checked; Ray Data can stream the files
themselves (``ray.data.read_parquet``), every tensor of which has one shape throughout the dataset.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from raymap.config import Settings
from raymap.data.channel import Channel
from raymap.data.schema import Failure, tensor_column, tensor_type, to_columns, whole, write_failures, write_text
from raymap.scene import PathKind, Paths

SCHEMA_VERSION = 1
CARD_FILE = "points.json"
#: Tensors per row: type, and shape behind the path axis (None: the row has no path axis, but three coordinates).
COLUMNS: dict[str, tuple[type, tuple[int, ...] | None]] = {
    "receiver_m": (np.float32, None), "transmitter_m": (np.float32, None), "gain_re": (np.float32, ()),
    "gain_im": (np.float32, ()), "delay_s": (np.float32, ()), "aoa_rad": (np.float32, (2,)),
    "aod_rad": (np.float32, (2,)), "kind": (np.int8, ()), "valid": (np.uint8, ()),
}  # fmt: skip
#: What the numbers mean, kept in every card.
UNITS = {
    "receiver": "row of the channel", "receiver_m": "m (x, y, z)", "transmitter_m": "m (x, y, z)",
    "frequency_hz": "Hz", "gain_re": "amplitude, real part", "gain_im": "amplitude, imaginary part", "delay_s": "s",
    "aoa_rad": "rad (azimuth from +x towards +y, zenith), of arrival", "aod_rad": "rad, the same, of departure",
    "kind": ", ".join(f"{kind.value} = {kind.name.lower()}" for kind in PathKind), "valid": "1 = a path, 0 = padding",
}  # fmt: skip
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


class PointsCard(Settings):
    """What a dataset of channels is. ``num_paths``: paths per receiver that every file has room for."""

    schema_version: int = SCHEMA_VERSION
    name: str
    num_paths: int = Field(ge=1)
    units: dict[str, str] = UNITS
    sources: tuple[str, ...]
    attribution: str
    splits: dict[str, tuple[Link, ...]]
    num_receivers: int
    share_without_path: float
    power_range_db: tuple[float, float] | None
    delay_range_s: tuple[float, float] | None
    num_failures: int
    fingerprint: str

    @staticmethod
    def load(folder: str | Path) -> PointsCard:
        """Raises FileNotFoundError without a card, ValueError for one that is damaged or of an unknown version."""
        path = Path(folder) / CARD_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {CARD_FILE}: not a dataset of channels, or one not finished")
        try:
            values = json.loads(path.read_text())
            version = values.get("schema_version")
            card = PointsCard.model_validate(values) if version == SCHEMA_VERSION else None
        except (ValueError, AttributeError, RecursionError, ValidationError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        if card is None:
            raise ValueError(f"{path} has schema_version {version!r}; this raymap reads {SCHEMA_VERSION}")
        return card


def write(
    folder: str | Path,
    channels_by_split: Mapping[str, Iterable[tuple[str, Channel] | Failure]],
    *,
    name: str,
    sources: Sequence[str],
    attribution: str,
    num_paths: int = 25,
) -> PointsCard:
    """Write named channels as a dataset; a :class:`Failure` among them is listed in ``quarantine.jsonl``, not written.

    The ``num_paths`` strongest paths of every receiver are kept; the card counts the others. Raises ValueError if the
    folder already holds a dataset, if a name comes twice (in one split or in two), for a split that cannot name a
    folder, or without any channel.
    """
    folder = Path(folder).resolve()
    if (folder / CARD_FILE).exists():
        raise ValueError(f"{folder} already holds a dataset; write to a new folder")
    links: dict[str, list[Link]] = {}
    failed: list[Failure] = []
    names: set[str] = set()
    for split, entries in channels_by_split.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", split):
            raise ValueError(f"split {split!r} must be made of letters, digits, '.', '_' and '-'")
        links[split] = []
        for entry in entries:
            if isinstance(entry, Failure):
                failed.append(entry)
                continue
            if entry[0] in names:
                raise ValueError(f"channel {entry[0]!r} comes twice")
            names.add(entry[0])
            links[split].append(_write_link(folder, f"{split}/{len(links[split]):05d}.parquet", *entry, num_paths))
    folder.mkdir(parents=True, exist_ok=True)
    write_failures(folder, failed)
    if not names:
        reasons = "; ".join(f"{failure.what}: {failure.reason}" for failure in failed[:3])
        raise ValueError(f"no channel could be written to {folder}: {reasons or 'none was given'}")
    card = _card(links, failed, name=name, num_paths=num_paths, sources=tuple(sources), attribution=attribution)
    write_text(folder / CARD_FILE, card.model_dump_json(indent=2) + "\n")
    return card


def _card(links: Mapping[str, Sequence[Link]], failed: Sequence[Failure], **about) -> PointsCard:
    flat = [link for split in links.values() for link in split]
    num_receivers = sum(link.num_receivers for link in flat)
    lines = sorted(f"{split} {link.name!r} {link.fingerprint}\n" for split, part in links.items() for link in part)
    return PointsCard(
        **about,
        splits={split: tuple(part) for split, part in links.items()},
        num_receivers=num_receivers,
        share_without_path=sum(link.num_without_path for link in flat) / num_receivers,
        power_range_db=_union(link.power_range_db for link in flat),
        delay_range_s=_union(link.delay_range_s for link in flat),
        num_failures=len(failed),
        fingerprint=hashlib.sha256("".join(lines).encode()).hexdigest(),
    )


def _union(ranges: Iterable[tuple[float, float] | None]) -> tuple[float, float] | None:
    there = [entry for entry in ranges if entry]
    return (min(low for low, _ in there), max(high for _, high in there)) if there else None


def _write_link(folder: Path, file: str, name: str, channel: Channel, num_paths: int) -> Link:
    paths = channel.paths.strongest(num_paths)
    kept = Channel(paths, channel.receivers_m, channel.transmitter_m, channel.frequency_hz)
    columns = _columns(kept)
    table = pa.table(
        {
            "channel": pa.array([name] * len(paths.valid), pa.string()),
            "receiver": pa.array(np.arange(len(paths.valid), dtype=np.int32)),
            "frequency_hz": pa.array(np.full(len(paths.valid), channel.frequency_hz)),
            **{key: tensor_column(values) for key, values in columns.items()},
        }
    )
    _write_table(folder / file, table)
    power_db, delay_s = paths.gain_db[paths.valid], paths.delay_s[paths.valid]
    counts = np.bincount(paths.kind[paths.valid], minlength=len(PathKind))
    return Link(
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


def read(folder: str | Path, split: str) -> Iterator[tuple[str, Channel]]:
    """(name, channel) of every channel of a split, in the order in which they were written, one in memory at a time.

    Raises FileNotFoundError or ValueError for a bad card, and ValueError for an unknown split, at once; ValueError,
    naming the file, when the turn comes of one that is missing, damaged or not what was written.
    """
    folder, card = Path(folder).resolve(), PointsCard.load(folder)
    if split not in card.splits:
        raise ValueError(f"dataset {card.name!r} has no split {split!r}; it has {', '.join(card.splits)}")
    return ((link.name, _read_link(folder, link, card.num_paths)) for link in card.splits[split])


def _read_link(folder: Path, link: Link, num_paths: int) -> Channel:
    path = (folder / link.file).resolve()
    if folder not in path.parents:
        raise ValueError(f"{folder / CARD_FILE}: file {link.file!r} of channel {link.name!r} lies outside the folder")
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
