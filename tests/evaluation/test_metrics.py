"""Scores: hand-worked maps, the laws that link regions and conventions, and agreement with other libraries."""

import itertools
import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from raymap import units
from raymap.evaluation import metrics


@pytest.fixture
def batch():
    """Three random maps with a 30 % share of buildings; the truth spans the whole range, and so reaches the floor."""
    rng = np.random.default_rng(1)
    true_db = rng.uniform(-147, -47, (3, 40, 32)).astype(np.float32)
    outdoor = rng.random((3, 40, 32)) > 0.3
    predicted_db = np.where(outdoor, true_db + rng.normal(0, 4, true_db.shape), -147).astype(np.float32)
    return predicted_db, true_db, outdoor, rng.random((3, 40, 32)) > 0.5


def flat(grey_levels, shape=(1, 8, 8)):
    return np.full(shape, units.gain_db_from_grey(grey_levels), np.float32)


def test_hand_worked_flat_maps():
    (row,) = metrics.score_maps(flat(0.5), flat(0.4), np.ones((1, 8, 8), bool))
    assert row["raw/all/nmse"] == pytest.approx(0.01 / 0.16, rel=1e-4)
    assert row["raw/all/rmse"] == pytest.approx(0.1, rel=1e-4)
    assert row["raw/all/rmse_db"] == pytest.approx(10.0, rel=1e-4)
    assert row["raw/all/psnr"] == pytest.approx(20.0, rel=1e-4)
    # flat maps have no variance, so only the luminance term is left: (2·0.5·0.4 + c1) / (0.25 + 0.16 + c1)
    assert row["raw/all/ssim"] == pytest.approx((0.4 + 1e-4) / (0.41 + 1e-4), rel=1e-4)
    assert row["raw/outdoor/median_abs_db"] == pytest.approx(10.0, rel=1e-4)


def test_hand_worked_thresholded_maps():
    # 0.5 and 0.4 stretch to 0.375 and 0.25: an error of 0.125, which is the same 10 dB
    (row,) = metrics.score_maps(flat(0.5), flat(0.4), np.ones((1, 8, 8), bool))
    assert row["thr02/all/nmse"] == pytest.approx(0.25, rel=1e-4)
    assert row["thr02/all/rmse"] == pytest.approx(0.125, rel=1e-4)
    assert row["thr02/all/rmse_db"] == pytest.approx(10.0, rel=1e-4)
    # whatever lies below the threshold is black on both sides: no error, and nothing to divide it by
    (row,) = metrics.score_maps(flat(0.05), flat(0.15), np.ones((1, 8, 8), bool))
    assert row["thr02/all/rmse"] == 0 and row["raw/all/rmse"] == pytest.approx(0.1, rel=1e-4)
    assert math.isnan(row["thr02/all/nmse"]) and row["thr02/all/psnr"] == math.inf


def test_a_perfect_prediction(batch):
    _, true_db, outdoor, seen = batch
    for row in metrics.score_maps(np.where(outdoor, true_db, -200), true_db, outdoor, seen):
        for convention in metrics.CONVENTIONS:
            for region in metrics.REGIONS:
                assert row[f"{convention}/{region}/nmse"] == 0
                assert row[f"{convention}/{region}/ssim"] == pytest.approx(1, abs=1e-12)
                assert row[f"{convention}/{region}/psnr"] == math.inf


def test_black_buildings_leave_nmse_alone_and_dilute_rmse(batch):
    predicted_db, true_db, outdoor, _ = batch
    for row, share in zip(metrics.score_maps(predicted_db, true_db, outdoor), outdoor.mean((1, 2)), strict=True):
        for convention in metrics.CONVENTIONS:
            every, out = f"{convention}/all/", f"{convention}/outdoor/"
            assert row[every + "nmse"] == pytest.approx(row[out + "nmse"], rel=1e-12)
            assert row[out + "rmse"] == pytest.approx(row[every + "rmse"] / math.sqrt(share), rel=1e-12)
            assert row[out + "psnr"] - row[every + "psnr"] == pytest.approx(10 * math.log10(share), rel=1e-9)


def test_truth_inside_buildings_does_not_matter_but_the_prediction_does(batch):
    predicted_db, true_db, outdoor, _ = batch
    rows = metrics.score_maps(predicted_db, true_db, outdoor)
    assert metrics.score_maps(predicted_db, np.where(outdoor, true_db, np.nan), outdoor) == rows
    bright = metrics.score_maps(np.where(outdoor, predicted_db, -47), true_db, outdoor)
    for row, other in zip(rows, bright, strict=True):
        assert other["raw/all/nmse"] > row["raw/all/nmse"]
        assert other["raw/outdoor/nmse"] == row["raw/outdoor/nmse"]


def test_predictions_are_clipped_to_the_span(batch):
    predicted_db, true_db, outdoor, seen = batch
    clipped = np.clip(predicted_db, -147, -47)
    assert (clipped != predicted_db).any()
    assert metrics.score_maps(predicted_db, true_db, outdoor, seen) == metrics.score_maps(
        clipped, true_db, outdoor, seen
    )


def test_los_and_nlos_part_the_outdoors(batch):
    predicted_db, true_db, outdoor, seen = batch
    rows = metrics.score_maps(predicted_db, true_db, outdoor, seen)
    for row, out, los in zip(rows, outdoor, seen, strict=True):
        weight = (out & los).sum() / out.sum()
        parts = weight * row["raw/los/rmse"] ** 2 + (1 - weight) * row["raw/nlos/rmse"] ** 2
        assert row["raw/outdoor/rmse"] ** 2 == pytest.approx(parts, rel=1e-12)
        parts = weight * row["raw/los/ssim"] + (1 - weight) * row["raw/nlos/ssim"]
        assert row["raw/outdoor/ssim"] == pytest.approx(parts, rel=1e-12)


def distance_m(batch, cell_m=8.0):
    """Distance [m] from another cell in every map of the batch."""
    rows, columns = np.mgrid[: batch[0].shape[1], : batch[0].shape[2]]
    return np.stack([cell_m * np.hypot(rows - 10 * index, columns - 16) for index in range(len(batch[0]))])


def test_hand_worked_rings():
    # A row of cells 0, 10 ... 110 m away, 10 dB wrong up to 30 m (g 0.5 for 0.4), right up to 60 m, 20 dB wrong beyond.
    away_m = np.tile(10.0 * np.arange(12), (1, 8, 1))
    wrong_db = np.where(away_m < 40, 10.0, np.where(away_m < 64, 0.0, 20.0))
    true_db = flat(0.4, (1, 8, 12))
    (row,) = metrics.score_maps(true_db + wrong_db, true_db, np.ones((1, 8, 12), bool), distance_m=away_m)
    assert row["raw/0-32m/rmse_db"] == pytest.approx(10.0, rel=1e-4)
    assert row["raw/0-32m/nmse"] == pytest.approx(0.01 / 0.16, rel=1e-4)
    assert row["raw/32-64m/rmse_db"] == 0  # 40, 50 and 60 m
    assert row["raw/64-128m/rmse"] == pytest.approx(0.2, rel=1e-4)
    assert row["thr02/64-128m/rmse"] == pytest.approx(0.25, rel=1e-4)
    assert math.isnan(row["raw/128m+/nmse"]) and math.isnan(row["raw/128m+/rmse_db"])


def test_rings_part_the_outdoors(batch):
    predicted_db, true_db, outdoor, _ = batch
    away_m = distance_m(batch)
    rows = metrics.score_maps(predicted_db, true_db, outdoor, distance_m=away_m)
    for row, out, away in zip(rows, outdoor, away_m, strict=True):
        inside = {"0-32m": away < 32, "32-64m": (away >= 32) & (away < 64), "64-128m": (away >= 64) & (away < 128),
                  "128m+": away >= 128}  # fmt: skip
        for convention in metrics.CONVENTIONS:
            parts = sum((mask & out).sum() * row[f"{convention}/{ring}/rmse"] ** 2 for ring, mask in inside.items())
            assert row[f"{convention}/outdoor/rmse"] ** 2 == pytest.approx(parts / out.sum(), rel=1e-12)


def test_rings_change_no_other_score(batch):
    away_m = distance_m(batch)
    for plain, ringed in zip(metrics.score_maps(*batch), metrics.score_maps(*batch, away_m), strict=True):
        assert {key: ringed[key] for key in plain} == plain
        rings = {key.split("/")[1] for key in ringed.keys() - plain.keys()}
        assert rings == {"0-32m", "32-64m", "64-128m", "128m+"}
    (one,) = {tuple(row) for row in metrics.score_maps(*batch, away_m, ring_edges_m=(0, 50.5, 100))}
    assert {"raw/0-50.5m/nmse", "raw/50.5-100m/nmse"} <= set(one) and "raw/128m+/nmse" not in one


def test_permuting_the_batch_permutes_the_rows(batch):
    order = [2, 0, 1]
    rows = metrics.score_maps(*batch)
    assert metrics.score_maps(*(array[order] for array in batch)) == [rows[index] for index in order]
    alone = [metrics.score_maps(*(array[index : index + 1] for array in batch))[0] for index in range(3)]
    for row, single in zip(rows, alone, strict=True):
        assert single == pytest.approx(row, rel=1e-12)


def test_torch_and_numpy_give_one_answer(batch):
    assert metrics.score_maps(*map(torch.from_numpy, batch)) == metrics.score_maps(*batch)


def test_an_empty_region_is_nan(batch):
    predicted_db, true_db, outdoor, _ = batch
    for row in metrics.score_maps(predicted_db, true_db, outdoor, np.ones_like(outdoor)):
        assert all(math.isnan(row[f"raw/nlos/{metric}"]) for metric in metrics.METRICS)
    for row in metrics.score_maps(predicted_db, true_db, np.zeros_like(outdoor)):
        assert math.isnan(row["raw/outdoor/rmse"]) and math.isnan(row["raw/outdoor/median_abs_db"])


def test_agrees_with_torchmetrics_and_scikit_image(batch):
    predicted_db, true_db, outdoor, _ = batch
    rng = np.random.default_rng(2)
    predicted = np.clip(units.grey_from_gain_db(predicted_db), 0, 1) * rng.uniform(0.8, 1, predicted_db.shape)
    true = np.where(outdoor, units.grey_from_gain_db(true_db), 0)
    rows = metrics.score_maps(units.gain_db_from_grey(predicted), true_db, outdoor)
    for row, guess, truth in zip(rows, predicted, true, strict=True):
        pair = [torch.from_numpy(image)[None, None].float() for image in (guess, truth)]
        ssim = structural_similarity_index_measure(*pair, data_range=1.0)
        assert row["raw/all/ssim"] == pytest.approx(float(ssim), abs=1e-5)
        assert row["raw/all/psnr"] == pytest.approx(float(peak_signal_noise_ratio(*pair, data_range=1.0)), abs=1e-4)

    _, image = structural_similarity(
        predicted[0], true[0], data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    ours = metrics._similarity(*(torch.from_numpy(array[:1]).double() for array in (predicted, true)))[0].numpy()
    inside = (slice(5, -5), slice(5, -5))  # the two reflect borders differently
    np.testing.assert_allclose(ours[inside], image[inside], atol=1e-6)


def test_bad_inputs_are_named(batch):
    predicted_db, true_db, outdoor, seen = batch
    broken = predicted_db.copy()
    broken[0, 0, :3] = np.nan, np.inf, -np.inf
    with pytest.raises(ValueError, match="predicted_db holds 3 values that are not finite"):
        metrics.score_maps(broken, true_db, outdoor)
    with pytest.raises(ValueError, match="true_db has shape"):
        metrics.score_maps(predicted_db, true_db[:2], outdoor)
    with pytest.raises(ValueError, match="line_of_sight has shape"):
        metrics.score_maps(predicted_db, true_db, outdoor, seen[:2])
    with pytest.raises(ValueError, match="distance_m has shape"):
        metrics.score_maps(predicted_db, true_db, outdoor, distance_m=predicted_db[:2])
    for edges_m in ((0.0,), (0.0, 64.0, 32.0)):
        with pytest.raises(ValueError, match="ring_edges_m must be two distances or more that rise"):
            metrics.score_maps(predicted_db, true_db, outdoor, seen, -predicted_db, ring_edges_m=edges_m)
    with pytest.raises(ValueError, match="outdoor must be bool"):
        metrics.score_maps(predicted_db, true_db, outdoor.astype(float))
    with pytest.raises(ValueError, match=r"shape \(B, H, W\)"):
        metrics.score_maps(predicted_db[0], true_db[0], outdoor[0])
    with pytest.raises(ValueError, match="at least 6 x 6"):
        metrics.score_maps(flat(0.5, (1, 5, 8)), flat(0.5, (1, 5, 8)), np.ones((1, 5, 8), bool))


def test_an_empty_batch_gives_no_rows():
    empty = np.zeros((0, 8, 8))
    assert metrics.score_maps(empty, empty, empty.astype(bool), empty.astype(bool)) == []
    assert metrics.outline_agreement(empty, empty, empty.astype(bool)) == []


def lines(*columns):
    image = np.zeros((1, 9, 9))
    image[:, :, list(columns)] = 1
    return image


def test_a_line_one_cell_off_is_forgiven_within_the_tolerance():
    everywhere = np.ones((1, 9, 9), bool)
    (near,) = metrics.outline_agreement(lines(4), lines(3), everywhere, tolerance_cells=1)
    assert near["outline/dtc"] == near["outline/dtiou"] == 1 and near["outline/iou"] == 0
    (strict,) = metrics.outline_agreement(lines(4), lines(3), everywhere, tolerance_cells=0)
    assert strict["outline/dtc"] == strict["outline/dtiou"] == 0
    assert strict["outline/share"] == strict["outline/share_true"] == pytest.approx(1 / 9)


def test_marking_everything_is_covered_but_not_confirmed():
    (row,) = metrics.outline_agreement(np.ones((1, 9, 9)), lines(4), np.ones((1, 9, 9), bool), tolerance_cells=1)
    assert row["outline/dtc"] == 1
    assert row["outline/dtiou"] == pytest.approx(3 / 9)  # the line and its two neighbours, of nine columns
    assert row["outline/iou"] == pytest.approx(1 / 9)


def test_wall_cells_count_for_neither_side():
    outdoor = np.ones((1, 9, 9), bool)
    outdoor[:, :, 6:] = False
    (row,) = metrics.outline_agreement(lines(1, 7), lines(4, 7), outdoor)
    assert row["outline/dtc"] == row["outline/iou"] == 0
    assert row["outline/share"] == pytest.approx(1 / 6)


def test_outline_without_a_true_cell_is_nan():
    (row,) = metrics.outline_agreement(lines(1), lines(), np.ones((1, 9, 9), bool))
    assert math.isnan(row["outline/dtc"]) and math.isnan(row["outline/dtiou"]) and math.isnan(row["outline/iou"])
    assert row["outline/share_true"] == 0
    with pytest.raises(ValueError, match="tolerance_cells"):
        metrics.outline_agreement(lines(1), lines(), np.ones((1, 9, 9), bool), tolerance_cells=-1)


def test_more_tolerance_never_lowers_the_agreement():
    rng = np.random.default_rng(3)
    guess, truth, outdoor = rng.random((4, 20, 20)), rng.random((4, 20, 20)), rng.random((4, 20, 20)) > 0.2
    rows = [metrics.outline_agreement(guess, truth, outdoor, 0.9, tolerance) for tolerance in range(4)]
    for closer, wider in itertools.pairwise(rows):
        for a, b in zip(closer, wider, strict=True):
            assert a["outline/dtc"] <= b["outline/dtc"] <= 1 and a["outline/dtiou"] <= b["outline/dtiou"] <= 1
    assert all(row["outline/dtiou"] == row["outline/iou"] for row in rows[0])


def test_the_residual_of_an_even_field_is_the_wavenumber_s():
    """∇²g = 0, so that κ²g is left: 0.2² of 0.5, squared; buildings hold 0 and leave nothing."""
    outdoor, transmitter = np.ones((1, 9, 9), bool), np.zeros((1, 9, 9), bool)
    transmitter[0, 4, 4] = True
    (row,) = metrics.helmholtz_residual(flat(0.5, (1, 9, 9)), flat(0.25, (1, 9, 9)), outdoor, transmitter)
    assert row["helmholtz/residual"] == pytest.approx((0.04 * 0.5) ** 2, rel=1e-4)
    assert row["helmholtz/residual_true"] == pytest.approx((0.04 * 0.25) ** 2, rel=1e-4)
    (row,) = metrics.helmholtz_residual(flat(0.5, (1, 9, 9)), flat(0.5, (1, 9, 9)), ~outdoor, transmitter)
    assert row["helmholtz/residual"] == 0


def test_noise_leaves_a_greater_residual_than_a_smooth_map(batch):
    predicted_db, _true_db, outdoor, _seen = batch
    transmitter = np.zeros_like(outdoor)
    rows = metrics.helmholtz_residual(predicted_db, np.full_like(predicted_db, -100.0), outdoor, transmitter)
    assert all(row["helmholtz/residual"] > 10 * row["helmholtz/residual_true"] > 0 for row in rows)
    with pytest.raises(ValueError, match="transmitter must be bool"):
        metrics.helmholtz_residual(predicted_db, predicted_db, outdoor, transmitter.astype(float))
