"""Fans of rays among walls, which leave their power in the cells they cross.

Positions are (x, y) = (column, row) in cells; "share" is a power relative to that at one cell's length in free space.

**Tube estimator.** A ray of a fan with spacing dθ stands for a tube of width r·dθ after an unfolded length r; crossing
a cell on a chord ℓ it covers r·dθ·ℓ of the cell's open area A, and adds P(r)·r·dθ·ℓ/A to the cell's mean power. With a
random first angle the expectation is exactly the mean of P over the open part of the cell, whatever the number of rays.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from raymap.propagation.ground import enter, hit
from raymap.propagation.wedge import interpolated, tabled_share

# Fields of an arrival at a corner: which corner, power × (unfolded length)², that length, the angle from which it
# comes [rad], reflections so far, and the length inside vehicles. Lengths in cells.
CORNER, POWER, LENGTH, ANGLE, BOUNCES, INSIDE, NUM_FIELDS = 0, 1, 2, 3, 4, 5, 6


@njit(cache=True, nogil=True, error_model="numpy")
def _receive(ground, cell, ray, length, now, until, spacing, share, bounces, inside, arrivals, num):
    """Arrivals of a ray (x, y, dx, dy) at the corners around one cell: those in its tube between two distances.

    Tubes of neighbouring rays meet without gap or overlap, so of a whole fan one ray arrives.
    """
    for position in range(ground.corner_starts[cell], ground.corner_starts[cell + 1]):
        index = ground.corner_items[position]
        from_x, from_y = ground.corners[index, 2] - ray[0], ground.corners[index, 3] - ray[1]
        along = from_x * ray[2] + from_y * ray[3]
        if along < now or along >= until:
            continue
        across = from_x * ray[3] - from_y * ray[2]
        half = 0.5 * (length + along) * spacing
        if across < -half or across >= half:
            continue
        if num == len(arrivals):
            grown = np.empty((2 * num + 64, NUM_FIELDS))
            grown[:num] = arrivals
            arrivals = grown
        arrivals[num, CORNER], arrivals[num, POWER], arrivals[num, LENGTH] = index, share, length + along
        arrivals[num, ANGLE] = np.arctan2(-ray[3], -ray[2])
        arrivals[num, BOUNCES], arrivals[num, INSIDE] = bounces, inside
        num += 1
    return arrivals, num


@njit(cache=True, nogil=True, error_model="numpy")
def _leg(ground, ray, leave, length, behind, share, spacing, bounces, inside, wanted, power, arrivals, num):
    """Follow a ray (x, y, dx, dy) to the next wall, leaving power in the cells and arrivals at the corners if wanted.

    ``length``: from the fan's apex to the start of the leg, ``behind``: from the source to the apex (0 if it is the
    source); ``share``·1/(s·(s + behind)) is the power at s from the apex. ``wanted``: (deposit, receive).
    Returns the wall (-1: left the map), its distance, the length inside vehicles, the arrivals and their number.
    """
    x, y, dx, dy = ray[0], ray[1], ray[2], ray[3]
    row, column, next_x, next_y, gap_x, gap_y = enter(x, y, dx, dy)
    step_x, step_y = 1 if dx > 0 else -1, 1 if dy > 0 else -1
    # Fields of a tuple that are used in every cell are fetched once.
    starts, corner_starts, rise2 = ground.starts, ground.corner_starts, ground.rise2
    num_rows, num_columns = ground.num_rows, ground.num_columns
    deposit, receive = wanted
    vehicles = ground.vehicle.size > 0
    before, passed = length + behind, 1.0
    now, wall = 0.0, -1
    while 0 <= row < num_rows and 0 <= column < num_columns and wall < 0:
        cell = row * num_columns + column
        until = min(next_x, next_y)
        if starts[cell] < starts[cell + 1]:
            wall, until = hit(ground.segments, ground.items, starts[cell], starts[cell + 1], x, y, dx, dy, leave, until)
        chord = until - now
        if vehicles:
            if ground.vehicle[row, column]:
                inside += chord
            passed = np.exp(-min(ground.vehicle_rate * inside, ground.vehicle_limit))
        if deposit and chord > 0.0:
            total = max(before + now + 0.5 * chord, ground.metre)
            power[cell] += passed * share * spacing * chord * total / (total * total + rise2)
        if receive and corner_starts[cell] < corner_starts[cell + 1]:
            arrivals, num = _receive(
                ground, cell, ray, length, now, until, spacing, share, bounces, inside, arrivals, num
            )
        now = until
        if next_x <= next_y:
            next_x += gap_x
            column += step_x
        else:
            next_y += gap_y
            row += step_y
    return wall, now, inside, arrivals, num


@njit(cache=True, nogil=True, error_model="numpy")
def _reflect(ground, wall, distance, ray):
    """Turn a ray at a wall; returns |Γ|², or 0 if it met the wall from inside the building (and ends there)."""
    sx = ground.segments[wall, 2] - ground.segments[wall, 0]
    sy = ground.segments[wall, 3] - ground.segments[wall, 1]
    size = np.sqrt(sx * sx + sy * sy)
    nx, ny = sy / size, -sx / size  # out of the building, which lies to the right with y downwards
    cosine = -(ray[2] * nx + ray[3] * ny)
    if cosine <= 0.0:
        return 0.0
    gamma = interpolated(ground.gamma, cosine)
    ray[0] += distance * ray[2]
    ray[1] += distance * ray[3]
    ray[2] += 2.0 * cosine * nx
    ray[3] += 2.0 * cosine * ny
    return gamma.real * gamma.real + gamma.imag * gamma.imag


@njit(cache=True, nogil=True, error_model="numpy")
def _emitted(ground, edge, angle, length, sources, tables, max_before):
    """What a corner sends at an angle, by arrivals with up to ``max_before`` reflections: share, behind, inside.

    The share is exact at ``length`` from the corner; ``behind`` and ``inside`` are means weighted by power.
    """
    total, behind, inside = 0.0, 0.0, 0.0
    turn = (edge[4] - angle) % (2.0 * np.pi)
    for index in range(len(sources)):
        if sources[index, BOUNCES] > max_before:
            continue
        power = sources[index, POWER] * tabled_share(
            turn, sources[index, ANGLE], edge[5], length, sources[index, LENGTH], ground.wavenumber, ground.gamma,
            tables[0, index], tables[1, index],
        )  # fmt: skip
        total += power
        behind += power * sources[index, LENGTH]
        inside += power * sources[index, INSIDE]
    if total == 0.0:
        return 0.0, 0.0, 0.0
    behind /= total
    return total * length * (length + behind), behind, inside / total


@njit(cache=True, nogil=True, error_model="numpy")
def fan_of_transmitter(ground, x, y, first_angle, num_rays, max_bounces, receive, power, arrivals):
    """Launch a full fan; power after one or more reflections goes to ``power`` (H·W), not yet divided by area.

    Returns the arrivals (M, 6) at corners after one reflection or more; ``arrivals`` is room to begin with.
    """
    spacing = 2.0 * np.pi / num_rays
    ray = np.empty(4)
    num = 0
    for index in range(num_rays):
        angle = first_angle + index * spacing
        ray[0], ray[1], ray[2], ray[3] = x, y, np.cos(angle), np.sin(angle)
        share, length, inside, leave = 1.0, 0.0, 0.0, -1
        for bounces in range(max_bounces + 1):
            wanted = (bounces > 0, receive and 0 < bounces < max_bounces)
            leave, distance, inside, arrivals, num = _leg(
                ground, ray, leave, length, 0.0, share, spacing, bounces, inside, wanted, power, arrivals, num
            )
            if leave < 0:
                break
            length += distance
            share *= _reflect(ground, leave, distance, ray)
            if share < ground.weakest * length * length:
                break
    return arrivals[:num]


@njit(cache=True, nogil=True, error_model="numpy")
def fan_of_corner(ground, edge, sources, tables, offset, num_rays, max_interactions, power):
    """Launch what a corner diffracts, over its open angle; power after one or more reflections goes to ``power``.

    ``edge``: one row of `Walls.corners`; ``sources`` (M, 6): its arrivals, with angles from the
    face on; ``tables`` (2, M, angles): their `wedge.far_pattern`; ``offset`` in [0, 1): of the first ray.
    """
    spacing = edge[5] * np.pi / num_rays
    ray = np.empty(4)
    nothing = np.empty((0, NUM_FIELDS))
    for index in range(num_rays):
        angle = edge[4] - (index + offset) * spacing
        ray[0], ray[1], ray[2], ray[3] = edge[2], edge[3], np.cos(angle), np.sin(angle)
        gone, length, inside, leave = 1.0, 0.0, 0.0, -1
        share, behind = 0.0, 0.0
        for bounces in range(max_interactions):
            if bounces > 0:
                share, behind, new_inside = _emitted(
                    ground, edge, angle, length, sources, tables, max_interactions - 1 - bounces
                )
                if share * gone < ground.weakest * length * (length + behind):
                    break
                if bounces == 1:
                    inside += new_inside
            leave, distance, inside, _, _ = _leg(
                ground, ray, leave, length, behind, share * gone, spacing, bounces, inside, (bounces > 0, False),
                power, nothing, 0,
            )  # fmt: skip
            if leave < 0:
                break
            length += distance
            gone *= _reflect(ground, leave, distance, ray)
            if gone == 0.0:
                break
