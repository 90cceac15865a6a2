"""The plain U-Net: RadioUNet's own size and cost, any size of map, a picture that can always be learned."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from raymap.nn.radiounet import FIRST, SECOND, PlainUNet


def a_net(channels=2, levels=FIRST, scale=0.1):
    torch.manual_seed(0)
    return PlainUNet(channels, levels, scale).double()


def num_weights(net):
    return sum(weight.numel() for weight in net.parameters())


@pytest.fixture(scope="module")
def of_the_paper():
    """Both nets at full width without memory for their weights, as for buildings and transmitter."""
    with torch.device("meta"):
        return PlainUNet(2, FIRST), PlainUNet(3, SECOND)


def test_the_nets_are_as_large_as_those_released(of_the_paper):
    """Counted in the released code (METHODS §4): 13.27 million, 2.35 of them in the second net."""
    first, second = (num_weights(net) / 1e6 for net in of_the_paper)
    assert first + second == pytest.approx(13.27, abs=0.005) and second == pytest.approx(2.35, abs=0.005)


def test_the_nets_cost_what_those_released_do(of_the_paper):
    """Measured on the released code (METHODS §4): 25.5 GFLOP for a map of 256 x 256 cells."""
    with FlopCounterMode(display=False) as counter:
        for net, channels in zip(of_the_paper, (2, 3), strict=True):
            net(torch.empty(1, channels, 256, 256, device="meta"))
    assert counter.get_total_flops() / 1e9 == pytest.approx(25.5, abs=0.05)


@pytest.mark.parametrize("levels", [FIRST, SECOND])
def test_an_input_more_is_seen_at_the_entry_and_by_the_last_two_convolutions(levels):
    entry, last = levels[0].width * 3**2, (levels[0].up_width + 1) * 5**2
    assert num_weights(a_net(3, levels, 1.0)) - num_weights(a_net(2, levels, 1.0)) == entry + last


@pytest.mark.parametrize("levels", [FIRST, SECOND])
@pytest.mark.parametrize("shape", [(16, 32), (64, 64), (70, 130), (1, 1)])
def test_any_map_is_filled_up_with_zeros_and_cut_back(levels, shape):
    net, x = a_net(levels=levels), torch.randn(2, 2, *shape).double()
    height, width = (64 * -(-side // 64) for side in shape)
    whole = F.pad(x, (0, width - shape[1], 0, height - shape[0]))
    assert net(x).shape == (2, 1, *shape)
    torch.testing.assert_close(net(x), net(whole)[..., : shape[0], : shape[1]])


def test_one_end_of_a_map_is_seen_at_the_other():
    x = torch.randn(1, 2, 64, 64).double().requires_grad_()
    a_net(scale=0.5)(x)[0, 0, 0, 0].backward()
    assert x.grad[..., -4:, -4:].abs().max() > 0


def test_every_level_is_seen_going_up_and_the_input_once_more():
    """Each of the convolutions up is blind to all but its own level when the level below says nothing."""
    net, x = a_net(), torch.randn(1, 2, 64, 64).double()
    for deaf in range(len(net.up) - 1, 0, -1):
        with torch.no_grad():
            for weight in net.up[deaf].parameters():
                weight.zero_()
        assert net(x).std() > 0 and not torch.allclose(net(x), net(x + 0.1)), deaf
    with torch.no_grad():
        for weight in (*net.down.parameters(), *net.up[0].parameters()):
            weight.zero_()
    torch.testing.assert_close(net(x), net.exit(torch.cat([x.new_zeros(1, net.exit.in_channels - 2, 64, 64), x], 1)))


def test_a_picture_too_dark_everywhere_is_still_learned():
    """A last ReLU would pass no gradient here."""
    net, x = a_net(scale=0.3), torch.randn(2, 2, 64, 64).double()
    with torch.no_grad():
        net.exit.bias -= 10.0
    drawn = net(x)
    assert (drawn < 0).all()
    drawn.square().mean().backward()
    assert all(weight.grad.abs().max() > 0 for weight in net.parameters())


def test_scale_is_of_every_width():
    whole, half = a_net(scale=1.0), a_net(scale=0.5)
    for one, other in zip((*whole.down, *whole.up), (*half.down, *half.up), strict=True):
        assert other[0].out_channels == one[0].out_channels / 2
    assert num_weights(a_net(scale=1e-6)) > 0, "at least one channel is left"
