"""JSON for people and version control: indented, but a list of plain values is one line."""

from __future__ import annotations

import json
import re
from typing import Any

# A list without lists or objects in it, among strings, which may hold brackets.
_STRING = r'"(?:[^"\\]|\\.)*"'
_PLAIN_LIST = re.compile(rf"{_STRING}|\[(?:[^\[\]{{}}\"]|{_STRING})*\]")
_LINE_END = re.compile(r"\s*\n\s*")


def text(told: Any) -> str:
    """``told`` as JSON. Raises ValueError for numbers that are not finite."""
    return _PLAIN_LIST.sub(_one_line, json.dumps(told, indent=1, allow_nan=False)) + "\n"


def _one_line(found: re.Match) -> str:
    whole = found[0]
    return whole if whole.startswith('"') else f"[{_LINE_END.sub(' ', whole[1:-1]).strip()}]"
