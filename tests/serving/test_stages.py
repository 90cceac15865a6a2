"""Items are drawn together where they are alike, and what is drawn hangs on the item alone."""

from dataclasses import replace

import pytest
import torch

import raymap
from raymap.data.batch import from_scenes
from raymap.models.pathloss import LogDistance
from raymap.scene import Transmitter
from raymap.serving import stages, tiles
from raymap.serving.stages import Item


@pytest.fixture(scope="module")
def model():
    return raymap.load("k2-small")


def item(tile="san-francisco-1", seed=0, x_m=130.0, y_m=130.0, **changes):
    scene = tiles.scene(tile, 5.9e9)
    return Item("k2-small", from_scenes([scene], [Transmitter((x_m, y_m, 1.5))]).blind(), seed, **changes)


def both(model, items):
    """What the two stages draw of items that can be drawn together."""
    found = stages.outlines(model, items)
    told = [
        Item(one.model, one.batch, one.seed, one.steps, one.views, outline, law)
        for one, (outline, law) in zip(items, found, strict=True)
    ]
    return [outline for outline, _law in found], stages.maps(model, told)


def test_two_stages_draw_what_the_model_draws_alone_and_in_company(model):
    items = [item(seed=seed) for seed in (3, 4, 5)]
    outlines, maps = both(model, items)
    for one, outline, signal in zip(items, outlines, maps, strict=True):
        wanted = model.predict_all(one.batch, [one.seed])
        torch.testing.assert_close(outline, wanted["outline"], atol=2e-5, rtol=0)
        torch.testing.assert_close(signal, wanted["gain"], atol=2e-5, rtol=0)


def test_only_items_alike_are_drawn_together_and_answers_keep_their_order():
    items = [item(), item(steps=2), item(seed=9), item("munich-centre", x_m=674.0, y_m=610.0), item(steps=2, seed=1)]
    sizes = []

    def draw(group):
        sizes.append(len(group))
        return [id(one) for one in group]

    assert stages.together(items, draw) == [id(one) for one in items]
    assert sorted(sizes) == [1, 2, 2]


def test_who_cannot_be_drawn_fails_alone(model):
    odd = Item("k2-small", replace(item().batch, cell_m=1.0), 0)
    items = [item(), odd, item(seed=1)]
    found = stages.together(items, lambda group: stages.outlines(model, group))
    assert isinstance(found[1], ValueError) and "trained on 4 m cells" in str(found[1])
    assert [len(found[index]) for index in (0, 2)] == [2, 2]


def test_a_model_of_one_stage_is_drawn_in_one():
    law = LogDistance(LogDistance.Config())
    one = item()
    (signal,) = stages.maps(law, [one])
    torch.testing.assert_close(signal, law.predict(one.batch, [0]))
