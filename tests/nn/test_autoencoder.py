"""The autoencoder: sizes, the folding of pixels into channels, and errors that name the factor."""

import pytest
import torch

from raymap.nn.autoencoder import Autoencoder, complete


def an_autoencoder(channels=(8, 16), patch=2, linear=True):
    """With random weights everywhere, also where a network beside a linear path starts at zero."""
    torch.manual_seed(0)
    coder = Autoencoder(channels, layers_per_block=1, latent_channels=3, patch=patch, linear=linear)
    with torch.no_grad():
        for parameter in coder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return coder.eval()


@pytest.fixture(params=[False, True], ids=["classic", "linear"])
def autoencoder(request):
    return an_autoencoder(linear=request.param)


@pytest.mark.parametrize(("channels", "patch"), [((8,), 1), ((8,), 4), ((8, 16), 1), ((8, 16), 2), ((8, 8, 8), 2)])
@pytest.mark.parametrize("linear", [False, True])
def test_the_factor_is_what_the_latent_is_smaller_by(channels, patch, linear):
    coder = an_autoencoder(channels, patch, linear)
    image = torch.randn(2, 1, 2 * coder.factor, 3 * coder.factor)
    mean, logvar = coder.moments(image)
    assert mean.shape == logvar.shape == (2, 3, 2, 3)
    assert coder.decode(mean).shape == image.shape


@pytest.mark.parametrize("size", [(16, 18), (14, 16), (6, 6)])
def test_a_size_that_does_not_divide_is_refused_with_size_and_factor(autoencoder, size):
    with pytest.raises(ValueError, match=rf"\({size[0]}, {size[1]}\) cells.*multiples of 4"):
        autoencoder.moments(torch.zeros(1, 1, *size))


def test_images_of_a_batch_do_not_see_each_other(autoencoder):
    images = torch.randn(3, 1, 16, 24)
    mean, logvar = autoencoder.moments(images)
    decoded = autoencoder.decode(mean)
    for index in range(3):
        alone, alone_logvar = autoencoder.moments(images[[index]])
        torch.testing.assert_close(alone, mean[[index]], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone_logvar, logvar[[index]], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(autoencoder.decode(alone), decoded[[index]], rtol=1e-4, atol=1e-5)


def test_every_pixel_reaches_the_latent_and_every_latent_reaches_the_picture(autoencoder):
    image = torch.randn(1, 1, 16, 16, requires_grad=True)
    mean, _ = autoencoder.moments(image)
    mean.square().sum().backward()
    assert (image.grad != 0).all()
    latent = mean.detach().requires_grad_()
    autoencoder.decode(latent).square().sum().backward()
    assert (latent.grad != 0).all()


@pytest.mark.parametrize("linear", [False, True])
def test_a_picture_can_be_learned_by_heart(linear):
    coder = an_autoencoder(linear=linear)
    image = torch.nn.functional.interpolate(torch.randn(1, 1, 4, 4), size=(16, 16), mode="bilinear")
    adam = torch.optim.Adam(coder.parameters(), lr=1e-2)
    errors = []
    for _ in range(60):
        error = (coder.decode(coder.moments(image)[0]) - image).square().mean()
        adam.zero_grad()
        error.backward()
        adam.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.1 * errors[0] and errors[-1] < 0.1 * float(image.var())


def test_a_fresh_linear_path_is_a_projection_and_the_network_adds_nothing_yet():
    torch.manual_seed(0)
    coder = Autoencoder((8, 16), layers_per_block=1, latent_channels=3, patch=2, linear=True).eval()
    directions = torch.linalg.qr(torch.randn(16, 3)).Q.T
    coder.set_basis(directions, centre=-0.4)
    image = torch.randn(2, 1, 8, 12)
    with torch.no_grad():
        code = coder.moments(image)[0]
        once = coder.decode(code)
        again = coder.decode(coder.moments(once)[0])
    torch.testing.assert_close(again, once, rtol=0, atol=1e-5)
    block = (image[0, 0, 4:8, 8:12].reshape(16) + 0.4) @ directions.T
    torch.testing.assert_close(code[0, :, 1, 2], block)
    torch.testing.assert_close(once[0, 0, 4:8, 8:12].reshape(16), block @ directions - 0.4)


def some_known(shape, share=0.5, seed=0):
    return torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(seed)) < share


@pytest.mark.parametrize("shape", [(16, 16), (12, 20), (7, 5), (32, 8)])
@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_filling_keeps_what_is_known_and_stays_within_it(shape, share):
    image, known = torch.randn(2, 1, *shape), some_known(shape, share)
    known[..., 0, 0] = True
    image[~known] = float("nan")
    filled = complete(image, known)
    assert torch.equal(filled[known], image[known])
    for index in range(2):
        values = image[index][known[index]]
        assert filled[index].min() >= values.min() - 1e-5 and filled[index].max() <= values.max() + 1e-5


@pytest.mark.parametrize("shape", [(8, 64), (64, 8), (1, 9), (4, 52)])
def test_a_hole_across_a_narrow_map_is_filled_from_its_ends(shape):
    known = torch.ones(1, 1, *shape, dtype=torch.bool)
    longer = -1 if shape[1] > shape[0] else -2
    known.narrow(longer, max(shape) // 3, max(shape) // 3).fill_(False)
    filled = complete(torch.where(known, -0.9, 5.0), known)
    torch.testing.assert_close(filled, torch.full_like(filled, -0.9))


def test_a_constant_is_filled_with_itself():
    known = some_known((16, 24), 0.1)
    torch.testing.assert_close(complete(torch.full((2, 1, 16, 24), -0.7), known), torch.full((2, 1, 16, 24), -0.7))


def test_filling_turns_with_the_picture():
    image, known = torch.randn(2, 1, 16, 16), some_known((16, 16))
    for turn in range(4):
        for flip in ((), (-1,)):
            turned = [
                torch.rot90(raster, turn, (-2, -1)).flip(flip) for raster in (image, known, complete(image, known))
            ]
            torch.testing.assert_close(complete(*turned[:2]), turned[2])


def test_a_hole_is_filled_from_its_own_surroundings():
    image = torch.where(torch.arange(32) < 16, -1.0, 1.0).expand(1, 1, 32, 32).clone()
    known = torch.ones_like(image, dtype=torch.bool)
    known[..., 12:16, 4:8] = known[..., 12:16, 24:28] = False
    image[~known] = 99.0
    filled = complete(image, known)
    assert (filled[..., 12:16, 4:8] < -0.8).all() and (filled[..., 12:16, 24:28] > 0.8).all()
