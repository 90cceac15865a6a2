"""MapBatch: what a network may see, already in [-1, 1], and what it must predict, kept apart by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch

from raymap import units

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
