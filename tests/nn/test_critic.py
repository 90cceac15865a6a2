"""The critic: any side, one verdict per place, and none that depends on the rest of the batch."""

import pytest
import torch

from raymap.nn.critic import Critic


@pytest.mark.parametrize(("side", "num"), [((8, 8), (1, 1)), ((32, 16), (4, 2)), ((37, 50), (4, 6))])
def test_a_verdict_for_every_patch_of_a_map_of_any_side(side, num):
    critic = Critic(2, (8, 8, 8))
    verdict = critic(torch.randn(3, 1, *side), torch.randn(3, 2, *side))
    assert verdict.shape == (3, 1, *num) and torch.isfinite(verdict).all()


def test_a_verdict_depends_on_picture_and_scene_but_not_on_the_batch():
    torch.manual_seed(0)
    critic = Critic(2, (8, 16)).train()
    picture, scene = torch.randn(4, 1, 16, 16), torch.randn(4, 2, 16, 16)
    together = critic(picture, scene)
    torch.testing.assert_close(critic(picture[1:2], scene[1:2]), together[1:2], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(critic(picture.roll(1, 0), scene), together)
    assert not torch.allclose(critic(picture, scene.roll(1, 0)), together)
