"""Which paths there are at a place, and in which order, by the word of receivers around it that were measured.

Every path of the neighbours, seen from its anchor (:mod:`raymap.physics.virtual_sources`) by the place in question, is
a candidate. Candidates of different neighbours that agree in length and direction are one *group*, one path. A group is
there with a probability q, the share of the neighbours' weight that sees it. Neighbours that list as many paths as they
have room for say nothing of a path weaker than the last on their list; all others that do not see it deny it.

An anchor sees the places behind one another together: what hides one mostly hides those behind it. So a neighbour's
distance counts less along the ray from the anchor than across it (:data:`ALONG`). Where surfaces are known and tell
which neighbours an anchor can be seen from, those that it cannot be seen from are no denial, and all directions count
the same.

The power of a group is that of a curve through what its members say, and its doubt σ what the curve misses of them.
Group g is the l-th strongest path with the probability that it is there and exactly l − 1 stronger ones are, a Poisson
binomial distribution over the other groups h, each there and stronger with q_h·Φ((P_h − P_g)/√(σ_g² + σ_h²)).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

#: Distances along the ray from the anchor count this much of those across it.
ALONG = 0.2
#: Most groups at a place; candidates of far neighbours beyond are left out.
MAX_GROUPS = 48
#: Length and direction agree within so much [m], [rad].
AGREE_M, AGREE_RAD = 2.0, math.radians(6.0)
#: Doubt of a power that one neighbour alone tells, and the least of any [dB].
LONE_DB, LEAST_DB = 1.0, 0.01
#: A neighbour's silence counts as denial with Φ((P − last)/σ − 2), for a path of power P that should end its list.
MARGIN = 2.0
#: Weights fall with distance to this power, for what is said of a power and for whether a path is there.
FALL_POWER, FALL_PRESENCE = 4.0, 3.0
#: Weight of flatness in a curve, and members that it takes to draw a plane and a bent surface.
RIDGE = 1e-4
LINE_FROM, SURFACE_FROM = 4, 10
#: A curve is drawn no farther than this many times the mean distance of its members.
FARTHEST = 5.0
#: Distances [m] below which neighbours are equally near, and shortest legs.
NEAR_M = 0.01


class Groups(NamedTuple):
    """The groups at T places: G of room, ``count`` (T,) of them there.

    ``first``: (T, G, 2) int64, receiver and path of the nearest member. ``moved``: (T, G, 5) unit vector, length [m]
    and last leg [m] of the path at the place. ``belief``: (T, G, 11) power [dB], its doubt [dB], probability that it is
    there, the curve of the power (7), and the probability that it is there if nothing known hides it.
    """

    count: np.ndarray
    first: np.ndarray
    moved: np.ndarray
    belief: np.ndarray

    @staticmethod
    def empty(num: int) -> Groups:
        """Room for the groups at so many places."""
        return Groups(
            np.zeros(num, np.int64), np.empty((num, MAX_GROUPS, 2), np.int64),
            np.empty((num, MAX_GROUPS, 5)), np.empty((num, MAX_GROUPS, 11)),
        )  # fmt: skip


@njit(cache=True, nogil=True)
def gather(targets, rows, distance_m, receivers, anchor, lead, power, told, full, near, visible, groups):
    """Fills ``groups`` with what the neighbours of ``targets`` (T, 3) [m] tell of.

    ``rows``: (T, K) numbers of the neighbours, nearest first, −1 none, at ``distance_m``. Of all N measured receivers:
    ``receivers`` (N, 3) [m], ``full`` (N,) bool, whether their lists may lack weaker paths, and of their paths
    ``anchor`` (N, P, 3), ``lead`` (N, P) [m], ``power`` (N, P) [dB], ``told`` (N, P) bool, whether a path is there and
    can be followed. ``visible``: (N, P, M) bool, whether surfaces let the anchor be seen by the receivers ``near``
    (N, M); where they are not known M is 0.
    """
    seen = np.empty((MAX_GROUPS, rows.shape[1]), np.int64)
    for t in range(len(targets)):
        first, moved, belief = groups.first[t], groups.moved[t], groups.belief[t]
        num = _group(targets[t], rows[t], receivers, anchor, lead, told, seen, first, moved)
        for g in range(num):
            _power(g, targets[t], rows[t], distance_m[t], receivers, anchor, power, seen, moved[g, 4], belief[g])
        for g in range(num):
            n, p = first[g]
            _presence(
                targets[t], rows[t], receivers, anchor[n, p], moved[g, 4], power, told, full, near[n], visible[n, p],
                seen[g], belief[g],
            )  # fmt: skip
        groups.count[t] = num


@njit(cache=True, nogil=True)
def settle(groups, out):
    """Fills ``out`` (2, T, L, 5) with the paths of every rank, in two ways.

    Power [dB], length [m], zenith [rad], and cosine and sine of the azimuth: first the mean over all that could be
    there, where the vector of the azimuth is the shorter the less sure it is, then of the path most likely at the rank.
    NaN where no neighbour tells of such a path.
    """
    chance = np.empty((MAX_GROUPS, out.shape[2]))
    for t in range(len(groups.count)):
        num, moved, belief = groups.count[t], groups.moved[t], groups.belief[t]
        _ranks(num, out.shape[2], belief, chance)
        _settle(num, out.shape[2], belief, moved, chance, False, out[0, t])
        _settle(num, out.shape[2], belief, moved, chance, True, out[1, t])


@njit(cache=True, nogil=True)
def _group(target, rows, receivers, anchor, lead, told, seen, first, moved):
    """Groups the neighbours' paths; returns how many there are. ``moved``: unit vector, length [m], last leg [m]."""
    num, least_cosine = 0, math.cos(AGREE_RAD)
    for k in range(len(rows)):
        n = rows[k]
        if n < 0:
            break
        for p in range(told.shape[1]):
            if not told[n, p]:
                continue
            x, y, z = anchor[n, p, 0] - target[0], anchor[n, p, 1] - target[1], anchor[n, p, 2] - target[2]
            leg = max(math.sqrt(x * x + y * y + z * z), NEAR_M)
            x, y, z, length = x / leg, y / leg, z / leg, lead[n, p] + leg
            best, least = -1, 2.0
            for g in range(num):
                apart = abs(moved[g, 3] - length)
                if seen[g, k] >= 0 or apart > AGREE_M:
                    continue
                cosine = moved[g, 0] * x + moved[g, 1] * y + moved[g, 2] * z
                far = apart / AGREE_M + (1.0 - cosine) / (1.0 - least_cosine)
                if cosine >= least_cosine and far < least:
                    best, least = g, far
            if best < 0:
                if num == MAX_GROUPS:
                    continue
                best, num = num, num + 1
                seen[best, :] = -1
                first[best, 0], first[best, 1] = n, p
                moved[best, 0], moved[best, 1], moved[best, 2], moved[best, 3], moved[best, 4] = x, y, z, length, leg
            seen[best, k] = p
    return num


@njit(cache=True, nogil=True)
def last_leg(anchor, receiver):
    """The way from an anchor (3,) to a receiver (3,) [m]."""
    x, y, z = anchor[0] - receiver[0], anchor[1] - receiver[1], anchor[2] - receiver[2]
    return max(math.sqrt(x * x + y * y + z * z), NEAR_M)


@njit(cache=True, nogil=True)
def _power(g, target, rows, distance_m, receivers, anchor, power, seen, leg, belief):
    """Power [dB] of group ``g`` and its doubt [dB] into ``belief``, by :func:`_surface` through what members tell."""
    values = np.empty((len(rows), 4))
    members = 0
    for k in range(len(rows)):
        if rows[k] < 0 or seen[g, k] < 0:
            continue
        n, p = rows[k], seen[g, k]
        values[members, 0] = power[n, p] + 20.0 * math.log10(last_leg(anchor[n, p], receivers[n]) / leg)
        values[members, 1] = 1.0 / (distance_m[k] ** 2 + NEAR_M**2) ** (FALL_POWER / 2.0)
        values[members, 2] = receivers[n, 0] - target[0]
        values[members, 3] = receivers[n, 1] - target[1]
        members += 1
    _surface(values[:members], belief)


@njit(cache=True, nogil=True)
def _surface(values, belief):
    """Weighted ridge regression of ``values`` (M, 4), value, weight, x and y, on 1, x, y, x², xy and y², at 0.

    About the mean of the values, which is not shrunk. Fewer members than twice the terms get fewer terms.
    """
    members = len(values)
    terms = 6 if members >= SURFACE_FROM else (3 if members >= LINE_FROM else 1)
    total, mean, reach = 0.0, 0.0, 0.0
    for m in range(members):
        total += values[m, 1]
        mean += values[m, 1] * values[m, 0]
        reach += values[m, 1] * (values[m, 2] ** 2 + values[m, 3] ** 2)
    mean /= total
    reach = math.sqrt(reach / total) + 1e-6
    a = np.zeros((6, 6))
    b = np.zeros(6)
    f = np.zeros(6)
    spread = 0.0
    for m in range(members):
        x, y = values[m, 2] / reach, values[m, 3] / reach
        f[0], f[1], f[2], f[3], f[4], f[5] = 1.0, x, y, x * x, x * y, y * y
        weight, value = values[m, 1] / total, values[m, 0] - mean
        spread += weight * value * value
        for i in range(terms):
            b[i] += weight * f[i] * value
            for j in range(i + 1):
                a[i, j] += weight * f[i] * f[j]
    belief[3], belief[4:10] = reach, 0.0
    if terms == 1:
        belief[0], belief[1] = mean, math.sqrt(spread + LONE_DB**2 / members)
        return
    for i in range(1, terms):
        a[i, i] += RIDGE
    c = b.copy()
    _cholesky_solve(a, c, terms)
    left = spread
    for i in range(terms):
        left -= c[i] * b[i]
    belief[0], belief[1] = mean + c[0], math.sqrt(max(left, 0.0)) + LEAST_DB
    belief[5:10] = c[1:]


@njit(cache=True, nogil=True)
def _surface_at(belief, east, north):
    """The curve of :func:`_surface` beside the place."""
    x = min(max(east / belief[3], -FARTHEST), FARTHEST)
    y = min(max(north / belief[3], -FARTHEST), FARTHEST)
    return belief[0] + belief[5] * x + belief[6] * y + belief[7] * x * x + belief[8] * x * y + belief[9] * y * y


@njit(cache=True, nogil=True)
def _cholesky_solve(a, b, size):
    """Solves the positive definite system of the lower triangle of ``a`` in place of ``b``."""
    for i in range(size):
        for j in range(i + 1):
            value = a[i, j]
            for k in range(j):
                value -= a[i, k] * a[j, k]
            a[i, j] = math.sqrt(max(value, 1e-12)) if i == j else value / a[j, j]
    for i in range(size):
        for k in range(i):
            b[i] -= a[i, k] * b[k]
        b[i] /= a[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            b[i] -= a[k, i] * b[k]
        b[i] /= a[i, i]


@njit(cache=True, nogil=True)
def _presence(target, rows, receivers, anchor, leg, power, told, full, near, visible, seen, belief):
    """Into ``belief`` the share of the neighbours' weight that sees a group, of those who would if it were there.

    And of those alone that do see it or, ``near`` and ``visible``, could.
    """
    doubt = belief[1]
    x, y = target[0] - anchor[0], target[1] - anchor[1]
    away = max(math.hypot(x, y), 1e-9)
    x, y = x / away, y / away
    for_it, against, could = 0.0, 0.0, np.zeros(2)
    for k in range(len(rows)):
        n = rows[k]
        if n < 0:
            break
        east, north = receivers[n, 0] - target[0], receivers[n, 1] - target[1]
        heard = 1.0
        if seen[k] < 0 and full[n]:
            there = _surface_at(belief, east, north) + 20.0 * math.log10(leg / last_leg(anchor, receivers[n]))
            heard = 0.5 * math.erfc((weakest(power[n], told[n]) - there + MARGIN * doubt) / (doubt * math.sqrt(2.0)))
            if heard < 0.01:
                continue
        along, across = ALONG * (east * x + north * y), north * x - east * y
        weight = 1.0 / (along * along + across * across + NEAR_M**2) ** (FALL_PRESENCE / 2.0)
        if seen[k] >= 0:
            for_it += weight
        else:
            against += weight * heard
        if seen[k] >= 0 or _told_visible(n, near, visible):
            weight = 1.0 / (east * east + north * north + NEAR_M**2) ** (FALL_PRESENCE / 2.0)
            could[int(seen[k] < 0)] += weight * heard
    belief[2], belief[10] = for_it / (for_it + against), could[0] / could.sum()


@njit(cache=True, nogil=True)
def _told_visible(receiver, near, visible):
    for number in range(len(near)):
        if near[number] == receiver:
            return visible[number]
    return False


@njit(cache=True, nogil=True)
def weakest(power, told):
    """Least power [dB] of a receiver's paths (P,) that are ``told``, inf without one."""
    least = np.inf
    for p in range(len(told)):
        if told[p]:
            least = min(least, power[p])
    return least


@njit(cache=True, nogil=True)
def _ranks(num, num_ranks, belief, chance):
    """``chance`` (G, L): how likely a group is there and the l-th strongest."""
    count = np.empty(num_ranks)
    for g in range(num):
        count[:] = 0.0
        count[0] = belief[g, 2]
        for h in range(num):
            if h == g:
                continue
            doubt = math.sqrt(belief[g, 1] ** 2 + belief[h, 1] ** 2)
            ahead = belief[h, 2] * 0.5 * math.erfc((belief[g, 0] - belief[h, 0]) / (doubt * math.sqrt(2.0)))
            for rank in range(num_ranks - 1, 0, -1):
                count[rank] += ahead * (count[rank - 1] - count[rank])
            count[0] -= ahead * count[0]
        chance[g] = count


@njit(cache=True, nogil=True)
def _settle(num, num_ranks, belief, moved, chance, likeliest, out):
    for rank in range(num_ranks):
        out[rank] = np.nan
        total, best = 0.0, 0
        for g in range(num):
            total += chance[g, rank]
            if chance[g, rank] > chance[best, rank]:
                best = g
        if total < 1e-6:
            continue
        out[rank] = 0.0
        for g in range(num):
            weight = chance[g, rank] / total
            if likeliest:
                weight = 1.0 if g == best else 0.0
            x, y, z = moved[g, 0], moved[g, 1], moved[g, 2]
            level = max(math.hypot(x, y), 1e-12)
            out[rank, 0] += weight * belief[g, 0]
            out[rank, 1] += weight * moved[g, 3]
            out[rank, 2] += weight * math.atan2(level, z)
            out[rank, 3] += weight * x / level
            out[rank, 4] += weight * y / level
