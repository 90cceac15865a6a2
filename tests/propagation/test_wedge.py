"""Laws of diffraction: the half-plane's closed form, continuity, reciprocity, symmetry, and what a flat wall does."""

import numpy as np
import pytest
from scipy.special import fresnel as fresnel_integrals

from raymap.physics import materials
from raymap.propagation import wedge

METAL = np.full(1025, -1.0 + 0.0j)
BLACK = np.zeros(1025, complex)
CONCRETE = materials.fresnel(np.linspace(0, 1, 1025), materials.permittivity("concrete", 5.9e9))
K = 2 * np.pi / 0.0508  # 5.9 GHz


def test_transition_function_is_its_definition():
    for x in (1e-4, 0.01, 0.3, 1.0, 4.0, 30.0):
        u = np.sqrt(2 * x / np.pi)
        s, c = fresnel_integrals(u)
        integral = np.sqrt(np.pi / 2) * ((0.5 - c) - 1j * (0.5 - s))
        exact = 2j * np.sqrt(x) * np.exp(1j * x) * integral
        assert abs(wedge.transition(x) - exact) < 6e-3 * np.sqrt(1 + x)
    assert abs(wedge.transition(1e6) - 1) < 1e-3


def test_behind_a_metal_half_plane_it_is_sommerfelds_solution():
    """Total field by D in the shadow against the exact half-plane, plane wave, soft edge."""
    from_angle, s, from_s = np.radians(70.0), 20.0, 1e7
    for angle in np.radians([255.0, 262.0, 280.0, 310.0, 350.0]):  # the shadow begins at 250°
        field = wedge.diffraction(angle, from_angle, 2.0, K * s * from_s / (s + from_s), METAL)
        amplitude = abs(field) / np.sqrt(K * s)

        def half(difference):  # the part of one plane wave: exp(jkρcosδ)·F[-√(2kρ)cos(δ/2)] without its phase
            v = -np.sqrt(2 * K * s) * np.cos(difference / 2)
            sine, cosine = fresnel_integrals(v * np.sqrt(2 / np.pi))
            tail = np.sqrt(np.pi / 2) * ((0.5 - cosine) - 1j * (0.5 - sine))
            return np.exp(1j * K * s * np.cos(difference)) * tail * np.exp(1j * np.pi / 4) / np.sqrt(np.pi)

        exact = abs(half(angle - from_angle) - half(angle + from_angle))
        assert amplitude == pytest.approx(exact, rel=0.02)


def test_on_the_shadow_boundary_half_the_field_goes_on():
    for n in (1.5, 1.8, 2.0):
        for from_angle in (0.4, 0.9):
            share = wedge.diffracted_share(from_angle + np.pi, from_angle, n, 30.0, 40.0, K, BLACK)
            assert share == pytest.approx(0.25 / 70.0**2, rel=0.03)


@pytest.mark.parametrize("gamma", [METAL, BLACK, CONCRETE], ids=["metal", "black", "concrete"])
def test_both_ends_and_both_faces_are_equal(gamma):
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = rng.uniform(1.1, 1.95)
        one, other = rng.uniform(0.01, n * np.pi - 0.01, 2)
        s, from_s = rng.uniform(1, 100, 2)
        share = wedge.diffracted_share(one, other, n, s, from_s, K, gamma)
        swapped = wedge.diffracted_share(other, one, n, from_s, s, K, gamma)
        mirrored = wedge.diffracted_share(n * np.pi - one, n * np.pi - other, n, s, from_s, K, gamma)
        assert swapped == pytest.approx(share, rel=1e-9)
        assert mirrored == pytest.approx(share, rel=1e-6)
        assert 0 <= share <= 1 / (s + from_s) ** 2 * (1 + 1e-9)


def test_power_falls_steadily_into_the_shadow():
    angles = np.linspace(0.6 + np.pi + 1e-3, 1.5 * np.pi - 0.02, 80)
    shares = [wedge.diffracted_share(angle, 0.6, 1.5, 30.0, 40.0, K, CONCRETE) for angle in angles]
    assert (np.diff(shares) < 0).all()


def test_doubled_frequency_takes_three_decibels_in_deep_shadow():
    low, high = (wedge.diffracted_share(4.5, 0.5, 1.5, 50.0, 50.0, k, METAL) for k in (K, 2 * K))
    assert low / high == pytest.approx(2.0, rel=0.02)


def test_the_table_is_the_coefficient():
    rng = np.random.default_rng(1)
    pattern, nearest = np.empty(720), np.empty(720)
    off_db = []
    for _ in range(20):
        n, from_angle = rng.uniform(1.2, 1.7), rng.uniform(0.05, 3.5)
        wedge.far_pattern(from_angle, n, CONCRETE, pattern, nearest)
        for _ in range(100):
            ends = rng.uniform(0.05, n * np.pi - 0.05), from_angle, n, *rng.uniform(2, 200, 2), K, CONCRETE
            exact, tabled = wedge.diffracted_share(*ends), wedge.tabled_share(*ends, pattern, nearest)
            off_db.append(abs(10 * np.log10(tabled / exact)))
    assert np.max(off_db) < 0.5 and np.percentile(off_db, 95) < 0.1
