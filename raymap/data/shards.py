"""Datasets on Ray Data: make shards in parallel, stream them, and add what DM1 predicted.

::

    generate, make  plan ──► work items ──► rows() on any node ──► a shard each ──► dataset.json
    stream          shards ──► read, check ──► line of sight ──► k² outline ──► batch.batches() ──► MapBatch
    write_outlines  shards ──► read, check ──► line of sight ──► model actors ──► a sidecar per shard

Folders must be reachable under one path from every node of the cluster, or lie in a bucket.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from raymap.config import MeasurementsConfig, OutlineConfig, Settings
from raymap.data import parallel, shard_file, sources
from raymap.data.reader import ShardReader, quarantined
from raymap.data.schema import CARD_FILE, FAILURES_FILE, DatasetCard, Failure, Split, fingerprint
from raymap.data.shard_file import Footer
from raymap.propagation import city
from raymap.storage import Place, place, write_text

if TYPE_CHECKING:
    from raymap.data.parallel import Dataset

__all__ = ["generate", "make", "quarantined", "stream", "write", "write_outlines"]

OUTLINES_FILE = "outlines.json"
#: Computed from the true map, hence hidden from a model that predicts.
_FROM_THE_TRUE_MAP = ("gain_db", "valid", "outline")


def generate(plan: sources.MapPlan, folder: str | Place) -> DatasetCard:
    """Make the dataset of a plan: :func:`make` with city tiles and generated towns."""
    cities = (*plan.train_cities, *plan.test_cities)
    towns = any(plan.num_generated.model_dump().values())
    return make(
        plan,
        folder,
        sources.work,
        sources.rows,
        name=plan.name,
        kind=plan.kind,
        shape=plan.shape,
        cell_m=plan.cell_m,
        sources=(*cities, "generated towns") if towns else cities,
        attribution=city.ATTRIBUTION if cities else "",
    )


def make(
    plan: Settings,
    folder: str | Place,
    work: Callable[[Any], Sequence[Any]],
    rows: Callable[[Any, Any], tuple[list[dict[str, Any]], list[Failure]]],
    *,
    shape: tuple[int, int],
    retry: bool = False,
    **about: Any,
) -> DatasetCard:
    """Make the dataset of a plan, over the whole cluster; run again, it makes only the shards that are not whole, and
    those whose item has changed since.

    ``work(plan)``: one item (Settings with a field ``shard``) per shard. ``rows(item, plan)``: its rows and failures;
    a function of a module, run on any node. ``shape`` and ``about``: what the card says. ``retry``: also make shards
    again in which something failed, as after a file was mended. What fails costs one scene or file and is listed in
    ``quarantine.jsonl``. Raises ValueError if the folder was made with another plan (naming the field) or without one,
    or if not a single map could be made.
    """
    folder = place(folder)
    parallel.keep_plan(folder, CARD_FILE, plan)
    items = work(plan)
    footers = {item.shard: shard_file.read_footer(folder / item.shard) for item in items}
    todo = [item for item in items if not _is_made(footers[item.shard], item, retry)]
    # One shard before the others: it compiles the solver, and they find it compiled instead of doing so at once each.
    for part in (todo[-1:], todo[:-1]):
        made = parallel.each(_make_shard, part, "shards", plan=plan, folder=folder, shape=shape, rows=rows)
        for row in made:
            footers[row["shard"]] = shard_file.read_footer(folder / row["shard"])
    return _finish(folder, footers, shape=shape, **about)


def _make_shard(item: Any, plan: Settings, folder: Place, shape: tuple[int, int], rows: Callable) -> dict[str, Any]:
    """One work item to one shard on disk; only its name travels back."""
    made, failures = rows(item, plan)
    shard_file.write(folder / item.shard, made, shape, failures, _hash(item))
    return {"shard": item.shard}


def _is_made(footer: Footer | None, item: Settings, retry: bool) -> bool:
    """Whether a shard is whole and of this very item; shards older than the item's hash are taken on trust."""
    return footer is not None and footer.item in ("", _hash(item)) and not (retry and footer.failures)


def _hash(item: Settings) -> str:
    return hashlib.sha256(item.model_dump_json().encode()).hexdigest()[:16]


def write(
    rows_by_split: Mapping[str, Iterable[Mapping[str, Any] | Failure]],
    folder: str | Place,
    *,
    name: str,
    kind: str,
    shape: tuple[int, int],
    cell_m: float,
    sources: Sequence[str],
    attribution: str,
    rows_per_shard: int = 32,
) -> DatasetCard:
    """Write rows made elsewhere (importers) as a dataset; a :class:`Failure` among them is listed, not written.

    Needs no cluster. Raises ValueError if the folder already holds a dataset, if a scene comes up in two splits, or
    without any row.
    """
    folder = place(folder)
    if (folder / CARD_FILE).exists():
        raise ValueError(f"{folder} already holds a dataset; write to a new folder")
    footers: dict[str, Footer | None] = {}
    for split, rows in rows_by_split.items():
        for number, chunk in enumerate(_chunks(iter(rows), rows_per_shard)):
            failures = [entry for entry in chunk if isinstance(entry, Failure)]
            good = [entry for entry in chunk if not isinstance(entry, Failure)]
            shard = f"{split}/{number:05d}.parquet"
            footers[shard] = shard_file.write(folder / shard, good, shape, failures)
    return _finish(
        folder, footers, name=name, kind=kind, shape=shape, cell_m=cell_m, sources=tuple(sources),
        attribution=attribution,
    )  # fmt: skip


def _chunks(entries: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while chunk := list(islice(entries, size)):
        yield chunk


def _finish(folder: Place, footers: Mapping[str, Footer | None], **about: Any) -> DatasetCard:
    """List the failures, then write the card."""
    lost = [shard for shard, footer in footers.items() if footer is None]
    if lost:
        raise RuntimeError(f"{len(lost)} of {len(footers)} shards cannot be read back, first {folder / lost[0]}")
    failures = [{"shard": shard, **f._asdict()} for shard, footer in footers.items() for f in footer.failures]
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FAILURES_FILE, "".join(json.dumps(failure) + "\n" for failure in failures))
    ranges_db = [footer.gain_range_db for footer in footers.values() if footer.gain_range_db]
    if not ranges_db:
        reasons = "; ".join(f"{failure['what']}: {failure['reason']}" for failure in failures[:3])
        raise ValueError(f"no map could be made for {folder}: {reasons or 'nothing was asked for'}")
    parts: dict[str, dict[str, Footer]] = {}
    for shard, footer in footers.items():
        parts.setdefault(shard.split("/")[0], {})[shard] = footer
    card = DatasetCard(
        **about,
        splits={name: _split(shards) for name, shards in parts.items()},
        fingerprint=fingerprint({name: [h for f in shards.values() for h in f.rows] for name, shards in parts.items()}),
        gain_range_db=(min(low for low, _ in ranges_db), max(high for _, high in ranges_db)),
    )
    card.save(folder)
    return card


def _split(shards: Mapping[str, Footer]) -> Split:
    scenes = {scene for footer in shards.values() for scene in footer.scenes}
    num_rows = sum(len(footer.rows) for footer in shards.values())
    return Split(scenes=tuple(sorted(scenes)), num_rows=num_rows, shards=tuple(shards))


def stream(
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
    materialize: bool = False,
    resource: str | None = None,
) -> Dataset:
    """The maps of a split as a Ray Dataset in the order of (shard, row): the stored columns and ``line_of_sight``.

    ``outline``: also the true outline, column ``outline``. ``predicted_outlines``: a folder of :func:`write_outlines`,
    column ``outline_predicted``. ``true_outlines``: the true outline in that column, as if DM1 had drawn it perfectly:
    the upper bound of an outline study, and no method. ``dominant_path``: column ``dominant_path_db``, for datasets of
    multipath or measured maps. ``measurements``: columns ``sampled`` and ``samples_db``, the same every time.
    ``max_scenes``: so many scenes, the same ones every time, and a larger number contains
    those of a smaller one. ``materialize``: keep the result in the object store, for sets that fit; later passes then
    read nothing. ``resource``: read only on nodes that offer this custom resource, one of it for every task.

    Shards and rows that cannot be used are set aside: listed under ``quarantine`` (see :func:`quarantined`), logged
    if it is not given. Raises FileNotFoundError or ValueError for a bad card, and ValueError if nothing is left, or for
    ``dominant_path`` on a dataset whose true maps are dominant-path maps.
    """
    reader = ShardReader(
        folder, split, outline=outline, predicted_outlines=predicted_outlines, true_outlines=true_outlines,
        dominant_path=dominant_path, measurements=measurements, quarantine=quarantine, max_scenes=max_scenes,
    )  # fmt: skip
    reader.require_rows()
    shards = [{"shard": shard} for shard in reader.shards]
    return parallel.stream(_read_shards, shards, materialize=materialize, resource=resource, reader=reader)


def _read_shards(names: dict[str, np.ndarray], reader: ShardReader) -> Iterator[dict[str, np.ndarray]]:
    for shard in names["shard"]:
        columns = reader.columns(str(shard))
        if columns:
            yield columns


class OutlinesCard(Settings):
    """What predicted outlines belong to: the dataset's fingerprint, and the name of the model that made them."""

    dataset: str
    made_by: str


def write_outlines(
    folder: str | Place,
    splits: Sequence[str],
    predict: type,
    out_folder: str | Place,
    *,
    made_by: str,
    predict_kwargs: Mapping[str, Any] | None = None,
    batch_size: int = 16,
    num_actors: int = 1,
    num_gpus: float = 0,
    dominant_path: bool = False,
    measurements: MeasurementsConfig | None = None,
    quarantine: str | Place | None = None,
) -> int:
    """Let a model predict the outline of every map of some splits; returns the number of maps predicted now.

    ``predict``: a class, constructed once per actor with ``predict_kwargs``; called with columns of at most
    ``batch_size`` rows, without anything computed from the true map, it returns ``outline_predicted`` (B, H, W) in
    [0, 1]. Seeds should come from ``scene`` and ``tx_id``, so that a result does not depend on batches. A sidecar
    appears when it is whole, and running again predicts only what is missing. ``dominant_path``: the model reads that
    map; ``measurements``: it reads what was measured.

    Raises ValueError if ``out_folder`` belongs to another dataset or model (``made_by``), and for ``dominant_path`` as
    :func:`stream`.
    """
    readers = {
        split: ShardReader(folder, split, dominant_path=dominant_path, measurements=measurements, quarantine=quarantine)
        for split in splits
    }
    for reader in readers.values():
        reader.require_rows()
    folder, out_folder = place(folder), place(out_folder)
    made_from = OutlinesCard(dataset=DatasetCard.load(folder).fingerprint, made_by=made_by)
    parallel.keep(out_folder / OUTLINES_FILE, made_from, "model or dataset")
    todo = [
        {"split": split, "shard": shard}
        for split, reader in readers.items()
        for shard in reader.shards
        if not _has_outlines(folder / shard, out_folder / shard)
    ]
    predicted = parallel.in_actors(
        _OutlineActor, todo, "outlines", num_actors=num_actors, num_gpus=num_gpus,
        readers=readers, predict=predict, predict_kwargs=dict(predict_kwargs or {}), out_folder=out_folder,
        batch_size=batch_size,
    )  # fmt: skip
    return sum(int(row["num_rows"]) for row in predicted)


def _has_outlines(shard: Place, sidecar: Place) -> bool:
    footer = shard_file.read_footer(shard)
    return footer is not None and shard_file.read_outlines_hash(sidecar) == footer.shard_hash


class _OutlineActor:
    """Reads a shard, predicts, writes its sidecar: one shard stays in one place, whatever Ray does with blocks."""

    def __init__(
        self,
        readers: Mapping[str, ShardReader],
        predict: type,
        predict_kwargs: dict,
        out_folder: Place,
        batch_size: int,
    ) -> None:
        self.readers, self.out_folder, self.batch_size = readers, out_folder, batch_size
        self.predict = predict(**predict_kwargs)

    def __call__(self, names: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        pairs = zip(names["split"], names["shard"], strict=True)
        counts = [self._predict_shard(self.readers[str(split)], str(shard)) for split, shard in pairs]
        return {"shard": names["shard"], "num_rows": np.array(counts)}

    def _predict_shard(self, reader: ShardReader, shard: str) -> int:
        columns = reader.columns(shard)
        if not columns:
            return 0
        blind = {name: values for name, values in columns.items() if name not in _FROM_THE_TRUE_MAP}
        parts = []
        for start in range(0, len(blind["scene"]), self.batch_size):
            part = {name: values[start : start + self.batch_size] for name, values in blind.items()}
            parts.append(np.asarray(self.predict(part)["outline_predicted"]))
        made_for = shard_file.read_footer(reader.folder / shard).shard_hash
        shard_file.write_outlines(self.out_folder / shard, columns, np.concatenate(parts), made_for)
        return len(columns["scene"])
