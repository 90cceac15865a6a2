"""From a DeepMIMO folder to channels: which pairs there are, and what the dataset's card says.

An :class:`ImportPlan` cuts into items of one channel each (:func:`work`), and :func:`channel` reads an item anywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from raymap.config import Settings
from raymap.data import deepmimo
from raymap.data.channel import Channel, check_line_of_sight
from raymap.data.deepmimo import Pair


class ImportPlan(Settings):
    """What to import."""

    folder: str = Field("", description="the DeepMIMO folder (params.json and arrays)")
    split: str = Field("train", description="split that all channels go to")
    num_paths: int = Field(25, ge=1, description="strongest paths kept per receiver")
    check_line_of_sight: bool = Field(True, description="refuse pairs whose lines of sight contradict the positions")
    attribution: str = Field("", description="whom the card is to name; default: the folder's name and ray tracer")


class ImportItem(Settings):
    """One channel: a transmitter and a set of receivers."""

    split: str
    name: str
    file: str
    pair: Pair


def work(plan: ImportPlan) -> list[ImportItem]:
    """The channels of a folder. Raises FileNotFoundError if there is no such folder, ValueError without any pair."""
    pairs = deepmimo.pairs(plan.folder)
    if not pairs:
        raise ValueError(f"{plan.folder} holds no arrays of DeepMIMO 4 (power_t000_tx000_r001.npz and so on)")
    # Files are named by their pair: pairs that are added to the folder later change nothing for those that are there.
    return [
        ImportItem(
            split=plan.split, name=f"{Path(plan.folder).name}/{pair}", file=f"{plan.split}/{pair}.parquet", pair=pair
        )
        for pair in pairs
    ]


def channel(item: ImportItem, plan: ImportPlan) -> Channel:
    """The channel of an item. Raises as ``deepmimo.read``, and ValueError for lines of sight that contradict it."""
    made = deepmimo.read(plan.folder, *item.pair)
    if plan.check_line_of_sight:
        check_line_of_sight(made)
    return made


def about(plan: ImportPlan) -> dict[str, Any]:
    """What the dataset's card says, but for what is in it. Raises as ``deepmimo.made_with``."""
    name = Path(plan.folder).name
    return {
        "name": f"deepmimo-{name}",
        "sources": (f"DeepMIMO folder {name}",),
        "attribution": plan.attribution or f"DeepMIMO folder {name}, made with {deepmimo.made_with(plan.folder)}",
        "num_paths": plan.num_paths,
    }
