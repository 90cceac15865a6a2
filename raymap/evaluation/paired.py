"""Is one method better than another? Compared on the same images, with the scene as the unit that was drawn.

Two methods find the same scenes hard, so what tells them apart is the difference on one and the same image. The images
of a scene resemble each other; their differences are averaged, and one number per scene goes into Wilcoxon's
signed-rank test (Biometrics Bulletin 1945), which assumes no distribution, only that differences are symmetric about 0
if neither method is better. Several methods against one reference are several chances to be fooled: Holm's correction
(Scandinavian Journal of Statistics 1979) keeps the chance of even one false finding at the level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from raymap.evaluation.summary import column, frame

#: The chance of a false finding that is taken.
LEVEL = 0.05


def compare(rows, reference: str, key: str = "raw/all/nmse") -> dict:
    """Every method against a reference, paired by image and tested by scene.

    ``rows`` as in ``summary.summarise``, with a column ``tx_id``; rows of several trainings have a column ``seed`` and
    are averaged per image. ``key``: the column that is compared.

    Returns ``{"key", "reference", "methods"}`` with ``methods[name]``:

    - ``num_scenes``, ``num_images``: what was compared; images where both values are not finite are left out
    - ``median_difference``: the median over scenes of the mean of method - reference, in the unit of ``key``; below 0
      the method has the lower value
    - ``num_lower``, ``num_higher``: scenes in which that mean is below or above 0
    - ``rank_sum``: what the test is about, Σ sign(d)·rank(|d|) over the scenes; its sign says for whom it speaks
    - ``p``: two-sided p-value (``scipy.stats.wilcoxon``; scenes without any difference drop out, and without one at all
      p = 1). It is exact for up to 50 scenes whose differences differ in size; with n of them it is never below
      2^(1 - n), so five scenes cannot reach 0.05
    - ``p_holm``: corrected for the number of methods (:func:`holm`)

    Raises ValueError for a missing column, an unknown reference, nothing to compare with it, an image that a method has
    twice, and methods that are not paired: scored on different images, or finite where the other is not.
    """
    table = frame(rows)
    missing = [name for name in ("tx_id", key) if name not in table]
    if missing:
        raise ValueError(f"rows have no column {', '.join(map(repr, missing))}")
    values = {str(name): _by_image(str(name), part, key) for name, part in table.groupby("method", sort=False)}
    if reference not in values or len(values) < 2:
        raise ValueError(f"need {reference!r} as the reference and another method, got {', '.join(values)}")
    base = values.pop(reference)
    methods = {name: _against(base, found, f"{name!r} and {reference!r} in {key!r}") for name, found in values.items()}
    for entry, corrected in zip(methods.values(), holm([entry["p"] for entry in methods.values()]), strict=True):
        entry["p_holm"] = corrected
    return {"key": key, "reference": reference, "methods": methods}


def verdicts(found: dict) -> dict[str, str]:
    """Method -> what :func:`compare` found, in words at :data:`LEVEL`; ``key`` must be one in which less is better.

    "better", "worse" or "cannot tell at 5 %". Who is far better in a few scenes may yet be a little worse in most of
    them: where the test speaks one way and the median the other, both are said.

    Raises ValueError if the scenes are too few for any difference, however large, to be found.
    """
    methods = found["methods"]
    num_scenes = max(entry["num_scenes"] for entry in methods.values())
    if len(methods) * 2.0 ** (1 - num_scenes) > LEVEL:
        raise ValueError(
            f"too few scenes to tell {1 + len(methods)} methods apart, {num_scenes}: no difference, however large, "
            f"could reach p = {LEVEL:g}"
        )
    return {name: _verdict(entry) for name, entry in methods.items()}


def p_text(p: float) -> str:
    """A p-value as one writes it: "0.012", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down corrected p-values, in the order given: the k-th smallest of m times m - k + 1.

    At most 1, and never below that of a smaller p-value.
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values, kind="stable")
    corrected = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)).clip(max=1.0)
    return corrected[np.argsort(order)].tolist()


def _by_image(name: str, part: pd.DataFrame, key: str) -> pd.Series:
    """Values by (scene, tx_id), the mean over seeds if there are several; infinite where one is not finite."""
    image = ["scene", "tx_id", *(["seed"] if "seed" in part else [])]
    twice = part[part.duplicated(image)]
    if len(twice):
        raise ValueError(f"{name!r} has {len(twice)} images twice, first {_first(twice[image].to_numpy().tolist())}")
    values = column(part, key)[0]
    values = np.where(np.isfinite(values), values, np.inf)  # which a mean over seeds keeps, unlike NaN
    return part[["scene", "tx_id"]].assign(value=values).groupby(["scene", "tx_id"])["value"].mean()


def _against(base: pd.Series, found: pd.Series, which: str) -> dict:
    unpaired = found.index.symmetric_difference(base.index)
    if len(unpaired):
        raise ValueError(f"{which} are not paired: {len(unpaired)} images of one only, first {_first(unpaired)}")
    base = base.loc[found.index]
    finite = np.isfinite(found)
    odd = found.index[finite != np.isfinite(base)]
    if len(odd):
        raise ValueError(f"{which} are not paired: {len(odd)} images are finite for one only, first {_first(odd)}")
    if not finite.any():
        raise ValueError(f"{which} have no image with a finite value")
    by_scene = (found - base)[finite].groupby(level="scene").mean().to_numpy()
    differing = by_scene[by_scene != 0]
    ranks = np.sign(differing) * stats.rankdata(np.abs(differing))
    return {
        "num_scenes": len(by_scene),
        "num_images": int(finite.sum()),
        "median_difference": float(np.median(by_scene)),
        "num_lower": int((by_scene < 0).sum()),
        "num_higher": int((by_scene > 0).sum()),
        "rank_sum": float(ranks.sum()),
        "p": float(stats.wilcoxon(differing).pvalue) if len(differing) else 1.0,
    }


def _verdict(entry: dict) -> str:
    if entry["p_holm"] > LEVEL:
        return f"cannot tell at {100 * LEVEL:g} %"
    whole, typical = ("better" if entry[key] < 0 else "worse" for key in ("rank_sum", "median_difference"))
    return whole if whole == typical else f"{whole} on the whole, {typical} in most scenes"


def _first(images) -> str:
    return ", ".join(str(tuple(image)) for image in images[:3])
