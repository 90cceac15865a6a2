"""Make the city blocks that come with the installation: raymap/serving/tiles.npz.

    python jobs/make_tiles.py

From the meshes in the sionna-rt wheel, on cells of 4 m: of every city the three blocks of 256 m whose built share is
nearest to 30, 40 and 50 %, and its middle kilometre.
"""

import json

import numpy as np

from raymap.propagation import city
from raymap.serving import tiles

CELL_M = 4.0
CITIES = ("san_francisco", "munich", "florence", "etoile")
NAMES = {"etoile": "paris", "san_francisco": "san-francisco"}


def chosen(name: str) -> dict[str, np.ndarray]:
    """Blocks of a city by their names, heights in metres."""
    blocks = city.tiles(name, CELL_M, 256.0, 128.0)
    found = {}
    for share in (0.3, 0.4, 0.5):
        left = [block for block in blocks if not any(block.building_m is kept for kept in found.values())]
        best = min(left, key=lambda block: abs((block.building_m > 0).mean() - share))
        found[f"{NAMES.get(name, name)}-{len(found) + 1}"] = best.building_m
    _grid, heights_m = city.heights(name, CELL_M)
    rows, columns = (max(0, (size - 256) // 2) for size in heights_m.shape)
    found[f"{NAMES.get(name, name)}-centre"] = heights_m[rows : rows + 256, columns : columns + 256]
    return found


if __name__ == "__main__":
    blocks = {key: block.astype(np.float16) for name in CITIES for key, block in chosen(name).items()}
    np.savez_compressed(tiles.FILE, about=json.dumps({"cell_m": CELL_M, "source": tiles.ATTRIBUTION}), **blocks)
    print(f"{len(blocks)} blocks in {tiles.FILE}, {tiles.FILE.stat().st_size / 1e3:.0f} kB")
