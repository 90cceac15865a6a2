"""Channels: lines of sight are held against the positions, and receivers on a grid are a map."""

import numpy as np
import pytest

from raymap import units
from raymap.data.channel import Channel, check_line_of_sight, to_radio_map
from raymap.scene import Paths


def straight_channel(seed=0, num=40, **changes):
    """Lines of sight from a mast to receivers all around, by geometry and Friis, and a reflected path each."""
    rng = np.random.default_rng(seed)
    transmitter_m = np.array([30.0, -20.0, 25.0], np.float32)
    receivers_m = np.column_stack([rng.uniform(-200, 200, (num, 2)), np.full(num, 1.5)]).astype(np.float32)
    ray_m = receivers_m.astype(float) - transmitter_m
    distance_m = np.linalg.norm(ray_m, axis=1)

    def angles(vector):
        vector = vector / np.linalg.norm(vector, axis=1, keepdims=True)
        return np.stack([np.arctan2(vector[:, 1], vector[:, 0]), np.arccos(vector[:, 2])], -1)

    amplitude = 10 ** (-np.array([units.free_space_loss_db(d, 3.5e9) for d in distance_m]) / 20)
    values = {
        "gain": np.stack([amplitude, 0.1 * amplitude], 1),
        "delay_s": np.stack([distance_m, 2 * distance_m], 1) / units.SPEED_OF_LIGHT_M_S,
        "aod_rad": np.stack([angles(ray_m), angles(ray_m[::-1])], 1),
        "aoa_rad": np.stack([angles(-ray_m), angles(ray_m[::-1])], 1),
        "kind": np.tile([0, 1], (num, 1)), "valid": np.ones((num, 2), bool),
    }  # fmt: skip
    values |= {name: change(values[name]) for name, change in changes.items()}
    return Channel(Paths(**values), receivers_m, transmitter_m, 3.5e9)


def test_true_lines_of_sight_pass():
    assert check_line_of_sight(straight_channel(), max_angle_deg=0.02, max_delay_s=1e-12) == 40


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"aod_rad": np.radians}, "departure"),
        ({"aoa_rad": np.radians}, "arrival"),
        ({"aod_rad": lambda a: np.abs(a * [1, -1] + [0, np.pi / 2])}, "departure"),
        ({"aoa_rad": lambda a: a * [-1, 1]}, "arrival"),
        ({"aod_rad": lambda a: (a * [-1, 1] + [np.pi / 2, 0] + [np.pi, 0]) % (2 * np.pi) - [np.pi, 0]}, "departure"),
        ({"delay_s": lambda t: t * 1e3}, "delay"),
        ({"delay_s": lambda t: t + 1e-8}, "delay"),
    ],
    ids=[
        "radians for degrees",
        "arrival in radians",
        "from the horizon",
        "y down",
        "x and y swapped",
        "ns",
        "shift",
    ],
)
def test_a_mistaken_convention_is_caught(changes, said):
    with pytest.raises(ValueError, match=f"line of sight to receiver .* off by .*{said}"):
        check_line_of_sight(straight_channel(**changes))


def test_other_kinds_and_padding_are_not_held_against_the_positions():
    assert check_line_of_sight(straight_channel(kind=np.ones_like, aod_rad=np.zeros_like)) == 0
    assert check_line_of_sight(straight_channel(valid=np.zeros_like, aod_rad=np.zeros_like)) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"receivers_m": np.zeros((3, 2))}, r"receivers_m has shape \(3, 2\), expected \(40, 3\)"),
        ({"transmitter_m": np.zeros((1, 3))}, r"transmitter_m has shape \(1, 3\)"),
        ({"transmitter_m": [0, 0, np.nan]}, "transmitter_m holds 1 values"),
        ({"frequency_hz": 0.0}, "frequency_hz must be positive, got 0"),
    ],
)
def test_a_wrong_channel_is_named(changes, said):
    good = straight_channel()
    values = {name: getattr(good, name) for name in Channel.__dataclass_fields__}
    with pytest.raises(ValueError, match=said):
        Channel(**{**values, **changes})


def grid_channel(seed=0, weakest=1e-6, shape=(6, 9), step_m=2.5, origin_m=(700.0, -40.0), keep=0.8):
    """Receivers on a grid in any order, some places empty, some without a path; and the power of each."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(np.argwhere(rng.random(shape) < keep))
    # The corners fix the grid.
    cells = np.unique(np.concatenate([cells, [[0, 0], [shape[0] - 1, shape[1] - 1]]]), axis=0)
    cells = rng.permutation(cells)
    xy_m = (cells[:, ::-1] + 0.5) * step_m + origin_m
    size = (len(cells), 3)
    valid = rng.random(size) < 0.5
    gain = weakest * rng.uniform(1, 1e3, size) * np.exp(1j * rng.uniform(0, 6, size))
    zeros = np.zeros((*size, 2))
    paths = Paths(gain, np.zeros(size), zeros, zeros, np.zeros(size), valid)
    receivers_m = np.column_stack([xy_m, np.full(len(cells), 1.5)])
    channel = Channel(paths, receivers_m, np.array([*np.add(origin_m, 3.0), 20.0]), 3.5e9)
    return channel, cells, (np.abs(gain) ** 2 * valid).sum(1)


@pytest.mark.parametrize("weakest", [1e-6, 1e-9])
@pytest.mark.parametrize("seed", range(3))
def test_receivers_on_a_grid_become_the_map_of_their_summed_powers(seed, weakest):
    channel, cells, power = grid_channel(seed, weakest)
    grid, transmitter, radio_map = to_radio_map(channel)
    assert grid.shape == (6, 9) and grid.cell_m == pytest.approx(2.5)
    assert grid.origin_m == pytest.approx((700.0, -40.0))
    assert transmitter.xyz_m == pytest.approx((3.0, 3.0, 20.0)) and transmitter.cell(grid) == (1, 1)
    assert radio_map.valid.sum() == len(cells) and radio_map.valid[tuple(cells.T)].all()
    heard = power > 0
    assert 0 < heard.sum() < len(cells)
    gain_db = radio_map.gain_db[tuple(cells.T)]
    np.testing.assert_allclose(gain_db[heard], 10 * np.log10(power[heard]), atol=1e-4)
    # Who hears nothing is never better off than who hears something.
    assert (gain_db[~heard] == min(units.GAIN_FLOOR_DB, gain_db[heard].min())).all()
    np.testing.assert_array_equal(channel.has_path, heard)


@pytest.mark.parametrize(
    ("move", "said"),
    [
        (lambda xyz: xyz + np.arange(len(xyz))[:, None] * [0, 0, 1.0], "one height"),
        (lambda xyz: xyz + np.eye(len(xyz), 3) * [0.9, 0, 0], "do not lie on a grid"),
        (lambda xyz: np.tile(xyz[:1], (len(xyz), 1)), "more than one place"),
        (lambda xyz: xyz[[0, *range(len(xyz) - 1)]], "share a cell"),
    ],
)
def test_receivers_that_are_no_grid_are_refused(move, said):
    channel, _, _ = grid_channel()
    moved = Channel(channel.paths, move(channel.receivers_m.astype(float)), channel.transmitter_m, 3.5e9)
    with pytest.raises(ValueError, match=said):
        to_radio_map(moved)
