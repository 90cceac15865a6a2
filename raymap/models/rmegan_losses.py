"""The terms of RME-GAN's losses (METHODS §6), and the law that one of them compares with.

Pictures are grey levels g in [0, 1], (B, 1, H, W) float32; ``where`` (B, 1, H, W) bool are the cells that count. Every
term is a scalar, 0 where two pictures agree in what it looks at.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Differences along rows, columns and both diagonals (Sobel).
_SOBEL = (
    ((1, 0, -1), (2, 0, -2), (1, 0, -1)),
    ((1, 2, 1), (0, 0, 0), (-1, -2, -1)),
    ((0, 1, 2), (-1, 0, 1), (-2, -1, 0)),
    ((-2, -1, 0), (-1, 0, 1), (0, 1, 2)),
)
#: Squared difference [1] below which ground counts as level and slopes nowhere: a tenth of a decibel.
_LEVEL_GROUND = 1e-6
#: Exponents of the scales, finest first: Wang, Simoncelli and Bovik, Asilomar 2003.
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW = 11
#: Power below which no spectrum is compared: white noise of one decibel, a hundredth of the grey scale.
_NOISE_POWER = 1e-4
#: Patches along a side; the released code asks SLIC for 100 superpixels.
_NUM_PATCHES = 10
#: Cells that a known law counts for in a fit: next to nothing, but enough where there are no measurements.
_PRIOR_CELLS = 1e-6


def law_moments(log_distance: Tensor, gain: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Normal matrices (B, 2, 2) and moments (B, 2) of gain = a + b·log_distance, least squares over ``where``."""
    chosen = where.flatten(1).double()
    rows = torch.stack([torch.ones_like(chosen), log_distance.flatten(1).double()], dim=1)
    weighted = rows * chosen[:, None]
    return weighted @ rows.mT, (weighted * gain.flatten(1).double()[:, None]).sum(dim=2)


def solve_law(normal: Tensor, moment: Tensor, prior: Tensor) -> Tensor:
    """Coefficients (..., 2) of the law with these moments, and ``prior`` (2,) as far as they say nothing."""
    ridge = _PRIOR_CELLS * torch.eye(2, dtype=normal.dtype, device=normal.device)
    return torch.linalg.solve(normal + ridge, moment + _PRIOR_CELLS * prior.to(normal))


def fitted_map(log_distance: Tensor, samples: Tensor, where: Tensor, prior: Tensor) -> Tensor:
    """(B, 1, H, W): ĝ = c − 10θ·log10(d) with c and θ of each map by least squares over its ``samples``.

    ``log_distance``: free-space gain, in which 20·log10(d) is linear, hence ĝ = a + b·log_distance with θ = 2b.
    ``prior`` (2,): a and b of a known law, which decides what too few samples leave open; all of it without any.
    """
    constant, slope = solve_law(*law_moments(log_distance, samples, where), prior).to(log_distance).unbind(dim=1)
    return constant.view(-1, 1, 1, 1) + slope.view(-1, 1, 1, 1) * log_distance


def critic_loss(of_true: Tensor, of_generated: Tensor) -> Tensor:
    """Binary cross entropy of both logits, once; true maps are 1, which the released code sets to 0."""
    return 0.5 * (F.softplus(-of_true).mean() + F.softplus(of_generated).mean())


def adversarial_loss(of_generated: Tensor) -> Tensor:
    """Binary cross entropy of the logits of generated maps, were they true ones."""
    return F.softplus(-of_generated).mean()


def squared_error(generated: Tensor, true: Tensor, where: Tensor) -> Tensor:
    """Mean of (g − ĝ)²."""
    return _mean((generated - true).square(), where)


def absolute_error(generated: Tensor, true: Tensor, where: Tensor) -> Tensor:
    """Mean of abs(g − ĝ). The released code smooths it before the mean, which changes nothing but at the margins."""
    return _mean((generated - true).abs(), where)


def total_variation(picture: Tensor, where: Tensor) -> Tensor:
    """Mean difference to the next cell along rows plus that along columns, of cells that both count."""
    terms = []
    for axis in (-2, -1):
        both = where.narrow(axis, 1, where.shape[axis] - 1) & where.narrow(axis, 0, where.shape[axis] - 1)
        terms.append(_mean(picture.diff(dim=axis).abs(), both))
    return sum(terms)


def gradient_direction(generated: Tensor, fit: Tensor, where: Tensor) -> Tensor:
    """1 − mean cosine of both pictures' differences in four directions, cell by cell: 0 alike, 1 at right angles.

    The cells are those of ``where`` with all their neighbours, so that no wall is taken for a gradient.
    """
    # Written out: torch's own cosine takes 25 times as long along this axis.
    first, second = _differences(generated), _differences(fit)
    lengths = (_length_squared(first) * _length_squared(second)).sqrt()
    cosine = (first * second).sum(dim=1, keepdim=True) / lengths
    inner = -F.max_pool2d(-where.to(generated.dtype), 3, stride=1) > 0
    return _mean(1 - cosine, inner)


def _differences(picture: Tensor) -> Tensor:
    """(B, 1, H, W) -> (B, 4, H - 2, W - 2)."""
    return F.conv2d(picture, torch.tensor(_SOBEL, dtype=picture.dtype, device=picture.device)[:, None])


def _length_squared(differences: Tensor) -> Tensor:
    return differences.square().sum(dim=1, keepdim=True) + _LEVEL_GROUND


def structure_loss(generated: Tensor, true: Tensor) -> Tensor:
    """1 − MS-SSIM (Wang et al. 2003) of whole pictures: Gaussian window of 11 cells with σ = 1.5, grey range 1.

    As many of the five scales as the shorter side has room for: 5 from 176 cells on, 4 from 88, 3 from 44, 2 from 22.
    Of each scale's similarity s it takes (1 + s)/2: of pictures that are unlike, s is below 0 and has no power.
    torchmetrics computes the same, but its backward pass takes longer than all else in a training step on a CPU.
    Raises ValueError for a side below 11 cells.
    """
    side = min(true.shape[-2:])
    count = max((num for num in range(1, len(_SCALES) + 1) if side >> (num - 1) >= _WINDOW), default=0)
    if not count:
        raise ValueError(f"an MS-SSIM needs maps of at least {_WINDOW} cells a side, got {tuple(true.shape[-2:])}")
    product = torch.ones((), device=true.device)
    for scale, exponent in enumerate(_SCALES[:count]):
        if scale:
            generated, true = F.avg_pool2d(generated, 2), F.avg_pool2d(true, 2)
        luminance, contrast = _similarity(generated, true)
        similarity = (luminance * contrast if scale == count - 1 else contrast).mean(dim=(1, 2, 3))
        product = product * ((1 + similarity) / 2) ** (exponent / sum(_SCALES[:count]))
    return (1 - product).mean()


def _similarity(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure of SSIM in every window that lies in the picture (Wang et al. 2004, eq. 12)."""
    rows, columns = (_windows(size, first) for size in first.shape[-2:])
    pictures = torch.cat([first, second, first.square(), second.square(), first * second], dim=1)
    mean1, mean2, square1, square2, cross = (rows @ pictures @ columns.mT).split(1, dim=1)
    luminance = (2 * mean1 * mean2 + 0.01**2) / (mean1.square() + mean2.square() + 0.01**2)
    spread = square1 - mean1.square() + square2 - mean2.square()
    return luminance, (2 * (cross - mean1 * mean2) + 0.03**2) / (spread + 0.03**2)


def _windows(size: int, like: Tensor) -> Tensor:
    """(size - 10, size): a Gaussian window in every place; as a matrix, as one convolution is slow on a CPU."""
    offset = torch.arange(size, device=like.device) - torch.arange(size - _WINDOW + 1, device=like.device)[:, None]
    centred = (offset - _WINDOW // 2).to(like.dtype)
    weights = torch.exp(-0.5 * (centred / 1.5).square()) * (centred.abs() <= _WINDOW // 2)
    return weights / weights.sum(dim=1, keepdim=True)


def spectrum_loss(generated: Tensor, true: Tensor) -> Tensor:
    """Mean over all wavelengths of abs(log10 P(generated) − log10 P(true)), P the mean power at that wavelength.

    The released code compares the order of these powers, which has no gradient, and with the fit instead of the truth.
    Wavelengths are n-ths of the shorter side, n = 1, 2, ..., from any direction; two cells is the shortest.
    """
    return (_log_spectrum(generated) - _log_spectrum(true)).abs().mean()


def _log_spectrum(picture: Tensor) -> Tensor:
    """(B, 1, H, W) -> (B, min(H, W) // 2)."""
    height, width = picture.shape[-2:]
    power = torch.fft.fft2(picture[:, 0], norm="ortho").abs().square().flatten(1)
    rows = torch.fft.fftfreq(height, device=picture.device)[:, None]
    columns = torch.fft.fftfreq(width, device=picture.device)
    num = min(height, width)
    ring = ((rows.square() + columns.square()).sqrt() * num).round().long().flatten().clamp_max(num // 2 + 1)
    counts = torch.bincount(ring)
    means = power.new_zeros(len(power), len(counts)).index_add(1, ring, power) / counts.clamp_min(1)
    return (means[:, 1 : num // 2 + 1] + _NOISE_POWER).log10()


def brightest_error(generated: Tensor, measured: Tensor, where: Tensor) -> Tensor:
    """Mean of abs(g − ĝ) at the brightest measured cell of every patch that has one.

    Squares of a tenth of the map instead of the paper's superpixels: SLIC on a picture of scattered samples finds
    little to hold on to and stays near that grid, but takes a quarter of a training step on one core.
    """
    brightest, place = F.adaptive_max_pool2d(
        measured.masked_fill(~where, -torch.inf), _NUM_PATCHES, return_indices=True
    )
    found = brightest.isfinite()
    there = generated.flatten(2).gather(2, place.flatten(2)).view_as(brightest)
    return _mean((there - brightest.masked_fill(~found, 0.0)).abs(), found)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean over the cells that count, 0 without any."""
    return (values * where).sum() / where.sum().clamp_min(1)
