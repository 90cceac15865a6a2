"""A search space: fields of a config, by their dotted names, and what each may be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from raymap.config import Settings, sized

SettingsT = TypeVar("SettingsT", bound=Settings)


class Range(Settings):
    """Numbers from ``low`` to ``high``, both among them; drawn evenly, or evenly in their logarithm."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"a range goes from low to high, got {self.low:g}..{self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a range in the logarithm is above 0, got {self.low:g}..{self.high:g}")
        if self.integer and (self.low % 1 or self.high % 1):
            raise ValueError(f"a range of integers has whole ends, got {self.low:g}..{self.high:g}")
        return self

    def __repr__(self) -> str:
        """As people write it."""
        return f"{self.low:g}..{self.high:g}{' int' * self.integer}{' log' * self.log}"

    @property
    def ends(self) -> tuple[float, ...]:
        """Values to check a config with."""
        return (int(self.low), int(self.high)) if self.integer else (self.low, self.high)


class Choice(Settings):
    """One of several values."""

    values: tuple[Any, ...] = Field(min_length=2)

    def __repr__(self) -> str:
        """As people write it."""
        return "|".join(value if isinstance(value, str) else json.dumps(value) for value in self.values)

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to check a config with."""
        return self.values


_RANGE = re.compile(r"^\s*(\S+?)\.\.(\S+)((?:\s+(?:log|int))*)\s*$")


def domain_of(value: Any) -> Any:
    """A domain as people write it: "0.1..10 log", "2..8 int", "k_log|k_eff"; anything else unchanged.

    Raises ValueError for text that is neither.
    """
    if not isinstance(value, str):
        return value
    found = _RANGE.match(value)
    if found:
        low, high, words = found.groups()
        try:
            return Range(low=float(low), high=float(high), log="log" in words, integer="int" in words)
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"]) from error
    if "|" in value:
        return Choice(values=tuple(_plain(text.strip()) for text in value.split("|")))
    raise ValueError(f"a domain is LOW..HIGH, with log or int behind it, or A|B|C; got {value!r}")


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


Domain = Annotated[Range | Choice, BeforeValidator(domain_of)]
#: Dotted names of fields, several by commas if they share a value -> domain.
Space = dict[str, Domain]


def names(key: str) -> list[str]:
    """The fields that a key of a space stands for."""
    return [name.strip() for name in key.split(",")]


def short(keys: Iterable[str]) -> dict[str, str]:
    """Keys of a space -> names for people: as few of the last parts as tell them apart, e.g. "lambda_drift"."""
    parts = {key: names(key)[0].split(".") for key in keys}
    found = {}
    for key, mine in parts.items():
        others = [other for name, other in parts.items() if name != key]
        num = 2 if mine[-1].isdigit() else 1
        while num < len(mine) and any(other[-num:] == mine[-num:] for other in others):
            num += 1
        found[key] = ".".join(mine[-num:])
    return found


def overridden(settings: SettingsT, values: Mapping[str, Any]) -> SettingsT:
    """``settings`` with fields replaced, each by its dotted name; components of tuples count from 0.

    ``values``: keys as in a :data:`Space`. Raises ValueError for a field that does not exist, with those that do, and
    for a value that is not allowed.
    """
    for key, value in values.items():
        for name in names(key):
            try:
                settings = _replaced(settings, name.split("."), value)
            except ValidationError as error:
                raise ValueError(f"{name} = {value!r}: {error.errors()[0]['msg']}") from error
            except LookupError as error:
                raise ValueError(f"no setting is called {name!r}: {error.args[0]}") from error
    return settings


def _replaced(node: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(node, Settings):
        fields = type(node).model_fields
        if first not in fields:
            raise LookupError(f"{first!r} is none of {', '.join(fields)}")
        current = {name: getattr(node, name) for name in node.model_fields_set | {first}}
        return type(node).model_validate({**current, first: _replaced(current[first], rest, value)})
    if isinstance(node, tuple):
        if not first.isdigit() or int(first) >= len(node):
            raise LookupError(f"{first!r} is none of the components 0 to {len(node) - 1}")
        number = int(first)
        return (*node[:number], _replaced(node[number], rest, value), *node[number + 1 :])
    raise LookupError(f"{first!r} would be a part of {node!r}, which has none")


def require_fits(space: Mapping[str, Range | Choice], settings: Settings) -> None:
    """Raises ValueError if a key names no field of ``settings``, or a domain holds what the field does not allow."""
    seen: dict[str, str] = {}
    for key, domain in space.items():
        for name in names(key):
            if name in seen:
                raise ValueError(f"{name} is searched twice, by {seen[name]!r} and {key!r}")
            seen[name] = key
        for value in domain.ends:
            overridden(settings, {key: value})


def fields_of(space: Mapping[str, Any]) -> Iterator[str]:
    """All fields that a space stands for."""
    for key in space:
        yield from names(key)


def found_by_sweep(settings: SettingsT, argv: Sequence[str]) -> tuple[SettingsT, list[str]]:
    """``settings`` with what the ``best.json`` of a sweep, named by ``--from`` in ``argv``, has found; and the rest.

    Unchanged without ``--from``. Raises FileNotFoundError if the file is not there, ValueError if it is no
    ``best.json`` or holds settings that these do not have.
    """
    path, rest = sized(str, argv, default="", flag="from")
    return (overridden(settings, read_best(path)) if path else settings), rest


def read_best(path: str | Path) -> dict[str, Any]:
    """The overrides of a ``best.json``. Errors as :func:`found_by_sweep`."""
    try:
        return dict(json.loads(Path(path).read_text())["overrides"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no best.json of a sweep: it holds no 'overrides'") from error
