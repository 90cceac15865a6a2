"""The two doors for users of a trained model: load and predict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

import raymap.models  # noqa: F401  (registers every kind of model)
from raymap.data.batch import from_scenes, to_radio_maps
from raymap.models import base
from raymap.models.base import Predictor
from raymap.scene import RadioMap, Scene, Transmitter

#: Maps predicted at once; memory stays bounded however many transmitters are asked for.
BATCH_SIZE = 16


def load(name: str | Path, *, tracking_uri: str | None = None) -> Predictor:
    """A trained model, ready to predict, from a folder or from MLflow ("models:/k2@champion", "runs:/<id>/model").

    Reads ``run.json`` and ``model.safetensors`` and runs no code from either. Raises FileNotFoundError if the folder
    holds no model, ValueError if it names an unknown kind or its weights do not fit its config.
    """
    if str(name).startswith(("models:/", "runs:/")):
        from raymap.runtime import track

        return base.load(track.fetch(str(name), tracking_uri))
    return base.load(Path(name))


def predict(
    model: Predictor,
    scene: Scene,
    transmitters: Sequence[Transmitter],
    *,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
) -> list[RadioMap]:
    """One radio map per transmitter of a scene, [dB], valid outdoors.

    ``seeds``: one per transmitter (default 0, 1, ...); the same seed draws the same map whatever else is asked for.
    ``steps``: network calls per diffusion stage instead of the model's own number.
    Raises ValueError if a transmitter is outside the map or inside a building, if the scene's cells are not of the
    length the model was trained on, or if the number of seeds differs from the number of transmitters.
    """
    seeds = range(len(transmitters)) if seeds is None else seeds
    if len(seeds) != len(transmitters):
        raise ValueError(f"need one seed per transmitter, got {len(seeds)} for {len(transmitters)}")
    device = next((tensor.device for tensor in model.state_dict().values()), torch.device("cpu"))
    maps: list[RadioMap] = []
    with torch.no_grad(), model.with_steps(steps):
        for start in range(0, len(transmitters), BATCH_SIZE):
            chosen = transmitters[start : start + BATCH_SIZE]
            batch = from_scenes([scene] * len(chosen), chosen).blind().to(device)
            maps += to_radio_maps(model.predict(batch, seeds[start : start + BATCH_SIZE]), batch)
    return maps
