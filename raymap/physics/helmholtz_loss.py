"""How far a map is from a Helmholtz equation, as terms that a network can be trained by (PhyRMDM, METHODS §5).

    ∇²u + κ²u = 0  in streets and in buildings, each with its own κ,    u = 0  in buildings,    u = u_Tx  at the source

With u a grey level, decibels on a scale, and κ far below any real wavenumber, this is no wave. It is a smoothness that
knows decibels: free space is harmonic in them (``helmholtz``), so that only shadow edges are charged. Three differences
from the released code: walls are closed, because a map jumps at a wall by nature, and a stencil across it would charge
the truth more for that than for all else; the equation is not asked at the transmitter, where the source is, nor along
the map's border, where the stencil would reach outside; and the source has the value of free space instead of 1.

Fields are tensors (..., H, W); ``outdoor`` and ``transmitter`` bool and shaped alike; gradients flow through all of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from raymap.physics import helmholtz

#: Largest eigenvalue of the squared operator, in cells: that of the 5-point Laplacian is -8, and κ² takes away from it.
_STIFFNESS = 64.0
#: κ outside and inside buildings [1/cell] where nothing else is said.
WAVENUMBERS = (0.2, 1.0)


class Terms(NamedTuple):
    """Mean squares of each map, (...), in the field's unit squared; the first per cell length to the fourth."""

    equation: Tensor
    boundary: Tensor
    source: Tensor


def _operator(field: Tensor, outdoor: Tensor, cell_m: float, wavenumbers: tuple[float, float]) -> Tensor:
    """∇²u + κ²u with no flux between street and buildings; symmetric."""
    outside, inside = wavenumbers
    return helmholtz.residual(field, outside**2, cell_m, outdoor) + helmholtz.residual(
        field, inside**2, cell_m, ~outdoor
    )


def residual(
    field: Tensor, outdoor: Tensor, transmitter: Tensor, cell_m: float, wavenumbers: tuple[float, float]
) -> Tensor:
    """(..., H, W) ∇²u + κ²u [unit of u per m²]; 0 in the transmitter's cell and along the map's border.

    ``wavenumbers``: κ outside and inside buildings [1/m]. Raises ValueError as ``helmholtz.residual``.
    """
    return _operator(field, outdoor, cell_m, wavenumbers) * _asked(transmitter)


def _asked(transmitter: Tensor) -> Tensor:
    """Where the source-free equation is meant to hold."""
    asked = torch.zeros_like(transmitter)
    asked[..., 1:-1, 1:-1] = ~transmitter[..., 1:-1, 1:-1]
    return asked


def terms(
    field: Tensor,
    outdoor: Tensor,
    transmitter: Tensor,
    source: Tensor | float,
    cell_m: float,
    wavenumbers: tuple[float, float] = WAVENUMBERS,
) -> Terms:
    """Mean squares of :func:`residual`, of u in buildings, and of u - ``source`` in the transmitter's cell.

    Each is 0 on maps that have no such cell. Arguments and errors as :func:`residual`.
    """
    left = residual(field, outdoor, transmitter, cell_m, wavenumbers)
    return Terms(
        _mean(left.square(), _asked(transmitter)),
        _mean(field.square(), ~outdoor),
        _mean((field - source).square(), transmitter),
    )


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """(..., H, W) to (...): the mean over the cells ``where``."""
    return (values * where).sum(dim=(-2, -1)) / where.sum(dim=(-2, -1)).clamp_min(1)


def descend(
    field: Tensor,
    outdoor: Tensor,
    transmitter: Tensor,
    cell_m: float,
    wavenumbers: tuple[float, float],
    share: float,
) -> Tensor:
    """The field one step down the gradient of ½·Σ(residual²); the sum falls for any ``share`` between 0 and 2.

    The gradient is the operator applied to the residual, for it is symmetric. ``share`` 1 takes the stiffest pattern,
    the chequerboard, away at once. Arguments and errors as :func:`residual`; κ·cell_m is at most 2.
    """
    left = residual(field, outdoor, transmitter, cell_m, wavenumbers)
    gradient = _operator(left, outdoor, cell_m, wavenumbers)
    return field - share * cell_m**4 / _STIFFNESS * gradient


def total_variation(field: Tensor, outdoor: Tensor) -> Tensor:
    """(..., H, W) to (...): mean over the cells of |differences| to the next row and column, walls left out.

    Unlike the residual it does not mind a sharp edge more than a gentle slope of the same height.
    """
    rows = (field[..., 1:, :] - field[..., :-1, :]).abs() * (outdoor[..., 1:, :] == outdoor[..., :-1, :])
    columns = (field[..., :, 1:] - field[..., :, :-1]).abs() * (outdoor[..., :, 1:] == outdoor[..., :, :-1])
    return (rows.sum(dim=(-2, -1)) + columns.sum(dim=(-2, -1))) / (field.shape[-2] * field.shape[-1])
