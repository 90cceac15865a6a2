"""Error bars: hand-worked cases, Gaussian ensembles whose honesty is known, and what a fit must bring about."""

import math

import numpy as np
import pytest
from scipy import stats

from raymap.evaluation import uncertainty
from raymap.evaluation.uncertainty import Bars, compare, coverage, half_width

SHAPE = (4, 40, 50)
EVERYWHERE = np.ones(SHAPE, bool)


def gaussian(num, overconfident=1.0, seed=0):
    """Members (K, B, H, W) of a Gaussian per cell whose sizes differ a lot, the truth of the same, and its size."""
    rng = np.random.default_rng(seed)
    mean, size = rng.normal(-90, 10, SHAPE), rng.lognormal(0, 0.7, SHAPE)
    draw = mean + size * rng.standard_normal((num + 1, *SHAPE))
    return mean + (draw[:-1] - mean) / overconfident, draw[-1], size


def bars_of(members, true, num=None):
    num = len(members) if num is None else num
    return compare(members.mean(axis=0), members.std(axis=0, ddof=1), true, EVERYWHERE, num)


def hand_bars(errors, spreads, num=math.inf):
    errors, spreads = (np.array(values, float).reshape(1, 1, -1) for values in (errors, spreads))
    return Bars(errors, spreads, np.ones(errors.shape, bool), num)


@pytest.mark.parametrize("level", [0.5, 0.9])
@pytest.mark.parametrize("num", [2, 4, 8])
def test_members_of_a_gaussian_hold_what_they_promise_however_few(num, level):
    members, true, _size = gaussian(num)
    assert coverage(bars_of(members, true), level).mean() == pytest.approx(level, abs=0.015)


def test_the_usual_width_of_four_members_does_not():
    members, true, _size = gaussian(4)
    assert coverage(bars_of(members, true, math.inf)).mean() == pytest.approx(0.76, abs=0.015)


def test_half_width_by_hand():
    assert half_width(hand_bars([0], [2.0])).item() == pytest.approx(2 * 1.6448536)
    four = half_width(hand_bars([0], [2.0], 4)).item()  # t(3) at 95 % is 2.3534, √(1 + 1/4) is 1.1180
    assert four == pytest.approx(2 * 2.353363 * 1.118034)


def test_coverage_and_interval_score_by_hand():
    bars = hand_bars([0.0, 1.6, -1.7, 3.0], [1.0, 1.0, 1.0, 2.0])
    assert coverage(bars) == pytest.approx([0.75])
    z = stats.norm.ppf(0.95)
    assert uncertainty.interval_score(bars) == pytest.approx([2 * z * 5 / 4 + 20 * (1.7 - z) / 4])


def test_only_outdoor_cells_count_and_maps_without_any_are_nan():
    bars = hand_bars([0.0, 100.0], [1.0, 1.0])
    outdoor = np.array([[[True, False]], [[False, False]]])
    two = Bars(np.tile(bars.error, (2, 1, 1)), np.tile(bars.spread, (2, 1, 1)), outdoor)
    assert coverage(two) == pytest.approx([1.0, math.nan], nan_ok=True)
    assert uncertainty.interval_score(two)[0] == pytest.approx(2 * stats.norm.ppf(0.95))


def test_one_factor_mends_bars_that_are_all_too_short_on_other_maps():
    members, true, _size = gaussian(4, overconfident=3.0)
    known = bars_of(members, true)
    assert coverage(known).mean() < 0.65
    factor = uncertainty.fit_factor(known)
    assert factor == pytest.approx(3.0, rel=0.2)
    fresh = bars_of(*gaussian(4, overconfident=3.0, seed=1)[:2])
    assert coverage(fresh._replace(spread=factor * fresh.spread)).mean() == pytest.approx(0.9, abs=0.015)


def test_the_factor_is_the_quantile_of_the_scaled_error():
    bars = hand_bars(np.arange(1, 11), np.ones(10))
    assert uncertainty.fit_factor(bars, 0.5) == pytest.approx(6 / stats.norm.ppf(0.75))
    assert coverage(bars._replace(spread=bars.spread * uncertainty.fit_factor(bars)))[0] >= 0.9


def test_a_factor_knows_what_it_cannot_mend():
    assert uncertainty.fit_factor(hand_bars([0.0] * 5 + [1.0] * 5, [0.0] * 5 + [1.0] * 5)) > 0
    with pytest.raises(ValueError, match="more than 10% of the cells have an error but no spread"):
        uncertainty.fit_factor(hand_bars([1.0] * 10, [0.0] * 2 + [1.0] * 8))
    with pytest.raises(ValueError, match="no outdoor cell"):
        uncertainty.fit_factor(hand_bars([1.0], [1.0])._replace(outdoor=np.zeros((1, 1, 1), bool)))


def test_the_law_finds_the_amounts_that_made_the_errors():
    """Sizes 0.5·s + 2 in one group and 0.5·s + 0.5 in the other."""
    rng = np.random.default_rng(2)
    spread, group = rng.uniform(0, 10, SHAPE), rng.random(SHAPE) < 0.4
    size = 0.5 * spread + np.where(group, 2.0, 0.5)
    bars = Bars(size * rng.standard_normal(SHAPE), spread, EVERYWHERE)
    factor, (first, second) = uncertainty.fit_law(bars, [group, ~group])
    assert (factor, first, second) == pytest.approx((0.5, 2.0, 0.5), abs=0.2)
    mended = bars._replace(spread=factor * spread + np.where(group, first, second))
    assert coverage(mended).mean() == pytest.approx(0.9, abs=0.02)
    scaled = bars._replace(spread=uncertainty.fit_factor(bars) * spread)
    assert uncertainty.interval_score(mended).mean() < uncertainty.interval_score(scaled).mean()


def test_a_spread_that_knows_where_the_errors_are_scores_best():
    members, true, size = gaussian(16)
    found = bars_of(members, true)
    rng = np.random.default_rng(3)
    spreads = {
        "known": size,
        "constant": np.full(SHAPE, np.sqrt((size**2).mean())),
        "shuffled": rng.permutation(size.ravel()).reshape(SHAPE),
    }
    scores = {}
    for name, spread in spreads.items():
        bars = found._replace(spread=spread, num=math.inf)
        bars = bars._replace(spread=uncertainty.fit_factor(bars) * spread)
        assert coverage(bars).mean() == pytest.approx(0.9, abs=0.01)
        scores[name] = (
            uncertainty.interval_score(bars).mean(),
            uncertainty.gaussian_crps(bars.error, bars.spread).mean(),
        )
    assert scores["known"] < scores["constant"] < scores["shuffled"]
    assert scores["known"][1] < min(scores["constant"][1], scores["shuffled"][1])


def test_reliability_of_honest_bars_is_the_diagonal_and_of_short_ones_below():
    members, true, _size = gaussian(8)
    found = uncertainty.reliability(bars_of(members, true), list("aabb"))
    assert [point["mean"] for point in found] == pytest.approx([point["level"] for point in found], abs=0.02)
    assert all(point["low"] <= point["mean"] <= point["high"] and point["num"] == 4 for point in found)
    short = uncertainty.reliability(bars_of(*gaussian(8, overconfident=2.0)[:2]), list("aabb"))
    assert all(point["mean"] < 0.85 * point["level"] for point in short if point["level"] < 0.9)


def test_fair_crps_by_hand():
    # mean |x - 1| = (1 + 2) / 2, |0 - 3| over 2·2·1 pairs twice: 6 / 4
    assert uncertainty.ensemble_crps(np.array([[0.0], [3.0]]), np.array([1.0])) == pytest.approx([1.5 - 1.5])
    # three members 0, 1, 5 and truth 2: mean |x - y| = 2; Σ_i Σ_j = 2·(1 + 5 + 4) = 20, over 2·3·2
    assert uncertainty.ensemble_crps(np.array([5.0, 0.0, 1.0]), np.array(2.0)) == pytest.approx(2 - 20 / 12)
    assert uncertainty.ensemble_crps(np.full((4, 1), 3.0), np.array([1.0])) == pytest.approx([2.0])
    with pytest.raises(ValueError, match="at least two members"):
        uncertainty.ensemble_crps(np.zeros((1, 3)), np.zeros(3))


@pytest.mark.parametrize("num", [2, 5])
def test_fair_crps_of_few_members_is_that_of_the_gaussian(num):
    members, true, size = gaussian(num, seed=4)
    exact = 2 * size / math.sqrt(math.pi) - size / math.sqrt(math.pi)  # E|X - Y| - E|X - X'| / 2 of one Gaussian
    assert uncertainty.ensemble_crps(members, true).mean() == pytest.approx(exact.mean(), rel=0.04)


def test_gaussian_crps_by_integration_and_in_its_limits():
    grid = np.linspace(-60, 60, 240_001)
    for error, spread in ((0.0, 1.0), (1.3, 0.5), (-4.0, 2.0)):
        squared = (stats.norm.cdf(grid, 0, spread) - (grid >= error)) ** 2
        wanted = squared.sum() * (grid[1] - grid[0])
        assert uncertainty.gaussian_crps(error, spread) == pytest.approx(wanted, abs=1e-3)
    assert uncertainty.gaussian_crps([3.0, -3.0], [0.0, 1e-9]) == pytest.approx([3.0, 3.0])


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(5)
    first, second = rng.integers(0, 9, 200), rng.integers(0, 9, 200) + 0.5
    assert uncertainty.rank_correlation(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    assert uncertainty.rank_correlation([1, 2, 30], [5, 6, 7]) == pytest.approx(1)
    assert math.isnan(uncertainty.rank_correlation([1, 1, 1], [1, 2, 3]))
    assert math.isnan(uncertainty.rank_correlation([1, 2], [1, 2]))


def test_errors_correlate_with_an_exact_spread_as_much_as_honest_ones_do():
    members, true, size = gaussian(32)
    exact = bars_of(members, true)._replace(spread=size, num=math.inf)
    found, honest = (
        uncertainty.correlation_over_cells(bars).mean() for bars in (exact, uncertainty.if_honest(exact, seed=6))
    )
    assert found == pytest.approx(honest, abs=0.04) and 0.3 < found < 0.8
    assert coverage(uncertainty.if_honest(exact)).mean() == pytest.approx(0.9, abs=0.01)


def test_maps_with_larger_errors_are_told_by_larger_spreads():
    rng = np.random.default_rng(7)
    scale = np.array([1.0, 5.0, 2.0, 9.0]).reshape(-1, 1, 1)
    bars = Bars(scale * rng.standard_normal(SHAPE), scale * np.ones(SHAPE), EVERYWHERE)
    assert uncertainty.correlation_over_maps(bars) == pytest.approx(1)
    assert uncertainty.correlation_over_maps(bars._replace(spread=bars.spread[::-1])) < 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": np.zeros((1, 2, 2))}, "mean has shape (1, 2, 2), outdoor has (4, 40, 50)"),
        ({"spread": -np.ones(SHAPE)}, "0 or more, the least here is -1.0"),
        ({"true": np.full(SHAPE, np.nan)}, "true holds values that are not finite"),
        ({"outdoor": np.ones(SHAPE)}, "of bool, got (4, 40, 50) of float64"),
        ({"num": 1}, "at least two members, got 1"),
    ],
)
def test_what_does_not_belong_together_is_refused(change, said):
    values = {"mean": np.zeros(SHAPE), "spread": np.ones(SHAPE), "true": np.zeros(SHAPE), "outdoor": EVERYWHERE}
    with pytest.raises(ValueError) as caught:
        compare(**{**values, **change})
    assert said in str(caught.value)


@pytest.mark.parametrize("level", [0.0, 1.0, 90])
def test_a_level_is_a_share(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        half_width(hand_bars([0], [1]), level)
