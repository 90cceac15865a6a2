"""Paths at receivers as numbers, some of them perhaps not known: what is measured, and what is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from raymap import units
from raymap.data.channel import Channel
from raymap.propagation.meshes import MeshScene
from raymap.scene import PathKind

#: What is told of a path, in this order, each (N, P).
PARAMETERS = ("power_db", "delay_s", "zenith_rad", "azimuth_rad")
#: Makes dB, ns, degrees, degrees of them, the units in which errors are told.
PER_UNIT = 1.0 / np.array([1.0, units.SECONDS["ns"], units.RADIANS["deg"], units.RADIANS["deg"]])
#: Kind of a path of which no kind is known.
UNKNOWN_KIND = -1


@dataclass(frozen=True, eq=False)
class PathTable:
    """Up to P paths at each of N receivers of one transmitter, strongest first.

    ``receivers_m``: (N, 3) and ``transmitter_m``: (3,) float64, x, y, z [m]; ``frequency_hz`` [Hz]. ``valid``: (N, P)
    bool, whether there is such a path. Of each path, (N, P) float32: ``power_db`` (path gain, |α|² [dB]), ``delay_s``
    [s], and of the direction that it comes from ``zenith_rad`` in [0, π] from straight up and ``azimuth_rad`` in
    (−π, π] from +x towards +y. NaN is a number that is not known, and padding. ``kind``: (N, P) int8, a
    :class:`PathKind`, or −1 where it is not known. ``surroundings``: the surfaces that stand around, in the frame of
    the positions, if they are known.

    Raises ValueError, naming the field, for shapes that disagree, positions that are not finite, a frequency that is
    not positive, a delay below 0, a power above 0 dB, an angle outside its range and an unknown kind.
    """

    receivers_m: np.ndarray
    transmitter_m: np.ndarray
    frequency_hz: float
    power_db: np.ndarray
    delay_s: np.ndarray
    zenith_rad: np.ndarray
    azimuth_rad: np.ndarray
    kind: np.ndarray
    valid: np.ndarray
    surroundings: MeshScene | None = None

    def __post_init__(self) -> None:
        valid = np.ascontiguousarray(self.valid, bool)
        if valid.ndim != 2:
            raise ValueError(f"PathTable.valid must be (receivers, paths), got {valid.shape}")
        object.__setattr__(self, "valid", valid)
        for name, shape in (("receivers_m", (len(valid), 3)), ("transmitter_m", (3,))):
            self._set(name, np.float64, shape)
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"PathTable.{name} holds values that are not finite")
        if not (np.isfinite(self.frequency_hz) and self.frequency_hz > 0):
            raise ValueError(f"PathTable.frequency_hz must be positive, got {self.frequency_hz}")
        turn = float(np.float32(np.pi))
        limits = {
            "power_db": (-np.inf, 0.0), "delay_s": (0.0, np.inf),
            "zenith_rad": (0.0, turn), "azimuth_rad": (-turn, turn),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            self._set(name, np.float32, valid.shape)
            values = np.where(valid, getattr(self, name), np.float32(np.nan))
            object.__setattr__(self, name, values)
            wrong = (values < low) | (values > high) | np.isinf(values)
            if wrong.any():
                raise ValueError(f"PathTable.{name} must lie in [{low:g}, {high:g}], got {values[wrong][0]:g}")
        self._set("kind", np.int8, valid.shape)
        kind = np.where(valid, self.kind, np.int8(UNKNOWN_KIND))
        if not np.isin(kind, [UNKNOWN_KIND, *PathKind]).all():
            raise ValueError(f"PathTable.kind holds {kind[~np.isin(kind, [UNKNOWN_KIND, *PathKind])][0]}, no kind")
        object.__setattr__(self, "kind", kind)

    def _set(self, name: str, dtype: type, shape: tuple[int, ...]) -> None:
        array = np.ascontiguousarray(getattr(self, name), dtype)
        if array.shape != shape:
            raise ValueError(f"PathTable.{name} has shape {array.shape}, expected {shape}")
        object.__setattr__(self, name, array)

    def __len__(self) -> int:
        """Number of receivers."""
        return len(self.valid)

    @property
    def num_paths(self) -> int:
        """Most paths of a receiver, P."""
        return self.valid.shape[1]

    @property
    def values(self) -> np.ndarray:
        """(N, P, 4) float32, the numbers of every path in the order of :data:`PARAMETERS`."""
        return np.stack([getattr(self, name) for name in PARAMETERS], axis=-1)

    @property
    def gain(self) -> np.ndarray:
        """(N, P) complex128, √p·exp(−j2πfτ), the complex gain of every path; 0 where there is none or it is not known.

        Liu et al., "PINN and GNN-based RF Map Construction for Wireless Communication Systems", section II.
        """
        amplitude = np.sqrt(units.linear_from_db(self.power_db.astype(np.float64)))
        gain = amplitude * np.exp(-2j * np.pi * self.frequency_hz * self.delay_s.astype(np.float64))
        return np.where(np.isfinite(gain), gain, 0.0)

    def take(self, rows: np.ndarray) -> PathTable:
        """The table of some receivers: their numbers, or a mask (N,) bool."""
        kept = {
            field.name: getattr(self, field.name)[rows]
            for field in fields(self)
            if field.name not in ("transmitter_m", "frequency_hz", "surroundings")
        }
        return replace(self, **kept)

    def joined(self, other: PathTable) -> PathTable:
        """The receivers of both, of one transmitter, in that order."""
        names = [field.name for field in fields(self)]
        apart = {"transmitter_m", "frequency_hz", "surroundings"}
        both = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in {*names} - apart}
        return replace(self, **both)

    def within(self, surroundings: MeshScene | None) -> PathTable:
        """The same table, with these surfaces around."""
        return replace(self, surroundings=surroundings)

    @staticmethod
    def empty(transmitter_m: Sequence[float], frequency_hz: float, num_paths: int) -> PathTable:
        """Of no receiver. Raises ValueError as the class."""
        blank = np.zeros((0, num_paths))
        return PathTable(
            np.zeros((0, 3)), transmitter_m, frequency_hz, *(blank for _ in PARAMETERS), kind=blank, valid=blank
        )

    @staticmethod
    def from_values(like: PathTable, receivers_m: np.ndarray, values: np.ndarray, **more: np.ndarray) -> PathTable:
        """Paths at other receivers of the transmitter of ``like``. ``values``: (N, P, 4), NaN rows are no path.

        ``more``: ``kind`` and ``valid``; by default not known, and where the power is. Azimuths may be any turn.
        """
        numbers = dict(zip(PARAMETERS, np.moveaxis(np.asarray(values, np.float64), -1, 0), strict=True))
        numbers["azimuth_rad"] = np.arctan2(np.sin(numbers["azimuth_rad"]), np.cos(numbers["azimuth_rad"]))
        valid = more.get("valid", np.isfinite(numbers["power_db"]))
        kind = more.get("kind", np.full(valid.shape, UNKNOWN_KIND))
        return replace(like, receivers_m=receivers_m, **numbers, kind=kind, valid=valid)


def from_channel(channel: Channel, num_paths: int) -> PathTable:
    """The ``num_paths`` strongest paths at every receiver of a channel, everything known."""
    paths = channel.paths.strongest(num_paths)
    return PathTable(
        channel.receivers_m, channel.transmitter_m, channel.frequency_hz,
        power_db=paths.gain_db, delay_s=paths.delay_s, zenith_rad=paths.aoa_rad[..., 1],
        azimuth_rad=paths.aoa_rad[..., 0], kind=paths.kind, valid=paths.valid,
    )  # fmt: skip


def line_of_sight(receivers_m: np.ndarray, transmitter_m: Sequence[float], frequency_hz: float) -> PathTable:
    """The straight path to every receiver (N, 3) [m] in free space (Friis), and no other."""
    receivers_m = np.asarray(receivers_m, np.float64)
    ray_m = np.asarray(transmitter_m, np.float64) - receivers_m
    length_m = np.linalg.norm(ray_m, axis=1)
    columns = {
        "power_db": -units.free_space_loss_db(1.0, frequency_hz) - 20.0 * np.log10(length_m),
        "delay_s": length_m / units.SPEED_OF_LIGHT_M_S,
        "zenith_rad": np.arccos(ray_m[:, 2] / length_m),
        "azimuth_rad": np.arctan2(ray_m[:, 1], ray_m[:, 0]),
        "kind": np.full(len(receivers_m), PathKind.LINE_OF_SIGHT),
        "valid": np.ones(len(receivers_m), bool),
    }
    columns = {name: values[:, None] for name, values in columns.items()}
    return PathTable(receivers_m, transmitter_m, frequency_hz, **columns)
