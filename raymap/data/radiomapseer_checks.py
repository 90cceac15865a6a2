"""Whether the pictures and lists of one RadioMapSeer map agree: polarity, axes, and that they belong to each other.

A map learnt from a transposed or inverted folder looks plausible and is wrong. Every check raises a ValueError that
names the file and, where one explains it, the mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from raymap.data.radiomapseer_files import Encoding, antennas, picture
from raymap.physics import visibility

#: Largest share of building pixels with a gain. Real DPM maps measure 0.0000.
_MAX_LIT_BUILDING = 0.01
#: Largest share of outdoor pixels without a gain. Real DPM maps measure 0.0094 at most; ray tracing leaves real
#: shadows black, so there only a (nearly) black picture is refused.
_MAX_DARK_OUTDOORS = {"DPM": 0.25, "carsDPM": 0.25}
_MAX_DARK_ELSEWHERE = 0.98
#: Largest share of the buildings of an incomplete map that the complete one does not have, and least share that it
#: keeps: at most 4 of some 140 buildings are missing.
_MAX_NEW_BUILDING = 0.01
_MIN_KEPT_BUILDING = 0.1
#: How far the JSON may lie from the lit pixel, and the brightest gain from it [px].
_ANTENNA_SLACK_PX = 1.0
_BRIGHTEST_SLACK_PX = 2.0
#: A pixel as bright as the listed one takes its place only if the gains in sight fit its distances so much better.
_MUCH_BETTER = 0.5
#: Gains this near tell a pixel apart [px].
_NEAR_PX = 24.0
#: "One lit pixel, or few": more than this is no antenna picture.
_MAX_ANTENNA_PIXELS = 9

#: The ways a picture can lie wrong, as maps of (row, column) with ``last`` = 255.
_MISTAKES: dict[str, Callable[[float, float, float], tuple[float, float]]] = {
    "rows and columns look swapped": lambda r, c, last: (c, r),
    "x and y of the JSON look swapped (a flip over the other diagonal)": lambda r, c, last: (last - c, last - r),
    "it looks upside down": lambda r, c, last: (last - r, c),
    "it looks mirrored left to right": lambda r, c, last: (r, last - c),
    "it looks rotated by 180°": lambda r, c, last: (last - r, last - c),
    "it looks rotated by 90° to the left": lambda r, c, last: (last - c, r),
    "it looks rotated by 90° to the right": lambda r, c, last: (c, last - r),
}


def check_gain(building: np.ndarray, path: Path, grey: np.ndarray, gain_path: Path, simulation: str) -> None:
    """Gains are 0 in buildings (H, W) bool, and nearly everywhere else they are not. ``grey``: (H, W) uint8."""
    if not building.any() or building.all():
        raise ValueError(f"{path}: {'all' if building.any() else 'no'} pixels are buildings")
    lit = grey > 0
    if not lit.any():
        raise ValueError(f"{gain_path}: all black, there is no gain in it")
    lit_building = lit[building].mean()
    if lit_building > _MAX_LIT_BUILDING:
        if lit[~building].mean() <= _MAX_LIT_BUILDING:
            cause = "polarity inverted: buildings must be white (not 0) and streets black"
        else:
            cause = _mistaken_mask(building, lit) or "the two do not belong to the same map"
        raise ValueError(
            f"{path}: {lit_building:.1%} of its building pixels have a gain in {gain_path.name}, where 0 is expected; "
            f"{cause}"
        )
    dark = 1 - lit[~building].mean()
    if dark > _MAX_DARK_OUTDOORS.get(simulation, _MAX_DARK_ELSEWHERE):
        raise ValueError(f"{gain_path}: {dark:.1%} of the pixels outside the buildings of {path.name} have no gain")


def _mistaken_mask(building: np.ndarray, lit: np.ndarray) -> str | None:
    rows, columns = np.nonzero(lit)
    last = building.shape[0] - 1
    for mistake, move in _MISTAKES.items():
        if building[move(rows, columns, last)].sum() <= _MAX_LIT_BUILDING * building.sum():
            return f"{mistake} against the gain"
    return None


def check_missing(known: np.ndarray, path: Path, complete: np.ndarray, complete_path: Path) -> None:
    """An incomplete map is the complete one less some buildings; both (H, W) bool."""
    new = int((known & ~complete).sum())
    if new > _MAX_NEW_BUILDING * complete.sum():
        raise ValueError(
            f"{path}: {new} building pixels are none in {complete_path.name} of buildings_complete, of which it must "
            f"be a part; the two do not belong together, or the polarity is inverted"
        )
    kept = (known & complete).sum() / complete.sum()
    if kept < _MIN_KEPT_BUILDING:
        raise ValueError(f"{path}: {kept:.1%} of the buildings of {complete_path} are left, too few to be that map")


def antenna_pixel(folder: Path, map_id: int, tx_id: int, encoding: Encoding) -> tuple[int, int]:
    """(row, column) of a transmitter, on which the antenna picture and the JSON entry must agree."""
    picture_path = folder / "png" / "antennas" / f"{map_id}_{tx_id}.png"
    lit = np.argwhere(picture(picture_path, encoding.shape) > 0)
    if not 1 <= len(lit) <= _MAX_ANTENNA_PIXELS:
        raise ValueError(f"{picture_path}: expected one lit pixel (or few), found {len(lit)}")
    centre = lit.mean(0)
    row, column = (int(value) for value in lit[np.abs(lit - centre).sum(1).argmin()])
    json_path = folder / "antenna" / f"{map_id}.json"
    expected = encoding.pixel(*_antenna_entry(json_path, tx_id))
    if _apart_px(expected, (row, column)) > _ANTENNA_SLACK_PX:
        last = encoding.shape[0] - 1
        fitting = [
            mistake
            for mistake, move in _MISTAKES.items()
            if _apart_px(move(*expected, last), (row, column)) <= _ANTENNA_SLACK_PX
        ]
        raise ValueError(
            f"{picture_path}: lit at row {row}, column {column}, but entry {tx_id} of {json_path} says row "
            f"{expected[0]:.6g}, column {expected[1]:.6g} (row = 255 - y, column = x); "
            + (" or ".join(fitting) or "no swap, mirroring or rotation explains it")
        )
    return row, column


def _antenna_entry(path: Path, tx_id: int) -> tuple[float, float]:
    entries = antennas(path)
    if not 0 <= tx_id < len(entries):
        raise ValueError(f"{path}: expected a list with an entry for transmitter {tx_id}, found {len(entries)} entries")
    return entries[tx_id]


def check_brightest(grey: np.ndarray, path: Path, row: int, column: int, grain_px: int = 1) -> None:
    """The brightest gain of ``grey`` (H, W) lies at the transmitter, to within 2 of the simulated cells."""
    brightest = np.argwhere(grey == grey.max())
    slack_px = _BRIGHTEST_SLACK_PX * grain_px
    distance_px = float(np.hypot(*(brightest - (row, column)).T).min())
    if distance_px <= slack_px:
        return
    last = grey.shape[0] - 1
    for mistake, move in _MISTAKES.items():
        moved = np.array(move(row, column, last))
        if np.hypot(*(brightest - moved).T).min() <= slack_px:
            cause = mistake
            break
    else:
        cause = "the picture may belong to another transmitter"
    raise ValueError(
        f"{path}: brightest at row {brightest[0][0]}, column {brightest[0][1]}, {distance_px:.1f} px from the "
        f"transmitter at row {row}, column {column}; {cause}"
    )


def settled_pixel(grey: np.ndarray, building: np.ndarray, row: int, column: int) -> tuple[int, int]:
    """(row, column) of a transmitter listed at ``row``, ``column``, moved where the gain shows it to stand beside.

    At the foot of a wall several pixels are equally bright (the 3 x 3 median of the maps has no other half there), and
    a list that was derived from the brightest pixel names one of them by chance: 2 of 11 such lists are a pixel off.
    Of those pixels within 2 of the listed one, that is taken whose distances explain the gains in its sight as a
    straight line over log distance, if it does so in at most half the median deviation of the listed one. ``grey``:
    (H, W) uint8, ``building``: (H, W) bool.
    """
    tied = np.argwhere((grey == grey.max()) & ~building)
    tied = [(int(r), int(c)) for r, c in tied if np.hypot(r - row, c - column) <= _BRIGHTEST_SLACK_PX]
    if (row, column) not in tied or len(tied) == 1:
        return row, column
    misfit = {pixel: _misfit(grey, building, *pixel) for pixel in tied}
    best = min(tied, key=misfit.__getitem__)
    return best if misfit[best] <= _MUCH_BETTER * misfit[row, column] else (row, column)


def _misfit(grey: np.ndarray, building: np.ndarray, row: int, column: int) -> float:
    """Median deviation [grey levels] of the gains near and in sight of a pixel from their line over log distance."""
    rows, columns = np.nonzero(visibility.line_of_sight(building, (row + 0.5, column + 0.5)))
    distance_px = np.hypot(rows - row, columns - column)
    near = (distance_px >= 1) & (distance_px <= _NEAR_PX)
    log_distance, level = np.log(distance_px[near]), grey[rows[near], columns[near]].astype(float)
    if len(np.unique(log_distance)) < 2:
        return np.inf
    slope, start = np.polyfit(log_distance, level, 1)
    return float(np.median(np.abs(level - start - slope * log_distance)))


def _apart_px(first: tuple[float, float], second: tuple[float, float]) -> float:
    return max(abs(first[0] - second[0]), abs(first[1] - second[1]))
