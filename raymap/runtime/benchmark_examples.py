"""Maps that the benchmark's page shows, the same for every method, and what each training predicts of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from raymap import units
from raymap.config import DataConfig
from raymap.data.batch import from_columns
from raymap.data.columns import add_dominant_path
from raymap.data.reader import ShardReader
from raymap.data.schema import DatasetCard
from raymap.models import base
from raymap.runtime import cluster
from raymap.runtime.evaluate import sample_seeds
from raymap.storage import whole

#: Maps of every split that are shown.
NUM_MAPS = 3


def choose(data: DataConfig, split: str) -> dict[str, np.ndarray]:
    """Columns of one map of each of :data:`NUM_MAPS` scenes, by the dataset alone: all methods are shown on the same.

    With the measurements that ``data`` says, if any.
    Scenes are drawn by the hash of their names, of each the transmitter of the lowest number.
    """
    reader = ShardReader(data.folder, split, measurements=data.measurements, max_scenes=NUM_MAPS)
    columns = reader.load().columns
    order = np.lexsort((columns["tx_id"], columns["scene"].astype(str)))
    first = order[np.unique(columns["scene"][order].astype(str), return_index=True)[1]]
    return {name: values[first] for name, values in columns.items()}


def keep(folder: Path, model: Path, data: DataConfig, split: str) -> Path:
    """What a model predicts of the examples, beside its scores in ``folder``, unless it is there; returns the file.

    A file of another dataset, or another number of maps, is made anew. It holds everything that the page's pictures
    show, so that no model is needed to draw them.
    """
    path, card = _path(folder, split), DatasetCard.load(data.folder)
    if load(folder, card, split):
        return path
    columns, predictor, device = choose(data, split), base.load(model), cluster.device()
    if predictor.config.reads("dominant_path"):
        columns = add_dominant_path(columns)
    batch = from_columns(columns).blind().to(device)
    with torch.no_grad():
        signal = predictor.to(device).predict(batch, sample_seeds(columns))
    found = {name: columns[name] for name in ("tx_id", "tx_xyz_m", "cell_m", "building_m", "vehicle_m")}
    found |= {"scene": columns["scene"].astype(str), "outdoor": columns["valid"].astype(bool)}
    found |= {"true_db": columns["gain_db"], "made_for": np.array(_made_for(card))}
    found["predicted_db"] = units.gain_db_from_signal(signal.float().cpu().numpy()[:, 0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **found)
    return path


def load(folder: Path, card: DatasetCard, split: str) -> dict[str, np.ndarray]:
    """What :func:`keep` wrote into ``folder``, (N, ...) by name; empty if there is none of this dataset's examples."""
    path = _path(folder, split)
    if not path.is_file():
        return {}
    with np.load(path) as stored:
        found = dict(stored)
    return found if str(found.pop("made_for", "")) == _made_for(card) else {}


def _made_for(card: DatasetCard) -> str:
    """All that the choice depends on."""
    return f"{card.fingerprint}, {NUM_MAPS} maps"


def _path(folder: Path, split: str) -> Path:
    return folder / "scores" / f"{split}-examples.npz"
