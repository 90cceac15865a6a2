"""The published splits of RadioMapSeer's maps, and where they overlap.

The released loaders shuffle 0..699 with numpy's generator at seed 42, add 1, and cut the result by position. Map 0 is
in no split. Positions, both ends included:

============  =======  =======  =======  ====================================================================
name          train    val      test     used by
============  =======  =======  =======  ====================================================================
radiounet     0-500    501-600  601-699  RadioUNet (Levie et al., IEEE TWC 2021), RMDM, RME-GAN
radiodiff     0-600    600-650  600-699  RadioDiff and RadioDiff-k²; some of its loaders validate on 501-600
radiodiff-k   0-500    600-650  600-699  RadioDiff-k² on DPM
============  =======  =======  =======  ====================================================================

Only the first keeps its parts apart: validation in the others is part of the test, and RadioDiff also trains on a map
that it tests on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

_POSITIONS = {
    "radiounet": {"train": (0, 500), "val": (501, 600), "test": (601, 699)},
    "radiodiff": {"train": (0, 600), "val": (600, 650), "test": (600, 699)},
    "radiodiff-k": {"train": (0, 500), "val": (600, 650), "test": (600, 699)},
}
SPLITS = tuple(_POSITIONS)
#: SHA-256 of the shuffled ids joined by commas: who shuffles otherwise has other splits.
FINGERPRINT = "c0828dae12b0e60fe4e173cb7afb867886476068b84512768fd595fd78fc37d7"


def split(name: str = "radiounet") -> dict[str, tuple[int, ...]]:
    """Map ids of ``train``, ``val`` and ``test`` as published, in the published order.

    They may overlap: see :func:`overlaps` and :func:`disjoint`. Raises ValueError for an unknown name.
    """
    if name not in _POSITIONS:
        raise ValueError(f"unknown split {name!r}; published are {', '.join(SPLITS)}")
    ids = _shuffled()
    return {part: ids[first : last + 1] for part, (first, last) in _POSITIONS[name].items()}


def overlaps(parts: Mapping[str, Sequence[int]]) -> dict[tuple[str, str], tuple[int, ...]]:
    """Sorted map ids that two parts share, for every pair that shares any: ``{("train", "test"): (98,)}``."""
    shared = {
        (first, second): tuple(sorted(set(parts[first]) & set(parts[second])))
        for first, second in combinations(parts, 2)
    }
    return {pair: ids for pair, ids in shared.items() if ids}


def disjoint(parts: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """The parts with every shared map left only in the last part that holds it: the test keeps all it has."""
    kept: dict[str, tuple[int, ...]] = {}
    taken: set[int] = set()
    for name in reversed(parts):
        kept[name] = tuple(map_id for map_id in parts[name] if map_id not in taken)
        taken.update(parts[name])
    return {name: kept[name] for name in parts}


def fingerprint(ids: Sequence[int]) -> str:
    """SHA-256 of ids joined by commas."""
    return hashlib.sha256(",".join(str(map_id) for map_id in ids).encode()).hexdigest()


def _shuffled() -> tuple[int, ...]:
    """Map ids 1..700 in the published order. A generator of its own: nobody's random numbers change by asking."""
    return tuple((np.random.RandomState(42).permutation(700) + 1).tolist())
