"""Which column of somebody's table of measured paths holds what, in which unit, and how that becomes ours."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from raymap import units
from raymap.config import Settings
from raymap.data.cells import Cells
from raymap.data.path_table import UNKNOWN_KIND
from raymap.scene import PathKind

#: Stands for the number of a path in the names of columns, where one row holds all paths of a receiver.
PATH = "{path}"
#: Columns that hold one number per path, and can be named with :data:`PATH`.
PER_PATH = ("power", "delay", "zenith", "elevation", "azimuth", "kind")
#: Columns that are read where they are there, without being named.
DEFAULT_NAMES = {
    "receiver": "receiver", "path": "path", "delay": "delay_s", "zenith": "zenith_rad", "azimuth": "azimuth_rad",
    "kind": "kind", "transmitter_x": "transmitter_x_m", "transmitter_y": "transmitter_y_m",
    "transmitter_z": "transmitter_z_m", "frequency": "frequency_hz",
}  # fmt: skip
#: The unit that default names state, and the columns that are in it.
_UNITS = {
    "position_unit": ("m", ("x", "y", "z", "transmitter_x", "transmitter_y", "transmitter_z")),
    "power_unit": ("dB", ("power",)),
    "delay_unit": ("s", ("delay",)),
    "angle_unit": ("rad", ("zenith", "elevation", "azimuth")),
    "azimuth_from": ("x_counterclockwise", ("azimuth",)),
    "frequency_unit": ("Hz", ("frequency",)),
}
#: Angles that were rounded when they were written down may pass the end of their range by so much [rad].
_SLACK_RAD = 1e-3
#: Weakest path gain that is taken for one [dB], longest delay [s], farthest position [m] and highest frequency [Hz].
_MIN_POWER_DB, _MAX_DELAY_S, _MAX_POSITION_M, _MAX_FREQUENCY_HZ = -1000.0, 1.0, 1e9, 1e15


class Quantity(NamedTuple):
    """What the numbers of a column may be, in ``unit``, and the function that makes them ours."""

    low: float
    high: float
    unit: str
    settle: Callable[[np.ndarray], np.ndarray]
    slack: float = 0.0


class Columns(Settings):
    """The names of columns, and their units. Where a cell is empty, its number is not known.

    Of what is None, the column that :func:`raymap.data.path_file.write` writes is read if it is there (``delay_s``,
    ``zenith_rad``, ..., in the unit of its name).

    One row is one path, and rows of one receiver have the same position, or the same value in the column ``receiver``.
    If the name of ``power`` contains ``{path}`` (``"power_{path}"``), a row is a receiver with all its paths instead,
    and there is one column for every number that is found in its place; ``delay``, ``zenith`` and so on follow.

    Raises ValueError for zenith beside elevation, dBm without the transmitter's power and that without dBm, a unit that
    contradicts the default name of its column, ``{path}`` in some names only, and a number beside a column of the same.
    """

    separator: str = Field(",", min_length=1, max_length=1, description="between the cells of a CSV file")
    x: str = Field("x_m", min_length=1, description="x of the receiver, east where azimuths are from north")
    y: str = Field("y_m", min_length=1, description="y of the receiver, north where azimuths are from north")
    z: str = Field("z_m", min_length=1, description="z of the receiver, upwards")
    height_m: float | None = Field(None, description="z of all receivers [m]; then no column is read")
    position_unit: Literal["m", "km"] = "m"
    receiver: str | None = Field(None, description="whatever tells receivers apart; default: receiver, or the position")
    path: str | None = Field(None, description="number of the path at its receiver; default: path, or the row's place")
    power: str = Field("power_db", min_length=1, description="power of the path")
    power_unit: Literal["dB", "dB_loss", "dBm", "linear"] = Field(
        "dB", description="path gain [dB], path loss [dB], received power [dBm], or gain as a ratio of powers"
    )
    transmit_power_dbm: float | None = Field(None, description="power of the transmitter, for received power [dBm]")
    delay: str | None = Field(None, description="delay since the path left the transmitter; default: delay_s")
    delay_unit: Literal["s", "us", "ns"] = "s"
    zenith: str | None = Field(None, description="angle of arrival from straight up; default: zenith_rad")
    elevation: str | None = Field(None, description="angle of arrival from the horizon upwards, in place of zenith")
    azimuth: str | None = Field(None, description="angle of arrival in the plane; default: azimuth_rad")
    angle_unit: Literal["rad", "deg"] = "rad"
    azimuth_from: Literal["x_counterclockwise", "north_clockwise"] = Field(
        "x_counterclockwise", description="from +x towards +y, or as a compass does: from +y towards +x"
    )
    kind: str | None = Field(None, description="kind of the path, line_of_sight and so on or 0 to 4; default: kind")
    transmitter_m: tuple[float, float, float] | None = Field(None, description="the transmitter [m]: x, y, z")
    transmitter_x: str | None = Field(None, description="x of the transmitter; default: transmitter_x_m")
    transmitter_y: str | None = Field(None, description="y of the transmitter; default: transmitter_y_m")
    transmitter_z: str | None = Field(None, description="z of the transmitter; default: transmitter_z_m")
    frequency_hz: float | None = Field(None, gt=0, le=_MAX_FREQUENCY_HZ, description="carrier frequency [Hz]")
    frequency: str | None = Field(None, description="carrier frequency; default: frequency_hz")
    frequency_unit: Literal["Hz", "MHz", "GHz"] = "Hz"

    @property
    def is_wide(self) -> bool:
        """Whether one row holds all paths of a receiver."""
        return PATH in self.power

    def found(self, field: str, there: Collection[str]) -> str | None:
        """The column of ``field`` among those that are ``there``: the one that is named, or else its default, if any.

        A column that is named need not be there. None: there is none.
        """
        name = getattr(self, field)
        states_its_unit = all(getattr(self, unit) == own for unit, (own, fields) in _UNITS.items() if field in fields)
        left_out = (self.is_wide and field in (*PER_PATH, "receiver", "path")) or (field == "zenith" and self.elevation)
        if name is None and states_its_unit and not left_out and DEFAULT_NAMES.get(field) in there:
            return DEFAULT_NAMES[field]
        return name

    def quantity(self, field: str) -> Quantity:
        """What the numbers of a column are: power becomes path gain [dB], elevation becomes zenith, everything SI."""
        if field == "power":
            return self._power()
        if field == "delay":
            one = units.SECONDS[self.delay_unit]
            return Quantity(0.0, _MAX_DELAY_S / one, self.delay_unit, lambda delay: delay * one)
        if field == "frequency":
            one = units.HERTZ[self.frequency_unit]
            return Quantity(1.0 / one, _MAX_FREQUENCY_HZ / one, self.frequency_unit, lambda value: value * one)
        if field in ("zenith", "elevation", "azimuth"):
            return self._angle(field)
        one = units.METRES[self.position_unit]
        return Quantity(-_MAX_POSITION_M / one, _MAX_POSITION_M / one, self.position_unit, lambda place: place * one)

    def numbers(self, cells: Cells, field: str, column: str) -> np.ndarray:
        """(rows,) float64, a column in our units, NaN where it is empty. Raises ValueError for a cell out of range."""
        values, quantity = cells.numbers(column), self.quantity(field)
        wrong = (values < quantity.low - quantity.slack) | (values > quantity.high + quantity.slack)
        if wrong.any():
            row, unit = int(wrong.argmax()), quantity.unit
            raise cells.error(
                row, column, f"{values[row]:g} is outside [{quantity.low:g}, {quantity.high:g}] ({field}, {unit})"
            )
        return quantity.settle(values)

    def _power(self) -> Quantity:
        if self.power_unit == "linear":
            return Quantity(units.linear_from_db(_MIN_POWER_DB), 1.0, "linear", lambda ratio: 10.0 * np.log10(ratio))
        if self.power_unit == "dB_loss":
            return Quantity(0.0, -_MIN_POWER_DB, "dB of loss", lambda loss_db: -loss_db)
        sent_dbm = self.transmit_power_dbm or 0.0  # 0 for dB
        return Quantity(_MIN_POWER_DB + sent_dbm, sent_dbm, self.power_unit, lambda power_dbm: power_dbm - sent_dbm)

    def _angle(self, field: str) -> Quantity:
        one = units.RADIANS[self.angle_unit]
        turn, slack = math.pi / one, _SLACK_RAD / one
        if field == "zenith":
            return Quantity(0.0, turn, self.angle_unit, lambda angle: _zenith_rad(angle * one), slack)
        if field == "elevation":
            return Quantity(
                -turn / 2, turn / 2, self.angle_unit, lambda angle: _zenith_rad(math.pi / 2 - angle * one), slack
            )
        compass = self.azimuth_from == "north_clockwise"
        return Quantity(
            -2 * turn, 2 * turn, self.angle_unit,
            lambda angle: _turned_back_rad(math.pi / 2 - angle * one if compass else angle * one), slack,
        )  # fmt: skip

    @model_validator(mode="after")
    def _no_contradiction(self) -> Columns:
        for unit, (own, fields) in _UNITS.items():
            if getattr(self, unit) != own:
                self._check_unit(unit, [field for field in fields if field != "z" or self.height_m is None])
        if self.zenith and self.elevation:
            raise ValueError(f"name zenith {self.zenith!r} or elevation {self.elevation!r}, not both")
        if (self.power_unit == "dBm") != (self.transmit_power_dbm is not None):
            raise ValueError(
                f"transmit_power_dbm makes path gain of received power in dBm; it is {self.transmit_power_dbm} for "
                f"power_unit {self.power_unit!r}"
            )
        if self.height_m is not None and self.z != "z_m":
            raise ValueError(f"name a column z, {self.z!r}, or give height_m, {self.height_m:g}, not both")
        if self.transmitter_m and (self.transmitter_x or self.transmitter_y or self.transmitter_z):
            raise ValueError("give transmitter_m or name columns transmitter_x, _y and _z, not both")
        if self.frequency_hz and self.frequency:
            raise ValueError("give frequency_hz or name a column frequency, not both")
        named = {field: getattr(self, field) for field in PER_PATH if getattr(self, field)}
        unlike = [name for name in named.values() if (name.count(PATH) == 1) != self.is_wide]
        if unlike:
            raise ValueError(
                f"either all columns of paths have {PATH} in their names, once, or none; see {unlike[0]!r}"
            )
        if self.is_wide and (self.receiver or self.path):
            raise ValueError(f"with {PATH} in the names every row is a receiver: name no column receiver or path")
        return self

    def _check_unit(self, unit: str, fields: list[str]) -> None:
        """A unit other than that of the default names is of some named column, and of no default one."""
        for field in fields:
            if getattr(self, field) == type(self).model_fields[field].default is not None:
                name = getattr(self, field)
                raise ValueError(f"{unit} is {getattr(self, unit)!r}, which column {name!r} contradicts: name another")
        if not any(getattr(self, field) for field in fields):
            raise ValueError(f"{unit} is {getattr(self, unit)!r}, but no column of it is named: {', '.join(fields)}")

    def paths_of(self, cells: Cells) -> list[str]:
        """What stands in place of ``{path}`` in the columns of power, by number. Raises ValueError if nothing does."""
        before, after = (re.escape(part) for part in self.power.split(PATH))
        found = [re.fullmatch(f"{before}([0-9]+){after}", name) for name in cells.names]
        numbers = sorted({match[1] for match in found if match}, key=lambda number: (int(number), number))
        if not numbers:
            raise ValueError(
                f"{cells.path}: no column {self.power!r} with a number for {PATH}; there are {cells.listed}"
            )
        return numbers


def kinds(cells: Cells, column: str) -> np.ndarray:
    """(rows,) int8, a :class:`PathKind`, or −1 where a cell is empty. Raises ValueError for another name or number."""
    codes, values = cells.labels(column)
    known = {kind.name.lower(): int(kind) for kind in PathKind} | {str(int(kind)): int(kind) for kind in PathKind}
    known[str(UNKNOWN_KIND)] = UNKNOWN_KIND
    # Whole numbers beside empty cells are written as 1.0.
    names = [str(value).strip().lower().removesuffix(".0") for value in values]
    found = np.array([*(known.get(name, UNKNOWN_KIND - 1) for name in names), UNKNOWN_KIND], np.int8)
    kind = found[codes]  # an empty cell, −1, is the last
    wrong = kind < UNKNOWN_KIND
    if wrong.any():
        row = int(wrong.argmax())
        allowed = ", ".join(f"{one.name.lower()} ({int(one)})" for one in PathKind)
        raise cells.error(row, column, f"{str(values[codes[row]])[:40]!r} is no kind of path; there are {allowed}")
    return kind


def _zenith_rad(angle_rad: np.ndarray) -> np.ndarray:
    """Within [0, π] what is off by rounding."""
    return np.clip(angle_rad, 0.0, float(np.float32(math.pi)))


def _turned_back_rad(angle_rad: np.ndarray) -> np.ndarray:
    """Azimuths as they are where they lie in [−π, π], by whole turns where not."""
    beyond = np.abs(angle_rad) > float(np.float32(math.pi))
    return np.where(beyond, angle_rad - 2 * math.pi * np.round(angle_rad / (2 * math.pi)), angle_rad)
