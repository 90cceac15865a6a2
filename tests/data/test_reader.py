"""Reading a split with the dominant-path map as an input: of maps that hold more, never where it is the truth."""

import numpy as np
import pytest

from raymap.data import generated, schema, shards, sites
from raymap.data.batch import MapBatch, MultipathBatch, batches
from raymap.data.reader import ShardReader
from raymap.propagation import dominant_path
from raymap.scene import Grid, RadioMap

SHAPE, CELL_M = (16, 20), 8.0


@pytest.fixture(scope="module")
def rows():
    made = []
    for seed in range(3):
        scene = generated.city(seed, Grid(SHAPE, CELL_M))
        gain_db = np.random.default_rng(seed).uniform(-140, -50, SHAPE)
        for tx_id, transmitter in enumerate(sites.place(scene, 2, seed)):
            made.append(schema.row(scene, tx_id, transmitter, RadioMap(gain_db, scene.outdoor)))
    return made


@pytest.fixture(params=["srm", "drm", "mrm", "measured"])
def dataset(request, rows, tmp_path):
    shards.write(
        {"train": rows}, tmp_path, name="towns", kind=request.param, shape=SHAPE, cell_m=CELL_M, sources=("towns",),
        attribution="", rows_per_shard=2,
    )  # fmt: skip
    return tmp_path, request.param


def test_the_dominant_path_map_is_read_where_it_is_not_the_truth(dataset, rows):
    folder, kind = dataset
    plain = next(iter(batches(ShardReader(folder, "train").load(), 6)))
    assert type(plain) is MapBatch
    if kind in ("srm", "drm"):
        with pytest.raises(ValueError, match=f"'towns' is of kind '{kind}'.*multipath and measured maps only"):
            ShardReader(folder, "train", dominant_path=True)
        return
    maps = ShardReader(folder, "train", dominant_path=True).load()
    assert type(next(iter(batches(maps, 6)))) is MultipathBatch
    for row, found in zip(rows, maps.columns["dominant_path_db"], strict=True):
        scene, transmitter, _ = schema.nouns(row)
        np.testing.assert_array_equal(found, dominant_path.solve(scene, transmitter).gain_db)


def test_the_stream_and_the_drawing_of_outlines_refuse_it_before_anything_starts(dataset):
    folder, kind = dataset
    if kind not in schema.DOMINANT_PATH_KINDS:
        assert schema.require_multipath("towns", kind) is None
        return
    with pytest.raises(ValueError, match=f"of kind '{kind}'"):
        shards.stream(folder, "train", dominant_path=True)
    with pytest.raises(ValueError, match=f"of kind '{kind}'"):
        shards.write_outlines(folder, ["train"], object, folder / "out", made_by="dm1", dominant_path=True)
    assert not (folder / "out").exists()
