"""Columns of maps in physical units: made from scenes, completed by physics, and turned into what networks see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from raymap import units
from raymap.data.batch import MapBatch, MultipathBatch
from raymap.data.measurements import Measurements
from raymap.physics import eikonal, obstruction, pathloss, roof_diffraction, street_way, visibility
from raymap.propagation import dominant_path
from raymap.scene import Grid, RadioMap, Scene, Transmitter

#: Raster, its column, and the amount that becomes 0 in a network: 2 buildings, 25 m inside them, ...
_AMOUNTS = (
    ("crossed", "crossed", 2.0), ("thickness", "thickness_m", 25.0), ("shadow", "shadow_m", 50.0),
    ("detour", "detour_m", 25.0), ("soft_detour", "soft_detour_m", 25.0), ("roof_loss", "roof_loss_db", 20.0),
    ("roof_cascade", "roof_cascade_db", 40.0), ("turning", "turning_deg", 60.0),
    ("vehicle_thickness", "vehicle_thickness_m", 5.0),
)  # fmt: skip
#: How many times its thickness a wall counts in ``soft_detour``: few, so that thin ones are crossed.
SOFT_INDEX = 3.0


def scene_columns(scenes: Sequence[Scene], transmitters: Sequence[Transmitter]) -> dict[str, np.ndarray]:
    """Pairs of scene and transmitter as the columns that shards hold, without a gain.

    Raises ValueError if the scenes do not share one shape and cell size, or a transmitter is outside or in a building.
    """
    if not scenes or len(scenes) != len(transmitters):
        raise ValueError(
            f"need one transmitter per scene, got {len(scenes)} scenes and {len(transmitters)} transmitters"
        )
    first = scenes[0].grid
    for scene, transmitter in zip(scenes, transmitters, strict=True):
        if scene.grid.shape != first.shape or scene.grid.cell_m != first.cell_m:
            raise ValueError(
                f"scenes of one batch must share a grid: {scenes[0].name!r} has {first.shape} at {first.cell_m} m, "
                f"{scene.name!r} has {scene.grid.shape} at {scene.grid.cell_m} m"
            )
        scene.require_outdoor(transmitter)
    return {
        "scene": np.array([scene.name for scene in scenes], dtype=object),
        "cell_m": np.array([scene.grid.cell_m for scene in scenes], np.float32),
        "frequency_hz": np.array([scene.frequency_hz for scene in scenes], np.float64),
        "tx_xyz_m": np.array([transmitter.xyz_m for transmitter in transmitters], np.float64),
        "building_m": np.stack([scene.building_m for scene in scenes]),
        "vehicle_m": np.stack([scene.vehicle_m for scene in scenes]),
    }


def add_physics(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Adds what lies between the transmitter and each cell, each (B, H, W): ``line_of_sight`` bool, ``crossed``,
    ``thickness_m``, ``shadow_m``, ``detour_m`` (infinite where no way leads), ``soft_detour_m``, ``turning_deg`` (as
    ``detour_m``), ``roof_loss_db``, ``roof_cascade_db``, ``roof_rise_deg``, ``roof_fall_deg``, ``vehicle_thickness_m``.

    From ``building_m`` and ``vehicle_m`` (B, H, W), ``tx_xyz_m`` (B, 3), ``cell_m`` (B,), ``frequency_hz`` (B,).
    """
    blocked = columns["building_m"] > 0
    cell_m = float(columns["cell_m"][0])
    rows_cols = (columns["tx_xyz_m"][:, 1::-1] / columns["cell_m"][:, None]).astype(np.float64)
    vehicle = columns["vehicle_m"] > 0
    over_roofs = roof_diffraction.roof_loss_batch(
        columns["building_m"], rows_cols, cell_m, columns["tx_xyz_m"][:, 2], columns["frequency_hz"]
    )
    return {
        **columns,
        "line_of_sight": visibility.line_of_sight_batch(blocked, rows_cols),
        **obstruction.obstruction_batch(blocked, rows_cols, cell_m)._asdict(),
        "detour_m": eikonal.detour_batch(blocked, rows_cols, cell_m),
        "soft_detour_m": eikonal.detour_batch(blocked, rows_cols, cell_m, index=SOFT_INDEX),
        "turning_deg": street_way.turning_batch(blocked, rows_cols),
        "roof_loss_db": over_roofs.bullington_db,
        "roof_cascade_db": over_roofs.cascaded_db,
        "roof_rise_deg": over_roofs.rise_deg,
        "roof_fall_deg": over_roofs.fall_deg,
        "vehicle_thickness_m": (
            obstruction.obstruction_batch(vehicle, rows_cols, cell_m).thickness_m
            if vehicle.any()
            else np.zeros(vehicle.shape, np.float32)
        ),
    }


def add_dominant_path(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Adds ``dominant_path_db`` (B, H, W) float32: gain of the strongest path alone, the floor indoors [dB].

    From ``building_m`` and ``vehicle_m`` (B, H, W), ``tx_xyz_m`` (B, 3), ``cell_m`` (B,), ``frequency_hz`` (B,). Costs
    what all of :func:`add_physics` costs, or more; rows of one scene should follow each other, for they share the work
    on its buildings.
    Raises ValueError for a transmitter outside the map or inside a building.
    """
    grid = Grid(columns["building_m"].shape[1:], float(columns["cell_m"][0]))
    solved = []
    for index, xyz_m in enumerate(columns["tx_xyz_m"]):
        heights_m = (columns["building_m"][index], columns["vehicle_m"][index])
        scene = Scene(f"row {index}", grid, *heights_m, float(columns["frequency_hz"][index]))
        solved.append(dominant_path.solve(scene, Transmitter(tuple(xyz_m))).gain_db)
    return {**columns, "dominant_path_db": np.stack(solved)}


def from_columns(columns: Mapping[str, np.ndarray]) -> MapBatch:
    """Physical columns (B, ...) to network values; ``gain_db``, ``valid``, ``outline``, ``outline_predicted``,
    ``samples_db``, ``sampled`` if there.

    Cells whose true gain is not valid (buildings) become the floor, g = 0, as in the field's pictures. With
    ``dominant_path_db`` (:func:`add_dominant_path`) the batch is a :class:`MultipathBatch`.
    """
    building_m = columns["building_m"]
    cell_m = float(columns["cell_m"][0])
    tx = np.full(building_m.shape, -1.0, np.float32)
    log_distance = np.empty(building_m.shape, np.float32)
    for index, (x_m, y_m, _height_m) in enumerate(columns["tx_xyz_m"]):
        tx[index, int(y_m / cell_m), int(x_m / cell_m)] = 1.0
        distance_m = pathloss.distance_m(building_m.shape[1:], cell_m, (float(x_m), float(y_m)))
        gain_db = pathloss.free_space_gain_db(distance_m, float(columns["frequency_hz"][index]))
        log_distance[index] = units.signal_from_gain_db(gain_db)
    rasters = {
        "building": units.signal_from_height_m(building_m),
        "vehicle": units.signal_from_height_m(columns["vehicle_m"]),
        "tx": tx,
        "line_of_sight": units.signal_from_grey(columns["line_of_sight"].astype(np.float32)),
        "log_distance": log_distance,
    }
    for name, column, middle in _AMOUNTS:
        if column in columns:
            rasters[name] = units.signal_from_amount(columns[column], middle)
    for name in ("roof_rise", "roof_fall"):
        if f"{name}_deg" in columns:
            rasters[name] = units.signal_from_angle_deg(columns[f"{name}_deg"])
    if "gain_db" in columns:
        valid = columns["valid"].astype(bool)
        rasters["gain"] = units.signal_from_gain_db(np.where(valid, columns["gain_db"], units.GAIN_FLOOR_DB))
        rasters["valid"] = valid
    for name in ("outline", "outline_predicted"):
        if name in columns:
            rasters[name] = units.signal_from_grey(columns[name].astype(np.float32))
    if "sampled" in columns:
        measured = columns["sampled"].astype(bool)
        rasters["sampled"] = units.signal_from_grey(measured.astype(np.float32))
        rasters["samples"] = np.where(measured, units.signal_from_gain_db(columns["samples_db"]), np.float32(0.0))
    kind = MapBatch
    if "dominant_path_db" in columns:
        kind, rasters["dominant_path"] = MultipathBatch, units.signal_from_gain_db(columns["dominant_path_db"])
    return kind(cell_m=cell_m, **{name: _tensor(raster) for name, raster in rasters.items()})


def _tensor(raster: np.ndarray) -> torch.Tensor:
    kind = bool if raster.dtype == bool else np.float32
    return torch.from_numpy(np.array(raster, dtype=kind, order="C"))[:, None]


def from_scenes(
    scenes: Sequence[Scene],
    transmitters: Sequence[Transmitter],
    *,
    dominant_path: bool = False,
    measurements: Sequence[Measurements] | None = None,
) -> MapBatch:
    """A batch to predict from; nothing in it comes from a true map. Errors as :func:`scene_columns`.

    ``dominant_path``: a :class:`MultipathBatch`, for models that read the dominant-path map. ``measurements``: what was
    measured of each map, for models that read it; errors as :meth:`Measurements.raster`.
    """
    columns = add_physics(scene_columns(scenes, transmitters))
    if measurements is not None:
        rasters = [one.raster(scene) for one, scene in zip(measurements, scenes, strict=True)]
        samples_db, sampled = (np.stack(part) for part in zip(*rasters, strict=True))
        columns |= {"samples_db": samples_db, "sampled": sampled}
    return from_columns(add_dominant_path(columns) if dominant_path else columns)


def to_radio_maps(signal: torch.Tensor, batch: MapBatch) -> list[RadioMap]:
    """Predicted (B, 1, H, W) in [-1, 1] to radio maps [dB], valid outdoors."""
    gain_db = units.gain_db_from_signal(signal.float().cpu().numpy()[:, 0])
    return [RadioMap(gain, outdoor) for gain, outdoor in zip(gain_db, batch.outdoor.cpu().numpy()[:, 0], strict=True)]
