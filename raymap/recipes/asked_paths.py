"""What commands that complete paths are asked: what is measured, where paths are wanted, by which method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from raymap import api
from raymap.config import Settings
from raymap.data import mesh_file, path_file, path_sources
from raymap.data.path_columns import Columns
from raymap.data.path_table import PathTable
from raymap.models import base
from raymap.models.path_predictor import PathPredictor
from raymap.recipes.pinn_gnn import path_method, path_title
from raymap.runtime import path_maps


class AskedPaths(Settings):
    """What is measured, a grid if that is where paths are asked for, and a method or a trained model."""

    measured: Path | None = Field(
        None, description="measured paths: .csv or .parquet file, dataset of channels, traced paths, DeepMIMO folder"
    )
    columns: Columns | None = Field(None, description="of .csv and .parquet files: names of columns and their units")
    surroundings: Path | None = Field(
        None, description=f"surfaces around, in the frame of the positions: {', '.join(mesh_file.ENDINGS)}"
    )
    transmitter_m: tuple[float, float, float] | None = Field(
        None, description="where nothing is measured: x, y, z of the transmitter [m], beside --surroundings"
    )
    frequency_hz: float | None = Field(None, gt=0, description="and its frequency [Hz]")
    transmitter: str | None = Field(None, description="which of a source of several transmitters")
    num_paths: int | None = Field(None, ge=1, description="paths at a receiver; default: the model's, or else 5")
    grid_m: float | None = Field(None, gt=0, description="places on a grid over what is measured, its spacing [m]")
    height_m: float | None = Field(None, description="z of that grid [m]; default: the median of what is measured")
    model: str | None = Field(None, description="trained model: a folder, or a name in MLflow")
    method: str | None = Field(None, description="instead, a method that needs no training")

    def missing(self, option: str, places: Path | None) -> str | None:
        """What the command line lacks or says twice, None if nothing; ``option`` is the one that ``places`` are of."""
        new = {name: getattr(self, name) for name in ("transmitter_m", "frequency_hz")}
        if self.measured is None and (None in new.values() or self.surroundings is None):
            return (
                "--measured FILE or FOLDER is needed, or, for a model that needs nothing measured, --transmitter_m, "
                "--frequency_hz and --surroundings"
            )
        if self.measured is not None and set(new.values()) != {None}:
            return "--transmitter_m and --frequency_hz are for where nothing is measured; --measured tells its own"
        if (places is None) == (self.grid_m is None):
            return f"give --{option} FILE or FOLDER, or --grid_m SPACING: one of them"
        if (self.model is None) == (self.method is None):
            return "give --model FOLDER, or --method NAME: one of them"
        if self.height_m is not None and self.grid_m is None:
            return f"--height_m is that of the grid of --grid_m; --{option} have heights of their own"
        return None

    def built(self) -> tuple[str, PathPredictor]:
        """What pages call the method, and the method.

        Raises ValueError for a model that tells no paths and a method that must learn, or that is unknown.
        """
        if self.model is not None:
            name, model = f"the model {self.model}", api.load(self.model)
            if not isinstance(model, PathPredictor):
                raise ValueError(f"{self.model} is a model of kind {model.config.kind!r}, which tells no paths")
            return name, model
        name, config = path_title(self.method), path_method(self.method).model
        model = base.build(config).eval()
        if model.parts():
            raise ValueError(
                f"{self.method!r} learns: train it by jobs/train_pinn_gnn.py and give its folder as --model"
            )
        return name, model

    def read(self, model: PathPredictor, places: Path | None) -> tuple[PathTable, np.ndarray]:
        """What is measured, and where paths are wanted, (N, 3) [m]: at ``places``, or else on the grid.

        Raises ValueError for a transmitter that is not there, and as ``path_maps.grid_over`` and ``path_sources.read``.
        """
        num_paths = self.num_paths or getattr(model.config, "num_paths", 5)
        if self.measured is None:
            around = mesh_file.read(self.surroundings, self.frequency_hz)
            measured = PathTable.empty(self.transmitter_m, self.frequency_hz, num_paths).within(around)
        else:
            tables = path_sources.read(self.measured, num_paths, self.columns, surroundings=self.surroundings)
            measured = self._table(tables, self.measured)
        if self.grid_m is not None:
            return measured, path_maps.grid_over(measured, self.grid_m, self.height_m)
        if places.is_file():
            return measured, path_file.positions(places, self.columns)
        return measured, self._table(path_sources.read(places, 1), places).receivers_m

    def _table(self, tables: dict[str, PathTable], source: Path) -> PathTable:
        """The one table of a source, or that of ``--transmitter``."""
        if self.transmitter is None and len(tables) == 1:
            return next(iter(tables.values()))
        if self.transmitter not in tables:
            asked = "" if self.transmitter is None else f", got {self.transmitter!r}"
            raise ValueError(f"{source}: --transmitter takes one of {', '.join([*tables][:20])} ({len(tables)}){asked}")
        return tables[self.transmitter]
