"""What networks of paths are trained by, on tables: errors in the units of scores, physical terms, kinds, ramps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from raymap.data.path_table import PARAMETERS, PER_UNIT, UNKNOWN_KIND, PathTable
from raymap.nn.point_nets import CoordinatePaths
from raymap.physics import multipath, path_types

_AZIMUTH, _TURN_DEG = 3, 360.0


def error(told: Tensor, table: PathTable) -> tuple[Tensor, Tensor]:
    """(N, P, 4) told − true [dB, ns, deg, deg], azimuths the short way round, and which are known."""
    true = torch.from_numpy((table.values * PER_UNIT).astype(np.float32)).to(told.device)
    known = true.isfinite()
    missed = torch.where(known, told - torch.where(known, true, 0.0), 0.0)
    turned = torch.remainder(missed[..., _AZIMUTH:] + _TURN_DEG / 2, _TURN_DEG) - _TURN_DEG / 2
    return torch.cat([missed[..., :_AZIMUTH], turned], dim=-1), known


def mean_square(told: Tensor, table: PathTable) -> Tensor:
    """Mean square of :func:`error` over all that is known."""
    missed, known = error(told, table)
    return missed.square().sum() / known.sum().clamp_min(1)


def physical(
    told: Tensor, found: CoordinatePaths, mask: Tensor, receivers_m: np.ndarray, table: PathTable
) -> multipath.Terms:
    """The four terms of eq. 11 on ``told`` (N, P, 4) [dB, ns, deg, deg], wherever there is a path, ``mask`` (N, P)."""
    power_db, delay_s, zenith_rad, azimuth_rad = (told / torch.from_numpy(PER_UNIT).to(told)).unbind(-1)
    probability = found.kinds.softmax(dim=-1)
    place = (torch.from_numpy(receivers_m).to(told), torch.from_numpy(table.transmitter_m).to(told))
    hz = table.frequency_hz
    return multipath.Terms(
        multipath.power(power_db, probability, *place, hz, mask),
        multipath.delay(delay_s, probability, *place, mask),
        multipath.angles(zenith_rad, azimuth_rad, probability, found.reflection, *place, mask),
        multipath.consistency(power_db, delay_s, probability, *place, hz, mask),
    )


def kinds(table: PathTable) -> Tensor:
    """(N, P) int64: the kinds of paths, where they are not known what physical rules take them for, else −1."""
    told = torch.from_numpy(table.kind.astype(np.int64))
    numbers = (torch.from_numpy(getattr(table, name).astype(np.float64)) for name in PARAMETERS)
    place = (torch.from_numpy(table.receivers_m), torch.from_numpy(table.transmitter_m))
    ruled = path_types.path_type_labels(*numbers, *place, table.frequency_hz, torch.from_numpy(table.valid))
    return torch.where(told == UNKNOWN_KIND, ruled, told)


def grown(ends: tuple[float, float], share_done: float) -> float:
    """A weight that grows with the share of training that is done (eq. 13)."""
    return ends[0] + (ends[1] - ends[0]) * share_done
