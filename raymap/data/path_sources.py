"""Measured paths from wherever they are: datasets of channels, traces, DeepMIMO folders, tables of measurements."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from raymap.data import deepmimo_format, deepmimo_import, mesh_file, path_file, path_table, points, traces
from raymap.data.cells import ENDINGS
from raymap.data.channel import Channel
from raymap.data.deepmimo_import import ImportPlan
from raymap.data.path_columns import Columns
from raymap.data.path_table import PathTable


def read(
    source: str | Path,
    num_paths: int,
    columns: Columns | None = None,
    split: str | None = None,
    surroundings: str | Path | None = None,
) -> dict[str, PathTable]:
    """Name to the ``num_paths`` strongest paths at every receiver, for every transmitter of a source.

    ``source``, by what is in it: a dataset of channels (``split``, or all of it), a folder of traced paths, a DeepMIMO
    folder (pairs with other receivers than the transmitters themselves, if there are any), or a .csv or .parquet file,
    whose ``columns`` may be told. Receivers without any path stay: that no path arrives is known of them.
    ``surroundings``: a file of the surfaces around (:mod:`raymap.data.mesh_file`); a trace has its own.

    Raises FileNotFoundError if nothing is there, and ValueError for a folder or file that is none of these, ``split``
    or ``columns`` of a source that has none, ``num_paths`` below 1, and as the readers of each kind do. Lines of sight
    of a DeepMIMO folder must agree with its positions (:func:`raymap.data.channel.check_line_of_sight`).
    """
    tables = _read(source := Path(source), num_paths, columns, split)
    own = source / traces.SURROUNDINGS_FILE
    if surroundings is None and not own.is_file():
        return tables
    return {
        name: table.within(mesh_file.read(surroundings or own, table.frequency_hz)) for name, table in tables.items()
    }


def named(sources: list[str]) -> dict[str, str]:
    """Name -> source of ``NAME=SOURCE``, or of a source that goes by the name of its folder or file.

    Raises ValueError for two of one name.
    """
    found: dict[str, str] = {}
    for source in sources:
        name, _, path = source.rpartition("=")
        name = name or Path(path).resolve().stem
        if name in found:
            raise ValueError(f"two sources are called {name!r}; name one of them with NAME=SOURCE")
        found[name] = path
    return found


def _read(source: Path, num_paths: int, columns: Columns | None, split: str | None) -> dict[str, PathTable]:
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder")
    if num_paths < 1:
        raise ValueError(f"num_paths must be 1 or more, got {num_paths}")
    is_dataset, is_file = (source / points.CARD_FILE).is_file(), source.is_file()
    if split is not None and not is_dataset:
        raise ValueError(f"{source} is no dataset of channels (no {points.CARD_FILE}) and has no split {split!r}")
    if columns is not None and not is_file:
        raise ValueError(f"{source} is a folder; columns are named for {' and '.join(ENDINGS)} files")
    if is_dataset:
        splits = points.PointsCard.load(source).splits if split is None else [split]
        channels = ((name, channel) for part in splits for name, channel in points.read(source, part))
    elif (source / traces.ABOUT_FILE).is_file():
        channels = [(source.name, traces.read(source).channel)]
    elif (source / deepmimo_format.PARAMS_FILE).is_file():
        channels = _deepmimo(source)
    elif source.suffix.lower() in ENDINGS and is_file:
        return path_file.tables(source, columns, num_paths)
    else:
        raise ValueError(
            f"{source} is no source of paths: looked for a folder with {points.CARD_FILE} (dataset of channels), "
            f"{traces.ABOUT_FILE} (traced paths) or {deepmimo_format.PARAMS_FILE} (DeepMIMO 4), and for a file that "
            f"ends in {' or '.join(ENDINGS)}"
        )
    return {name: path_table.from_channel(channel, num_paths) for name, channel in channels}


def _deepmimo(folder: Path) -> Iterator[tuple[str, Channel]]:
    """(name, channel) of every pair, one in memory at a time."""
    plan = ImportPlan(folder=str(folder))
    items = deepmimo_import.work(plan)
    others = [item for item in items if item.pair.tx_set != item.pair.rx_set]
    return ((item.name, deepmimo_import.channel(item, plan)) for item in others or items)
