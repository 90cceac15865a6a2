"""What all pictures share: colours, scales, and the parts of a figure."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from raymap import units

DPI = 200  # nine inches make 1800 pixels: crisp when shown 900 wide on a dense screen
GAP_IN = 0.09
INK, MUTED, BUILDING = "#1d2329", "#68727d", "#a3a8ae"
SERIES = ("#0b6e99", "#d1495b", "#2e8b57", "#b8860b", "#7b4fa3", "#3a3f47", "#e07a3f", "#4f8fd0")
#: Of the methods, in the order of SERIES: lines that cross stay apart without their colours.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
STAR = {"color": "#ffffff", "mec": "#111111", "mew": 0.8, "markersize": 9.5, "clip_on": False}


def marked(index: int) -> dict[str, Any]:
    """Colour and marker of a method's line by its place among the methods; hollow where colours begin again."""
    color, is_again = SERIES[index % len(SERIES)], index // len(SERIES) % 2 == 1
    marker = {"marker": MARKERS[index % len(MARKERS)], "mfc": "white" if is_again else color, "mec": color}
    return {"color": color, **marker, "mew": 1.3 if is_again else 0.0}


_PAPER = LinearSegmentedColormap.from_list("paper", ["#f6f5f1", "#f6f5f1"])
_OUTLINE = LinearSegmentedColormap.from_list("outline", ["#f6f5f1", "#7aa6b8", "#0b3c5d"])
COLORMAP = {"building": _PAPER, "outline": _OUTLINE, "gain": colormaps["inferno"], "error": colormaps["RdBu_r"]}
_BAR_LABEL = {"outline": "outline", "gain": "path gain [dB]", "error": "predicted − true [dB]"}


def scales(rows: list[tuple]) -> dict[str, Normalize]:
    """One scale per kind for the whole figure; the error's spans 99 % of its cells, rounded up to 5 dB."""
    errors = [image[np.isfinite(image)] for _, panels, _, _ in rows for _, image, kind in panels if kind == "error"]
    size = np.abs(np.concatenate(errors)) if errors else np.zeros(0)
    limit = max(5.0, 5.0 * math.ceil(float(np.quantile(size, 0.99)) / 5.0)) if len(size) else 5.0
    return {
        "building": Normalize(0, 1),
        "outline": Normalize(0, 1),
        "gain": Normalize(units.GAIN_FLOOR_DB, units.GAIN_CEILING_DB),
        "error": Normalize(-limit, limit),
    }


def panel(axis, image: np.ndarray, kind: str, norm: Normalize, tx: tuple[int, int] | None) -> None:
    """One map (H, W); NaN is building, ``tx`` = (row, column) a star. Kinds as in ``pictures.strip``."""
    if kind == "building":
        image = np.where(image > 0, np.nan, 0.0)
    colormap = COLORMAP[kind].with_extremes(bad=BUILDING)
    axis.imshow(np.ma.masked_invalid(image), cmap=colormap, norm=norm, interpolation="nearest", aspect="auto")
    if tx is not None:
        axis.plot(tx[1], tx[0], "*", **STAR)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(linewidth=0.5, color=MUTED)


def key(figure, span: tuple, top: float, cells: int, cell_m: float | None, tx) -> None:
    """Under the buildings: a scale bar of a round length, at most a quarter of the map, and what the marks mean."""
    left, right = span
    total_w, total_h = figure.get_size_inches()
    axis = figure.add_axes((left / total_w, (top - 0.58) / total_h, (right - left) / total_w, 0.5 / total_h))
    axis.set(xlim=(0, cells), ylim=(0, 1))
    axis.axis("off")
    if cell_m:
        power = 10.0 ** math.floor(math.log10(cells * cell_m / 4))
        length_m = max(step * power for step in (1, 2, 5) if step * power <= cells * cell_m / 4)
        end = length_m / cell_m
        axis.plot([0, end], [0.76, 0.76], color=INK, linewidth=2.2, solid_capstyle="butt", clip_on=False)
        axis.text(end + 0.03 * cells, 0.74, f"{length_m:g} m", fontsize=7.5, color=INK, va="center")
    axis.plot(0.03 * cells, 0.27, "s", color=BUILDING, markersize=6.5)
    axis.text(0.085 * cells, 0.25, "building", fontsize=7.5, color=INK, va="center")
    if tx is not None:
        axis.plot(0.46 * cells, 0.27, "*", **STAR)
        axis.text(0.525 * cells, 0.25, "transmitter", fontsize=7.5, color=INK, va="center")


def colour_bar(figure, kind: str, norm: Normalize, span: tuple, top: float) -> None:
    """The scale of a kind under the columns from ``span[0]`` to ``span[1]``, all in inches."""
    left, right = span
    total_w, total_h = figure.get_size_inches()
    inset = 0.06 * (right - left)
    box = ((left + inset) / total_w, (top - 0.2) / total_h, (right - left - 2 * inset) / total_w, 0.085 / total_h)
    bar = figure.colorbar(
        ScalarMappable(norm, COLORMAP[kind]),
        cax=figure.add_axes(box),
        orientation="horizontal",
        extend="both" if kind == "error" else "neither",
        extendfrac=0.06,
    )
    bar.set_label(_BAR_LABEL[kind], fontsize=8, color=INK, labelpad=2)
    if kind == "gain":
        bar.set_ticks([-147, -127, -107, -87, -67, -47])
    elif kind == "error":
        ticks = np.linspace(norm.vmin, norm.vmax, 5)
        bar.set_ticks(ticks, labels=[f"{tick:+g}".replace("-", "−") if tick else "0" for tick in ticks])
    else:
        bar.set_ticks([0, 1])
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=7.5, length=2, width=0.5, pad=2, colors=INK)


def plain(text) -> str:
    """Text that matplotlib does not read as mathematics."""
    return str(text).replace("$", r"\$")


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes, the same every time."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def small(png: bytes, palette: np.ndarray) -> bytes:
    """The same picture in the 256 colours of ``palette``, (256, 3) uint8: a fraction of the bytes, and no bands."""
    from PIL import Image

    colors = Image.new("P", (1, 1))
    colors.putpalette(palette.tobytes())
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(palette=colors, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
