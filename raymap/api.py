"""The doors for users of a trained model: load and predict, and what is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

import raymap.models  # noqa: F401  (registers every kind of model)
from raymap import area
from raymap.data.batch import from_scenes, to_radio_maps
from raymap.data.measurements import Measurements
from raymap.models import base
from raymap.models.base import Predictor
from raymap.models.interpolation import correct
from raymap.scene import RadioMap, Scene, Transmitter

#: Maps predicted at once; memory stays bounded however many transmitters are asked for.
BATCH_SIZE = 16
#: Longest side of what is predicted in one pass, and what neighbouring windows of longer areas share [cells]. The demo
#: model takes 1.2 GB for 512 x 512 cells at once and 10 GB for 1024 x 1024, where attention's square begins to rule.
TILE_CELLS, OVERLAP_CELLS = 512, 64
#: Where the installed models lie: one folder each.
PRETRAINED = Path(__file__).parent / "pretrained"


def pretrained() -> dict[str, Path]:
    """Name -> folder of every trained model that came with the installation; its model card is ``README.md`` there."""
    return {path.parent.name: path.parent for path in sorted(PRETRAINED.glob(f"*/{base.CONFIG_FILE}"))}


def load(name: str | Path, *, tracking_uri: str | None = None) -> Predictor:
    """A trained model, ready to predict: by the name of an installed one (:func:`pretrained`), from a folder, or from
    MLflow ("models:/k2@champion", "runs:/<id>/model").

    Reads ``run.json`` and ``model.safetensors`` and runs no code from either. A ``Path``, or text with a separator
    ("./k2-small"), is always a folder. Raises FileNotFoundError if the folder holds no model or nothing has the name,
    listing the names there are; ValueError if a name is that of an installed model and of a folder here, if the model
    is of an unknown kind, leaves settings out or its weights do not fit its config.
    """
    if str(name).startswith(("models:/", "runs:/")):
        from raymap.runtime import registry

        return base.load(registry.fetch(str(name), tracking_uri))
    return base.load(_named(name) if isinstance(name, str) and Path(name).name == name else name)


def _named(name: str) -> Path:
    """The folder that a bare name means: an installed model's or one in the working directory."""
    installed, here = pretrained(), Path(name)
    if name in installed and here.is_dir():
        raise ValueError(
            f"{name!r} is an installed model and a folder here ({here.resolve()}): raymap.load('./{name}') loads the "
            f"folder, raymap.load(raymap.pretrained()['{name}']) the installed model"
        )
    if name not in installed and not here.is_dir():
        raise FileNotFoundError(
            f"no installed model and no folder here is called {name!r}; installed: {', '.join(installed) or 'none'}"
        )
    return installed.get(name, here)


def predict(
    model: Predictor,
    scene: Scene,
    transmitters: Sequence[Transmitter],
    *,
    measurements: Sequence[Measurements] | None = None,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    tile_cells: int = TILE_CELLS,
    overlap_cells: int = OVERLAP_CELLS,
) -> list[RadioMap]:
    """One radio map per transmitter of a scene of any size, [dB], valid outdoors.

    ``measurements``: what was measured of each transmitter's map. A model that reads measurements sees them; the map of
    any other is corrected by Kriging of what it misses there (:func:`raymap.models.interpolation.correct`).
    ``seeds``: one per transmitter (default 0, 1, ...); the same seed draws the same map whatever else is asked for.
    ``steps``: network calls per diffusion stage instead of the model's own number.
    ``precision``: of the networks' products; "bf16" is faster on GPUs and on CPUs that have it, within a few tenths of
    a decibel.
    ``tile_cells``, ``overlap_cells``: a scene with a longer side is predicted in windows of at most ``tile_cells`` x
    ``tile_cells`` cells, blended over the cells they share (:func:`raymap.area.predict`). One pass is no worse
    (docs/k2.md); windows bound the memory.
    A model that reads the dominant-path map has it computed here; that takes as long as all its other inputs together.
    Raises ValueError if a transmitter is outside the map or inside a building, if the scene's cells are not of the
    length the model was trained on, if the number of seeds or measurements differs from the number of transmitters, if
    the model reads measurements and there are none or one is not outdoors, for another precision, or if the windows do
    not move on.
    """
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"precision must be 'fp32' or 'bf16', got {precision!r}")
    seeds = range(len(transmitters)) if seeds is None else seeds
    for what, given in (("seed", seeds), ("set of measurements", measurements)):
        if given is not None and len(given) != len(transmitters):
            raise ValueError(f"need one {what} per transmitter, got {len(given)} for {len(transmitters)}")
    for transmitter in transmitters:
        scene.require_outdoor(transmitter)
    rows, columns = scene.grid.shape
    whole = area.padded(scene, model.multiple)
    num = max(1, min(BATCH_SIZE, area.MAX_CELLS // whole.building_m.size))
    device = next((tensor.device for tensor in model.state_dict().values()), torch.device("cpu"))
    maps: list[RadioMap] = []
    rounded = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    with torch.no_grad(), rounded, model.with_steps(steps):
        for start in range(0, len(transmitters), num):
            part = slice(start, start + num)
            chosen, drawn = transmitters[part], seeds[part]
            batch = from_scenes(
                [whole] * len(chosen), chosen, dominant_path=model.config.reads("dominant_path"),
                measurements=measurements and measurements[part],
            )  # fmt: skip
            batch = batch.blind().to(device)
            signal = area.predict(model, batch, drawn, tile_cells=tile_cells, overlap_cells=overlap_cells)
            if measurements is not None and not model.config.reads("sampled"):
                signal = correct(signal, batch)
            found = to_radio_maps(signal, batch)
            maps += [RadioMap(one.gain_db[:rows, :columns], one.valid[:rows, :columns]) for one in found]
    return maps
