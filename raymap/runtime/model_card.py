"""What is told of a model where it is registered: how it came about, on what, and what it scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raymap.config import ModelConfig
from raymap.data.schema import DatasetCard
from raymap.evaluation.markdown import interval, table
from raymap.runtime import provenance
from raymap.runtime.registry import Card

_HEAD = ["method", "NMSE", "RMSE [dB]", "SSIM"]


def of(title: str, config: ModelConfig, card: DatasetCard, found: Mapping[str, Any]) -> Card:
    """The card of a model trained on a dataset; ``found`` is its ``metrics.json``. Registered by its kind."""
    splits = ", ".join(f"{name} {split.num_rows:,} maps" for name, split in card.splits.items())
    height, width = card.shape
    command = provenance.command()
    scored = [
        [name, interval(raw["nmse"], 4), interval(raw["rmse_db"], 2), interval(raw["ssim"], 3)]
        for name, raw in ((name, scores["raw"]["all"]) for name, scores in found["methods"].items())
    ]
    lines = [
        f"# {title}", "",
        f"Trained by `{command}` at commit {provenance.git_commit()} on {provenance.hardware()}.", "",
        f"Dataset {card.name} of kind {card.kind}, fingerprint {card.fingerprint}: {splits}; {height} x {width} cells "
        f"of {card.cell_m:g} m.", "",
        f"Scores on the split {found['split']}, raw grey levels, all pixels; mean and 95 % interval over scenes:", "",
        *table(_HEAD, scored), "",
        f"Its truth is a simulation. {card.attribution}", "",
    ]  # fmt: skip
    tags = {"dataset_fingerprint": card.fingerprint, "commit": provenance.git_commit()}
    return Card(name=config.kind, text="\n".join(lines), tags=tags, shape=card.shape, cell_m=card.cell_m)
