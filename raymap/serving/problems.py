"""What is wrong with a request, as a program can read it: RFC 9457 problem details.

::

    {"type": "about:blank", "title": "Bad request", "status": 422, "detail": "...",
     "errors": [{"field": "transmitters.0.x_m", "value": 900.0, "allowed": "0 to 256 m"}]}
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

#: Longest text of a value that is told back.
_MAX_VALUE = 120


class Wrong(BaseModel):
    """A field that cannot be as it is."""

    field: str
    value: Any
    allowed: str


class Details(BaseModel):
    """Why a request was not answered."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Wrong]


_FORM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Details"}}}
#: Statuses of problems, as the API's description has them.
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": told, "content": _FORM}
    for status, told in {
        400: "No HTTP that can be read", 401: "No bearer token, or another", 404: "No such thing",
        405: "Another method", 406: "No such form of an answer", 409: "Not done yet", 413: "Too much",
        422: "A field that cannot be as it is", 429: "Too often", 503: "Not now; Retry-After says when",
        504: "It took too long",
    }.items()
}  # fmt: skip


class Problem(Exception):
    """Ends a request with a status and a reason that names the field, its value and what is allowed."""

    def __init__(
        self, status: int, field: str, value: Any, allowed: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(f"{field}: {allowed}, got {shown(value)}" if field else allowed)
        self.status, self.headers = status, headers or {}
        self._made_of = (status, field, shown(value), allowed, headers)
        self.errors = [{"field": field, "value": shown(value), "allowed": allowed}] if field else []

    def __reduce__(self):
        # An exception is rebuilt from its message alone otherwise, which loses the rest on the way between processes.
        return type(self), self._made_of

    def body(self) -> dict[str, Any]:
        """What is answered."""
        return body(self.status, str(self), self.errors)


def body(status: int, detail: str, errors: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Problem details."""
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail,
            "errors": list(errors)}  # fmt: skip


def of_validation(errors: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Problem details of what pydantic found."""
    found = [
        {"field": _field(error["loc"]), "value": shown(error.get("input")), "allowed": error["msg"]} for error in errors
    ]
    first = found[0]
    return body(422, f"{first['field']}: {first['allowed']}, got {first['value']}", found)


def _field(location: Sequence[Any]) -> str:
    # The first part is where in a request it was: body, query, path, header.
    parts = location[1:] if location and location[0] == "body" else location
    return ".".join(map(str, parts)) or "body"


def shown(value: Any) -> Any:
    """A value as it may be told back: short, and JSON."""
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if not isinstance(value, str):
        try:
            value = json.dumps(value, default=str)
        except (TypeError, ValueError, RecursionError):
            value = type(value).__name__
    return value if len(value) <= _MAX_VALUE else f"{value[:_MAX_VALUE]}… ({len(value)} characters)"
