"""What propagation asks of predicted paths, as terms that a network can be trained by (PINN-GNN, equations 4 to 13).

Liu, Chen, Tang, Ma, Wang, Zhang, "PINN and GNN-based RF Map Construction for Wireless Communication Systems". Tensors
of paths are (N, P): ``power_db`` (path gain |α|²), ``delay_s``, ``zenith_rad`` and ``azimuth_rad`` of the direction
that a path comes from, as in ``scene.Paths``; ``receivers_m`` (N, 3), ``transmitter_m`` (3,). ``mask`` (N, P) bool says
which paths there are: what the others hold, NaN too, changes nothing. ``type_probability`` (N, P, 4) is the weight
w_type of every penalty, in the order of :data:`TYPES`. One-hot truth will do, and of a path with four zeros nothing is
asked; so it is with transmitted paths, which the paper gives no limits.

Terms are () means over the paths there are, 0 without any. They have no unit, so that an error weighs alike everywhere:
powers count in tens of decibels, delays in shares of d/c, angles in radians. Gradients are finite, also at the
transmitter.

The paper's limits are no laws: grazing reflections are hardly later than d/c, and walls behind a receiver send from
anywhere. Of the paths that Sionna RT finds in scenario S2 (seed 0, every 2 m) 41, 57 and 90 % of reflections, scattered
and diffracted paths come earlier than :data:`DELAY_FACTORS` allow, and 39 % of reflections turn by more than
:data:`SLACK_RAD`; with factors of 1 no path is early.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from raymap import units
from raymap.scene import PathKind

TYPES = (PathKind.LINE_OF_SIGHT, PathKind.REFLECTION, PathKind.SCATTERING, PathKind.DIFFRACTION)
#: Most power of a path of each type, as a share of the line of sight's, and least delay, as a multiple of d/c.
POWER_CAPS = (1.0, 0.7, 0.3, 0.1)
DELAY_FACTORS = (1.0, 1.2, 1.4, 1.6)
#: Turn of zenith and azimuth that a reflection may take where r = 1 [rad].
SLACK_RAD = (math.pi / 4, math.pi / 2)
#: The error that counts 1 [dB], and the distance below which delays are shares of that of this distance [m].
POWER_UNIT_DB, LEAST_DISTANCE_M = 10.0, 1.0
#: No line of sight is seen in a path whose delay differs by this share of d/c: reflections begin there.
SIGHT_DELAY_SHARE = DELAY_FACTORS[PathKind.REFLECTION] - 1.0


class LineOfSight(NamedTuple):
    """The straight line from each receiver to the transmitter, (N, 1) each; directions are 0 where there is none."""

    distance_m: Tensor
    zenith_rad: Tensor
    azimuth_rad: Tensor
    has_zenith: Tensor  #: False at the transmitter
    has_azimuth: Tensor  #: False straight below and above it


class Terms(NamedTuple):
    """The four parts of the physical loss (11), () each."""

    power: Tensor
    delay: Tensor
    angles: Tensor
    consistency: Tensor


def line_of_sight(receivers_m: Tensor, transmitter_m: Tensor) -> LineOfSight:
    """Distance d and theoretical angles of arrival of the direct path. Raises ValueError for other shapes."""
    if receivers_m.ndim != 2 or receivers_m.shape[1] != 3 or transmitter_m.shape != (3,):
        shapes = f"{tuple(receivers_m.shape)} and {tuple(transmitter_m.shape)}"
        raise ValueError(f"receivers_m must be (N, 3) and transmitter_m (3,), got {shapes}")
    x, y, z = (transmitter_m - receivers_m)[..., None].unbind(1)
    across = x.square() + y.square()
    has_azimuth, has_zenith = across > 0, across + z.square() > 0
    across_m = _root(across)
    zenith_rad = torch.atan2(across_m, torch.where(has_zenith, z, 1.0))
    azimuth_rad = torch.atan2(torch.where(has_azimuth, y, 0.0), torch.where(has_azimuth, x, 1.0))
    return LineOfSight(_root(across + z.square()), zenith_rad, azimuth_rad, has_zenith, has_azimuth)


def _root(squared: Tensor) -> Tensor:
    """√x with gradient 0 at 0, where that of torch is infinite."""
    return torch.where(squared > 0, torch.where(squared > 0, squared, 1.0).sqrt(), 0.0)


def free_space_gain_db(distance_m: Tensor, frequency_hz: float) -> Tensor:
    """Power of the line of sight [dB], −20·log10(4πd/λ) (equation 5), and 0 dB where that law would give more."""
    nearest_m = units.wavelength_m(frequency_hz) / (4.0 * math.pi)
    return -20.0 * torch.log10(distance_m.clamp_min(nearest_m) / nearest_m)


def wrapped(angle_rad: Tensor) -> Tensor:
    """The same angle in [−π, π); the size of a wrapped difference is Δφ of equation 8."""
    return torch.remainder(angle_rad + math.pi, 2.0 * math.pi) - math.pi


def supervised(predicted: Tensor, true: Tensor, scales: Tensor, mask: Tensor) -> Tensor:
    """Squared differences from the truth, summed over the four numbers of a path (equation 4).

    ``predicted``, ``true``: (N, P, 4) power [dB], delay [s], zenith and azimuth [rad]; ``scales``: (4,) in the same
    units, what is divided by: without, the sum would be of decibels alone. Azimuths differ by at most π. A true number
    that is NaN is not known and asks for nothing.
    """
    known = mask[..., None] & torch.isfinite(true)
    difference = torch.where(known, predicted, 0.0) - torch.where(known, true, 0.0)
    difference = torch.cat([difference[..., :3], wrapped(difference[..., 3:])], dim=-1)
    return _mean((difference / scales).square().sum(-1), mask)


def power(
    power_db: Tensor,
    type_probability: Tensor,
    receivers_m: Tensor,
    transmitter_m: Tensor,
    frequency_hz: float,
    mask: Tensor,
    caps: Sequence[float] = POWER_CAPS,
) -> Tensor:
    """Squared difference from free space of lines of sight, squared excess over their caps of the others (equation 6).

    In decibels, since shares of a power are differences there and a path 60 dB down still has a gradient. The paper's
    caps are the most that a path may have: a weaker one costs nothing, unlike in its formula.
    """
    limit_db = free_space_gain_db(line_of_sight(receivers_m, transmitter_m).distance_m, frequency_hz)[..., None]
    caps_db = limit_db.new_tensor([10.0 * math.log10(cap) for cap in caps])
    excess = (torch.where(mask, power_db, 0.0)[..., None] - limit_db - caps_db) / POWER_UNIT_DB
    excess = torch.cat([excess[..., :1], excess[..., 1:].relu()], dim=-1)
    return _mean_over_types(excess.square(), type_probability, mask)


def delay(
    delay_s: Tensor,
    type_probability: Tensor,
    receivers_m: Tensor,
    transmitter_m: Tensor,
    mask: Tensor,
    factors: Sequence[float] = DELAY_FACTORS,
) -> Tensor:
    """[max(0, τ_min − τ) / (d/c)]² with τ_min = factor·d/c (equation 7); d in the divisor is at least 1 m.

    Later than τ_min is free, for lines of sight too. Factors of 1 ask only what is true of every path.
    """
    distance_m = line_of_sight(receivers_m, transmitter_m).distance_m[..., None]
    length_m = torch.where(mask, delay_s, 0.0)[..., None] * units.SPEED_OF_LIGHT_M_S
    early_m = (distance_m * distance_m.new_tensor(factors) - length_m).relu()
    return _mean_over_types((early_m / distance_m.clamp_min(LEAST_DISTANCE_M)).square(), type_probability, mask)


def angles(
    zenith_rad: Tensor,
    azimuth_rad: Tensor,
    type_probability: Tensor,
    reflection: Tensor,
    receivers_m: Tensor,
    transmitter_m: Tensor,
    mask: Tensor,
) -> Tensor:
    """How far directions turn from that of the transmitter, each type by its own measure (equations 8 to 10).

    Line of sight: Δθ + Δφ. Reflection: max(0, Δθ − r·45°)² + max(0, Δφ − r·90°)², with ``reflection`` r (N, P) or
    (N, 1). The paper leaves the others open. Here scattering costs nothing, since rough surfaces send everywhere, and
    diffraction is measured as a reflection with r = 1, since an edge sends little far from the way on. An angle that
    the line of sight does not have, straight below the transmitter, costs nothing.
    """
    line = line_of_sight(receivers_m, transmitter_m)
    rise = torch.where(mask & line.has_zenith, zenith_rad - line.zenith_rad, 0.0).abs()
    turn = wrapped(torch.where(mask & line.has_azimuth, azimuth_rad - line.azimuth_rad, 0.0)).abs()
    factor = torch.where(mask, reflection, 0.0)
    costs = [rise + turn, _beyond(rise, turn, factor), torch.zeros_like(rise), _beyond(rise, turn, 1.0)]
    return _mean_over_types(torch.stack(costs, dim=-1), type_probability, mask)


def _beyond(rise: Tensor, turn: Tensor, factor: Tensor | float) -> Tensor:
    return (rise - SLACK_RAD[0] * factor).relu().square() + (turn - SLACK_RAD[1] * factor).relu().square()


def falling_power(
    power_db: Tensor, delay_s: Tensor, receivers_m: Tensor, transmitter_m: Tensor, mask: Tensor
) -> Tensor:
    """How much later paths are stronger than earlier ones of the same receiver: 0 where power falls with delay.

    Of every pair of paths, (what the later one is stronger by) · (what it is later by), 0 if it is weaker; mean over
    the pairs. The product, so that either number may give way. First half of the paper's consistency constraint.
    """
    distance_m = line_of_sight(receivers_m, transmitter_m).distance_m.clamp_min(LEAST_DISTANCE_M)
    level = torch.where(mask, power_db, 0.0) / POWER_UNIT_DB
    length = torch.where(mask, delay_s, 0.0) * units.SPEED_OF_LIGHT_M_S / distance_m
    stronger = (level[:, :, None] - level[:, None]).relu()
    later = (length[:, :, None] - length[:, None]).relu()
    both = mask[:, :, None] & mask[:, None]
    num_pairs = torch.triu(both, diagonal=1).sum().clamp_min(1)
    return torch.where(both, stronger * later, 0.0).sum() / num_pairs


def sight_probability(
    power_db: Tensor,
    delay_s: Tensor,
    receivers_m: Tensor,
    transmitter_m: Tensor,
    frequency_hz: float,
    mask: Tensor,
) -> Tensor:
    """(N,) p_LoS inferred from power and delay: 1 where a path has those of free space, 0 where none is near them.

    Of the path that is nearest, max(0, 1 − |Δp| / 10 dB) · max(0, 1 − |Δτ| / (0.2·d/c)). The paper names the quantity
    and gives no formula; 10 dB down it knows diffraction alone, and from 1.2·d/c on there are reflections.
    """
    distance_m = line_of_sight(receivers_m, transmitter_m).distance_m
    off = torch.where(mask, power_db, 0.0) - free_space_gain_db(distance_m, frequency_hz)
    late_m = torch.where(mask, delay_s, 0.0) * units.SPEED_OF_LIGHT_M_S - distance_m
    late = late_m / distance_m.clamp_min(LEAST_DISTANCE_M)
    near = (1.0 - off.abs() / POWER_UNIT_DB).relu() * (1.0 - late.abs() / SIGHT_DELAY_SHARE).relu()
    return torch.where(mask, near, 0.0).amax(dim=1)


def consistency(
    power_db: Tensor,
    delay_s: Tensor,
    type_probability: Tensor,
    receivers_m: Tensor,
    transmitter_m: Tensor,
    frequency_hz: float,
    mask: Tensor,
) -> Tensor:
    """:func:`falling_power`, and the squared difference of the inferred p_LoS from the classifier's, as one term.

    The classifier's p_LoS is that of the path which it most takes for a line of sight; mean over receivers with paths.
    """
    found = sight_probability(power_db, delay_s, receivers_m, transmitter_m, frequency_hz, mask)
    claimed = torch.where(mask, type_probability[..., PathKind.LINE_OF_SIGHT], 0.0).amax(dim=1)
    order = falling_power(power_db, delay_s, receivers_m, transmitter_m, mask)
    return order + _mean((found - claimed).square(), mask.any(dim=1))


def physical(terms: Terms, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """Weighted sum of the four terms (equation 11). The paper does not tell its λ₁ to λ₄; here every unit counts 1."""
    return sum(weight * term for weight, term in zip(weights, terms, strict=True))


def type_cross_entropy(type_logits: Tensor, kind: Tensor, mask: Tensor) -> Tensor:
    """−log p of the path's kind (equation 12), mean over the paths that have one of the four :data:`TYPES`.

    ``type_logits``: (N, P, 4), before the softmax, which keeps its gradient where a probability is 0 in float32;
    logarithms of probabilities will do. ``kind``: (N, P) integers; −1 (not known) and transmission do not count.
    """
    counts = mask & (kind >= 0) & (kind < len(TYPES))
    logits = torch.where(counts[..., None], type_logits, 0.0)
    entropy = functional.cross_entropy(
        logits.flatten(0, 1), torch.where(counts, kind, 0).long().flatten(), reduction="none"
    )
    return _mean(entropy.reshape(counts.shape), counts)


def physics_weight(share: float) -> float:
    """λ_phy of equation 13, from 0.05 to 0.5 along the ``share`` of training that is done, in [0, 1]."""
    return _ramp(share, 0.05, 0.5)


def type_weight(share: float) -> float:
    """λ_type of equation 13, from 0.05 to 0.3 along the ``share`` of training that is done, in [0, 1]."""
    return _ramp(share, 0.05, 0.3)


def _ramp(share: float, start: float, end: float) -> float:
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"the share of training that is done must lie in [0, 1], got {share}")
    return start + (end - start) * share


def composite(supervised: Tensor, physical: Tensor, type_entropy: Tensor, share: float) -> Tensor:
    """The whole loss (equation 13) when ``share`` of training is done. Raises ValueError for one outside [0, 1]."""
    return supervised + physics_weight(share) * physical + type_weight(share) * type_entropy


def _mean_over_types(cost: Tensor, type_probability: Tensor, mask: Tensor) -> Tensor:
    if type_probability.shape != (*mask.shape, len(TYPES)):
        raise ValueError(f"type_probability must be {(*mask.shape, len(TYPES))}, got {tuple(type_probability.shape)}")
    return _mean((torch.where(mask[..., None], type_probability, 0.0) * cost).sum(-1), mask)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, values, 0.0).sum() / where.sum().clamp_min(1)
