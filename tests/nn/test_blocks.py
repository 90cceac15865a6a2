"""Blocks: they start as the identity, and attention looks at places, not at the order in which they are stored."""

import pytest
import torch

from raymap.nn.blocks import CrossAttention, ResBlock, TimeEmbedding, groups, positions


def awake(module, seed=0):
    """The module with random weights everywhere, those that start at zero included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module


@pytest.mark.parametrize("channels", [1, 3, 4, 8, 12, 20, 32, 48, 100])
def test_groups_divide_the_channels(channels):
    count = groups(channels)
    assert channels % count == 0 and 1 <= count <= 8
    assert not any(channels % larger == 0 for larger in range(count + 1, 9))


def test_a_fresh_block_of_equal_width_is_the_identity_whatever_the_time():
    block, x = ResBlock(16, 16, 8), torch.randn(2, 16, 5, 7)
    assert torch.equal(block(x, torch.randn(2, 8)), x)


def test_a_block_that_has_learned_something_depends_on_the_embedding_of_its_own_sample():
    block, x = awake(ResBlock(16, 16, 8)), torch.randn(2, 16, 5, 7)
    first, second = torch.randn(2, 8), torch.randn(2, 8)
    mixed = torch.stack([first[0], second[1]])
    out, other, both = block(x, first), block(x, second), block(x, mixed)
    assert not torch.allclose(out, other)
    torch.testing.assert_close(both[0], out[0])
    torch.testing.assert_close(both[1], other[1])


def test_times_are_told_apart_at_every_scale():
    embedding = TimeEmbedding(64)
    times = torch.tensor([1e-4, 1.1e-4, 1e-3, 0.01, 0.1, 0.5, 0.55, 0.99, 1.0])
    codes = embedding(times)
    gaps = torch.cdist(codes, codes) + 1e3 * torch.eye(len(times))
    assert torch.isfinite(codes).all() and gaps.min() > 0.01


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (3, 9), (16, 5), (40, 40)])
def test_every_cell_has_its_own_position(height, width):
    codes = positions(height, width, 32, torch.device("cpu"))
    assert codes.shape == (height * width, 32)
    assert (torch.cdist(codes, codes) + 10 * torch.eye(len(codes))).min() > 0.05


def test_a_larger_map_is_more_of_the_same_ground():
    small = positions(4, 5, 64, torch.device("cpu")).reshape(4, 5, 64)
    large = positions(9, 7, 64, torch.device("cpu")).reshape(9, 7, 64)
    assert torch.equal(large[:4, :5], small)
    assert torch.equal(large.reshape(9, 7, 64)[2, 3, :32], large[2, 6, :32])
    assert torch.equal(large[2, 3, 32:], large[8, 3, 32:])


@pytest.mark.parametrize(("place", "asked"), [((4, 6), (4, 6)), ((5, 3), (2, 7)), ((1, 1), (3, 2))])
def test_attention_is_a_weighted_mean_of_values(place, asked):
    """Against the formula, written out: softmax(q·k / √32) over every cell of the condition."""
    attention = awake(CrossAttention(64, 24))
    x, condition = torch.randn(2, 64, *place), torch.randn(2, 24, *asked)
    found = attention(x, attention.keys_values(condition))
    query = attention.query(attention.norm(x)).flatten(2).mT + positions(*place, 64, x.device)
    key, value = attention.key_value(condition).flatten(2).mT.chunk(2, dim=2)
    key = key + positions(*asked, 64, x.device)
    heads = []
    for head in range(2):
        part = slice(32 * head, 32 * head + 32)
        weight = (query[..., part] @ key[..., part].mT / 32**0.5).softmax(dim=-1)
        heads.append(weight @ value[..., part])
    answer = attention.out(torch.cat(heads, dim=2).mT.unflatten(2, place))
    torch.testing.assert_close(found, x + answer, rtol=1e-4, atol=1e-5)


def test_fresh_attention_is_the_identity():
    attention, x = CrossAttention(32, 8), torch.randn(1, 32, 4, 4)
    assert torch.equal(attention(x, attention.keys_values(torch.randn(1, 8, 4, 4))), x)


def test_attention_answers_from_any_distance():
    attention = awake(CrossAttention(32, 8))
    x, condition = torch.randn(1, 32, 6, 8), torch.randn(1, 8, 6, 8, requires_grad=True)
    attention(x, attention.keys_values(condition))[0, :, 0, 0].sum().backward()
    assert (condition.grad.abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("num_cells", [5, 16, 17])
def test_both_kernels_of_attention_agree_and_give_gradients(num_cells):
    """Few keys with gradients are attended to by another kernel than many keys or a prediction."""
    attention = awake(CrossAttention(32, 8))
    x, condition = torch.randn(2, 32, num_cells, num_cells), torch.randn(2, 8, num_cells, num_cells)
    with torch.no_grad():
        predicted = attention(x, attention.keys_values(condition))
    trained = attention(x, attention.keys_values(condition))
    torch.testing.assert_close(trained, predicted, rtol=1e-4, atol=1e-5)
    trained.square().sum().backward()
    assert all(
        parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in attention.parameters()
    )


def test_widths_that_heads_cannot_share_are_refused():
    with pytest.raises(ValueError, match="multiple of 32 channels, got 48"):
        CrossAttention(48, 8)
