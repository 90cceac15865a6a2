"""The conditional U-Net: any size of map, one condition for all steps, nothing of the input thrown away."""

import pytest
import torch

from raymap.nn.unet import ConditionalUNet, ConditionEncoder


def awake(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return module


def a_unet(widths=(32, 32, 64), factor=4, num_blocks=1):
    torch.manual_seed(0)
    return awake(ConditionalUNet(3, 2, widths, num_blocks, factor, stem=8))


@pytest.mark.parametrize("widths", [(32,), (32, 64), (32, 32, 64), (32, 32, 32, 32)])
@pytest.mark.parametrize("latent", [(8, 8), (5, 7), (16, 3), (1, 1), (25, 10)])
def test_any_size_of_map_goes_through_with_any_number_of_levels(widths, latent):
    unet = a_unet(widths)
    condition = unet.condition(torch.randn(2, 2, 4 * latent[0], 4 * latent[1]))
    for head in unet(torch.randn(2, 3, *latent), torch.tensor([0.2, 0.9]), condition):
        assert head.shape == (2, 3, *latent) and torch.isfinite(head).all()


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_a_condition_computed_once_serves_every_step(num_blocks):
    unet, rasters = a_unet(num_blocks=num_blocks), torch.randn(2, 2, 32, 24)
    once = unet.condition(rasters)
    for step in range(3):
        z, t = torch.randn(2, 3, 8, 6), torch.full((2,), 1 - step / 3)
        for kept, fresh in zip(unet(z, t, once), unet(z, t, unet.condition(rasters)), strict=True):
            assert torch.equal(kept, fresh)


def test_latent_time_and_condition_all_matter_and_the_heads_differ():
    unet = a_unet()
    rasters, z, t = torch.randn(1, 2, 32, 32), torch.randn(1, 3, 8, 8), torch.tensor([0.5])
    condition = unet.condition(rasters)
    drift, noise = unet(z, t, condition)
    assert not torch.allclose(drift, noise)
    for other in (unet(z + 0.5, t, condition), unet(z, t / 2, condition), unet(z, t, unet.condition(rasters + 0.5))):
        assert not torch.allclose(other[0], drift, atol=1e-3) and not torch.allclose(other[1], noise, atol=1e-3)


def test_the_condition_enters_at_every_level_and_by_attention_at_the_coarsest_two():
    unet = a_unet((32, 32, 64))
    condition = unet.condition(torch.randn(1, 2, 32, 32))
    features = [feature.detach().requires_grad_() for feature, _ in condition]
    kept = [None if pair is None else tuple(part.detach().requires_grad_() for part in pair) for _, pair in condition]
    drift, _ = unet(torch.randn(1, 3, 8, 8), torch.tensor([0.5]), list(zip(features, kept, strict=True)))
    drift.square().sum().backward()
    assert all((feature.grad != 0).all() for feature in features)
    assert kept[0] is None
    assert all(part.grad.abs().max() > 0 for pair in kept[1:] for part in pair)


def test_samples_of_a_batch_do_not_see_each_other():
    unet = a_unet()
    rasters, z, t = torch.randn(4, 2, 32, 32), torch.randn(4, 3, 8, 8), torch.tensor([0.1, 0.4, 0.7, 1.0])
    together = unet(z, t, unet.condition(rasters))
    for index in range(4):
        one = slice(index, index + 1)
        alone = unet(z[one], t[one], unet.condition(rasters[one]))
        torch.testing.assert_close(alone[0], together[0][one], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone[1], together[1][one], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_condition_encoder_sees_every_pixel(factor):
    encoder = awake(ConditionEncoder(2, (32, 32), 1, factor, stem=8))
    rasters = torch.randn(1, 2, 4 * factor, 6 * factor, requires_grad=True)
    for feature in encoder(rasters):
        rasters.grad = None
        feature.square().sum().backward(retain_graph=True)
        assert (rasters.grad != 0).all()


@pytest.mark.parametrize("factor", [1, 3])
def test_a_factor_that_cannot_be_halved_is_refused(factor):
    with pytest.raises(ValueError, match=f"even number of pixels wide, got {factor}"):
        ConditionEncoder(2, (32,), 1, factor, stem=8)


def test_condition_features_lie_on_the_latents_cells():
    encoder = awake(ConditionEncoder(1, (32, 32), 1, 4, stem=8))
    before = encoder(torch.zeros(1, 1, 64, 64))[0]
    spot = torch.zeros(1, 1, 64, 64)
    spot[..., 40, 12] = 1.0
    # GroupNorm moves everything a little; the feature that moves most must be that of the cell with the spot.
    moved = (encoder(spot)[0] - before).square().sum(dim=1)[0]
    row, column = divmod(int(moved.argmax()), moved.shape[1])
    assert abs(row - 10) <= 1 and abs(column - 3) <= 1


def test_every_parameter_is_used():
    unet = a_unet()
    drift, noise = unet(torch.randn(1, 3, 8, 8), torch.tensor([0.5]), unet.condition(torch.randn(1, 2, 32, 32)))
    (drift.square().sum() + noise.square().sum()).backward()
    silent = [name for name, parameter in unet.named_parameters() if parameter.grad is None]
    assert not silent
