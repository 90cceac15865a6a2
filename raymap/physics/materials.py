"""What walls are made of: complex permittivity and Fresnel reflection coefficients. Plain numpy.

Recommendation ITU-R P.2040-4, "Effects of building materials and structures on radiowave propagation above about
100 MHz", section 2.1.4. Time factor exp(+jωt): lossy media have a negative imaginary part. A wall is a half-space: what
its back face returns is left out (10 cm of concrete at 5.9 GHz take some 26 dB from it).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Material(NamedTuple):
    """Constants of P.2040-4, table 3: η' = a·f^b and σ = c·f^d [S/m], f [GHz] within ``range_ghz``."""

    a: float
    b: float
    c: float
    d: float
    range_ghz: tuple[float, float]


#: Rows of ITU-R P.2040-4, table 3, that outdoor and indoor scenes need, each in its lowest frequency range.
MATERIALS: dict[str, Material] = {
    "concrete": Material(5.24, 0.0, 0.0462, 0.7822, (1.0, 100.0)),
    "brick": Material(3.91, 0.0, 0.0238, 0.16, (1.0, 40.0)),
    "plasterboard": Material(2.73, 0.0, 0.0085, 0.9395, (1.0, 100.0)),
    "wood": Material(1.99, 0.0, 0.0047, 1.0718, (0.001, 100.0)),
    "glass": Material(6.31, 0.0, 0.0036, 1.3394, (0.1, 100.0)),
    "ceiling_board": Material(1.48, 0.0, 0.0011, 1.0750, (1.0, 100.0)),
    "chipboard": Material(2.58, 0.0, 0.0217, 0.7800, (1.0, 100.0)),
    "marble": Material(7.074, 0.0, 0.0055, 0.9262, (1.0, 60.0)),
    "metal": Material(1.0, 0.0, 1e7, 0.0, (1.0, 100.0)),
    "very_dry_ground": Material(3.0, 0.0, 0.00015, 2.52, (1.0, 10.0)),
    "medium_dry_ground": Material(15.0, -0.1, 0.035, 1.63, (1.0, 10.0)),
    "wet_ground": Material(30.0, -0.4, 0.15, 1.30, (1.0, 10.0)),
}

#: η'' = σ / (2π·ε₀·f) = 17.98·σ/f with σ [S/m], f [GHz].
_LOSS_PER_CONDUCTIVITY = 17.98


def permittivity(material: str, frequency_hz: float | np.ndarray) -> complex | np.ndarray:
    """Complex relative permittivity η = η' − jη'' of a named material, same shape as ``frequency_hz`` [Hz].

    ITU-R P.2040-4, section 2.1.4 with table 3. Raises ValueError for an unknown material and for frequencies outside
    the range that its row was measured in.
    """
    if material not in MATERIALS:
        raise ValueError(f"unknown material {material!r}; the materials are {', '.join(MATERIALS)}")
    row = MATERIALS[material]
    frequency_ghz = np.asarray(frequency_hz, np.float64) / 1e9
    low, high = row.range_ghz
    outside = ~((frequency_ghz >= low) & (frequency_ghz <= high))
    if outside.any():
        raise ValueError(
            f"{material} is tabulated from {low:g} to {high:g} GHz, got {frequency_ghz[outside].flat[0]:g} GHz"
        )
    conductivity = row.c * frequency_ghz**row.d
    eta = row.a * frequency_ghz**row.b - 1j * _LOSS_PER_CONDUCTIVITY * conductivity / frequency_ghz
    return eta if eta.ndim else complex(eta)


def fresnel(
    cos_incidence: float | np.ndarray, permittivity: complex | np.ndarray, polarization: str = "TE"
) -> complex | np.ndarray:
    """Amplitude reflection coefficient Γ of a half-space seen from air; arguments broadcast, |Γ| ≤ 1.

    ``cos_incidence``: cosine of the angle between ray and wall normal, in [0, 1]; ``permittivity``: η, imaginary part
    ≤ 0. ``polarization`` "TE": the electric field is perpendicular to the plane of incidence (vertical polarisation on
    a vertical wall), Γ = (cos θ − q)/(cos θ + q) with q = √(η − sin² θ); "TM": parallel to it,
    Γ = (η·cos θ − q)/(η·cos θ + q). ITU-R P.2040-4. Raises ValueError for a cosine outside
    [0, 1], a permittivity with gain or an unknown polarization.
    """
    cosine = np.asarray(cos_incidence, np.float64)
    eta = np.asarray(permittivity, np.complex128)
    if cosine.size and not (cosine.min() >= 0 and cosine.max() <= 1):
        raise ValueError(f"cos_incidence must lie in [0, 1], got {cosine.min():g} to {cosine.max():g}")
    if eta.size and not eta.imag.max() <= 0:
        raise ValueError(f"permittivity must have an imaginary part <= 0 (time factor exp(+jwt)), got {eta}")
    if polarization not in ("TE", "TM"):
        raise ValueError(f"polarization must be 'TE' or 'TM', got {polarization!r}")
    q = np.sqrt(eta - (1.0 - cosine**2))
    first = cosine if polarization == "TE" else eta * cosine
    # At grazing incidence on vacuum both are 0; vacuum reflects nothing.
    total = first + q
    gamma = np.where(total == 0, 0.0, (first - q) / np.where(total == 0, 1.0, total))
    return gamma if gamma.ndim else complex(gamma)
