"""Writing DeepMIMO v4 folders that :func:`raymap.data.deepmimo.read` and the DeepMIMO package open."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raymap.data import deepmimo_format as layout
from raymap.data.channel import Channel
from raymap.data.deepmimo_format import Building, Pair
from raymap.scene import PathKind, Paths
from raymap.storage import write_text

#: The version whose layout is written.
_VERSION = "4.0.5"
_TX_SET, _RX_SET = 0, 1
#: One digit for each kind: Paths does not know how often a path met a wall.
_DIGIT_OF_KIND = {PathKind.LINE_OF_SIGHT: 0, **{kind: int(digit) for digit, kind in layout.KIND_OF_DIGIT.items()}}
#: The ground reaches so far beyond transmitters, receivers and buildings [m].
_GROUND_MARGIN_M = 40.0


def write(
    folder: str | Path,
    channels: Channel | Sequence[Channel],
    buildings: Sequence[Building] = (),
    *,
    ray_tracer: str = "raymap",
    ray_tracer_version: str = "",
) -> list[Pair]:
    """Write channels as a DeepMIMO folder: transmitter i is ``channels[i]``, all with the same receivers and frequency.

    Coordinates are taken as DeepMIMO's (x east, y north). Read back, paths are in order of falling power and agree with
    those given: kind and delay exactly, amplitude to 4·10⁻⁶ of itself, phase and angles to 5·10⁻⁷ rad, which is the
    rounding of dB and degrees to float32; an azimuth of −π comes back as π. Of the interactions only the deciding one
    is written, and bounce points are NaN: Paths holds neither. Receivers, transmitters, ``buildings`` and a flat ground
    below them make the scene; its one material is a placeholder.

    Returns the pairs. ``params.json`` is written last. Raises ValueError without a channel, for receivers or
    frequencies that differ, more than 25 paths (keep some with ``paths.strongest(25)``), a path below −590 dB, or a
    folder that holds a ``params.json``.
    """
    folder, channels = Path(folder), [channels] if isinstance(channels, Channel) else list(channels)
    _check(folder, channels)
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [Pair(_TX_SET, tx, _RX_SET) for tx in range(len(channels))]
    for pair, channel in zip(pairs, channels, strict=True):
        arrays = _arrays(channel.paths)
        arrays["rx_pos"], arrays["tx_pos"] = channel.receivers_m, channel.transmitter_m[None]
        for key, values in arrays.items():
            np.savez_compressed(folder / f"{key}_{pair}.npz", **{key: values.astype(np.float32)})
    objects, vertices_m = _scene(channels, buildings)
    np.savez_compressed(folder / f"{layout.VERTICES_KEY}.npz", **{layout.VERTICES_KEY: vertices_m.astype(np.float32)})
    write_text(folder / layout.OBJECTS_FILE, json.dumps(objects, indent=2))
    params = {
        "version": _VERSION,
        "rt_params": _rt_params(channels, ray_tracer, ray_tracer_version),
        "txrx_sets": _sets(channels),
        "materials": {"material_0": _MATERIAL},
        "scene": {
            "num_scenes": 1,
            "n_objects": len(objects),
            "n_vertices": len(vertices_m),
            "n_faces": sum(len(entry["face_vertex_idxs"]) for entry in objects),
            "n_triangular_faces": sum(max(len(f) - 2, 0) for entry in objects for f in entry["face_vertex_idxs"]),
            "representation": "hull",
        },
    }
    write_text(folder / layout.PARAMS_FILE, json.dumps(params, indent=2))
    return pairs


def _check(folder: Path, channels: Sequence[Channel]) -> None:
    if (folder / layout.PARAMS_FILE).exists():
        raise ValueError(f"{folder} already holds a {layout.PARAMS_FILE}; write to a new folder")
    if not channels or not len(channels[0].receivers_m):
        raise ValueError("a DeepMIMO folder needs at least one channel with one receiver")
    for number, channel in enumerate(channels):
        if not np.array_equal(channel.receivers_m, channels[0].receivers_m):
            raise ValueError(f"channel {number} has other receivers than channel 0; write it to a folder of its own")
        if channel.frequency_hz != channels[0].frequency_hz:
            raise ValueError(
                f"channel {number} is at {channel.frequency_hz:g} Hz, channel 0 at {channels[0].frequency_hz:g} Hz; "
                f"a folder has one frequency"
            )
        weakest_db = channel.paths.gain_db[channel.paths.valid].min(initial=0.0)
        if weakest_db < layout.MIN_POWER_DB:
            raise ValueError(f"channel {number} has a path of {weakest_db:g} dB, below {layout.MIN_POWER_DB:g} dB")
        most = int(channel.paths.valid.sum(1).max(initial=0))
        if most > layout.MAX_PATHS:
            raise ValueError(
                f"channel {number} has {most} paths at a receiver, DeepMIMO keeps {layout.MAX_PATHS}; "
                f"choose with paths.strongest({layout.MAX_PATHS})"
            )


def _arrays(paths: Paths) -> dict[str, np.ndarray]:
    """Everything per path as DeepMIMO stores it, (R, P) or (R, P, 1, 3), P ≥ 1, NaN behind the last path."""
    gain = paths.gain.astype(np.complex128)
    with np.errstate(divide="ignore"):
        power_db = (20.0 * np.log10(np.abs(gain))).astype(np.float32)
    # An amplitude of 1 in complex64 can be a step above it.
    power_db = np.minimum(power_db, 0.0)
    digits = np.array([_DIGIT_OF_KIND[kind] for kind in sorted(PathKind)])
    values = {
        "power": power_db,
        "phase": np.degrees(np.angle(gain)),
        "delay": paths.delay_s,
        "aoa_az": _azimuth_deg(paths.aoa_rad),
        "aoa_el": np.degrees(paths.aoa_rad[..., 1].astype(np.float64)),
        "aod_az": _azimuth_deg(paths.aod_rad),
        "aod_el": np.degrees(paths.aod_rad[..., 1].astype(np.float64)),
        "inter": digits[paths.kind],
    }
    order = np.argsort(np.where(paths.valid, -power_db, np.inf), axis=1, kind="stable")
    num = max(1, int(paths.valid.sum(1).max(initial=0)))
    stored = {}
    for key, array in values.items():
        ordered = np.take_along_axis(np.where(paths.valid, array, np.nan), order, 1)[:, :num]
        stored[key] = np.pad(ordered, ((0, 0), (0, num - ordered.shape[1])), constant_values=np.nan)
    stored["inter_pos"] = np.full((len(paths.valid), num, 1, 3), np.nan)
    return stored


def _azimuth_deg(angle_rad: np.ndarray) -> np.ndarray:
    """(R, P) in (−180, 180] of (azimuth, zenith) (R, P, 2) [rad]."""
    azimuth_deg = np.degrees(angle_rad[..., 0].astype(np.float64)).astype(np.float32)
    return np.where(azimuth_deg <= -180.0, np.float32(180.0), azimuth_deg)


def _scene(channels: Sequence[Channel], buildings: Sequence[Building]) -> tuple[list[dict[str, Any]], np.ndarray]:
    """objects.json, and the vertices (V, 3) [m] it counts: buildings as prisms, then the ground."""
    places = [channels[0].receivers_m[:, :2], *(channel.transmitter_m[None, :2] for channel in channels)]
    everything = np.concatenate([*places, *(building.corners_m for building in buildings)])
    (left, low), (right, high) = everything.min(0) - _GROUND_MARGIN_M, everything.max(0) + _GROUND_MARGIN_M
    base_m = min([0.0, *(building.base_m for building in buildings)])
    ground = Building("ground", np.array([(left, low), (right, low), (right, high), (left, high)]), base_m, base_m)
    objects, vertices, start = [], [], 0
    for number, prism in enumerate((*buildings, ground)):
        corners_m = np.asarray(prism.corners_m, np.float32)
        if corners_m.ndim != 2 or corners_m.shape[1] != 2 or len(corners_m) < 3:
            raise ValueError(f"building {prism.name!r}: corners_m must be (3 or more, 2), got {corners_m.shape}")
        flat, bottom = prism is ground, list(range(start, start + len(corners_m)))
        top = bottom if flat else [index + len(bottom) for index in bottom]
        sides = zip(bottom, bottom[1:] + bottom[:1], top[1:] + top[:1], top, strict=True)
        walls = [list(side[:2] if flat else side) for side in sides]
        faces = [bottom, top, *walls]
        label = "terrain" if flat else prism.label
        objects.append(
            {"name": prism.name, "label": label, "id": number, "face_vertex_idxs": faces,
             "face_material_idxs": [0] * len(faces)}
        )  # fmt: skip
        levels_m = [prism.base_m] if flat else [prism.base_m, prism.top_m]
        vertices += [np.column_stack([corners_m, np.full(len(corners_m), z_m)]) for z_m in levels_m]
        start += len(levels_m) * len(corners_m)
    return objects, np.concatenate(vertices)


def _sets(channels: Sequence[Channel]) -> dict[str, Any]:
    heard = np.any([channel.has_path for channel in channels], axis=0)
    transmitting = [bool(channel.has_path.any()) for channel in channels]
    counts = ((_TX_SET, "tx_array", len(channels), sum(transmitting)), (_RX_SET, "rx_array", len(heard), heard.sum()))
    return {
        f"txrx_set_{number}": {
            "name": name, "id_orig": number, "id": number, "is_tx": number == _TX_SET, "is_rx": number == _RX_SET,
            "num_points": num, "num_active_points": int(active), "num_ant": 1, "dual_pol": False,
            "ant_rel_positions": [[0.0], [0.0], [0.0]], "array_orientation": [0, 0, 0], "grid_spacing": None,
        }
        for number, name, num, active in counts
    }  # fmt: skip


def _rt_params(channels: Sequence[Channel], ray_tracer: str, version: str) -> dict[str, Any]:
    """What is known of the ray tracing: 1 where paths of a kind are present. Rays and depth are unknown: 0."""
    present = {kind: int(any((c.paths.kind[c.paths.valid] == kind).any() for c in channels)) for kind in PathKind}
    return {
        "raytracer_name": ray_tracer,
        "raytracer_version": version,
        "frequency": channels[0].frequency_hz,
        "max_path_depth": max(present[kind] for kind in PathKind if kind != PathKind.LINE_OF_SIGHT),
        "max_reflections": present[PathKind.REFLECTION],
        "max_diffractions": present[PathKind.DIFFRACTION],
        "max_scattering": present[PathKind.SCATTERING],
        "max_transmissions": present[PathKind.TRANSMISSION],
        "diffuse_reflections": 0,
        "diffuse_diffractions": 0,
        "diffuse_transmissions": 0,
        "diffuse_final_interaction_only": True,
        "diffuse_random_phases": False,
        "terrain_reflection": False,
        "terrain_diffraction": False,
        "terrain_scattering": False,
        "num_rays": 0,
        "ray_casting_method": "uniform",
        "synthetic_array": True,
        "ray_casting_range_az": 360,
        "ray_casting_range_el": 180,
        "gps_bbox": [0, 0, 0, 0],
        "raw_params": {},
    }


_MATERIAL = {
    "id": 0, "name": "material_0", "permittivity": 1.0, "conductivity": 0.0, "scattering_model": "none",
    "scattering_coefficient": 0.0, "cross_polarization_coefficient": 0.0, "alpha_r": 0.0, "alpha_i": 0.0,
    "lambda_param": 0.0, "roughness": 0.0, "thickness": 0.0, "vertical_attenuation": 0.0,
    "horizontal_attenuation": 0.0, "itu_a": None, "itu_b": None, "itu_c": None, "itu_d": None,
}  # fmt: skip
