"""What methods of paths are trained on: one table, or several in turn, and what they are validated on."""

import numpy as np
import pytest

from raymap.config import OptimConfig, PointsConfig, PointsScene, Run
from raymap.data import path_file
from raymap.data.path_table import PathTable
from raymap.models.virtual_sources import VirtualSources
from raymap.runtime.feeds import PointFeed


def table(number, num=40):
    """Receivers in a row; the frequency tells which scene it is."""
    values = np.stack([-np.arange(num), np.full(num, 1e-7), np.ones(num), np.zeros(num)], axis=-1)[:, None]
    places_m = np.stack([np.arange(num), np.zeros(num), np.ones(num)], axis=1)
    return PathTable.from_values(PathTable.empty((0, 0, 9), 1e9 * (number + 1), 1), places_m, values)


@pytest.fixture
def feed(tmp_path):
    def make(num_scenes, num_unseen=0, rank=0, world=1, **data):
        scenes = []
        for number in range(num_scenes + num_unseen):
            path_file.write(tmp_path / f"{number}.parquet", table(number))
            scenes.append(PointsScene(file=str(tmp_path / f"{number}.parquet")))
        points = PointsConfig(
            scenes=tuple(scenes[:num_scenes]), unseen=tuple(scenes[num_scenes:]), hidden=0.5,
            **{"batch_size": 20, **data},
        )  # fmt: skip
        run = Run(name="x", storage=str(tmp_path), model=VirtualSources.Config(), data=points, optim=OptimConfig())
        return PointFeed(run, rank, world)

    return make


def asked(batches):
    return sorted((batch.asked.frequency_hz, power) for batch in batches for power in batch.asked.power_db.ravel())


def test_every_receiver_of_every_scene_is_asked_for_once_in_an_epoch(feed):
    points = feed(3, num_unseen=1)
    whole = sorted(
        (table(number).frequency_hz, power) for number in range(3) for power in table(number).power_db.ravel()
    )
    assert asked(points.epoch(0)) == whole
    scenes = [batch.asked.frequency_hz for batch in points.epoch(0)]
    assert scenes != sorted(scenes), "scenes come in turn"
    assert all(batch.measured.frequency_hz == batch.asked.frequency_hz for batch in points.epoch(0))


def test_another_pass_has_the_same_batches_in_another_order(feed):
    points = feed(2)
    one, again, other = ([tuple(batch.asked.power_db.ravel()) for batch in points.epoch(seed)] for seed in (1, 1, 2))
    assert one == again != other and sorted(one) == sorted(other)


def test_workers_have_orders_of_their_own_and_share_the_batch_size(feed):
    first, second = feed(2, world=2), feed(2, rank=1, world=2)
    assert all(len(batch.asked) + len(batch.measured) <= 10 for batch in first.epoch(0))
    places = [[tuple(batch.asked.power_db.ravel()) for batch in points.epoch(0)] for points in (first, second)]
    assert places[0] != places[1]


def test_unseen_scenes_are_asked_for_whole_with_nothing_measured(feed):
    points = feed(2, num_unseen=2)
    found = list(points.validation())
    assert [len(batch.asked) for batch in found] == [40, 40] and not any(len(batch.measured) for batch in found)
    assert [batch.asked.frequency_hz for batch in found] == [3e9, 4e9]


def test_without_unseen_scenes_receivers_are_kept_of_every_scene(feed):
    points = feed(2, val_share=0.25)
    assert [(len(batch.measured), len(batch.asked)) for batch in points.validation()] == [(30, 10), (30, 10)]
    kept = set(asked(points.validation()))
    assert not kept & set(asked(points.epoch(0)))
    assert not list(feed(1, val_share=0.0).validation())
