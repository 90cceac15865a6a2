"""Paired tests: cases worked by hand and by scipy, how often they err if nothing differs, what they find and refuse."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from raymap.evaluation.paired import compare, holm, p_text, verdicts

NMSE = "raw/all/nmse"


def table(rng, shifts, num_scenes=12, num_images=4, ease=0.05):
    """Rows of methods that differ from the first in their mean error, and by scene in what suits them."""
    scenes = np.repeat([f"town-{index}" for index in range(num_scenes)], num_images)
    hardness = rng.lognormal(0, 0.8, num_scenes).repeat(num_images)
    rows = [
        pd.DataFrame(
            {
                "method": name,
                "scene": scenes,
                "tx_id": np.tile(np.arange(num_images), num_scenes),
                NMSE: hardness + shift + ease * rng.normal(0, 1, num_scenes).repeat(num_images)
                + 0.02 * rng.normal(0, 1, len(scenes)),
            }
        )
        for name, shift in shifts.items()
    ]  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def rows_of(method, values, **columns):
    """Rows of (scene, tx_id, value)."""
    return [{"method": method, "scene": s, "tx_id": t, NMSE: v, **columns} for s, t, v in values]


def test_hand_worked():
    # Differences by image 1, 3 | 1 | -4: by scene 2, 1, -4. Ranks 2, 1 against 3: W = 3, all of 3 are possible on
    # either side, so p = 1.
    base = rows_of("old", [("a", 0, 1.0), ("a", 1, 1.0), ("b", 0, 2.0), ("c", 0, 9.0)])
    new = rows_of("new", [("a", 0, 2.0), ("a", 1, 4.0), ("b", 0, 3.0), ("c", 0, 5.0)])
    found = compare([*new, *base], "old", NMSE)
    assert (found["key"], found["reference"], list(found["methods"])) == (NMSE, "old", ["new"])
    assert found["methods"]["new"] == {
        "num_scenes": 3, "num_images": 4, "median_difference": 1.0, "num_lower": 1, "num_higher": 2, "rank_sum": 0.0,
        "p": 1.0, "p_holm": 1.0,
    }  # fmt: skip


def test_n_scenes_of_one_sign_have_the_least_p_value_there_is():
    for num in (5, 6, 9):
        base = rows_of("old", [(f"town-{index}", 0, 1.0) for index in range(num)])
        new = rows_of("new", [(f"town-{index}", 0, 1.5 + index) for index in range(num)])
        (found,) = compare([*base, *new], "old")["methods"].values()
        assert found["p"] == pytest.approx(2.0 ** (1 - num)) and found["median_difference"] == 0.5 + (num - 1) / 2


def test_agrees_with_scipy_on_means_of_scenes_whatever_the_order_of_rows():
    rng = np.random.default_rng(0)
    rows = table(rng, {"old": 0.0, "new": 0.03, "other": -0.01}, num_scenes=20)
    found = compare(rows, "old")["methods"]
    means = rows.pivot_table(NMSE, "scene", "method")
    for name in ("new", "other"):
        assert found[name]["p"] == pytest.approx(stats.wilcoxon(means[name], means["old"]).pvalue)
        assert found[name]["median_difference"] == pytest.approx((means[name] - means["old"]).median())
        assert (found[name]["num_scenes"], found[name]["num_images"]) == (20, 80)
    assert [found[name]["p_holm"] for name in found] == holm([found[name]["p"] for name in found])
    shuffled = compare(rows.sample(frac=1, random_state=1), "old")["methods"]
    assert shuffled["new"] == pytest.approx(found["new"])


def test_seeds_are_averaged_before_anything_is_paired():
    rng = np.random.default_rng(1)
    trainings = [table(rng, {"old": 0.0, "new": 0.05}).assign(seed=seed) for seed in range(3)]
    rows = pd.concat(trainings)
    mean = rows.groupby(["method", "scene", "tx_id"], as_index=False)[NMSE].mean()
    assert compare(rows, "old")["methods"]["new"] == pytest.approx(compare(mean, "old")["methods"]["new"])
    trainings[1].loc[trainings[1]["method"] == "new", NMSE] = np.nan  # is not left out of the mean in silence
    with pytest.raises(ValueError, match="48 images are finite for one only"):
        compare(pd.concat(trainings), "old")


def test_a_method_against_itself_differs_nowhere():
    rows = table(np.random.default_rng(2), {"old": 0.0})
    found = compare(pd.concat([rows, rows.assign(method="copy")]), "old")["methods"]["copy"]
    assert (found["median_difference"], found["p"], found["p_holm"]) == (0, 1, 1)


def test_images_without_a_value_on_both_sides_are_left_out():
    rows = table(np.random.default_rng(3), {"old": 0.0, "new": 0.02})
    gone = (rows["scene"] == "town-3") | ((rows["scene"] == "town-4") & (rows["tx_id"] == 0))
    found = compare(rows.assign(**{NMSE: rows[NMSE].where(~gone)}), "old")["methods"]["new"]
    assert found == pytest.approx(compare(rows[~gone], "old")["methods"]["new"])
    assert (found["num_scenes"], found["num_images"]) == (11, 43)


def test_the_level_holds_for_methods_that_are_equally_good_and_not_if_images_were_the_unit():
    rng = np.random.default_rng(4)
    num, level, found, naive = 200, 0.05, 0, 0
    for _ in range(num):
        rows = table(rng, {"old": 0.0, "new": 0.0})
        found += compare(rows, "old")["methods"]["new"]["p"] <= level
        naive += stats.wilcoxon(*rows[NMSE].to_numpy().reshape(2, -1)).pvalue <= level
    # The exact test of 12 scenes has steps, the last one up to 5 % at 4.25 %; bounds hold 99.9 % of a binomial's draws.
    assert stats.binom.ppf(0.0005, num, 0.0425) <= found <= stats.binom.ppf(0.9995, num, level)
    assert naive > 2 * stats.binom.ppf(0.9995, num, level)


def test_a_difference_as_large_as_its_spread_is_found():
    # One standard deviation of the scenes' differences, 0.05·√2; a t-test on 12 scenes would find it in 88 %.
    rng = np.random.default_rng(5)
    num = 100
    found = sum(
        compare(table(rng, {"old": 0.0, "new": -0.07}), "old")["methods"]["new"]["p"] <= 0.05 for _ in range(num)
    )
    assert found >= stats.binom.ppf(0.0005, num, 0.8)


def test_holm_hand_worked():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6, 0.01]) == pytest.approx([1.0, 1.0, 0.03])
    assert holm([0.2]) == [0.2] and holm([]) == []


def test_with_holm_the_chance_of_any_false_finding_stays_at_the_level():
    p_values = np.random.default_rng(6).uniform(size=(2000, 8))  # of methods none of which differs from the reference
    corrected = np.array([holm(row) for row in p_values])
    assert (corrected >= p_values).all()
    false = (corrected.min(axis=1) <= 0.05).sum()
    assert stats.binom.ppf(0.0005, 2000, 0.04) <= false <= stats.binom.ppf(0.9995, 2000, 0.05)
    assert (p_values.min(axis=1) <= 0.05).mean() > 0.3


def test_what_is_not_paired_is_refused_by_name():
    rows = table(np.random.default_rng(7), {"old": 0.0, "new": 0.1})
    first = (rows["method"] == "new") & (rows["scene"] == "town-0")
    with pytest.raises(ValueError, match=r"'new' and 'old' in 'raw/all/nmse'.*4 images of one only.*'town-0', 0"):
        compare(rows[~first], "old")
    with pytest.raises(ValueError, match=r"not paired: 4 images are finite for one only.*'town-0', 0"):
        compare(rows.assign(**{NMSE: rows[NMSE].where(~first, np.inf)}), "old")
    with pytest.raises(ValueError, match=r"'new' has 4 images twice, first \('town-0', 0\)"):
        compare(pd.concat([rows, rows[first]]), "old")
    with pytest.raises(ValueError, match="no image with a finite value"):
        compare(rows.assign(**{NMSE: np.nan}), "old")


def test_bad_inputs_are_named():
    rows = table(np.random.default_rng(8), {"old": 0.0, "new": 0.1})
    with pytest.raises(ValueError, match="'kriging' as the reference"):
        compare(rows, "kriging")
    with pytest.raises(ValueError, match="another method"):
        compare(rows[rows["method"] == "old"], "old")
    with pytest.raises(ValueError, match="no column 'raw/all/mae'"):
        compare(rows, "old", "raw/all/mae")
    with pytest.raises(ValueError, match="no column 'tx_id'"):
        compare(rows.drop(columns="tx_id"), "old")


def against_one(differences):
    """What is found of a method whose NMSE differs by so much from the reference's, scene by scene."""
    base = rows_of("old", [(f"town-{index:02}", 0, 100.0) for index in range(len(differences))])
    new = rows_of("new", [(f"town-{index:02}", 0, 100.0 + shift) for index, shift in enumerate(differences)])
    return compare([*base, *new], "old")


def test_verdicts_follow_the_test_and_mention_a_median_that_does_not():
    steps = np.arange(1, 21)
    assert verdicts(against_one(-steps)) == {"new": "better"} and verdicts(against_one(steps)) == {"new": "worse"}
    assert verdicts(against_one(steps * (-1.0) ** steps)) == {"new": "cannot tell at 5 %"}
    # A little worse in 16 scenes, far better in 14: ranks 1 to 16 stand against 17 to 30.
    mixed = against_one(np.r_[np.arange(1, 17) / 100, -np.arange(1, 15)])
    (entry,) = mixed["methods"].values()
    assert entry["rank_sum"] == sum(range(1, 17)) - sum(range(17, 31)) and entry["median_difference"] > 0
    assert (entry["num_lower"], entry["num_higher"]) == (14, 16)
    assert verdicts(mixed) == {"new": "better on the whole, worse in most scenes"}


def test_no_verdict_where_no_difference_could_be_found():
    assert verdicts(against_one(np.arange(1, 7))) == {"new": "worse"}  # p = 2 / 2^6 = 0.031
    with pytest.raises(ValueError, match=r"tell 2 methods apart, 5: no difference, .* reach p = 0\.05"):
        verdicts(against_one(np.arange(1, 6)))


def test_p_values_are_written_with_three_digits():
    assert [p_text(p) for p in (1.0, 0.0123, 0.001, 0.0009)] == ["1.000", "0.012", "0.001", "< 0.001"]
