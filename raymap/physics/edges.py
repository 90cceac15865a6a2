"""Edge and texture detectors that know no physics, to compare the k² outline with (RadioDiff-k², Table V)."""

from __future__ import annotations

import numpy as np

from raymap import units

#: Neighbours and radius [cells] of the local binary pattern: the eight cells around one.
_LBP_POINTS, _LBP_RADIUS = 8, 1


def canny(gain_db: np.ndarray, valid: np.ndarray, sigma_cells: float = 1.0) -> np.ndarray:
    """Canny's edges (IEEE TPAMI 1986) of the grey picture of a gain, (..., H, W) float32, 0 or 1.

    ``gain_db``: (..., H, W) path gain [dB], ``valid``: bool of the same shape; cells outside are neither read nor
    marked, so that walls are no edges. ``sigma_cells``: width of the smoothing. Thresholds are scikit-image's own (0.1
    and 0.2 of the grey range, that is 10 and 20 dB per Sobel step). Raises ValueError for shapes that differ and for
    gains that are not finite on valid cells.
    """
    from skimage import feature

    return _per_map(lambda grey, inside: feature.canny(grey, sigma_cells, mask=inside), gain_db, valid)


def local_binary_pattern(gain_db: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Uniform local binary patterns (Ojala et al., IEEE TPAMI 2002) of the grey picture, (..., H, W) float32 in [0, 1].

    The number of the eight neighbours that are at least as bright, as a share of 8; 1 as well where the pattern is not
    uniform (scikit-image's label 9 of 9). It compares grey levels of 8 bits, as detectors of pictures do: exact gains
    have no ties and would mark noise of the last digit. Shapes and errors as :func:`canny`; 0 on cells not valid.
    """
    from skimage import feature

    def patterns(grey: np.ndarray, inside: np.ndarray) -> np.ndarray:
        picture = np.round(255.0 * grey).astype(np.uint8)
        return feature.local_binary_pattern(picture, _LBP_POINTS, _LBP_RADIUS, "uniform") / (_LBP_POINTS + 1) * inside

    return _per_map(patterns, gain_db, valid)


def _per_map(detect, gain_db: np.ndarray, valid: np.ndarray) -> np.ndarray:
    gain_db, valid = np.asarray(gain_db), np.asarray(valid)
    if gain_db.ndim < 2 or valid.shape != gain_db.shape or valid.dtype != bool:
        raise ValueError(
            f"gain_db (..., H, W) and valid of the same shape and type bool are needed, got {gain_db.shape} and "
            f"{valid.shape} of {valid.dtype}"
        )
    if not np.isfinite(gain_db[valid]).all():
        raise ValueError(f"gain_db must be finite on valid cells, {int((~np.isfinite(gain_db[valid])).sum())} are not")
    grey = np.where(valid, units.grey_from_gain_db(gain_db), 0.0).clip(0.0, 1.0).astype(np.float64)
    marked = np.empty(gain_db.shape, np.float32)
    for index in np.ndindex(gain_db.shape[:-2]):
        marked[index] = detect(grey[index], valid[index])
    return marked
