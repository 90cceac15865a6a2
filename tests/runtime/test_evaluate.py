"""Scores of a model that reads the dominant-path map: only of maps that are more than that."""

import pytest

from raymap.data import generated, schema, shards, sites
from raymap.models import base
from raymap.models.cell_law import CellLaw
from raymap.propagation import dominant_path
from raymap.runtime.evaluate import score
from raymap.scene import Grid

GRID = Grid((32, 32), 8.0)


@pytest.mark.parametrize("kind", schema.DOMINANT_PATH_KINDS)
def test_a_model_that_reads_the_truth_is_refused_before_anything_is_scored(kind, tmp_path):
    scene = generated.city(0, GRID)
    place = sites.place(scene, 1, 0)[0]
    shards.write({"test": [schema.row(scene, 0, place, dominant_path.solve(scene, place))]}, tmp_path / "data",
                 name="towns", kind=kind, shape=GRID.shape, cell_m=8.0, sources=("towns",), attribution="")  # fmt: skip
    base.save(CellLaw(CellLaw.Config(inputs=("log_distance", "dominant_path"))), tmp_path / "law")
    with pytest.raises(ValueError, match=f"'towns' is of kind '{kind}', whose true maps are dominant-path maps"):
        score({"law": tmp_path / "law"}, str(tmp_path / "data"), "test", tmp_path / "report")
    assert not list((tmp_path / "report").iterdir())
