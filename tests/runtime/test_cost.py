"""What a prediction costs: operations against hand counts, throughput by a stated rule, the columns of a summary."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from raymap.data import generated, sites
from raymap.data.batch import from_scenes
from raymap.evaluation import summary
from raymap.models.base import Predictor
from raymap.models.cell_law import CellLaw
from raymap.models.pathloss import FreeSpace, LogDistance
from raymap.runtime import cost
from raymap.scene import Grid

#: 3x3 kernels, 4 channels to 6, 2 images of 5 x 7 cells, two operations per product.
ONE_WAY = 2 * 9 * 4 * 6 * 2 * 5 * 7


@pytest.fixture(scope="module")
def batch():
    """One map of 32 x 32 cells."""
    scene = generated.city(0, Grid((32, 32), 8.0))
    return from_scenes([scene], sites.place(scene, 1, 0)).blind()


class Convolves(Predictor):
    """Two inputs through one convolution of 5 x 5; remembers the batches that it was asked for."""

    def __init__(self):
        super().__init__(FreeSpace.Config())
        self.net, self.asked = nn.Conv2d(2, 1, 5, padding=2), []

    def predict(self, batch, seeds):
        self.asked.append(len(batch))
        return torch.where(batch.outdoor, self.net(batch.stack(["building", "tx"])).clamp(-1, 1), -1.0)


def test_a_convolution_costs_once_forward_and_twice_backward():
    image, kernel = torch.randn(2, 4, 5, 7, requires_grad=True), torch.randn(6, 4, 3, 3, requires_grad=True)
    assert cost.flops(lambda: F.conv2d(image, kernel, padding=1)) == ONE_WAY
    assert cost.flops(lambda: F.conv2d(image, kernel, padding=1).sum().backward()) == 3 * ONE_WAY


def test_attention_counts_on_a_cpu_too():
    query, key, value = torch.randn(1, 2, 8, 32), torch.randn(1, 2, 16, 32), torch.randn(1, 2, 16, 32)
    wanted = 2 * (2 * 2 * 8 * 16 * 32)
    assert cost.flops(lambda: F.scaled_dot_product_attention(query, key, value)) == wanted


def test_operations_are_those_of_one_map_however_many_are_predicted(batch):
    model = Convolves()
    found = cost.of(model, batch, repeats=2)
    assert max(model.asked) == cost.MOST_MAPS
    assert found["flop"] == 2 * 25 * 2 * 32 * 32 and found["parameters"] == 2 * 25 + 1


def test_a_law_costs_what_it_multiplies_in_every_cell(batch):
    law = CellLaw(CellLaw.Config())
    layers = [layer for layer in law.layers if isinstance(layer, nn.Conv2d)]
    products = sum(layer.in_channels * layer.out_channels for layer in layers)
    assert cost.of(law, batch, repeats=1)["flop"] == 2 * products * 32 * 32 > 0
    for model in (FreeSpace(FreeSpace.Config()), LogDistance(LogDistance.Config())):
        assert cost.of(model, batch, repeats=1)["flop"] == 0, "a few additions in a cell, and no matrix product"


def test_costs_are_the_columns_of_a_summary_and_agree(batch):
    found = cost.of(Convolves(), batch)
    assert set(found) == set(summary.COSTS)
    assert found["maps_per_s"] >= 1000 / found["latency_ms"] > 0, "a batch of one is one of the batches"


def test_only_one_map_has_a_latency(batch):
    with pytest.raises(ValueError, match="that of one map, got a batch of 2"):
        cost.of(Convolves(), cost._repeated(batch, 2))


@pytest.mark.parametrize(
    ("alone_s", "each_s", "asked", "best"),
    [
        (0.011, 0.001, [2, 4, 8, 16, 16, 16], 16 / 0.026),  # 10 ms whatever the batch, as on a GPU
        (0.2, 0.19, [2], 5.12820),  # four would take 0.8 s after 0.39
        (3.0, 2.99, [], 1 / 3),
    ],
)
def test_larger_batches_are_tried_while_there_is_time(alone_s, each_s, asked, best):
    tried = []

    def seconds(num):
        tried.append(num)
        return alone_s - each_s + num * each_s

    assert cost.throughput(seconds, alone_s, repeats=3) == pytest.approx(best, rel=1e-5)
    assert tried == asked
