"""MapBatch: what a network may see, already in [-1, 1], and what it must predict, kept apart by name.

::

    from_columns   physical columns, such as a shard's ──► a MapBatch
    from_scenes    scenes and transmitters ──► a MapBatch to predict from
    batches        a Ray Dataset or a split in memory ──► MapBatches, in an order of their own for every seed
    to_radio_maps  what a network drew ──► radio maps [dB]

Torch begins here: the processes that read and prepare data do not import it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch

from raymap import units
from raymap.config import MeasurementsConfig, OutlineConfig
from raymap.data.columns import add_dominant_path, add_physics, scene_columns
from raymap.data.measurements import Measurements, measure
from raymap.data.reader import coarsen
from raymap.physics import pathloss
from raymap.scene import RadioMap, Scene, Transmitter

#: Rasters that a network may be given. Everything else in a batch is a target or bookkeeping.
INPUTS = (
    "building", "vehicle", "tx", "line_of_sight", "log_distance", "crossed", "thickness", "shadow", "bearing",
    "openness", "detour", "soft_detour", "turning", "roof_loss", "roof_cascade", "roof_rise", "roof_fall",
    "vehicle_thickness", "cell_size", "dominant_path", "samples", "sampled", "outline_predicted",
)  # fmt: skip
#: Street seen by the transmitter that becomes 0 in a network: a square of this side [m].
_OPEN_SIDE_M = 50.0
#: Cell length that becomes 0 in a network [m], and the doublings from there to ±1.
_MIDDLE_CELL_M, _DOUBLINGS = 4.0, 4
#: Raster, its column, and the amount that becomes 0 in a network: 2 buildings, 25 m inside them, ...
_AMOUNTS = (
    ("crossed", "crossed", 2.0), ("thickness", "thickness_m", 25.0), ("shadow", "shadow_m", 50.0),
    ("detour", "detour_m", 25.0), ("soft_detour", "soft_detour_m", 25.0), ("roof_loss", "roof_loss_db", 20.0),
    ("roof_cascade", "roof_cascade_db", 40.0), ("turning", "turning_deg", 60.0),
    ("vehicle_thickness", "vehicle_thickness_m", 5.0),
)  # fmt: skip
#: Inputs of more than one channel.
CHANNELS = {"bearing": 2}
#: What somebody has measured on the spot: given, not computed from the scene.
MEASURED = ("samples", "sampled")
#: Rasters computed from the true map. Never an input: :meth:`MapBatch.stack` refuses them.
TARGETS = ("gain", "outline")


def require_inputs(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, if all are known inputs. Raises ValueError naming those that are not, or if there is none."""
    unknown = [name for name in names if name not in INPUTS]
    if unknown or not names:
        raise ValueError(f"inputs {unknown or '()'} not allowed; choose from {', '.join(INPUTS)}")
    return names


@dataclass(frozen=True, eq=False)
class MapBatch:
    """A batch of maps on one grid. Every raster is (B, 1, H, W) float32 in [-1, 1].

    ``building``, ``vehicle``: heights (``units.signal_from_height_m``). ``tx``: 1 in the transmitter's cell, else -1.
    ``line_of_sight``: 1 where the transmitter is seen. ``log_distance``: free-space gain. ``crossed``,
    ``thickness``, ``shadow``: buildings on the direct ray (``physics.obstruction``). ``detour``, ``soft_detour``: how
    much further the way through the streets is, and that through walls (``physics.eikonal``). ``turning``:
    by how much the shortest way through the streets turns (``physics.street_way``). ``roof_loss``,
    ``roof_cascade``: loss over the roofs by two methods, ``roof_rise``, ``roof_fall``: how steeply the way over them
    leaves and arrives (``physics.roof_diffraction``). ``vehicle_thickness``: length of the direct ray inside vehicles.
    ``outline_predicted``: DM1's output, an input of DM2. ``sampled``: 1 in cells that somebody has measured, else -1,
    ``samples``: the gain measured there, else 0 (``data.measurements``). Targets: ``gain`` and the true ``outline``.
    ``valid``: bool, outdoors in the true map. ``cell_m``: length of a cell [m].

    Raises ValueError when rasters disagree in shape.
    """

    cell_m: float
    building: torch.Tensor
    vehicle: torch.Tensor
    tx: torch.Tensor
    line_of_sight: torch.Tensor
    log_distance: torch.Tensor
    crossed: torch.Tensor | None = None
    thickness: torch.Tensor | None = None
    shadow: torch.Tensor | None = None
    detour: torch.Tensor | None = None
    soft_detour: torch.Tensor | None = None
    turning: torch.Tensor | None = None
    roof_loss: torch.Tensor | None = None
    roof_cascade: torch.Tensor | None = None
    roof_rise: torch.Tensor | None = None
    roof_fall: torch.Tensor | None = None
    vehicle_thickness: torch.Tensor | None = None
    outline_predicted: torch.Tensor | None = None
    samples: torch.Tensor | None = None
    sampled: torch.Tensor | None = None
    gain: torch.Tensor | None = None
    outline: torch.Tensor | None = None
    valid: torch.Tensor | None = None

    def __post_init__(self) -> None:
        shape = self.building.shape
        if len(shape) != 4 or shape[1] != 1:
            raise ValueError(f"MapBatch.building must be (B, 1, H, W), got {tuple(shape)}")
        for name, raster in self.rasters().items():
            if raster.shape != shape:
                raise ValueError(f"MapBatch.{name} has shape {tuple(raster.shape)}, building has {tuple(shape)}")

    def rasters(self) -> dict[str, torch.Tensor]:
        """Name -> (B, 1, H, W), those that are present."""
        named = ((one.name, getattr(self, one.name)) for one in fields(self) if one.name != "cell_m")
        return {name: raster for name, raster in named if raster is not None}

    def __len__(self) -> int:
        return self.building.shape[0]

    @property
    def outdoor(self) -> torch.Tensor:
        """(B, 1, H, W) bool from the footprints, which is known at prediction time too."""
        return self.building <= -1.0

    @property
    def tx_cell(self) -> torch.Tensor:
        """(B, 2) row and column of the transmitter: the brightest cell of ``tx``."""
        place, width = self.tx.flatten(1).argmax(dim=1), self.tx.shape[-1]
        return torch.stack([place // width, place % width], dim=1)

    @property
    def bearing(self) -> torch.Tensor:
        """(B, 2, H, W): cosine and sine of the direction to the transmitter's cell; 0 in that cell.

        Derived from its place rather than stored, because a vector does not turn with its raster.
        """
        height, width = self.tx.shape[-2:]
        row, column = self.tx_cell[:, :, None, None].unbind(dim=1)
        rows = torch.arange(height, device=self.tx.device)[None, :, None] - row
        columns = torch.arange(width, device=self.tx.device)[None, None, :] - column
        distance = (rows.square() + columns.square()).sqrt().clamp_min(1.0)
        return torch.stack([-columns / distance, -rows / distance], dim=1).to(self.tx.dtype)

    @property
    def openness(self) -> torch.Tensor:
        """(B, 1, H, W), one number per map: how much street the transmitter sees, as the side of a square.

        What a closed courtyard lets out, it lets out over the roofs: all other streets are darker than their own
        obstructions tell.
        """
        seen = ((self.line_of_sight > 0) & self.outdoor).sum(dim=(1, 2, 3), keepdim=True)
        side_m = self.cell_m * seen.to(self.tx.dtype).sqrt()
        return units.signal_from_amount(side_m, _OPEN_SIDE_M).expand_as(self.tx)

    @property
    def cell_size(self) -> torch.Tensor:
        """(B, 1, H, W), one number: the doublings from 4 m to the cell's length, 1 at 64 m and -1 at 0.25 m.

        Raises ValueError for a cell outside of that.
        """
        doublings = math.log2(self.cell_m / _MIDDLE_CELL_M) / _DOUBLINGS
        if abs(doublings) > 1.0:
            raise ValueError(f"cells of 0.25 to 64 m can be told to a network, got {self.cell_m:g} m")
        return torch.full_like(self.tx, doublings)

    def stack(self, names: Sequence[str]) -> torch.Tensor:
        """(B, C, H, W) of the named inputs.

        Raises ValueError for a target, an unknown name or one not in the batch, and for ``dominant_path`` if this is
        no :class:`MultipathBatch`.
        """
        rasters = []
        for name in names:
            if name in TARGETS:
                raise ValueError(f"{name!r} is computed from the true map and can never be an input")
            if name not in INPUTS:
                raise ValueError(f"unknown input {name!r}; allowed: {', '.join(INPUTS)}")
            if name == "dominant_path" and not isinstance(self, MultipathBatch):
                raise ValueError(
                    "this batch carries no 'dominant_path': of srm and drm maps the dominant-path map is the truth "
                    "itself, so only batches of multipath or measured maps carry it (MultipathBatch), where it is "
                    "asked for (data.dominant_path)"
                )
            rasters.append(getattr(self, name))
            if rasters[-1] is None:
                hint = ": this model needs measurements" if name in MEASURED else ""
                raise ValueError(f"this batch carries no {name!r}{hint}")
        return torch.cat(rasters, dim=1)

    def blind(self) -> MapBatch:
        """The same without anything computed from the true map: gain, true outline and the true map's ``valid``."""
        return replace(self, gain=None, outline=None, valid=None)

    def with_outline(self, predicted: torch.Tensor) -> MapBatch:
        """The same with DM1's outline (B, 1, H, W) in [-1, 1] as an input."""
        return replace(self, outline_predicted=predicted)

    def to(self, *args: object, **kwargs: object) -> MapBatch:
        """Every raster through ``Tensor.to``."""
        return replace(self, **{name: raster.to(*args, **kwargs) for name, raster in self.rasters().items()})

    def __getitem__(self, index: slice) -> MapBatch:
        return replace(self, **{name: raster[index] for name, raster in self.rasters().items()})

    def turn(self, code: int) -> MapBatch:
        """Every raster under one of the symmetries of the square, see :func:`symmetry`."""
        return replace(self, **{name: symmetry(raster, code) for name, raster in self.rasters().items()})

    def augment(self, generator: torch.Generator) -> MapBatch:
        """Every sample under one of the symmetries of its raster (8 if square, else 4), drawn from ``generator``."""
        height, width = self.building.shape[-2:]
        drawn = torch.randint(8 if height == width else 4, (len(self),), generator=generator)
        rasters = self.rasters()
        stacked = torch.cat([raster.float() for raster in rasters.values()], dim=1)
        turned = torch.stack([symmetry(sample, int(code)) for sample, code in zip(stacked, drawn, strict=True)])
        parts = turned.split(1, dim=1)
        return replace(
            self,
            **{name: part.to(raster.dtype) for (name, raster), part in zip(rasters.items(), parts, strict=True)},
        )


@dataclass(frozen=True, eq=False)
class MultipathBatch(MapBatch):
    """Maps whose truth is more than the strongest path (multipath, measured), which may therefore be an input.

    ``dominant_path``: (B, 1, H, W), gain of the strongest path alone (:func:`raymap.propagation.dominant_path.solve`),
    the floor indoors. Of srm and drm maps it is the truth itself, so plain batches have no such field.
    """

    dominant_path: torch.Tensor = field(kw_only=True)


def symmetry(raster: torch.Tensor, code: int) -> torch.Tensor:
    """One of the 8 symmetries of the square on (..., H, W); codes 0 to 3 (flips) keep the shape of any rectangle.

    Bit 0 flips rows, bit 1 flips columns, bit 2 transposes.
    """
    axes = [axis for bit, axis in ((1, -2), (2, -1)) if code & bit]
    turned = torch.flip(raster, axes) if axes else raster
    return turned.transpose(-2, -1) if code & 4 else turned


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


def batches(
    source: Any,
    batch_size: int,
    *,
    shuffle_seed: int | None = None,
    shuffle_rows: int | None = None,
    drop_last: bool = False,
    with_columns: bool = False,
    factors: Sequence[int] = (1,),
    outline: OutlineConfig | None = None,
    measurements: MeasurementsConfig | None = None,
) -> Iterable[Any]:
    """One pass over ``source`` as :class:`MapBatch` es of ``batch_size``.

    ``source``: a Ray Dataset (:func:`raymap.data.shards.stream`), the DataIterator of a Ray Train worker, or
    :class:`~raymap.data.reader.LoadedMaps`. ``shuffle_seed``: mix rows within a window of ``shuffle_rows`` (default 16
    batches), another seed for every epoch; None keeps the order. ``with_columns``: yield (batch, physical columns)
    instead. ``factors``: every batch is coarsened by one of these, drawn with ``shuffle_seed`` (see
    :func:`~raymap.data.reader.coarsen`, also for ``outline``). ``measurements``: what was measured is drawn anew, with
    the same seed, unless they say that it stays.
    """
    shuffled = shuffle_seed is not None
    stream = source.iter_batches(
        batch_format="numpy",
        batch_size=batch_size,
        drop_last=drop_last,
        local_shuffle_buffer_size=(shuffle_rows or 16 * batch_size) if shuffled else None,
        local_shuffle_seed=shuffle_seed,
    )
    draw = np.random.default_rng(shuffle_seed or 0)
    for columns in stream:
        if tuple(factors) != (1,):
            columns = coarsen(columns, int(draw.choice(factors)), outline)
        if measurements:
            columns = measure(columns, measurements, (shuffle_seed or 0) if measurements.redraw else 0)
        batch = from_columns(columns)
        yield (batch, columns) if with_columns else batch
