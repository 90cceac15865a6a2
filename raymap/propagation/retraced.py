"""Measured paths followed back among known surfaces, to what other receivers see of them.

From the receiver the ray goes out into the direction that the path comes from, and surfaces mirror it as they do in
the method of images. Along it lies what the receiver saw last and without which there is no such path, its *source*:

- of the line of sight and of reflections the transmitter, at the end of the ray;
- of scattering the place on a surface from which the straight way to the transmitter is as long as the rest of the
  path; if there is none the first surface, as the path was mirrored before;
- of diffraction such a place on an edge, if there is one.

Unfolded, the source is an anchor with a lead as in :mod:`raymap.physics.virtual_sources`. Another receiver sees the
path if and only if its own ray towards the anchor, mirrored by what it meets, ends at the source. Surfaces are those of
solids: nobody stands behind one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raymap.propagation.surroundings import SLACK_M, Surroundings
from raymap.scene import PathKind

#: Surfaces that mirror a ray, at most.
MOST_MIRRORED = 3
#: A place fits if lengths, or place and edge, agree within this [m]; a ray ends at a source within that.
_FITS_M, _AT_SOURCE_M = 0.3, 0.5
#: Rays that are followed at once.
_CHUNK = 200_000


class Retraced(NamedTuple):
    """N paths: where they seem to come from, ``anchor_m`` (N, 3), ``lead_m`` (N,), and do, ``source_m`` (N, 3) [m].

    NaN, all of it, where no source was found.
    """

    anchor_m: np.ndarray
    lead_m: np.ndarray
    source_m: np.ndarray


def retrace(
    surroundings: Surroundings,
    receivers_m: np.ndarray,
    transmitter_m: np.ndarray,
    direction: np.ndarray,
    length_m: np.ndarray,
    kind: np.ndarray,
) -> Retraced:
    """Paths of ``length_m`` (N,) and a :class:`PathKind` (N,) from ``direction`` (N, 3) at receivers (N, 3) [m].

    Paths of other kinds than line of sight, reflection, scattering and diffraction have no source.
    """
    rows, num = np.arange(len(receivers_m)), MOST_MIRRORED + 1
    start_m, along = np.full((2, num, len(rows), 3), np.nan)
    before_m, free_m = np.full((2, num, len(rows)), np.nan)
    for number, leg in enumerate(surroundings.legs(receivers_m, direction, length_m, MOST_MIRRORED)):
        start_m[number, leg.rays], along[number, leg.rays] = leg.start_m, leg.direction
        before_m[number, leg.rays], free_m[number, leg.rays] = leg.before_m, leg.free_m
    left_m, away_m = length_m - before_m, start_m - transmitter_m
    # |start + s·along − transmitter| + s = left
    towards = 2.0 * (left_m + (along * away_m).sum(-1))
    bend_m = (left_m**2 - (away_m**2).sum(-1)) / np.where(towards > 1e-9, towards, 1e-9)
    scatters, diffracts = kind == PathKind.SCATTERING, kind == PathKind.DIFFRACTION
    misfit_m = np.where(scatters & np.isfinite(free_m), np.abs(bend_m - free_m), np.inf)
    may_bend = diffracts & (bend_m > 0) & (bend_m <= free_m + SLACK_M)
    misfit_m[may_bend] = surroundings.to_edge_m(start_m[may_bend] + bend_m[may_bend, None] * along[may_bend])
    number = misfit_m.argmin(axis=0)
    fits = misfit_m[number, rows] < _FITS_M
    number = np.where(fits, number, 0)
    ahead_m = np.where(scatters, free_m[number, rows], bend_m[number, rows])
    known = scatters & np.isfinite(ahead_m) & (before_m[number, rows] + ahead_m < length_m) | diffracts & fits
    way_m = np.where(known, before_m[number, rows] + ahead_m, np.nan)
    source_m = np.where(known[:, None], start_m[number, rows] + ahead_m[:, None] * along[number, rows], np.nan)
    mirrored = np.isin(kind, [PathKind.LINE_OF_SIGHT, PathKind.REFLECTION])
    way_m = np.where(mirrored, length_m, way_m)
    source_m[mirrored] = transmitter_m
    return Retraced(receivers_m + way_m[:, None] * direction, length_m - way_m, source_m)


def sees(surroundings: Surroundings, receivers_m: np.ndarray, anchor_m: np.ndarray, source_m: np.ndarray) -> np.ndarray:
    """(N,) bool: whether receivers (N, 3) [m] see sources (N, 3) where their anchors (N, 3) are. NaN is not seen."""
    found = np.zeros(len(receivers_m), bool)
    known = np.flatnonzero(np.isfinite(anchor_m).all(1))
    for start in range(0, len(known), _CHUNK):
        rows = known[start : start + _CHUNK]
        ray_m = anchor_m[rows] - receivers_m[rows]
        length_m = np.maximum(np.linalg.norm(ray_m, axis=1), 1e-6)
        ends_m = surroundings.ends(receivers_m[rows], ray_m / length_m[:, None], length_m, MOST_MIRRORED)
        found[rows] = np.linalg.norm(ends_m - source_m[rows], axis=1) < _AT_SOURCE_M
    return found
