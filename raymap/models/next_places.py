"""Where to measure next: the places that take most from the error that is expected everywhere."""

from __future__ import annotations

import heapq
from itertools import chain

import numpy as np

#: Pairs of a place and one whose error measuring it would lessen that are kept at once; beyond them places are thinned.
_MOST_PAIRS = 4_000_000
#: Of places that were thinned, so large a share is chosen before all are looked at again.
_ROUND = 0.1
_CHUNK, _NUM_COUNTED = 2048, 1000
#: A receiver within so much of another one is that one [m].
_SAME_PLACE_M = 1e-3


def next_places(expected: np.ndarray, measured_m: np.ndarray, candidates_m: np.ndarray, num: int) -> np.ndarray:
    """(num,) rows of the candidates to measure, in the order in which to measure them.

    ``expected``: (N,) squared error expected as things are at ``candidates_m`` (N, 3) [m], in any unit, such as
    ``path_spread.mixed_square``; ``measured_m``: (M, 3). A squared error is taken to fall in proportion to the distance
    to what is measured, as where the field has a linear variogram: with a place measured at distance d of a candidate,
    min(1, d / d₀) of the candidate's error is left, d₀ its distance to the nearest measured receiver before. As
    ``expected`` is told by few receivers, it is half of what counts; the other half is as much, by d₀ alone.

    Each place in turn takes most from the sum over all candidates. What a place takes shrinks with those chosen before
    it (the sum is submodular: facility location), so that all together take at least 1 − 1/e = 63 % of what the best
    ``num`` would (Nemhauser, Wolsey and Fisher, Mathematical Programming 1978), and few must be weighed again at each
    step (Minoux, 1978). Candidates that are too many for that are drawn together into the cells of a grid.

    No place comes twice, within 1 mm, and none that was measured. Raises ValueError for shapes that disagree, errors
    that are negative or not finite, nothing measured, and ``num`` outside 1 to the candidates that were not measured.
    """
    from scipy.spatial import cKDTree

    expected, measured_m, candidates_m = (np.asarray(part, np.float64) for part in (expected, measured_m, candidates_m))
    if candidates_m.ndim != 2 or candidates_m.shape[1] != 3 or expected.shape != candidates_m.shape[:1]:
        raise ValueError(f"candidates_m must be (N, 3) and expected (N,), got {candidates_m.shape}, {expected.shape}")
    if measured_m.ndim != 2 or measured_m.shape[1] != 3 or not len(measured_m):
        raise ValueError(f"measured_m must be (M, 3) of at least one receiver, got {measured_m.shape}")
    if not (np.isfinite(expected) & (expected >= 0)).all():
        wrong = expected[~(np.isfinite(expected) & (expected >= 0))][0]
        raise ValueError(f"an expected squared error is 0 or more and finite, got {wrong:g}")
    away_m = cKDTree(measured_m).query(candidates_m)[0]
    once = np.unique(np.rint(candidates_m / _SAME_PLACE_M), axis=0, return_index=True)[1]
    free = np.sort(once[away_m[once] > _SAME_PLACE_M])
    if not 1 <= num <= len(free):
        raise ValueError(f"num must lie in 1 to {len(free)}, the candidates that were not measured, got {num}")
    places_m, expected, away_m = candidates_m[free], expected[free], away_m[free]
    left = expected + (expected.mean() or 1.0) * away_m / away_m.mean()
    chosen = np.zeros(0, int)
    while len(chosen) < num:
        unknown = np.flatnonzero(away_m > 0)
        kept, weight = _thinned(places_m[unknown], left[unknown], away_m[unknown])
        most = len(kept) if len(kept) == len(unknown) else max(1, int(_ROUND * len(kept)))
        rows = unknown[kept]
        more = rows[_greedy(places_m[rows], weight, away_m[rows], min(num - len(chosen), most))]
        near_m = cKDTree(places_m[more]).query(places_m)[0]
        left *= np.minimum(np.divide(near_m, away_m, out=np.ones_like(left), where=away_m > 0), 1.0)
        away_m = np.minimum(away_m, near_m)
        chosen = np.concatenate([chosen, more])
    return free[chosen]


def _greedy(places_m: np.ndarray, weight: np.ndarray, away_m: np.ndarray, num: int) -> np.ndarray:
    """``num`` rows."""
    begin, whom, share = _reached(places_m, away_m)
    left = np.ones(len(places_m))

    def gain(place: int) -> float:
        reached = slice(begin[place], begin[place + 1])
        return float(weight[whom[reached]] @ np.maximum(left[whom[reached]] - share[reached], 0.0))

    heap = [(-gain(place), place) for place in range(len(places_m))]
    heapq.heapify(heap)
    chosen: list[int] = []
    while len(chosen) < num:
        _old, place = heapq.heappop(heap)
        found = gain(place)
        if heap and found < -heap[0][0]:
            # Others promised more, and gains only shrink.
            heapq.heappush(heap, (-found, place))
            continue
        chosen.append(place)
        reached = slice(begin[place], begin[place + 1])
        left[whom[reached]] = np.minimum(left[whom[reached]], share[reached])
    return np.array(chosen, int)


def _reached(places_m: np.ndarray, away_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whom measuring each place would help, and what of their error it would leave, as compressed rows."""
    from scipy.spatial import cKDTree

    tree = cKDTree(places_m)
    parts = []
    for start in range(0, len(places_m), _CHUNK):
        some = np.arange(start, min(start + _CHUNK, len(places_m)))
        lists = tree.query_ball_point(places_m[some], away_m[some])
        whom = np.repeat(some, [len(found) for found in lists]).astype(np.int32)
        place = np.fromiter(chain.from_iterable(lists), np.int32, len(whom))
        share = np.linalg.norm(places_m[place] - places_m[whom], axis=1) / away_m[whom]
        parts.append((place, whom, share.astype(np.float32)))
    place, whom, share = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(place, kind="stable")
    return np.searchsorted(place[order], np.arange(len(places_m) + 1)), whom[order], share[order]


def _thinned(places_m: np.ndarray, weight: np.ndarray, away_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of places that stand for all, in the middle of the cells of a grid, and the weight of all in the cell.

    All places where their pairs are few enough.
    """
    rows, own, size_m = np.arange(len(places_m)), weight, 0.0
    while (num_pairs := _num_pairs(places_m[rows], away_m[rows])) > _MOST_PAIRS:
        if not size_m:
            spans_m = np.sort(np.ptp(places_m, axis=0))[1:]
            size_m = float(np.sqrt(max(spans_m.prod(), spans_m[1] ** 2 / len(places_m)) / len(places_m)))
        size_m *= max(1.1, (num_pairs / _MOST_PAIRS) ** 0.25)
        cell = np.unique(np.floor((places_m - places_m.min(0)) / size_m), axis=0, return_inverse=True)[1].ravel()
        count, own = np.bincount(cell), np.bincount(cell, weight)
        middle_m = np.stack([np.bincount(cell, along) / count for along in places_m.T], axis=1)
        order = np.lexsort((np.linalg.norm(places_m - middle_m[cell], axis=1), cell))
        rows = order[np.cumsum(count) - count]
    return rows, own


def _num_pairs(places_m: np.ndarray, away_m: np.ndarray) -> float:
    """About how many there are, by a thousand of the places."""
    from scipy.spatial import cKDTree

    some = np.linspace(0, len(places_m) - 1, min(_NUM_COUNTED, len(places_m))).astype(int)
    return len(places_m) * cKDTree(places_m).query_ball_point(places_m[some], away_m[some], return_length=True).mean()
