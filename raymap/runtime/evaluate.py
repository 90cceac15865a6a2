"""score(models, dataset): every method on one split through Ray Data, then numbers, pictures and one HTML report."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from raymap import units
from raymap.config import MeasurementsConfig, ModelConfig, OutlineConfig
from raymap.data import shards
from raymap.data.batch import MapBatch, batches, from_columns
from raymap.data.schema import DatasetCard, require_multipath
from raymap.evaluation import metrics, predictions, summary
from raymap.evaluation.predictions import Predictions
from raymap.models import base
from raymap.models.cell_law import CellLaw
from raymap.models.interpolation import Corrected, Kriging, NearestMeasurement
from raymap.models.pathloss import Cell3gpp, FreeSpace, LogDistance
from raymap.physics import pathloss
from raymap.runtime import cluster, cost, provenance, registry, score_report
from raymap.storage import Place, place, written

FLOORS: dict[str, ModelConfig] = {
    "Free space": FreeSpace.Config(),
    "3GPP UMa": Cell3gpp.Config(scenario="uma"),
    "3GPP UMi": Cell3gpp.Config(scenario="umi"),
    "Log-distance + LoS": LogDistance.Config(),
}
#: Also fitted and scored, so that a table shows what learning adds to the law that the diffusion starts from.
LAWS = {**FLOORS, "Law of a cell": CellLaw.Config()}
#: Scored beside them where something was measured.
INTERPOLATIONS: dict[str, ModelConfig] = {
    "Nearest measurement": NearestMeasurement.Config(),
    "Kriging": Kriging.Config(),
}
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
        self.models = {name: base.load(folder).to(self.device) for name, folder in models.items()}
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
    true_db, outdoor = units.gain_db_from_signal(batch.gain[:, 0]), batch.valid[:, 0]
    scores = metrics.score_maps(predicted_db, true_db, outdoor, batch.line_of_sight[:, 0] > 0, np.stack(distance_m))
    residuals = metrics.helmholtz_residual(predicted_db, true_db, outdoor, batch.tx[:, 0] > 0)
    return [row | extra for row, extra in zip(scores, residuals, strict=True)]


def score(
    models: Mapping[str, str | Path],
    data: str,
    split: str,
    out: str | Place,
    *,
    given: Mapping[str, Predictions] | None = None,
    measurements: MeasurementsConfig | None = None,
    num_pictures: int = 4,
) -> dict:
    """Score models, floors and (fitted on a training split) the law of a cell; returns what ``metrics.json`` holds.

    ``models``: name -> model folder. ``given``: name -> maps of the whole split that somebody else predicted, scored
    alike but without costs. ``measurements``: what models that read measurements are shown; those that do not are
    scored a second time, corrected by them. Writes into ``out``: ``metrics.json``, ``metrics.parquet`` (one row per
    method and map), ``pictures/*.png`` and ``report.html``. Raises ValueError for a split that the dataset does not
    have, for a model that reads measurements where there are none, or the dominant-path map where that is the truth,
    and for given maps as :meth:`Predictions.check`.
    """
    given = dict(given or {})
    out = place(out)
    out.mkdir(parents=True, exist_ok=True)
    card = DatasetCard.load(data)
    if split not in card.splits:
        raise ValueError(f"dataset {data} has no split {split!r}; it has {', '.join(card.splits)}")
    for maps in given.values():
        maps.check(predictions.rows_of(data, split), card.shape)
    folders = {name: str(place(folder)) for name, folder in models.items()}
    outline = _outline_config(folders)
    if measurements:
        folders = _with_corrected(folders, out / "corrected")
    loaded = {name: base.load(folder) for name, folder in folders.items()}
    _require_inputs(loaded, card, measurements)
    # On the scored maps themselves the law of a cell would be no law but a memory of them.
    fitted = ("train", LAWS) if "train" in card.splits else (split, FLOORS)
    laws = fit_laws(data, *fitted, out / "laws")
    if measurements:
        laws |= fit_laws(data, split, INTERPOLATIONS, out / "laws")
    shown = {"outline": outline, "measurements": measurements}
    rows = score_rows({**laws, **folders}, data, split, given=given, quarantine=out / "quarantine", **shown)
    dataset = shards.stream(
        data, split, dominant_path=_reads(loaded.values(), "dominant_path"), quarantine=str(out / "quarantine"), **shown
    )
    found = summary.summarise(
        rows,
        dataset=f"{card.name} ({card.fingerprint[:12]})",
        split=split,
        commit=provenance.git_commit(),
        command=provenance.command(),
        hardware=provenance.hardware(),
    )
    found["set_aside"] = shards.quarantined(str(out / "quarantine"))
    found["measurements"] = measurements and measurements.model_dump(mode="json")
    first = next(iter([*models, *given]), None)
    examples = score_report.choose(rows, first, dataset, num_pictures)
    drawn = {name: _draw(model, examples) for name, model in loaded.items()}
    drawn |= {name: (maps.gain_db(examples), None) for name, maps in given.items()}
    law = score_report.best(rows, laws)
    with written(out) as folder:
        rows.to_parquet(folder / "metrics.parquet", index=False)
        summary.write_metrics(folder, found)
        score_report.write(
            folder, found, rows, examples=examples, drawn=drawn, law=(law, _draw(base.load(laws[law]), examples)[0]),
            given=given, measured=bool(measurements), floors=list(FLOORS), reference=first,
            notes=_notes(found, card, measurements), attribution=card.attribution,
        )  # fmt: skip
    return found


def _with_corrected(folders: Mapping[str, str], out: Place) -> dict[str, str]:
    """The models, and each that reads no measurements once more, corrected by them."""
    every = dict(folders)
    for name, folder in folders.items():
        model = base.load(folder)
        if not model.config.reads("sampled"):
            every[f"{name}, corrected"] = str(out / score_report.slug(name))
            base.save(Corrected.of(model), out / score_report.slug(name))
    return every


def _require_inputs(
    models: Mapping[str, base.Predictor], card: DatasetCard, measurements: MeasurementsConfig | None
) -> None:
    for name, model in models.items():
        if model.config.reads("dominant_path"):
            require_multipath(card.name, card.kind)
        if model.config.reads("sampled") and not measurements:
            raise ValueError(f"{name} reads measurements; say how many cells are measured (--measurements.rates)")


def _notes(found: dict, card: DatasetCard, measurements: MeasurementsConfig | None) -> list[str]:
    """What a reader of the report should know."""
    fitted = "the training split" if "train" in card.splits else "this very split, which favours them"
    notes = [
        f"Floors and laws are fitted on {fitted}.",
        f"Outline agreement: cut at {OUTLINE_THRESHOLD}, tolerance {OUTLINE_TOLERANCE_CELLS} cells, walls left out.",
        f"Maps have {card.shape[0]} x {card.shape[1]} cells of {card.cell_m:g} m.",
        f"{len(found['set_aside'])} rows or shards were set aside as unusable.",
    ]
    if measurements:
        least, most = measurements.rates
        notes.append(
            f"Measured: {least:.2%} to {most:.2%} of the outdoor cells of a map, with an error of "
            f"{measurements.noise_db:g} dB; scores are over all cells, measured ones too."
        )
    return notes


def score_rows(
    folders: Mapping[str, str],
    data: str,
    split: str,
    *,
    outline: OutlineConfig,
    true_outlines: bool = False,
    given: Mapping[str, Predictions] | None = None,
    measurements: MeasurementsConfig | None = None,
    quarantine: Place | None = None,
):
    """A DataFrame with one row per model (name -> folder) and map: all scores, and what a prediction costs.

    ``outline``: what outlines are scored against. ``true_outlines``: models are given the true one as DM1's, which
    makes their scores an upper bound and no result. ``given``: name -> maps of further methods, of which nothing else
    is known. ``measurements``: what models that read measurements are shown. Raises ValueError as
    :func:`raymap.data.shards.stream`, also for a model that reads the dominant-path map on a dataset where that is the
    truth.
    """
    cluster.connect(min_cpus=2)
    from ray.data import ActorPoolStrategy

    dataset = shards.stream(
        data, split, outline=outline, true_outlines=true_outlines,
        dominant_path=_reads((base.load(folder) for folder in folders.values()), "dominant_path"),
        measurements=measurements,
        quarantine=quarantine and str(quarantine),
    )  # fmt: skip
    table = dataset.map_batches(
        Scorer, batch_size=16, compute=ActorPoolStrategy(size=1),
        fn_constructor_kwargs={"models": folders, "given": given},
    ).to_pandas()  # fmt: skip
    rows = table.drop(columns="json").join(_expand(table["json"]))
    one = from_columns({key: np.stack([value]) for key, value in dataset.take(1)[0].items()}).blind()
    costs = {name: cost.of(base.load(folder), one) for name, folder in folders.items()}
    for key in summary.COSTS:
        rows[key] = rows["method"].map({name: values[key] for name, values in costs.items()})
    return rows


def _reads(models: Iterable[base.Predictor], name: str) -> bool:
    return any(model.config.reads(name) for model in models)


def _expand(encoded):
    import pandas as pd

    return pd.DataFrame([json.loads(text) for text in encoded])


def _outline_config(folders: Mapping[str, str]) -> OutlineConfig:
    """The outline that the first model was trained to draw; the house's default if none says."""
    for folder in folders.values():
        data = json.loads((place(folder) / base.CONFIG_FILE).read_text()).get("data")
        if data:
            return OutlineConfig.model_validate(data["outline"])
    return OutlineConfig()


def fit_laws(
    data: str, split: str, laws: Mapping[str, ModelConfig], out: Place, *, again: bool = True
) -> dict[str, str]:
    """Fit and save ``laws`` (name -> config) on a split; name -> folder.

    Without ``again`` those that ``out`` already holds, of the same settings, are kept as they are.
    """
    folders = {}
    for name, config in laws.items():
        folder = out / score_report.slug(name)
        folders[name] = str(folder)
        if not again and base.is_saved(folder, config):
            continue
        floor = base.build(config)
        floor.prepare(batches(shards.stream(data, split), 64))
        base.save(floor, folder)
    return folders


def _draw(model: base.Predictor, examples: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """(B, H, W) predicted gain [dB] and, where the model draws one, outline [0, 1] of the examples."""
    with torch.no_grad():
        predicted = model.predict_all(from_columns(examples).blind(), sample_seeds(examples))
    outline = predicted.get("outline")
    gain_db = units.gain_db_from_signal(predicted["gain"][:, 0].numpy())
    return gain_db, None if outline is None else units.grey_from_signal(outline[:, 0].numpy())


def name_predictions(texts: list[str], scale: predictions.Scale, taken: Iterable[str]) -> dict[str, Predictions]:
    """ "NAME=FOLDER" to name -> predictions. Raises ValueError without a name, and for one that is taken."""
    named: dict[str, Predictions] = {}
    for text in texts:
        name, _, folder = text.rpartition("=")
        if not name or name in {*named, *taken, *LAWS, *INTERPOLATIONS}:
            raise ValueError(f"predictions need a name of their own, as --predictions NAME=FOLDER; got {text!r}")
        named[name] = Predictions(folder=Path(folder).resolve(), scale=scale)
    return named


def name_models(models: list[str]) -> dict[str, str]:
    """ "NAME=MODEL" or "MODEL" to name -> folder; MLflow names are fetched. Raises ValueError for a name twice."""
    named: dict[str, str] = {}
    for text in models:
        name, _, where = text.rpartition("=")
        folder = str(registry.fetch(where)) if where.startswith(("models:/", "runs:/")) else where
        name = name or base.load(folder).config.kind
        if name in named:
            raise ValueError(f"two models are called {name!r}; name them with --model NAME=FOLDER")
        named[name] = folder
    return named
