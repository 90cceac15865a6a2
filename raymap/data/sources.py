"""What to make: a plan of cities, generated towns and transmitters, cut into work items, each the rows of one shard."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from raymap.config import Settings
from raymap.data import generated, schema, sites, vehicles
from raymap.data.schema import Failure
from raymap.propagation import city, dominant_path
from raymap.scene import Grid, RadioMap, Scene, Transmitter, blocks

SPLITS = ("train", "val", "test", "test_generated")
#: Generated towns of split number k take the seeds from k times this on, so that no town is in two splits.
_SEEDS_PER_SPLIT = 10_000_000
_SEEDS_PER_PLAN = 100_000_000

City = Literal["munich", "florence", "etoile", "san_francisco"]
#: Dominant path without vehicles; dominant path with vehicles; rays with all their reflections.
Kind = Literal["srm", "drm", "mrm"]


class Counts(Settings):
    """One number per split. ``test`` is cities never trained on, ``test_generated`` towns never trained on."""

    train: int = Field(0, ge=0)
    val: int = Field(0, ge=0)
    test: int = Field(0, ge=0)
    test_generated: int = Field(0, ge=0)


class MapPlan(Settings):
    """Which scenes become maps. Everything is drawn from ``seed``: equal plans make equal datasets.

    Splits are by scene, and tiles of one city overlap, so tiles are split by ground, never one by one: ``test`` holds
    whole cities; of every training city the tiles inside a square of ``val_corner_m`` at its south-east end go to
    ``val`` and those that only reach into it to nowhere. Generated towns are independent of each other.

    Scenes and transmitters do not depend on ``kind``: plans that differ in nothing else pair up by scene and tx_id, so
    that "drm" is "srm" with traffic. There is one snapshot of traffic per scene, the same for all of its transmitters
    (what several base stations see at one moment), clear of their cells.

    Raises ValueError for a city in both lists, a ``cell_m`` that is no multiple of ``solve_cell_m``, tiles that are
    not square, strides or corners that do not fit, and vehicles in an "srm" plan.
    """

    name: str
    kind: Kind = Field("srm", description='"srm" static, "drm" with vehicles, "mrm" multipath by ray launching')
    with_vehicles: bool = Field(False, description="vehicles in an mrm as well; drm always has them, srm never")
    vehicles_per_km: float = Field(
        vehicles.VEHICLES_PER_KM, gt=0, le=vehicles.MAX_VEHICLES_PER_KM, description="mean number per km of lane"
    )
    train_cities: tuple[City, ...] = ()
    test_cities: tuple[City, ...] = ()
    num_generated: Counts = Counts()
    num_transmitters: Counts = Counts(train=4, val=2, test=2, test_generated=2)
    shape: tuple[int, int] = (64, 64)
    cell_m: float = Field(4.0, gt=0, description="cell of the stored maps [m]")
    solve_cell_m: float = Field(2.0, gt=0, description="cell on which geometry is drawn and maps are solved [m]")
    train_stride_m: float = Field(128.0, gt=0, description="distance between neighbouring training and val tiles [m]")
    test_stride_m: float = Field(128.0, gt=0, description="distance between neighbouring test tiles [m]")
    val_corner_m: float = Field(384.0, ge=0, description="corner of each training city kept for val [m]; 0: none")
    antenna_m: float = Field(1.5, gt=0, description="height of the transmitters above ground [m]")
    seed: int = Field(0, ge=0)
    scenes_per_shard: int = Field(8, ge=1)

    @property
    def factor(self) -> int:
        """Fine cells along one side of a stored cell."""
        return round(self.cell_m / self.solve_cell_m)

    @property
    def solve_grid(self) -> Grid:
        """The grid that maps are solved on."""
        return Grid((self.shape[0] * self.factor, self.shape[1] * self.factor), self.solve_cell_m)

    @property
    def has_vehicles(self) -> bool:
        """Whether there is traffic in the scenes."""
        return self.kind == "drm" or self.with_vehicles

    @model_validator(mode="after")
    def _consistent(self) -> MapPlan:
        Grid(self.shape, self.cell_m)
        if self.kind == "srm" and self.with_vehicles:
            raise ValueError('an "srm" plan has no vehicles: take kind "drm", or leave with_vehicles off')
        if self.factor < 1 or abs(self.factor * self.solve_cell_m - self.cell_m) > 1e-9 * self.cell_m:
            raise ValueError(f"cell_m={self.cell_m:g} m must be a multiple of solve_cell_m={self.solve_cell_m:g} m")
        both = set(self.train_cities) & set(self.test_cities)
        if both:
            raise ValueError(f"cities in both train_cities and test_cities: {', '.join(sorted(both))}")
        if not (self.train_cities or self.test_cities):
            return self
        if self.shape[0] != self.shape[1]:
            raise ValueError(f"city tiles are square, shape is {self.shape}; use generated towns only")
        if 0 < self.val_corner_m < self.shape[0] * self.cell_m:
            raise ValueError(f"val_corner_m={self.val_corner_m:g} m holds no tile of {self.shape[0] * self.cell_m:g} m")
        return self


class SceneRef(NamedTuple):
    """A scene by description: a city and the number of its tile, or ``"generated"`` and a seed."""

    source: str
    index: int


class WorkItem(Settings):
    """The scenes of one shard; ``shard`` is its file, relative to the dataset's folder."""

    split: str
    shard: str
    scenes: tuple[SceneRef, ...]


def plan(size: str) -> MapPlan:
    """The plan of a size. Raises ValueError, naming the sizes, for an unknown one."""
    if size not in _PLANS:
        raise ValueError(f"unknown size {size!r}; known: {', '.join(_PLANS)}")
    return _PLANS[size]


_REAL = {"train_cities": ("munich", "florence", "etoile"), "test_cities": ("san_francisco",)}

_PLANS = {
    "debug": MapPlan(
        name="debug", num_generated=Counts(train=16, val=4, test=4), num_transmitters=Counts(train=2, val=1, test=1),
        shape=(32, 32), cell_m=8.0, solve_cell_m=8.0, scenes_per_shard=4,
    ),
    "demo": MapPlan(name="demo", num_generated=Counts(train=122, val=16, test_generated=16), **_REAL),
    "small": MapPlan(
        name="small", num_generated=Counts(train=400, val=40, test_generated=40), train_stride_m=64.0, **_REAL
    ),
    "full": MapPlan(
        name="full", num_generated=Counts(train=1000, val=60, test_generated=60), train_stride_m=64.0,
        shape=(256, 256), cell_m=1.0, solve_cell_m=1.0, **_REAL,
    ),
}  # fmt: skip


def work(plan: MapPlan) -> list[WorkItem]:
    """The shards that a plan is made of. Raises ImportError if it names cities and sionna-rt is not installed."""
    refs: dict[str, list[SceneRef]] = {split: [] for split in SPLITS}
    for name in plan.train_cities:
        for split, indices in split_by_ground(_tiles(name, plan), plan.val_corner_m).items():
            refs[split] += [SceneRef(name, index) for index in indices]
    for name in plan.test_cities:
        refs["test"] += [SceneRef(name, index) for index in range(len(_tiles(name, plan)))]
    for number, split in enumerate(SPLITS):
        first = plan.seed * _SEEDS_PER_PLAN + number * _SEEDS_PER_SPLIT
        refs[split] += [SceneRef("generated", first + i) for i in range(getattr(plan.num_generated, split))]
    size = plan.scenes_per_shard
    return [
        WorkItem(split=split, shard=f"{split}/{start // size:05d}.parquet", scenes=scenes[start : start + size])
        for split, scenes in refs.items()
        for start in range(0, len(scenes), size)
    ]


def rows(item: WorkItem, plan: MapPlan) -> tuple[list[dict[str, Any]], list[Failure]]:
    """The rows of one shard, and what failed with its reason: a scene that fails costs that scene and no other."""
    made: list[dict[str, Any]] = []
    failures: list[Failure] = []
    for ref in item.scenes:
        try:
            found = list(scene_rows(_scene(ref, plan), getattr(plan.num_transmitters, item.split), plan))
        except Exception as error:
            failures.append(Failure(f"{ref.source} {ref.index}", f"{type(error).__name__}: {error}"))
        else:
            made += found
    return made, failures


def _scene(ref: SceneRef, plan: MapPlan) -> Scene:
    if ref.source == "generated":
        return generated.city(ref.index, plan.solve_grid)
    return _tiles(ref.source, plan)[ref.index]


def _tiles(name: str, plan: MapPlan) -> tuple[Scene, ...]:
    stride_m = plan.test_stride_m if name in plan.test_cities else plan.train_stride_m
    return _cached_tiles(name, plan.solve_cell_m, plan.solve_grid.size_m[0], stride_m)


@lru_cache(maxsize=8)
def _cached_tiles(name: str, cell_m: float, size_m: float, stride_m: float) -> tuple[Scene, ...]:
    return tuple(city.tiles(name, cell_m, size_m, stride_m))


def split_by_ground(tiles: tuple[Scene, ...], corner_m: float) -> dict[str, list[int]]:
    """Tile numbers of ``train`` and ``val``: no tile of one shares ground with a tile of the other.

    The corner is a square of ``corner_m`` that ends with the tile furthest to the south-east; 0 leaves val empty.
    """
    found: dict[str, list[int]] = {"train": [], "val": []}
    if not corner_m:
        return {**found, "train": list(range(len(tiles)))}
    ends = np.array([_start(tile) + np.array(tile.grid.size_m[::-1]) for tile in tiles])
    corner = ends[ends.sum(1).argmax()]
    for index, (tile, end) in enumerate(zip(tiles, ends, strict=True)):
        start = _start(tile)
        if (start >= corner - corner_m).all() and (end <= corner).all():
            found["val"].append(index)
        elif (end <= corner - corner_m).any() or (start >= corner).any():
            found["train"].append(index)
    return found


def _start(tile: Scene) -> np.ndarray:
    return np.array(tile.grid.origin_m)


def scene_rows(scene: Scene, num: int, plan: MapPlan) -> Iterable[dict[str, Any]]:
    """Rows of ``num`` transmitters in one scene, solved on the fine grid and stored on the coarse one."""
    coarse = scene.coarsen(plan.factor)
    transmitters = _transmitters(scene, coarse, num, plan)
    if plan.has_vehicles:
        scene, coarse = _with_traffic(scene, coarse, transmitters, plan)
    for tx_id, transmitter in enumerate(transmitters):
        radio_map = _solve(scene, transmitter, tx_id, plan)
        yield schema.row(coarse, tx_id, transmitter, radio_map.coarsen(plan.factor, coarse.outdoor))


def _transmitters(scene: Scene, coarse: Scene, num: int, plan: MapPlan) -> list[Transmitter]:
    """Sites that are outdoors on the fine and on the coarse grid; nothing is moved afterwards."""
    coarse_m = np.repeat(np.repeat(coarse.building_m, plan.factor, 0), plan.factor, 1)
    either = replace(scene, building_m=np.maximum(scene.building_m, coarse_m))
    return sites.place(either, num, plan.seed, plan.antenna_m)


def _with_traffic(scene: Scene, coarse: Scene, transmitters: list[Transmitter], plan: MapPlan) -> tuple[Scene, Scene]:
    """Both scenes with one snapshot of traffic, clear of the stored cells of all transmitters.

    A stored cell holds the mean height of the fine cells in it: a car, smaller than a cell of 4 m, still shows, as low
    as its share of the cell is small. Marked in full it would pass for several cars, by halves for none.
    """
    clear = np.zeros(coarse.grid.shape, bool)
    for transmitter in transmitters:
        clear[transmitter.cell(coarse.grid)] = True
    fine_clear = np.repeat(np.repeat(clear, plan.factor, 0), plan.factor, 1)
    scene, _ = vehicles.place(scene, plan.seed, vehicles_per_km=plan.vehicles_per_km, keep_clear=fine_clear)
    mean_m = blocks(scene.vehicle_m, plan.factor).mean(-1)
    return scene, replace(coarse, vehicle_m=np.where(coarse.outdoor, mean_m, 0.0))


def _solve(scene: Scene, transmitter: Transmitter, tx_id: int, plan: MapPlan) -> RadioMap:
    """The map of the plan's kind on the fine grid."""
    if plan.kind != "mrm":
        return dominant_path.solve(scene, transmitter)
    from raymap.propagation import ray_launching

    seed = np.random.SeedSequence([plan.seed, zlib.crc32(scene.name.encode()), tx_id]).generate_state(1)[0]
    return ray_launching.solve(scene, transmitter, seed=int(seed))
