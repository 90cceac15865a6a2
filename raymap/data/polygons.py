"""Convex polygons in metres and their painting on a raster: what generated towns are made of."""

from __future__ import annotations

import math

import numba
import numpy as np

#: Convex polygon, corners (x, y) [m], interior to the left of every edge. Fewer than three corners: nothing.
Polygon = list[tuple[float, float]]
#: What gets painted, in order: a polygon and its height [m]; height 0 opens a yard.
Painting = list[tuple[Polygon, float]]


def cut(polygon: Polygon, a, b, distance_m: float) -> Polygon:
    """What lies left of the line a→b moved ``distance_m`` to its left; empty if nothing does."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    limit = distance_m * (dx * dx + dy * dy) ** 0.5
    sides = [dx * (y - a[1]) - dy * (x - a[0]) - limit for x, y in polygon]
    if all(side >= 0 for side in sides):
        return polygon
    kept: Polygon = []
    for i, (x, y) in enumerate(polygon):
        before = sides[i - 1]
        if (sides[i] >= 0) != (before >= 0):
            t = before / (before - sides[i])
            px, py = polygon[i - 1]
            kept.append((px + t * (x - px), py + t * (y - py)))
        if sides[i] >= 0:
            kept.append((x, y))
    return kept


def edges(polygon: Polygon) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The sides a→b, in order."""
    return list(zip(polygon, polygon[1:] + polygon[:1], strict=True))


def inset(polygon: Polygon, distance_m: float) -> Polygon:
    """The polygon shrunk by ``distance_m`` from every side; empty if nothing remains."""
    inner = polygon
    for a, b in edges(polygon):
        inner = cut(inner, a, b, distance_m)
    return inner


def area(polygon: Polygon) -> float:
    """Area [m²], positive if the interior lies left of every edge; 0 for an empty polygon."""
    return 0.5 * sum(a[0] * b[1] - b[0] * a[1] for a, b in edges(polygon))


def oriented(polygon: Polygon) -> Polygon:
    """The polygon with its interior to the left of every edge."""
    return polygon if area(polygon) > 0 else polygon[::-1]


def distance(polygon: Polygon, a, b) -> float:
    """Least distance [m] of a polygon's corners from the line a→b, positive to its left."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    return min(dx * (y - a[1]) - dy * (x - a[0]) for x, y in polygon) / (dx * dx + dy * dy) ** 0.5


def longest_edge(polygon: Polygon) -> tuple[tuple[float, float], tuple[float, float]]:
    """The longest side a→b."""
    return max(edges(polygon), key=lambda edge: (edge[1][0] - edge[0][0]) ** 2 + (edge[1][1] - edge[0][1]) ** 2)


def halves(polygon: Polygon, share: float, direction, street_m: float = 0.0) -> list[Polygon]:
    """Cuts a polygon in two across ``direction`` at ``share`` of its extent along it, ``street_m`` apart."""
    dx, dy = float(direction[0]), float(direction[1])
    reach = [x * dx + y * dy for x, y in polygon]
    at = min(reach) + share * (max(reach) - min(reach))
    norm = dx * dx + dy * dy
    a = (at * dx / norm, at * dy / norm)
    b = (a[0] - dy, a[1] + dx)
    return [piece for piece in (cut(polygon, a, b, street_m / 2), cut(polygon, b, a, street_m / 2)) if len(piece) >= 3]


def lots(rng, polygon: Polygon, width_m: float) -> list[Polygon]:
    """Cuts a block into lots about ``width_m`` wide and up to twice as deep, always across the longer side."""
    done: list[Polygon] = []
    waiting = [polygon] if len(polygon) >= 3 else []
    while waiting:
        piece = waiting.pop()
        (ax, ay), (bx, by) = longest_edge(piece)
        dx, dy = bx - ax, by - ay
        norm = (dx * dx + dy * dy) ** 0.5
        along = [(x * dx + y * dy) / norm for x, y in piece]
        across = [(y * dx - x * dy) / norm for x, y in piece]
        length_m, depth_m = max(along) - min(along), max(across) - min(across)
        if max(length_m, depth_m) <= 2.0 * width_m and min(length_m, depth_m) <= 1.4 * width_m:
            done.append(piece)
        else:
            direction = (dx, dy) if length_m >= depth_m else (-dy, dx)
            waiting.extend(halves(piece, rng.uniform(0.42, 0.58), direction))
    return done


def notch(polygon: Polygon, corner: int, share: float) -> Polygon:
    """The parallelogram at a corner that reaches ``share`` along both its edges."""
    (ax, ay), (x, y), (bx, by) = polygon[corner - 1], polygon[corner], polygon[(corner + 1) % len(polygon)]
    ux, uy, vx, vy = share * (ax - x), share * (ay - y), share * (bx - x), share * (by - y)
    return [(x, y), (x + vx, y + vy), (x + ux + vx, y + uy + vy), (x + ux, y + uy)]


def dense(polygon: Polygon, step_m: float) -> Polygon:
    """The same outline with corners added so that no side is longer than ``step_m``."""
    corners: Polygon = []
    for (ax, ay), (bx, by) in edges(polygon):
        pieces = math.ceil(math.hypot(bx - ax, by - ay) / step_m) or 1
        corners.extend((ax + (bx - ax) * i / pieces, ay + (by - ay) * i / pieces) for i in range(pieces))
    return corners


def paint(painting: Painting, shape: tuple[int, int], cell_m: float, slack_m: float = 0.15) -> np.ndarray:
    """(H, W) float32 heights [m]: the last polygon over a cell's centre wins.

    Polygons reach ``slack_m`` beyond their outline, so that neighbours which do not quite meet leave no cracks.
    """
    height_m = np.zeros(shape, np.float32)
    if painting:
        corners = np.array([corner for polygon, _ in painting for corner in polygon]) / cell_m
        ends = np.cumsum([len(polygon) for polygon, _ in painting])
        _fill(corners, ends, np.array([tall_m for _, tall_m in painting], np.float32), slack_m / cell_m, height_m)
    return height_m


@numba.njit(cache=True)
def _fill(corners: np.ndarray, ends: np.ndarray, heights_m: np.ndarray, slack: float, out_m: np.ndarray) -> None:
    """Fills polygons in order: corners (V, 2) in cells, each polygon up to its end; ``slack`` in cells."""
    start = 0
    for index in range(len(ends)):
        x, y = corners[start : ends[index], 0], corners[start : ends[index], 1]
        start = ends[index]
        first = max(0, int(np.ceil(x.min() - slack - 0.5)))
        last = min(out_m.shape[1] - 1, int(np.floor(x.max() + slack - 0.5)))
        for row in range(
            max(0, int(np.ceil(y.min() - slack - 0.5))),
            min(out_m.shape[0], int(np.floor(y.max() + slack + 0.5))),
        ):
            for column in range(first, last + 1):
                if _covers(x, y, column + 0.5, row + 0.5, slack):
                    out_m[row, column] = heights_m[index]


@numba.njit(cache=True)
def _covers(x: np.ndarray, y: np.ndarray, u: float, v: float, slack: float) -> bool:
    """Whether (u, v) lies in the polygon (even-odd rule) or within ``slack`` of its outline."""
    inside = False
    for i in range(len(x)):
        dx, dy, px, py = x[i - 1] - x[i], y[i - 1] - y[i], u - x[i], v - y[i]
        if (y[i] > v) != (y[i - 1] > v) and px < py * dx / dy:
            inside = not inside
        t = min(max((px * dx + py * dy) / max(dx * dx + dy * dy, 1e-12), 0.0), 1.0)
        if (px - t * dx) ** 2 + (py - t * dy) ** 2 <= slack * slack:
            return True
    return inside
