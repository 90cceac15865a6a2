"""A sweep as a page: the best settings, parallel coordinates, learning curves, and what each setting is worth."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raymap.evaluation import html_page, sweep_pictures
from raymap.evaluation.markdown import interval, table
from raymap.space import short

SCORE, TIME = "val_score", "val_ms"
LABELS = {SCORE: "validation error", TIME: "ms per sample"}
_WAYS = {
    "asha": "stopped early where behind (ASHA)",
    "pbt": "gone on from better ones (PBT)",
    "none": "all to the end",
}
#: Trials in the table of the best.
_NUM_BEST = 10
#: Trials from which importance is told.
_ENOUGH = 8


def at_best(trial: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a trial's best checkpoint."""
    return min(trial["history"], key=lambda line: line[SCORE])


def front(trials: Sequence[Mapping[str, Any]], objectives: Sequence[str]) -> list[Mapping[str, Any]]:
    """The trials that no other one beats in one objective and equals or beats in all, by their best checkpoints."""
    values = [[at_best(trial)[name] for name in objectives] for trial in trials]

    def beaten(mine: Sequence[float]) -> bool:
        return any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and list(other) != list(mine) for other in values
        )

    return [trial for trial, mine in zip(trials, values, strict=True) if not beaten(mine)]


def common_step(trials: Sequence[Mapping[str, Any]]) -> int:
    """The last step at which every trial told a score: where all can be compared."""
    steps = [{line["step"] for line in trial["history"]} for trial in trials]
    return max(set.intersection(*steps), default=0)


def importance(space: Mapping[str, Mapping[str, Any]], trials: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """Key -> share of the variance of the score that it explains (fANOVA, Hutter et al., ICML 2014, by Optuna).

    Of the scores at the last step that all trials have; None where too few trials, or equal ones, tell nothing.
    """
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    step = common_step(trials) if trials else 0
    scores = [next(line[SCORE] for line in trial["history"] if line["step"] == step) for trial in trials if step]
    if len(scores) < _ENOUGH or len(set(scores)) == 1:
        return None

    def distribution(domain: Mapping[str, Any]):
        if "values" in domain:
            return CategoricalDistribution([str(value) for value in domain["values"]])
        kind = IntDistribution if domain["integer"] else FloatDistribution
        number = int if domain["integer"] else float
        return kind(number(domain["low"]), number(domain["high"]), log=domain["log"])

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    for trial, score in zip(trials, scores, strict=True):
        told = trial["history"][0]["overrides"]
        params = {key: str(told[key]) if "values" in domain else told[key] for key, domain in space.items()}
        study.add_trial(optuna.trial.create_trial(
            params=params, distributions={key: distribution(space[key]) for key in params}, value=score))  # fmt: skip
    return optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0))


def write(path: Path, about: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> Path:
    """Write the page as one HTML file, and as Markdown beside it with its pictures in a folder of that name.

    ``about``: name, command, commit, hardware, space, search, scheduler, objectives, num_steps. ``trials``: number,
    status, and history, a line of metrics and ``overrides`` for every checkpoint. ``about`` may have ``confirmed``, as
    :func:`raymap.runtime.sweep_confirm.confirm` returns it. Returns ``path``.
    """
    known = sorted((trial for trial in trials if trial["history"]), key=lambda trial: at_best(trial)[SCORE])
    pictures = _pictures(about, known)
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (folder / f"{name}.png").write_bytes(picture)
    page = path.with_suffix(".md")
    page.write_text(_markdown(folder.name, about, trials, known, list(pictures)), encoding="utf-8")
    return html_page.from_markdown(page, path)


def _pictures(about: Mapping[str, Any], known: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    keys, label = list(about["space"]), LABELS[SCORE]
    best = known[0]
    rows = [
        {"values": [at_best(trial)["overrides"][key] for key in keys], "score": at_best(trial)[SCORE],
         "is_best": trial is best}
        for trial in reversed(known)
    ]  # fmt: skip
    curves = [
        {"steps": [line["step"] for line in trial["history"]], "scores": [line[SCORE] for line in trial["history"]],
         "status": trial["status"], "is_best": trial is best}
        for trial in known
    ]  # fmt: skip
    found = {
        "coordinates": sweep_pictures.coordinates([*short(keys).values()], rows, label),
        "curves": sweep_pictures.learning_curves(curves, label),
    }
    shares = importance(about["space"], known)
    if shares is not None:
        found["importance"] = sweep_pictures.importance({short(keys)[key]: share for key, share in shares.items()})
    for pair in itertools.islice(itertools.combinations(about["objectives"], 2), 1):
        not_beaten = front(known, about["objectives"])
        points = [
            {"values": tuple(at_best(trial)[name] for name in pair), "is_front": trial in not_beaten} for trial in known
        ]
        found["front"] = sweep_pictures.front(points, [LABELS[name] for name in pair])
    return found


def _markdown(
    folder: str,
    about: Mapping[str, Any],
    trials: Sequence[Mapping[str, Any]],
    known: Sequence[Mapping[str, Any]],
    pictures: Sequence[str],
) -> str:
    keys = list(about["space"])
    steps = sum(trial["history"][-1]["step"] for trial in known)
    statuses = [trial["status"] for trial in trials]
    told = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
    drawn = "PBT" if about["scheduler"] == "pbt" else about["search"]
    lines = [
        f"# Sweep {about['name']}", "", f"`{about['command']}`", "",
        f"{len(trials)} trials ({told}), {steps:,} training steps together, at most {about['num_steps']:,} each; "
        f"settings drawn by {drawn}; trials {_WAYS[about['scheduler']]}. "
        f"{about['hardware']}; commit {about['commit']}.", "",
        "*Validation error*: NMSE of maps (grey levels, all pixels), mixed squared error of paths; of the validation "
        "split, and the best checkpoint of each trial. The lower the better.", "",
        "## The best", "", *_best(keys, known), "",
    ]  # fmt: skip
    if "confirmed" in about:
        lines += ["## Confirmed", "", *_confirmed(about["confirmed"]), ""]
    heads = {
        "coordinates": "Settings and scores", "curves": "Learning curves", "importance": "What each setting is worth",
        "front": "Quality against time",
    }  # fmt: skip
    texts = {
        "importance": f"Of the scores at step {common_step(known)}, which all trials have (fANOVA). "
        f"{len(known)} trials tell it roughly.",
    }
    for name in pictures:
        lines += [f"## {heads[name]}", "", f"![{heads[name]}]({folder}/{name}.png)", ""]
        lines += [texts[name], ""] if name in texts else []
    return "\n".join(lines)


def _best(keys: Sequence[str], known: Sequence[Mapping[str, Any]]) -> list[str]:
    head = ["trial", LABELS[SCORE], "at step", LABELS[TIME], *short(keys).values(), "trial was"]
    rows = []
    for trial in known[:_NUM_BEST]:
        best = at_best(trial)
        time_ms = f"{best[TIME]:.3g}" if TIME in best else "–"
        rows.append([
            str(trial["number"]), f"{best[SCORE]:.4g}", f"{best['step']:,}", time_ms,
            *(_value(best["overrides"][key]) for key in keys), trial["status"],
        ])  # fmt: skip
    return table(head, rows)


def _confirmed(found: Mapping[str, Any]) -> list[str]:
    names = short(found["overrides"])
    settings = ", ".join(f"{names[key]} {_value(value)}" for key, value in found["overrides"].items())
    rows = [
        [f"{split} ({part['num_maps']:,} maps)", name, interval(scores, 4),
         ", ".join(f"{value:.4f}" for value in scores["by_seed"]), part["verdict"] if number == 0 else ""]
        for split, part in found["splits"].items() for number, (name, scores) in enumerate(part["methods"].items())
    ]  # fmt: skip
    return [
        f"Found: {settings}. Trained anew for {found['num_steps']:,} steps from {found['seeds']} seeds, beside the job "
        "as it was before, and scored on maps that no trial has seen. *Verdict*: Wilcoxon's signed-rank test over "
        "scenes, of the mean over seeds, where all seeds agree who is better.", "",
        *table(["split", "settings", "NMSE (95 % interval)", "by seed", "verdict on those found"], rows),
    ]  # fmt: skip


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
