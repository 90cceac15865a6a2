"""Is a dataset what it claims to be? Axis order, polarity, range, duplicates and leaks, from the rows themselves.

A map learnt from a transposed, inverted or doubled dataset looks plausible and is wrong, so nothing here trusts the
card: every statement is checked on the stored numbers, each with a reason that a person can follow.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from raymap import units
from raymap.data import schema
from raymap.data.reader import ShardReader, quarantined
from raymap.data.schema import DatasetCard

#: Furthest that the brightest cell of a sound map may lie from its transmitter, in the median over maps [cells].
_BRIGHTEST_CELLS = 2.0
#: Least correlation of gain [dB] with -log10(distance) that a sound dataset has, in the median over maps.
_LEAST_CORRELATION = 0.2
#: Share of valid cells on the floor above which a dataset is called dark.
_MOST_FLOOR = 0.6

#: The ways (x, y) of a transmitter can be mistaken, as maps of (row, column) with the last (row, column).
_MISTAKES = {
    "x and y of the transmitters look swapped": lambda r, c, rows, columns: (c, r),
    "rows look upside down": lambda r, c, rows, columns: (rows - r, c),
    "columns look mirrored": lambda r, c, rows, columns: (r, columns - c),
}


class Finding(NamedTuple):
    """Something that is wrong ("error") or should be looked at ("warning"), and where."""

    severity: Literal["error", "warning"]
    what: str
    reason: str


class SplitFacts(NamedTuple):
    """Numbers of one split, for the data card. Gains in dB over valid cells; ``coverage``: share above −100 dB."""

    num_scenes: int
    num_maps: int
    gain_db: tuple[float, float, float, float, float]
    share_built: float
    share_vehicle: float
    share_lit: float
    share_floor: float
    coverage: float


class Validation(NamedTuple):
    """What was found, and the facts per split."""

    findings: tuple[Finding, ...]
    facts: dict[str, SplitFacts]

    @property
    def sound(self) -> bool:
        """No errors; warnings are allowed."""
        return not any(finding.severity == "error" for finding in self.findings)


def validate(folder: str | Path) -> Validation:
    """Read every row of a dataset once and check it.

    Raises FileNotFoundError or ValueError if there is no usable card; whatever else is wrong becomes a
    :class:`Finding`. Holds the rasters of one shard at a time.
    """
    card = DatasetCard.load(folder)
    findings: list[Finding] = []
    seen = _Seen()
    facts: dict[str, SplitFacts] = {}
    for split in card.splits:
        with tempfile.TemporaryDirectory() as aside:
            shares = [_look(split, columns, card, seen) for columns in ShardReader(folder, split, quarantine=aside)]
            findings += [
                Finding("error", f"{entry['shard']}, {_row_or_all(entry['row'])}", entry["reason"])
                for entry in quarantined(aside)
            ]
        if shares:
            facts[split] = _facts(shares, len(card.split(split).scenes))
            findings += _judge(split, shares, facts[split])
    return Validation((*findings, *seen.findings(), *_range(card, facts)), facts)


def _row_or_all(row: int | None) -> str:
    return "all rows" if row is None else f"row {row}"


class _Seen:
    """What must not come twice: (scene, transmitter), a whole row, and a city in two splits whichever way it lies."""

    def __init__(self) -> None:
        self.keys: dict[tuple[str, int], str] = {}
        self.rows: dict[str, str] = {}
        self.cities: dict[str, set[str]] = defaultdict(set)
        self.examples: dict[str, str] = {}
        self.twice: list[Finding] = []

    def add(self, split: str, columns: Mapping[str, np.ndarray]) -> None:
        stored = {name: columns[name] for name in schema.COLUMNS}
        for index, row_hash in enumerate(schema.row_hashes(stored)):
            scene, tx_id = str(columns["scene"][index]), int(columns["tx_id"][index])
            where = f"{split}: {scene}, transmitter {tx_id}"
            if (scene, tx_id) in self.keys:
                self.twice.append(Finding("error", where, f"also in {self.keys[scene, tx_id]}"))
            elif row_hash in self.rows:
                self.twice.append(Finding("error", where, f"the same map as {self.rows[row_hash]}"))
            self.keys[scene, tx_id] = self.rows[row_hash] = where
            if (columns["building_m"][index] > 0).any():  # open ground is no city
                city = _city_hash(columns["building_m"][index])
                self.cities[city].add(split)
                self.examples.setdefault(city, scene)

    def findings(self) -> list[Finding]:
        leaks = [
            Finding("error", self.examples[city], f"the same buildings, perhaps turned, in {', '.join(sorted(splits))}")
            for city, splits in self.cities.items()
            if len(splits) > 1
        ]
        return [*self.twice, *leaks]


def _city_hash(building_m: np.ndarray) -> str:
    """Equal for the 8 symmetries of one raster of buildings."""
    turned = [np.rot90(flipped, quarter) for flipped in (building_m, building_m.T) for quarter in range(4)]
    little = np.dtype("<f4")
    return min(
        hashlib.sha256(repr(t.shape).encode() + np.ascontiguousarray(t, little).tobytes()).hexdigest() for t in turned
    )


class _Look(NamedTuple):
    """Per map of one shard, and pooled gains; see :func:`_look`."""

    gains_db: np.ndarray
    brightest_cells: np.ndarray
    mistaken_cells: dict[str, np.ndarray]
    correlation: np.ndarray
    lit_minus_shadow_db: np.ndarray
    valid_in_building: np.ndarray
    shares: np.ndarray


def _look(split: str, columns: Mapping[str, np.ndarray], card: DatasetCard, seen: _Seen) -> _Look:
    seen.add(split, columns)
    brightest, correlation, contrast_db, inside, shares, pooled = [], [], [], [], [], []
    mistaken: dict[str, list[float]] = {name: [] for name in _MISTAKES}
    rows, cols = np.indices(card.shape) + 0.5
    for index in range(len(columns["scene"])):
        valid, gain_db = columns["valid"][index] == 1, columns["gain_db"][index]
        x_m, y_m, _height_m = columns["tx_xyz_m"][index]
        row, column = float(y_m) / card.cell_m, float(x_m) / card.cell_m
        lit = columns["line_of_sight"][index] & valid
        peaks = np.argwhere(valid & (gain_db >= gain_db[valid].max() - 1e-3)) + 0.5
        brightest.append(_nearest(peaks, (row, column)))
        for name, move in _MISTAKES.items():
            mistaken[name].append(_nearest(peaks, move(row, column, *card.shape)))
        distance = np.log10(np.maximum(np.hypot(rows - row, cols - column), 0.5))[valid]
        values = gain_db[valid].astype(np.float64)
        flat = values.std() < 1e-6 or distance.std() < 1e-6
        correlation.append(np.nan if flat else -float(np.corrcoef(values, distance)[0, 1]))
        shadow = valid & ~lit
        contrast_db.append(gain_db[lit].mean() - gain_db[shadow].mean() if lit.any() and shadow.any() else np.nan)
        built = columns["building_m"][index] > 0
        inside.append(float((valid & built).sum()) / max(1, built.sum()))
        floor = gain_db[valid] <= units.GAIN_FLOOR_DB + 1e-3
        shares.append((built.mean(), (columns["vehicle_m"][index] > 0).mean(), lit.sum() / valid.sum(), floor.mean(),
                       (gain_db[valid] > -100).mean()))  # fmt: skip
        pooled.append(values[:: max(1, len(values) // 500)])
    return _Look(
        np.concatenate(pooled), np.array(brightest), {name: np.array(cells) for name, cells in mistaken.items()},
        np.array(correlation), np.array(contrast_db), np.array(inside), np.array(shares),
    )  # fmt: skip


def _nearest(peaks: np.ndarray, place: tuple[float, float]) -> float:
    return float(np.hypot(*(peaks - np.asarray(place)).T).min())


def _facts(looks: list[_Look], num_scenes: int) -> SplitFacts:
    gains_db = np.concatenate([look.gains_db for look in looks])
    shares = np.concatenate([look.shares for look in looks]).mean(0)
    quantiles = np.quantile(gains_db, (0, 0.05, 0.5, 0.95, 1))
    num_maps = sum(len(look.brightest_cells) for look in looks)
    return SplitFacts(num_scenes, num_maps, tuple(float(q) for q in quantiles), *(float(share) for share in shares))


def _judge(split: str, looks: list[_Look], facts: SplitFacts) -> Iterable[Finding]:
    brightest = np.concatenate([look.brightest_cells for look in looks])
    if np.median(brightest) > _BRIGHTEST_CELLS:
        medians = {name: np.median(np.concatenate([look.mistaken_cells[name] for look in looks])) for name in _MISTAKES}
        best = min(medians, key=medians.get)
        cause = best if medians[best] <= _BRIGHTEST_CELLS else "no swap or mirroring of the transmitters explains it"
        yield Finding(
            "error", f"{split}: axis order", f"the brightest cell lies {np.median(brightest):.1f} cells from the "
            f"transmitter in the median map (at most {_BRIGHTEST_CELLS:g}); {cause}",
        )  # fmt: skip
    correlation = _median(np.concatenate([look.correlation for look in looks]))
    if correlation is not None and correlation < _LEAST_CORRELATION:
        cause = "the scale looks inverted" if correlation < -_LEAST_CORRELATION else "gains do not follow distance"
        yield Finding("error", f"{split}: polarity", f"gain falls with distance by a correlation of {correlation:.2f} "
                      f"in the median map (at least {_LEAST_CORRELATION:g}); {cause}")  # fmt: skip
    contrast_db = _median(np.concatenate([look.lit_minus_shadow_db for look in looks]))
    if contrast_db is not None and contrast_db < 0:
        yield Finding("error", f"{split}: buildings", f"lit streets are {-contrast_db:.1f} dB darker than shadowed "
                      "ones in the median map: buildings look inverted or belong to other maps")  # fmt: skip
    inside = np.concatenate([look.valid_in_building for look in looks])
    if (inside > 0).any():
        yield Finding("warning", f"{split}: valid", f"{int((inside > 0).sum())} maps have valid gains inside buildings")
    if facts.share_floor > _MOST_FLOOR:
        yield Finding("warning", f"{split}: floor", f"{facts.share_floor:.0%} of valid cells lie on the floor")


def _median(values: np.ndarray) -> float | None:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else None


def _range(card: DatasetCard, facts: Mapping[str, SplitFacts]) -> Iterable[Finding]:
    for split, found in facts.items():
        low_db, high_db = found.gain_db[0], found.gain_db[-1]
        if low_db < card.gain_range_db[0] - 0.01 or high_db > card.gain_range_db[1] + 0.01:
            yield Finding("error", f"{split}: range", f"gains from {low_db:.1f} to {high_db:.1f} dB, the card says "
                          f"{card.gain_range_db[0]:.1f} to {card.gain_range_db[1]:.1f} dB")  # fmt: skip
        if low_db > -20:
            yield Finding("error", f"{split}: range", f"no gain below −20 dB (lowest {low_db:.2f}): linear, not dB?")
