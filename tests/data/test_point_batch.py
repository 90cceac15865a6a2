import numpy as np
import pytest

from raymap.data import point_batch
from raymap.data.path_table import PathTable


def table(num, seed=0):
    """``num`` receivers at random places, one path each whose power tells which receiver it is."""
    rng = np.random.default_rng(seed)
    values = np.stack([-np.arange(num), np.full(num, 1e-7), np.ones(num), np.zeros(num)], axis=-1)[:, None]
    receivers_m = rng.uniform(0, 100, (num, 3))
    like = PathTable(receivers_m[:1], np.zeros(3), 1e9, *values[:1].T, kind=np.zeros((1, 1)), valid=np.ones((1, 1)))
    return PathTable.from_values(like, receivers_m, values)


def test_neighbours_are_the_nearest_in_order_and_none_its_own():
    places_m = np.array([[0.0, 0, 0], [1, 0, 0], [3, 0, 0], [7, 0, 0]])
    assert point_batch.nearest(places_m, np.array([[0.9, 0, 0]]), 3).tolist() == [[1, 0, 2]]
    assert point_batch.nearest(places_m, places_m, 2, others=True).tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]


def test_where_there_are_fewer_the_furthest_is_repeated():
    places_m = np.array([[0.0, 0, 0], [1, 0, 0]])
    assert point_batch.nearest(places_m, places_m[:1], 4).tolist() == [[0, 1, 1, 1]]
    assert point_batch.nearest(places_m, places_m, 3, others=True).tolist() == [[1, 1, 1], [0, 0, 0]]
    with pytest.raises(ValueError, match="no neighbour among 1 measured"):
        point_batch.nearest(places_m[:1], places_m[:1], 1, others=True)


def test_receivers_that_share_a_place_are_not_their_own_neighbours():
    places_m = np.zeros((5, 3))
    rows = point_batch.nearest(places_m, places_m, 3, others=True)
    assert rows.shape == (5, 3) and not (rows == np.arange(5)[:, None]).any()


@pytest.mark.parametrize("batch_size", [10, 100])
def test_every_receiver_is_asked_for_once_and_seen_where_it_is_not(batch_size):
    given = table(40)
    found = [(given.take(seen), given.take(asked)) for seen, asked in point_batch.cuts(given, batch_size, hidden=0.2)]
    size = min(batch_size, 40)
    for seen, asked in found:
        assert len(asked) == 0.2 * size and len(seen) == 0.8 * size
        assert not set(seen.power_db.ravel()) & set(asked.power_db.ravel())
    assert sorted(power for _seen, asked in found for power in asked.power_db.ravel()) == sorted(given.power_db.ravel())


def test_a_batch_is_of_one_neighbourhood():
    given = table(400)
    for seen, asked in point_batch.cuts(given, 25, hidden=0.2):
        places_m = given.receivers_m[np.concatenate([seen, asked]), :2]
        # Twenty-five of four hundred places are a sixteenth of the square that all of them fill.
        assert np.ptp(places_m, axis=0).max() < 0.4 * np.ptp(given.receivers_m[:, :2], axis=0).max()


def test_too_few_on_either_side_are_refused():
    with pytest.raises(ValueError, match="9 receivers with a share of 0.2 hidden are too few"):
        point_batch.cuts(table(9), 10, hidden=0.2)
