"""Generated towns: streets, blocks and buildings that resemble European and American ones, one town per seed.

A town is made of convex polygons in metres (streets cut the ground into blocks, blocks are cut into lots, lots carry
buildings and yards) and only then painted on a grid, so one seed is one town at every cell size. Each town has a
style, drawn by its seed: street network, block and lot sizes, the ways to build on a block, and heights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from scipy.ndimage import label

from raymap.data.blocks import FILLS, Style
from raymap.data.polygons import Painting, Polygon, area, cut, dense, halves, inset, longest_edge, oriented, paint
from raymap.scene import Grid, Scene

#: Built share of a town's area.
BUILT = (0.15, 0.60)
#: Least share of a town's area that is outdoors in one connected part.
MIN_CONNECTED = 0.30
#: A town is judged on cells of this size whatever the grid's, so that the verdict does not depend on the grid [m].
_JUDGING_CELL_M = 2.0
_MAX_ATTEMPTS = 40
#: Walls are bent in pieces of this length; a longer chord would leave its neighbours' bent walls by over 0.15 m.
_STEP_M = 15.0


STYLES: dict[str, Style] = {
    "old town": Style(
        "grown", (45, 85), (7, 12), (13, 20), (9, 13), (11, 22),
        {"courts": 0.6, "perimeter": 0.25, "hall": 0.1, "church": 0.05}, 0.75, 0.04, 7.0,
    ),
    "perimeter": Style(
        "grid", (65, 115), (14, 22), (16, 28), (11, 16), (15, 26),
        {"perimeter": 0.55, "courts": 0.25, "hall": 0.1, "slabs": 0.1}, 0.8, 0.08, 6.0, 0.1,
    ),
    "boulevards": Style(
        "star", (65, 100), (13, 20), (16, 26), (11, 16), (18, 30),
        {"courts": 0.6, "perimeter": 0.3, "hall": 0.1}, 0.8, 0.06,
    ),
    "terraces": Style(
        "grid", (60, 125), (14, 20), (8, 13), (13, 21), (7, 14),
        {"perimeter": 0.75, "houses": 0.1, "hall": 0.15}, 0.75, 0.05,
    ),
    "suburb": Style(
        "grid", (55, 120), (9, 14), (15, 22), (9, 13), (6, 10),
        {"houses": 0.92, "hall": 0.08}, 1.0, 0.06, 9.0, 0.12,
    ),
    "village": Style(
        "grown", (50, 90), (8, 12), (14, 22), (9, 13), (6, 11),
        {"houses": 0.65, "perimeter": 0.25, "church": 0.1}, 0.85, 0.06, 9.0,
    ),
    "estate": Style(
        "grown", (85, 150), (12, 20), (22, 34), (11, 14), (10, 34),
        {"slabs": 0.6, "houses": 0.2, "hall": 0.2}, 1.0, 0.04, 10.0,
    ),
    "downtown": Style(
        "grid", (60, 100), (15, 22), (22, 40), (14, 22), (16, 38),
        {"perimeter": 0.2, "courts": 0.4, "hall": 0.25, "slabs": 0.15}, 0.7, 0.1, 0.0, 0.03,
    ),
    "patchwork": Style(
        "grown", (60, 120), (9, 17), (15, 26), (10, 15), (8, 24),
        {"perimeter": 0.25, "courts": 0.2, "slabs": 0.15, "houses": 0.25, "hall": 0.15}, 0.9, 0.1, 8.0,
    ),
}  # fmt: skip


def city(seed: int, grid: Grid, frequency_hz: float = 5.9e9) -> Scene:
    """The town of a seed on a grid; equal seeds and extents [m] give the same town at every cell size.

    Built share within ``BUILT`` and one connected outdoor part of at least ``MIN_CONNECTED`` of the area, judged at
    2 m; coarse cells (above about 4 m) can close narrow streets. Raises ValueError for a negative seed, or if the
    extent is too small for any town to meet that.
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    height_m, width_m = grid.size_m
    judged = (max(1, round(height_m / _JUDGING_CELL_M)), max(1, round(width_m / _JUDGING_CELL_M)))
    for attempt in range(_MAX_ATTEMPTS):
        rng = np.random.default_rng([seed, attempt])
        painting = _town(rng, width_m, height_m)
        if _acceptable(paint(painting, judged, _JUDGING_CELL_M)):
            building_m = paint(painting, grid.shape, grid.cell_m)
            return Scene(f"generated/{seed:06d}", grid, building_m, frequency_hz=frequency_hz)
    raise ValueError(
        f"no town of {width_m:g} m by {height_m:g} m with a built share of {BUILT[0]:.0%} to {BUILT[1]:.0%} in "
        f"{_MAX_ATTEMPTS} attempts for seed {seed}; take a larger grid"
    )


def _acceptable(height_m: np.ndarray) -> bool:
    # A little stricter than the promise, because a finer or coarser grid counts slightly differently.
    outdoor = height_m <= 0
    if not BUILT[0] + 0.01 <= 1 - outdoor.mean() <= BUILT[1] - 0.01:
        return False
    parts, _ = label(outdoor)
    return np.bincount(parts.ravel())[1:].max() >= (MIN_CONNECTED + 0.03) * outdoor.size


def _town(rng: np.random.Generator, width_m: float, height_m: float) -> Painting:
    style = STYLES[str(rng.choice(list(STYLES)))]
    centre, radius_m = (width_m / 2, height_m / 2), float(np.hypot(width_m, height_m)) / 2 + 20.0
    blocks = _NETWORKS[style.network](rng, style, centre, radius_m)
    if rng.random() < 0.35:
        blocks = _avenue(rng, blocks, centre, radius_m)
    town_m = rng.uniform(*style.height_m)
    fills, weights = list(style.fills), np.array(list(style.fills.values()))
    painting: Painting = []
    for block in blocks:
        if area(block) < 150.0 or not _near(block, width_m, height_m, style.bend_m) or rng.random() < style.parks:
            continue
        tall_m = 0.5 * (town_m + rng.uniform(*style.height_m)) + rng.normal(0.0, 2.0)
        FILLS[str(rng.choice(fills, p=weights / weights.sum()))](rng, style, block, tall_m, painting)
    if style.bend_m == 0:
        return painting
    bend = _bend(rng, style.bend_m)
    return [([bend(x, y) for x, y in dense(polygon, _STEP_M)], tall_m) for polygon, tall_m in painting]


# Street networks: blocks (convex polygons) that cover a disc up to the streets between them.


def _grid_network(rng, style: Style, centre, radius_m: float) -> list[Polygon]:
    angle = rng.uniform(0, np.pi / 2)
    lines = [
        np.cumsum(size_m * rng.uniform(0.8, 1.25, int(3 * radius_m / size_m) + 3)) for size_m in style.block_m[::-1]
    ]
    x, y = np.meshgrid(*(line - line[-1] / 2 for line in lines))
    x, y = (axis + rng.uniform(-1, 1, axis.shape) * style.jitter * style.block_m[0] for axis in (x, y))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corner = np.stack([x, y], -1) @ turn + centre
    quads = np.stack([corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]], 2).reshape(-1, 4, 2)
    blocks = [inset([tuple(point) for point in quad], rng.uniform(*style.street_m) / 2) for quad in quads.tolist()]
    return [block for block in blocks if len(block) >= 3]


def _grown_network(rng, style: Style, centre, radius_m: float) -> list[Polygon]:
    """Streets that branch off streets: ground is cut in two again and again, first by broad streets, then by lanes."""
    angle = rng.uniform(0, 2 * np.pi) + np.pi / 2 * np.arange(4)
    reach_m = 1.5 * radius_m
    waiting = [[(centre[0] + reach_m * float(np.cos(a)), centre[1] + reach_m * float(np.sin(a))) for a in angle]]
    blocks: list[Polygon] = []
    while waiting:
        ground = waiting.pop()
        size_m = area(ground) ** 0.5
        if size_m < rng.uniform(*style.block_m):
            blocks.append(ground)
            continue
        (ax, ay), (bx, by) = longest_edge(ground)
        skew = rng.normal(0.0, 0.11)
        direction = (bx - ax - skew * (by - ay), by - ay + skew * (bx - ax))
        street_m = rng.uniform(*style.street_m) * (1.4 if size_m > 2.5 * style.block_m[1] else 1.0)
        waiting.extend(halves(ground, rng.uniform(0.36, 0.64), direction, street_m))
    return blocks


def _star_network(rng, style: Style, centre, radius_m: float) -> list[Polygon]:
    heart = np.array(centre) + rng.uniform(-0.5, 0.5, 2) * radius_m
    num_rays = int(rng.integers(7, 12))
    angles = 2 * np.pi * (np.arange(num_rays) + rng.uniform(-0.2, 0.2, num_rays) + rng.random()) / num_rays
    rings_m = rng.uniform(30, 60) + np.cumsum([0.0, *rng.uniform(*style.block_m, int(2 * radius_m / 65) + 2)])
    blocks = []
    for first, second in zip(angles, np.roll(angles, -1), strict=True):
        left, right = (np.array([np.cos(angle), np.sin(angle)]) for angle in (first, second))
        for inner, outer in itertools.pairwise(rings_m):
            quad = [heart + inner * left, heart + outer * left, heart + outer * right, heart + inner * right]
            block = inset(oriented([(float(x), float(y)) for x, y in quad]), rng.uniform(*style.street_m) / 2)
            # Sectors widen outwards: cut them by a street once they are wider than a block is.
            wide = np.hypot(*(quad[1] - quad[2])) > 1.6 * style.block_m[1]
            blocks.extend(halves(block, 0.5, quad[1] - quad[2], style.street_m[0]) if wide else [block])
    return [block for block in blocks if len(block) >= 3]


def _avenue(rng, blocks: list[Polygon], centre, radius_m: float) -> list[Polygon]:
    """Cuts a broad straight street through everything."""
    angle, half_m = rng.uniform(0, np.pi), rng.uniform(5, 10)
    x, y = (float(middle + rng.uniform(-0.3, 0.3) * radius_m) for middle in centre)
    a, b = (x, y), (x + float(np.cos(angle)), y + float(np.sin(angle)))
    pieces = [side for block in blocks for side in (cut(block, a, b, half_m), cut(block, b, a, half_m))]
    return [piece for piece in pieces if len(piece) >= 3]


def _near(polygon: Polygon, width_m: float, height_m: float, margin_m: float) -> bool:
    """Whether a polygon can show in the picture after it was bent by up to ``margin_m``."""
    xs, ys = zip(*polygon, strict=True)
    across = max(xs) > -margin_m and min(xs) < width_m + margin_m
    return across and max(ys) > -margin_m and min(ys) < height_m + margin_m


def _bend(rng, bend_m: float) -> Callable[[float, float], tuple[float, float]]:
    """A smooth shift of the plane by up to ``bend_m`` along each axis: streets curve, walls stay walls."""
    phases, waves = rng.uniform(0, 2 * np.pi, 4).tolist(), (2 * np.pi / rng.uniform(200, 400, 4)).tolist()

    def shift(x: float, y: float) -> tuple[float, float]:
        dx = math.sin(y * waves[0] + phases[0]) + 0.4 * math.sin(x * waves[1] + phases[1])
        dy = math.sin(x * waves[2] + phases[2]) + 0.4 * math.sin(y * waves[3] + phases[3])
        return x + bend_m * dx / 1.4, y + bend_m * dy / 1.4

    return shift


_NETWORKS = {"grid": _grid_network, "grown": _grown_network, "star": _star_network}
