"""Scores of paths: worked by hand, round the circle, with paths that are missing on either side."""

import numpy as np
import pandas as pd
import pytest

from raymap.data.path_table import UNKNOWN_KIND, PathTable
from raymap.evaluation import path_metrics
from raymap.evaluation.intervals import clustered_mean
from raymap.evaluation.path_metrics import UNITS


def table(power_db, delay_ns=100.0, zenith_deg=90.0, azimuth_deg=10.0, valid=None):
    """Paths (N, P) in the units of scores, at receivers in a row."""
    power_db = np.asarray(power_db, float)
    shape = power_db.shape
    delay_ns, zenith_deg, azimuth_deg = (np.broadcast_to(x, shape) for x in (delay_ns, zenith_deg, azimuth_deg))
    return PathTable(
        np.c_[np.arange(shape[0]), np.zeros(shape[0]), np.ones(shape[0])], np.array([0.0, 5.0, 30.0]), 3.5e9, power_db,
        delay_ns * 1e-9, np.radians(zenith_deg), np.radians(azimuth_deg), np.full(shape, UNKNOWN_KIND),
        np.ones(shape, bool) if valid is None else np.asarray(valid),
    )  # fmt: skip


def random_table(num=40, num_paths=3, seed=0):
    """Every third receiver has one path less."""
    rng = np.random.default_rng(seed)
    shape = (num, num_paths)
    valid = np.ones(shape, bool)
    valid[::3, -1] = False
    power_db = -np.sort(rng.uniform(60, 120, shape), axis=1)
    zenith_deg, azimuth_deg = rng.uniform(20, 160, shape), rng.uniform(-180, 180, shape)
    return table(power_db, rng.uniform(50, 900, shape), zenith_deg, azimuth_deg, valid)


def test_two_receivers_by_hand():
    true = table([[-60.0, -80.0], [-70.0, -90.0]], [[100, 200], [300, 400]])
    predicted = table([[-63.0, -80.0], [-70.0, -94.0]], [[110, 200], [300, 400]])
    found = path_metrics.scores(true, predicted)
    near = {"rel": 1e-5, "abs": 1e-6}  # angles and delays are float32
    assert found["all/power/mse"] == pytest.approx((9 + 16) / 4, **near)
    assert found["all/power/nmse"] == pytest.approx(25 / (60**2 + 80**2 + 70**2 + 90**2), **near)
    assert found["path1/power/mse"] == pytest.approx(9 / 2, **near)
    assert found["path2/power/rmse"] == pytest.approx(np.sqrt(16 / 2), **near)
    assert found["all/delay/mse"] == pytest.approx(100 / 4, **near)
    # All four parameters in one pool, whatever their units.
    assert found["all/mixed/mse"] == pytest.approx((9 + 16 + 100) / 16, **near)
    whole = 60**2 + 80**2 + 70**2 + 90**2 + 100**2 + 200**2 + 300**2 + 400**2 + 4 * 90**2 + 4 * 10**2
    assert found["all/mixed/nmse"] == pytest.approx(125 / whole, **near)
    assert found["path1/mixed/rmse"] == pytest.approx(np.sqrt(109 / 8), **near)


def test_the_truth_scores_nothing_and_an_offset_its_square():
    true = random_table()
    perfect = path_metrics.scores(true, true)
    assert not any(value for key, value in perfect.items() if not np.isnan(value))
    found = path_metrics.scores(true, PathTable(**(vars(true) | {"power_db": true.power_db - 2.5})))
    for paths in ("all", "path1", "path2", "path3"):
        assert found[f"{paths}/power/mse"] == pytest.approx(6.25, rel=1e-4)
        assert found[f"{paths}/power/p90"] == pytest.approx(2.5, rel=1e-4)
        assert found[f"{paths}/mixed/mse"] == pytest.approx(6.25 / 4, rel=1e-4)
        assert found[f"{paths}/azimuth/mse"] == 0


@pytest.mark.parametrize(("true_deg", "told_deg", "error_deg"), [(179, -179, 2), (-179, 179, -2), (-90, 80, 170)])
def test_azimuth_errors_go_round_the_short_way(true_deg, told_deg, error_deg):
    true, told = table([[-60.0]], azimuth_deg=true_deg), table([[-60.0]], azimuth_deg=told_deg)
    assert path_metrics.errors(true, told)[0, 0, 3] == pytest.approx(error_deg, abs=1e-4)
    assert path_metrics.scores(true, told)["all/azimuth/mse"] == pytest.approx(error_deg**2, rel=1e-4)
    assert path_metrics.scores(true, told)["all/azimuth/nmse"] == pytest.approx((error_deg / true_deg) ** 2, rel=1e-4)


def test_a_path_that_is_not_true_is_not_compared_but_counted():
    valid = [[True, False], [True, True]]
    true = table([[-60.0, -80.0], [-70.0, -90.0]], valid=valid)
    told = table([[-61.0, -80.0], [-70.0, -90.0]])
    found = path_metrics.scores(true, told)
    assert found["all/power/mse"] == pytest.approx(1 / 3) and found["path2/power/mse"] == 0
    assert found["paths/invented"] == 1 / 4 and found["paths/missed"] == 0
    assert found["paths/wrong"] == 1 / 4 and found["receivers/wrong_number"] == 1 / 2


def test_a_path_that_is_left_out_costs_more_than_a_bad_guess():
    true = table([[-60.0, -80.0]], [[100, 300]], [[90, 70]], [[10, -60]])
    told = table([[-60.0, -80.0]], [[100, 300]], [[90, 70]], [[10, -60]], valid=[[True, False]])
    error = path_metrics.errors(true, told)
    assert error[0, 0] == pytest.approx([0, 0, 0, 0], abs=1e-4)
    assert error[0, 1] == pytest.approx([80, -300, 110, -180], rel=1e-4)
    found = path_metrics.scores(true, told)
    assert found["paths/missed"] == 1 / 2 and found["receivers/wrong_number"] == 1
    assert found["path2/mixed/mse"] == pytest.approx((80**2 + 300**2 + 110**2 + 180**2) / 4, rel=1e-4)
    guess = table([[-60.0, -110.0]], [[100, 590]], [[90, 179]], [[10, 100]])
    assert found["all/mixed/mse"] > path_metrics.scores(true, guess)["all/mixed/mse"]


def test_a_predicted_path_without_a_number_is_refused():
    true = random_table()
    delay_s = true.delay_s.copy()
    delay_s[4, 1] = np.nan
    gap = PathTable(**(vars(true) | {"delay_s": delay_s}))
    with pytest.raises(ValueError, match="1 numbers .* delay_s of path 2 at receiver 4"):
        path_metrics.scores(true, gap)
    # The other way round it was not measured, which nobody can be compared with.
    found = path_metrics.scores(gap, true)
    assert found["all/mixed/mse"] == 0 and found["paths/missed"] == 0
    assert np.isnan(path_metrics.errors(gap, true)[4, 1]).tolist() == [False, True, False, False]


def test_tables_that_are_no_pair_are_refused():
    true = random_table()
    with pytest.raises(ValueError, match=r"\(39, 3\), true are \(40, 3\)"):
        path_metrics.scores(true, true.take(np.arange(39)))
    with pytest.raises(ValueError, match="other receivers"):
        path_metrics.scores(true, true.take(np.arange(40)[::-1]))
    nothing = PathTable(**(vars(true) | {"valid": np.zeros_like(true.valid)}))
    with pytest.raises(ValueError, match="nothing to compare with: 40 receivers"):
        path_metrics.scores(nothing, true)


def test_quantiles_are_those_of_absolute_errors():
    true, told = random_table(), random_table(seed=1)
    error, found = path_metrics.errors(true, told), path_metrics.scores(true, told)
    for index, parameter in enumerate(UNITS):
        for path in range(3):
            known = np.abs(error[true.valid[:, path], path, index])
            for key, share in (("p50", 0.5), ("p90", 0.9)):
                assert found[f"path{path + 1}/{parameter}/{key}"] == np.quantile(known, share)


def test_a_path_that_nobody_has_scores_nothing():
    valid = np.tile([True, False], (3, 1))
    found = path_metrics.scores(*(table(np.full((3, 2), -70.0), valid=valid),) * 2)
    assert np.isnan(found["path2/mixed/mse"]) and np.isnan(found["path2/delay/p90"])
    assert found["path1/mixed/mse"] == 0


def test_rows_are_what_scores_are_means_of():
    true, told = random_table(), random_table(seed=1)
    told = PathTable(**(vars(told) | {"valid": told.valid & (np.arange(3) < 2)}))
    rows, found = path_metrics.rows(true, told), path_metrics.scores(true, told)
    assert len(rows) == true.valid.sum() and set(rows["path"]) == {1, 2, 3}
    assert 1 - rows["told"].mean() == pytest.approx(found["paths/missed"])
    for name, part in {"all": rows, **{f"path{p}": rows[rows["path"] == p] for p in (1, 2, 3)}}.items():
        for parameter in ("mixed", *UNITS):
            score = clustered_mean(part[parameter], part["receiver"])
            assert score["mean"] == pytest.approx(found[f"{name}/{parameter}/mse"])
            assert score["low"] <= score["mean"] <= score["high"] and score["num"] == len(part)


def runs(**draws):
    """Method -> mixed MSE of the draws 0, 1, ... at 10 %, in one scene."""
    return pd.DataFrame(
        {"scene": "S1", "rate": 0.1, "method": name, "seed": seed, "all/mixed/mse": mse, "fit_s": 2.0 + seed}
        for name, values in draws.items()
        for seed, mse in enumerate(values)
    )


def test_draws_become_means_with_the_interval_of_student():
    found = path_metrics.summarise(runs(a=[1.0, 2.0, 3.0]))["S1"]["0.1"]["a"]
    score = found["scores"]["all/mixed/mse"]
    assert (score["mean"], score["num"]) == (2.0, 3)
    assert score["high"] - 2.0 == pytest.approx(4.302653 / np.sqrt(3), rel=1e-5)  # t(2) at 97.5 %, deviation 1
    assert found["ratios"] == {}
    assert found["costs"] == {"fit_s": 3.0, "predict_ms": None, "peak_memory_mb": None, "parameters": None}


def test_a_ratio_is_paired_by_draw():
    """A draw that is hard for both says nothing against either, however much the draws differ."""
    kriging = np.array([100.0, 300.0, 900.0])
    found = path_metrics.summarise(runs(kriging=kriging, ours=kriging / 2), "kriging")["S1"]["0.1"]
    ratio = found["ours"]["ratios"]["all/mixed/mse"]
    assert [ratio[key] for key in ("mean", "low", "high")] == pytest.approx([0.5] * 3)
    assert found["kriging"]["ratios"] == {}
    shorter = path_metrics.summarise(runs(kriging=kriging, ours=[50.0]), "kriging")["S1"]["0.1"]["ours"]
    assert shorter["ratios"]["all/mixed/mse"] == {"mean": 0.5, "low": None, "high": None, "num": 1}


def test_runs_that_cannot_be_summarised_are_named():
    good = runs(a=[1.0, 2.0])
    with pytest.raises(ValueError, match="no column 'seed'"):
        path_metrics.summarise(good.drop(columns="seed"))
    with pytest.raises(ValueError, match="twice.*'seed': 1"):
        path_metrics.summarise(good.assign(seed=1))
    with pytest.raises(ValueError, match="rate must lie in .* got 10"):
        path_metrics.summarise(good.assign(rate=10))
    with pytest.raises(ValueError, match="'kriging' is not among .*'a'"):
        path_metrics.summarise(good, "kriging")


def test_rates_ascend():
    given = pd.concat([runs(a=[1.0]).assign(rate=rate) for rate in (0.2, 0.05, 0.1)])
    assert [*path_metrics.summarise(given)["S1"]] == ["0.05", "0.1", "0.2"]
