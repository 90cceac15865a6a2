"""Intervals: hand-worked cases, what they must not depend on, and how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from raymap.evaluation.intervals import clustered_mean, clustered_quantile, clustered_ratio


def draw(rng, num_clusters=12, spread=1.0, noise=0.5):
    """Values with a shared effect per cluster, and clusters of unequal size; the true mean is 0."""
    sizes = rng.integers(4, 12, num_clusters)
    clusters = np.repeat(np.arange(num_clusters), sizes)
    return rng.normal(0, spread, num_clusters)[clusters] + rng.normal(0, noise, len(clusters)), clusters


def test_one_value_per_scene_is_the_textbook_interval():
    values = np.random.default_rng(0).normal(3, 2, 15)
    result = clustered_mean(values, np.arange(15))
    low, high = stats.t.interval(0.95, 14, loc=values.mean(), scale=values.std(ddof=1) / math.sqrt(15))
    assert (result["low"], result["high"]) == pytest.approx((low, high))
    assert result["mean"] == pytest.approx(values.mean()) and result["num"] == 15


def test_hand_worked_with_two_scenes():
    # mean 2; cluster sums of residuals -2 and 2; SE² = 2/1 · (4 + 4) / 16 = 1
    result = clustered_mean([1, 1, 3, 3], ["a", "a", "b", "b"])
    half = stats.t.ppf(0.975, 1)
    assert result == {"mean": 2, "low": pytest.approx(2 - half), "high": pytest.approx(2 + half), "num": 4}


def test_repeating_the_images_of_a_scene_does_not_narrow_the_interval():
    values, clusters = draw(np.random.default_rng(1))
    once, thrice = clustered_mean(values, clusters), clustered_mean(np.tile(values, 3), np.tile(clusters, 3))
    assert thrice["high"] - thrice["low"] == pytest.approx(once["high"] - once["low"])


def test_what_is_not_finite_is_left_out_and_order_does_not_matter():
    values, clusters = draw(np.random.default_rng(2))
    expected = clustered_mean(values, clusters)
    order = np.random.default_rng(3).permutation(len(values) + 3)
    padded = np.r_[values, np.nan, np.inf, -np.inf][order]
    scenes = np.r_[clusters, 0, 1, 99][order]  # scene 99 has no finite value and must not count as a scene
    assert clustered_mean(padded, scenes) == pytest.approx(expected)


def test_one_scene_or_none_has_no_interval():
    assert clustered_mean([1.0, 3.0], ["a", "a"]) == {"mean": 2.0, "low": None, "high": None, "num": 2}
    assert clustered_mean([np.nan], ["a"]) == {"mean": None, "low": None, "high": None, "num": 0}
    assert clustered_mean([], []) == {"mean": None, "low": None, "high": None, "num": 0}


def test_the_interval_holds_the_truth_and_one_without_clusters_does_not():
    rng = np.random.default_rng(4)
    num_draws, covered, covered_naively = 400, 0, 0
    for _ in range(num_draws):
        values, clusters = draw(rng)
        result = clustered_mean(values, clusters)
        naive = clustered_mean(values, np.arange(len(values)))
        covered += result["low"] <= 0 <= result["high"]
        covered_naively += naive["low"] <= 0 <= naive["high"]
    assert covered / num_draws >= 0.9 * 0.95
    assert covered_naively / num_draws < 0.7


def test_a_quantile_of_one_value_per_scene_has_the_interval_of_a_share():
    # 100 values 1 ... 100: of those at or below the median, 50 of 100, the variance is 0.5² / 99
    values = np.random.default_rng(8).permutation(np.arange(1.0, 101))
    result = clustered_quantile(values, np.arange(100), 0.5)
    half = stats.t.ppf(0.975, 99) * 0.5 / math.sqrt(99)
    assert result["quantile"] == 50.5 and result["num"] == 100
    assert (result["low"], result["high"]) == pytest.approx((1 + 99 * (0.5 - half), 1 + 99 * (0.5 + half)))


def test_quantiles_know_of_clusters_and_leave_out_what_is_not_finite():
    values, clusters = draw(np.random.default_rng(9))
    once = clustered_quantile(values, clusters, 0.9)
    assert once["quantile"] == pytest.approx(np.quantile(values, 0.9))
    thrice = clustered_quantile(np.r_[np.tile(values, 3), np.nan], np.r_[np.tile(clusters, 3), 99], 0.9)
    widths = [one["high"] - one["low"] for one in (once, thrice)]
    naive = clustered_quantile(np.tile(values, 3), np.arange(3 * len(values)), 0.9)
    assert widths[1] == pytest.approx(widths[0], rel=0.2) and naive["high"] - naive["low"] < 0.6 * widths[1]
    assert clustered_quantile([1.0, 3.0], ["a", "a"], 0.5) == {"quantile": 2.0, "low": None, "high": None, "num": 2}
    assert clustered_quantile([np.nan], ["a"], 0.5) == {"quantile": None, "low": None, "high": None, "num": 0}


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_quantile_interval_holds_the_truth(share):
    rng = np.random.default_rng(10)
    truth, num_draws, covered = stats.norm.ppf(share, scale=math.hypot(1.0, 0.5)), 400, 0
    for _ in range(num_draws):
        result = clustered_quantile(*draw(rng, num_clusters=20), share)
        covered += result["low"] <= truth <= result["high"]
    assert covered / num_draws >= 0.9 * 0.95


def test_a_ratio_is_paired_by_scene():
    rng = np.random.default_rng(5)
    scenes = np.repeat(np.arange(10), 6)
    hardness = rng.lognormal(0, 0.8, 10)[scenes]
    base = hardness * rng.lognormal(0, 0.1, 60)
    method = 0.5 * hardness * rng.lognormal(0, 0.1, 60)
    order = rng.permutation(60)
    result = clustered_ratio(method[order], base, scenes[order], scenes)
    assert result["mean"] == pytest.approx(method.mean() / base.mean())
    assert 0.4 < result["low"] < 0.5 < result["high"] < 0.6  # although the bare means vary by a factor of several
    assert clustered_mean(base, scenes)["high"] / clustered_mean(base, scenes)["low"] > 2


def test_ratio_to_itself_and_to_a_multiple_is_exact():
    values = np.random.default_rng(6).uniform(1, 2, 20)
    scenes = np.repeat(np.arange(5), 4)
    result = clustered_ratio(3 * values, values, scenes, scenes)
    assert (result["low"], result["mean"], result["high"]) == pytest.approx((3, 3, 3))


def test_the_ratio_interval_holds_the_truth():
    rng = np.random.default_rng(7)
    scenes, covered, num_draws = np.repeat(np.arange(15), 5), 0, 400
    for _ in range(num_draws):
        hardness = rng.lognormal(0, 0.5, 15)[scenes]
        ease = rng.lognormal(-0.08, 0.4, 15)[scenes]  # mean 1: how far the method does better or worse in a scene
        result = clustered_ratio(0.7 * hardness * ease * rng.lognormal(-0.02, 0.2, 75), hardness, scenes, scenes)
        covered += result["low"] <= 0.7 <= result["high"]
    assert covered / num_draws >= 0.9 * 0.95


def test_ratios_without_an_interval():
    assert clustered_ratio([1, 2], [2, 4], [0, 0], [0, 0]) == {"mean": 0.5, "low": None, "high": None, "num": 2}
    assert clustered_ratio([0, 0], [2, 4], [0, 1], [0, 1]) == {"mean": 0.0, "low": None, "high": None, "num": 2}
    assert clustered_ratio([1, 2], [0, 0], [0, 1], [0, 1])["mean"] is None


def test_bad_inputs_are_named():
    with pytest.raises(ValueError, match="one length"):
        clustered_mean([1, 2], [0])
    with pytest.raises(ValueError, match="share must lie between 0 and 1, got 90"):
        clustered_quantile([1, 2], [0, 1], 90)
    with pytest.raises(ValueError, match="level"):
        clustered_mean([1, 2], [0, 1], level=95)
    with pytest.raises(ValueError, match="same images"):
        clustered_ratio([1, 2], [1, 2], [0, 1], [0, 2])
    with pytest.raises(ValueError, match="0 or more"):
        clustered_ratio([1, -2], [1, 2], [0, 1], [0, 1])
