"""From building footprints to rows: which tiles of the town go to which split, and what the dataset's card says.

An :class:`ImportPlan` cuts into items of one shard each (:func:`work`), and :func:`rows` makes an item's rows anywhere.
A plan is for the contents of its file as they were when it was :func:`pinned`: another file under the same name is
refused, on this machine as on any other.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from raymap.config import Settings
from raymap.data import footprints, place, sources
from raymap.data.footprints import Town
from raymap.data.schema import Failure
from raymap.data.sources import MapPlan


class ImportPlan(Settings):
    """What to import."""

    geojson: str = Field("", description="file of footprints: GeoJSON, longitude and latitude, OSM-style tags")
    geojson_sha256: str = Field("", description="SHA-256 of the file's contents; default: as they are now")
    split: Literal["train", "val", "test"] = Field("test", description="split that the town's maps belong to")
    val_corner_m: float = Field(0.0, ge=0, description="south-east corner of a train town kept for val [m]; 0: none")
    kind: sources.Kind = Field("srm", description="kind of maps: srm static, drm with vehicles, mrm multipath")
    shape: tuple[int, int] = (64, 64)
    cell_m: float = Field(4.0, gt=0, description="cell of the stored maps [m], a multiple of solve_cell_m")
    solve_cell_m: float = Field(2.0, gt=0, description="cell on which footprints are drawn and maps are solved [m]")
    stride_m: float = Field(128.0, gt=0, description="distance between neighbouring tiles [m]")
    num_transmitters: int = Field(4, ge=1, description="transmitters per tile")
    antenna_m: float = Field(1.5, gt=0, description="height of the transmitters above ground [m]")
    default_height_m: float = Field(10.0, gt=0, description="height of buildings without one [m]")
    level_m: float = Field(3.0, gt=0, description="height of a storey, where only storeys are given [m]")
    frequency_hz: float = Field(5.9e9, gt=0)
    attribution: str = Field("", description="who is to be named for the footprints, e.g. © OpenStreetMap contributors")
    seed: int = Field(0, ge=0)
    tiles_per_shard: int = Field(8, ge=1)

    @property
    def maps(self) -> MapPlan:
        """How every tile becomes maps. Raises ValueError for a ``cell_m`` that is no multiple of ``solve_cell_m``."""
        same = {"kind", "shape", "cell_m", "solve_cell_m", "antenna_m", "seed"}
        return MapPlan(name=f"footprints-{Path(self.geojson).stem}", **self.model_dump(include=same))


class Tile(NamedTuple):
    """A tile by its name and its first row and column on the town's grid."""

    name: str
    row: int
    column: int


class ImportItem(Settings):
    """The tiles of one shard. ``lists_features``: this shard is the one that lists what is wrong with the file."""

    split: str
    shard: str
    tiles: tuple[Tile, ...]
    lists_features: bool = False


def pinned(plan: ImportPlan) -> ImportPlan:
    """The plan for the contents that its file has now. Raises FileNotFoundError if there is none."""
    path = Path(plan.geojson).resolve()
    return plan.model_copy(update={"geojson": str(path), "geojson_sha256": plan.geojson_sha256 or _sha256(path)})


def town(plan: ImportPlan) -> Town:
    """The town of a pinned plan, read once per process.

    Raises as ``footprints.read``, and ValueError if the file's contents are not those that the plan is for.
    """
    path = Path(plan.geojson)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    stat = path.stat()
    same = {"default_height_m", "level_m", "frequency_hz"}
    options = (("cell_m", plan.solve_cell_m), *sorted(plan.model_dump(include=same).items()))
    return _read(path, plan.geojson_sha256, (stat.st_mtime_ns, stat.st_size), options)


@lru_cache(maxsize=2)
def _read(path: Path, sha256: str, _stamp: tuple[int, int], options: tuple[tuple[str, float], ...]) -> Town:
    found = _sha256(path)
    if found != sha256:
        raise ValueError(f"{path} is another file than the plan is for: its SHA-256 is {found}, wanted {sha256!r}")
    return footprints.read(path, **dict(options))


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parts(plan: ImportPlan) -> tuple[dict[str, list[Tile]], int]:
    """The tiles by split, and the number of those left out because they reach into the val corner.

    Raises as :func:`town`, and ValueError for a val corner in a town that is not for training, tiles that do not fit
    the town, or a split without any.
    """
    if plan.val_corner_m and plan.split != "train":
        raise ValueError(
            f"val_corner_m={plan.val_corner_m:g} m divides a town of the split train, split is {plan.split}"
        )
    whole = town(plan)
    scenes = [tile.scene for tile in place.tiles(whole, plan.maps.solve_grid.shape, plan.stride_m)]
    chosen = {plan.split: list(range(len(scenes)))}
    if plan.val_corner_m:
        chosen = sources.split_by_ground(tuple(scenes), plan.val_corner_m)
    (left, top), cell_m = whole.scene.grid.origin_m, plan.solve_cell_m
    found: dict[str, list[Tile]] = {split: [] for split in chosen}
    for split, indices in chosen.items():
        for scene in (scenes[index] for index in indices):
            x_m, y_m = scene.grid.origin_m
            found[split].append(Tile(scene.name, round((y_m - top) / cell_m), round((x_m - left) / cell_m)))
        if not found[split]:
            raise ValueError(f"{whole.scene.name}: none of {len(scenes)} tiles with 8 to 70 % buildings is for {split}")
    return found, len(scenes) - sum(map(len, found.values()))


def work(plan: ImportPlan) -> list[ImportItem]:
    """The shards that a plan is made of. Raises as :func:`parts`."""
    size = plan.tiles_per_shard
    items = [
        ImportItem(split=split, shard=f"{split}/{start // size:05d}.parquet", tiles=tuple(tiles[start : start + size]))
        for split, tiles in parts(plan)[0].items()
        for start in range(0, len(tiles), size)
    ]
    return [items[0].model_copy(update={"lists_features": True}), *items[1:]]


def about(plan: ImportPlan) -> dict[str, Any]:
    """What the dataset's card says, but for what is in it. Raises as ``ImportPlan.maps``."""
    maps = plan.maps
    return {
        **{name: getattr(maps, name) for name in ("name", "kind", "shape", "cell_m")},
        "sources": (f"footprints of {Path(plan.geojson).stem}",),
        "attribution": plan.attribution,
    }


def rows(item: ImportItem, plan: ImportPlan) -> tuple[list[dict[str, Any]], list[Failure]]:
    """The rows of one shard, and what failed with its reason: a tile that fails costs that tile and no other.

    Raises as :func:`town`: without the right file nothing can be made.
    """
    whole, maps = town(plan), plan.maps
    made: list[dict[str, Any]] = []
    failures = list(whole.failures) if item.lists_features else []
    for tile in item.tiles:
        try:
            scene = whole.crop(tile.row, tile.column, maps.solve_grid.shape, tile.name).scene
            made += list(sources.scene_rows(scene, plan.num_transmitters, maps))
        except Exception as error:
            failures.append(Failure(tile.name, f"{type(error).__name__}: {error}"))
    return made, failures
