"""Datasets of paths at points: many channels, each from one transmitter to many receivers.

A dataset is a folder with one Parquet file per channel, one row per receiver (``link_file.COLUMNS``), and the
card ``points.json``, which is written last. :func:`write` takes channels that are at hand, :func:`make` has them made
all over a cluster. :func:`read` gives channels back, checked; Ray Data can stream the files themselves
(``ray.data.read_parquet``), every tensor of which has one shape throughout the dataset.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from raymap.config import Settings
from raymap.data import link_file, parallel
from raymap.data.channel import Channel
from raymap.data.link_file import Link
from raymap.data.schema import Failure, write_failures
from raymap.scene import PathKind
from raymap.storage import write_text

SCHEMA_VERSION = 1
CARD_FILE = "points.json"
#: What the numbers mean, kept in every card.
UNITS = {
    "receiver": "row of the channel", "receiver_m": "m (x, y, z)", "transmitter_m": "m (x, y, z)",
    "frequency_hz": "Hz", "gain_re": "amplitude, real part", "gain_im": "amplitude, imaginary part", "delay_s": "s",
    "aoa_rad": "rad (azimuth from +x towards +y, zenith), of arrival", "aod_rad": "rad, the same, of departure",
    "kind": ", ".join(f"{kind.value} = {kind.name.lower()}" for kind in PathKind), "valid": "1 = a path, 0 = padding",
}  # fmt: skip


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
        _require_name(split)
        links[split] = []
        for entry in entries:
            if isinstance(entry, Failure):
                failed.append(entry)
                continue
            if entry[0] in names:
                raise ValueError(f"channel {entry[0]!r} comes twice")
            names.add(entry[0])
            links[split].append(link_file.write(folder, f"{split}/{len(links[split]):05d}.parquet", *entry, num_paths))
    return _finish(folder, links, failed, name=name, num_paths=num_paths, sources=sources, attribution=attribution)


def make(
    plan: Settings,
    folder: str | Path,
    work: Callable[[Any], Sequence[Any]],
    channel: Callable[[Any, Any], Channel],
    *,
    num_paths: int = 25,
    **about: Any,
) -> PointsCard:
    """Make the dataset of a plan over the whole cluster; run again, it makes only the channels that are not there.

    ``work(plan)``: one item (Settings with ``split``, ``name`` and ``file``) per channel, names and files all unlike.
    ``channel(item, plan)``: the channel of an item; a function of a module, run on any node. What it raises costs that
    channel, is listed in ``quarantine.jsonl``, and is tried again by the next run. ``num_paths`` and ``about``: as for
    :func:`write`.

    Raises ValueError if the folder was made with another plan (naming the field) or without one, for a split that
    cannot name a folder, or if not a single channel could be made; RuntimeError for a file that is gone once written,
    as where nodes do not share the folder.
    """
    folder, items = Path(folder).resolve(), work(plan)
    assert len({item.name for item in items}) == len({item.file for item in items}) == len(items)
    parts: dict[str, list[Link]] = {item.split: [] for item in items}
    for split in parts:
        _require_name(split)
    parallel.keep_plan(folder, CARD_FILE, plan)
    links = {item.name: link_file.read_link(folder, item.file, item.name) for item in items}
    todo = [item for item in items if links[item.name] is None]
    made = parallel.each(_make_link, todo, "channels", plan=plan, folder=folder, channel=channel, num_paths=num_paths)
    reasons = {row["name"]: row["reason"] for row in made}
    for item in todo:
        links[item.name] = link_file.read_link(folder, item.file, item.name)
        if links[item.name] is None and not reasons[item.name]:
            raise RuntimeError(f"{folder / item.file} was written, but cannot be read back")
    for item in items:
        if links[item.name]:
            parts[item.split].append(links[item.name])
    failed = [Failure(item.name, reasons[item.name]) for item in items if links[item.name] is None]
    return _finish(folder, parts, failed, num_paths=num_paths, **about)


def _make_link(item: Any, plan: Settings, folder: Path, channel: Callable, num_paths: int) -> dict[str, str]:
    """One item to one channel on disk; only its name, and what went wrong if anything did, travels back."""
    try:
        made = channel(item, plan)
    except Exception as error:
        told = str(error) if isinstance(error, OSError | ValueError) else ""  # these are written for people
        return {"name": item.name, "reason": told or f"{type(error).__name__}: {error}"}
    link_file.write(folder, item.file, item.name, made, num_paths)
    return {"name": item.name, "reason": ""}


def _require_name(split: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", split):
        raise ValueError(f"split {split!r} must be made of letters, digits, '.', '_' and '-'")


def _finish(folder: Path, links: Mapping[str, Sequence[Link]], failed: Sequence[Failure], **about: Any) -> PointsCard:
    """List the failures, then write the card."""
    folder.mkdir(parents=True, exist_ok=True)
    write_failures(folder, failed)
    if not any(links.values()):
        reasons = "; ".join(f"{failure.what}: {failure.reason}" for failure in failed[:3])
        raise ValueError(f"no channel could be written to {folder}: {reasons or 'none was given'}")
    card = _card(links, failed, **about)
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


def read(folder: str | Path, split: str) -> Iterator[tuple[str, Channel]]:
    """(name, channel) of every channel of a split, in the order in which they were written, one in memory at a time.

    Raises FileNotFoundError or ValueError for a bad card, and ValueError for an unknown split, at once; ValueError,
    naming the file, when the turn comes of one that is missing, damaged or not what was written.
    """
    folder, card = Path(folder).resolve(), PointsCard.load(folder)
    if split not in card.splits:
        raise ValueError(f"dataset {card.name!r} has no split {split!r}; it has {', '.join(card.splits)}")
    return ((link.name, link_file.read(folder, link, card.num_paths)) for link in card.splits[split])
