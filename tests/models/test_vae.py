"""The shared autoencoder: what is inside buildings costs nothing, its linear path starts as the best one."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from raymap.models.pathloss import FreeSpace
from raymap.models.vae import Vae, load_weights

SMALL = {"channels": (8, 16), "latent_channels": 4}


def a_vae(seed=0, **changes):
    """With random weights everywhere, also where a network starts at zero."""
    torch.manual_seed(seed)
    vae = Vae(Vae.Config(**{**SMALL, **changes}))
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return vae


@torch.no_grad()
def loss(vae, batch):
    torch.manual_seed(5)
    return {name: float(term) for name, term in vae(batch).items()}


def inside(batch, value):
    """The batch with another gain and outline where no true map is valid."""
    return replace(
        batch,
        gain=torch.where(batch.valid, batch.gain, value),
        outline=torch.where(batch.valid, batch.outline, value),
    )


@pytest.mark.parametrize("value", [1.0, -0.3, float("nan")])
def test_what_stands_inside_buildings_is_neither_encoded_nor_scored(batch, value):
    vae = a_vae(complete=True)
    assert not batch.valid.all()
    assert loss(vae, inside(batch, value)) == loss(vae, batch)
    wanted = vae.encode(batch.gain, batch.valid)
    assert torch.equal(vae.encode(inside(batch, value).gain, batch.valid), wanted)


@pytest.mark.parametrize("complete", [True, False])
def test_for_one_and_the_same_code_only_outdoor_errors_count(batch, complete, monkeypatch):
    vae = a_vae(complete=complete)
    code = torch.randn(8, 4, 8, 8)
    monkeypatch.setattr(vae.autoencoder, "moments", lambda image: (code, torch.zeros_like(code)))
    wanted = loss(vae, batch)
    assert loss(vae, inside(batch, 0.7))["recon"] == pytest.approx(wanted["recon"], rel=1e-6)
    moved = replace(batch, gain=torch.where(batch.valid, -batch.gain, batch.gain))
    assert abs(loss(vae, moved)["recon"] - wanted["recon"]) > 1e-3


def test_the_divergence_is_that_of_two_gaussians(batch, monkeypatch):
    vae = a_vae()
    mean, logvar = torch.randn(8, 4, 8, 8), 0.5 * torch.randn(8, 4, 8, 8)
    monkeypatch.setattr(vae.autoencoder, "moments", lambda image: (mean, logvar))
    found = loss(vae, batch)
    posterior = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    wanted = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).mean()
    assert found["kl"] == pytest.approx(float(wanted), rel=1e-4)
    assert found["loss"] == pytest.approx(found["recon"] + vae.config.kl_weight * found["kl"], rel=1e-5)


def test_the_linear_path_starts_as_the_principal_components(batch):
    """A fresh model reconstructs as well as the best 4 directions per block, up to the mean shared by all pixels."""
    torch.manual_seed(0)
    vae = Vae(Vae.Config(**SMALL, linear=True))
    vae.prepare([batch])
    images, outdoor = torch.cat([batch.gain, batch.outline]), torch.cat([batch.valid, batch.valid])
    prepared = images if not vae.config.complete else vae._prepared(images, outdoor)
    with torch.no_grad():
        rebuilt = vae.decode(vae.encode(images, outdoor))
    error = float((rebuilt - prepared).square().mean())
    blocks = F.pixel_unshuffle(prepared, vae.factor).movedim(1, -1).flatten(0, 2)
    blocks = blocks - blocks.mean(dim=0)
    best = float(torch.linalg.svdvals(blocks)[SMALL["latent_channels"] :].square().sum() / blocks.numel())
    assert best * 0.999 < error < 1.05 * best
    assert error < 0.5 * float(blocks.square().mean())


def test_without_a_linear_path_there_is_nothing_to_prepare(batch):
    vae = a_vae(linear=False)
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    vae.prepare([batch])
    assert all(torch.equal(tensor, before[name]) for name, tensor in vae.state_dict().items())


def test_it_predicts_no_map(batch):
    with pytest.raises(TypeError, match="predicts none"):
        a_vae().predict(batch, range(4))


def test_weights_are_taken_from_a_vae_of_the_same_config_only(batch):
    part, trained = a_vae(seed=1), a_vae(seed=2)
    assert not torch.equal(part.encode(batch.gain, batch.valid), trained.encode(batch.gain, batch.valid))
    load_weights(part, trained)
    assert torch.equal(part.encode(batch.gain, batch.valid), trained.encode(batch.gain, batch.valid))
    with pytest.raises(ValueError, match="(?s)trained as .*latent_channels=5.*this model wants .*latent_channels=4"):
        load_weights(part, a_vae(latent_channels=5))
    with pytest.raises(ValueError, match="must start from a Vae, got FreeSpace"):
        load_weights(part, FreeSpace(FreeSpace.Config()))
