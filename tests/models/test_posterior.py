"""Posterior sampling: the Gaussian posterior in closed form, and maps that agree with measurements."""

from dataclasses import replace

import pytest
import torch

from raymap import recipes
from raymap.data.batch import batches
from raymap.models import base, posterior
from raymap.models.radiodiff import RadioDiff


@pytest.fixture(scope="module")
def linear():
    """A linear decoder (3, 4, 4) -> (1, 8, 8) as a matrix, and a batch of two problems."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(64, 48, generator=generator) / 7
    z0 = torch.randn(2, 3, 4, 4, generator=generator)
    samples = torch.randn(2, 1, 8, 8, generator=generator)
    sampled = torch.rand(2, 1, 8, 8, generator=generator) < 0.1
    return matrix, z0, samples, sampled


def decode_by(matrix):
    return lambda z: (z.flatten(1) @ matrix.T).view(-1, 1, 8, 8)


def test_a_linear_decoder_gives_the_gaussian_posterior_s_mean(linear):
    matrix, z0, samples, sampled = linear
    found = posterior.agree(z0, 0.7, decode_by(matrix), samples, sampled, noise=0.3)
    for index in range(2):
        seen = matrix[sampled[index].flatten()]
        missed = samples[index][sampled[index]] - seen @ z0[index].flatten()
        gain = 0.7 * seen.T @ torch.linalg.inv(0.7 * seen @ seen.T + 0.09 * torch.eye(len(seen)))
        wanted = z0[index].flatten() + gain @ missed
        torch.testing.assert_close(found[index].flatten(), wanted, rtol=0, atol=2e-3)


def test_a_sample_does_not_depend_on_its_batch_and_none_measured_changes_nothing(linear):
    matrix, z0, samples, sampled = linear
    together = posterior.agree(z0, 0.7, decode_by(matrix), samples, sampled, noise=0.3)
    alone = posterior.agree(z0[1:], 0.7, decode_by(matrix), samples[1:], sampled[1:], noise=0.3)
    torch.testing.assert_close(alone, together[1:], rtol=0, atol=1e-5)
    nothing = posterior.agree(z0, 0.7, decode_by(matrix), samples, torch.zeros_like(sampled), noise=0.3)
    assert torch.equal(nothing, z0)


@pytest.fixture(scope="module")
def model(maps):
    """Both stages at debug size, untrained but for the closed forms: principal components, law and scales."""
    torch.manual_seed(0)
    model = base.build(recipes.k2("debug").model())
    for stage in (model.outline, model.map):
        stage.autoencoder.prepare(batches(maps, 4))
        stage.prepare(batches(maps, 4))
    return model.eval()


def miss_db(model, batch, **sampling):
    with model.with_sampling(**sampling):
        predicted = model.predict(batch.blind(), range(4))
    return float((predicted - batch.samples)[batch.sampled > 0].square().mean().sqrt()) * 50


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("kind", ["in latents", "of pixels"])
def test_maps_agree_with_measurements_the_more_exact_these_are(model, batch, steps, kind):
    model = model if kind == "in latents" else base.build(recipes.rmdm("debug").map.model).eval()
    plain, rough, exact = (miss_db(model, batch, steps=steps, measured_noise_db=noise) for noise in (None, 10.0, 0.5))
    assert exact < 0.5 * rough and rough < plain and exact < 2.0


def test_measurements_that_the_batch_has_do_nothing_unless_asked_for(model, batch):
    without = replace(batch.blind(), samples=None, sampled=None)
    assert torch.equal(model.predict(batch.blind(), range(4)), model.predict(without, range(4)))
    with model.with_sampling(measured_noise_db=1.0), pytest.raises(ValueError, match="no 'samples': this model needs"):
        model.predict(without, range(4))


def test_who_reads_measurements_is_not_corrected_by_them_once_more(batch):
    reads = RadioDiff(RadioDiff.Config(inputs=("building", "samples", "sampled"), widths=(32, 32), num_blocks=1))
    for model, noise_db in ((reads, 1.0), (base.build(recipes.radiodiff("debug").map.model), 0.0)):
        refused = pytest.raises(ValueError, match="measured_noise_db must be above 0, and for a model that does not")
        with refused, model.with_sampling(measured_noise_db=noise_db):
            pass
