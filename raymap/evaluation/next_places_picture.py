"""Where to measure next: the chosen places, numbered, on a map of the error that is expected. PNG bytes."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from raymap.evaluation.drawing import DPI, INK, SERIES, png
from raymap.evaluation.receiver_drawing import Places

_WIDTH_IN = 7.0
_COLORS = colormaps["YlOrBr"]
#: Of the next so many places the numbers can be read, all others are dots.
_NUM_NUMBERED = 60


def draw(
    expected: np.ndarray, candidates_m: np.ndarray, rows: np.ndarray, measured_m: np.ndarray, transmitter_m: np.ndarray
) -> bytes:
    """A map of ``expected`` (N,), the rms of errors in dB, ns and degrees, at ``candidates_m`` (N, 3) [m]. PNG bytes.

    ``rows``: (K,) those to measure, in their order: blue, the first 60 of them with their numbers. ``measured_m``:
    (M, 3), grey crosses. Candidates on a grid are its cells, others dots; x grows to the right and y downwards [m].
    The scale begins at 0 and leaves out the highest 0.5 %. A star is the transmitter. Raises ValueError without a
    candidate, or if ``rows`` are not among them.
    """
    if not len(candidates_m) or (len(rows) and not (0 <= min(rows) <= max(rows) < len(candidates_m))):
        raise ValueError(f"rows must lie in 0 to {len(candidates_m) - 1}, got {list(rows)[:5]}")
    places = Places(np.asarray(candidates_m), np.asarray(transmitter_m))
    known = expected[np.isfinite(expected)]
    norm = Normalize(0.0, max(float(np.quantile(known, 0.995)) if len(known) else 1.0, 1e-3))
    shape = min(max(places.height_m / places.width_m, 0.15), 2.0)
    figure = Figure(figsize=(_WIDTH_IN, (_WIDTH_IN - 0.7) * shape + 1.3), dpi=DPI, facecolor="white")
    figure.set_layout_engine("constrained")
    axis = figure.subplots()
    places.draw(axis, expected, _COLORS, norm)
    axis.plot(*np.asarray(measured_m)[:, :2].T, "x", color="#5c6670", markersize=3.2, mew=0.6, label="measured")
    next_m = np.asarray(candidates_m)[rows, :2]
    axis.plot(*next_m[_NUM_NUMBERED:].T, "o", color=SERIES[0], markersize=3.5, mec="white", mew=0.4)
    axis.plot(*next_m[:_NUM_NUMBERED].T, "o", color=SERIES[0], markersize=9.5, mec="white", mew=0.7, label="next")
    for number, place_m in enumerate(next_m[:_NUM_NUMBERED], 1):
        axis.annotate(f"{number}", place_m, fontsize=6, color="white", ha="center", va="center_baseline")
    axis.set_xlabel("x [m]", fontsize=8.5, color=INK)
    axis.set_ylabel("y [m]", fontsize=8.5, color=INK)
    figure.legend(
        *axis.get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=8,
        markerscale=0.8, handletextpad=0.2, labelcolor=INK,
    )  # fmt: skip
    bar = figure.colorbar(
        ScalarMappable(norm, _COLORS), ax=axis, orientation="horizontal", extend="max", extendfrac=0.03, aspect=40,
        fraction=0.04, pad=0.02,
    )  # fmt: skip
    bar.set_label("rms error to expect, of all paths [dB, ns, deg]", fontsize=8, color=INK, labelpad=2)
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=7, length=2, width=0.5, pad=2, colors=INK)
    return png(figure)
