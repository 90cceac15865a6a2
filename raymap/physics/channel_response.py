"""What a receiver makes of its paths: taps, spectra, spreads, and the channel of a planar array. Plain numpy.

Paths lie along the last axis, (..., P): ``gain`` complex amplitude with the carrier's phase in it, α = √p·exp(−j2πfτ)
as in ``scene.Paths`` and ``PathTable.gain``; ``delay_s``; ``zenith_rad`` and ``azimuth_rad`` of arrival. A path with
any number that is not finite is padding, as is one of gain 0, and counts nowhere. Equations are those of Liu, Chen,
Tang, Ma, Wang, Zhang, "PINN and GNN-based RF Map Construction for Wireless Communication Systems", section II.
"""

from __future__ import annotations

import numpy as np


def _counted(gain: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Gain and the others in double precision and of one shape, 0 where a path is padding."""
    gain, *others = np.broadcast_arrays(np.asarray(gain, np.complex128), *(np.asarray(o, np.float64) for o in others))
    counts = np.isfinite(gain) & np.all([np.isfinite(other) for other in others], axis=0)
    return [np.where(counts, values, 0.0) for values in (gain, *others)]


def impulse_response(gain: np.ndarray, delay_s: np.ndarray, bandwidth_hz: float, num_taps: int) -> np.ndarray:
    """Taps h[n] = Σ α·sinc(n − B·τ) of the channel seen through a bandwidth B, (..., num_taps) complex128.

    Tap n lies at n / ``bandwidth_hz`` [s] after the transmission. A path between two taps rings over all, also over
    those before it; what falls outside of the ``num_taps`` is lost. Tse, Viswanath, "Fundamentals of Wireless
    Communication", eq. 2.34. Raises ValueError for a bandwidth that is not positive and for less than one tap.
    """
    if not bandwidth_hz > 0:
        raise ValueError(f"bandwidth_hz must be positive, got {bandwidth_hz}")
    if num_taps < 1:
        raise ValueError(f"num_taps must be at least 1, got {num_taps}")
    gain, delay_s = _counted(gain, delay_s)
    taps = np.zeros((*gain.shape[:-1], num_taps), np.complex128)
    for path in range(gain.shape[-1]):  # one at a time, for a map of them all would not fit in memory
        taps += gain[..., path, None] * np.sinc(np.arange(num_taps) - bandwidth_hz * delay_s[..., path, None])
    return taps


def frequency_response(gain: np.ndarray, delay_s: np.ndarray, frequencies_hz: np.ndarray) -> np.ndarray:
    """H(f) = Σ α·exp(−j2πfτ) at ``frequencies_hz`` (F,), counted from the carrier [Hz]; (..., F) complex128."""
    gain, delay_s = _counted(gain, delay_s)
    return np.einsum("...fp,...p->...f", _turns(delay_s, frequencies_hz), gain)


def _turns(delay_s: np.ndarray, frequencies_hz: np.ndarray) -> np.ndarray:
    """(..., F, P) exp(−j2πfτ)."""
    return np.exp(-2j * np.pi * np.asarray(frequencies_hz, np.float64)[:, None] * delay_s[..., None, :])


def delay_spread_s(gain: np.ndarray, delay_s: np.ndarray) -> np.ndarray:
    """Root mean square of the delays about their mean, weighted by power, (...) [s]; NaN without a path.

    Rappaport, "Wireless Communications", 2nd ed., eq. 5.35 to 5.37.
    """
    gain, delay_s = _counted(gain, delay_s)
    share = _power_share(gain)
    mean_s = (share * delay_s).sum(-1, keepdims=True)
    return np.sqrt((share * (delay_s - mean_s) ** 2).sum(-1))


def angular_spread_rad(gain: np.ndarray, angle_rad: np.ndarray) -> np.ndarray:
    """Circular spread √(−2·ln|Σ p·exp(jφ) / Σ p|) of azimuths or of zeniths, (...) [rad]; NaN without a path.

    3GPP TR 38.901, Annex A.1. For angles that are close it is their standard deviation. It grows without bound as
    powers from opposite sides cancel; rounding ends it at some 8.5 rad.
    """
    gain, angle_rad = _counted(gain, angle_rad)
    length = np.abs((_power_share(gain) * np.exp(1j * angle_rad)).sum(-1))
    return np.sqrt(-2.0 * np.log(np.clip(length, np.finfo(np.float64).eps, 1.0)))


def _power_share(gain: np.ndarray) -> np.ndarray:
    """Each path's share of the power of all; NaN where there is none."""
    power = np.abs(gain) ** 2
    total = power.sum(-1, keepdims=True)
    return np.divide(power, total, out=np.full_like(power, np.nan), where=total > 0)


def array_response(
    zenith_rad: np.ndarray,
    azimuth_rad: np.ndarray,
    shape: tuple[int, int],
    spacing_m: tuple[float, float],
    wavelength_m: float,
) -> np.ndarray:
    """Response a(θ, φ) of a uniform planar array in the x-y plane (equation 2), (..., M·N) complex128.

    ``shape`` (M, N) antennas ``spacing_m`` (d_x, d_y) apart along x and y; antenna (m, n) is number m·N + n and has
    exp(−j·2π/λ·(m·d_x·sin θ·cos φ + n·d_y·sin θ·sin φ)). NaN for directions that are not finite. Raises ValueError for
    fewer than one antenna either way, and for a wavelength or a spacing that is not positive.
    """
    if min(shape) < 1:
        raise ValueError(f"an array has at least one antenna along x and y, got {shape}")
    if not (wavelength_m > 0 and min(spacing_m) > 0):
        raise ValueError(f"wavelength and spacings must be positive [m], got {wavelength_m} and {spacing_m}")
    zenith_rad, azimuth_rad = np.asarray(zenith_rad, np.float64), np.asarray(azimuth_rad, np.float64)
    along_x = np.sin(zenith_rad) * np.cos(azimuth_rad) * (spacing_m[0] / wavelength_m)
    along_y = np.sin(zenith_rad) * np.sin(azimuth_rad) * (spacing_m[1] / wavelength_m)
    m, n = (number.ravel() for number in np.indices(shape))
    return np.exp(-2j * np.pi * (m * along_x[..., None] + n * along_y[..., None]))


def channel_vector(
    gain: np.ndarray, delay_s: np.ndarray, response: np.ndarray, frequencies_hz: np.ndarray
) -> np.ndarray:
    """Channel of every antenna at ``frequencies_hz`` (F,) from the carrier [Hz], (..., F, M·N) complex128.

    Fourier transform of equation 3, Σ α·a(θ, φ)·exp(−j2πfτ); ``response``: (..., P, M·N) a of every path, as
    :func:`array_response` makes it. Taps instead: :func:`impulse_response` of α·a.
    """
    response = np.asarray(response, np.complex128)
    counts = np.isfinite(response).all(-1)
    gain, delay_s = _counted(np.where(counts, gain, np.nan), delay_s)
    response = np.where(counts[..., None], response, 0.0)
    return np.einsum("...fp,...p,...pa->...fa", _turns(delay_s, frequencies_hz), gain, response)


def beam_pattern(
    steering_rad: tuple[float, float],
    zenith_rad: np.ndarray,
    azimuth_rad: np.ndarray,
    shape: tuple[int, int],
    spacing_m: tuple[float, float],
    wavelength_m: float,
) -> np.ndarray:
    """Power gain |a(steering)ᴴ·a(θ, φ)|² / (M·N) over one antenna in directions of any shape, same shape, linear.

    ``steering_rad``: (zenith, azimuth) of the beam; there the gain is M·N, the most it can be, and again in the mirror
    image behind the plane of the array, and in grating lobes where antennas are over half a wavelength apart. Van
    Trees, "Optimum Array Processing", section 2.2. Raises ValueError as :func:`array_response`.
    """
    weights = array_response(*steering_rad, shape, spacing_m, wavelength_m)
    responses = array_response(zenith_rad, azimuth_rad, shape, spacing_m, wavelength_m)
    return np.abs(responses @ weights.conj()) ** 2 / len(weights)
