"""One HTML file that shows what was scored, how, and what came out; it needs no network and no other file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from raymap.evaluation import charts, html_page, paired
from raymap.evaluation.metrics import CONVENTIONS

_MISSING = "–"
#: Key, heading, unit, digits, and whether less is better.
_METRICS = (
    ("nmse", "NMSE", "", 4, True),
    ("rmse_db", "RMSE", "dB", 2, True),
    ("ssim", "SSIM", "", 3, False),
    ("psnr", "PSNR", "dB", 2, False),
)
_OUTLINE = (
    ("dtc", "DTC", "", 3, False),
    ("dtiou", "DTIoU", "", 3, False),
    ("iou", "IoU", "", 3, False),
    ("share", "share marked", "", 3, None),
    ("share_true", "share true", "", 3, None),
)
#: Key, heading, unit, how many of the number make one of the unit, and digits.
_COSTS = (
    ("latency_ms", "latency", "ms", 1, "{:,.1f}"),
    ("maps_per_s", "throughput", "maps/s", 1, "{:,.1f}"),
    ("peak_memory_mb", "peak memory", "MB", 1, "{:,.0f}"),
    ("flop", "operations per map", "GFLOP", 1e9, "{:,.2f}"),
    ("parameters", "parameters", "", 1, "{:,.0f}"),
    ("network_calls", "network calls per map", "", 1, "{:,.0f}"),
)
_REGION_NAMES = {"all": "all cells", "outdoor": "outdoor", "los": "line of sight", "nlos": "no line of sight"}
_CONVENTION_NAMES = {"raw": "raw", "thr02": "thr-0.2"}


def write_report(
    folder,
    summary: dict,
    pictures: Sequence[tuple[str, str, bytes]] = (),
    *,
    ratio: dict | None = None,
    rows=None,
    reference: str | None = None,
    notes: Sequence[str] = (),
    attribution: str = "",
    date: str | None = None,
) -> Path:
    """Write ``report.html`` into a folder, which is made if need be; returns its path.

    ``summary`` from ``summary.summarise``; ``pictures``: (title, caption, PNG bytes), shown in order; ``ratio`` from
    ``summary.ratio_to_better_floor``, which also says which methods are floors; ``rows`` as for ``summarise``, from
    which charts are drawn and methods compared; ``reference``: the method that the others are tested against, the one
    of least NMSE unless given; ``notes``: sentences for the section on how it was measured, such as the outline's τ
    and tolerance; ``attribution``: whose data this is; ``date``: today (UTC) unless given.

    Every text is escaped, pictures are embedded, and nothing is fetched. Raises ValueError if no method was scored or
    ``ratio`` or ``reference`` names a method that the summary lacks.
    """
    methods = summary["methods"]
    if not methods:
        raise ValueError("a report needs at least one method")
    floors = tuple(ratio["floors"]) if ratio else ()
    unknown = [name for name in (*floors, *(ratio["ratios"] if ratio else ())) if name not in methods]
    if unknown:
        raise ValueError(f"ratio names methods that the summary lacks: {unknown}; it has {list(methods)}")
    main = _main_table(methods, ratio)
    if reference not in (None, *methods):
        raise ValueError(f"the reference {reference!r} is no method of the summary; it has {list(methods)}")
    rings = _ring_names(methods)
    html = html_page.template("report.html").render(
        summary=summary,
        headline=_headline(methods, ratio),
        main=main,
        differences=_difference_table(rows, [row["name"] for row in main["rows"]], reference),
        profiles=_profiles(methods, rings),
        rings=_detail_table(methods, _METRICS[1], rings),
        details=[_detail_table(methods, metric, _REGION_NAMES) for metric in _METRICS],
        outline=_score_table({name: m["outline"] for name, m in methods.items() if m.get("outline")}, _OUTLINE),
        costs=_cost_table(methods),
        floors=floors,
        floor=ratio["floor"] if ratio else None,
        charts=[(title, text, html_page.data_url(png)) for title, text, png in _charts(rows, floors)],
        pictures=[(title, caption, html_page.data_url(png)) for title, caption, png in pictures],
        notes=list(notes),
        attribution=attribution,
        date=date or datetime.now(UTC).date().isoformat(),
    )
    path = Path(folder) / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")
    return path


def _headline(methods: dict, ratio: dict | None) -> dict:
    """What the first line says: the best method that is no floor, its NMSE, and how it stands to the better floor."""
    floors = ratio["floors"] if ratio else []
    scores = {name: _score(method, "raw", "all", "nmse") for name, method in methods.items()}
    scores = {name: score for name, score in scores.items() if score["mean"] is not None}
    rivals = [name for name in scores if name not in floors] or list(scores)
    if not rivals:
        return {"name": next(iter(methods)), "nmse": _MISSING, "ratio": None, "verdict": "not scored on all cells"}
    name = min(rivals, key=lambda rival: scores[rival]["mean"])
    against = ratio["ratios"].get(name) if ratio and name not in floors else None
    if against is None or against["mean"] is None:
        return {"name": name, "nmse": _number(scores[name], 4), "ratio": None, "verdict": None}
    low, high = against["low"], against["high"]
    verdict = "no interval: a single scene or a zero error"
    if low is not None:
        verdict = "better than the floor" if high < 1 else "worse than the floor" if low > 1 else "a tie with the floor"
    return {
        "name": name,
        "nmse": _number(scores[name], 4),
        "ratio": f"{against['mean']:.3g}",
        "interval": None if low is None else f"{low:.3g} to {high:.3g}",
        "floor": ratio["floor"],
        "verdict": verdict,
    }


def _main_table(methods: dict, ratio: dict | None) -> dict:
    """Raw grey levels over all cells, least NMSE first, with the ratio to the better floor where known."""
    scores = {name: method.get("raw", {}).get("all", {}) for name, method in methods.items()}
    last = float("inf")
    order = sorted(scores, key=lambda name: last if (mean := _mean(scores[name].get("nmse"))) is None else mean)
    table = _score_table({name: scores[name] for name in order}, _METRICS)
    if ratio:
        table["columns"].insert(1, {"name": "ratio to floor", "unit": "", "arrow": "↓"})
        for row in table["rows"]:
            cell = _cell(ratio["ratios"].get(row["name"]), 3)
            row["cells"].insert(1, cell | {"text": "1", "half": ""} if row["name"] == ratio["floor"] else cell)
    table["columns"].append({"name": "images", "unit": "", "arrow": ""})
    for row in table["rows"]:
        num = (scores[row["name"]].get("nmse") or {}).get("num", 0)
        row["cells"].append({"text": f"{num:,}", "half": "", "best": False})
    return table


def _difference_table(rows, order: Sequence[str], reference: str | None) -> dict | None:
    """Every other method, best first, against the reference or else the best; ``why`` if that cannot be said."""
    if rows is None or len(order) < 2:
        return None
    chosen, reference = reference is None, reference or order[0]
    try:
        found = paired.compare(rows, reference)
        verdicts = paired.verdicts(found)
    except ValueError as error:
        return {"reference": reference, "why": str(error)}
    names = [name for name in order if name != reference]
    columns = ("it is", "NMSE, median difference", "scenes better", "scenes worse", "p (Holm)")
    table_rows = []
    for name in names:
        entry = found["methods"][name]
        texts = (
            verdicts[name], f"{entry['median_difference']:+.4f}".replace("-", "−"),
            str(entry["num_lower"]), str(entry["num_higher"]), paired.p_text(entry["p_holm"]),
        )  # fmt: skip
        cells = [{"text": text, "half": "", "best": False} for text in texts]
        cells[0]["best"] = verdicts[name].startswith("better")
        table_rows.append({"name": name, "cells": cells})
    num_better, num_worse = (sum(text.startswith(word) for text in verdicts.values()) for word in ("better", "worse"))
    return {
        "reference": reference,
        "why": None,
        "chosen": chosen,
        "num_scenes": max(entry["num_scenes"] for entry in found["methods"].values()),
        "counts": (num_better, num_worse, len(names) - num_better - num_worse),
        "columns": [{"name": name, "unit": "", "arrow": ""} for name in columns],
        "rows": table_rows,
    }


def _ring_names(methods: dict) -> dict[str, str]:
    """The rings around the transmitter that were scored, as regions and as one reads them: "32–64 m", "128 m+"."""
    rings = dict.fromkeys(region for method in methods.values() for region in method.get("raw", {}))
    return {ring: ring.replace("-", "–").replace("m", " m") for ring in rings if ring not in _REGION_NAMES}


def _profiles(methods: dict, rings: dict[str, str]) -> str | None:
    """The chart of errors by distance and line of sight, of what was scored of it."""
    sight = {"los": "with", "nlos": "without"}
    scores = {
        name: {region: _score(method, "raw", region, "rmse_db") for region in (*rings, *sight)}
        for name, method in methods.items()
    }
    found = {region for places in scores.values() for region, score in places.items() if (score["mean"] or 0) > 0}
    panels = {"distance to the transmitter": rings, "line of sight": sight}
    panels = {title: places for title, places in panels.items() if found & {*places}}
    return html_page.data_url(charts.error_profiles(panels, scores)) if panels else None


def _detail_table(methods: dict, metric: tuple, regions: dict[str, str]) -> dict:
    """One metric in both conventions and those of the regions (and their headings) that were scored."""
    key, name, unit, digits, less_is_better = metric
    places = [
        (convention, region)
        for convention in CONVENTIONS
        for region in regions
        if any(_score(method, convention, region, key)["mean"] is not None for method in methods.values())
    ]
    flat = {method: {place: _score(scores, *place, key) for place in places} for method, scores in methods.items()}
    table = _score_table(flat, [(place, regions[place[1]], "", digits, less_is_better) for place in places])
    groups = [(_CONVENTION_NAMES[c], sum(place[0] == c for place in places)) for c in CONVENTIONS]
    return table | {
        "title": name + (f" [{unit}]" if unit else ""),
        "hint": "lower is better" if less_is_better else "higher is better",
        "groups": [group for group in groups if group[1]],
    }


def _score_table(scores: dict[str, dict], metrics: Sequence[tuple]) -> dict:
    """``{columns, rows}`` with the best of each column marked, from {method: {key: score}}."""
    best = {}
    for key, _, _, digits, less_is_better in metrics:
        means = [round(mean, digits) for score in scores.values() if (mean := _mean(score.get(key))) is not None]
        if means and less_is_better is not None:
            best[key] = min(means) if less_is_better else max(means)
    return {
        "columns": [
            {"name": name, "unit": unit, "arrow": {True: "↓", False: "↑", None: ""}[less_is_better]}
            for _, name, unit, _, less_is_better in metrics
        ],
        "rows": [
            {"name": name, "cells": [_cell(score.get(key), digits, best.get(key)) for key, _, _, digits, _ in metrics]}
            for name, score in scores.items()
        ],
    }


def _cost_table(methods: dict) -> dict:
    """Time, memory, operations and size; only the columns that someone filled."""
    present = [cost for cost in _COSTS if any(method.get(cost[0]) is not None for method in methods.values())]
    rows = []
    for name, method in methods.items():
        values = [(method.get(key), one, how) for key, _, _, one, how in present]
        texts = [_MISSING if value is None else how.format(value / one) for value, one, how in values]
        rows.append({"name": name, "cells": [{"text": text, "half": "", "best": False} for text in texts]})
    columns = [{"name": name, "unit": unit, "arrow": ""} for _, name, unit, _, _ in present]
    return {"columns": columns, "rows": rows if present else []}


def _charts(rows, floors: Sequence[str]) -> list[tuple[str, str, bytes]]:
    if rows is None:
        return []
    return [
        (
            "Error by method",
            "NMSE on raw grey levels over all cells. Line: 95 % interval of the mean, clustered by scene. "
            "Small dots: means of single scenes.",
            charts.method_intervals(rows, floors),
        ),
        (
            "How errors are spread",
            "Share of images whose outdoor RMSE is at most the value on the axis. Further left is better.",
            charts.error_curves(rows),
        ),
    ]


def _cell(score: dict | None, digits: int, best: float | None = None) -> dict:
    mean = _mean(score)
    if mean is None:
        return {"text": _MISSING, "half": "", "best": False}
    half = "" if score.get("low") is None else f"± {(score['high'] - score['low']) / 2:.{digits}f}"
    return {"text": f"{mean:.{digits}f}", "half": half, "best": best is not None and round(mean, digits) == best}


def _number(score: dict, digits: int) -> str:
    cell = _cell(score, digits)
    return f"{cell['text']} {cell['half']}".strip()


def _mean(score: dict | None) -> float | None:
    return None if score is None else score.get("mean")


def _score(method: dict, convention: str, region: str, metric: str) -> dict:
    return method.get(convention, {}).get(region, {}).get(metric) or {"mean": None, "low": None, "high": None, "num": 0}
