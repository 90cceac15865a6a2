"""Columns of maps in physical units: made from scenes, and completed by physics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from raymap.physics import eikonal, obstruction, roof_diffraction, street_way, visibility
from raymap.propagation import dominant_path
from raymap.scene import Grid, Scene, Transmitter

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
