"""Ensembles: members that differ by seed and view, a spread in dB, and what a recipe makes of it."""

from dataclasses import replace

import pytest
import torch

from raymap import units
from raymap.data.batch import symmetry
from raymap.models import ensemble
from raymap.models.base import Predictor, further_seeds
from raymap.models.ensemble import Recipe
from raymap.models.pathloss import FreeSpace
from raymap.models.radiodiff import RadioDiff
from raymap.models.regression import Regression
from raymap.models.vae import Vae

SMALL = {"widths": (32, 32), "num_blocks": 1, "stem": 8, "cell_m": 8.0}


def awake(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def model():
    coder = Vae.Config(channels=(8, 16), latent_channels=4)
    return awake(RadioDiff(RadioDiff.Config(autoencoder=coder, steps=2, views=4, **SMALL)))


@pytest.fixture
def blind(batch):
    return batch.blind()[:2]


class Fixed(Predictor):
    """Predicts a raster that turns with the scene."""

    def predict(self, batch, seeds):
        return torch.where(batch.outdoor, batch.log_distance, -1.0)


def test_member_k_is_the_prediction_of_its_view_turned_back(model, blind):
    drawn = ensemble.members(model, blind, [5, 6], Recipe(num=9))
    assert drawn.shape == (9, 2, 1, 32, 32)
    with model.with_sampling(views=1):
        assert torch.equal(drawn[0], model.predict(blind, [5, 6]))
        assert torch.equal(drawn[8], model.predict(blind, further_seeds([5, 6], 8)))
        turned = model.predict(blind.turn(3), further_seeds([5, 6], 3))
    assert torch.equal(drawn[3], symmetry(turned, 3))
    for i in range(9):
        for j in range(i):
            assert not torch.allclose(drawn[i], drawn[j], atol=1e-3), (i, j)


@pytest.mark.parametrize("columns", [32, 24])
def test_what_turns_with_the_scene_is_the_same_in_every_member(blind, columns):
    part = replace(blind, **{name: raster[..., :columns] for name, raster in blind.rasters().items()})
    drawn = ensemble.members(Fixed(FreeSpace.Config()), part, [0, 1], Recipe(num=8))
    assert drawn.shape[-1] == columns and torch.equal(drawn, drawn[:1].expand_as(drawn))


def test_fewer_members_are_the_first_of_more(model, blind):
    more, fewer = (ensemble.members(model, blind, [5, 6], Recipe(num=num)) for num in (4, 2))
    assert torch.equal(more[:2], fewer)


def test_a_map_is_the_same_in_a_batch_of_any_size(model, batch):
    together = ensemble.predict(model, batch, [5, 6, 7, 8], Recipe(num=3))
    alone = ensemble.predict(model, batch.blind()[1:2], [6], Recipe(num=3))
    for whole, part in zip(together, alone, strict=True):
        torch.testing.assert_close(whole[1:2], part, rtol=0, atol=1e-3)


def test_the_recipe_says_how_members_are_sampled(model, blind):
    calls = []
    handle = model.unet.register_forward_hook(lambda *_: calls.append(1))
    ensemble.members(model, blind, [0, 1], Recipe(num=3, steps=5, stochastic=True))
    handle.remove()
    assert len(calls) == 15 and model.network_calls == 2 * 4


def test_without_pooling_the_spread_is_the_standard_deviation_in_db(model, blind):
    recipe = Recipe(num=4, pool_m=0)
    drawn = units.gain_db_from_signal(ensemble.members(model, blind, [5, 6], recipe))
    found = ensemble.predict(model, blind, [5, 6], recipe)
    torch.testing.assert_close(found.mean_db, drawn.mean(dim=0))
    torch.testing.assert_close(found.spread_db, torch.where(blind.outdoor, drawn.std(dim=0), 0.0))
    assert found.spread_db[blind.outdoor].min() > 0 and found.spread_db.shape == (2, 1, 32, 32)


def test_pooling_keeps_a_spread_that_is_alike_everywhere_and_evens_out_one_that_is_not(blind):
    even = torch.stack([torch.full_like(blind.tx, value) for value in (-0.1, 0.1)])
    recipe = Recipe(num=2, pool_m=20)
    wanted = units.gain_db_from_signal(even).std(dim=0) * blind.outdoor
    torch.testing.assert_close(ensemble.spread(even, blind, recipe), wanted)

    noisy = 0.1 * torch.randn(4, *blind.tx.shape, generator=torch.Generator().manual_seed(0))
    raw, pooled = (ensemble.spread(noisy, blind, Recipe(pool_m=pool_m))[blind.outdoor] for pool_m in (0.0, 20.0))
    assert pooled.std() < 0.35 * raw.std()
    assert float(pooled.square().mean()) == pytest.approx(float(raw.square().mean()), rel=0.05)


def test_pooling_takes_nothing_from_buildings(blind):
    drawn = 0.1 * torch.randn(4, *blind.tx.shape, generator=torch.Generator().manual_seed(0))
    wild = torch.where(blind.outdoor, drawn, 9 * drawn)
    recipe = Recipe(pool_m=30)
    assert torch.equal(ensemble.spread(drawn, blind, recipe), ensemble.spread(wild, blind, recipe))
    assert (ensemble.spread(drawn, blind, recipe)[~blind.outdoor] == 0).all()


def test_factor_and_floors_by_line_of_sight(model, blind):
    plain, fitted = Recipe(num=3), Recipe(num=3, factor=2.5, floor_db=(1.0, 4.0))
    before, after = (ensemble.predict(model, blind, [5, 6], recipe) for recipe in (plain, fitted))
    assert torch.equal(before.mean_db, after.mean_db)
    lit, dark = blind.outdoor & (blind.line_of_sight > 0), blind.outdoor & (blind.line_of_sight <= 0)
    assert lit.any() and dark.any()
    torch.testing.assert_close(after.spread_db[lit], 2.5 * before.spread_db[lit] + 1)
    torch.testing.assert_close(after.spread_db[dark], 2.5 * before.spread_db[dark] + 4)
    assert (after.spread_db[~blind.outdoor] == 0).all()


def test_a_deterministic_model_has_an_ensemble_of_views(blind):
    drawn = ensemble.members(awake(Regression(Regression.Config(**SMALL))), blind, [0, 1], Recipe(num=4))
    assert not torch.allclose(drawn[0], drawn[1], atol=1e-3)


def test_what_cannot_be_asked_is_refused(blind):
    for num in (1, 0):
        with pytest.raises(ValueError, match="greater than or equal to 2"):
            Recipe(num=num)
    with pytest.raises(ValueError, match="FreeSpace does not predict in steps or views of choice, got steps=3"):
        ensemble.predict(FreeSpace(FreeSpace.Config()), blind, [0, 1], Recipe(steps=3))
    two_views = Regression(Regression.Config(views=2, **SMALL))
    with pytest.raises(ValueError, match="Regression does not predict in steps or views of choice, got views=1"):
        ensemble.predict(two_views, blind, [0, 1], Recipe())


def test_further_seeds_are_others_for_every_seed_and_purpose():
    seeds = [*range(200), *range(2**32 - 200, 2**32)]
    found = [seed for purpose in ("map", 1, 2, 3) for seed in further_seeds(seeds, purpose)]
    assert len({*found, *seeds}) == 5 * len(seeds) and all(0 <= seed < 2**32 for seed in found)
    assert further_seeds([7], "map") == further_seeds([7], "map")
