"""Bullington's loss over the roofs: one edge in closed form, reciprocity, and what makes it larger."""

import numpy as np
import pytest

from raymap.physics.roof_diffraction import knife_edge_db, roof_loss, roof_loss_batch

HZ = 3.5e9


def street(height_m: float = 20.0) -> np.ndarray:
    """Open ground with one wall a cell thick across column 10."""
    building_m = np.zeros((9, 40))
    building_m[:, 10] = height_m
    return building_m


def losses(building_m, tx_m=1.5, receiver_m=1.5, place=(4.5, 0.5), cell_m=4.0):
    return roof_loss(building_m, place, cell_m, tx_m=tx_m, receiver_m=receiver_m, frequency_hz=HZ)


def loss(*arguments, **more):
    return losses(*arguments, **more).bullington_db


def test_a_knife_edge_at_grazing_incidence_costs_six_decibels():
    assert knife_edge_db(np.array(0.0)) == pytest.approx(6.03, abs=0.01)
    assert knife_edge_db(np.array([-np.inf, -0.8])).tolist() == [0.0, 0.0]
    assert (np.diff(knife_edge_db(np.linspace(-0.78, 40, 200))) > 0).all()
    # Deep in the shadow the edge costs 20·log10(ν) + 12.9 dB (Lee's approximation 20·log10(0.225/ν)).
    assert knife_edge_db(np.array(30.0)) == pytest.approx(-20 * np.log10(0.225 / 30.0), abs=0.15)


def test_one_wall_is_one_edge():
    building_m, cell_m = street(20.0), 4.0
    found = loss(building_m)[4, 30]
    # Both horizons go over the near and the far rim of the one cell; the equivalent edge is just above it.
    d1, d2, far = 10 * cell_m - 2.0, (30.5 - 11) * cell_m, 30 * cell_m
    slopes = (18.5 / d1, 18.5 / d2)
    at = slopes[1] * far / sum(slopes)
    nu = slopes[0] * at * np.sqrt(2 * far / (299_792_458.0 / HZ * at * (far - at)))
    edge = knife_edge_db(np.array(nu))
    assert found == pytest.approx(edge + (1 - np.exp(-edge / 6)) * (10 + 0.02 * far / 1000), abs=1e-3)


def test_nothing_on_the_line_costs_nothing_and_buildings_are_left_out():
    found = loss(street())
    assert (found[:, :10] == 0).all() and (found[:, 10] == 0).all() and (found[:, 11:] > 20).all()


def test_the_string_over_a_wall_rises_and_falls_to_its_rims():
    """Rims 38 and 42 m from the transmitter, the receiver 120 m away; 18.5 m above both ends."""
    found = losses(street(20.0))
    assert found.rise_deg[4, 30] == pytest.approx(np.degrees(np.arctan(18.5 / 38)), abs=1e-4)
    assert found.fall_deg[4, 30] == pytest.approx(np.degrees(np.arctan(18.5 / (120 - 42))), abs=1e-4)
    assert (found.rise_deg[:, :11] == 0).all() and (found.fall_deg[:, :11] == 0).all()


def test_from_above_the_roofs_the_string_leaves_downwards():
    found = losses(street(20.0), tx_m=50.0)
    assert found.rise_deg[4, 12] == pytest.approx(-np.degrees(np.arctan(30 / 42)), abs=1e-4)
    assert found.fall_deg[4, 12] > 60


def test_the_cascade_is_the_deepest_edge_and_the_deepest_on_either_side():
    """Two walls: the first is the main edge of a cell behind both, the second the far one seen from its top."""
    building_m, cell_m = street(40.0), 4.0
    building_m[:, 24] = 15.0
    found = losses(building_m)[1][4, 34]
    far, near_rims, far_rims = 34 * cell_m, (38.0, 42.0), (94.0, 98.0)

    def nu(rims, top, start, start_m, end, end_m):
        lines = [start_m + (end_m - start_m) * (rim - start) / (end - start) for rim in rims]
        above = [(top - line, rim - start, end - rim) for line, rim in zip(lines, rims, strict=True)]
        return max(h * np.sqrt(2 * (a + b) / (299_792_458.0 / HZ * a * b)) for h, a, b in above)

    main = [nu((rim,), 40.0, 0.0, 1.5, far, 1.5) for rim in near_rims]
    deepest = near_rims[int(np.argmax(main))]
    sides = [(rim, 40.0) for rim in near_rims if rim != deepest] + [(rim, 15.0) for rim in far_rims]
    before = [nu((rim,), top, 0.0, 1.5, deepest, 40.0) for rim, top in sides if rim < deepest]
    after = [nu((rim,), top, deepest, 40.0, far, 1.5) for rim, top in sides if rim > deepest]
    edges = [float(knife_edge_db(np.array(max(values, default=-np.inf)))) for values in (main, before, after)]
    wanted = edges[0] + (1 - np.exp(-edges[0] / 6)) * (edges[1] + edges[2] + 10 + 0.04 * far / 1000)
    assert found == pytest.approx(wanted, abs=1e-3) and min(edges[0], edges[2]) > 6


def test_a_second_wall_costs_the_cascade_more():
    one, two = street(20.0), street(20.0)
    two[:, 20] = 20.0
    assert (losses(two).cascaded_db[:, 24:] > losses(one).cascaded_db[:, 24:] + 3).all()


def test_both_ends_may_be_swapped():
    rng = np.random.default_rng(2)
    building_m = np.where(rng.random((20, 20)) < 0.3, rng.uniform(5, 40, (20, 20)), 0.0)
    building_m[3, 4] = building_m[16, 13] = 0.0
    for method in range(2):
        there = losses(building_m, 3.0, 1.5, (3.5, 4.5))[method][16, 13]
        back = losses(building_m, 1.5, 3.0, (16.5, 13.5))[method][3, 4]
        assert there == pytest.approx(back, rel=1e-5) and there > 6.0


def test_higher_roofs_and_lower_masts_cost_more():
    assert (loss(street(30.0))[:, 11:] > loss(street(15.0))[:, 11:]).all()
    assert (loss(street(), tx_m=1.5)[:, 11:] > loss(street(), tx_m=15.0)[:, 11:]).all()
    assert (loss(street(), tx_m=60.0)[4, 11:13] > 0).all()


def test_a_batch_is_its_maps_one_by_one():
    maps, places = np.stack([street(20.0), street(8.0)]), np.array([[4.5, 0.5], [2.5, 30.5]])
    together = roof_loss_batch(maps, places, 4.0, np.array([1.5, 3.0]), np.array([HZ, 2 * HZ]))
    alone = roof_loss(maps[1], (2.5, 30.5), 4.0, tx_m=3.0, frequency_hz=2 * HZ)
    for name in ("bullington_db", "cascaded_db"):
        np.testing.assert_array_equal(getattr(together, name)[1], getattr(alone, name))


@pytest.mark.parametrize("wrong", [{"tx_m": 0.0}, {"receiver_m": -1.0}, {"cell_m": np.nan}])
def test_what_is_not_positive_is_named(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be above 0"):
        loss(street(), **wrong)
