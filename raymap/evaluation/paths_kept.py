"""Draws of an earlier page of paths that stay on the next one: trainings take hours, and a page must not forget.

A page's file holds every draw behind its means. Those stay whose scene is the same, by the fingerprint of its data, or
is not in the study at all; a draw that was made anew takes the place of the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

_DRAW = ["rate", "method", "seed"]
#: Digits that are kept of a score.
_DIGITS = 7


def told(runs: pd.DataFrame) -> dict[str, list]:
    """The draws as JSON holds them, a list of columns and one of rows; None where a number is not known."""
    rows = runs.astype(object).where(runs.notna(), None)
    return {"columns": list(rows.columns), "data": rows.to_numpy().tolist()}


def join(scenes: Mapping[str, Mapping], earlier: Mapping[str, Any], commit: str) -> dict[str, dict]:
    """``scenes`` as ``paths_page.write`` takes them, with the draws of an ``earlier`` page's JSON that they lack.

    Their runs get a column ``commit``, and scores of as many digits as the page's file keeps. A scene that is only on
    the earlier page has its ``drawn`` pictures. Methods keep the order of the earlier page, and new ones follow.
    """
    found = {name: {**scene, "runs": _short(scene["runs"]).assign(commit=commit)} for name, scene in scenes.items()}
    kept = {name: old for name, old in earlier.get("scenes", {}).items() if "draws" in old}
    for name, old in kept.items():
        runs = pd.DataFrame(**old["draws"])
        if name not in found:
            about = {key: old[key] for key in ("about", "data", "paper")}
            found[name] = {**about, "runs": runs, "drawn": old["pictures"]}
        elif old["data"] == found[name].get("data"):
            found[name]["runs"] = _both(runs, found[name]["runs"])
    for scene in found.values():
        scene["runs"] = _ordered(scene["runs"])
    return {name: found[name] for name in [*kept, *found] if name in found}


def _short(runs: pd.DataFrame) -> pd.DataFrame:
    scores = runs.select_dtypes("float").columns
    return runs.assign(**{key: runs[key].map(lambda value: float(f"{value:.{_DIGITS}g}")) for key in scores})


def _both(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    again = pd.MultiIndex.from_frame(old[_DRAW]).isin(pd.MultiIndex.from_frame(new[_DRAW]))
    # The order of methods is that of their first draws, old ones first.
    order = dict.fromkeys([*old["method"], *new["method"]])
    both = pd.concat([old[~again], new], ignore_index=True)
    return pd.concat([both[both["method"] == method] for method in order], ignore_index=True)


def _ordered(runs: pd.DataFrame) -> pd.DataFrame:
    parts = [runs[runs["method"] == method].sort_values(["rate", "seed"]) for method in runs["method"].unique()]
    return pd.concat(parts, ignore_index=True)
