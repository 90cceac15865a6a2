"""What RadioDiff-k² (Wang et al. 2025) reports in its Tables I to VI, beside the same quantity measured here.

The two sides are never mixed: the paper's are its own data (RadioMapSeer, 256 x 256 cells of 1 m, a split by map), its
own metrics and its own machine, ours one split and one metric. What can be compared is what stands in which order on
one side, and by how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raymap.evaluation.benchmark_tables import scaled
from raymap.evaluation.markdown import interval, number, table

#: Tables I and II, raw grey levels, all pixels: kind -> method -> (NMSE, RMSE, SSIM, PSNR [dB]).
MAPS = {
    "srm": {
        "RME-GAN": (0.0096, 0.0279, 0.9431, 31.35), "RadioUNet": (0.0088, 0.0266, 0.9466, 31.77),
        "RadioDiff": (0.0072, 0.0240, 0.9560, 32.67), "RMDM": (0.0059, 0.0214, 0.9591, 33.67),
        "RadioDiff-k²": (0.0043, 0.0193, 0.9773, 34.46),
    },
    "drm": {
        "RME-GAN": (0.0115, 0.0306, 0.9276, 30.42), "RadioUNet": (0.0107, 0.0291, 0.9291, 30.89),
        "RadioDiff": (0.0090, 0.0266, 0.9432, 31.71), "RMDM": (0.0098, 0.0283, 0.9363, 31.13),
        "RadioDiff-k²": (0.0054, 0.0208, 0.9704, 33.79),
    },
    "mrm": {
        "RME-GAN": (0.0155, 0.0340, 0.9123, 29.74), "RadioUNet": (0.0159, 0.0344, 0.9102, 29.64),
        "RadioDiff": (0.0121, 0.0309, 0.9268, 30.44), "RMDM": (0.0100, 0.0278, 0.9180, 31.40),
        "RadioDiff-k²": (0.0066, 0.0236, 0.9674, 32.68),
    },
}  # fmt: skip
#: Table III: mean localization error [m]; how many base stations and how much noise is not said.
LOCALIZATION_M = {
    "srm": {"RME-GAN": 8.53, "RadioUNet": 8.04, "RadioDiff": 5.90, "RMDM": 7.10, "RadioDiff-k²": 3.32},
    "drm": {"RME-GAN": 10.53, "RadioUNet": 9.86, "RadioDiff": 7.18, "RMDM": 7.63, "RadioDiff-k²": 3.87},
    "mrm": {"RME-GAN": 11.04, "RadioUNet": 11.80, "RadioDiff": 8.87, "RMDM": 9.70, "RadioDiff-k²": 4.72},
}
#: Table IV, an RTX Pro 6000: (seconds a map, memory [GB]).
COST = {
    "RME-GAN": (0.0057, 0.819), "RadioUNet": (0.0056, 0.865), "RadioDiff": (0.2400, 1.520), "RMDM": (19.30, 1.653),
    "RadioDiff-k²": (0.7600, 3.020),
}  # fmt: skip
#: Table V (and Table I), static maps: outline -> NMSE.
OUTLINES = {"none": 0.0072, "k²": 0.0043, "Canny": 0.0414, "LBP": 0.8865}
#: Table VI, by diffusion: kind -> (DTC, DTIoU); threshold and tolerance are not said.
DM1 = {"srm": (0.9703, 0.9023), "drm": (0.9782, 0.8403), "mrm": (0.9577, 0.8615)}

#: Rows of our study of the outline that ask what Table V asks, all of one set of inputs.
_OUTLINE_ROWS = {"none": "no outline", "k²": "outline k_log", "Canny": "outline canny", "LBP": "outline lbp"}
_KINDS = {"srm": "static", "drm": "vehicles", "mrm": "multipath"}


def lines(tables: Sequence[Mapping], located: Mapping[str, Mapping], split: str = "test") -> list[str]:
    """Markdown, a chapter: each of the paper's tables beside the benchmark's rows of ``split`` that ask the same.

    ``tables``: those of ``benchmark.json``, ``located``: its ``localization``. A table of which nothing is measured yet
    is left out; without any the list is empty.
    """
    found = {(table["study"], table["kind"]): table["methods"] for table in tables if table["split"] == split}
    matrix = {kind: found.get(("matrix", kind), {}) for kind in MAPS}
    parts = [
        _maps(matrix),
        _located(located),
        _costs(matrix["srm"]),
        _outlines(found.get(("outline", "srm"), {})),
        _dm1(matrix),
    ]
    compared = [line for part in parts for line in part]
    return compared and [
        "",
        "## What the paper reports, and what is measured here",
        "",
        "Left what RadioDiff-k² (Wang et al. 2025) prints, by its own data, split and metrics. Right rows of the",
        "tables above, on the first of their splits. Never compare a number of one side with one of the other; compare",
        "the order, and the ratios, of methods on either side.",
        *compared,
    ]


def _titled(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["", f"**{title}**", "", *table(head, rows)] if rows else []


def _maps(matrix: Mapping[str, Mapping]) -> list[str]:
    rows = []
    for kind, printed in MAPS.items():
        base = matrix[kind].get("RadioDiff")
        for name, (nmse, rmse, ssim, psnr_db) in printed.items():
            if name not in matrix[kind]:
                continue
            here = {key: score["mean"] for key, score in matrix[kind][name]["raw"]["all"].items()}
            ratio = "–" if base is None else f"{here['nmse'] / base['raw']['all']['nmse']['mean']:.2f}"
            rows.append(
                [
                    _KINDS[kind], name, f"{nmse:.4f}", f"{nmse / printed['RadioDiff'][0]:.2f}", f"{rmse:.4f}",
                    f"{ssim:.3f}", f"{psnr_db:.1f}", f"{here['nmse']:.4f}", ratio, f"{here['rmse_db'] / 100:.4f}",
                    f"{here['ssim']:.3f}", f"{here['psnr']:.1f}",
                ]
            )  # fmt: skip
    scores = ("NMSE", "÷ RadioDiff", "RMSE", "SSIM", "PSNR")
    head = ["maps", "method", *(f"paper: {scores[0]}", *scores[1:]), *(f"here: {scores[0]}", *scores[1:])]
    return _titled("Tables I and II, the maps", head, rows)


def _located(located: Mapping[str, Mapping]) -> list[str]:
    if not located:
        return []
    num, noise_db = located["rule"]["num_transmitters"], located["rule"]["noise_db"]
    rows = []
    for kind, methods in located["kinds"].items():
        for name, scores in methods.items():
            printed = LOCALIZATION_M[kind].get(name)
            here = [interval(scores["all"]["mean_m"], 1)]
            here += [number(scores[points]["mean_m"]["mean"], 1) for points in ("los", "nlos")]
            here += [number(scores["all"][key]["quantile"], 1) for key in ("median_m", "p90_m")]
            rows.append([_KINDS[kind], name, "–" if printed is None else f"{printed:.2f} m", *here])
    head = ["maps", "method", "paper: mean", "here: mean [m]", "seen", "not seen", "median", "90 %"]
    rule = f"here each hears {num} transmitters, {noise_db:g} dB off"
    return _titled(f"Table III, receivers found by their nearest fingerprints; {rule}", head, rows)


def _costs(methods: Mapping) -> list[str]:
    rows = [
        [
            name, f"{seconds:.4f} s", f"{memory_gb:.2f} GB", f"{methods[name]['latency_ms'] / 1000:.4f} s",
            scaled(methods[name]["peak_memory_mb"], 1e3, " GB"), scaled(methods[name]["flop"], 1e9),
            str(methods[name]["network_calls"]),
        ]
        for name, (seconds, memory_gb) in COST.items()
        if name in methods
    ]  # fmt: skip
    head = ["method", "paper: time", "memory", "here: time", "memory of the process", "GFLOP", "network calls"]
    return _titled("Table IV, one map; there 256 x 256 cells on an RTX Pro 6000", head, rows)


def _outlines(methods: Mapping) -> list[str]:
    rows = [
        [name, f"{nmse:.4f}", row, f"{methods[row]['raw']['all']['nmse']['mean']:.4f}"]
        for (name, nmse), row in zip(OUTLINES.items(), _OUTLINE_ROWS.values(), strict=True)
        if row in methods
    ]
    head = ["outline", "paper: NMSE", "row here", "here: NMSE"]
    return _titled("Table V, what is drawn first; here all see what physics says of a cell, too", head, rows)


def _dm1(matrix: Mapping[str, Mapping]) -> list[str]:
    rows = []
    for kind, (dtc, dtiou) in DM1.items():
        outline = matrix[kind].get("RadioDiff-k²", {}).get("outline")
        if outline:
            here = (f"{outline[key]['mean']:.2f}" for key in ("dtc", "dtiou"))
            rows.append([_KINDS[kind], f"{dtc:.2f}", f"{dtiou:.2f}", *here])
    title = "Table VI, the outline by diffusion; its row of a U-Net, and LPIPS, are not measured here"
    return _titled(title, ["maps", "paper: DTC", "DTIoU", "here: DTC", "DTIoU"], rows)
