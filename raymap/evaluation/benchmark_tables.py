"""One table of the benchmark's page, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from raymap.evaluation.markdown import interval, number, table
from raymap.evaluation.paired import p_text

#: Studies that compare whole methods: their costs differ, laws stand beside them, and their maps are drawn.
WHOLE_METHODS = ("methods", "matrix", "measured")


def lines(numbers: Mapping) -> list[str]:
    """Markdown, one row per method, of a table of ``benchmark.json``."""
    outlined = any("outline" in scores for scores in numbers["methods"].values())
    head = ["method", "NMSE", f"÷ {numbers['reference']}", "p", "RMSE", "SSIM", "PSNR"]
    head += ["DTC", "DTIoU"] if outlined else []
    # Rows of a study are all alike in cost, and their times tell how busy the machine was.
    timed = numbers["study"] in WHOLE_METHODS
    physical = numbers["study"] == "rmdm"
    head += ["residual"] * physical
    head += ["ms per map", "GFLOP"] * timed + ["calls", "weights"] + ["trained"] * timed + ["seeds"]
    rows = []
    for name, scores in numbers["methods"].items():
        whole, drawn = scores["raw"]["all"], scores.get("outline", {})
        ratio = scores["to_reference"]
        cells = [
            name,
            interval(whole["nmse"], 4),
            "–" if ratio is None else interval(ratio, 2),
            "–" if scores["p_holm"] is None else p_text(scores["p_holm"]),
            f"{whole['rmse_db']['mean']:.2f} dB",
            f"{whole['ssim']['mean']:.3f}",
            f"{whole['psnr']['mean']:.1f} dB",
        ]
        cells += [number(drawn.get(key, {}).get("mean"), 2) for key in ("dtc", "dtiou")] if outlined else []
        cells += [number(scores.get("helmholtz", {}).get("residual", {}).get("mean"), 4)] * physical
        cells += [f"{scores['latency_ms']:.0f}", scaled(scores["flop"], 1e9)] * timed
        cells += [str(scores["network_calls"]), _count(scores["parameters"])]
        cells += ["–" if scores["minutes"] is None else f"{scores['minutes']:.0f} min"] * timed
        cells += [str(scores["num_seeds"])]
        rows.append(cells)
    return table(head, rows)


def duel(found: Mapping | None) -> list[str]:
    """A sentence on how one method does against another; nothing until both are scored."""
    if not found:
        return []
    lower, higher, num = (found[f"num_{what}"] for what in ("lower", "higher", "scenes"))
    ratio = interval(found["to_other"], 2)
    return [
        "",
        f"{found['method']} against {found['other']}: {ratio} of its NMSE; less error in {lower} and more in {higher} "
        f"of {num} scenes, p {p_text(found['p'])}.",
    ]


def scaled(value: float | None, size: float, unit: str = "") -> str:
    """A cost in units of ``size``, or a dash where it was not measured."""
    return "–" if value is None else f"{value / size:.2f}{unit}"


def _count(num: int) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if num >= size:
            return f"{num / size:.3g} {letter}"
    return str(num)
