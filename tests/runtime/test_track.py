"""MLflow's door to a model: columns in, gains out, with every input that the model reads."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import raymap
from raymap.data import generated, sites
from raymap.data.batch import MultipathBatch, from_scenes
from raymap.data.columns import scene_columns
from raymap.models.cell_law import CellLaw
from raymap.runtime import track
from raymap.runtime.registry import _ColumnPredictor
from raymap.scene import Grid


def test_make_mlflow_opens_the_store_that_make_demo_writes():
    home = Path(__file__).parents[2]
    (storage,) = re.findall(r'storage: str = "(.*)"', (home / "jobs/demo.py").read_text())
    commands = subprocess.run(["make", "--dry-run", "mlflow"], cwd=home, capture_output=True, text=True).stdout
    assert f"--backend-store-uri {track.default_uri(str(home / storage))}\n" in commands


@pytest.mark.parametrize("inputs", [("log_distance",), ("log_distance", "dominant_path")])
def test_columns_give_the_maps_that_scenes_give(inputs):
    scene = generated.city(5, Grid((32, 32), 8.0))
    places = sites.place(scene, 2, 0)
    batch = from_scenes([scene] * 2, places, dominant_path="dominant_path" in inputs)
    assert isinstance(batch, MultipathBatch) == (len(inputs) == 2)
    law = CellLaw(CellLaw.Config(inputs=inputs)).eval()
    found = _ColumnPredictor(law).predict(scene_columns([scene] * 2, places), {"seed": 3})
    for gain_db, wanted in zip(found, raymap.predict(law, scene, places), strict=True):
        np.testing.assert_allclose(gain_db, wanted.gain_db, atol=1e-4)
    assert found.std() > 0
