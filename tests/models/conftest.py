"""A handful of generated towns for the models: 32 x 32 cells of 8 m, no Ray, no files."""

import pytest
import torch

from raymap.config import MeasurementsConfig, OutlineConfig
from raymap.data import schema, sites
from raymap.data.batch import MapBatch, batches
from raymap.data.columns import add_physics
from raymap.data.generated import city
from raymap.data.measurements import measure
from raymap.data.reader import LoadedMaps, true_outline
from raymap.propagation import dominant_path
from raymap.scene import Grid


@pytest.fixture(scope="session")
def maps() -> LoadedMaps:
    """Four towns with two transmitters each, partly measured, and all columns of a split; DM1's outlines are the true
    ones."""
    rows = []
    for seed in range(4):
        scene = city(seed, Grid((32, 32), 8.0))
        for index, transmitter in enumerate(sites.place(scene, 2, seed)):
            rows.append(schema.row(scene, index, transmitter, dominant_path.solve(scene, transmitter)))
    columns = add_physics(schema.to_columns(schema.to_table(rows)))
    columns["outline"] = true_outline(columns, 8.0, OutlineConfig())
    columns["outline_predicted"] = columns["outline"].copy()
    return LoadedMaps(measure(columns, MeasurementsConfig(rates=(0.05, 0.1)), seed=0))


@pytest.fixture(scope="session")
def batch(maps) -> MapBatch:
    """Four of the maps, of two towns."""
    return next(iter(batches(maps, 4)))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Sums are made in the same order every time, also in fixtures."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_seed():
    """Trainings of these tests are the same every time."""
    torch.manual_seed(0)
