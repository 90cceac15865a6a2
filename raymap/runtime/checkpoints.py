"""Checkpoints of a training in this process, as Ray Train keeps them for one on a cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from raymap.storage import write_text

METRICS_FILE = "metrics.json"


class LocalCheckpoints:
    """Folders ``step_00000123`` under one folder, each whole or absent: the last one, and the one of least loss."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, metrics: Mapping[str, float], written: Path) -> None:
        """Copy a checkpoint in and forget those that are neither the last nor the best."""
        name = f"step_{int(metrics['step']):08d}"
        partial = self.folder / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(written, partial)
        write_text(partial / METRICS_FILE, json.dumps(dict(metrics)) + "\n")
        shutil.rmtree(self.folder / name, ignore_errors=True)
        partial.rename(self.folder / name)
        for old in set(self._all()) - {self.last(), self.best()}:
            shutil.rmtree(old)

    def last(self) -> Path | None:
        """The checkpoint of the most steps, None without any."""
        return max(self._all(), default=None)

    def best(self) -> Path | None:
        """The checkpoint of least validation loss, the later of equals; the last one if nothing was validated."""

        def loss(folder: Path) -> float:
            return json.loads((folder / METRICS_FILE).read_text()).get("val_loss", float("inf"))

        return min(reversed(self._all()), key=loss, default=None)

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("step_*"))
