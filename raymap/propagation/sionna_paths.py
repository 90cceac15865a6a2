"""Sionna's paths as the house's `Paths`: kinds, angles on our axes, carrier phase, scattered rays joined."""

from __future__ import annotations

import numba
import numpy as np

from raymap.scene import PathKind, Paths

#: Bits of an interaction in sionna.rt (InteractionType).
SPECULAR, DIFFUSE, REFRACTION, DIFFRACTION = 1, 2, 4, 8

#: Scattered rays that arrive and leave within this delay and angle of a stronger one are one path with it.
MERGE_DELAY_S = 2e-9
MERGE_ANGLE_RAD = float(np.deg2rad(5.0))


def kinds(interactions: np.ndarray) -> np.ndarray:
    """(R, P) int8 `PathKind` from interaction bits (depth, R, P), by the strongest claim along the path."""
    seen = np.bitwise_or.reduce(interactions, axis=0) if len(interactions) else np.zeros(interactions.shape[1:], int)
    claims = [seen & bit > 0 for bit in (DIFFRACTION, DIFFUSE, SPECULAR, REFRACTION)]
    names = [PathKind.DIFFRACTION, PathKind.SCATTERING, PathKind.REFLECTION, PathKind.TRANSMISSION]
    return np.select(claims, names, PathKind.LINE_OF_SIGHT).astype(np.int8)


def convert(found, num_receivers: int, frequency_hz: float, num_paths: int) -> Paths:
    """`Paths` of the first receivers in a ``sionna.rt.Paths`` of one transmitter and single antennas.

    Sionna's world has y to the north, ours down the rows: azimuths change sign, zeniths stay. Its coefficients carry no
    carrier phase; ours are those of the baseband channel, a·exp(−j2πfτ). Scattered rays are merged, then the
    ``num_paths`` strongest kept.
    """
    coefficient, valid = _coefficients(found, num_receivers)
    if not valid.any():
        return _none(num_receivers, num_paths)

    def column(tensor) -> np.ndarray:
        return tensor.numpy()[..., :num_receivers, 0, :]

    delay_s = np.where(valid, column(found.tau).astype(np.float64), 0.0)
    carrier = np.exp(-2j * np.pi * ((frequency_hz * delay_s) % 1.0))
    all_paths = Paths(
        gain=np.where(valid, coefficient * carrier, 0.0),
        delay_s=delay_s,
        aoa_rad=_angles(column(found.phi_r), column(found.theta_r)),
        aod_rad=_angles(column(found.phi_t), column(found.theta_t)),
        kind=kinds(column(found.interactions)),
        valid=valid,
    )
    return merge_scattered(all_paths).strongest(num_paths)


def power(found, num_receivers: int) -> np.ndarray:
    """(R,) float64: Σ|a|² over the paths of each of the first receivers, 0 where there is none."""
    coefficient, valid = _coefficients(found, num_receivers)
    return np.where(valid, np.abs(coefficient) ** 2, 0.0).sum(-1)


def _coefficients(found, num_receivers: int) -> tuple[np.ndarray, np.ndarray]:
    """(R, P) complex128 and bool; amplitudes below 1e-29 are no paths."""
    real, imaginary = (np.asarray(part.numpy(), np.float64)[:num_receivers, 0, 0, 0] for part in found.a)
    coefficient = real + 1j * imaginary
    return coefficient, found.valid.numpy()[:num_receivers, 0] & (np.abs(coefficient) > 1e-29)


def merge_scattered(paths: Paths) -> Paths:
    """Scattered paths within `MERGE_DELAY_S` and `MERGE_ANGLE_RAD` (both ends) of a stronger one, joined to it.

    A diffuse surface has no path, only power per direction; the tracer samples it with as many rays as it shoots. The
    joined path has the sum of their powers, and phase, delay and angles of the strongest.
    """
    scattered = paths.valid & (paths.kind == PathKind.SCATTERING)
    if not scattered.any():
        return paths
    power = np.abs(paths.gain.astype(np.complex128)) ** 2
    order = np.argsort(np.where(scattered, -power, np.inf), axis=1, kind="stable")
    merged, valid = power.copy(), paths.valid.copy()
    directions = [_directions(angles) for angles in (paths.aoa_rad, paths.aod_rad)]
    _merge(scattered, order, paths.delay_s, *directions, MERGE_DELAY_S, np.cos(MERGE_ANGLE_RAD), merged, valid)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.where(valid, paths.gain * np.sqrt(merged / power), 0.0)
    return Paths(gain, paths.delay_s, paths.aoa_rad, paths.aod_rad, paths.kind, valid)


@numba.njit(cache=True)
def _merge(scattered, order, delay_s, arriving, leaving, most_s, least_cosine, power, valid):
    """Adds up ``power`` (R, P) of scattered paths at the strongest of each group; clears ``valid`` of the others."""
    for receiver in range(len(order)):
        for i in range(order.shape[1]):
            first = order[receiver, i]
            if not scattered[receiver, first]:
                break
            if not valid[receiver, first]:
                continue
            for j in range(i + 1, order.shape[1]):
                other = order[receiver, j]
                if not scattered[receiver, other]:
                    break
                if not valid[receiver, other] or abs(delay_s[receiver, other] - delay_s[receiver, first]) > most_s:
                    continue
                near = 0.0
                for k in range(3):
                    near += arriving[receiver, first, k] * arriving[receiver, other, k]
                far = 0.0
                for k in range(3):
                    far += leaving[receiver, first, k] * leaving[receiver, other, k]
                if near >= least_cosine and far >= least_cosine:
                    power[receiver, first] += power[receiver, other]
                    valid[receiver, other] = False


def _angles(azimuth_rad: np.ndarray, zenith_rad: np.ndarray) -> np.ndarray:
    """(R, P, 2) azimuth in (−π, π] on our axes, zenith in [0, π]."""
    azimuth_rad = -np.asarray(azimuth_rad, np.float32)
    azimuth_rad = np.where(azimuth_rad <= -np.float32(np.pi), np.float32(np.pi), azimuth_rad)
    return np.stack([azimuth_rad, np.asarray(zenith_rad, np.float32)], axis=-1)


def _directions(angles_rad: np.ndarray) -> np.ndarray:
    azimuth_rad, zenith_rad = np.moveaxis(angles_rad.astype(np.float64), -1, 0)
    sine = np.sin(zenith_rad)
    return np.stack([sine * np.cos(azimuth_rad), sine * np.sin(azimuth_rad), np.cos(zenith_rad)], axis=-1)


def _none(num_receivers: int, num_paths: int) -> Paths:
    shape = (num_receivers, num_paths)
    angles = np.zeros((*shape, 2))
    return Paths(np.zeros(shape), np.zeros(shape), angles, angles, np.zeros(shape), np.zeros(shape, bool))


def joined(parts: list[Paths], num_paths: int) -> Paths:
    """The receivers of several `Paths` of equal width in one; ``num_paths``: the width where there is none."""
    if not parts:
        return _none(0, num_paths)
    names = Paths.__dataclass_fields__
    return Paths(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
