import copy

import pytest

from raymap.evaluation import benchmark_kept


def row(nmse, name=None, ratio=0.5):
    """As much of a row as is looked at."""
    trainings = [{"name": name, "commits": ["1a"]}] if name else []
    return {"raw": {"all": {"nmse": {"mean": nmse}}}, "to_reference": ratio, "p_holm": 0.01, "trainings": trainings}


def page(tables, size="small", located=None):
    """As much of ``benchmark.json`` as is looked at."""
    return {"size": size, "outline_rule": {"threshold": 0.1}, "tables": tables, "localization": located or {}}


def table(methods, kind="srm", split="test", dataset="towns abc", reference="base", **more):
    about = {"study": "methods", "kind": kind, "split": split, "dataset": dataset, "reference": reference}
    return about | {"methods": methods, "duel": None, "pictures": {}} | more


def nmse(found, index=0):
    return {name: scores["raw"]["all"]["nmse"]["mean"] for name, scores in found["tables"][index]["methods"].items()}


def test_rows_and_tables_that_are_not_there_anew_stay_in_their_order():
    earlier = page(
        [table({"floor": row(9), "base": row(4, "b"), "old": row(3, "o")}), table({"x": row(1)}, kind="drm")]
    )
    found = benchmark_kept.keep(page([table({"floor": row(8), "new": row(2, "n")})]), earlier)
    assert nmse(found) == {"floor": 8, "base": 4, "old": 3, "new": 2}
    assert list(nmse(found)) == ["floor", "base", "old", "new"]
    assert nmse(found, 1) == {"x": 1} and found["tables"][1]["kind"] == "drm"
    assert benchmark_kept.kept_names(found["tables"]) == ["b", "o"]


def test_what_is_trained_anew_replaces_what_was():
    earlier = page([table({"base": row(4, "b"), "old": row(3, "o")})])
    again = page([table({"base": row(5, "b"), "old": row(2, "o")})])
    assert benchmark_kept.keep(copy.deepcopy(again), earlier) == again


@pytest.mark.parametrize("new", ["base", "other"])
def test_a_ratio_stays_only_where_both_of_its_rows_do(new):
    earlier = page([table({"base": row(4), "old": row(2)})])
    found = benchmark_kept.keep(page([table({new: row(1, ratio=1.0)})]), earlier)
    kept = found["tables"][0]["methods"]["old"]
    assert kept["to_reference"] == (None if new == "base" else 0.5)
    assert (kept["p_holm"] is None) == (new == "base")


def test_rows_of_another_dataset_size_or_rule_do_not_stay():
    fresh = page([table({"new": row(1)})])
    for earlier in (
        page([table({"old": row(2)}, dataset="other towns")]),
        page([table({"old": row(2)})], size="full"),
        page([table({"old": row(2)})]) | {"outline_rule": {"threshold": 0.5}},
        None,
    ):
        assert nmse(benchmark_kept.keep(copy.deepcopy(fresh), earlier)) == {"new": 1}


def test_located_receivers_stay_by_the_same_rule():
    rule = {"num_transmitters": 5, "noise_db": 1.0}
    old = {"rule": rule, "kinds": {"srm": {"a": 1, "b": 2}, "drm": {"a": 3}}}
    fresh = {"rule": dict(rule), "kinds": {"srm": {"b": 7}}}
    found = benchmark_kept.keep(page([], located=fresh), page([], located=old))["localization"]
    assert found["kinds"] == {"srm": {"a": 1, "b": 7}, "drm": {"a": 3}}
    assert benchmark_kept.keep(page([]), page([], located=old))["localization"] == old
    louder = {"rule": rule | {"noise_db": 2.0}, "kinds": {"srm": {"b": 7}}}
    assert benchmark_kept.keep(page([], located=louder), page([], located=old))["localization"] == louder
