"""Helmholtz-aligned indicators of a radio map: Laplacian, curvature wavenumber k², outline and residual.

Equation numbers are those of the RadioDiff-k² paper: "RadioDiff-k²: Helmholtz Equation Informed Generative Diffusion
Model for Multi-Path Aware Radio Map Construction". All functions are pure and take numpy arrays and torch tensors with
any leading batch dimensions, (..., H, W); gradients flow through all of them for torch tensors.

In two dimensions free space is exactly harmonic in decibels (∇² ln r = 0), whatever the path loss exponent. So the
dB-Laplacian is zero in the open and speaks only where propagation changes: that is why ``k_log`` is the default here.
"""

from __future__ import annotations

import math
import sys

import numba
import numpy as np

from raymap.units import GAIN_FLOOR_DB, linear_from_db

#: Decibels of field amplitude per neper: 20·log10(e).
DB_PER_NEPER = 20.0 / math.log(10.0)
#: ε of eq. 33 and 38, an amplitude relative to isotropic antennas at zero path loss (A = 1): 60 dB below the weakest
#: gain that the field's pictures can show, so that it keeps A = 0 from dividing and is never seen otherwise.
AMPLITUDE_EPSILON = linear_from_db((GAIN_FLOOR_DB - 60.0) / 2.0)
#: kind of :func:`outline` -> (threshold, saturation) in dB of amplitude per cell². The 8-bit steps of the field's
#: pictures (0.39 dB) reach 0.34 dB/cell² after the default smoothing, a third of the threshold of ``k_log``.
OUTLINE_LEVELS_DB = {"k_log": (1.0, 3.0), "k_eff": (0.0, 0.0), "reference": (0.0, 0.0)}
_WAVENUMBERS = ("k_log", "k_eff")


def laplacian(field, cell_m: float, valid=None):
    """5-point Laplacian ∇²field [unit of field per m²], eq. 36-37.

    ``field``: (..., H, W), real or complex; ``cell_m``: cell size [m]; ``valid``: (H, W) or (..., H, W) bool, or None
    for all. At the border of the grid and towards cells that are not valid the missing neighbour is replaced by the
    centre (Neumann: no flux crosses), so that walls make no curvature of their own. 0 on cells that are not valid,
    whose values are never read. Raises ValueError for a map below 3 x 3, ``cell_m`` ≤ 0 or a ``valid`` that does not
    fit.
    """
    xp, field, valid = _checked(field, cell_m, valid)
    return _laplacian_per_cell(xp, field, valid) / cell_m**2


def residual(field, wavenumber_squared, cell_m: float, valid=None):
    """Residual of the Helmholtz equation, ∇²u + k²u [unit of u per m²], eq. 21.

    ``field`` u: (..., H, W); ``wavenumber_squared`` k² [1/m²]: a number or an array that broadcasts to ``field``;
    ``cell_m`` and ``valid`` as in :func:`laplacian`, with 0 on cells that are not valid. Raises ValueError as there.
    """
    xp, field, valid = _checked(field, cell_m, valid)
    if valid is not None:
        field = xp.where(valid, field, 0.0)
    return _laplacian_per_cell(xp, field, valid) / cell_m**2 + wavenumber_squared * field


def wavenumber_squared(gain_db, cell_m: float, kind: str = "k_log", valid=None):
    """The curvature indicator k² [1/m²] of a path gain [dB], with the field's amplitude A = 10^(gain_db/20).

    ``"k_log"``: -∇² ln A = -(ln 10 / 20)·∇² gain_db, eq. 32 and 39; no ε is needed in dB.
    ``"k_eff"``: -∇²A / (A + ε), eq. 33 and 38, with ε = ``AMPLITUDE_EPSILON``.
    Both are negative on the dark side of a shadow edge. On a 2-D slice of free space with A ~ 1/r, ``k_log`` is 0 and
    ``k_eff`` is -1/r². Shapes, ``valid`` and errors as in :func:`laplacian`; ValueError for any other ``kind``.
    """
    if kind not in _WAVENUMBERS:
        raise ValueError(f"kind must be one of {', '.join(_WAVENUMBERS)}, got {kind!r}")
    xp, gain_db, valid = _checked(gain_db, cell_m, valid)
    if kind == "k_log":
        return -_laplacian_per_cell(xp, gain_db, valid) / (DB_PER_NEPER * cell_m**2)
    if valid is not None:
        gain_db = xp.where(valid, gain_db, 0.0)
    amplitude = linear_from_db(gain_db / 2.0)
    return -_laplacian_per_cell(xp, amplitude, valid) / ((amplitude + AMPLITUDE_EPSILON) * cell_m**2)


def outline(
    gain_db,
    cell_m: float,
    kind: str = "k_log",
    valid=None,
    sigma_cells: float = 0.7,
    threshold_db: float | None = None,
    saturation_db: float | None = None,
    transmitter=None,
):
    """The map outline of path gains: where curvature says that propagation changes, (..., H, W) float32 in [0, 1].

    ``gain_db``: (..., H, W) path gain [dB]; ``valid``: bool, (H, W) or as ``gain_db``, None for all (see
    :func:`laplacian`).

    ``"k_log"`` (default, eq. 39) and ``"k_eff"`` (eq. 38): the gain (for ``k_eff`` the amplitude) is smoothed by a
    Gaussian of ``sigma_cells`` that never crosses a wall. The curvature -DB_PER_NEPER·k²·cell_m², in dB of amplitude
    per cell² and positive on the dark side of a shadow edge, becomes 0 up to ``threshold_db`` and rises linearly to 1
    at ``saturation_db``; where the two are equal the outline is binary. The scale is fixed, never that of one image,
    and counts cells: ``cell_m`` cancels. 0 on cells that are not valid. Defaults: 1 and 3 dB for ``k_log``, grey thin
    lines; 0 and 0 dB for ``k_eff``, which is the paper's 1{k²_eff < 0} to the letter and marks all free space, since
    there k²_eff = -1/r².

    ``"reference"``: what the script released with the paper writes, as a fraction of its 255, not rounded. It works
    on the power u = 10^(gain_db/10) with the opposite sign: v = ∇²u/u + 1 at the transmitter (h = 1), of which only
    v < 0, the *lit* side, is kept and stretched per image. Its grey is inverted: **1 = not marked** (border included),
    0 = the most negative of the image. ``transmitter``: the cell (row, column), or (..., 2) of them, is needed;
    ``valid``, ``sigma_cells`` and the levels are not used, as the script knows neither walls nor smoothing.

    Raises ValueError for an unknown ``kind``, maps below 3 x 3, gains that are not finite on valid cells, a ``valid``
    or ``transmitter`` that does not fit, ``cell_m`` ≤ 0, ``sigma_cells`` < 0 and a saturation below the threshold.
    """
    if kind not in OUTLINE_LEVELS_DB:
        raise ValueError(f"kind must be one of {', '.join(OUTLINE_LEVELS_DB)}, got {kind!r}")
    threshold_db, saturation_db = _levels(kind, threshold_db, saturation_db)
    if not (math.isfinite(sigma_cells) and sigma_cells >= 0):
        raise ValueError(f"sigma_cells must be finite and not negative, got {sigma_cells}")
    xp, gain_db, valid = _checked(gain_db, cell_m, None if kind == "reference" else valid)
    if kind == "reference":
        return _reference(xp, gain_db, transmitter)
    # Smoothing by a Gaussian is heat flow for the time sigma²/2; steps of at most 1/8 damp the finest pattern too.
    num_steps = math.ceil(4.0 * sigma_cells**2)
    step = sigma_cells**2 / 2.0 / max(num_steps, 1)
    if xp is np:
        return _outline_numpy(gain_db, kind == "k_eff", valid, step, num_steps, threshold_db, saturation_db)
    finite = xp.isfinite(gain_db) if valid is None else xp.isfinite(gain_db) | ~valid
    if not bool(finite.all()):
        raise ValueError(f"gain_db must be finite on valid cells, {int((~finite).sum())} are not")
    field = gain_db.to(xp.float32) if valid is None else xp.where(valid, gain_db.to(xp.float32), 0.0)
    if kind == "k_eff":
        field = linear_from_db(field / 2.0)
    for _ in range(num_steps):
        field = field + step * _laplacian_per_cell(xp, field, valid)
    curvature = _laplacian_per_cell(xp, field, valid)
    if kind == "k_eff":
        curvature = DB_PER_NEPER * curvature / (field + AMPLITUDE_EPSILON)
    if saturation_db > threshold_db:
        marked = ((curvature - threshold_db) * (1.0 / (saturation_db - threshold_db))).clip(0.0, 1.0)
    else:
        marked = (curvature > threshold_db).to(xp.float32)
    return marked if valid is None else xp.where(valid, marked, 0.0)


def _checked(field, cell_m: float, valid):
    """The array module (numpy or torch), the field as floats and ``valid`` as bools of that module."""
    torch = sys.modules.get("torch")  # a tensor cannot be here unless torch is loaded; numpy users need not pay for it
    if torch is not None and isinstance(field, torch.Tensor):
        xp = torch
        if not (field.is_floating_point() or field.is_complex()):
            field = field.to(torch.get_default_dtype())
        if valid is not None:
            valid = torch.as_tensor(valid, dtype=torch.bool, device=field.device)
    else:
        xp, field = np, np.asarray(field)
        if field.dtype.kind in "biu":
            field = field.astype(np.float64)
        if valid is not None:
            valid = np.asarray(valid, dtype=bool)
    if field.ndim < 2 or min(field.shape[-2:]) < 3:
        raise ValueError(f"a map must have at least 3 x 3 cells, got an array of shape {tuple(field.shape)}")
    if not (math.isfinite(cell_m) and cell_m > 0):
        raise ValueError(f"cell_m must be a positive length in metres, got {cell_m}")
    if valid is not None and not _fits(tuple(valid.shape), tuple(field.shape)):
        raise ValueError(f"valid of shape {tuple(valid.shape)} does not fit maps of shape {tuple(field.shape)}")
    return xp, field, valid


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of ``shape`` has the maps' H and W and broadcasts to ``target``."""
    leads = zip(reversed(shape[:-2]), reversed(target[:-2]), strict=False)
    return shape[-2:] == target[-2:] and len(shape) <= len(target) and all(n in (1, m) for n, m in leads)


def _levels(kind: str, threshold_db: float | None, saturation_db: float | None) -> tuple[float, float]:
    """Threshold and saturation [dB per cell²]: those given, else those of the kind."""
    threshold_db = OUTLINE_LEVELS_DB[kind][0] if threshold_db is None else float(threshold_db)
    saturation_db = OUTLINE_LEVELS_DB[kind][1] if saturation_db is None else float(saturation_db)
    if not threshold_db <= saturation_db < math.inf:
        raise ValueError(f"saturation_db must be finite and ≥ threshold_db = {threshold_db}, got {saturation_db}")
    return threshold_db, saturation_db


def _laplacian_per_cell(xp, field, valid):
    """h²∇²field for checked arguments: the sum over both axes of what flows in minus what flows out."""
    if valid is not None:
        field = xp.where(valid, field, 0.0)
    along_columns = _flux_difference(xp, field, valid)
    transposed = None if valid is None else valid.swapaxes(-1, -2)
    return _flux_difference(xp, field.swapaxes(-1, -2), transposed).swapaxes(-1, -2) + along_columns


def _flux_difference(xp, field, valid):
    """Second difference along the last axis, with no flux through the ends and through faces of invalid cells."""
    flux = field[..., 1:] - field[..., :-1]
    if valid is not None:
        flux = xp.where(valid[..., 1:] & valid[..., :-1], flux, 0.0)
    closed = xp.zeros_like(flux[..., :1])
    return xp.concatenate((flux, closed), -1) - xp.concatenate((closed, flux), -1)


def _reference(xp, gain_db, transmitter):
    """``kind="reference"`` of :func:`outline` for checked arguments."""
    if not bool(xp.isfinite(gain_db).all()):
        raise ValueError('kind="reference" reads every cell: gain_db must be finite everywhere, and it is not')
    shape = tuple(gain_db.shape)
    if transmitter is None:
        raise ValueError('kind="reference" needs the cell (row, column) of the transmitter, got None')
    cells = np.asarray(transmitter)
    if cells.dtype.kind not in "iu" or cells.shape not in ((2,), (*shape[:-2], 2)):
        raise ValueError(f"transmitter must be integer cells of shape (2,) or {(*shape[:-2], 2)}, got {transmitter!r}")
    if cells.size and ((cells < 0) | (cells >= shape[-2:])).any():
        raise ValueError(f"transmitter {transmitter!r} lies outside maps of {shape[-2:]} cells")
    maps = gain_db.reshape(-1, *shape[-2:])
    cells = np.array(np.broadcast_to(cells, (*shape[:-2], 2))).reshape(-1, 2)
    if xp is not np:
        return _reference_maps(xp, maps, cells).to(xp.float32).reshape(shape)
    marked = np.empty(maps.shape, np.float32)
    for index in range(len(maps)):  # one map at a time stays in the processor's cache
        marked[index] = _reference_maps(np, maps[index : index + 1], cells[index : index + 1])[0]
    return marked.reshape(shape)


def _reference_maps(xp, maps, cells):
    """(B, H, W) gains [dB] and (B, 2) cells to the inverted grey of the released script."""
    power = linear_from_db(maps)
    ratio = _laplacian_per_cell(xp, power, None) / power
    ratio[range(len(maps)), cells[:, 0], cells[:, 1]] += 1.0
    inner = ratio[:, 1:-1, 1:-1].clip(None, 0.0)
    lowest = inner.reshape(len(maps), -1).min(-1)
    lowest = (lowest if xp is np else lowest.values)[:, None, None]
    marked = xp.ones_like(maps)
    marked[:, 1:-1, 1:-1] = 1.0 - inner / xp.where(lowest < 0, lowest, -1.0)
    return marked


def _outline_numpy(gain_db, relative, valid, step, num_steps, threshold_db, saturation_db):
    """The fused kernel over (..., H, W) numpy gains; the same numbers as the torch way of :func:`outline`."""
    shape = gain_db.shape
    maps = np.ascontiguousarray(gain_db, np.float32).reshape(-1, *shape[-2:])
    if valid is None:
        valid = np.ones((1, *shape[-2:]), bool)
    elif valid.size == shape[-2] * shape[-1]:
        valid = np.ascontiguousarray(valid).reshape(1, *shape[-2:])
    else:
        valid = np.ascontiguousarray(np.broadcast_to(valid, shape)).reshape(maps.shape)
    marked = np.empty_like(maps)
    scalars = np.array([step, threshold_db, saturation_db - threshold_db, AMPLITUDE_EPSILON, DB_PER_NEPER], np.float32)
    num_bad = _outline_kernel(maps, valid, relative, num_steps, scalars, marked)
    if num_bad:
        raise ValueError(f"gain_db must be finite on valid cells, {num_bad} are not")
    return marked.reshape(shape)


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _outline_kernel(maps, valid, relative, num_steps, scalars, marked):
    """Fills ``marked`` (B, H, W) and returns how many valid cells are not finite; see :func:`_outline_numpy`.

    Opposite neighbours are added first and the two sums last, and products with the 0 or 1 of ``open_`` are exact even
    where they are contracted, so that the 8 symmetries of the square hold to the last bit. Loops over views of single
    rows are what the compiler turns into vector instructions.
    """
    num_maps, height, width = maps.shape
    step, threshold, ramp, epsilon, scale = scalars
    zero, one, steepness = np.float32(0), np.float32(1), np.float32(1) / ramp if ramp > 0 else np.float32(0)
    field = np.zeros((height + 2, width + 2), np.float32)  # with a closed border of one cell, like open_
    after = np.zeros((height + 2, width + 2), np.float32)
    open_ = np.zeros((height + 2, width + 2), np.float32)
    num_bad = 0
    for index in range(num_maps):
        num_bad += _load(maps[index], valid[index % len(valid)], field, open_)
        if relative:
            for row in range(1, height + 1):
                for column in range(1, width + 1):
                    field[row, column] = np.float32(10) ** (field[row, column] / np.float32(20))
        for _ in range(num_steps):
            for row in range(1, height + 1):
                _flow_row(field, open_, row, step, one, after[row, 1:-1])
            field, after = after, field
        for row in range(1, height + 1):
            line = marked[index, row - 1]
            _flow_row(field, open_, row, one, zero, line)
            centre, here = field[row, 1:-1], open_[row, 1:-1]
            if relative:
                for column in range(width):
                    line[column] = scale * line[column] / (centre[column] + epsilon)
            if ramp > 0:
                for column in range(width):
                    grey = (line[column] - threshold) * steepness
                    line[column] = min(max(grey, zero), one) * here[column]
            else:
                for column in range(width):
                    line[column] = here[column] if line[column] > threshold else zero
    return num_bad


@numba.njit(cache=True, nogil=True, fastmath={"contract"}, inline="always")
def _load(gain_db, valid, field, open_):
    """One map into the padded buffers, cells that are not valid as 0; returns how many valid ones are not finite."""
    num_bad = 0
    for row in range(gain_db.shape[0]):
        gain_row, valid_row = gain_db[row], valid[row]
        field_row, open_row = field[row + 1, 1:-1], open_[row + 1, 1:-1]
        for column in range(len(gain_row)):
            open_row[column] = np.float32(valid_row[column])
        bad = numba.int32(0)
        for column in range(len(gain_row)):
            gain = gain_row[column] if valid_row[column] else np.float32(0)
            field_row[column] = gain
            bad += numba.int32(gain - gain != np.float32(0))
        num_bad += bad
    return num_bad


@numba.njit(cache=True, nogil=True, fastmath={"contract"}, inline="always")
def _flow_row(field, open_, row, step, keep, result):
    """keep·field + step·h²∇²field of one row of the padded field into ``result`` (W,)."""
    centre, left, right = field[row, 1:-1], field[row, :-2], field[row, 2:]
    above, below = field[row - 1, 1:-1], field[row + 1, 1:-1]
    open_left, open_right = open_[row, :-2], open_[row, 2:]
    open_above, open_below = open_[row - 1, 1:-1], open_[row + 1, 1:-1]
    for column in range(len(result)):
        here = centre[column]
        vertical = open_above[column] * (above[column] - here) + open_below[column] * (below[column] - here)
        sideways = open_left[column] * (left[column] - here) + open_right[column] * (right[column] - here)
        result[column] = keep * here + step * (vertical + sideways)
