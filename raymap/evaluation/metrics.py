"""How far a predicted radio map or outline is from the true one: one row of numbers per image.

Two grey scales are in use in the literature, and their scores must never be mixed, so every map is scored on both:

- ``raw``: g = (gain + 147 dB) / 100 dB, the pictures of RadioMapSeer as they are (RadioDiff, Wang et al., IEEE TCCN
  2025, and RadioDiff-k²). One hundredth of RMSE is 1 dB.
- ``thr02``: g' = (max(g, 0.2) - 0.2) / 0.8, the noise floor of RadioUNet (Levie et al., IEEE TWC 2021) at -127 dB. One
  hundredth of RMSE is 0.8 dB. The same picture gets a far higher NMSE here than on ``raw``, as Σg² shrinks.

SSIM follows Wang et al., IEEE TIP 2004: gaussian window 11 x 11 with σ = 1.5 cells, and a fixed range of 1 for every
image, so that an image is not judged by its own span.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch.nn.functional import max_pool2d
from torchmetrics.functional.image import structural_similarity_index_measure

from raymap import units
from raymap.physics import helmholtz_loss

#: Grey level that each convention shows as black.
BLACK_LEVEL = {"raw": 0.0, "thr02": 0.2}
CONVENTIONS = tuple(BLACK_LEVEL)
REGIONS = ("all", "outdoor", "los", "nlos")
METRICS = ("nmse", "rmse", "rmse_db", "ssim", "psnr")
#: Of rings around the transmitter, which are too narrow for SSIM's window.
RING_METRICS = ("nmse", "rmse", "rmse_db")
#: Where one ring ends and the next begins [m]. Doublings, since free space loses 6 dB with each; a map of 256 m with
#: its transmitter in the middle half has cells in all of them.
RING_EDGES_M = (0.0, 32.0, 64.0, 128.0, math.inf)

_SSIM_PADDING = 5


def score_maps(
    predicted_db, true_db, outdoor, line_of_sight=None, distance_m=None, *, ring_edges_m: Sequence[float] = RING_EDGES_M
) -> list[dict[str, float]]:
    """Score a batch of predicted maps; one dict per image, in the order of the batch.

    ``predicted_db``, ``true_db``: (B, H, W) path gain [dB]. ``outdoor``: (B, H, W) bool, True where no building
    stands. ``line_of_sight``: (B, H, W) bool, True where the transmitter is seen; only its outdoor cells count.
    ``distance_m``: (B, H, W) distance to the transmitter [m], ``ring_edges_m`` where rings of it begin and end.
    All may be numpy arrays or torch tensors.

    Both maps become grey levels clipped to [0, 1], as the field does: a prediction below -147 dB is a prediction of the
    floor. Inside buildings the truth is the floor (g = 0), whatever ``true_db`` holds there, and the prediction is left
    as given: whether to know the footprints is the model's affair.

    Keys are ``"convention/region/metric"``, with convention ``raw`` or ``thr02`` and region ``all``, ``outdoor`` and,
    given ``line_of_sight``, ``los`` and ``nlos`` (outdoor cells with and without it). Given ``distance_m``, every ring
    of outdoor cells, low ≤ distance < high, is a region too: ``0-32m`` to ``128m+``, with the first three metrics.
    Over the cells of the region:

    - ``nmse`` = Σ(ĝ - g)² / Σg² [1]; NaN if the truth is zero throughout
    - ``rmse`` = √mean(ĝ - g)² [grey level]; ``rmse_db`` the same in dB (100·rmse for raw, 80·rmse for thr02)
    - ``ssim`` [1]: the mean of the SSIM image of the whole map over the region, so windows do reach across walls
    - ``psnr`` = 10·log10(1 / mean(ĝ - g)²) [dB]; infinite for a perfect region (left out of means, as NaN is)

    and ``raw/outdoor/median_abs_db``, the median of |ĝ - g| outdoors [dB]. A region without cells gives NaN.

    Raises ValueError for shapes that differ or are not (B, H, W) of at least 6 x 6 cells, masks that are not bool,
    values that are not finite (in the truth: outdoors), and edges of rings that do not rise.
    """
    outdoor = _mask("outdoor", outdoor)
    predicted_db = _values("predicted_db", predicted_db, outdoor)
    true_db = _values("true_db", true_db, outdoor, where=outdoor)
    if min(outdoor.shape[1:]) <= _SSIM_PADDING:
        raise ValueError(f"maps must be at least 6 x 6 cells for the SSIM window, got {tuple(outdoor.shape[1:])}")

    regions = {"all": torch.ones_like(outdoor), "outdoor": outdoor}
    if line_of_sight is not None:
        line_of_sight = _mask("line_of_sight", line_of_sight, like=outdoor)
        regions |= {"los": outdoor & line_of_sight, "nlos": outdoor & ~line_of_sight}
    rings = {} if distance_m is None else _rings(_values("distance_m", distance_m, outdoor), outdoor, ring_edges_m)

    predicted = units.grey_from_gain_db(predicted_db).clamp(0, 1)
    true = torch.where(outdoor, units.grey_from_gain_db(true_db).clamp(0, 1), 0.0)
    columns = {}
    for convention, black in BLACK_LEVEL.items():
        span_db = units.GAIN_SPAN_DB * (1 - black)
        scores = _score_grey(_stretch(predicted, black), _stretch(true, black), regions, rings, span_db)
        columns |= {f"{convention}/{key}": values for key, values in scores.items()}
    columns["raw/outdoor/median_abs_db"] = _median((predicted - true).abs() * units.GAIN_SPAN_DB, outdoor)
    return _rows(columns)


def outline_agreement(
    predicted, true, outdoor, threshold: float = 0.5, tolerance_cells: int = 1
) -> list[dict[str, float]]:
    """Agreement of two outlines, forgiving a shift of ``tolerance_cells`` d; one dict per image.

    ``predicted``, ``true``: (B, H, W) in [0, 1]; a cell is marked from ``threshold`` upwards. ``outdoor``: (B, H, W)
    bool; wall cells are dropped from both outlines first, since footprints are known and would flatter every method.
    Dilation reaches d cells along rows, columns and diagonals, also through a wall of at most d cells.

    With G the true and P the predicted cells:

    - ``outline/dtc`` = |G ∩ dilate(P, d)| / |G|, distance-tolerant coverage: marking everything scores 1
    - ``outline/dtiou`` = |(G ∩ dilate(P, d)) ∪ (P ∩ dilate(G, d))| / |G ∪ P|, distance-tolerant IoU: punishes that
    - ``outline/iou`` = |G ∩ P| / |G ∪ P|, which is DTIoU for d = 0
    - ``outline/share`` and ``outline/share_true``: the share of outdoor cells in P and in G

    all of unit 1. Without a true cell the first three are NaN; without an outdoor cell, all are. DTC and DTIoU are
    named but not defined in RadioDiff-k² (Wang et al. 2025); the definitions here are ours.

    Raises ValueError for shapes that differ, masks that are not bool, values that are not finite, a negative tolerance.
    """
    if int(tolerance_cells) != tolerance_cells or tolerance_cells < 0:
        raise ValueError(f"tolerance_cells must be a whole number of cells, 0 or more, got {tolerance_cells}")
    outdoor = _mask("outdoor", outdoor)
    guess = (_values("predicted outline", predicted, outdoor) >= threshold) & outdoor
    truth = (_values("true outline", true, outdoor) >= threshold) & outdoor

    covered = truth & _dilate(guess, int(tolerance_cells))
    confirmed = guess & _dilate(truth, int(tolerance_cells))
    num_true, num_outdoor = _count(truth), _count(outdoor)
    num_union = torch.where(num_true > 0, _count(truth | guess), 0.0)
    return _rows(
        {
            "outline/dtc": _ratio(_count(covered), num_true),
            "outline/dtiou": _ratio(_count(covered | confirmed), num_union),
            "outline/iou": _ratio(_count(truth & guess), num_union),
            "outline/share": _ratio(_count(guess), num_outdoor),
            "outline/share_true": _ratio(num_true, num_outdoor),
        }
    )


def helmholtz_residual(predicted_db, true_db, outdoor, transmitter) -> list[dict[str, float]]:
    """How far maps are from the Helmholtz equation that PhyRMDM is trained by; one dict per image.

    ``predicted_db``, ``true_db``: (B, H, W) path gain [dB]. ``outdoor``, ``transmitter``: (B, H, W) bool.

    - ``helmholtz/residual``: mean of (∇²g + κ²g)² [grey levels² per cell⁴] of the predicted map, at the wavenumbers of
      :data:`raymap.physics.helmholtz_loss.WAVENUMBERS`, away from the transmitter's cell and the map's border
    - ``helmholtz/residual_true``: the same of the true map, which is not 0 either: the equation is a model of it

    Grey levels are clipped to [0, 1] and 0 in buildings, in both maps alike. Raises ValueError as :func:`score_maps`.
    """
    outdoor = _mask("outdoor", outdoor)
    transmitter = _mask("transmitter", transmitter, like=outdoor)
    columns = {}
    for key, name, gain_db in (("residual", "predicted_db", predicted_db), ("residual_true", "true_db", true_db)):
        grey = units.grey_from_gain_db(_values(name, gain_db, outdoor, where=outdoor)).clamp(0, 1)
        field = torch.where(outdoor, grey, 0.0)
        columns[f"helmholtz/{key}"] = helmholtz_loss.terms(field, outdoor, transmitter, 0.0, 1.0).equation
    return _rows(columns)


def _score_grey(predicted, true, regions, rings, span_db: float) -> dict[str, torch.Tensor]:
    """``"region/metric"`` to (B,) for two (B, H, W) maps in [0, 1] whose range is worth ``span_db`` [dB]."""
    squared_error, energy, similarity = (predicted - true) ** 2, true**2, _similarity(predicted, true)
    columns = {}
    for region, mask in (regions | rings).items():
        num = _count(mask)
        total_error = _sum(squared_error, mask)
        mean_error = _ratio(total_error, num)
        values = {
            "nmse": _ratio(total_error, _sum(energy, mask)),
            "rmse": mean_error.sqrt(),
            "rmse_db": mean_error.sqrt() * span_db,
            "ssim": _ratio(_sum(similarity, mask), num),
            "psnr": -10.0 * mean_error.log10(),
        }
        columns |= {f"{region}/{metric}": values[metric] for metric in (RING_METRICS if region in rings else METRICS)}
    return columns


def _rings(distance_m: torch.Tensor, outdoor: torch.Tensor, edges_m: Sequence[float]) -> dict[str, torch.Tensor]:
    """``"0-32m"`` ... ``"128m+"`` to (B, H, W) bool, the outdoor cells from one edge up to the next."""
    pairs = list(itertools.pairwise(edges_m))
    if not pairs or any(not low < high for low, high in pairs):
        raise ValueError(f"ring_edges_m must be two distances or more that rise, got {tuple(edges_m)}")
    return {
        f"{low:g}m+" if math.isinf(high) else f"{low:g}-{high:g}m": outdoor & (low <= distance_m) & (distance_m < high)
        for low, high in pairs
    }


def _stretch(grey: torch.Tensor, black: float) -> torch.Tensor:
    """g to (max(g, black) - black) / (1 - black)."""
    return (grey.clamp(min=black) - black) / (1.0 - black)


def _similarity(predicted: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """(B, H, W) SSIM image of two (B, H, W) maps in [0, 1]; borders are reflected."""
    if not len(predicted):
        return torch.zeros_like(predicted)
    _, image = structural_similarity_index_measure(
        predicted[:, None],
        true[:, None],
        gaussian_kernel=True,
        sigma=1.5,
        kernel_size=11,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
    )
    return image.reshape(predicted.shape)


def _dilate(mask: torch.Tensor, cells: int) -> torch.Tensor:
    """(B, H, W) bool: cells at most ``cells`` away in either direction from a True one."""
    if cells == 0 or not mask.numel():
        return mask
    return max_pool2d(mask[:, None].float(), 2 * cells + 1, stride=1, padding=cells)[:, 0] > 0


def _count(mask: torch.Tensor) -> torch.Tensor:
    return mask.sum(dim=(1, 2)).double()


def _sum(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.where(mask, values, 0.0).sum(dim=(1, 2))


def _ratio(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """Elementwise quotient, NaN where the denominator is zero."""
    return torch.where(denominator > 0, numerator / denominator, torch.nan)


def _median(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B,) median of (B, H, W) values over a mask, NaN where the mask is empty."""
    medians = [
        torch.quantile(image[kept], 0.5) if kept.any() else torch.tensor(torch.nan)
        for image, kept in zip(values, mask, strict=True)
    ]
    return torch.tensor(medians, dtype=torch.float64)


def _rows(columns: dict[str, torch.Tensor]) -> list[dict[str, float]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]


def _mask(name: str, mask, like: torch.Tensor | None = None) -> torch.Tensor:
    mask = torch.as_tensor(mask).detach().cpu()
    if mask.dtype != torch.bool:
        raise ValueError(f"{name} must be bool, got {mask.dtype}")
    if mask.ndim != 3:
        raise ValueError(f"{name} must have shape (B, H, W), got {tuple(mask.shape)}")
    if like is not None and mask.shape != like.shape:
        raise ValueError(f"{name} has shape {tuple(mask.shape)}, outdoor has {tuple(like.shape)}")
    return mask


def _values(name: str, values, outdoor: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
    """float64 on the CPU, checked; SSIM takes differences of squares, in which float32 would lose digits."""
    values = torch.as_tensor(values).detach().cpu().double()
    if values.shape != outdoor.shape:
        raise ValueError(f"{name} has shape {tuple(values.shape)}, outdoor has {tuple(outdoor.shape)}")
    wrong = ~torch.isfinite(values)
    num_wrong = int((wrong if where is None else wrong & where).sum())
    if num_wrong:
        raise ValueError(f"{name} holds {num_wrong} values that are not finite")
    return values
