"""Rows of an earlier benchmark page that stay on the next one: trainings take days, and a page must not forget.

A row stays where the table is the same (study, kind of maps, split and dataset) and holds no newer row of that name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_SAME = ("study", "kind", "split", "dataset")


def keep(found: dict, earlier: Mapping | None) -> dict:
    """``found`` (what ``benchmark.json`` holds) with the rows of an ``earlier`` one that it lacks, marked ``kept``.

    Rows of another size, dataset or rule are left. What compares a row with another one, its ratio and its p, stays
    only where both rows do; with another it takes the scores of every map. Returns ``found`` itself, changed.
    """
    if not earlier or any(earlier.get(key) != found[key] for key in ("size", "outline_rule")):
        return found
    for table in earlier["tables"]:
        fresh = next((other for other in found["tables"] if all(other[key] == table[key] for key in _SAME)), None)
        if fresh is None:
            if not any(_place(other) == _place(table) for other in found["tables"]):
                found["tables"].append(
                    {**table, "methods": {n: m | {"kept": True} for n, m in table["methods"].items()}}
                )
        else:
            _add(fresh, table)
    _keep_located(found, earlier)
    return found


def _place(table: Mapping) -> tuple:
    """What a table is about, whatever its dataset."""
    return tuple(table[key] for key in _SAME[:3])


def _add(fresh: dict, table: Mapping) -> None:
    """The rows of ``table`` that ``fresh`` lacks, each behind the row that it stood behind."""
    lacking = [name for name in table["methods"] if name not in fresh["methods"]]
    if not lacking:
        return
    methods, names = dict(fresh["methods"]), list(table["methods"])
    order, is_reference_new = list(methods), fresh["reference"] in methods
    for name in lacking:
        row = {**table["methods"][name], "kept": True}
        if is_reference_new:
            row |= {"to_reference": None, "p_holm": None}
        methods[name] = row
        before = [other for other in names[: names.index(name)] if other in order]
        order.insert(order.index(before[-1]) + 1 if before else 0, name)
    fresh["methods"] = {name: methods[name] for name in order}
    fresh["duel"] = fresh["duel"] or _duel(table, lacking)
    fresh["pictures"] = {**table["pictures"], **fresh["pictures"]}


def _duel(table: Mapping, lacking: Sequence[str]) -> Mapping | None:
    found = table.get("duel")
    return found if found and {found["method"], found["other"]} <= set(lacking) else None


def _keep_located(found: dict, earlier: Mapping) -> None:
    """Rows of located receivers, where the rule and the kind of maps are the same."""
    old, new = earlier.get("localization") or {}, found["localization"]
    if not old or (new and new["rule"] != old["rule"]):
        return
    if not new:
        found["localization"] = dict(old)
        return
    for kind, methods in old["kinds"].items():
        new["kinds"][kind] = {**methods, **new["kinds"].get(kind, {})}


def kept_names(tables: Sequence[Mapping]) -> list[str]:
    """Names of the trainings, each once, whose rows are of an earlier page."""
    kept = (scores for table in tables for scores in table["methods"].values() if scores.get("kept"))
    return list(dict.fromkeys(one["name"] for scores in kept for one in scores["trainings"]))
