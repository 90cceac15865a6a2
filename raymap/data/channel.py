"""The channel at points: everything that reaches many receivers from one transmitter, checked, and as a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raymap import units
from raymap.scene import Grid, PathKind, Paths, RadioMap, Transmitter


@dataclass(frozen=True, eq=False)
class Channel:
    """Everything that reaches R receivers from one transmitter.

    ``paths``: of R receivers. ``receivers_m``: (R, 3) and ``transmitter_m``: (3,) float32, x, y, z [m], in one world
    whose x and y also are those that the azimuths of ``paths`` turn between. ``frequency_hz`` [Hz]. Raises ValueError
    for shapes that disagree, positions that are not finite, or a frequency that is not positive.
    """

    paths: Paths
    receivers_m: np.ndarray
    transmitter_m: np.ndarray
    frequency_hz: float

    def __post_init__(self) -> None:
        for name, shape in (("receivers_m", (len(self.paths.valid), 3)), ("transmitter_m", (3,))):
            array = np.ascontiguousarray(getattr(self, name), np.float32)
            if array.shape != shape:
                raise ValueError(f"Channel.{name} has shape {array.shape}, expected {shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"Channel.{name} holds {int((~np.isfinite(array)).sum())} values that are not finite")
            object.__setattr__(self, name, array)
        if not (np.isfinite(self.frequency_hz) and self.frequency_hz > 0):
            raise ValueError(f"Channel.frequency_hz must be positive, got {self.frequency_hz}")
        object.__setattr__(self, "frequency_hz", float(self.frequency_hz))

    @property
    def has_path(self) -> np.ndarray:
        """(R,) bool, True where at least one path arrives."""
        return self.paths.valid.any(1)

    @property
    def power_db(self) -> np.ndarray:
        """(R,) float32, path gain summed over the powers of all paths [dB]; −inf without a path."""
        power = (np.abs(self.paths.gain.astype(np.complex128)) ** 2).sum(1)
        with np.errstate(divide="ignore"):
            return (10.0 * np.log10(power)).astype(np.float32)


def to_radio_map(channel: Channel) -> tuple[Grid, Transmitter, RadioMap]:
    """The map of a channel whose receivers lie on a regular grid, at one height: the sum of the paths' powers.

    Row 0 holds the lowest y. Places of the grid without a receiver are not valid; receivers without a path are, at
    −147 dB or at the weakest gain of the others, whichever is lower. The transmitter is counted from the grid's corner.
    Raises ValueError if the receivers do not lie on square cells at one height, if two share a cell, or if a sum of
    powers is above 0 dB.
    """
    x, y, z = channel.receivers_m.astype(np.float64).T
    if np.ptp(z) > 1e-3:
        raise ValueError(f"receivers lie between {z.min():g} and {z.max():g} m high; a map has one height")
    steps = np.concatenate([np.diff(np.unique(values)) for values in (x, y)])
    # Coordinates in float32 differ by rounding: neighbours are those at least a millimetre apart.
    steps = steps[steps > 1e-3]
    if not steps.size:
        raise ValueError("a map needs receivers at more than one place")
    cell_m = float(steps.min())
    columns, rows = ((values - values.min()) / cell_m for values in (x, y))
    off = max(np.abs(columns - np.rint(columns)).max(), np.abs(rows - np.rint(rows)).max())
    if off > 0.01:
        raise ValueError(f"receivers do not lie on a grid of {cell_m:g} m: one is {off * cell_m:.3g} m off")
    cells = np.stack([np.rint(rows), np.rint(columns)], 1).astype(np.int64)
    shape = (int(cells[:, 0].max()) + 1, int(cells[:, 1].max()) + 1)
    if shape[0] * shape[1] > 1000 * len(cells):
        raise ValueError(f"{len(cells)} receivers on a grid of {shape} cells of {cell_m:g} m are no map")
    if len(np.unique(cells, axis=0)) != len(cells):
        raise ValueError(f"two receivers share a cell of {cell_m:g} m")
    floor_db = channel.power_db[channel.has_path].min(initial=units.GAIN_FLOOR_DB)
    gain_db, valid = np.full(shape, floor_db, np.float32), np.zeros(shape, bool)
    gain_db[tuple(cells.T)] = np.where(channel.has_path, channel.power_db, floor_db)
    valid[tuple(cells.T)] = True
    grid = Grid(shape, cell_m, (float(x.min()) - cell_m / 2, float(y.min()) - cell_m / 2))
    place = (*(channel.transmitter_m[:2].astype(np.float64) - grid.origin_m), channel.transmitter_m[2])
    return grid, Transmitter(place), RadioMap(gain_db, valid)


def check_line_of_sight(channel: Channel, max_angle_deg: float = 1.0, max_delay_s: float = 2e-9) -> int:
    """Compares the lines of sight with the positions: both directions [°], and the delay with distance/c [s].

    Catches what no range can: radians for degrees, elevation from the horizon, swapped ends or axes, scaled delays.
    Returns how many were compared; receivers within a metre are left out. Raises ValueError for the worst one that is
    off by more than allowed.
    """
    ray_m = channel.receivers_m.astype(np.float64) - channel.transmitter_m
    distance_m = np.linalg.norm(ray_m, axis=1)
    paths = channel.paths
    receiver, number = np.nonzero(paths.valid & (paths.kind == PathKind.LINE_OF_SIGHT) & (distance_m > 1.0)[:, None])
    if not len(receiver):
        return 0
    straight = ray_m[receiver] / distance_m[receiver, None]
    wrong_s = np.abs(paths.delay_s[receiver, number] - distance_m[receiver] / units.SPEED_OF_LIGHT_M_S)
    found = {"delay [s]": (wrong_s, max_delay_s)}
    for name, angles, sign in (("departure [°]", paths.aod_rad, 1), ("arrival [°]", paths.aoa_rad, -1)):
        cosine = np.sum(_unit_vector(angles[receiver, number]) * straight * sign, axis=1)
        found[name] = (np.degrees(np.arccos(np.clip(cosine, -1, 1))), max_angle_deg)
    for name, (error, allowed) in found.items():
        if error.max() > allowed:
            worst = int(error.argmax())
            raise ValueError(
                f"the line of sight to receiver {receiver[worst]} is off by {error[worst]:.3g} in {name}, at most "
                f"{allowed:g} is allowed: are all units, axes and ends right?"
            )
    return len(receiver)


def _unit_vector(angle_rad: np.ndarray) -> np.ndarray:
    """(N, 3) of (azimuth, zenith) (N, 2) [rad]."""
    azimuth, zenith = angle_rad.astype(np.float64).T
    return np.stack([np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)], 1)
