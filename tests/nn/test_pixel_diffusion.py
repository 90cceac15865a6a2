"""The dual U-Net: any size, one representation for all steps, and which gradients pass the anchor."""

import pytest
import torch

from raymap.nn.pixel_diffusion import DualUNet
from raymap.nn.rf_sa import RfSa


def some_unets(patch=2, rf_sa=True, detach=False, widths=(16, 32)):
    torch.manual_seed(0)
    unets = DualUNet(2, widths, widths, 1, patch, rf_sa, detach)
    with torch.no_grad():
        for parameter in unets.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return unets


@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize("widths", [(32,), (16, 32, 32)])
@pytest.mark.parametrize("cells", [(8, 8), (5, 7), (1, 3)])
def test_any_size_of_map_goes_through_with_any_number_of_levels(patch, widths, cells):
    unets, size = some_unets(patch, widths=widths), tuple(patch * num for num in cells)
    rasters = torch.randn(2, 2, *size)
    known = unets.represent(rasters)
    assert known.map.shape == (2, 1, *size) and known.map.abs().max() < 1
    drawn = unets(torch.randn(2, 1, *size), torch.tensor([0.2, 0.9]), rasters, known)
    assert drawn.shape == (2, 1, *size) and torch.isfinite(drawn).all()


def test_noise_time_conditions_and_both_parts_of_the_representation_matter():
    unets = some_unets()
    rasters, x, t = torch.randn(1, 2, 16, 16), torch.randn(1, 1, 16, 16), torch.tensor([0.5])
    known = unets.represent(rasters)
    drawn = unets(x, t, rasters, known)
    moved = [known._replace(map=-known.map), known._replace(anchor=known.anchor / 2)]
    others = [(x + 0.5, t, rasters, known), (x, t / 2, rasters, known), (x, t, rasters + 0.5, known)]
    others += [(x, t, rasters, other) for other in moved]
    for other in others:
        assert not torch.allclose(unets(*other), drawn, atol=1e-3)


@pytest.mark.parametrize("detached", [False, True])
def test_the_denoisers_gradient_reaches_the_second_unet_unless_the_anchor_is_detached(detached):
    unets = some_unets(detach=detached)
    rasters = torch.randn(2, 2, 16, 16)
    known = unets.represent(rasters)
    unets(torch.randn(2, 1, 16, 16), torch.tensor([0.2, 0.9]), rasters, known).square().sum().backward()
    body = [parameter.grad for parameter in unets.physics.parameters()]
    assert all(grad is None for grad in body) if detached else all(grad is not None for grad in body)
    assert all((parameter.grad != 0).any() for parameter in unets.anchor.parameters())


def test_every_parameter_is_used_and_rf_sa_is_a_part_that_can_be_left_out():
    for rf_sa in (False, True):
        unets, rasters = some_unets(rf_sa=rf_sa), torch.randn(2, 2, 16, 16)
        known = unets.represent(rasters)
        drawn = unets(torch.randn(2, 1, 16, 16), torch.tensor([0.2, 0.9]), rasters, known)
        (known.map.square().sum() + drawn.square().sum()).backward()
        assert not [name for name, parameter in unets.named_parameters() if parameter.grad is None]
        assert any(isinstance(module, RfSa) for module in unets.modules()) == rf_sa


def test_samples_of_a_batch_do_not_see_each_other():
    unets = some_unets()
    rasters, x, t = torch.randn(3, 2, 16, 16), torch.randn(3, 1, 16, 16), torch.tensor([0.1, 0.4, 1.0])
    together = unets(x, t, rasters, unets.represent(rasters))
    for index in range(3):
        one = slice(index, index + 1)
        alone = unets(x[one], t[one], rasters[one], unets.represent(rasters[one]))
        torch.testing.assert_close(alone, together[one], rtol=1e-4, atol=1e-5)
