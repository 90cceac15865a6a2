"""Ways to build on a block of a generated town: perimeter houses, courts, detached houses, slabs, halls, churches.

Each takes the town's random stream and style, a block (a convex polygon between streets), the block's typical height
``tall_m`` [m], and paints into ``painting``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raymap.data.polygons import Painting, Polygon, area, cut, distance, edges, halves, inset, longest_edge, lots, notch

#: Heights of buildings [m].
HEIGHT_M = (6.0, 40.0)
#: Narrowest yard and house [m]: less than that shows up as specks at 1 m cells.
_MIN_WIDTH_M = 4.0


@dataclass(frozen=True)
class Style:
    """How a town is built. Ranges are (low, high) in metres; shares are probabilities.

    ``fills``: the ways to build on a block and their weights; ``depth_m``: from the street wall to the yard;
    ``open_share``: yards without rear buildings; ``parks``: blocks left empty; ``bend_m``: how far streets bend;
    ``jitter``: how far crossings leave a regular grid, as a share of the block.
    """

    network: str
    block_m: tuple[float, float]
    street_m: tuple[float, float]
    lot_m: tuple[float, float]
    depth_m: tuple[float, float]
    height_m: tuple[float, float]
    fills: dict[str, float]
    open_share: float = 0.9
    parks: float = 0.06
    bend_m: float = 0.0
    jitter: float = 0.0


def _perimeter(rng, style: Style, block: Polygon, tall_m: float, painting: Painting) -> None:
    """Houses wall to wall along the street, yards behind; some yards hold lower rear buildings."""
    depth_m = rng.uniform(*style.depth_m)
    for lot in lots(rng, block, rng.uniform(*style.lot_m)):
        rear_m = _varied(rng, 0.6 * tall_m, 0.2) if rng.random() > style.open_share else 0.0
        streets = [(a, b) for a, b in edges(block) if distance(lot, a, b) < 1.0]
        if not streets:
            painting.append((lot, rear_m))
        elif rng.random() > 0.03:  # else a gap in the street wall opens the yard behind it
            painting.append((lot, _varied(rng, tall_m, 0.12)))
            yard, own_m = lot, depth_m * rng.uniform(0.8, 1.3)
            for a, b in streets:
                yard = cut(yard, a, b, own_m)
            if _roomy(yard):
                painting.append((yard, rear_m))


def _courts(rng, style: Style, block: Polygon, tall_m: float, painting: Painting) -> None:
    """A dense old block: parcels wall to wall, most around a small court of their own, with wings between them."""
    for parcel in lots(rng, block, rng.uniform(24, 36)):
        for house in lots(rng, parcel, rng.uniform(*style.lot_m)):
            painting.append((house, _varied(rng, tall_m, 0.13)))
        court = inset(parcel, rng.uniform(5.5, 9.0))
        if not _roomy(court) or rng.random() > style.open_share:
            continue
        painting.append((court, 0.0))
        if area(court) > 120.0 and rng.random() < 0.6:  # a wing reaches into it
            (ax, ay), (bx, by) = longest_edge(court)
            direction = (bx - ax, by - ay) if rng.random() < 0.5 else (ay - by, bx - ax)
            wing = halves(court, rng.uniform(0.25, 0.75), direction)[int(rng.integers(2))]
            painting.append((wing, _varied(rng, 0.7 * tall_m, 0.2)))


def _houses(rng, style: Style, block: Polygon, tall_m: float, painting: Painting) -> None:
    """Detached houses along the street, one per lot, gardens behind; some are L-shaped."""
    width_m = max(13.0, rng.uniform(*style.lot_m))
    setback_m = rng.uniform(1.0, 5.0)
    for lot in lots(rng, block, width_m):
        streets = [(a, b) for a, b in edges(block) if distance(lot, a, b) < 1.0]
        if not streets or rng.random() < 0.08:
            continue
        house = inset(lot, rng.uniform(0.06, 0.16) * width_m)
        for a, b in streets[:1]:
            house = cut(house, a, b, setback_m + rng.uniform(0.0, 1.5))
            house = cut(house, b, a, -(setback_m + style.depth_m[1] + rng.uniform(-3.0, 4.0)))
        if area(house) < 50.0 or not _roomy(house):
            continue
        painting.append((house, _varied(rng, tall_m, 0.15)))
        if rng.random() < 0.4:
            painting.append((notch(house, int(rng.integers(len(house))), rng.uniform(0.3, 0.5)), 0.0))


def _slabs(rng, style: Style, block: Polygon, tall_m: float, painting: Painting) -> None:
    """Parallel free-standing slabs or point towers on open ground."""
    a, b = (np.array(point) for point in longest_edge(block))
    along = (b - a) / np.hypot(*(b - a))
    if rng.random() < 0.5:
        along = np.array([-along[1], along[0]])
    across = np.array([-along[1], along[0]])
    depth_m, length_m = rng.uniform(11, 16), rng.uniform(22, 70)
    step_m, corners = depth_m + rng.uniform(14, 26), np.array(block)
    quad = [(0, 0), (length_m, 0), (length_m, depth_m), (0, depth_m)]
    for v in np.arange((corners @ across).min() + rng.uniform(0, 6), (corners @ across).max() - depth_m, step_m):
        first_m = (corners @ along).min() + rng.uniform(0, 8)
        for u in np.arange(first_m, (corners @ along).max() - 0.5 * length_m, length_m + rng.uniform(10, 18)):
            slab: Polygon = [tuple(float(t) for t in (u + du) * along + (v + dv) * across) for du, dv in quad]
            for edge in edges(block):
                slab = cut(slab, *edge, 0.0)
            if area(slab) > 0.4 * length_m * depth_m:
                painting.append((slab, _varied(rng, tall_m, 0.15)))


def _hall(rng, style: Style, block: Polygon, tall_m: float, painting: Painting) -> None:
    """Large buildings side by side, each with a court in the middle when there is room, or a corner left out."""
    body = inset(block, rng.uniform(0.0, 6.0))
    for part in lots(rng, body, rng.uniform(32, 55)):
        painting.append((part, _varied(rng, tall_m, 0.15)))
        court = inset(part, rng.uniform(9, 15))
        if _roomy(court) and rng.random() < 0.7:
            painting.append((court, 0.0))
        elif rng.random() < 0.5:
            painting.append((notch(part, int(rng.integers(len(part))), rng.uniform(0.25, 0.55)), 0.0))


def _church(rng, style: Style, block: Polygon, tall_m: float, painting: Painting) -> None:
    """A church with a transept and a tower on an open square."""
    x, y = (float(value) for value in np.mean(block, axis=0))
    angle, length_m, width_m = rng.uniform(0, np.pi), rng.uniform(28, 45), rng.uniform(11, 16)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    nave_m = min(max(1.2 * tall_m, 12.0), 30.0)

    def box(centre_m: float, half_u: float, half_v: float) -> Polygon:
        corners = [(-half_u, -half_v), (half_u, -half_v), (half_u, half_v), (-half_u, half_v)]
        return [(x + (centre_m + u) * cos - v * sin, y + (centre_m + u) * sin + v * cos) for u, v in corners]

    painting.append((box(0.0, length_m / 2, width_m / 2), nave_m))
    painting.append((box(0.2 * length_m, width_m / 2, 0.9 * width_m), nave_m))
    painting.append((box(-0.5 * length_m, width_m / 3, width_m / 3), HEIGHT_M[1]))


def _roomy(polygon: Polygon) -> bool:
    return len(inset(polygon, _MIN_WIDTH_M / 2)) >= 3


def _varied(rng, height_m: float, spread: float) -> float:
    return min(max(height_m * (1 + spread * float(rng.standard_normal())), HEIGHT_M[0]), HEIGHT_M[1])


FILLS = {
    "perimeter": _perimeter,
    "courts": _courts,
    "houses": _houses,
    "slabs": _slabs,
    "hall": _hall,
    "church": _church,
}
