"""RF-SA: its Fourier branch is a filter (linear, moving with its input, at any size), and it is alive."""

import pytest
import torch

from raymap.nn.pixel_diffusion import DualUNet
from raymap.nn.rf_sa import FrequencyFilter, RfSa

SIZES = [(8, 8), (16, 6), (7, 9), (5, 12), (1, 4), (33, 20)]


def awake(module, scale=0.3):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module


@pytest.mark.parametrize("size", SIZES)
def test_it_starts_as_the_identity(size):
    x = torch.randn(2, 4, *size)
    torch.testing.assert_close(FrequencyFilter(4)(x), x, rtol=0, atol=1e-5)
    torch.testing.assert_close(RfSa(4)(x), x, rtol=0, atol=0)


@pytest.mark.parametrize("size", SIZES)
def test_the_filter_is_linear_and_keeps_channels_apart(size):
    one, two, filtered = torch.randn(2, 4, *size), torch.randn(2, 4, *size), awake(FrequencyFilter(4))
    torch.testing.assert_close(filtered(2 * one - 3 * two), 2 * filtered(one) - 3 * filtered(two), rtol=0, atol=1e-4)
    one[:, 1] = 0
    assert (filtered(one)[:, 1] == 0).all() and (filtered(one)[:, 0] != one[:, 0]).any()


@pytest.mark.parametrize("size", SIZES)
def test_a_shifted_input_shifts_the_filtered_output(size):
    x, filtered = torch.randn(2, 4, *size), awake(FrequencyFilter(4))
    moved = filtered(x.roll((3, 2), dims=(-2, -1)))
    torch.testing.assert_close(moved, filtered(x).roll((3, 2), dims=(-2, -1)), rtol=0, atol=1e-4)


def test_what_it_does_to_a_wave_is_what_the_response_says_there():
    filtered = awake(FrequencyFilter(1))
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(24), indexing="ij")
    phase = 2 * torch.pi * (3 * rows / 16 - 5 * columns / 24)
    gain = filtered.response(16, 24)[0, -3, 5].conj()  # of the wave with 3 rows up, 5 columns right
    wanted = gain.abs() * torch.cos(phase + gain.angle())
    torch.testing.assert_close(filtered(phase.cos()[None, None])[0, 0], wanted, rtol=0, atol=1e-4)


def test_a_spot_is_spread_alike_on_maps_of_any_size():
    filtered = awake(FrequencyFilter(3), 0.05)
    answers = []
    for height, width in ((40, 40), (96, 64)):
        spot = torch.zeros(1, 3, height, width)
        spot[..., 20, 20] = 1.0
        answers.append(filtered(spot)[..., 12:28, 12:28])
    change = (answers[0] - answers[1]).norm() / (answers[0].norm() - 1)
    assert change < 0.05


def test_the_spectrum_lets_every_cell_see_every_other():
    module, x = awake(RfSa(4)), torch.randn(1, 4, 12, 20, requires_grad=True)
    module(x)[0, 0, 6, 10].backward()
    assert (x.grad[0, 0] != 0).all()


@pytest.mark.parametrize("size", [(16, 16), (16, 32), (20, 12)])
def test_the_gradient_reaches_every_filter_of_both_unets(size):
    torch.manual_seed(0)
    unets = awake(DualUNet(2, (16, 32, 32), (16, 32, 32), 1, 2, rf_sa=True, detach=False), 0.05)
    rasters = torch.randn(2, 2, *size)
    known = unets.represent(rasters)
    drawn = unets(torch.randn(2, 1, *size), torch.tensor([0.3, 0.9]), rasters, known)
    (known.map.square().sum() + drawn.square().sum()).backward()
    filters = [module for module in unets.modules() if isinstance(module, FrequencyFilter)]
    assert len(filters) == 4 and all((one.change.grad != 0).any(dim=(0, 2, 3)).all() for one in filters)
