"""A trained model as an installed one: raymap.load("NAME") opens it by its name, on any machine that has raymap.

    python jobs/publish_model.py --model runs/small/model --name k2-small
    python jobs/publish_model.py --model runs/small/model --name k2-small --report runs/small/report \
        --report "Real maps zero-shot"=runs/radiomapseer/report

Writes ``run.json``, ``model.safetensors`` (bfloat16) and the model card ``README.md`` into ``raymap/pretrained/NAME``.
Without ``--report`` the card shows the report beside the model. Of a report that scores several methods ``--method``
names the model's; the default is the last.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from raymap import api
from raymap.config import Settings, from_command_line
from raymap.data import sites
from raymap.data.generated import city
from raymap.data.reader import ShardReader
from raymap.data.schema import DatasetCard
from raymap.models import base
from raymap.models.base import Predictor
from raymap.runtime import provenance
from raymap.scene import Grid

MAX_BYTES = 16_000_000
#: Median difference between the maps of the published and of the trained model [dB].
MAX_DIFFERENCE_DB = 0.05
CARD_FILE = "README.md"
KINDS = {
    "srm": "dominant path model, static",
    "drm": "dominant path model with vehicles",
    "mrm": "ray launching with reflections",
}
#: Towns that the two models are compared on, and their size.
NUM_TOWNS, TOWN_CELLS = 4, 64


class Job(Settings):
    """What to publish."""

    model: str = Field("", description="folder of the trained model")
    name: str = Field("", pattern=r"^([a-z0-9][a-z0-9.-]*)?$", description="name to load it by, e.g. k2-small")
    report: list[str] = Field(
        [], description="folder with metrics.json, as TITLE=FOLDER (no comma) or FOLDER; repeatable"
    )
    method: str = Field("", description="the model's name in the reports; default: the last method")
    command: str = Field("", description="command that trained it; default: the one that wrote the first report")
    data: str = Field("", description="dataset it was trained on; default: the one that its run.json names")
    out: str = Field(str(api.PRETRAINED), description="folder of the installed models")


def main(argv: Sequence[str]) -> Path:
    """Publish and print what it is. Raises ValueError for a model that must not be published, and says why."""
    job = from_command_line(Job(), argv, prog="publish_model.py")
    if not job.model or not job.name:
        raise SystemExit("--model (a trained model's folder) and --name are needed")
    source = Path(job.model).resolve()
    trained, run = base.load(source), json.loads((source / base.CONFIG_FILE).read_text())
    settings = run.get("data") or {}
    data = job.data or settings.get("folder") or str(source.parent / "data")
    card, reports = DatasetCard.load(data), _reports(job, source, trained)
    out, partial = Path(job.out) / job.name, Path(job.out) / f".{job.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        base.save(trained, partial, _run(job, reports, card, settings), compact=True)
        difference_db = _difference_db(trained, base.load(partial), card.cell_m)
        text = _model_card(job.name, trained, reports, card, _conditions(data), difference_db)
        (partial / CARD_FILE).write_text(text)
        _check(partial, difference_db)
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{out}: {_num_bytes(out) / 1e6:.2f} MB, {difference_db:.4f} dB from the trained model (median)")
    return out


def _num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _check(folder: Path, difference_db: float) -> None:
    """Raises ValueError for a folder that must not be published: too large, too different, or of one machine."""
    if _num_bytes(folder) > MAX_BYTES:
        raise ValueError(f"{_num_bytes(folder)} bytes are too large for an installed model, at most {MAX_BYTES} may be")
    if not difference_db <= MAX_DIFFERENCE_DB:
        raise ValueError(f"maps differ by {difference_db:.3f} dB (median), at most {MAX_DIFFERENCE_DB} dB may be lost")
    for name in (base.CONFIG_FILE, CARD_FILE):
        if found := re.search(r"(?<![\w./:])/[\w.-]+/\S*", (folder / name).read_text()):
            raise ValueError(f"{name} names a folder of this machine: {found[0]}")


def _reports(job: Job, source: Path, trained: Predictor) -> list[dict]:
    """What every report says, with its ``title`` and the model's name in it, ``method``.

    Raises FileNotFoundError without a report, ValueError if it has no such method or scores another model.
    """
    found = []
    for text in job.report or [str(source.parent / "report")]:
        title, _, where = text.rpartition("=")
        path = Path(where) if where.endswith(".json") else Path(where) / "metrics.json"
        if not path.is_file():
            raise FileNotFoundError(f"no {path}: score the model first (jobs/evaluate.py), or name its --report")
        values = json.loads(path.read_text())
        methods = values["methods"]
        method = job.method or next(reversed(methods))
        if method not in methods:
            raise ValueError(f"{path} has no method {method!r}; it has {', '.join(methods)}")
        parameters, expected = methods[method].get("parameters"), sum(part.numel() for part in trained.parameters())
        if parameters != expected:
            raise ValueError(
                f"{path} scores another model: {method!r} has {parameters} parameters, this model {expected}"
            )
        found.append({**values, "title": title or f"Split {values['split']!r}", "method": method})
    return found


def _run(job: Job, reports: list[dict], card: DatasetCard, settings: dict) -> dict:
    """What ``run.json`` says beside the model's settings; nothing of one machine."""
    return {
        "name": job.name,
        "commit": reports[0]["commit"],
        "command": portable(job.command or reports[0]["command"]),
        "published_at_commit": provenance.git_commit(),
        "dataset": {"name": card.name, "kind": card.kind, "cell_m": card.cell_m, "fingerprint": card.fingerprint},
        "data": {key: value for key, value in settings.items() if key == "outline"},
    }


def portable(command: str) -> str:
    """A command without the folders of the machine it ran on: from jobs/ on, or the last part of every path."""
    return re.sub(r"(?<![\w./])/(?:[^\s=]*?/)?(jobs/[^\s=]+|[^\s/=]+)(?=\s|=|$)", r"\1", command)


def _difference_db(trained: Predictor, published: Predictor, cell_m: float) -> float:
    """Median absolute difference between the maps of both, outdoors in a few generated towns [dB]."""
    differences = []
    for seed in range(NUM_TOWNS):
        scene = city(seed, Grid((TOWN_CELLS, TOWN_CELLS), cell_m))
        places = sites.place(scene, 2, seed)
        both = [api.predict(model, scene, places) for model in (trained, published)]
        differences += [abs(one.gain_db - other.gain_db)[one.valid] for one, other in zip(*both, strict=True)]
    return float(np.median(np.concatenate(differences)))


def _conditions(data: str) -> str:
    """Frequencies and heights of the transmitters that a dataset's training split holds."""
    columns = list(ShardReader(data, "train"))
    ghz = sorted({float(value) / 1e9 for part in columns for value in part["frequency_hz"]})
    height_m = sorted({float(value) for part in columns for value in part["tx_xyz_m"][:, 2]})
    return f"{_range(ghz)} GHz, transmitters {_range(height_m)} m above ground"


def _range(values: list[float]) -> str:
    return f"{values[0]:g}" if values[0] == values[-1] else f"{values[0]:g} to {values[-1]:g}"


def _model_card(
    name: str, model: Predictor, reports: list[dict], card: DatasetCard, conditions: str, difference_db: float
) -> str:
    """The model card as Markdown; every number in it comes from a report, the dataset or the comparison."""
    num = sum(parameter.numel() for parameter in model.parameters())
    (rows, columns), truth = card.shape, KINDS.get(card.kind, "as its makers describe it")
    splits = ", ".join(
        f"{split} {len(found.scenes)} scenes ({', '.join(sorted({scene.split('/')[0] for scene in found.scenes}))})"
        for split, found in card.splits.items()
    )
    lines = [
        f"# {name}",
        "",
        f"Radio maps from buildings, vehicles and one transmitter, on cells of {card.cell_m:g} m. Kind "
        f"`{model.config.kind}`, {num:,} parameters, {model.network_calls} network calls per map.",
        "",
        "```python",
        "import raymap",
        "",
        f'model = raymap.load("{name}")',
        "maps = raymap.predict(model, scene, transmitters)  # maps[0].gain_db: path gain [dB], valid outdoors",
        "```",
        "",
        "## Trained on",
        "",
        f"Dataset `{card.name}` of kind `{card.kind}` ({truth}), fingerprint `{card.fingerprint}`: "
        f"{', '.join(card.sources)}; {rows} x {columns} cells of {card.cell_m:g} m; {conditions}. "
        f"Scenes by split: {splits}. No scene is in two splits.",
    ]
    for report in reports:
        lines += _scores(report)
    lines += [
        "",
        f"Stored weights are rounded to bfloat16 and computed with in float32. Maps differ from the trained model's by "
        f"{difference_db:.4f} dB (median over {NUM_TOWNS} generated towns).",
        "",
        "## Limits",
        "",
        f"- Other cells than {card.cell_m:g} m are refused; coarsen the scene (`Scene.coarsen`).",
        f"- It has seen {conditions}, and nothing else.",
        f"- It has seen maps of {rows * card.cell_m:g} m by {columns * card.cell_m:g} m with the transmitter inside. "
        "Larger areas are predicted, with errors that grow with the distance.",
        f"- Its truth is a simulation ({truth}), not a measurement; the ground is flat.",
        "",
        "## Licence and sources",
        "",
        f"Weights: Apache-2.0. Training data: {card.attribution}",
    ]
    return "\n".join(lines) + "\n"


def _scores(report: dict) -> list[str]:
    """A report's table: the model, and what needs no network, all pixels in raw grey levels."""
    chosen = {report["method"]: report["methods"][report["method"]]}
    chosen |= {name: found for name, found in report["methods"].items() if found.get("network_calls") == 0}
    heads = {"NMSE": ("nmse", 4), "RMSE [dB]": ("rmse_db", 2), "SSIM": ("ssim", 3), "PSNR [dB]": ("psnr", 1)}
    lines = [
        "",
        f"## Scores: {report['title']}",
        "",
        f"Dataset {report['dataset']}, split `{report['split']}`, {report['num_images']} maps of "
        f"{report['num_scenes']} scenes. Raw grey levels, all pixels; mean and 95 % interval clustered by scene.",
        "",
        "| method | " + " | ".join(heads) + " |",
        "|" + "---|" * (len(heads) + 1),
    ]
    for name, found in chosen.items():
        cells = [_interval(found["raw"]["all"][metric], digits) for metric, digits in heads.values()]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    own = report["methods"][report["method"]]
    cost = f"{own['latency_ms']:.0f} ms per map on {report['hardware']}. " if own.get("latency_ms") else ""
    return [*lines, "", f"{cost}Commit {report['commit']}: `{portable(report['command'])}`"]


def _interval(score: dict, digits: int) -> str:
    if score["mean"] is None:
        return "-"
    mean, low, high = (f"{score[key]:.{digits}f}" if score[key] is not None else "?" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    main(sys.argv[1:])
