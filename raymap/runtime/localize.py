"""localize(models, dataset): how far the maps of every method lead a receiver astray, through Ray Data.

The experiment of Table III of RadioDiff-k² (``raymap.evaluation.localization`` has its mathematics)::

    stream ──► first J transmitters of every scene ──► maps by every method (actor) ──► scene by scene ──► points

A scene is located as soon as its J maps are there, in whatever blocks they come, and is then forgotten.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from raymap import units
from raymap.data import shards
from raymap.data.batch import from_columns
from raymap.data.schema import DatasetCard, require_multipath
from raymap.evaluation import localization, localization_page, predictions
from raymap.evaluation.localization import FLOOR_DB, NOISE_DB, NUM_NEIGHBOURS, NUM_POINTS, TRUE_MAPS
from raymap.evaluation.predictions import Predictions
from raymap.models import base
from raymap.runtime import cluster, provenance
from raymap.runtime.evaluate import FLOORS, LAWS, fit_laws, sample_seeds


class Mapper:
    """A Ray Data stage: columns of true maps in, the same maps by every method out.

    Out come ``scene``, ``tx_id``, ``cell_m``, ``valid``, ``line_of_sight`` as they came in, and ``maps_db``
    (B, M + 1, H, W) float32 [dB]: the maps of the M methods, models before given ones, and last the true maps.
    """

    def __init__(self, models: Mapping[str, str], given: Mapping[str, Predictions] | None = None) -> None:
        self.device = cluster.device()
        self.models = [base.load(folder).to(self.device) for folder in models.values()]
        self.given = [*(given or {}).values()]

    def __call__(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        batch, seeds = from_columns(columns).to(self.device).blind(), sample_seeds(columns)
        with torch.no_grad():
            signals = [model.predict(batch, seeds)[:, 0].cpu().numpy() for model in self.models]
        maps_db = [units.gain_db_from_signal(signal) for signal in signals]
        maps_db += [maps.gain_db(columns) for maps in self.given]
        kept = {name: columns[name] for name in ("scene", "tx_id", "cell_m", "valid", "line_of_sight")}
        return {**kept, "maps_db": np.stack([*maps_db, columns["gain_db"]], axis=1, dtype=np.float32)}


def score_points(
    models: Mapping[str, str | Path],
    data: str,
    split: str,
    *,
    num_transmitters: int,
    noise_db: float = NOISE_DB,
    num_points: int = NUM_POINTS,
    given: Mapping[str, Predictions] | None = None,
    quarantine: Path | None = None,
) -> pd.DataFrame:
    """One row per method and query: ``method``, ``scene``, ``row``, ``column``, ``line_of_sight``, ``error_m`` [m].

    ``models``: name -> model folder, ``given``: name -> maps of further methods. A receiver hears the first
    ``num_transmitters`` of a scene by tx_id; ``noise_db`` and ``num_points`` (of a scene) as in
    :func:`raymap.evaluation.localization.locate`. The last method, "true maps", has the true maps as fingerprints: what
    noise and neighbours cost. Cells and noise are drawn by the scene's name, the same for all methods.

    Raises ValueError as :func:`raymap.data.shards.stream` (also for a model that reads the dominant-path map where that
    is the truth), for a model that reads measurements, for a method called "true maps", and for a scene of fewer
    transmitters, at the start if its shards list fewer, else at the end if some were set aside.
    """
    methods = [*models, *(given or {}), TRUE_MAPS]
    if methods.count(TRUE_MAPS) > 1:
        raise ValueError(f"the true maps themselves are the method {TRUE_MAPS!r}; name yours otherwise")
    folders = {name: str(Path(folder).resolve()) for name, folder in models.items()}
    dominant_path = _reads_dominant_path(folders, DatasetCard.load(data))
    chosen = first_transmitters(predictions.rows_of(data, split), num_transmitters)
    cluster.connect(min_cpus=2)
    from ray.data import ActorPoolStrategy

    dataset = shards.stream(
        data, split, dominant_path=dominant_path, quarantine=quarantine and str(quarantine)
    ).map_batches(
        only, batch_size=None, fn_kwargs={"chosen": chosen}
    ).map_batches(
        Mapper, batch_size=16, compute=ActorPoolStrategy(size=1),
        fn_constructor_kwargs={"models": folders, "given": given},
    )  # fmt: skip
    blocks = dataset.iter_batches(batch_size=None, batch_format="numpy")
    asked = {"noise_db": noise_db, "num_points": num_points}
    points = {scene: scene_points(columns, methods, **asked) for scene, columns in by_scene(blocks, chosen)}
    # Blocks may come in any order, points do not.
    return pd.concat([points[scene] for scene in sorted(points)], ignore_index=True)


def first_transmitters(rows: Iterable[tuple[str, int]], num: int) -> dict[str, list[int]]:
    """Scene -> its first ``num`` tx_ids in order, of all (scene, tx_id).

    Raises ValueError for ``num`` below 1, and, naming the scene, if one has fewer.
    """
    if num < 1:
        raise ValueError(f"num_transmitters must be at least 1, got {num}")
    found: dict[str, set[int]] = {}
    for scene, tx_id in rows:
        found.setdefault(str(scene), set()).add(int(tx_id))
    for scene, tx_ids in found.items():
        if len(tx_ids) < num:
            raise ValueError(f"scene {scene!r} has {len(tx_ids)} transmitters, num_transmitters asks for {num}")
    return {scene: sorted(tx_ids)[:num] for scene, tx_ids in found.items()}


def only(columns: dict[str, np.ndarray], chosen: Mapping[str, Sequence[int]]) -> Iterator[dict[str, np.ndarray]]:
    """A Ray Data stage: the rows of ``chosen`` (scene -> tx_ids), so that no other map is predicted."""
    pairs = zip(columns["scene"], columns["tx_id"], strict=True)
    wanted = np.array([int(tx_id) in chosen[str(scene)] for scene, tx_id in pairs], bool)
    if wanted.any():
        yield {name: values[wanted] for name, values in columns.items()}


def by_scene(
    blocks: Iterable[Mapping[str, np.ndarray]], chosen: Mapping[str, Sequence[int]]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """(scene, columns of its maps in the order of ``chosen``), each once all of its maps have come, in any blocks.

    ``chosen``: scene -> tx_ids, of all rows of the blocks. Raises ValueError at the end, naming it, for a scene of
    which some were missing.
    """
    waiting: dict[str, dict[int, dict[str, np.ndarray]]] = {scene: {} for scene in chosen}
    for columns in blocks:
        for index, (scene, tx_id) in enumerate(zip(columns["scene"], columns["tx_id"], strict=True)):
            maps = waiting[str(scene)]
            maps[int(tx_id)] = {name: values[index] for name, values in columns.items()}
            if len(maps) == len(chosen[str(scene)]):
                ordered = [waiting[str(scene)][wanted] for wanted in chosen[str(scene)]]
                del waiting[str(scene)]
                yield str(scene), {name: np.stack([one[name] for one in ordered]) for name in columns}
    for scene, maps in waiting.items():
        raise ValueError(
            f"scene {scene!r} has {len(maps)} usable maps, num_transmitters asks for {len(chosen[scene])}; the others "
            f"were set aside as unusable"
        )


def scene_points(
    columns: Mapping[str, np.ndarray], methods: Sequence[str], *, noise_db: float, num_points: int
) -> pd.DataFrame:
    """The rows of :func:`score_points` of one scene. ``columns``: J rows of :class:`Mapper`, ``methods``: of its maps.

    A receiver is where all J maps are valid. Raises ValueError as :func:`raymap.evaluation.localization.locate`, naming
    scene and method.
    """
    scene, maps_db = str(columns["scene"][0]), columns["maps_db"]
    located = []
    for index, method in enumerate(methods):
        try:
            points = localization.locate(
                maps_db[:, index], maps_db[:, -1], (columns["valid"] == 1).all(axis=0),
                columns["line_of_sight"].astype(bool), float(columns["cell_m"][0]), seed=zlib.crc32(scene.encode()),
                noise_db=noise_db, num_points=num_points,
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"scene {scene!r}, {method}: {error}") from error
        points.insert(0, "method", method)
        points.insert(1, "scene", scene)
        located.append(points)
    return pd.concat(located, ignore_index=True)


def localize(
    models: Mapping[str, str | Path],
    data: str,
    split: str,
    out: str | Path,
    *,
    num_transmitters: int,
    noise_db: float = NOISE_DB,
    num_points: int = NUM_POINTS,
    given: Mapping[str, Predictions] | None = None,
    laws_data: str | None = None,
) -> dict:
    """:func:`score_points` of models, given maps, floors and laws; returns what ``localization.json`` holds.

    ``laws_data``: dataset on whose training split floors and laws are fitted, by default ``data`` if it has such a
    split. Without one only floors are, on the scored split. Writes into ``out``: ``localization.parquet`` (the points)
    and the page of :mod:`raymap.evaluation.localization_page`. Raises ValueError as :func:`score_points`, and for given
    maps as :meth:`Predictions.check`.
    """
    given = given or {}
    card = DatasetCard.load(data)
    # Before laws are fitted, which takes minutes.
    _reads_dominant_path(models, card)
    rows = predictions.rows_of(data, split)
    first_transmitters(rows, num_transmitters)
    for maps in given.values():
        maps.check(rows, card.shape)
    out = Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    is_taught = bool(laws_data) or "train" in card.splits
    # On the scored maps themselves the law of a cell would be no law but a memory of them.
    fitted = (laws_data or data, "train", LAWS) if is_taught else (data, split, FLOORS)
    laws = fit_laws(*fitted, out / "laws")
    points = score_points(
        {**laws, **models}, data, split, num_transmitters=num_transmitters, noise_db=noise_db, num_points=num_points,
        given=given, quarantine=out / "quarantine",
    )  # fmt: skip
    points.to_parquet(out / "localization.parquet", index=False)
    found = {
        "dataset": f"{card.name} ({card.fingerprint[:12]})",
        "split": split,
        "commit": provenance.git_commit(),
        "command": provenance.command(),
        "hardware": provenance.hardware(),
        "laws_fitted_on": f"split {fitted[1]!r} of {DatasetCard.load(fitted[0]).name}",
        "cell_m": card.cell_m,
        "num_transmitters": num_transmitters,
        "num_points": num_points,
        "noise_db": noise_db,
        "num_neighbours": NUM_NEIGHBOURS,
        "floor_db": FLOOR_DB,
        "methods": {name: localization.summarise(part) for name, part in points.groupby("method", sort=False)},
    }
    localization_page.write(out, found, points)
    return found


def _reads_dominant_path(folders: Mapping[str, str | Path], card: DatasetCard) -> bool:
    """Whether any model does. Raises ValueError where that map is the truth, and for one that reads measurements."""
    configs = {name: base.load(folder).config for name, folder in folders.items()}
    for name, config in configs.items():
        if config.reads("sampled"):
            raise ValueError(f"{name} reads measurements, but fingerprints are predicted from the environment alone")
        if config.reads("dominant_path"):
            require_multipath(card.name, card.kind)
    return any(config.reads("dominant_path") for config in configs.values())
