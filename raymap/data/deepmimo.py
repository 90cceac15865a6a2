"""DeepMIMO v4 folders (DeepMIMO 4.0.5 and Sionna RT make them): reading, with every unit settled at the door.

    in the folder                                          here (:class:`raymap.scene.Paths`)
    power [dB path gain] and phase [°]                     complex amplitude, |gain|² = 10^(power/10)
    delay [s]                                              the same
    azimuth (−180, 180] and "elevation" 0..180 [°]         azimuth (−π, π] and zenith [0, π] [rad]
    inter, a decimal digit per interaction                 one PathKind: diffraction, else scattering, ...
    NaN behind the last path; a row of NaN                 valid; a receiver without any path

**Axes.** DeepMIMO's world is x east, y north, z up, and azimuth turns from +x towards +y. Positions and angles keep
these numbers, no sign is changed: :class:`Paths` measures azimuth from +x towards +y *of the same axes*. A raster of
such receivers (:func:`raymap.data.channel.to_radio_map`) has row 0 at the lowest y, so its picture shows south at the
top; that is a choice of picture, and all of raymap's geometry holds in it.

**Phase** is the file's. Sionna RT's converter leaves out the delay's −2πfτ (a line of sight has phase 0), so a channel
at frequency f is Σ gain·exp(−2πj f τ).

**Bounce points** (``inter_pos``) and the number of interactions are not read: Paths does not hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from raymap import units
from raymap.data import deepmimo_format as layout
from raymap.data.channel import Channel
from raymap.data.deepmimo_format import Building, Pair
from raymap.data.deepmimo_write import write
from raymap.scene import PathKind, Paths

__all__ = ["Building", "Pair", "buildings", "made_with", "pairs", "read", "write"]

#: What a value per path may be. A delay above a second would be nanoseconds taken for seconds.
_RANGES = {
    "power": (layout.MIN_POWER_DB, 0.0), "phase": (-np.inf, np.inf), "delay": (0.0, 1.0), "aoa_az": (-180.0, 180.0),
    "aod_az": (-180.0, 180.0), "aoa_el": (0.0, 180.0), "aod_el": (0.0, 180.0), "inter": (0.0, 2.0**53),
}  # fmt: skip
#: Angles that were rounded to float32 on their way may pass their end by so much; azimuths turn over, zeniths stop [°].
_SLACK_DEG = 1e-4


def pairs(folder: str | Path) -> list[Pair]:
    """Sorted (tx_set, tx, rx_set) of all pairs with files; each can be given to :func:`read`, which checks it.

    Raises FileNotFoundError if there is no such folder.
    """
    return layout.found(Path(folder))


def read(folder: str | Path, tx_set: int | None = None, tx: int = 0, rx_set: int | None = None) -> Channel:
    """The paths from one transmitter to a set of receivers, positions [m], frequency [Hz].

    ``tx_set``, ``rx_set``: ids of ``txrx_sets``; may be left out where files leave one choice (receivers that are not
    the set of transmitters itself go first). Paths are ordered by falling power, whatever their order in the file.

    Raises FileNotFoundError for a missing file. Raises ValueError, naming the file, for JSON or arrays that cannot be
    read, shapes that disagree, another pattern of NaN than that of ``power``, power above 0 dB, a value outside the
    ranges above, interaction digits other than 0 alone or 1 to 4, or a set that may not transmit or receive.
    """
    folder = Path(folder)
    params = layout.read_json(folder / layout.PARAMS_FILE, dict)
    frequency_hz, sets = _frequency_hz(folder, params), _sets(folder, params)
    pair = _choose(folder, sets, tx_set, tx, rx_set)
    transmitter_m, receivers_m = _positions(folder, pair)
    values, valid = _per_path(folder, pair, len(receivers_m))
    order = np.argsort(np.where(valid, -values["power"], np.inf), axis=1, kind="stable")
    values = {key: np.take_along_axis(array, order, 1) for key, array in values.items()}
    paths = Paths(
        gain=_gain(values["power"], values["phase"]),
        delay_s=values["delay"],
        aoa_rad=_direction(values["aoa_az"], values["aoa_el"]),
        aod_rad=_direction(values["aod_az"], values["aod_el"]),
        kind=values["inter"],
        valid=np.take_along_axis(valid, order, 1),
    )
    return Channel(paths, receivers_m, transmitter_m, frequency_hz)


def made_with(folder: str | Path) -> str:
    """Name and version of the ray tracer in params.json. Raises FileNotFoundError or ValueError if it is no JSON."""
    about = layout.read_json(Path(folder) / layout.PARAMS_FILE, dict).get("rt_params")
    known = about if isinstance(about, dict) else {}
    words = (known.get("raytracer_name"), known.get("raytracer_version"))
    return " ".join(str(word) for word in words if word) or "an unnamed ray tracer"


def _frequency_hz(folder: Path, params: Mapping[str, Any]) -> float:
    version = params.get("version", "4")
    if str(version).split(".")[0] != "4":
        raise ValueError(f"{folder / layout.PARAMS_FILE}: version is {version!r}; DeepMIMO 4 is read here")
    about = params.get("rt_params")
    frequency_hz = about.get("frequency") if isinstance(about, dict) else None
    number = isinstance(frequency_hz, int | float) and not isinstance(frequency_hz, bool)
    if not (number and 0 < frequency_hz <= 1e15):
        raise ValueError(f"{folder / layout.PARAMS_FILE}: rt_params.frequency must be in Hz, found {frequency_hz!r}")
    return float(frequency_hz)


def _sets(folder: Path, params: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """id to the entry of every set of antennas."""
    path, sets = folder / layout.PARAMS_FILE, params.get("txrx_sets")
    if not isinstance(sets, dict) or not sets:
        raise ValueError(f"{path}: txrx_sets must list the sets of transmitters and receivers")
    known: dict[int, Mapping[str, Any]] = {}
    for name, entry in sets.items():
        if not isinstance(entry, dict) or type(entry.get("id")) is not int or entry["id"] in known:
            raise ValueError(f"{path}: txrx_sets.{name} needs an id of its own, a number")
        if not (type(entry.get("is_tx")) is bool and type(entry.get("is_rx")) is bool):
            raise ValueError(f"{path}: txrx_sets.{name} must say is_tx and is_rx, true or false")
        known[entry["id"]] = entry
    return known


def _choose(folder: Path, sets: Mapping[int, Mapping], tx_set: int | None, tx: int, rx_set: int | None) -> Pair:
    """The pair meant by the arguments of :func:`read`, checked against the sets that params.json declares."""
    if tx_set is None or rx_set is None:
        fitting = {
            (pair.tx_set, pair.rx_set)
            for pair in layout.found(folder)
            if pair.tx == tx and tx_set in (None, pair.tx_set) and rx_set in (None, pair.rx_set)
        }
        fitting = {ids for ids in fitting if ids[0] != ids[1]} or fitting
        if len(fitting) != 1:
            there = ", ".join(map(str, layout.found(folder)[:8])) or "none"
            raise ValueError(
                f"{folder}: {len(fitting)} pairs fit tx_set={tx_set}, tx={tx}, rx_set={rx_set}; pairs are {there}"
            )
        ((tx_set, rx_set),) = fitting
    for number, role in ((tx_set, "is_tx"), (rx_set, "is_rx")):
        if number not in sets:
            raise ValueError(f"{folder / layout.PARAMS_FILE}: no set {number} in txrx_sets; there are {sorted(sets)}")
        if not sets[number][role]:
            raise ValueError(f"{folder / layout.PARAMS_FILE}: set {number} says {role} false")
    return Pair(tx_set, tx, rx_set)


def _positions(folder: Path, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Transmitter (3,) and receivers (R, 3), float32 [m]."""
    positions = []
    for key, shape in (("tx_pos", "(1, 3)"), ("rx_pos", "(receivers, 3)")):
        path = layout.locate(folder, f"{key}_{pair}")
        array = layout.read_array(path, key)
        if key == "tx_pos":
            array = array.reshape(1, -1)
        if array.ndim != 2 or array.shape[1] != 3 or not len(array):
            raise ValueError(f"{path}: {key} has shape {array.shape}, expected {shape}")
        # Coordinates of maps in metres reach 10⁷; float32 holds them all, so only nonsense fails here.
        if not (np.isfinite(array).all() and np.abs(array).max() < 1e9):
            raise ValueError(f"{path}: {key} must be finite positions in metres")
        positions.append(array.astype(np.float32))
    return positions[0][0], positions[1]


def _per_path(folder: Path, pair: Pair, num_receivers: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """All arrays (R, P) as float64, kinds instead of interactions, and which entries are paths."""
    values: dict[str, np.ndarray] = {}
    valid = np.empty((0, 0), bool)
    for key in layout.PER_PATH:
        path = layout.locate(folder, f"{key}_{pair}")
        stored = layout.read_array(path, key)
        shape = values["power"].shape if values else (num_receivers, *stored.shape[1:2])
        if stored.ndim != 2 or stored.shape != shape:
            reference = "power" if values else "rx_pos"
            raise ValueError(f"{path}: {key} has shape {stored.shape}, {reference} wants {shape} (receivers, paths)")
        array = stored.astype(np.float64)
        if not values:
            valid = ~np.isnan(array)
        _check_values(path, key, array, valid)
        values[key] = _kinds(path, stored, valid) if key == "inter" else np.where(valid, array, 0.0)
    return values, valid


def _check_values(path: Path, key: str, array: np.ndarray, valid: np.ndarray) -> None:
    stray = np.argwhere(np.isnan(array) == valid)
    if len(stray):
        receiver, number = stray[0]
        where, there = ("NaN", "a number") if valid[receiver, number] else ("a number", "NaN")
        raise ValueError(
            f"{path}: {len(stray)} entries of {key} are NaN where power is not, or not where it is; "
            f"receiver {receiver}, path {number} is {where} where power is {there}"
        )
    low, high = _RANGES[key]
    slack = _SLACK_DEG if key.endswith(("az", "el")) else 0.0
    wrong = valid & ~(np.isfinite(array) & (array >= low - slack) & (array <= high + slack))
    if wrong.any():
        receiver, number = np.argwhere(wrong)[0]
        raise ValueError(
            f"{path}: {key} must lie in [{low:g}, {high:g}] ({layout.PER_PATH[key]}); receiver {receiver}, path "
            f"{number} has {array[receiver, number]:g}, and {int(wrong.sum())} such paths there are"
        )


def _kinds(path: Path, stored: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(R, P) int8 :class:`PathKind` of interactions: 0 alone is line of sight, else the digit that decides."""
    codes, place = np.unique(stored[valid].astype(np.float64), return_inverse=True)
    exact = 2.0 ** (np.finfo(stored.dtype).nmant + 1) if stored.dtype.kind == "f" else np.inf
    kinds = np.array([_kind(path, float(code), exact) for code in codes], np.int8)
    values = np.zeros(valid.shape, np.int8)
    values[valid] = kinds[place]
    return values


def _kind(path: Path, code: float, exact: float) -> PathKind:
    if code > exact:
        raise ValueError(f"{path}: inter {code:.0f} is more than its number type holds exactly ({exact:.0f})")
    digits = f"{code:.0f}"
    if not code.is_integer() or (set(digits) - set(layout.KIND_OF_DIGIT) and digits != "0"):
        raise ValueError(
            f"{path}: inter {code:g} is no row of interactions: 0 alone (line of sight), or the digits 1 reflection, "
            f"2 diffraction, 3 scattering, 4 transmission"
        )
    return next((kind for digit, kind in layout.KIND_OF_DIGIT.items() if digit in digits), PathKind.LINE_OF_SIGHT)


def _gain(power_db: np.ndarray, phase_deg: np.ndarray) -> np.ndarray:
    """(R, P) complex64 amplitudes."""
    gain = (np.sqrt(units.linear_from_db(power_db)) * np.exp(1j * np.radians(phase_deg))).astype(np.complex64)
    # Rounding both parts of a path of 0 dB can lift its amplitude one step above 1, which Paths refuses.
    above = np.abs(gain) > 1
    gain[above] *= np.float32(1 - 2.0**-22)
    return gain


def _direction(azimuth_deg: np.ndarray, zenith_deg: np.ndarray) -> np.ndarray:
    """(R, P, 2) float32 [rad]: azimuth in (−π, π], zenith in [0, π]. 180° becomes the π of float32."""
    azimuth_deg = np.where(azimuth_deg <= -180.0, azimuth_deg + 360.0, azimuth_deg)
    azimuth_deg = np.where(azimuth_deg > 180.0, azimuth_deg - 360.0, azimuth_deg)
    return np.radians(np.stack([azimuth_deg, np.clip(zenith_deg, 0.0, 180.0)], -1)).astype(np.float32)


def buildings(folder: str | Path) -> list[Building]:
    """Everything in ``objects.json`` that stands on the ground, as prisms (vehicles too; terrain is left out).

    DeepMIMO keeps hulls: the footprint is the lowest horizontal face. Raises FileNotFoundError for a missing file, and
    ValueError, naming it, for indices that point nowhere, or an object without a horizontal face at its foot.
    """
    folder = Path(folder)
    path = folder / layout.OBJECTS_FILE
    objects = layout.read_json(path, list)
    vertices_path = layout.locate(folder, layout.VERTICES_KEY)
    vertices_m = layout.read_array(vertices_path, layout.VERTICES_KEY)
    if vertices_m.ndim != 2 or vertices_m.shape[1] != 3 or not np.isfinite(vertices_m).all():
        raise ValueError(f"{vertices_path}: expected finite (vertices, 3) in metres, found {vertices_m.shape}")
    terrain = [isinstance(entry, dict) and entry.get("label") == "terrain" for entry in objects]
    return [_building(path, n, entry, vertices_m) for n, entry in enumerate(objects) if not terrain[n]]


def _building(path: Path, number: int, entry: Any, vertices_m: np.ndarray) -> Building:
    faces = entry.get("face_vertex_idxs") if isinstance(entry, dict) else None
    if not isinstance(faces, list) or not faces or not all(isinstance(face, list) and face for face in faces):
        raise ValueError(f"{path}: object {number} needs face_vertex_idxs, lists of vertices")
    indices = {index for face in faces for index in face if type(index) is int and 0 <= index < len(vertices_m)}
    if not all(type(index) is int and index in indices for face in faces for index in face):
        raise ValueError(f"{path}: object {number} has vertices that are not among the {len(vertices_m)}")
    height_m = vertices_m[sorted(indices), 2]
    base_m, top_m = float(height_m.min()), float(height_m.max())
    floors = [face for face in faces if len(face) >= 3 and np.all(vertices_m[face, 2] == height_m.min())]
    if not floors or top_m <= base_m:
        raise ValueError(f"{path}: object {number} ({entry.get('name')!r}) is not a prism on a horizontal floor")
    corners_m = vertices_m[floors[0], :2].astype(np.float32)
    return Building(str(entry.get("name")), corners_m, base_m, top_m, str(entry.get("label")))
