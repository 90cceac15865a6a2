"""Laws of the Helmholtz indicators: exact cases, orders of convergence, symmetries, free space and shadow edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymap.physics.helmholtz import DB_PER_NEPER, laplacian, outline, residual, wavenumber_squared

SYMMETRIES = [
    lambda a, turns=turns, flip=flip: np.rot90(a[..., ::-1] if flip else a, turns, axes=(-2, -1)).copy()
    for turns in range(4)
    for flip in (False, True)
]


def _axes(num: int, length_m: float = 1.0):
    """Row and column coordinates [m] of the centres of num x num cells over a square of ``length_m``."""
    centres_m = (np.arange(num) + 0.5) * length_m / num
    return np.meshgrid(centres_m, centres_m, indexing="ij")


def _inner(array, margin: int = 1):
    return array[..., margin:-margin, margin:-margin]


def _free_space_db(shape, source, exponent: float, cell_m: float = 1.0):
    """Path gain -40 - 10·n·log10(r) [dB] with r at least half a cell, and r in cells."""
    rows, columns = np.indices(shape)
    cells = np.maximum(np.hypot(rows - source[0], columns - source[1]), 0.5)
    return -40.0 - 10.0 * exponent * np.log10(cells * cell_m), cells


def _city(seed: int, shape=(33, 47), num_maps: int = 3):
    """Gains with free space, a random shadow each and 8-bit steps, and masks with random walls."""
    rng = np.random.default_rng(seed)
    gains, masks = [], []
    for _ in range(num_maps):
        gain_db, _ = _free_space_db(shape, (rng.uniform(0, shape[0]), rng.uniform(0, shape[1])), rng.uniform(2, 4))
        row, column = rng.integers(2, shape[0] - 2), rng.integers(2, shape[1] - 2)
        gain_db[row:, column:] -= rng.uniform(5, 30)
        valid = np.ones(shape, bool)
        for _ in range(3):
            top, left = rng.integers(0, shape[0] - 6), rng.integers(0, shape[1] - 6)
            valid[top : top + rng.integers(1, 6), left : left + rng.integers(1, 6)] = False
        gains.append(np.round(gain_db * 2.55) / 2.55)
        masks.append(valid)
    return np.array(gains, np.float32), np.array(masks)


def _order(errors) -> float:
    """Observed order of convergence when every error belongs to half the cell size of the one before."""
    return float(np.mean(np.log2(np.array(errors[:-1]) / np.array(errors[1:]))))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6), st.floats(0.1, 10))
def test_laplacian_of_a_quadratic_is_exact(coefficients, cell_m):
    a, b, c, d, e, f = coefficients
    y, x = np.indices((7, 9)) * cell_m
    field = a * x * x + b * x * y + c * y * y + d * x + e * y + f
    np.testing.assert_allclose(_inner(laplacian(field, cell_m)), 2 * (a + c), atol=1e-9 * (1 + cell_m**-2))


def test_laplacian_of_a_plane_wave_is_minus_k_squared_at_second_order():
    wave = np.array([7.0, 4.0])
    laplacian_errors, residual_errors = [], []
    for num in (32, 64, 128):
        y, x = _axes(num)
        field = np.exp(1j * (wave[0] * x + wave[1] * y))
        error = _inner(laplacian(field, 1.0 / num) / field + wave @ wave)
        laplacian_errors.append(np.abs(error).max())
        residual_errors.append(np.abs(_inner(residual(field.real, wave @ wave, 1.0 / num))).max())
    assert _order(laplacian_errors) == pytest.approx(2.0, abs=0.05)
    assert _order(residual_errors) == pytest.approx(2.0, abs=0.05)
    assert residual_errors[-1] < 1e-3 * (wave @ wave)


def test_residual_with_its_own_k_eff_vanishes():
    gain_db, _ = _free_space_db((24, 24), (-5.3, 3.1), 2.0)
    amplitude = 10.0 ** (gain_db / 20.0)
    k_squared = wavenumber_squared(gain_db, 2.0, "k_eff")
    scale = np.abs(laplacian(amplitude, 2.0)).max()
    assert np.abs(residual(amplitude, k_squared, 2.0)).max() < 1e-5 * scale  # ε of eq. 38 is all that is left


@pytest.mark.parametrize("exponent", [1.7, 2.0, 4.0])
def test_free_space_is_harmonic_in_db_at_second_order(exponent):
    errors = []
    for num in (32, 64, 128):
        y, x = _axes(num, 10.0)
        distance_m = np.hypot(x - 1.0, y + 1.0)
        k_log = wavenumber_squared(-10.0 * exponent * np.log10(distance_m), 10.0 / num, "k_log")
        errors.append(np.abs(_inner(k_log)[_inner(distance_m) > 4.0]).max())
    assert _order(errors) == pytest.approx(2.0, abs=0.15)
    assert errors[-1] == pytest.approx(exponent / 2 * (10.0 / 128) ** 2 / 4.0**4, rel=0.05)  # (n/2)·h²/r⁴ by Taylor


@pytest.mark.parametrize("exponent", [2.0, 4.0])
@pytest.mark.parametrize("step_db", [0.0, 100 / 255])
def test_free_space_has_no_outline_but_the_literal_k_eff_marks_all_of_it(exponent, step_db):
    gain_db, cells = _free_space_db((65, 81), (30.3, 40.2), exponent)
    if step_db:
        gain_db = np.round(gain_db / step_db) * step_db
    assert not outline(gain_db, 1.0).any()
    if not step_db:
        k_eff = wavenumber_squared(gain_db, 1.0, "k_eff")
        away = _inner(cells) > 8
        np.testing.assert_allclose(_inner(k_eff)[away], -((exponent / 2) ** 2) / _inner(cells)[away] ** 2, rtol=0.1)
        assert (_inner(outline(gain_db, 1.0, "k_eff"))[_inner(cells) > 2] == 1).all()


def test_paper_marks_the_dark_side_of_a_shadow_edge_and_the_released_script_the_lit_side():
    gain_db, _ = _free_space_db((40, 60), (20.0, -200.0), 2.0)
    gain_db[:20] -= 20.0  # rows 0 to 19 are dark, 20 and below are lit
    lit, dark = 20, 19
    ours = outline(gain_db, 1.0, sigma_cells=0.0)
    literal = outline(gain_db, 1.0, "k_eff", sigma_cells=0.0, threshold_db=0.5, saturation_db=0.5)
    released = 1.0 - outline(gain_db, 1.0, "reference", transmitter=(20, 0))
    rows = slice(5, -5)
    for marked in (ours, literal):
        assert (marked[dark, rows] == 1).all() and not np.delete(marked, dark, axis=0).any()
    assert (released[lit, rows] > 0.9).all() and (released[dark, rows] == 0).all()
    assert np.delete(released, lit, axis=0).max() < 0.01
    smoothed = outline(gain_db, 1.0)  # the default smoothing keeps the line on the dark side, at most two cells wide
    assert (smoothed[dark] == 1).all() and not smoothed[lit:].any() and not smoothed[: dark - 1].any()


def test_reference_is_inverted_grey_between_white_borders_and_takes_one_cell_per_map():
    gain_db, _ = _city(3)
    cells = np.array([[5, 6], [7, 8], [20, 30]])
    grey = outline(gain_db, 4.0, "reference", transmitter=cells)
    border = np.ones(grey.shape[-2:], bool)
    border[1:-1, 1:-1] = False
    assert grey.dtype == np.float32 and (grey[:, border] == 1).all()
    np.testing.assert_allclose(grey.min(axis=(1, 2)), 0.0, atol=1e-6)
    for one, gain, cell in zip(grey, gain_db, cells, strict=True):
        np.testing.assert_array_equal(one, outline(gain, 1.0, "reference", transmitter=tuple(cell)))
    assert (outline(np.full((5, 5), -90.0), 1.0, "reference", transmitter=(2, 2)) == 1).all()


def test_outline_counts_cells_and_k_squared_counts_metres():
    gain_db, valid = _city(0)
    for kind in ("k_log", "k_eff"):
        fine, coarse = wavenumber_squared(gain_db, 1.0, kind, valid), wavenumber_squared(gain_db, 4.0, kind, valid)
        np.testing.assert_allclose(coarse * 16, fine, rtol=1e-5)
        np.testing.assert_array_equal(outline(gain_db, 1.0, kind, valid), outline(gain_db, 4.0, kind, valid))
    curvature_db = -DB_PER_NEPER * wavenumber_squared(gain_db, 4.0, "k_log", valid) * 16
    expected = np.clip((curvature_db - 2) / 3, 0, 1) * valid
    actual = outline(gain_db, 4.0, valid=valid, sigma_cells=0, threshold_db=2, saturation_db=5)
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_a_wall_alone_makes_no_outline_and_its_values_are_never_read():
    gain_db, _ = _free_space_db((48, 48), (8.0, 8.0), 2.2)
    valid = np.ones(gain_db.shape, bool)
    valid[20:30, 15:40] = valid[:, 44] = False
    for inside in (-147.0, 0.0, np.nan, -np.inf):
        walled = np.where(valid, gain_db, inside).astype(np.float32)
        assert not outline(walled, 1.0, valid=valid).any()
        assert not outline(torch.from_numpy(walled), 1.0, valid=valid).any()
    walled = np.where(valid, gain_db, -147.0)
    assert outline(walled, 1.0).any()  # the mask is what makes the difference
    flat = np.where(valid, -80.0, np.nan)
    assert not laplacian(flat, 1.0, valid).any() and not wavenumber_squared(flat, 1.0, "k_eff", valid).any()
    assert not residual(flat, 0.0, 1.0, valid).any()


def test_smoothing_and_curvature_do_not_reach_across_a_wall():
    gain_db, valid = np.full((20, 20), -80.0), np.ones((20, 20), bool)
    gain_db[:, 10:] = -120.0
    assert outline(gain_db, 1.0).any()
    valid[:, 9] = False
    assert not outline(gain_db, 1.0, valid=valid, sigma_cells=3.0).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(-60, 20))
def test_k_log_outline_ignores_a_constant_gain(seed, constant_db):
    gain_db, valid = _city(seed)
    expected = outline(gain_db, 1.0, valid=valid)
    np.testing.assert_allclose(outline(gain_db + constant_db, 1.0, valid=valid), expected, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_a_turned_scene_gives_the_turned_outline(seed):
    gain_db, valid = _city(seed)
    for kind in ("k_log", "k_eff"):
        expected = outline(gain_db, 1.0, kind, valid)
        for turn in SYMMETRIES:
            np.testing.assert_allclose(outline(turn(gain_db), 1.0, kind, turn(valid)), turn(expected), atol=1e-5)
    corner = np.zeros(gain_db.shape[-2:], int)
    corner[4, 9] = 1
    expected = outline(gain_db, 1.0, "reference", transmitter=(4, 9))
    for turn in SYMMETRIES:
        cell = np.argwhere(turn(corner))[0]
        actual = outline(turn(gain_db), 1.0, "reference", transmitter=cell)
        np.testing.assert_allclose(actual, turn(expected), atol=1e-5)


@pytest.mark.parametrize("sigma_cells", [0.0, 0.7, 1.6])
@pytest.mark.parametrize("kind", ["k_log", "k_eff", "reference"])
def test_torch_and_numpy_agree(kind, sigma_cells):
    gain_db, valid = _city(11)
    options = {"sigma_cells": sigma_cells, "transmitter": (3, 4), "threshold_db": 0.7, "saturation_db": 2.5}
    for mask in (None, valid[0], valid):
        expected = outline(gain_db, 2.0, kind, mask, **options)
        actual = outline(torch.from_numpy(gain_db), 2.0, kind, mask, **options)
        assert expected.dtype == np.float32 and actual.dtype == torch.float32
        np.testing.assert_allclose(actual.numpy(), expected, atol=2e-5)
        for fields in (laplacian, wavenumber_squared):
            same = fields(torch.from_numpy(gain_db), 2.0, valid=mask).numpy()
            np.testing.assert_allclose(same, fields(gain_db, 2.0, valid=mask), rtol=1e-6, atol=1e-7)


def test_leading_dimensions_are_a_loop_over_maps():
    gain_db, valid = _city(5, num_maps=6)
    grid = gain_db.reshape(2, 3, *gain_db.shape[-2:])
    for mask in (valid[0], valid[:3], valid.reshape(grid.shape), valid[:2, None]):
        expected = np.broadcast_to(mask, grid.shape)
        for kind in ("k_log", "k_eff"):
            batch = outline(grid, 1.0, kind, mask)
            for index in np.ndindex(2, 3):
                np.testing.assert_array_equal(batch[index], outline(grid[index], 1.0, kind, expected[index]))
    assert outline(grid[:0], 1.0).shape == (0, *grid.shape[1:])


def test_the_given_gains_are_left_alone():
    gain_db, valid = _city(2)
    before = gain_db.copy()
    for kind in ("k_log", "k_eff", "reference"):
        outline(gain_db, 1.0, kind, valid, transmitter=(3, 3))
        outline(torch.from_numpy(gain_db), 1.0, kind, valid, transmitter=(3, 3))
    np.testing.assert_array_equal(gain_db, before)


def test_gradients_flow_through_laplacian_residual_and_outline():
    rng = np.random.default_rng(0)
    field = torch.tensor(rng.normal(size=(2, 5, 4)), requires_grad=True)
    k_squared = torch.tensor(rng.normal(size=(5, 4)), requires_grad=True)
    valid = torch.ones(5, 4, dtype=torch.bool)
    valid[1:3, 2] = False
    assert torch.autograd.gradcheck(lambda u: laplacian(u, 0.7), field)
    assert torch.autograd.gradcheck(lambda u: laplacian(u, 0.7, valid), field)
    assert torch.autograd.gradcheck(lambda u, k: residual(u, k, 0.7, valid), (field, k_squared))
    gain_db = torch.from_numpy(_city(1)[0]).requires_grad_()
    outline(gain_db, 1.0).sum().backward()
    assert torch.isfinite(gain_db.grad).all() and gain_db.grad.any()


def test_one_number_of_levels_makes_the_outline_binary():
    gain_db, valid = _city(9)
    binary = outline(gain_db, 1.0, valid=valid, threshold_db=1.0, saturation_db=1.0)
    assert set(np.unique(binary)) == {0.0, 1.0}
    assert (binary[outline(gain_db, 1.0, valid=valid) > 0] == 1).all()


GAIN = np.full((4, 5), -80.0)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("kind must be one of k_log, k_eff, reference, got 'canny'", {"kind": "canny"}),
        ("at least 3 x 3", {"gain_db": GAIN[:2]}),
        ("at least 3 x 3", {"gain_db": GAIN[0]}),
        ("cell_m must be a positive length in metres, got 0", {"cell_m": 0.0}),
        ("cell_m", {"cell_m": math.nan}),
        ("finite on valid cells, 20 are not", {"gain_db": GAIN * np.nan}),
        ("finite on valid cells, 20 are not", {"gain_db": torch.from_numpy(GAIN) * math.inf}),
        ("finite on valid cells, 20 are not", {"gain_db": GAIN * np.inf, "kind": "k_eff"}),
        ("finite on valid cells, 1 are not", {"gain_db": np.where(np.eye(4, 5, 4), np.nan, GAIN), "kind": "k_eff"}),
        ("finite everywhere", {"gain_db": GAIN * np.nan, "kind": "reference", "transmitter": (1, 1)}),
        (r"valid of shape \(5, 4\)", {"valid": np.ones((5, 4), bool)}),
        (r"valid of shape \(2, 4, 5\)", {"valid": np.ones((2, 4, 5), bool)}),
        ("sigma_cells", {"sigma_cells": -1.0}),
        ("saturation_db", {"threshold_db": 4.0}),
        ("got None", {"kind": "reference"}),
        ("lies outside", {"kind": "reference", "transmitter": (4, 0)}),
        ("integer cells", {"kind": "reference", "transmitter": (1.5, 0.0)}),
    ],
)
def test_errors_name_the_value(message, arguments):
    with pytest.raises(ValueError, match=message):
        outline(**{"gain_db": GAIN, "cell_m": 1.0} | arguments)


def test_wavenumber_refuses_other_kinds():
    with pytest.raises(ValueError, match="k_log, k_eff, got 'reference'"):
        wavenumber_squared(GAIN, 1.0, "reference")
