"""Reading a dataset shard by shard, with everything a model or a metric may need computed on the way. No Ray here.

``raymap.data.shards.stream`` runs :class:`ShardReader` on Ray Data; without a cluster, ``ShardReader(...).load()``
holds a whole split in memory. :func:`raymap.data.batch.batches` reads either.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from raymap import units
from raymap.config import MeasurementsConfig, OutlineConfig
from raymap.data import shard_file
from raymap.data.columns import add_dominant_path, add_physics
from raymap.data.measurements import measure
from raymap.data.schema import FAILURES_FILE, DatasetCard, require_multipath, to_columns
from raymap.data.shard_file import SetAside
from raymap.physics import edges, helmholtz
from raymap.scene import Grid, RadioMap, Scene, Transmitter, blocks
from raymap.storage import Place, place, write_text

#: What generation and imports could not make, one JSON object per line.
_ASIDE_SUFFIX = ".set-aside.json"

log = logging.getLogger(__name__)


class ShardReader:
    """The shards of one split; the arguments are those of :func:`raymap.data.shards.stream`.

    Raises FileNotFoundError or ValueError for a folder without a usable card, or an unknown split, and ValueError for
    ``dominant_path`` on a dataset whose true maps are dominant-path maps.
    """

    def __init__(
        self,
        folder: str | Place,
        split: str,
        *,
        outline: OutlineConfig | None = None,
        predicted_outlines: str | Place | None = None,
        true_outlines: bool = False,
        dominant_path: bool = False,
        measurements: MeasurementsConfig | None = None,
        quarantine: str | Place | None = None,
        max_scenes: int | None = None,
    ) -> None:
        if true_outlines and (predicted_outlines or not outline):
            raise ValueError("true_outlines needs an outline to compute, and takes the place of predicted_outlines")
        self.folder = place(folder)
        self.card = DatasetCard.load(self.folder)
        if dominant_path:
            require_multipath(self.card.name, self.card.kind)
        self.dominant_path = dominant_path
        self.measurements = measurements
        self.split = split
        self.outline = outline
        self.oracle = true_outlines
        self.predicted = place(predicted_outlines) if predicted_outlines else None
        self.quarantine = place(quarantine) if quarantine else None
        self.shards = sorted(self.card.split(split).shards)
        self.scenes = _some_scenes(self.card.split(split).scenes, max_scenes)
        strays = {f"{split}/{path.name}" for path in (self.folder / split).glob("*.parquet")} - set(self.shards)
        for shard in sorted(strays):
            self._record(shard, [SetAside(None, "not listed in dataset.json")])

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """The columns of every shard that has usable rows, in order."""
        return (columns for columns in map(self.columns, self.shards) if columns)

    def columns(self, shard: str) -> dict[str, np.ndarray] | None:
        """All columns of the usable rows of a shard, (N, ...), None if it has none; what is set aside is recorded."""
        columns, aside = self._usable(shard)
        self._record(shard, aside)
        if not len(columns["scene"]):
            return None
        columns = add_physics(columns)
        if self.dominant_path:
            columns = add_dominant_path(columns)
        if self.outline:
            columns["outline"] = true_outline(columns, self.card.cell_m, self.outline)
        if self.oracle:
            columns["outline_predicted"] = columns["outline"].copy()
        return measure(columns, self.measurements, seed=0) if self.measurements else columns

    def require_rows(self) -> None:
        """Raises ValueError with the first reasons if no shard has a usable row; stops at the first that has."""
        reasons: list[str] = []
        for shard in self.shards:
            columns, aside = self._usable(shard)
            if len(columns["scene"]):
                return
            reasons += [f"{shard}: {entry.reason}" for entry in aside]
        where = f"split {self.split!r} of {self.folder}"
        raise ValueError(f"nothing usable in {where}: {'; '.join(reasons[:3]) or 'it has no rows'}")

    def load(self) -> LoadedMaps:
        """The whole split in memory. Raises ValueError as :meth:`require_rows`."""
        parts = list(self)
        if not parts:
            self.require_rows()
        return LoadedMaps({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def _usable(self, shard: str) -> tuple[dict[str, np.ndarray], list[SetAside]]:
        path = self.folder / shard
        table, aside = shard_file.read(path, self.card.shape, self.card.cell_m)
        if self.scenes is not None:
            table = table.filter(pa.array([scene in self.scenes for scene in table["scene"].to_pylist()], pa.bool_()))
        columns = to_columns(table)
        if self.predicted and len(table):
            try:
                made_for = shard_file.read_footer(path).shard_hash
                columns["outline_predicted"] = shard_file.read_outlines(self.predicted / shard, table, made_for)
            except ValueError as error:
                return to_columns(table.slice(0, 0)), [*aside, SetAside(None, str(error))]
        return columns, aside

    def _record(self, shard: str, aside: Sequence[SetAside]) -> None:
        """One file per shard, so that reading again every epoch overwrites and never repeats."""
        if self.quarantine is None:
            for entry in aside:
                log.warning("set aside %s, row %s: %s", self.folder / shard, entry.row, entry.reason)
            return
        path = self.quarantine / (shard.replace("/", "-") + _ASIDE_SUFFIX)
        if aside:
            self.quarantine.mkdir(parents=True, exist_ok=True)
            entries = [{"folder": str(self.folder), "shard": shard, **entry._asdict()} for entry in aside]
            write_text(path, json.dumps(entries, indent=1) + "\n")
        else:
            path.unlink(missing_ok=True)


def quarantined(folder: str | Place) -> list[dict[str, Any]]:
    """What was set aside while reading (``shard``, ``row`` or None, ``reason``) or failed while the dataset in
    ``folder`` was made (``shard``, ``what``, ``reason``). Empty if there is nothing, or no such folder."""
    folder = place(folder)
    made = folder / FAILURES_FILE
    entries = [json.loads(line) for line in made.read_text().splitlines()] if made.is_file() else []
    for path in sorted(folder.glob(f"*{_ASIDE_SUFFIX}")):
        entries += json.loads(path.read_text())
    return entries


_DETECTORS = {"canny": edges.canny, "lbp": edges.local_binary_pattern}


def true_outline(columns: Mapping[str, np.ndarray], cell_m: float, config: OutlineConfig) -> np.ndarray:
    """(B, H, W) float32 in [0, 1]: the outline of the true maps. A target, never an input."""
    valid = columns["valid"] == 1
    if config.kind in _DETECTORS:
        return _DETECTORS[config.kind](columns["gain_db"], valid)
    # Only the released script's rule reads buildings: it sees them black, as the field's pictures show them.
    gain_db = np.where(valid, columns["gain_db"], np.float32(units.GAIN_FLOOR_DB))
    cells = (columns["tx_xyz_m"][:, 1::-1].astype(np.float64) / cell_m).astype(np.int64)
    return helmholtz.outline(
        gain_db, cell_m, kind=config.kind, valid=valid, transmitter=cells, threshold_db=config.threshold_db,
        saturation_db=config.saturation_db,
    )  # fmt: skip


def _some_scenes(scenes: Sequence[str], num: int | None) -> frozenset[str] | None:
    """``num`` scenes in an order that mixes cities and towns and never changes; None for all."""
    if num is None or num >= len(scenes):
        return None
    return frozenset(sorted(scenes, key=lambda scene: hashlib.sha256(scene.encode()).digest())[:num])


class LoadedMaps:
    """Columns in memory with the part of Ray's DataIterator that :func:`raymap.data.batch.batches` uses."""

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns["scene"])

    def iter_batches(
        self,
        *,
        batch_size: int,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        **_ray_only: Any,
    ) -> Iterator[dict[str, np.ndarray]]:
        """(B, ...) numpy columns; any shuffle buffer means a full shuffle, since everything is in memory."""
        order = np.arange(len(self))
        if local_shuffle_buffer_size:
            order = np.random.default_rng(local_shuffle_seed).permutation(order)
        stop = len(self) - len(self) % batch_size if drop_last else len(self)
        for start in range(0, stop, batch_size):
            chosen = order[start : start + batch_size]
            yield {name: values[chosen] for name, values in self.columns.items()}


def coarsen(columns: Mapping[str, np.ndarray], factor: int, outline: OutlineConfig | None = None) -> dict[str, Any]:
    """Physical columns (B, H, W) of the same maps on cells ``factor`` times as long, with all that follows from them.

    Scenes and gains as :meth:`Scene.coarsen` and :meth:`RadioMap.coarsen` have them; the true outline is that of the
    coarse map (``outline`` must say which), DM1's the mean over the fine cells. Raises ValueError if the maps' shape
    is no multiple of ``factor``.
    """
    if factor == 1:
        return dict(columns)
    coarse = {name: columns[name] for name in columns if columns[name].ndim < 3}
    coarse["cell_m"] = columns["cell_m"] * np.float32(factor)
    maps = [_coarse_map(columns, index, factor) for index in range(len(columns["scene"]))]
    coarse |= {name: np.stack([made[name] for made in maps]) for name in maps[0]}
    coarse = add_physics(coarse)
    if "dominant_path_db" in columns:
        coarse = add_dominant_path(coarse)
    if "outline" in columns:
        if outline is None:
            raise ValueError("these maps have a true outline; say by which indicator it is to be computed again")
        coarse["outline"] = true_outline(coarse, float(coarse["cell_m"][0]), outline)
    return coarse


def _coarse_map(columns: Mapping[str, np.ndarray], index: int, factor: int) -> dict[str, np.ndarray]:
    """The columns of one map that do not follow from others, (H/f, W/f)."""
    grid = Grid(columns["building_m"].shape[1:], float(columns["cell_m"][index]))
    xyz_m = tuple(columns["tx_xyz_m"][index])
    scene = Scene(str(columns["scene"][index]), grid, columns["building_m"][index], columns["vehicle_m"][index])
    coarse = scene.coarsen(factor, Transmitter(xyz_m))
    made = {"building_m": coarse.building_m, "vehicle_m": coarse.vehicle_m}
    if "gain_db" in columns:
        fine = RadioMap(columns["gain_db"][index], columns["valid"][index] == 1)
        radio_map = fine.coarsen(factor, coarse.outdoor)
        made |= {"gain_db": radio_map.gain_db, "valid": radio_map.valid.astype(np.uint8)}
    if "outline_predicted" in columns:
        made["outline_predicted"] = blocks(columns["outline_predicted"][index], factor).mean(-1)
    return made
