"""Laws of the Helmholtz terms: plane waves, sources, walls, symmetries, and the way down their gradient."""

import itertools
import math

import pytest
import torch

from raymap.data.batch import symmetry
from raymap.physics import helmholtz_loss
from raymap.physics.helmholtz_loss import descend, residual, terms, total_variation

KAPPA = (0.2, 1.0)


@pytest.fixture
def town():
    """(field, outdoor, transmitter) of three random 12 x 12 maps, two houses each, in double precision."""
    generator = torch.Generator().manual_seed(0)
    field = torch.rand(3, 1, 12, 12, generator=generator, dtype=torch.float64)
    outdoor = torch.ones(3, 1, 12, 12, dtype=torch.bool)
    outdoor[..., 2:5, 3:9] = False
    outdoor[1:, :, 7:11, 6:8] = False
    transmitter = torch.zeros(3, 1, 12, 12, dtype=torch.bool)
    transmitter[..., 6, 2] = True
    return field, outdoor, transmitter


@pytest.mark.parametrize("indoors", [False, True])
def test_a_plane_wave_of_its_wavenumber_has_no_residual_at_second_order(indoors):
    wave, found = torch.tensor([7.0, 4.0], dtype=torch.float64), []
    kappa = float(wave.norm())
    for num in (32, 64, 128):
        centres = (torch.arange(num, dtype=torch.float64) + 0.5) / num
        field = torch.cos(wave[0] * centres[:, None] + wave[1] * centres[None])
        outdoor = torch.full((num, num), not indoors)
        nowhere = torch.zeros(num, num, dtype=torch.bool)
        wavenumbers = (0.0, kappa) if indoors else (kappa, 0.0)
        found.append(float(terms(field, outdoor, nowhere, 1.0, 1 / num, wavenumbers).equation.sqrt()))
    orders = [math.log2(before / after) for before, after in itertools.pairwise(found)]
    assert orders == pytest.approx([2.0, 2.0], abs=0.05)
    assert found[-1] < 2e-3 * kappa**2


def test_the_field_of_a_source_between_closed_walls_has_no_residual_but_at_the_source(town):
    _, outdoor, transmitter = (part[1, 0] for part in town)
    cells = outdoor.numel()
    units = torch.eye(cells, dtype=torch.float64).reshape(cells, *outdoor.shape)
    operator = helmholtz_loss._operator(units, outdoor, 3.0, KAPPA).reshape(cells, cells)
    torch.testing.assert_close(operator, operator.T)
    field = torch.linalg.solve(operator, -transmitter.flatten().double()).reshape(outdoor.shape)
    assert float(terms(field, outdoor, transmitter, 0.0, 3.0, KAPPA).equation) < 1e-24
    elsewhere = transmitter.roll(1, dims=0)
    assert float(terms(field, outdoor, elsewhere, 0.0, 3.0, KAPPA).equation) == pytest.approx(1 / 99)  # of 10 x 10 - 1


def test_the_boundary_term_is_zero_if_and_only_if_the_field_is_zero_in_buildings(town):
    field, outdoor, transmitter = town
    inside = ~outdoor
    assert (terms(field * outdoor, outdoor, transmitter, 1.0, 1.0, KAPPA).boundary == 0).all()
    place = inside[1].nonzero()[3]
    one = field * outdoor
    one[1, *place] = 0.5
    boundary = terms(one, outdoor, transmitter, 1.0, 1.0, KAPPA).boundary
    assert boundary[:, 0].tolist() == [0, pytest.approx(0.25 / int(inside[1].sum())), 0]
    nothing_built = torch.ones_like(outdoor)
    assert (terms(field, nothing_built, transmitter, 1.0, 1.0, KAPPA).boundary == 0).all()


def test_a_jump_at_a_wall_is_free_and_a_jump_in_the_street_is_not(town):
    _, outdoor, transmitter = town
    street = 0.7 * outdoor.double()
    assert (terms(street, outdoor, transmitter, 0.7, 1.0, (0.0, 1.0)).equation == 0).all()
    street[..., 9, 2] -= 0.1
    assert (terms(street, outdoor, transmitter, 0.7, 1.0, (0.0, 1.0)).equation > 0).all()
    assert (terms(street, outdoor, transmitter, 0.7, 1.0, (0.0, 1.0)).source == 0).all()


def test_the_source_term_looks_at_the_transmitters_cell_alone(town):
    field, outdoor, transmitter = town
    source = torch.full_like(field, 0.9)
    found = terms(torch.where(transmitter, 0.4, field), outdoor, transmitter, source, 1.0, KAPPA).source
    torch.testing.assert_close(found, torch.full_like(found, 0.25))
    assert (terms(field, outdoor, torch.zeros_like(transmitter), source, 1.0, KAPPA).source == 0).all()


@pytest.mark.parametrize("code", range(1, 8))
def test_all_terms_are_the_same_under_the_symmetries_of_the_square(town, code):
    field, outdoor, transmitter = town
    turned = [symmetry(part, code) for part in town]
    torch.testing.assert_close(terms(*turned, 0.9, 4.0, KAPPA), terms(*town, 0.9, 4.0, KAPPA))
    torch.testing.assert_close(total_variation(*turned[:2]), total_variation(field, outdoor))
    torch.testing.assert_close(
        residual(*turned, 4.0, KAPPA), symmetry(residual(field, outdoor, transmitter, 4.0, KAPPA), code)
    )


def test_gradients_of_all_terms_are_those_of_finite_differences(town):
    field, outdoor, transmitter = (part[1:2, :, :8, :8] for part in town)

    def everything(values):
        found = terms(values, outdoor, transmitter, 0.9, 1.0, KAPPA)
        return sum(found) + total_variation(values, outdoor)

    assert torch.autograd.gradcheck(everything, field.clone().requires_grad_())


def test_descending_follows_the_gradient_of_half_the_sum_of_squares(town):
    field, outdoor, transmitter = town
    field = field.clone().requires_grad_()
    half = 0.5 * residual(field, outdoor, transmitter, 4.0, KAPPA).square().sum()
    (gradient,) = torch.autograd.grad(half, field)
    step = (field - descend(field, outdoor, transmitter, 4.0, KAPPA, 0.3)).detach()
    torch.testing.assert_close(step, 0.3 * 4.0**4 / 64 * gradient)


@pytest.mark.parametrize("kappa", [(0.0, 0.0), KAPPA, (2.0, 0.1)])
@pytest.mark.parametrize("share", [0.1, 1.0, 1.9])
def test_the_residual_falls_with_every_step_down(town, kappa, share):
    field, outdoor, transmitter = town
    for _ in range(5):
        lower = descend(field, outdoor, transmitter, 1.0, kappa, share)
        before, after = (residual(u, outdoor, transmitter, 1.0, kappa).square().sum() for u in (field, lower))
        assert after < before
        field = lower


def test_a_full_step_takes_the_chequerboard_away():
    rows, columns = torch.meshgrid(torch.arange(10), torch.arange(10), indexing="ij")
    board = 1.0 - 2.0 * ((rows + columns) % 2)
    everywhere, nowhere = torch.ones(10, 10, dtype=torch.bool), torch.zeros(10, 10, dtype=torch.bool)
    after = descend(0.5 + board, everywhere, nowhere, 1.0, (0.0, 0.0), 1.0)
    torch.testing.assert_close(after[2:-2, 2:-2], torch.full((6, 6), 0.5))


def test_total_variation_is_what_a_step_climbs_and_leaves_walls_out():
    field, outdoor = torch.zeros(6, 8), torch.ones(6, 8, dtype=torch.bool)
    field[:, 5:] = 0.3
    assert float(total_variation(field, outdoor)) == pytest.approx(0.3 * 6 / 48)
    slope = torch.linspace(0, 0.3, 8).expand(6, 8)
    assert float(total_variation(slope, outdoor)) == pytest.approx(0.3 * 6 / 48), "a slope climbs no more than a step"
    outdoor[:, 5:] = False
    assert float(total_variation(field, outdoor)) == 0
