"""Diffraction at a building corner: the uniform theory for a wedge of finite conductivity. Scalar kernels.

Kouyoumjian and Pathak, "A uniform geometrical theory of diffraction for an edge in a perfectly conducting surface",
Proc. IEEE 62 (1974), eqs. (25)-(31), with the reflection coefficients of the faces on the two reflection terms as in
Luebbers, "Finite conductivity uniform GTD versus knife edge diffraction in prediction of propagation path loss", IEEE
Trans. Antennas Propag. 32 (1984). The face coefficients are taken at the smaller grazing angle of both ends from their
face, which is Luebbers' choice where he defines one and makes the result the same from both ends.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Least kL·a at which transition functions count as 1.
_FAR = 10.0


@njit(cache=True, nogil=True, error_model="numpy")
def interpolated(table, cosine):
    """Value at ``cosine`` in [0, 1] of a table at equal steps from 0 to 1."""
    place = min(max(cosine, 0.0), 1.0) * (len(table) - 1)
    index = min(int(place), len(table) - 2)
    return table[index] + (place - index) * (table[index + 1] - table[index])


@njit(cache=True, nogil=True, error_model="numpy")
def transition(x):
    """F(x) = 2j√x·exp(jx)·∫ exp(−jτ²)dτ from √x to ∞ for x ≥ 0 [rad]; 0 at 0, 1 at ∞.

    By the auxiliary functions of the Fresnel integrals, F = √(2πx)·(f(u) + j·g(u)), u = √(2x/π): Abramowitz and
    Stegun's rational approximations 7.3.32-33 and, for u > 2, their asymptotic series 7.3.27-28. Error about 1 %.
    """
    u = np.sqrt(2.0 * x / np.pi)
    if u > 2.0:
        v = 1.0 / (np.pi * u * u)
        f = (1.0 - v * v * (3.0 - 105.0 * v * v)) / (np.pi * u)
        g = v * (1.0 - v * v * (15.0 - 945.0 * v * v)) / (np.pi * u)
    else:
        f = (1.0 + 0.926 * u) / (2.0 + u * (1.792 + u * 3.104))
        g = 1.0 / (2.0 + u * (4.142 + u * (3.492 + u * 6.670)))
    return np.sqrt(2.0 * np.pi * x) * (f + 1j * g)


@njit(cache=True, nogil=True, error_model="numpy")
def _term(sign, beta, n, k_length):
    """cot((π + sign·β)/2n)·F(kL·a(β)) with a = 2cos²((2πnN − β)/2), 2πnN − β nearest to sign·π."""
    half = (np.pi + sign * beta) / (2.0 * n)
    sine = np.sin(half)
    if abs(sine) < 1e-7:  # on a shadow boundary: cot·F stays finite, either side of the jump will do
        half += 1e-6
        beta += sign * 2e-6 * n
        sine = np.sin(half)
    turns = np.rint((sign * np.pi + beta) / (2.0 * np.pi * n))
    cosine = np.cos(np.pi * n * turns - 0.5 * beta)
    return np.cos(half) / sine * transition(2.0 * k_length * cosine * cosine)


@njit(cache=True, nogil=True, error_model="numpy")
def diffraction(angle, from_angle, n, k_length, gamma):
    """√k·D, complex: the diffraction coefficient of a straight edge times √k, dimensionless.

    ``angle``, ``from_angle`` [rad]: of the observer and the source, from one face through the open space, in [0, nπ];
    ``k_length``: k·s·s'/(s + s'), k = 2π/λ; ``gamma``: reflection coefficient of the faces at equal steps of the cosine
    of incidence from 0 to 1 (the field parallel to the edge: TE). The diffracted power is |D|²/(s·s'·(s + s')) where
    1/s² is that of free space.
    """
    angle, from_angle = min(max(angle, 0.0), n * np.pi), min(max(from_angle, 0.0), n * np.pi)
    near, far = min(angle, from_angle), n * np.pi - max(angle, from_angle)
    face_0 = interpolated(gamma, np.sin(min(near, 0.5 * np.pi)))
    face_n = interpolated(gamma, np.sin(min(far, 0.5 * np.pi)))
    minus, plus = angle - from_angle, angle + from_angle
    total = _term(1.0, minus, n, k_length) + _term(-1.0, minus, n, k_length)
    total += face_n * _term(1.0, plus, n, k_length) + face_0 * _term(-1.0, plus, n, k_length)
    return -(1.0 - 1.0j) / np.sqrt(2.0) / (2.0 * n * np.sqrt(2.0 * np.pi)) * total


@njit(cache=True, nogil=True, error_model="numpy")
def diffracted_share(angle, from_angle, n, s, from_s, k, gamma):
    """Power behind an edge relative to 1/(unit length)²: |D|²/(s·s'·(s + s')), at most that of the straight way.

    ``s``, ``from_s``: lengths to the observer and to the source, ``k`` = 2π/λ per that unit of length. Within fractions
    of a wavelength of the edge the theory ends; the bound 1/(s + s')² holds there.
    """
    s, total = max(s, 1e-6), s + from_s
    field = diffraction(angle, from_angle, n, k * s * from_s / total, gamma)
    power = (field.real * field.real + field.imag * field.imag) / k
    return min(power / (s * from_s * total), 1.0 / (total * total))


@njit(cache=True, nogil=True, error_model="numpy")
def far_pattern(from_angle, n, gamma, pattern, nearest):
    """What k·|D|² tends to far from the edge, and the least a(β)/2 of its four terms, for `tabled_share`.

    Written to ``pattern`` and ``nearest`` (both of one length) at equal steps of the angle from 0 to nπ.
    """
    for index in range(len(pattern)):
        angle = n * np.pi * index / (len(pattern) - 1)
        field = diffraction(angle, from_angle, n, 1e12, gamma)
        pattern[index] = field.real * field.real + field.imag * field.imag
        least = 1.0
        for beta in (angle - from_angle, angle + from_angle):
            for sign in (-1.0, 1.0):
                turns = np.rint((sign * np.pi + beta) / (2.0 * np.pi * n))
                least = min(least, np.cos(np.pi * n * turns - 0.5 * beta) ** 2)
        nearest[index] = least


@njit(cache=True, nogil=True, error_model="numpy")
def tabled_share(angle, from_angle, n, s, from_s, k, gamma, pattern, nearest):
    """`diffracted_share` within 0.1 dB, away from shadow boundaries read from the table of `far_pattern`.

    Where kL·a is above `_FAR` for all four terms, their transition functions are 1 and D depends on the angle alone.
    """
    s, total = max(s, 1e-6), s + from_s
    place = min(angle / (np.pi * n), 1.0) * (len(pattern) - 1)
    step = min(int(place), len(pattern) - 2)
    if 2.0 * k * s * from_s / total * min(nearest[step], nearest[step + 1]) < _FAR:
        return diffracted_share(angle, from_angle, n, s, from_s, k, gamma)
    far = pattern[step] + (place - step) * (pattern[step + 1] - pattern[step])
    return min(far / (k * s * from_s * total), 1.0 / (total * total))
