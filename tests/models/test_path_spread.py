import numpy as np
import pytest

from raymap.data.path_table import PathTable
from raymap.models.next_places import next_places
from raymap.models.path_spread import mixed_square, spread


class Told:
    """A method that tells the truth of the field of :func:`measured`, but for an error on the right half."""

    def __init__(self, wrong_db):
        self.wrong_db = wrong_db

    def complete(self, measured, receivers_m):
        values = field(receivers_m)
        sign = np.where(np.arange(len(receivers_m)) % 2, 1.0, -1.0)
        values[:, 0, 0] += np.where(receivers_m[:, 0] > 50, self.wrong_db * sign, 0.0)
        return PathTable.from_values(measured, receivers_m, values)


def field(receivers_m):
    ones = np.ones(len(receivers_m))
    return np.stack([-80 * ones, 1e-7 * ones, 1.2 * ones, 0.3 * ones], axis=-1)[:, None]


def measured(num=200):
    places_m = np.pad(np.random.default_rng(0).uniform(0, 100, (num, 2)), [(0, 0), (0, 1)])
    one = PathTable(places_m[:1], np.zeros(3), 1e9, *field(places_m[:1])[0].T[:, None, :], kind=[[0]], valid=[[True]])
    return PathTable.from_values(one, places_m, field(places_m))


PLACES_M = np.array([[20.0, 50.0, 0.0], [80.0, 50.0, 0.0]])


def test_a_method_without_error_is_expected_to_make_none():
    assert np.abs(spread(Told(0.0), measured(), PLACES_M)).max() < 1e-6


def test_errors_are_expected_where_they_are_made():
    found = spread(Told(4.0), measured(), PLACES_M)
    assert found.shape == (2, 1, 4) and found[0, 0, 0] < 0.2 * found[1, 0, 0]
    assert found[1, 0, 0] == pytest.approx(4.0, rel=0.3) and np.abs(found[:, 0, 1:]).max() < 1e-6
    assert mixed_square(found)[0] < 0.1 * mixed_square(found)[1]


def test_the_next_places_are_new_and_where_errors_are():
    rng = np.random.default_rng(1)
    candidates_m = np.pad(rng.uniform(0, 100, (400, 2)), [(0, 0), (0, 1)])
    expected = np.where(candidates_m[:, 0] > 70, 10.0, 0.1)
    known_m = candidates_m[:20]
    chosen = next_places(expected, known_m, candidates_m, 8)
    assert len(set(chosen.tolist())) == 8 and not set(chosen.tolist()) & set(range(20))
    assert (candidates_m[chosen, 0] > 70).mean() > 0.8
