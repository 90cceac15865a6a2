"""What a training is fed with: maps streamed by Ray Data, or one table of measured receivers."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from raymap.config import DataConfig, PointsConfig, PointsScene, Run
from raymap.data import mesh_file, path_file, point_batch, shards
from raymap.data.batch import batches
from raymap.data.path_table import PathTable
from raymap.data.point_batch import PointBatch
from raymap.data.schema import DatasetCard
from raymap.storage import Place


class Feed(Protocol):
    """Batches of one worker."""

    def attach(self) -> None:
        """Called once in the worker, when Ray Train has set it up."""

    def first_look(self, seed: int) -> Iterable[Any]:
        """What scales are measured on before the first step."""

    def epoch(self, seed: int, drop_last: bool = False) -> Iterable[Any]:
        """One pass over this worker's training data, in an order of its own for every seed."""

    def validation(self) -> Iterable[Any]:
        """Batches that are never trained on, the same every time; none if there are none."""

    def prepared(self, batch: Any, step: int, seed: int) -> Any:
        """A training batch as the step ``step`` sees it."""

    def steps_per_epoch(self) -> float:
        """Steps in one pass over the training data."""


class MapFeed:
    """Maps by Ray Data: this worker's shard of the training split, and the whole validation split."""

    def __init__(self, run: Run, world: int) -> None:
        if not run.workers.num:
            raise ValueError("maps are streamed to workers: workers.num must be 1 or more, got 0")
        self.data, self.batch_size = run.data, run.data.batch_size // max(world, 1)
        self.train = self.val = None

    @staticmethod
    def about(run: Run) -> dict[str, str]:
        """Tags that say what is trained on."""
        card = DatasetCard.load(run.data.folder)
        return {"dataset_fingerprint": card.fingerprint, "dataset": card.name}

    @staticmethod
    def datasets(run: Run, folder: Place) -> dict[str, Any]:
        """Ray datasets of the splits that there are; what cannot be used is listed in ``folder``."""
        splits = DatasetCard.load(run.data.folder).splits
        options = stream_options(run, folder)
        return {
            split: shards.stream(run.data.folder, split, **options)
            for split in ("train", "val")
            if split == "train" or split in splits
        }

    def attach(self) -> None:
        import ray.train

        self.train = ray.train.get_dataset_shard("train")
        with contextlib.suppress(KeyError):
            self.val = ray.train.get_dataset_shard("val")

    def first_look(self, seed: int) -> Iterable[Any]:
        return self.epoch(seed)

    def epoch(self, seed: int, drop_last: bool = False) -> Iterable[Any]:
        """Sizes of cells as the run asks for."""
        data = self.data
        return batches(
            self.train, self.batch_size, shuffle_seed=seed, drop_last=drop_last, factors=data.coarsen,
            outline=data.outline, measurements=data.measurements,
        )  # fmt: skip

    def validation(self) -> Iterable[Any]:
        """The first four batches: enough to tell one checkpoint from another."""
        return () if self.val is None else itertools.islice(batches(self.val, self.batch_size), 4)

    def prepared(self, batch: Any, step: int, seed: int) -> Any:
        return batch.augment(torch.Generator().manual_seed(seed)) if self.data.augment else batch

    def steps_per_epoch(self) -> float:
        split = DatasetCard.load(self.data.folder).splits["train"]
        num_scenes = min(self.data.max_scenes or len(split.scenes), len(split.scenes))
        return split.num_rows * num_scenes / len(split.scenes) / self.data.batch_size


def stream_options(run: Run, folder: Place) -> dict[str, Any]:
    """What :func:`raymap.data.shards.stream` is asked for; what cannot be used is listed in ``folder``."""
    data = run.data
    return {
        "outline": data.outline,
        "predicted_outlines": data.predicted_outlines,
        "true_outlines": data.true_outlines,
        # The slowest of all inputs, so a stage that does not read it does not wait for it.
        "dominant_path": data.dominant_path and run.model.reads("dominant_path"),
        "measurements": data.measurements,
        "quarantine": str(folder / "quarantine"),
        "max_scenes": data.max_scenes,
        "materialize": data.materialize,
        "resource": run.workers.data_resource,
    }


class PointFeed:
    """Measured receivers of a transmitter, or of several in turn, of which some are hidden and asked for in every step.

    Every worker has all tables, which are small beside what is computed of them, and an order of its own.
    """

    def __init__(self, run: Run, rank: int, world: int) -> None:
        self.data, self.rank, self.world = run.data, rank, world
        self.num_steps = run.optim.num_steps
        self.unseen = [_table(scene) for scene in run.data.unseen]
        share = 0.0 if self.unseen else run.data.val_share
        self.parts = [split(_table(scene), share, run.seed) for scene in run.data.scenes]

    @staticmethod
    def about(run: Run) -> dict[str, str]:
        """Tags that say what is trained on."""
        digest = hashlib.sha256()
        for scene in run.data.scenes:
            digest.update(Path(scene.file).read_bytes())
        first, *others = (Path(scene.file).name for scene in run.data.scenes)
        more = f" and {len(others)} more" if others else ""
        return {"dataset_fingerprint": digest.hexdigest(), "dataset": first + more}

    @staticmethod
    def datasets(run: Run, folder: Place) -> dict[str, Any]:
        """None: workers read the file themselves."""
        return {}

    def attach(self) -> None:
        """Nothing to do."""

    def first_look(self, seed: int) -> Iterator[PointBatch]:
        """Every table in one batch."""
        for table, _kept in self.parts:
            seen, asked = point_batch.cuts(table, len(table), self.data.hidden)[0]
            yield PointBatch(table.take(seen), table.take(asked))

    def epoch(self, seed: int, drop_last: bool = False) -> Iterator[PointBatch]:
        cuts = self._cuts()
        for number in np.random.default_rng(seed * self.world + self.rank).permutation(len(cuts)):
            table, seen, asked = cuts[number]
            yield PointBatch(table.take(seen), table.take(asked))

    def _cuts(self) -> list[tuple[PathTable, np.ndarray, np.ndarray]]:
        size = self.data.batch_size // max(self.world, 1)
        return [(table, *cut) for table, _kept in self.parts for cut in point_batch.cuts(table, size, self.data.hidden)]

    def validation(self) -> Iterator[PointBatch]:
        for table in self.unseen:
            yield PointBatch(table.take(np.arange(0)), table)
        for measured, kept in self.parts:
            if len(kept):
                yield PointBatch(measured, kept)

    def prepared(self, batch: PointBatch, step: int, seed: int) -> PointBatch:
        return replace(batch, share_done=step / max(1, self.num_steps))

    def steps_per_epoch(self) -> float:
        return len(self._cuts())


def _table(scene: PointsScene) -> PathTable:
    table = path_file.read(scene.file)
    if not scene.surroundings:
        return table
    return table.within(mesh_file.read(scene.surroundings, table.frequency_hz))


def split(table: PathTable, share: float, seed: int) -> tuple[PathTable, PathTable]:
    """What is trained on, and the ``share`` of receivers, drawn with the seed, that is kept for validation."""
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(seed)).numpy()
    num = round(share * len(table))
    return table.take(order[num:]), table.take(order[:num])


def of(run: Run, rank: int, world: int) -> Feed:
    """The feed that a run's data ask for."""
    return PointFeed(run, rank, world) if isinstance(run.data, PointsConfig) else MapFeed(run, world)


def kind_of(run: Run) -> type[MapFeed] | type[PointFeed]:
    """The class of :func:`of`, for what is known without a worker."""
    return MapFeed if isinstance(run.data, DataConfig) else PointFeed
