"""What every request passes: a request id, the token, the rate, the size of its body, and a log line in JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from raymap.serving import problems
from raymap.serving.limits import Limits

log = logging.getLogger("raymap.serving")
#: Environment variable with the bearer token that requests must carry; none without it.
TOKEN = "RAYMAP_TOKEN"
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: What may be asked without the token: whether the endpoint lives, and the page, which holds no data.
OPEN = ("/healthz", "/readyz", "/", "/favicon.ico", "/page/")
#: How many times the size that is allowed is read of a body that is refused.
_PATIENCE = 4
_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


class Gate:
    """ASGI middleware around the application."""

    def __init__(self, app, limits: Limits, token: str | None) -> None:
        self.app, self.limits, self.token = app, limits, token
        self._seen: dict[str, tuple[int, int]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get("x-request-id", "")
        request_id, begun = given if _ID.match(given) else uuid.uuid4().hex, time.perf_counter()
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500

        async def told(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        refused = self._refused(scope, headers)
        try:
            if refused is not None:
                await _drained(receive, int(_PATIENCE * 1e6 * self.limits.max_body_mb))
                await answer(told, refused)
            else:
                await self._passed(scope, receive, told)
        finally:
            client = (scope.get("client") or ("",))[0]
            log.info(json.dumps({
                "request_id": request_id, "method": scope["method"], "path": scope["path"], "status": status,
                "ms": round(1000 * (time.perf_counter() - begun), 1), "client": client,
            }))  # fmt: skip

    async def _passed(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = int(1e6 * self.limits.max_body_mb)
        taken, begun = 0, False

        async def measured() -> MutableMapping[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise _too_large(taken, self.limits)
            return message

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(self.limits.timeout_s):
                await self.app(scope, measured, noted)
        except problems.Problem as problem:
            if begun:
                raise
            await _drained(receive, most * _PATIENCE)
            await answer(send, problem)
        except TimeoutError:
            if begun:
                raise
            await answer(send, problems.Problem(504, "", None, f"no answer within {self.limits.timeout_s:g} s"))

    def _refused(self, scope: Scope, headers: dict[str, str]) -> problems.Problem | None:
        path = scope["path"]
        is_open = path in OPEN or path.startswith(OPEN[-1])
        if self.token is not None and not is_open:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(), self.token.encode()):
                return problems.Problem(401, "", None, "a bearer token is needed", {"www-authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > 1e6 * self.limits.max_body_mb:
            return _too_large(int(length), self.limits)
        if self.limits.requests_per_minute is not None and not is_open:
            return self._too_often((scope.get("client") or ("",))[0])
        return None

    def _too_often(self, client: str) -> problems.Problem | None:
        minute = int(time.time() // 60)
        before, count = self._seen.get(client, (minute, 0))
        count = count + 1 if before == minute else 1
        if before != minute:
            self._seen = {who: seen for who, seen in self._seen.items() if seen[0] == minute}
        self._seen[client] = (minute, count)
        if count <= self.limits.requests_per_minute:
            return None
        wait_s = 60 - int(time.time() % 60)
        allowed = f"at most {self.limits.requests_per_minute} requests a minute"
        return problems.Problem(429, "", None, allowed, {"retry-after": str(wait_s)})


def _too_large(length: int, limits: Limits) -> problems.Problem:
    return problems.Problem(413, "body", length, f"at most {limits.max_body_mb:g} MB")


async def _drained(receive: Receive, most: int) -> None:
    """Read on what nobody wants, within limits: who is cut off in the middle of sending sees no answer."""
    taken, more = 0, True
    while more and taken <= most:
        message = await receive()
        taken += len(message.get("body", b""))
        more = message.get("more_body", False)


async def answer(send: Send, problem: problems.Problem) -> None:
    """Send problem details."""
    body = json.dumps(problem.body()).encode()
    headers = {"content-type": "application/problem+json", "content-length": str(len(body)), **problem.headers}
    start = {"type": "http.response.start", "status": problem.status,
             "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}  # fmt: skip
    await send(start)
    await send({"type": "http.response.body", "body": body})
