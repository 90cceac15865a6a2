"""Tables and numbers of the pages that are written for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: its head, the rule below it, its rows."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def number(value: float | None, digits: int) -> str:
    """A number with so many digits behind the point, a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def interval(score: Mapping, digits: int, key: str = "mean") -> str:
    """A score by its ``key`` and, where there is one, its interval from ``low`` to ``high`` in brackets."""
    value = number(score[key], digits)
    if score[key] is None or score["low"] is None:
        return value
    return f"{value} ({score['low']:.{digits}f}–{score['high']:.{digits}f})"
