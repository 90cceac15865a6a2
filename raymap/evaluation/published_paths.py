"""What the paper of PINN-GNN (Liu et al. 2025) reports in its Tables I and II, beside the same quantity measured here.

The paper's S1 is a DeepMIMO room at 2.4 GHz, its S2 a campus that is not public, at 3.5 GHz, five paths each. Ours are
other scenes of the same kinds. Errors of the two sides are of different data and never compared; what can be compared
is the order of methods on one side, and by how much.
"""

from __future__ import annotations

from collections.abc import Mapping

from raymap.evaluation.markdown import interval, table

#: Table I, the paper's method: sampling rate -> scene -> (MSE, RMSE, NMSE), powers, delays and angles in one pool.
RATES = {
    "0.05": {"S1": (121.76419, 11.03468, 0.02663), "S2": (587.27797, 24.23382, 0.14302)},
    "0.1": {"S1": (82.72304, 9.09522, 0.01808), "S2": (330.99339, 18.19322, 0.07242)},
    "0.15": {"S1": (73.86910, 8.59471, 0.01608), "S2": (256.36348, 16.01135, 0.06297)},
    "0.2": {"S1": (66.09599, 8.12994, 0.01446), "S2": (203.52467, 14.26621, 0.05025)},
}
#: Table II, at 10 %: method -> scene -> (MSE, RMSE, NMSE).
METHODS = {
    "Kriging": {"S1": (159.0799, 12.6127, 0.0347), "S2": (887.1504, 29.7851, 0.2172)},
    "Separate": {"S1": (134.4780, 11.5965, 0.0295), "S2": (682.7204, 26.1289, 0.1681)},
    "GNN-only": {"S1": (113.5289, 10.6550, 0.0248), "S2": (573.1187, 23.9399, 0.1397)},
    "PINN-only": {"S1": (101.5289, 10.0762, 0.0223), "S2": (512.6815, 22.6425, 0.1281)},
    "PINN-GNN": {"S1": (82.7230, 9.0952, 0.0181), "S2": (330.9934, 18.1932, 0.0724)},
}
#: What goes here by the paper's name for its method: the same networks, or where they were not run ours.
_SAME = ("pinn-gnn-as-published", "pinn-gnn")
_RATE = "0.1"
_SCORES = {"mse": 2, "rmse": 2, "nmse": 4}


def lines(scenes: Mapping[str, Mapping], reference: str | None) -> list[str]:
    """Markdown, a chapter: both tables, left as the paper prints them and right what was measured here.

    ``scenes``: those of ``paths_page.write``, of which one counts if its ``paper`` is ``"S1"`` or ``"S2"``;
    ``reference``: the method that ``ratios`` are to. Methods go by their name, in any case, with ``-``, ``_`` or a
    blank; PINN-GNN by that of the published networks. Those that the paper does not have follow. Empty if no scene
    counts.
    """
    kept = {name: scene for name, scene in scenes.items() if scene["paper"]}
    if not kept:
        return []
    methods = [row for name, scene in kept.items() for row in _method_rows(name, scene)]
    rates = [row for name, scene in kept.items() for row in _rate_rows(name, scene)]
    against = "÷ Kriging" if reference is None else f"÷ {reference}"
    return [
        "", "## What the paper reports, and what is measured here", "",
        "*Paper*: what Liu et al. (2025) print of their own data. *Here*: this benchmark's scenes, which are others of",
        "the same kind. Never compare an error of one side with one of the other; compare the order, and the ratios,",
        "of methods on either side. How the paper scales its parameters before it pools them, and what it does where a",
        "receiver has fewer paths, it does not say.",
        "", "**Table II, methods at 10 %**", "",
        *table(
            ["scene", "method", *_heads("÷ Kriging", against)],
            methods,
        ),
        "", "**Table I, PINN-GNN at every sampling rate**", "",
        *table(
            ["scene", "measured", *_heads("÷ MSE at 5 %", "÷ MSE at 5 %")],
            rates,
        ),
    ]  # fmt: skip


def _heads(printed: str, here: str) -> list[str]:
    sides = (("paper, its own data", printed), ("here", here))
    return [f"{side}: {score}" for side, ratio in sides for score in ("MSE", ratio, "RMSE", "NMSE")]


def _method_rows(name: str, scene: Mapping) -> list[list[str]]:
    methods = scene["rates"].get(_RATE, {})
    rows, others = [], dict(methods)
    for method, printed in METHODS.items():
        mse, rmse, nmse = printed[scene["paper"]]
        told = [f"{mse:.2f}", f"{mse / METHODS['Kriging'][scene['paper']][0]:.2f}", f"{rmse:.2f}", f"{nmse:.4f}"]
        title = _same(method, methods)
        rows.append([name, method, *told, *_here(others.pop(title, None))])
    return rows + [[name, f"*{title}*", *["–"] * 4, *_here(found)] for title, found in others.items()]


def _rate_rows(name: str, scene: Mapping) -> list[list[str]]:
    here = {rate: methods.get(_same("PINN-GNN", methods)) for rate, methods in scene["rates"].items()}
    least = next(iter(RATES))
    rows = []
    for rate, printed in RATES.items():
        mse, rmse, nmse = printed[scene["paper"]]
        told = [f"{mse:.2f}", f"{mse / RATES[least][scene['paper']][0]:.2f}", f"{rmse:.2f}", f"{nmse:.4f}"]
        ratio = f"{_mse(here[rate]) / _mse(here[least]):.2f}" if here.get(rate) and here.get(least) else "–"
        rows.append([name, f"{100 * float(rate):g} %", *told, *_here(here.get(rate), ratio)])
    return rows


def _here(found: Mapping | None, ratio: str | None = None) -> list[str]:
    """MSE, ratio (by default to the reference), RMSE and NMSE of a method, dashes where it was not run."""
    if found is None:
        return ["–"] * 4
    if ratio is None:
        told = found["ratios"].get("all/mixed/mse")
        ratio = interval(told, 2) if told else "–"
    cells = [interval(found["scores"][f"all/mixed/{score}"], digits) for score, digits in _SCORES.items()]
    return [cells[0], ratio, *cells[1:]]


def _mse(found: Mapping) -> float:
    return found["scores"]["all/mixed/mse"]["mean"]


def _same(method: str, methods: Mapping[str, Mapping]) -> str | None:
    """What the paper's ``method`` is called among those that were run here, None if it was not."""
    titles = {_key(title): title for title in methods}
    keys = _SAME if _key(method) == _SAME[-1] else (_key(method),)
    return next((titles[key] for key in keys if key in titles), None)


def _key(method: str) -> str:
    return method.lower().replace("_", "-").replace(" ", "-")
