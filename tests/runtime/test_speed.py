"""Convolutions found and run alone, stopwatches, the published operation count, the average in two calls."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from raymap.nn.published import PUBLISHED_FLOP, PublishedDenoiser
from raymap.runtime import speed
from raymap.runtime.progress import Stopwatch
from raymap.runtime.trainer import _Average, _warm_average

#: 3x3 kernels, 4 channels to 6, 2 images of 5 x 7 cells, two operations per product.
ONE_WAY = 2 * 9 * 4 * 6 * 2 * 5 * 7


@pytest.fixture
def convolve():
    image, kernel = torch.randn(2, 4, 5, 7, requires_grad=True), torch.randn(6, 4, 3, 3, requires_grad=True)
    return lambda: F.conv2d(image, kernel, padding=1)


def test_convolutions_are_found_counted_and_run_alone_with_the_same_operations(convolve):
    def work():
        with torch.autocast("cpu", torch.bfloat16):
            (convolve() + convolve()).float().sum().backward()

    found = speed.convolutions(work)
    assert sorted(found.values()) == [2, 2], "two calls of one forward and of one backward"
    assert all(kind.arguments[0][1] == torch.bfloat16 for kind in found), "in the precision they were called in"
    alone = speed.alone(found, repeats=1)
    assert alone["flop"] == speed.flops(work) == 2 * 3 * ONE_WAY
    assert alone["seconds"] > 0


def test_works_are_timed_in_turns_after_one_uncounted_turn():
    order = []
    found = speed.seconds({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=3)
    assert order == ["a", "b"] * 4 and {name: len(values) for name, values in found.items()} == {"a": 3, "b": 3}


def test_a_stopwatch_sums_phases_by_its_clock():
    ticks = iter([0.0, 1.0, 5.0, 5.5, 7.0, 10.0])
    watch = Stopwatch(lambda: next(ticks))
    for phase in ("forward", "data", "forward"):
        with watch(phase):
            pass
    assert watch.seconds == {"forward": 4.0, "data": 0.5}


def test_the_stand_in_has_the_published_operation_count():
    with torch.device("meta"), torch.no_grad():
        network = PublishedDenoiser()
        arguments = torch.randn(1, 3, 64, 64), torch.ones(1), torch.randn(1, 3, 256, 256)
        assert speed.flops(lambda: network(*arguments)) == pytest.approx(PUBLISHED_FLOP, rel=0.01)
        assert all(head.shape == (1, 3, 64, 64) for head in network(*arguments))


def test_the_average_in_two_calls_is_torchs_own():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    ours, theirs = (kind(copy.deepcopy(model), multi_avg_fn=_warm_average(0.9)) for kind in (_Average, AveragedModel))
    for _ in range(4):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        ours.update_parameters(model)
        theirs.update_parameters(model)
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=0, msg=name)
