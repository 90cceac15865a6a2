"""Laws of reflection: energy, normal and grazing incidence, Brewster's angle, the limits of air and metal."""

import numpy as np
import pytest

from raymap.physics import materials
from raymap.physics.materials import MATERIALS, fresnel, permittivity

COSINES = np.linspace(0.0, 1.0, 201)


def middle_hz(name):
    low, high = MATERIALS[name].range_ghz
    return 1e9 * np.sqrt(low * high)


def test_concrete_is_that_of_the_recommendation():
    eta = permittivity("concrete", 5.9e9)
    assert eta.real == 5.24
    assert -eta.imag == pytest.approx(17.98 * 0.0462 * 5.9**0.7822 / 5.9, rel=1e-12)
    assert permittivity("medium_dry_ground", 2e9).real == pytest.approx(15 * 2**-0.1)


def test_loss_is_conductivity_over_angular_frequency():
    """η'' = σ / (ω ε₀), here without the rounded constant of the recommendation."""
    for name, row in MATERIALS.items():
        frequency_hz = middle_hz(name)
        conductivity = row.c * (frequency_hz / 1e9) ** row.d
        expected = conductivity / (2 * np.pi * frequency_hz * 8.8541878128e-12)
        assert -permittivity(name, frequency_hz).imag == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", MATERIALS)
@pytest.mark.parametrize("polarization", ["TE", "TM"])
def test_no_wall_returns_more_than_it_gets_and_grazing_returns_all(name, polarization):
    eta = permittivity(name, middle_hz(name))
    size = np.abs(fresnel(COSINES, eta, polarization))
    assert (size <= 1 + 1e-12).all()
    assert size[0] == pytest.approx(1.0)
    assert size[-1] == pytest.approx(abs((np.sqrt(eta) - 1) / (np.sqrt(eta) + 1)))


def test_te_falls_steadily_and_lies_above_tm():
    eta = permittivity("concrete", 5.9e9)
    te, tm = np.abs(fresnel(COSINES, eta, "TE")), np.abs(fresnel(COSINES, eta, "TM"))
    assert (np.diff(te) < 0).all()
    assert (te[1:-1] > tm[1:-1]).all()


def test_brewster():
    """A lossless wall returns nothing of TM where tan θ = √η."""
    for eta in (2.0, 5.24, 9.0):
        cosine = np.cos(np.arctan(np.sqrt(eta)))
        assert abs(fresnel(cosine, eta, "TM")) < 1e-12
        assert abs(fresnel(cosine, eta, "TE")) == pytest.approx((eta - 1) / (eta + 1))


def test_what_is_not_returned_goes_through():
    """Energy at a lossless face: |Γ|² + (Re q / cos θ)·|1 + Γ|² = 1 for TE."""
    cosine = COSINES[1:]
    gamma, q = fresnel(cosine, 4.0), np.sqrt(4.0 - (1 - cosine**2))
    np.testing.assert_allclose(np.abs(gamma) ** 2 + q / cosine * np.abs(1 + gamma) ** 2, 1.0, rtol=1e-12)


def test_limits_of_air_and_metal():
    assert np.abs(fresnel(COSINES, 1.0)).max() < 1e-9
    np.testing.assert_allclose(fresnel(COSINES, permittivity("metal", 5.9e9)), -1.0, atol=1e-2)
    np.testing.assert_allclose(fresnel(COSINES[5:], permittivity("metal", 5.9e9), "TM"), 1.0, atol=2e-2)


def test_arguments_broadcast():
    eta = permittivity("brick", np.array([2e9, 5e9, 30e9]))
    gamma = fresnel(COSINES[:, None], eta)
    assert gamma.shape == (201, 3)
    assert gamma[7, 1] == fresnel(COSINES[7], eta[1])


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="unknown material 'cheese'; the materials are concrete"):
        permittivity("cheese", 5.9e9)
    with pytest.raises(ValueError, match="brick is tabulated from 1 to 40 GHz, got 60 GHz"):
        permittivity("brick", np.array([5e9, 6e10]))
    with pytest.raises(ValueError, match="0.5 GHz"):
        materials.permittivity("concrete", 5e8)
    with pytest.raises(ValueError, match="nan"):
        permittivity("concrete", np.nan)
    with pytest.raises(ValueError, match="cos_incidence must lie in"):
        fresnel(1.2, 4.0)
    with pytest.raises(ValueError, match="imaginary part"):
        fresnel(0.5, 4.0 + 0.1j)
    with pytest.raises(ValueError, match="'TE' or 'TM', got 'V'"):
        fresnel(0.5, 4.0, "V")
