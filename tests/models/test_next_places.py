"""Where to measure next: where errors are, everywhere in its turn, nowhere twice; and it is worth it."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from raymap.models import next_places as module
from raymap.models.next_places import next_places

MEASURED_M = np.array([[5.0, 5, 1], [45.0, 40, 1], [20.0, 30, 1]])


def grid(num=50):
    x_m, y_m = (part.ravel() for part in np.meshgrid(np.arange(num) * 1.0, np.arange(num) * 1.0))
    return np.stack([x_m, y_m, np.ones(num**2)], axis=1)


def radius_m(measured_m, candidates_m):
    """How far the farthest candidate is from what is measured."""
    return cKDTree(measured_m).query(candidates_m)[0].max()


@pytest.mark.parametrize("most_pairs", [module._MOST_PAIRS, 20_000])
def test_no_place_comes_twice_and_none_that_was_measured(monkeypatch, most_pairs):
    monkeypatch.setattr(module, "_MOST_PAIRS", most_pairs)
    candidates_m = np.concatenate([grid(15), grid(15) + 2e-4, MEASURED_M + 3e-4])
    rows = next_places(np.random.default_rng(0).gamma(0.5, 1, len(candidates_m)), MEASURED_M, candidates_m, 200)
    chosen_m = candidates_m[rows]
    assert len(rows) == 200 and cKDTree(MEASURED_M).query(chosen_m)[0].min() > 0.9
    assert cKDTree(chosen_m).query(chosen_m, k=2)[0][:, 1].min() > 0.9


def test_all_that_is_left_can_be_chosen():
    rows = next_places(np.ones(225), MEASURED_M, grid(15), 224)
    assert sorted([*rows, 5 * 15 + 5]) == list(range(225))


def test_where_errors_are_high_is_measured_first():
    candidates_m = grid()
    high = np.linalg.norm(candidates_m - [40, 10, 1], axis=1) < 6
    rows = next_places(np.where(high, 500.0, 1.0), MEASURED_M, candidates_m, 12)
    assert high[rows[0]] and high[rows].mean() > 8 * high.mean() and not high[rows].all()


@pytest.mark.parametrize("error", [0.0, 1.0, 7e9])
def test_where_errors_are_the_same_space_is_covered(error):
    candidates_m = grid()
    chosen_m = candidates_m[next_places(np.full(2500, error), MEASURED_M, candidates_m, 40)]
    drawn = [np.random.default_rng(seed).choice(2500, 40, replace=False) for seed in range(20)]
    by_chance = [radius_m(np.concatenate([MEASURED_M, candidates_m[rows]]), candidates_m) for rows in drawn]
    assert radius_m(np.concatenate([MEASURED_M, chosen_m]), candidates_m) < min(by_chance)


def test_the_first_place_takes_most_of_all_and_lazy_is_no_less_greedy():
    rng = np.random.default_rng(2)
    candidates_m, error = rng.uniform(0, 30, (80, 3)), rng.gamma(0.5, 1, 80)
    away_m = cKDTree(MEASURED_M).query(candidates_m)[0]
    weight = error + error.mean() * away_m / away_m.mean()
    share = np.linalg.norm(candidates_m[:, None] - candidates_m, axis=-1) / away_m  # (place, candidate)
    left, wanted = np.ones(80), []
    for _ in range(10):
        wanted.append(int(np.argmax((weight * np.maximum(left - share, 0)).sum(1))))
        left = np.minimum(left, share[wanted[-1]])
    assert next_places(error, MEASURED_M, candidates_m, 10).tolist() == wanted


def test_thinned_candidates_are_about_as_good(monkeypatch):
    candidates_m, error = grid(), np.random.default_rng(0).gamma(0.5, 1, 2500)
    whole = next_places(error, MEASURED_M, candidates_m, 30)
    monkeypatch.setattr(module, "_MOST_PAIRS", 100_000)
    some = next_places(error, MEASURED_M, candidates_m, 30)
    left = [
        (error * cKDTree(np.concatenate([MEASURED_M, candidates_m[rows]])).query(candidates_m)[0]).sum()
        for rows in (whole, some)
    ]
    assert set(some) != set(whole) and left[1] < 1.1 * left[0]


def test_measuring_there_beats_measuring_anywhere():
    """Nearest-neighbour prediction of a field that changes in one corner: the squared error that is left."""
    candidates_m = grid()
    steep = np.linalg.norm(candidates_m[:, :2] - [38, 12], axis=1) < 12
    field = np.sin(candidates_m[:, 0] / 2) * np.cos(candidates_m[:, 1] / 2) * np.where(steep, 5.0, 0.5)
    rng = np.random.default_rng(0)

    def left(rows):
        return np.mean((field[rows][cKDTree(candidates_m[rows]).query(candidates_m)[1]] - field) ** 2)

    ratio = []
    for _ in range(5):
        order = rng.permutation(2500)
        first = order[:100]
        expected = np.where(steep, 12.5, 0.125)
        chosen = next_places(expected, candidates_m[first], candidates_m, 50)
        ratio.append(left(np.concatenate([first, chosen])) / left(order[:150]))
    assert max(ratio) < 0.75


@pytest.mark.parametrize(
    ("expected", "measured_m", "candidates_m", "num", "told"),
    [
        (np.ones(3), MEASURED_M, np.ones((4, 3)), 1, r"\(4, 3\), \(3,\)"),
        (np.ones(4), MEASURED_M[:0], np.ones((4, 3)), 1, r"at least one receiver, got \(0, 3\)"),
        (np.array([1.0, -2]), MEASURED_M, grid(2)[:2], 1, "finite, got -2"),
        (np.array([1.0, np.nan]), MEASURED_M, grid(2)[:2], 1, "finite, got nan"),
        (np.ones(4), MEASURED_M, grid(2), 5, "num must lie in 1 to 4, .*got 5"),
        (np.ones(4), grid(2), grid(2), 1, "num must lie in 1 to 0"),
        (np.ones(4), MEASURED_M, grid(2), 0, "got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(expected, measured_m, candidates_m, num, told):
    with pytest.raises(ValueError, match=told):
        next_places(expected, measured_m, candidates_m, num)
