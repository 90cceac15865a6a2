"""Localization: hand-worked streets, what errors must and must not depend on, and agreement with scikit-learn."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsRegressor

from raymap.evaluation import localization
from raymap.evaluation.intervals import clustered_mean, clustered_quantile

CORNERS = ((4.3, 5.1), (19.7, 8.2), (10.4, 26.6))


def town(transmitters=CORNERS, shape=(24, 32)):
    """Gains of the log-distance law (J, H, W), a town with a fifth of it built, and who sees a transmitter."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    distance = np.stack([np.hypot(rows - row, columns - column) for row, column in transmitters])
    outdoor = np.random.default_rng(0).random(shape) > 0.2
    return -50 - 25 * np.log10(distance + 0.5), outdoor, distance < 6


def everyone(predicted_db, true_db, outdoor, seen, **changes):
    """Errors [m] of all outdoor cells, by default without noise."""
    asked = {"cell_m": 1.0, "seed": 0, "noise_db": 0.0, "num_points": outdoor.size} | changes
    return localization.locate(predicted_db, true_db, outdoor, seen, **asked)["error_m"].to_numpy()


def test_perfect_maps_without_noise_lead_to_the_very_cell():
    true_db, outdoor, seen = town()
    assert (everyone(true_db, true_db, outdoor, seen, num_neighbours=1) == 0).all()
    wrong_db = true_db + np.random.default_rng(1).normal(0, 3, true_db.shape)
    assert everyone(wrong_db, true_db, outdoor, seen, num_neighbours=1).mean() > 1


def test_hand_worked_street():
    # Gains fall by 10 dB a cell: the three nearest fingerprints of an end are the three cells there, one cell off.
    gain_db = np.array([[[-50.0, -60, -70, -80, -90]]])
    street = np.ones((1, 5), bool)
    errors = everyone(gain_db, gain_db, street, street[None], num_neighbours=3, cell_m=4.0)
    np.testing.assert_allclose(errors, [4, 0, 0, 0, 4], atol=1e-12)


def test_who_hears_nothing_is_put_in_the_middle_of_those_who_hear_nothing():
    # Of five cells only the first two hear something; what differs below the floor of -127 dB tells nothing.
    gain_db = np.array([[[-60.0, -90, -130, -150, -140]]])
    street = np.ones((1, 5), bool)
    errors = everyone(gain_db, gain_db, street, street[None], num_neighbours=1, cell_m=2.0)
    np.testing.assert_allclose(errors, [0, 0, 2, 0, 2], atol=1e-12)
    lower = everyone(gain_db, gain_db, street, street[None], num_neighbours=1, floor_db=-160.0)
    np.testing.assert_allclose(lower, 0, atol=1e-12)


def test_what_lies_below_the_floor_tells_nothing_on_either_side():
    true_db, outdoor, seen = town()
    wrong_db = true_db + np.random.default_rng(6).normal(0, 3, true_db.shape)
    floored = everyone(wrong_db, true_db, outdoor, seen, floor_db=-75.0)
    deeper = (np.where(gain_db < -75, gain_db - 30, gain_db) for gain_db in (wrong_db, true_db))
    np.testing.assert_array_equal(everyone(*deeper, outdoor, seen, floor_db=-75.0), floored)
    assert floored.mean() > everyone(wrong_db, true_db, outdoor, seen).mean()


def test_equal_fingerprints_fill_the_neighbours_that_are_left():
    # Four neighbours of the first cell: itself, and three of the four equal cells, in the mean at their middle, 3.5.
    gain_db = np.array([[[-60.0, -90, -80, -80, -80, -80]]])
    street = np.ones((1, 6), bool)
    errors = everyone(gain_db, gain_db, street, street[None], num_neighbours=4)
    assert errors[0] == pytest.approx((0 + 3 * 3.5) / 4)


def test_agrees_with_scikit_learn_where_fingerprints_differ():
    true_db, outdoor, seen = town()
    predicted_db = true_db + np.random.default_rng(2).normal(0, 2, true_db.shape)
    cells = np.argwhere(outdoor)
    law = KNeighborsRegressor(n_neighbors=5, weights="uniform").fit(predicted_db[:, outdoor].T, cells)
    expected = np.linalg.norm(law.predict(true_db[:, outdoor].T) - cells, axis=1)
    np.testing.assert_allclose(everyone(predicted_db, true_db, outdoor, seen), expected, atol=1e-9)


def test_more_noise_never_helps_on_average():
    true_db, outdoor, seen = town()
    means = [
        np.mean([everyone(true_db, true_db, outdoor, seen, noise_db=noise_db, seed=seed) for seed in range(10)])
        for noise_db in (0, 0.25, 0.5, 1, 2, 4, 8)
    ]
    assert all(less < more for less, more in itertools.pairwise(means))


def test_worse_maps_locate_worse_at_the_noise_of_the_protocol():
    true_db, outdoor, seen = town()
    wrong_db = np.random.default_rng(3).normal(0, 1, true_db.shape)
    means = [
        np.mean(
            [everyone(true_db + size_db * wrong_db, true_db, outdoor, seen, noise_db=1.0, seed=s) for s in range(5)]
        )
        for size_db in (0, 2, 4, 8)
    ]
    assert all(less < more for less, more in itertools.pairwise(means))


def test_one_transmitter_in_the_middle_of_rings_is_ambiguous_and_three_are_not():
    true_db, outdoor, seen = town()
    middle_db, _, seen_from_it = town([(12, 16)])
    near, alone = (
        everyone(gain_db, gain_db, outdoor, seen, num_neighbours=1)
        for gain_db, seen in ((true_db, seen), (middle_db, seen_from_it))
    )
    radius = np.hypot(*(np.argwhere(outdoor) - (12, 16)).T)
    assert near.max() == 0
    assert alone.mean() > 0.8 * radius.mean()  # found near the transmitter, whose rings are all alike


@pytest.mark.parametrize("turn", [np.rot90, np.flipud, np.fliplr, lambda maps: maps.swapaxes(0, 1)])
def test_a_rotated_scene_has_the_same_errors(turn):
    true_db, outdoor, seen = town()
    predicted_db = 10 * np.round((true_db + np.random.default_rng(4).normal(0, 3, true_db.shape)) / 10)  # many ties
    errors = everyone(predicted_db, true_db, outdoor, seen)
    turned = everyone(*(np.stack([turn(one) for one in maps]) for maps in (predicted_db, true_db)), turn(outdoor),
                      np.stack([turn(one) for one in seen]))  # fmt: skip
    np.testing.assert_allclose(np.sort(turned), np.sort(errors), atol=1e-9)


def test_longer_cells_make_longer_errors():
    true_db, outdoor, seen = town()
    predicted_db = true_db + np.random.default_rng(5).normal(0, 3, true_db.shape)
    once, thrice = (everyone(predicted_db, true_db, outdoor, seen, noise_db=2.0, cell_m=cell) for cell in (1.0, 3.0))
    np.testing.assert_allclose(thrice, 3 * once)


def test_points_are_drawn_by_the_seed_and_not_by_what_was_predicted():
    true_db, outdoor, seen = town()
    asked = {"cell_m": 1.0, "num_points": 50}
    here, there, other = (
        localization.locate(predicted_db, true_db, outdoor, seen, seed=seed, **asked)
        for predicted_db, seed in ((true_db, 1), (true_db - 20, 1), (true_db, 2))
    )
    places = ["row", "column", "line_of_sight"]
    pd.testing.assert_frame_equal(here[places], there[places])
    assert not here[places].equals(other[places])
    assert len(here) == 50 and not here.duplicated(["row", "column"]).any()
    rows, columns = here["row"], here["column"]
    assert outdoor[rows, columns].all()
    assert (here["line_of_sight"] == seen.any(axis=0)[rows, columns]).all() and 0 < here["line_of_sight"].sum() < 50
    assert len(localization.locate(true_db, true_db, outdoor, seen, 1.0, seed=0)) == outdoor.sum()  # fewer than 3,000


def test_what_is_predicted_indoors_does_not_matter():
    true_db, outdoor, seen = town()
    holes = np.where(outdoor, true_db, np.nan)
    np.testing.assert_array_equal(everyone(holes, holes, outdoor, seen), everyone(true_db, true_db, outdoor, seen))


def test_the_summary_parts_points_by_sight_and_clusters_them_by_scene():
    true_db, outdoor, seen = town()
    points = pd.concat(
        localization.locate(true_db, true_db, outdoor, seen, 1.0, seed=seed, num_points=100).assign(
            scene=f"town-{seed}"
        )
        for seed in range(4)
    )
    found = localization.summarise(points)
    assert found["num_scenes"] == 4 and found["all"]["mean_m"] == clustered_mean(points["error_m"], points["scene"])
    assert found["all"]["p90_m"] == clustered_quantile(points["error_m"], points["scene"], 0.9)
    assert found["all"]["median_m"]["quantile"] == pytest.approx(points["error_m"].median())
    parts = [found[name]["mean_m"] for name in ("los", "nlos")]
    total = sum(part["mean"] * part["num"] for part in parts)
    assert total / 400 == pytest.approx(found["all"]["mean_m"]["mean"]) and parts[0]["num"] + parts[1]["num"] == 400
    assert parts[0]["num"] == points["line_of_sight"].sum()

    alone = localization.summarise(points[points["scene"] == "town-0"])
    assert alone["all"]["mean_m"]["low"] is None and alone["all"]["p90_m"]["low"] is None
    unseen = localization.summarise(points[~points["line_of_sight"]])
    assert unseen["los"]["mean_m"]["mean"] is None and unseen["los"]["median_m"]["num"] == 0
    with pytest.raises(ValueError, match="missing: scene"):
        localization.summarise(points.drop(columns="scene"))


def test_bad_inputs_are_named():
    true_db, outdoor, seen = town()
    good = {"predicted_db": true_db, "true_db": true_db, "outdoor": outdoor, "line_of_sight": seen, "cell_m": 1.0}
    broken = true_db.copy()
    broken[0, outdoor] = np.nan
    for changes, message in [
        ({"predicted_db": true_db[:2]}, "predicted_db has shape"),
        ({"true_db": broken}, f"true_db holds {outdoor.sum()} outdoor values"),
        ({"outdoor": outdoor.astype(float)}, "outdoor must be bool"),
        ({"outdoor": outdoor[:5]}, "outdoor must be"),
        ({"line_of_sight": seen[:0]}, "at least one transmitter"),
        ({"cell_m": 0.0}, "cell_m positive"),
        ({"noise_db": -1.0}, "noise_db must be 0 or more"),
        ({"num_points": 0}, "a point or more"),
        ({"num_neighbours": int(outdoor.sum()) + 1}, f"1 to {outdoor.sum()} neighbours"),
    ]:
        with pytest.raises(ValueError, match=message):
            localization.locate(**(good | changes), seed=0)
