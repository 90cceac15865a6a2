"""Rules that tell a path's kind from its numbers, on paths made by hand."""

import math

import pytest
import torch

from raymap import units
from raymap.physics.path_types import path_type_labels
from raymap.scene import PathKind

FREQUENCY_HZ = 3.5e9
TRANSMITTER_M = torch.tensor([0.0, 0.0, 10.0], dtype=torch.float64)
LEVEL = math.pi / 2


def labels(*paths, receiver_m=(100.0, 0.0, 10.0), mask=None):
    """Kinds of paths (dB over free space of 100 m, length [m], zenith, azimuth less the transmitter's)."""
    excess_db, length_m, zenith, azimuth = torch.tensor(paths, dtype=torch.float64).T[:, None]
    power_db = excess_db - units.free_space_loss_db(100.0, FREQUENCY_HZ)
    mask = torch.ones(1, len(paths), dtype=torch.bool) if mask is None else torch.tensor([mask])
    receivers_m = torch.tensor([receiver_m], dtype=torch.float64)
    numbers = power_db, length_m / units.SPEED_OF_LIGHT_M_S, zenith, azimuth + math.pi
    return path_type_labels(*numbers, receivers_m, TRANSMITTER_M, FREQUENCY_HZ, mask)[0].tolist()


def test_each_rule_finds_its_kind():
    found = labels(
        (0.0, 100.0, LEVEL, 0.0),
        (-9.0, 140.0, LEVEL, 1.5),  # 3 dB of way, 6 dB of wall
        (-35.0, 140.0, LEVEL, 1.5),
        (-35.0, 110.0, LEVEL + 0.02, 0.4),
        (-35.0, 110.0, LEVEL + 0.40, 0.4),
    )
    kinds = PathKind.LINE_OF_SIGHT, PathKind.REFLECTION, PathKind.SCATTERING, PathKind.DIFFRACTION, PathKind.SCATTERING
    assert found == list(kinds)


@pytest.mark.parametrize("off", [(-4.0, 0, 0, 0), (0, 2.0, 0, 0), (0, 0, 0.1, 0), (0, 0, 0, -0.1)])
def test_a_line_of_sight_has_power_delay_and_both_angles_of_free_space(off):
    direct = (0.0, 100.0, LEVEL, 0.0)
    assert labels(direct) == [PathKind.LINE_OF_SIGHT]
    assert labels(tuple(sum(pair) for pair in zip(direct, off, strict=True))) == [PathKind.REFLECTION]


def test_a_receiver_has_one_line_of_sight_and_it_is_the_earliest():
    found = labels((-0.1, 100.5, LEVEL, 0.01), (0.0, 100.0, LEVEL, 0.0), (-0.1, 100.4, LEVEL, 0.01))
    assert found == [PathKind.REFLECTION, PathKind.LINE_OF_SIGHT, PathKind.REFLECTION]


def test_azimuths_are_compared_on_the_circle_and_not_at_all_straight_below():
    assert labels((0.0, 100.0, LEVEL, 2 * math.pi)) == [PathKind.LINE_OF_SIGHT]
    assert labels((0.0, 100.0, 0.0, 2.2), receiver_m=(0.0, 0.0, -90.0)) == [PathKind.LINE_OF_SIGHT]


def test_what_is_not_known_does_not_speak_but_power_and_delay_are_needed():
    nan = math.nan
    found = labels((0.0, 100.0, nan, nan), (nan, 100.0, LEVEL, 0.0), (0.0, nan, LEVEL, 0.0), (-35.0, 110.0, nan, 0.0))
    assert found == [PathKind.LINE_OF_SIGHT, -1, -1, PathKind.SCATTERING]


def test_padding_has_no_kind():
    direct = (0.0, 100.0, LEVEL, 0.0)
    assert labels(direct, direct, mask=[False, True]) == [-1, PathKind.LINE_OF_SIGHT]
