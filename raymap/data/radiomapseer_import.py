"""From a RadioMapSeer folder to rows: which maps go to which split, on which cells, and what the dataset's card says.

An :class:`ImportPlan` cuts into items of one shard each (:func:`work`), and :func:`rows` makes an item's rows anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from raymap.config import Settings
from raymap.data import radiomapseer, schema
from raymap.data.radiomapseer import Export, ExportedMap
from raymap.data.radiomapseer_splits import SPLITS
from raymap.data.schema import Failure
from raymap.scene import Grid, RadioMap, Scene, Transmitter, blocks

ATTRIBUTION = (
    "RadioMapSeer: Ç. Yapar, R. Levie, G. Kutyniok, G. Caire, Dataset of pathloss and ToA radio maps with localization "
    "application, IEEE DataPort 2022, doi:10.21227/0gtx-6v30."
)

Pair = tuple[int, int]


class ImportPlan(Settings):
    """What to import."""

    folder: str = Field("", description="the RadioMapSeer folder (gain, png, antenna), original or exported")
    simulation: str = Field("DPM", description=f"one of {', '.join(radiomapseer.SIMULATIONS)}")
    split: str = Field("test", description=f"test (all maps), exported, or as published: {', '.join(SPLITS)}")
    buildings: Literal["complete", "missing1", "missing2", "missing3", "missing4"] = Field(
        "complete", description="what scenes know of the city; gains are always those of the complete one"
    )
    variant: int | None = Field(None, ge=1, le=6, description="which of the incomplete maps; default: the first")
    cell_m: float = Field(4.0, gt=0, description="cell of the stored maps [m], a multiple of the pictures' (1 m)")
    rows_per_shard: int = Field(32, ge=1)


class ImportItem(Settings):
    """The maps of one shard: (map_id, tx_id) in order."""

    split: str
    shard: str
    pairs: tuple[Pair, ...]


def parts(plan: ImportPlan) -> tuple[dict[str, list[Pair]], list[str]]:
    """(map_id, tx_id) by split, and what whoever uses the dataset should know of the split.

    A map that a published split has in two parts is kept in the later one only. Raises FileNotFoundError or ValueError
    for a folder without gains of the simulation, an unknown split, or one that holds no map of the folder.
    """
    if plan.buildings == "complete" and plan.variant is not None:
        raise ValueError(f"complete buildings have no variants, got variant {plan.variant}")
    pairs = radiomapseer.pairs(plan.folder, plan.simulation)
    if not pairs:
        raise ValueError(f"{plan.folder} holds no gains of {plan.simulation}")
    if plan.split == "test":
        return {"test": pairs}, []
    ids, notes = _exported(plan.folder) if plan.split == "exported" else _published(plan.split)
    homes = {map_id: name for name, chosen in ids.items() for map_id in chosen}
    found: dict[str, list[Pair]] = {name: [] for name in ids}
    for pair in pairs:
        if pair[0] in homes:
            found[homes[pair[0]]].append(pair)
    num_left = len(pairs) - sum(len(chosen) for chosen in found.values())
    if num_left:
        notes.append(f"{num_left} of {len(pairs)} maps are in no part of the split {plan.split} and were left out")
    if num_left == len(pairs):
        raise ValueError(f"no map of {plan.folder} is in the split {plan.split}")
    return {name: chosen for name, chosen in found.items() if chosen}, notes


def _exported(folder: str) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    export = radiomapseer.export_of(folder)
    if export is None:
        raise ValueError(f"{folder} holds no {radiomapseer.EXPORT_FILE}: it was not exported by raymap")
    return export.splits, []


def _published(name: str) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    published = radiomapseer.split(name)
    notes = [
        f"the published split {name} has {len(ids)} maps in both {first} and {second}; here they are only in {second}"
        for (first, second), ids in radiomapseer.overlaps(published).items()
    ]
    return radiomapseer.disjoint(published), notes


def work(plan: ImportPlan) -> list[ImportItem]:
    """The shards that a plan is made of. Raises as :func:`parts`."""
    size = plan.rows_per_shard
    return [
        ImportItem(split=name, shard=f"{name}/{start // size:05d}.parquet", pairs=tuple(pairs[start : start + size]))
        for name, pairs in parts(plan)[0].items()
        for start in range(0, len(pairs), size)
    ]


def about(plan: ImportPlan) -> dict[str, Any]:
    """What the dataset's card says, but for what is in it. Raises ValueError for a cell that does not fit."""
    export = radiomapseer.export_of(plan.folder)
    encoding = export.encoding if export else radiomapseer.ENCODING
    shape = Grid(encoding.shape, encoding.cell_m).coarsen(_factor(plan, export)).shape
    what = plan.simulation
    if plan.buildings != "complete":
        what += f"-{plan.buildings}-{plan.variant or 1}"
    return {
        "name": f"{export.name if export else 'radiomapseer'}-{what}",
        "kind": export.kind if export else radiomapseer.kind_of(plan.simulation),
        "shape": shape,
        "cell_m": plan.cell_m,
        "sources": (*(export.sources if export else ()), f"RadioMapSeer {what}", *parts(plan)[1]),
        "attribution": export.attribution if export else ATTRIBUTION,
    }


def _factor(plan: ImportPlan, export: Export | None) -> int:
    pixel_m = (export.encoding if export else radiomapseer.ENCODING).cell_m
    factor = round(plan.cell_m / pixel_m)
    if factor < 1 or abs(factor * pixel_m - plan.cell_m) > 1e-9:
        raise ValueError(f"cell_m must be a multiple of {pixel_m:g} m, got {plan.cell_m:g}")
    return factor


def rows(item: ImportItem, plan: ImportPlan) -> tuple[list[dict[str, Any]], list[Failure]]:
    """The rows of one shard, and what failed with its reason: a broken file costs the maps that need it."""
    made = list(entries(item.pairs, plan))
    return [row for row in made if not isinstance(row, Failure)], [row for row in made if isinstance(row, Failure)]


def entries(pairs: Sequence[Pair], plan: ImportPlan) -> Iterator[dict[str, Any] | Failure]:
    """A row, or why there is none, for every (map_id, tx_id)."""
    export = radiomapseer.export_of(plan.folder)
    factor = _factor(plan, export)
    known = {entry.map_id: entry for entry in export.maps} if plan.split == "exported" else None
    for map_id, tx_id in pairs:
        try:
            nouns = radiomapseer.read(plan.folder, map_id, tx_id, plan.simulation, plan.buildings, plan.variant)
            number = tx_id
            if known is not None:
                number, *nouns = _restored(known.get(map_id), tx_id, *nouns)
            yield schema.row(*_coarsened(number, *nouns, factor))
        except (OSError, ValueError) as error:
            yield Failure(f"map {map_id}, transmitter {tx_id}", str(error))


def _coarsened(tx_id: int, scene: Scene, transmitter: Transmitter, radio_map: RadioMap, factor: int):
    """The four parts of a row on cells ``factor`` times as long.

    What is valid comes from the map and not from the scene, which may lack buildings: a coarse cell is, where less than
    half of it is built in the complete city, and where the transmitter stands.
    """
    coarse = scene.coarsen(factor, transmitter)
    valid = blocks(radio_map.valid, factor).mean(-1) > 0.5
    valid[transmitter.cell(coarse.grid)] = True
    return coarse, tx_id, transmitter, radio_map.coarsen(factor, valid & coarse.outdoor)


def _restored(
    known: ExportedMap | None, tx_id: int, scene: Scene, transmitter: Transmitter, radio_map: RadioMap
) -> tuple[int, Scene, Transmitter, RadioMap]:
    """The names and the position that a map had before it was exported. Raises ValueError if they do not fit it."""
    if known is None or tx_id >= len(known.transmitters):
        raise ValueError(f"{radiomapseer.EXPORT_FILE} does not know this map")
    entry = known.transmitters[tx_id]
    original = Transmitter(entry.xyz_m, transmitter.power_dbm)
    if original.cell(scene.grid) != transmitter.cell(scene.grid):
        raise ValueError(f"{radiomapseer.EXPORT_FILE} has the transmitter elsewhere: {entry.xyz_m}")
    return entry.tx_id, replace(scene, name=known.scene), original, radio_map
