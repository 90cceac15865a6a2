"""Which measured paths agree with an anchor or a group: told of them apart from what is believed of a place."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from raymap.physics.consensus import AGREE_M, AGREE_RAD, MAX_GROUPS, last_leg, weakest


@njit(cache=True, nogil=True)
def listed(groups, direction, length, power, told, full):
    """(T, G) int64, whether the places, being measured, list a path like each of their groups: 1 and 0, −1 not known.

    ``direction`` (T, P, 3), ``length`` (T, P) [m], ``power`` (T, P) [dB], ``told`` (T, P) and ``full`` (T,) are of the
    places. A path is like the one group that agrees with it best. Of groups weaker than the last path of a list that is
    full it is not known, nor where there is none.
    """
    found = np.full((len(groups.count), MAX_GROUPS), -1)
    for t in range(len(groups.count)):
        moved, last = groups.moved[t], weakest(power[t], told[t])
        for g in range(groups.count[t]):
            found[t, g] = -1 if full[t] and groups.belief[t, g, 0] < last else 0
        for p in range(told.shape[1]):
            best, least = -1, 2.0
            for g in range(groups.count[t]):
                apart = abs(moved[g, 3] - length[t, p]) / AGREE_M
                cosine = 0.0
                for axis in range(3):
                    cosine += moved[g, axis] * direction[t, p, axis]
                far = apart + (1.0 - cosine) / (1.0 - math.cos(AGREE_RAD))
                if apart <= 1.0 and cosine >= math.cos(AGREE_RAD) and far < least and found[t, g] < 1:
                    best, least = g, far
            if told[t, p] and best >= 0:
                found[t, best] = 1
    return found


@njit(cache=True, nogil=True)
def _fit(anchor, lead, receiver, direction, length):
    """How far a path is from that of an anchor, seen by its receiver: in length, over what agrees, and as a cosine."""
    leg = last_leg(anchor, receiver)
    cosine = 0.0
    for axis in range(3):
        cosine += (anchor[axis] - receiver[axis]) / leg * direction[axis]
    return abs(lead + leg - length) / AGREE_M, cosine


@njit(cache=True, nogil=True)
def explained(near, visible, receivers, anchor, lead, direction, length, told):
    """(N, P) the share of receivers ``near`` (N, M) that list a path like one's whom its anchor is ``visible`` to.

    One more that agrees is added, so that nobody's word is 1. ``direction`` (N, P, 3) and ``length`` (N, P) [m] are
    those of the measured paths; else as in ``consensus.gather``.
    """
    share = np.ones(told.shape)
    for n in range(len(near)):
        for p in range(told.shape[1]):
            if not told[n, p]:
                continue
            num, can = 1.0, 1.0
            for k in range(near.shape[1]):
                other = near[n, k]
                for j in range(told.shape[1]):
                    if not told[other, j]:
                        continue
                    apart, cosine = _fit(
                        anchor[n, p], lead[n, p], receivers[other], direction[other, j], length[other, j]
                    )
                    if apart <= 1.0 and cosine >= math.cos(AGREE_RAD):
                        num += 1.0
                        can += 1.0 if visible[n, p, k] else 0.0
                        break
            share[n, p] = can / num
    return share


@njit(cache=True, nogil=True)
def disagreement(rows, receivers, anchor, lead, direction, length, told):
    """(N, P) in [0, 1], how badly neighbours' paths fit anchors: 0 all the same, 1 none within twice what agrees.

    ``rows``: (N, K) numbers of every receiver's neighbours, −1 none; ``direction`` (N, P, 3) and ``length`` (N, P) [m]
    of the measured paths; else as in ``consensus.gather``. Paths that cannot be followed get 1.
    """
    wrong = np.ones(told.shape)
    for n in range(len(rows)):
        for p in range(told.shape[1]):
            if not told[n, p]:
                continue
            total, num = 0.0, 0
            for k in range(rows.shape[1]):
                other = rows[n, k]
                if other < 0 or other == n:
                    continue
                least = 1.0
                for j in range(told.shape[1]):
                    if not told[other, j]:
                        continue
                    apart, cosine = _fit(
                        anchor[n, p], lead[n, p], receivers[other], direction[other, j], length[other, j]
                    )
                    least = min(least, (apart + math.acos(min(max(cosine, -1.0), 1.0)) / AGREE_RAD) / 4.0)
                total, num = total + least, num + 1
            if num:
                wrong[n, p] = total / num
    return wrong
