"""score(models, dataset): every method on one split through Ray Data, then numbers, pictures and one HTML report."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from raymap import units
from raymap.config import OutlineConfig
from raymap.data import shards
from raymap.data.batch import MapBatch, from_columns
from raymap.data.schema import DatasetCard, require_multipath
from raymap.evaluation import metrics, pictures, predictions, report, summary
from raymap.evaluation.predictions import Predictions
from raymap.models import base
from raymap.models.cell_law import CellLaw
from raymap.models.pathloss import FreeSpace, LogDistance
from raymap.physics import pathloss
from raymap.runtime import cluster, track

FLOORS = {"Free space": FreeSpace, "Log-distance + LoS": LogDistance}
#: Also fitted and scored, so that a table shows what learning adds to the law that the diffusion starts from.
LAWS = {**FLOORS, "Law of a cell": CellLaw}
#: An outline is there from a bend of 1.2 dB per cell² on (its scale: 0 at 1 dB, 1 at 3 dB), two cells off at most. Half
#: of the scale, 2 dB, would leave out most of what a mean over the possible outlines shows.
OUTLINE_THRESHOLD = 0.1
OUTLINE_TOLERANCE_CELLS = 2


def sample_seeds(columns: Mapping[str, np.ndarray]) -> list[int]:
    """One seed per row, from what the row is and not from where it lies, so that no batching changes a prediction."""
    keys = zip(columns["scene"], columns["tx_id"], strict=True)
    return [zlib.crc32(f"{scene}/{tx_id}".encode()) for scene, tx_id in keys]


class Scorer:
    """A Ray Data stage: columns of true maps in, one row of scores per method and map out."""

    def __init__(self, models: Mapping[str, str], given: Mapping[str, Predictions] | None = None) -> None:
        self.device = cluster.device()
        self.models = {name: base.load(Path(folder)).to(self.device) for name, folder in models.items()}
        self.given = dict(given or {})

    def __call__(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        batch, seeds = from_columns(columns).to(self.device), sample_seeds(columns)
        scored = {name: score_batch(model, batch, seeds) for name, model in self.models.items()}
        scored |= {name: score_gain(maps.gain_db(columns), batch) for name, maps in self.given.items()}
        rows = [
            {"method": name, "scene": str(scene), "tx_id": int(tx_id), "json": json.dumps(scores)}
            for name, found in scored.items()
            for scene, tx_id, scores in zip(columns["scene"], columns["tx_id"], found, strict=True)
        ]
        return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def score_batch(model: base.Predictor, batch: MapBatch, seeds: list[int]) -> list[dict[str, float]]:
    """Flat scores (``raymap.evaluation.metrics``) of each map of a batch; the model sees ``batch.blind()`` only."""
    with torch.no_grad():
        predicted = model.predict_all(batch.blind(), seeds)
    rows = score_gain(units.gain_db_from_signal(predicted["gain"][:, 0]), batch)
    if "outline" in predicted and batch.outline is not None:
        agreement = metrics.outline_agreement(
            units.grey_from_signal(predicted["outline"][:, 0]),
            units.grey_from_signal(batch.outline[:, 0]),
            batch.valid[:, 0],
            OUTLINE_THRESHOLD,
            OUTLINE_TOLERANCE_CELLS,
        )
        rows = [row | extra for row, extra in zip(rows, agreement, strict=True)]
    return rows


def score_gain(predicted_db, batch: MapBatch) -> list[dict[str, float]]:
    """Flat scores of predicted maps (B, H, W) [dB] against a batch's; rings are around the centre of the tx cell."""
    shape, cell_m = batch.tx.shape[-2:], batch.cell_m
    distance_m = [
        pathloss.distance_m(shape, cell_m, ((column + 0.5) * cell_m, (row + 0.5) * cell_m))
        for row, column in batch.tx_cell.tolist()
    ]
    return metrics.score_maps(
        predicted_db,
        units.gain_db_from_signal(batch.gain[:, 0]),
        batch.valid[:, 0],
        batch.line_of_sight[:, 0] > 0,
        np.stack(distance_m),
    )


def score(
    models: Mapping[str, str | Path],
    data: str,
    split: str,
    out: str | Path,
    *,
    given: Mapping[str, Predictions] | None = None,
    num_pictures: int = 4,
) -> dict:
    """Score models, floors and (fitted on a training split) the law of a cell; returns what ``metrics.json`` holds.

    ``models``: name -> model folder. ``given``: name -> maps of the whole split that somebody else predicted, scored
    alike but without costs. Writes into ``out``: ``metrics.json``, ``metrics.parquet`` (one row per method and map),
    ``pictures/*.png`` and ``report.html``. Raises ValueError for a split that the dataset does not have, for a model
    that reads the dominant-path map on a dataset where that is the truth, and for given maps as
    :meth:`Predictions.check`.
    """
    given = dict(given or {})
    out = Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    card = DatasetCard.load(data)
    if split not in card.splits:
        raise ValueError(f"dataset {data} has no split {split!r}; it has {', '.join(card.splits)}")
    for maps in given.values():
        maps.check(predictions.rows_of(data, split), card.shape)
    folders = {name: str(Path(folder).resolve()) for name, folder in models.items()}
    loaded = {name: base.load(Path(folder)) for name, folder in folders.items()}
    dominant_path = _reads_dominant_path(loaded.values())
    if dominant_path:
        require_multipath(card.name, card.kind)
    # On the scored maps themselves the law of a cell would be no law but a memory of them.
    fitted = ("train", LAWS) if "train" in card.splits else (split, FLOORS)
    laws = fit_laws(data, *fitted, out / "laws")
    outline = _outline_config(folders)
    rows = score_rows({**laws, **folders}, data, split, outline=outline, given=given, quarantine=out / "quarantine")
    rows.to_parquet(out / "metrics.parquet", index=False)
    dataset = shards.stream(
        data, split, outline=outline, dominant_path=dominant_path, quarantine=str(out / "quarantine")
    )
    examples = _examples(rows, next(iter([*models, *given]), None), dataset, num_pictures)
    found = summary.summarise(
        rows,
        dataset=f"{card.name} ({card.fingerprint[:12]})",
        split=split,
        commit=track.git_commit(),
        command=" ".join(["python", *sys.argv]),
        hardware=track.hardware(),
    )
    found["set_aside"] = shards.quarantined(str(out / "quarantine"))
    summary.write_metrics(out, found)
    drawn = {name: _items(examples, *_predict(model, examples)) for name, model in loaded.items()}
    drawn |= {name: _items(examples, maps.gain_db(examples)) for name, maps in given.items()}
    _report(out, found, rows, card, drawn, given, "train" in card.splits)
    return found


def score_rows(
    folders: Mapping[str, str],
    data: str,
    split: str,
    *,
    outline: OutlineConfig,
    true_outlines: bool = False,
    given: Mapping[str, Predictions] | None = None,
    quarantine: Path | None = None,
):
    """A DataFrame with one row per model (name -> folder) and map: all scores, and what a prediction costs.

    ``outline``: what outlines are scored against. ``true_outlines``: models are given the true one as DM1's, which
    makes their scores an upper bound and no result. ``given``: name -> maps of further methods, of which nothing else
    is known. Raises ValueError as :func:`raymap.data.shards.stream`, also for a
    model that reads the dominant-path map on a dataset where that is the truth.
    """
    cluster.connect(min_cpus=2)
    from ray.data import ActorPoolStrategy

    dataset = shards.stream(
        data, split, outline=outline, true_outlines=true_outlines,
        dominant_path=_reads_dominant_path(base.load(Path(folder)) for folder in folders.values()),
        quarantine=quarantine and str(quarantine),
    )  # fmt: skip
    table = dataset.map_batches(
        Scorer, batch_size=16, compute=ActorPoolStrategy(size=1),
        fn_constructor_kwargs={"models": folders, "given": given},
    ).to_pandas()  # fmt: skip
    rows = table.drop(columns="json").join(_expand(table["json"]))
    one = from_columns({key: np.stack([value]) for key, value in dataset.take(1)[0].items()}).blind()
    costs = {name: cost(base.load(Path(folder)), one) for name, folder in folders.items()}
    for key in ("latency_ms", "peak_memory_mb", "parameters", "network_calls"):
        rows[key] = rows["method"].map({name: values[key] for name, values in costs.items()})
    return rows


def _reads_dominant_path(models: Iterable[base.Predictor]) -> bool:
    return any(model.config.reads("dominant_path") for model in models)


def _expand(encoded):
    import pandas as pd

    return pd.DataFrame([json.loads(text) for text in encoded])


def _outline_config(folders: Mapping[str, str]) -> OutlineConfig:
    """The outline that the first model was trained to draw; the house's default if none says."""
    for folder in folders.values():
        data = json.loads((Path(folder) / base.CONFIG_FILE).read_text()).get("data")
        if data:
            return OutlineConfig.model_validate(data["outline"])
    return OutlineConfig()


def fit_laws(
    data: str, split: str, laws: Mapping[str, type[base.Predictor]], out: Path, *, again: bool = True
) -> dict[str, str]:
    """Fit and save ``laws`` (name -> class) on a split; name -> folder.

    Without ``again`` those that ``out`` already holds, of the same settings, are kept as they are.
    """
    folders = {}
    for name, kind in laws.items():
        config = kind.Config()
        folder = out / config.kind
        folders[name] = str(folder)
        if not again and base.is_saved(folder, config):
            continue
        floor = kind(config)
        floor.prepare(shards.batches(shards.stream(data, split), 64))
        base.save(floor, folder)
    return folders


def _examples(rows, method: str | None, dataset, num: int) -> dict[str, np.ndarray]:
    """Columns of ``num`` maps spread evenly from the method's best to its worst NMSE, and their rank as ``share``."""
    method = method or rows["method"].iloc[0]
    ranked = rows[rows["method"] == method].sort_values("raw/all/nmse", kind="stable").reset_index(drop=True)
    shares = np.linspace(0.05, 0.95, min(num, len(ranked)))
    chosen = ranked.iloc[[round(share * (len(ranked) - 1)) for share in shares]]
    wanted = {
        (scene, int(tx_id)): rank
        for rank, (scene, tx_id) in enumerate(zip(chosen["scene"], chosen["tx_id"], strict=True))
    }
    found = [row for row in dataset.iter_rows() if (row["scene"], int(row["tx_id"])) in wanted]
    found.sort(key=lambda row: wanted[row["scene"], int(row["tx_id"])])
    return {"share": shares[: len(found)], **{key: np.stack([row[key] for row in found]) for key in found[0]}}


def cost(model: base.Predictor, batch: MapBatch, repeats: int = 5) -> dict[str, float]:
    """Latency of one map [ms] (median), peak memory of the process [MB] while predicting, parameters, network calls."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    seconds = []
    with torch.no_grad():
        for _ in range(repeats + 1):
            begun = time.perf_counter()
            model.predict(batch, [0] * len(batch))
            seconds.append(time.perf_counter() - begun)
    return {
        "latency_ms": 1000 * float(np.median(seconds[1:])),
        "peak_memory_mb": _peak_memory_mb(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "network_calls": model.network_calls,
    }


def _peak_memory_mb() -> float | None:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    return None


def _predict(model: base.Predictor, examples: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """(B, H, W) predicted gain [dB] and, where the model draws one, outline [0, 1] of the examples."""
    with torch.no_grad():
        predicted = model.predict_all(from_columns(examples).blind(), sample_seeds(examples))
    outline = predicted.get("outline")
    gain_db = units.gain_db_from_signal(predicted["gain"][:, 0].numpy())
    return gain_db, None if outline is None else units.grey_from_signal(outline[:, 0].numpy())


def _items(examples: dict[str, np.ndarray], gain_db: np.ndarray, outline: np.ndarray | None = None) -> list[dict]:
    """What the house picture shows of every example."""
    items = []
    for index, scene in enumerate(examples["scene"]):
        x_m, y_m, _height_m = examples["tx_xyz_m"][index]
        cell_m, rank = float(examples["cell_m"][index]), examples["share"][index]
        item = {
            "title": f"{scene}, Tx {examples['tx_id'][index]} ({rank:.0%} of maps have less error)",
            "building_m": examples["building_m"][index],
            "predicted_db": gain_db[index],
            "true_db": examples["gain_db"][index],
            "outdoor": examples["valid"][index].astype(bool),
            "tx": (int(y_m / cell_m), int(x_m / cell_m)),
            "cell_m": cell_m,
        }
        if outline is not None:
            item["outline"] = outline[index]
        items.append(item)
    return items


def _report(
    out: Path, found: dict, rows, card, drawn: Mapping[str, list[dict]], given: Iterable[str], has_train: bool
) -> None:
    folder = out / "pictures"
    folder.mkdir(exist_ok=True)
    shown = []
    for name, items in drawn.items():
        file_name = re.sub(r"[^A-Za-z0-9]+", "-", name.replace("²", "2")).strip("-").lower()
        png = pictures.gallery(items, folder / f"{file_name}.png")
        pictures.gallery(items[len(items) // 2 : len(items) // 2 + 1], folder / f"{file_name}-one.png")
        source = "Given as files, from whatever their maker knew" if name in given else "From the environment alone"
        outline = "predicted outline, " * ("outline" in items[0])
        caption = f"{source}: buildings, {outline}predicted map; then the truth and the error."
        shown.append((f"Maps by {name}", caption, png))
    fitted = "the training split" if has_train else "this very split, which favours them"
    notes = [
        f"Floors and laws are fitted on {fitted}.",
        f"Outline agreement: cut at {OUTLINE_THRESHOLD}, tolerance {OUTLINE_TOLERANCE_CELLS} cells, walls left out.",
        f"Maps have {card.shape[0]} x {card.shape[1]} cells of {card.cell_m:g} m.",
        f"{len(found['set_aside'])} rows or shards were set aside as unusable.",
    ]
    report.write_report(
        out,
        found,
        shown,
        ratio=summary.ratio_to_better_floor(rows, list(FLOORS)),
        rows=rows,
        notes=notes,
        attribution=card.attribution,
    )


def name_predictions(texts: list[str], scale: predictions.Scale, taken: Iterable[str]) -> dict[str, Predictions]:
    """ "NAME=FOLDER" to name -> predictions. Raises ValueError without a name, and for one that is taken."""
    named: dict[str, Predictions] = {}
    for text in texts:
        name, _, folder = text.rpartition("=")
        if not name or name in {*named, *taken, *LAWS}:
            raise ValueError(f"predictions need a name of their own, as --predictions NAME=FOLDER; got {text!r}")
        named[name] = Predictions(folder=Path(folder).resolve(), scale=scale)
    return named


def name_models(models: list[str]) -> dict[str, str]:
    """ "NAME=MODEL" or "MODEL" to name -> folder; MLflow names are fetched. Raises ValueError for a name twice."""
    named: dict[str, str] = {}
    for text in models:
        name, _, where = text.rpartition("=")
        folder = str(track.fetch(where)) if where.startswith(("models:/", "runs:/")) else where
        name = name or base.load(Path(folder)).config.kind
        if name in named:
            raise ValueError(f"two models are called {name!r}; name them with --model NAME=FOLDER")
        named[name] = folder
    return named
