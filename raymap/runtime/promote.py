"""Champion and challenger: the alias that is served moves only to a model that is better on a benchmark split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from raymap.config import MeasurementsConfig, Settings
from raymap.evaluation import paired
from raymap.runtime import provenance, registry, track
from raymap.runtime.evaluate import score

KEY = "raw/all/nmse"


class Promotion(Settings):
    """Which two versions of a registered model are compared, on what."""

    name: str = Field("k2", description="registered model")
    challenger: str = Field(registry.CHALLENGER, description="alias of the version that wants to be served")
    champion: str = Field(registry.CHAMPION, description="alias of the version that is, and that may move")
    data: str = Field("runs/demo/data", description="dataset folder")
    split: str = Field("test", description="split that both are scored on")
    measurements: MeasurementsConfig | None = Field(None, description="what models that read measurements are shown")
    tracking_uri: str = Field("", description="MLflow store; default: runs/mlflow.db")
    out: str = Field("runs/promotion", description="folder for the report and promotion.json")


def promote(promotion: Promotion) -> dict[str, Any]:
    """Score both versions, and move the champion's alias if the challenger is better; returns ``promotion.json``.

    Better means: less NMSE on the same maps, by Wilcoxon's signed-rank test over scenes at 5 %
    (:mod:`raymap.evaluation.paired`), and in most scenes. ``moved`` says whether the alias moved and ``reason`` why;
    the challenger's version gets both as tags. Raises ValueError for a name or an alias that does not exist, and if
    both are the same version.
    """
    uri = promotion.tracking_uri or track.default_uri("runs")
    client = track.client(uri)
    champion = registry.version_of(client, promotion.name, promotion.champion)
    challenger = registry.version_of(client, promotion.name, promotion.challenger)
    if champion == challenger:
        raise ValueError(f"version {champion} of {promotion.name!r} is champion already: nothing to compare it with")
    names = {f"champion (version {champion})": champion, f"challenger (version {challenger})": challenger}
    folders = {title: registry.fetch(f"models:/{promotion.name}/{version}", uri) for title, version in names.items()}
    out = Path(promotion.out).resolve()
    score(folders, promotion.data, promotion.split, out, measurements=promotion.measurements)
    rows = pd.read_parquet(out / "metrics.parquet")
    found = decide(rows[rows["method"].isin(list(names))], *names)
    found |= {
        "name": promotion.name, "champion": champion, "challenger": challenger, "data": promotion.data,
        "split": promotion.split, "command": provenance.command(), "commit": provenance.git_commit(),
    }  # fmt: skip
    if found["moved"]:
        client.set_registered_model_alias(promotion.name, promotion.champion, challenger)
        client.delete_registered_model_alias(promotion.name, promotion.challenger)
    client.set_model_version_tag(promotion.name, challenger, "promoted", str(found["moved"]).lower())
    client.set_model_version_tag(promotion.name, challenger, "promotion", found["reason"])
    (out / "promotion.json").write_text(json.dumps(found, indent=2) + "\n")
    return found


def decide(rows: pd.DataFrame, champion: str, challenger: str) -> dict[str, Any]:
    """{"moved", "reason", "comparison"} from scores per map of two methods, as ``paired.compare`` takes them."""
    means = rows.groupby("method")[KEY].mean()
    try:
        compared = paired.compare(rows, champion, KEY)
        verdict = paired.verdicts(compared)[challenger]
    except ValueError as error:
        return {"moved": False, "reason": f"not compared: {error}", "comparison": None}
    entry = compared["methods"][challenger]
    reason = (
        f"the challenger is {verdict}: mean NMSE {means[challenger]:.4g} against {means[champion]:.4g}, less in "
        f"{entry['num_lower']} of {entry['num_scenes']} scenes, p {paired.p_text(entry['p'])}"
    )
    return {"moved": verdict == "better", "reason": reason, "comparison": entry}
