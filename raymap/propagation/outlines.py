"""Buildings of a raster as polygons with holes, and polygons as triangles. All on whole numbers, hence exact.

Walls are straightened as in `walls`, so that ray tracing and ray launching see the same ones. Points are (column, row)
in steps of 1/1024 cell. Outer rings run so that their shoelace area is positive, holes so that it is negative: the
built side lies to the right of every edge on a map whose rows grow downwards.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import find_objects, label

from raymap.propagation.corners import is_edge, trace
from raymap.propagation.walls import straightened

#: Steps of a coordinate per cell.
STEPS = 1024

#: An outer ring (n, 2) int64 in steps, then its holes.
Polygon = list[np.ndarray]


def polygons(mask: np.ndarray) -> list[Polygon]:
    """The parts of a mask (H, W) that hang together by edges or corners of cells, with straightened walls.

    Yards that straightening levels (of a few cells) are closed; a part whose straightened rings would cross keeps the
    steps of its raster. A part that touches itself in corners so often that it cannot be cut into triangles gets those
    corners filled, one cell each.
    """
    mask = np.asarray(mask, bool)
    parts, num_parts = label(mask, np.ones((3, 3)))
    found = []
    for part, place in zip(range(1, num_parts + 1), find_objects(parts), strict=True):
        offset = np.array([place[1].start, place[0].start])
        found.append(_outline(parts[place] == part, offset, mask.shape))
    return found


def area(ring: np.ndarray) -> float:
    """Signed area of a ring (n, 2) in its squared unit, positive for outer rings."""
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def triangles(polygon: Polygon) -> np.ndarray | None:
    """(T, 3) int64 corners, counted through the rings in order, of triangles that fill a polygon with holes.

    Ear clipping (Meisters, American Mathematical Monthly 82, 1975) after every hole is joined to the outside by a
    bridge. Triangles turn like outer rings, meet edge to edge, and use the rings' edges whole. None if rings cross.
    """
    points = np.concatenate(polygon).astype(np.int64)
    order = _join(polygon, points)
    return None if order is None else _clip(points, order)


def _outline(part: np.ndarray, offset: np.ndarray, shape: tuple[int, int]) -> Polygon:
    """One part's polygon in steps: straightened, else as it is, else with its touching corners filled."""
    rings = [ring + offset for ring in sorted(_rings(part), key=area, reverse=True)]
    straight = [_straight(ring, shape) for ring in rings]
    kept = [area(a) * area(b) > 0 for a, b in zip(rings, straight, strict=True)]
    outside = straight[0] if kept[0] else rings[0] * STEPS
    straight = [outside, *(ring for ring, whole in zip(straight[1:], kept[1:], strict=True) if whole)]
    start, end = _edges(straight)
    free = all(_is_free(a, b, start, end) for a, b in zip(start, end, strict=True))
    if free and triangles(straight) is not None:
        return straight
    stairs = [ring * STEPS for ring in rings]
    if triangles(stairs) is not None:
        return stairs
    filled = _without_touching_corners(part)
    return [(ring + offset) * STEPS for ring in sorted(_rings(filled), key=area, reverse=True)]


def _without_touching_corners(part: np.ndarray) -> np.ndarray:
    filled = part.copy()
    while True:
        a, b, c, d = filled[:-1, :-1], filled[:-1, 1:], filled[1:, :-1], filled[1:, 1:]
        falling, rising = np.argwhere(a & d & ~b & ~c), np.argwhere(b & c & ~a & ~d)
        if not len(falling) + len(rising):
            return filled
        filled[falling[:, 0], falling[:, 1] + 1] = True
        filled[tuple(rising.T)] = True


def _rings(mask: np.ndarray) -> list[np.ndarray]:
    num_rows, num_columns = mask.shape
    visited = np.zeros((num_rows + 1, num_columns + 1), bool)
    buffer = np.empty((2 * visited.size, 2), np.int64)
    above = np.vstack([np.zeros((1, num_columns), bool), mask[:-1]])
    rings = []
    for row, column in np.argwhere(mask & ~above):
        if not visited[row, column] and is_edge(mask, row, column, 0):
            num = trace(mask, row, column, visited, buffer)
            rings.append(buffer[:num, ::-1].copy())
    return rings


def _straight(ring: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    vertices, _ = straightened(ring.astype(np.float64), *shape)
    steps = np.rint(vertices * STEPS).astype(np.int64)
    return steps[(steps != np.roll(steps, 1, axis=0)).any(1)]


def _edges(polygon: Polygon) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(polygon), np.concatenate([np.roll(ring, -1, axis=0) for ring in polygon])


def _cross(origin, a, b):
    """z of (a − origin) x (b − origin), for points (..., 2)."""
    u, v = np.subtract(a, origin), np.subtract(b, origin)
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def _is_free(a, b, start: np.ndarray, end: np.ndarray) -> bool:
    """Whether the segment a-b meets the edges start-end (E, 2) at most in its own ends."""
    along = (start - a) @ (b - a)
    if ((_cross(a, b, start) == 0) & (along > 0) & (along < (b - a) @ (b - a))).any():
        return False  # passes through a corner
    shares = [(start == point).all(1) | (end == point).all(1) for point in (a, b)]
    other = ~(shares[0] | shares[1])
    p, q = start[other], end[other]
    apart = np.sign(_cross(a, b, p)) != np.sign(_cross(a, b, q))
    return not (apart & (np.sign(_cross(p, q, a)) != np.sign(_cross(p, q, b)))).any()


def _opens(before, here, after, target) -> bool:
    """Whether the way from ``here`` to ``target`` starts inside a polygon with these neighbours, or is one of them."""
    turn = _cross(before, here, after)
    if turn == 0 and (before - here) @ (after - here) > 0:
        return False  # the tip of a slit, there and back
    if (target == before).all() or (target == after).all():
        return True
    left, right = _cross(here, after, target) > 0, _cross(before, here, target) > 0
    return bool(left and right) if turn > 0 else bool(left or right)


def _join(polygon: Polygon, points: np.ndarray) -> list[int] | None:
    """One closed walk (indices into ``points``) around the polygon, out to every hole and back."""
    first = np.cumsum([0, *map(len, polygon)])
    start, end = _edges(polygon)
    walk = list(range(first[1]))
    holes = [list(range(first[k], first[k + 1])) for k in range(1, len(polygon))]
    # from the right: the ray from a hole's rightmost corner meets the walk, never a hole that is still to come
    for hole in sorted(holes, key=lambda hole: -points[hole, 0].max()):
        bridge = _bridge(points, walk, hole, start, end)
        if bridge is None:
            return None
        at, entry = bridge
        turn = hole[entry:] + hole[:entry]
        if (points[walk[at]] == points[turn[0]]).all():  # the hole touches the walk: nothing to bridge
            walk = walk[:at] + turn + walk[at:]
            continue
        start = np.vstack([start, points[walk[at]]])
        end = np.vstack([end, points[turn[0]]])
        walk = walk[: at + 1] + turn + turn[:1] + walk[at:]
    return walk


def _bridge(points, walk, hole, start, end) -> tuple[int, int] | None:
    """(place in walk, place in hole) of the shortest segment between them that crosses nothing."""
    gap = ((points[walk][:, None] - points[hole][None]) ** 2).sum(-1)
    for flat in np.argsort(gap, axis=None, kind="stable"):
        at, entry = divmod(int(flat), len(hole))
        a, b = points[walk[at]], points[hole[entry]]
        before, after = points[walk[at - 1]], points[walk[(at + 1) % len(walk)]]
        if gap[at, entry] == 0:
            if _opens(before, a, after, points[hole[(entry + 1) % len(hole)]]):
                return at, entry
        elif (
            _opens(before, a, after, b)
            and _opens(points[hole[entry - 1]], b, points[hole[(entry + 1) % len(hole)]], a)
            and _is_free(a, b, start, end)
        ):
            return at, entry
    return None


def _clip(points: np.ndarray, walk: list[int]) -> np.ndarray | None:
    """Cuts ears off a closed walk until nothing is left of it."""
    walk, faces, at, idle = list(walk), [], 0, 0
    while len(walk) > 2 and idle <= len(walk):
        at %= len(walk)
        idle += 1
        before, after = walk[at - 1], walk[(at + 1) % len(walk)]
        if (points[before] == points[after]).all():  # a slit, there and back, where rings touch
            walk = [place for k, place in enumerate(walk) if k not in (at, (at + 1) % len(walk))]
            idle = 0
        elif _is_ear(points[np.roll(walk, 2 - at)]):
            faces.append((before, walk[at], after))
            del walk[at]
            idle = 0
        at += 1  # never the neighbour at once: avoids fans of thin triangles
    return np.array(faces, np.int64) if len(walk) <= 2 else None


def _is_ear(walk: np.ndarray) -> bool:
    """Whether the third point of a closed walk (n, 2) and its neighbours span a triangle free of the rest."""
    before, a, b, c, after = walk[[0, 1, 2, 3 % len(walk), 4 % len(walk)]]
    if _cross(a, b, c) <= 0:
        return False
    if len(walk) > 3 and not (_opens(before, a, b, c) and _opens(b, c, after, a)):
        return False  # rings that touch in a or c
    inside = (_cross(a, b, walk) >= 0) & (_cross(b, c, walk) >= 0) & (_cross(c, a, walk) >= 0)
    for corner in (a, b, c):
        inside &= ~(walk == corner).all(1)
    return not inside.any()
