"""Laws of RME-GAN's loss terms: nothing to pay for the truth, and each one blind to what is not its affair."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch.nn import functional as F
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from raymap import units
from raymap.models import rmegan_losses as losses
from raymap.physics import pathloss

ALL = torch.ones(2, 1, 32, 32, dtype=torch.bool)
NOTHING = torch.zeros(2, dtype=torch.float64)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def ramp(rows, columns, side=32):
    """(2, 1, side, side): a plane that rises by ``rows`` and ``columns`` per cell."""
    place = torch.arange(side, dtype=torch.float32)
    return (rows * place[:, None] + columns * place).expand(2, 1, side, side)


def blurred(picture):
    return F.avg_pool2d(F.pad(picture, (2, 2, 2, 2), mode="circular"), 5, stride=1)


def planted(reference_loss_db, exponent):
    """Free-space gain and the map of a log-distance law around one transmitter, both (1, 1, 32, 32) in signal units."""
    distance_m = pathloss.distance_m((32, 32), 4.0, (33.0, 71.0))
    free, law = pathloss.free_space_gain_db(distance_m, 5.9e9), (distance_m, reference_loss_db, exponent)
    maps_db = free, pathloss.log_distance_gain_db(*law)
    return [torch.from_numpy(units.signal_from_gain_db(gain_db)).float()[None, None] for gain_db in maps_db]


@pytest.mark.parametrize("num", [5, 50, 500])
@pytest.mark.parametrize("law", [(47.9, 2.0), (60.0, 3.7), (80.0, 0.5)])
def test_samples_of_a_law_give_the_law_back_everywhere(law, num):
    free, wanted = planted(*law)
    where = torch.zeros_like(free, dtype=torch.bool)
    where.view(-1)[torch.randperm(1024, generator=torch.Generator().manual_seed(num))[:num]] = True
    found = losses.fitted_map(free, wanted.where(where, torch.tensor(0.0)), where, NOTHING)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_every_map_has_its_own_fit():
    free, first = planted(60.0, 3.7)
    second = planted(47.9, 2.0)[1]
    where = noise(2, 1, 32, 32) < 0.05
    found = losses.fitted_map(torch.cat([free, free]), torch.cat([first, second]), where, NOTHING)
    torch.testing.assert_close(found, torch.cat([first, second]), rtol=0, atol=1e-4)


def test_the_fit_is_the_least_squares_one():
    free, law = planted(60.0, 3.7)
    measured = law + 0.2 * noise(1, 1, 32, 32)
    where = noise(1, 1, 32, 32, seed=1) < 0.1
    slope, constant = np.polyfit(free[where].double().numpy(), measured[where].double().numpy(), 1)
    found = losses.fitted_map(free, measured, where, NOTHING)
    torch.testing.assert_close(found, (constant + slope * free.double()).float(), rtol=0, atol=1e-4)


def test_what_measurements_leave_open_is_the_known_law():
    free, known = planted(60.0, 3.7)
    prior = losses.solve_law(*(one[0] for one in losses.law_moments(free, known, torch.ones_like(free) > 0)), NOTHING)
    nowhere = torch.zeros_like(free, dtype=torch.bool)
    found = losses.fitted_map(free, torch.zeros_like(free), nowhere, prior)
    torch.testing.assert_close(found, known, rtol=0, atol=1e-4)
    one = nowhere.clone()
    one[0, 0, 3, 4] = True
    found = losses.fitted_map(free, known + 0.1, one, prior)
    assert found[0, 0, 3, 4] == pytest.approx(float(known[0, 0, 3, 4]) + 0.1, abs=1e-4)


def test_a_critic_that_cannot_tell_pays_the_logarithm_of_two():
    unsure, sure = torch.zeros(2, 1, 4, 4), torch.full((2, 1, 4, 4), 9.0)
    assert float(losses.critic_loss(unsure, unsure)) == pytest.approx(math.log(2))
    assert float(losses.critic_loss(sure, -sure)) < 1e-3 < 8 < float(losses.critic_loss(-sure, sure))
    assert float(losses.adversarial_loss(sure)) < 1e-3 < 8 < float(losses.adversarial_loss(-sure))


@pytest.mark.parametrize("term", ["squared_error", "absolute_error", "brightest_error"])
def test_errors_count_where_asked_and_nowhere_else(term):
    true, error = noise(2, 1, 32, 32), getattr(losses, term)
    where = ALL.clone()
    where[..., 16:] = False
    elsewhere = true + 0.5 * ~where
    assert float(error(elsewhere, true, where)) == 0
    half = 0.5 if term != "squared_error" else 0.25
    assert float(error(true + 0.5 * where, true, where)) == pytest.approx(half, rel=1e-5)
    assert float(error(true + 0.5, true, ~ALL)) == 0


def test_of_every_patch_only_the_brightest_measured_cell_counts():
    true, where = noise(1, 1, 20, 20), torch.zeros(1, 1, 20, 20, dtype=torch.bool)
    true[0, 0, 2, 3], true[0, 0, 3, 3], true[0, 0, 3, 2] = 0.9, 0.8, 2.0
    where[0, 0, 2:4, 3] = True
    where[0, 0, 12, 5] = True
    generated = true.clone()
    generated[0, 0, 3, 3] += 0.4
    generated[0, 0, 3, 2] += 0.4
    assert float(losses.brightest_error(generated, true, where)) == 0
    generated[0, 0, 2, 3] += 0.4
    assert float(losses.brightest_error(generated, true, where)) == pytest.approx(0.4 / 2)


def test_total_variation_is_the_slope_of_a_plane_and_nothing_across_walls():
    assert float(losses.total_variation(ramp(0.01, -0.02), ALL)) == pytest.approx(0.03, rel=1e-4)
    wall = ALL.clone()
    wall[:, :, 10] = False
    step = ramp(0.0, 0.0).clone()
    step[:, :, 11:] = 1.0
    assert float(losses.total_variation(step, wall)) == 0 < float(losses.total_variation(step, ALL))


@pytest.mark.parametrize(
    ("other", "wanted"), [((0.02, 0.0), 0.0), ((-0.01, 0.0), 2.0), ((0.0, 0.01), 1.0), ((0.01, 0.01), 1 - 0.5**0.5)]
)
def test_directions_of_planes_differ_by_the_cosine_of_their_angle(other, wanted):
    found = float(losses.gradient_direction(ramp(0.01, 0.0), ramp(*other), ALL))
    assert found == pytest.approx(wanted, abs=1e-3)


def test_direction_asks_for_no_level_no_scale_and_no_wall():
    generated, fit = noise(2, 1, 32, 32), noise(2, 1, 32, 32, seed=1)
    wanted = losses.gradient_direction(generated, fit, ALL)
    moved = losses.gradient_direction(2 * generated + 0.3, 0.5 * fit - 1, ALL)
    torch.testing.assert_close(moved, wanted, rtol=1e-3, atol=0)
    turned = [picture.flip(-1).transpose(-1, -2) for picture in (generated, fit)]
    torch.testing.assert_close(losses.gradient_direction(*turned, ALL), wanted, rtol=1e-5, atol=0)
    wall = ALL.clone()
    wall[..., 15:18, :] = False
    behind = generated.clone()
    behind[..., 15:18, :] = 0
    assert losses.gradient_direction(behind, fit, wall) == losses.gradient_direction(generated, fit, wall)


def test_one_scale_of_structure_is_the_ssim_of_scikit_image():
    true, generated = noise(1, 1, 20, 20), noise(1, 1, 20, 20, seed=1)
    pictures = [picture[0, 0].double().numpy() for picture in (true, generated)]
    _, image = structural_similarity(
        *pictures, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, full=True
    )
    wanted = 1 - (1 + image[5:-5, 5:-5].mean()) / 2
    assert float(losses.structure_loss(generated, true)) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(("side", "num"), [(44, 3), (64, 3), (176, 5), (256, 5)])
def test_more_scales_are_the_ms_ssim_of_torchmetrics(side, num):
    """Which fills up the margins of the last scale where we leave them out, hence not the same to the last digit."""
    true = blurred(noise(1, 1, side, side))
    generated = true + 0.05 * noise(1, 1, side, side, seed=1)
    betas = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)[:num]
    wanted = 1 - multiscale_structural_similarity_index_measure(
        generated, true, data_range=1.0, betas=tuple(beta / sum(betas) for beta in betas), normalize="simple"
    )
    assert float(losses.structure_loss(generated, true)) == pytest.approx(float(wanted), rel=0.05)


def test_structure_of_a_map_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match=r"at least 11 cells a side, got \(10, 40\)"):
        losses.structure_loss(torch.zeros(1, 1, 10, 40), torch.zeros(1, 1, 10, 40))


def test_the_spectrum_knows_no_place_but_every_wavelength():
    true = noise(2, 1, 32, 48)
    assert float(losses.spectrum_loss(true.roll((5, 9), (-2, -1)), true)) == pytest.approx(0, abs=1e-4)
    assert float(losses.spectrum_loss(true.flip(-1) + 0.3, true)) == pytest.approx(0, abs=1e-4)
    assert float(losses.spectrum_loss(blurred(true), true)) > 0.3
    assert float(losses.spectrum_loss(10 * true, true)) == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("cycles", [1, 4, 16])
def test_a_wave_is_power_at_its_own_wavelength_alone(cycles):
    wave = torch.cos(2 * math.pi * cycles * torch.arange(32) / 32).expand(1, 1, 32, 32)
    spectrum = losses._log_spectrum(wave)[0]
    assert int(spectrum.argmax()) == cycles - 1
    assert (spectrum[torch.arange(16) != cycles - 1] < -3.9).all()


TERMS = {
    "squared": lambda generated, true: losses.squared_error(generated, true, ALL),
    "absolute": lambda generated, true: losses.absolute_error(generated, true, ALL),
    "gradient": lambda generated, true: losses.gradient_direction(generated, true, ALL),
    "structure": losses.structure_loss,
    "spectrum": losses.spectrum_loss,
    "brightest": lambda generated, true: losses.brightest_error(generated, true, ALL),
}


@pytest.mark.parametrize("name", TERMS)
def test_every_term_is_nothing_for_the_truth_and_leads_there_by_its_gradient(name):
    true = noise(2, 1, 32, 32)
    assert float(TERMS[name](true, true)) == pytest.approx(0, abs=2e-3)
    generated = blurred(true).requires_grad_()
    before = TERMS[name](generated, true)
    (slope,) = torch.autograd.grad(before, generated)
    assert torch.isfinite(slope).all() and slope.abs().max() > 0
    step = 0.05 * before.detach() / slope.square().sum()
    assert TERMS[name](generated.detach() - step * slope, true) < before


@pytest.mark.parametrize("name", TERMS)
def test_every_term_has_a_gradient_on_level_ground(name):
    flat = torch.full((2, 1, 32, 32), 0.5, requires_grad=True)
    TERMS[name](flat, noise(2, 1, 32, 32)).backward()
    assert torch.isfinite(flat.grad).all()
