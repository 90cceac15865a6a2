"""Search spaces: as people write them, and as overrides of a config."""

import pytest

from raymap import recipes
from raymap.config import Settings, from_command_line
from raymap.space import Choice, Range, Space, domain_of, overridden, require_fits, short


class Inner(Settings):
    rate: float = 0.1
    pair: tuple[float, float] = (0.0, 1.0)


class Outer(Settings):
    inner: Inner = Inner()
    kind: str = "a"
    space: Space = {}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.1..10 log", Range(low=0.1, high=10, log=True)),
        ("-1..1", Range(low=-1, high=1)),
        ("1e-4..1e-2 log", Range(low=1e-4, high=1e-2, log=True)),
        ("2..8 int", Range(low=2, high=8, integer=True)),
        ("1..64 int log", Range(low=1, high=64, integer=True, log=True)),
        ("k_log|k_eff", Choice(values=("k_log", "k_eff"))),
        ("1|2.5|true|[1, 2]", Choice(values=(1, 2.5, True, [1, 2]))),
    ],
)
def test_domains_are_written_as_people_do(text, wanted):
    assert domain_of(text) == wanted
    assert domain_of(repr(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "told"),
    [("10..0.1", "low to high"), ("0..1 log", "above 0"), ("0.5..2 int", "whole ends"), ("k_log", "LOW..HIGH")],
)
def test_a_domain_that_makes_no_sense_is_told(text, told):
    with pytest.raises(ValueError, match=told):
        domain_of(text)


def test_overrides_reach_nested_fields_and_components_and_leave_the_rest():
    found = overridden(Outer(kind="b"), {"inner.rate": 0.5, "inner.pair.1": 3})
    assert found == Outer(kind="b", inner=Inner(rate=0.5, pair=(0.0, 3.0)))


def test_one_value_may_go_to_several_fields_of_a_real_job():
    job = recipes.k2("debug")
    found = overridden(job, {"outline.model.lambda_drift,map.model.lambda_drift": 0.25, "data.outline.kind": "k_eff"})
    assert (found.outline.model.lambda_drift, found.map.model.lambda_drift) == (0.25, 0.25)
    assert type(found) is type(job) and type(found.map.model) is type(job.map.model)
    assert found.data.outline.kind == "k_eff" and found.map.optim == job.map.optim


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"inner.rat": 1}, "'rat' is none of rate, pair"),
        ({"inner.rate.0": 1}, "which has none"),
        ({"inner.pair.2": 1}, "components 0 to 1"),
        ({"inner.rate": "much"}, "inner.rate = 'much'"),
    ],
)
def test_what_cannot_be_set_is_named(values, told):
    with pytest.raises(ValueError, match=told):
        overridden(Outer(), values)


def test_a_space_is_checked_before_anything_runs():
    job = recipes.k2("debug")
    require_fits({"map.model.lambda_drift": Range(low=0.1, high=1)}, job)
    with pytest.raises(ValueError, match=r"lambda_drift = -1"):
        require_fits({"map.model.lambda_drift": Range(low=-1, high=1)}, job)
    with pytest.raises(ValueError, match="searched twice"):
        require_fits({"seed": Range(low=0, high=1), "seed,map.optim.num_steps": Range(low=1, high=2)}, job)


def test_a_space_is_a_repeatable_option():
    found = from_command_line(Outer(), ["--space", "inner.rate=0.1..1 log", "--space", "kind=a|b", "--kind", "c"])
    assert found.space == {"inner.rate": Range(low=0.1, high=1, log=True), "kind": Choice(values=("a", "b"))}
    assert found.kind == "c"


def test_short_names_are_for_people():
    keys = ["outline.model.lambda_drift,map.model.lambda_drift", "outline.optim.learning_rate",
            "map.optim.learning_rate", "model.lambda_phy.1"]  # fmt: skip
    names = ["lambda_drift", "outline.optim.learning_rate", "map.optim.learning_rate", "lambda_phy.1"]
    assert short(keys) == dict(zip(keys, names, strict=True))
