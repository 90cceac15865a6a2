import numpy as np
import pytest

from raymap.data import path_table
from raymap.data.channel import Channel
from raymap.data.path_table import PARAMETERS, UNKNOWN_KIND, PathTable
from raymap.scene import PathKind, Paths


def channel(num=5, num_paths=4, seed=0):
    """A channel of random paths, of which every second receiver lacks the last two."""
    rng = np.random.default_rng(seed)
    shape = (num, num_paths)
    valid = np.ones(shape, bool)
    valid[::2, 2:] = False
    angles = np.stack([rng.uniform(-3, 3, shape), rng.uniform(0.1, 3, shape)], -1)
    gain = np.sort(10 ** -rng.uniform(3, 5, shape), axis=1)[:, ::-1] * np.exp(1j * rng.uniform(0, 6, shape))
    kind = rng.integers(0, 4, shape)
    paths = Paths(gain, rng.uniform(1e-8, 1e-6, shape), angles, angles, kind, valid)
    return Channel(paths, rng.uniform(0, 50, (num, 3)), np.array([1.0, 2.0, 30.0]), 3.5e9)


def test_a_channel_keeps_what_its_paths_say():
    given = channel()
    table = path_table.from_channel(given, 3)
    assert len(table) == 5 and table.num_paths == 3 and table.values.shape == (5, 3, 4)
    assert np.array_equal(table.valid, given.paths.valid[:, :3])
    assert np.array_equal(np.isfinite(table.values).all(-1), table.valid)
    # Σ|α|² is the power of the paths that are there.
    kept = given.paths.strongest(3)
    assert np.allclose((np.abs(table.gain) ** 2).sum(1), (np.abs(kept.gain.astype(complex)) ** 2).sum(1), rtol=1e-5)


def test_a_number_that_is_not_known_is_no_number_and_padding_neither():
    table = path_table.from_channel(channel(), 4)
    values = table.values.copy()
    values[1, 0, 1] = np.nan
    again = PathTable.from_values(table, table.receivers_m, values, valid=table.valid)
    assert np.isnan(again.delay_s[1, 0]) and again.valid[1, 0] and again.gain[1, 0] == 0
    assert (again.kind == UNKNOWN_KIND).all()
    # Whatever stands in padding is dropped.
    values[~table.valid] = -77.0
    assert np.isnan(PathTable.from_values(table, table.receivers_m, values, valid=table.valid).values[0, 3]).all()


def test_azimuths_of_any_turn_are_folded():
    table = path_table.from_channel(channel(), 2)
    turned = table.values.copy()
    turned[..., PARAMETERS.index("azimuth_rad")] += 4 * np.pi
    folded = PathTable.from_values(table, table.receivers_m, turned)
    assert np.allclose(folded.azimuth_rad, table.azimuth_rad, atol=1e-5)


def test_some_receivers_of_a_table():
    table = path_table.from_channel(channel(), 4)
    some = table.take(np.array([3, 1]))
    assert np.array_equal(some.receivers_m, table.receivers_m[[3, 1]]) and some.frequency_hz == 3.5e9
    assert np.array_equal(some.power_db, table.power_db[[3, 1]], equal_nan=True)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("power_db", 3.0, "power_db must lie in .-inf, 0., got 3"),
        ("delay_s", -1e-9, "delay_s must lie"),
        ("zenith_rad", 4.0, "zenith_rad must lie"),
        ("azimuth_rad", np.inf, "azimuth_rad must lie"),
        ("kind", 9, "kind holds 9"),
    ],
)
def test_a_value_that_cannot_be_is_named(name, value, said):
    table = path_table.from_channel(channel(), 4)
    fields = {field: getattr(table, field).copy() for field in (*PARAMETERS, "kind", "valid")}
    fields[name][1, 0] = value
    with pytest.raises(ValueError, match=said):
        PathTable(table.receivers_m, table.transmitter_m, table.frequency_hz, **fields)


def test_shapes_must_agree():
    table = path_table.from_channel(channel(), 4)
    fields = {field: getattr(table, field) for field in (*PARAMETERS, "kind", "valid")}
    with pytest.raises(ValueError, match="receivers_m has shape"):
        PathTable(table.receivers_m[:2], table.transmitter_m, table.frequency_hz, **fields)
    with pytest.raises(ValueError, match="delay_s has shape"):
        PathTable(
            table.receivers_m, table.transmitter_m, table.frequency_hz, **{**fields, "delay_s": table.delay_s[:, :2]}
        )
    kinds = {PathKind(kind) for kind in np.unique(table.kind[table.valid])}
    assert kinds <= set(PathKind)


def test_the_straight_path_leads_to_the_transmitter_and_loses_what_friis_says():
    receivers_m, transmitter_m = np.array([[3.0, 4.0, 0.0], [6.0, 8.0, 0.0], [0.0, 0.0, -5.0]]), np.zeros(3)
    table = path_table.line_of_sight(receivers_m, transmitter_m, 3.5e9)
    zenith, azimuth, length_m = table.zenith_rad, table.azimuth_rad, table.delay_s * 299_792_458.0
    ray_m = length_m * np.hstack([np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)])
    np.testing.assert_allclose(receivers_m + ray_m, np.tile(transmitter_m, (3, 1)), atol=1e-4)
    wavelength_m = 299_792_458.0 / 3.5e9
    friis_db = 20 * np.log10(wavelength_m / (4 * np.pi * np.array([[5.0], [10.0], [5.0]])))
    np.testing.assert_allclose(table.power_db, friis_db, atol=1e-3)
    assert (table.kind == PathKind.LINE_OF_SIGHT).all()
