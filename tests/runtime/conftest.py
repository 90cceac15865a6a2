"""Small towns as rows of a dataset, and datasets of them."""

import pytest

from raymap.data import generated, schema, shards, sites
from raymap.propagation import dominant_path
from raymap.scene import Grid

GRID = Grid((32, 32), 8.0)


@pytest.fixture(scope="session")
def town():
    """A function: rows of the town of a seed with so many transmitters."""

    def rows(seed, num_transmitters=1):
        scene = generated.city(seed, GRID)
        for tx_id, place in enumerate(sites.place(scene, num_transmitters, seed)):
            yield schema.row(scene, tx_id, place, dominant_path.solve(scene, place))

    return rows


@pytest.fixture(scope="session")
def write_towns():
    """A function: writes a dataset, each of its splits from rows; its folder."""

    def write(folder, kind="srm", rows_per_shard=4, **splits):
        shards.write(splits, folder, name="towns", kind=kind, shape=GRID.shape, cell_m=GRID.cell_m, sources=("towns",),
                     attribution="", rows_per_shard=rows_per_shard)  # fmt: skip
        return str(folder)

    return write
