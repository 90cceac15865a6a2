"""Writing maps in the layout of RadioMapSeer, so that code released for it trains on them unchanged.

Written: ``gain/{simulation}``, ``png/buildings_complete``, ``png/antennas``, ``antenna/*.json``, for simulations with
vehicles ``png/cars``, and last ``raymap_scenes.json`` (:class:`raymap.data.radiomapseer.Export`): which map was which
scene of which split, cell size, frequency and heights, and what pictures cannot show. ``radiomapseer.read`` honours it.
Polygons and roads are not written: a row holds rasters, and no released loader reads either.

Gains become the nearest of 256 grey levels of 0.389 dB between -147 dB (black) and -47.84 dB (white); the error is at
most half a level, and a map that was read from such pictures becomes the same pictures again, byte by byte, however
often. What is lost is counted in ``Export.changes``:

- ``cells_above_white``, ``cells_below_black``: gains beyond the scale by more than half a level, which take its ends
- ``outdoor_cells_without_gain``: outdoors but not valid, black like a gain of -147 dB
- ``cells_opened``: built in one row of a scene and the transmitter's cell in another; outdoors in the one picture
- ``lowest_building_m``, ``highest_building_m``: one height is kept, their common one or the mean over built cells
- ``largest_error_db``: of quantisation, over all cells that the scale can show
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from raymap.data import radiomapseer_splits, schema, shard_file
from raymap.data.radiomapseer import SIMULATIONS, Export
from raymap.data.radiomapseer_writer import MapWriter
from raymap.data.schema import DatasetCard, Failure

#: Which simulation of RadioMapSeer a kind of map stands in for.
SIMULATION_OF = {"srm": "DPM", "drm": "carsDPM", "mrm": "IRT4"}


def rows_by_split(folder: str | Path, splits: Sequence[str] = ()) -> dict[str, Iterator[dict[str, Any] | Failure]]:
    """The rows of a dataset, for :func:`write`; all splits unless named. What cannot be used comes as a Failure.

    Raises FileNotFoundError or ValueError for a folder without a usable card, or an unknown split.
    """
    card = DatasetCard.load(folder)
    return {name: _rows(Path(folder), card, card.split(name).shards) for name in splits or card.splits}


def _rows(folder: Path, card: DatasetCard, shards: Iterable[str]) -> Iterator[dict[str, Any] | Failure]:
    for shard in sorted(shards):
        table, aside = shard_file.read(folder / shard, card.shape, card.cell_m)
        yield from (Failure(f"{shard}, row {entry.row}", entry.reason) for entry in aside)
        columns = schema.to_columns(table)
        for index in range(len(table)):
            yield {name: values[index] for name, values in columns.items()}


def write(
    folder: str | Path,
    rows_by_split: Mapping[str, Iterable[Mapping[str, Any] | Failure]],
    *,
    name: str,
    kind: str,
    simulation: str | None = None,
    numbering: Literal["plain", "radiounet"] = "plain",
    enlarge: bool = False,
    sources: Sequence[str] = (),
    attribution: str = "",
    fingerprint: str = "",
) -> Export:
    """Write rows (``raymap.data.schema``) as pictures of 256 x 256 pixels into a new or empty folder.

    ``simulation``: the folder under gain/; default by ``kind``: srm DPM, drm carsDPM, mrm IRT4. ``numbering``: "plain"
    counts scenes from 1 in the order of splits and rows (released loaders never read map 0); "radiounet" gives every
    scene an id of its split in RadioUNet's published one, so that loaders with that split built in need no change if
    all 700 are there; scenes beyond its size are left out. Transmitters of a scene are counted from 0 in the order of
    rows. ``enlarge``: repeat the cells of square maps whose side divides 256; read with the original ``cell_m``, they
    are the same maps again.

    A row that cannot be shown costs that row and is listed in ``quarantine.jsonl``: a gain picture that the reader
    would refuse, or a scene whose buildings or vehicles change between its rows. Raises ValueError for a folder that
    is not empty, maps of another shape, scenes in two splits, several frequencies, and if nothing could be written.
    """
    folder = Path(folder)
    simulation = simulation or SIMULATION_OF.get(kind)
    if simulation not in SIMULATIONS:
        raise ValueError(f"unknown simulation {simulation!r} for kind {kind!r}; there are {', '.join(SIMULATIONS)}")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; export to a new folder")
    writer = MapWriter(folder, simulation, enlarge, _ids(numbering, tuple(rows_by_split)))
    failures: list[Failure] = []
    for part, rows in rows_by_split.items():
        for row in rows:
            if isinstance(row, Failure):
                failures.append(row)
                continue
            writer.require(part, row)
            try:
                writer.add(part, row)
            except ValueError as error:
                failures.append(Failure(f"{row['scene']}, transmitter {row['tx_id']}", str(error)))
    if not writer.maps:
        reasons = "; ".join(f"{failure.what}: {failure.reason}" for failure in failures[:3])
        raise ValueError(f"no map could be written to {folder}: {reasons or 'there were no rows'}")
    schema.write_failures(folder, failures)
    return writer.finish(
        name=name, kind=kind, simulation=simulation, sources=tuple(sources), attribution=attribution,
        fingerprint=fingerprint,
    )  # fmt: skip


def _ids(numbering: str, splits: Sequence[str]) -> dict[str, Iterator[int]]:
    """For every split, the ids that its scenes get."""
    if numbering == "plain":
        return dict.fromkeys(splits, itertools.count(1))
    if numbering != "radiounet":
        raise ValueError(f"unknown numbering {numbering!r}; there are plain and radiounet")
    published = radiomapseer_splits.split("radiounet")
    unknown = [split for split in splits if split not in published]
    if unknown:
        raise ValueError(f"RadioUNet's split has {', '.join(published)}, but no {unknown[0]!r}; export without it")
    return {split: iter(published[split]) for split in splits}
