"""True ray tracing with Sionna RT (the ``[sionna]`` extra): radio maps and multipath of any scene, city or room.

    from raymap.propagation import ray_tracing
    found = ray_tracing.paths("munich", transmitter, receivers_m, num_paths=5)
    radio_map = ray_tracing.solve(scene, transmitter)

Sionna's ``PathSolver`` (image method) finds exact paths from a transmitter to points. Antennas are isotropic and
vertically polarised. Sionna's world has y to the north: a place (x, y, z) of the map is (x, −y, z) there, in both
directions without rounding.

It runs on the GPU where there is one, else on LLVM (see `sionna_doctor`). Results repeat with the seed up to the last
bits. Dr.Jit takes all cores; in a worker call ``drjit.set_thread_count(1)``. Memory grows a little with every scene, so
recycle workers after some tens of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raymap import units
from raymap.propagation import meshes, sionna_batches, sionna_paths
from raymap.propagation.meshes import Materials, MeshScene
from raymap.propagation.sionna_doctor import doctor, prepare
from raymap.scene import Paths, RadioMap, Scene, Transmitter, Vehicle

__all__ = ["Options", "doctor", "paths", "solve", "to_sionna"]

#: Mean distance of a square's points from its centre, in sides.
_BESIDE_CELLS = 0.38


@dataclass(frozen=True)
class Options:
    """What is traced, and how finely.

    ``max_depth``: most interactions on a path. ``num_rays``: shot to find candidates; 3,000 is quick, 30,000 good.
    ``scattering_coefficient``: share S of the reflected amplitude that every surface scatters diffusely
    (Lambertian); 0 traces none. ``refraction``: paths through walls, which outdoors lead through houses as if they
    were hollow. Diffraction is of first order, and in deep shadow not reciprocal (Sionna's coefficient of a lossy
    wedge). ``batch_size``: receivers traced at once; ``max_candidates``: room for the candidates of a batch.

    Raises ValueError for numbers out of range.
    """

    max_depth: int = 3
    num_rays: int = 10_000
    reflection: bool = True
    diffraction: bool = True
    scattering_coefficient: float = 0.0
    refraction: bool = False
    seed: int = 1
    batch_size: int = 512
    max_candidates: int = 1_000_000

    def __post_init__(self) -> None:
        for name, low in (("max_depth", 0), ("num_rays", 1), ("seed", 0), ("batch_size", 1), ("max_candidates", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"Options.{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 <= self.scattering_coefficient <= 1:
            raise ValueError(f"Options.scattering_coefficient must lie in [0, 1], got {self.scattering_coefficient}")


def to_sionna(
    scene: Scene | MeshScene | str,
    vehicles: Sequence[Vehicle] | None = None,
    materials: Materials | None = None,
    scattering_coefficient: float = 0.0,
):
    """A ``sionna.rt.Scene`` of a raster scene, of meshes, or of a city of the wheel by its name.

    ``vehicles`` and ``materials`` belong to raster scenes, see `meshes.extrude`. The frequency is the scene's (3.5 GHz
    for a city by name). The scene has one mesh per material and single antennas, and no devices yet. Raises
    ImportError and RuntimeError as `doctor` does, ValueError for materials that ITU-R P.2040 does not list or not at
    this frequency, and for vehicles or materials of a scene that is no raster.
    """
    if isinstance(scene, Scene):
        scene = meshes.extrude(scene, vehicles, materials)
    elif vehicles is not None or materials is not None:
        raise ValueError("vehicles and materials can be given for a raster Scene only; meshes carry their own")
    if isinstance(scene, str):
        scene = meshes.city(scene)
    rt = prepare()
    world = rt.load_scene(None)
    world.frequency = scene.frequency_hz
    slabs = {}
    for mesh in scene.meshes:
        key = mesh.material, mesh.thickness_m
        if key not in slabs:
            name = f"itu-{mesh.material}-{mesh.thickness_m:g}"
            slabs[key] = rt.ITURadioMaterial(
                name, mesh.material, mesh.thickness_m, scattering_coefficient=scattering_coefficient
            )
    world.edit(add=[_scene_object(rt, mesh, slabs[mesh.material, mesh.thickness_m]) for mesh in scene.meshes])
    world.tx_array = world.rx_array = _antenna(rt)
    return world


def paths(
    scene,
    transmitter: Transmitter,
    receivers_m: np.ndarray,
    num_paths: int = 5,
    *,
    options: Options | None = None,
) -> Paths:
    """The strongest paths from a transmitter to every receiver.

    ``scene``: what :func:`to_sionna` takes, or a ``sionna.rt.Scene``, to trace in it repeatedly or with own materials.
    ``receivers_m``: (R, 3) places on the map, x, y, height above ground [m]. Returns `Paths` (R, ``num_paths``); their
    phase is that of the baseband channel, carrier included, so Σ gain·δ(t − delay) is the impulse response. A receiver
    inside a body has no paths. Raises ValueError for receivers that are not finite (R, 3) and for a transmitter inside
    a building, and what :func:`to_sionna` raises.
    """
    options = options or Options()
    if num_paths < 1:
        raise ValueError(f"num_paths must be at least 1, got {num_paths}")
    receivers_m = np.asarray(receivers_m, np.float64)
    if receivers_m.ndim != 2 or receivers_m.shape[1] != 3 or not np.isfinite(receivers_m).all():
        raise ValueError(f"receivers_m must be finite places (R, 3) in metres, got shape {receivers_m.shape}")
    world = _world(scene, transmitter, options)
    frequency_hz = float(world.frequency[0])
    parts = [
        sionna_paths.convert(found, num, frequency_hz, num_paths)
        for found, num in sionna_batches.traced(world, transmitter, receivers_m, options)
    ]
    return sionna_paths.joined(parts, num_paths)


def solve(
    scene: Scene,
    transmitter: Transmitter,
    *,
    vehicles: Sequence[Vehicle] | None = None,
    materials: Materials | None = None,
    receiver_height_m: float = 1.5,
    options: Options | None = None,
) -> RadioMap:
    """Path gain at the centre of every outdoor cell, the powers of all paths added (no interference between them).

    A cell without any path has the floor of −147 dB and is **not valid**: the tracer found nothing, which is no
    measurement, and other models should not fill it. So `valid` is the mask of outdoor cells with a path. Typically
    15–25 % have none with both ends in the street. Gains below the floor are set to it and stay valid. In the
    transmitter's own cell the receiver stands 0.38 cells beside it. Raises what :func:`paths` raises.
    """
    options = options or Options()
    world = to_sionna(scene, vehicles, materials, options.scattering_coefficient)
    _require_free(scene, transmitter)
    cells = np.argwhere(scene.outdoor)
    receivers_m = _centres(cells, scene.grid.cell_m, transmitter, receiver_height_m)
    batches = sionna_batches.traced(world, transmitter, receivers_m, options)
    power = np.concatenate([np.zeros(0), *(sionna_paths.power(found, num) for found, num in batches)])
    gain_db = np.full(scene.grid.shape, units.GAIN_FLOOR_DB)
    reached = power > 0
    gain_db[tuple(cells[reached].T)] = np.maximum(10.0 * np.log10(power[reached]), units.GAIN_FLOOR_DB)
    valid = np.zeros(scene.grid.shape, bool)
    valid[tuple(cells[reached].T)] = True
    return RadioMap(gain_db, valid)


def _centres(cells: np.ndarray, cell_m: float, transmitter: Transmitter, height_m: float) -> np.ndarray:
    """(R, 3) receivers over the centres of cells (R, 2) [m], moved out of the transmitter's antenna."""
    centres_m = (cells[:, ::-1] + 0.5) * cell_m
    away_m = centres_m - transmitter.xyz_m[:2]
    distance_m = np.hypot(*away_m.T)
    near = distance_m < _BESIDE_CELLS * cell_m
    direction = np.where(distance_m[:, None] > 0, away_m, (1.0, 0.0))
    direction /= np.maximum(np.hypot(*direction.T), 1e-9)[:, None]
    centres_m = np.where(near[:, None], transmitter.xyz_m[:2] + _BESIDE_CELLS * cell_m * direction, centres_m)
    return np.column_stack([centres_m, np.full(len(cells), height_m)])


def _require_free(scene: Scene, transmitter: Transmitter) -> None:
    built_m = scene.building_m[transmitter.cell(scene.grid)]
    if built_m >= transmitter.xyz_m[2]:
        raise ValueError(
            f"transmitter at height {transmitter.xyz_m[2]:g} m stands inside a building of scene {scene.name!r} "
            f"({built_m:g} m high); on a roof it must be above it"
        )


def _world(scene, transmitter: Transmitter, options: Options):
    if isinstance(scene, Scene):
        _require_free(scene, transmitter)
    if isinstance(scene, Scene | MeshScene | str):
        return to_sionna(scene, scattering_coefficient=options.scattering_coefficient)
    rt = prepare()
    if not isinstance(scene, rt.Scene):
        raise ValueError(f"scene must be a Scene, a MeshScene, a city's name or a sionna.rt.Scene, got {type(scene)}")
    for name in ("tx_array", "rx_array"):
        if getattr(scene, name) is None:
            setattr(scene, name, _antenna(rt))
        elif getattr(scene, name).num_ant != 1:
            raise ValueError(f"the scene's {name} has {getattr(scene, name).num_ant} antennas, one is allowed")
    return scene


def _antenna(rt):
    return rt.PlanarArray(num_rows=1, num_cols=1, pattern="iso", polarization="V")


def _scene_object(rt, mesh: meshes.Mesh, slab):
    """A Sionna object of a mesh: y turned to the north, which keeps faces counter-clockwise from outside."""
    import mitsuba as mi

    properties = mi.Properties()
    properties.set_id(mesh.name)
    properties["face_normals"] = True
    body = mi.Mesh(mesh.name, vertex_count=len(mesh.vertices_m), face_count=len(mesh.faces), props=properties)
    parameters = mi.traverse(body)
    parameters["vertex_positions"] = mi.Float((mesh.vertices_m * (1, -1, 1)).astype(np.float32).ravel())
    parameters["faces"] = mi.UInt32(mesh.faces.astype(np.uint32).ravel())
    parameters.update()
    return rt.SceneObject(mi_mesh=body, name=mesh.name, radio_material=slab)
