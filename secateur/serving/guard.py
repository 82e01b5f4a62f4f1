"""What is asked of a request before the application sees it: its framing, its name, its token, how often it comes."""

import math
import time
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secateur.serving.audit import Audit
from secateur.serving.hosts import Hosts
from secateur.serving.rates import Rates
from secateur.serving.refusals import Refused
from secateur.serving.tokens import Token, Tokens

PROBES = ("/health/live", "/health/ready")
"""Answered without a token, with a word, and as often as asked: what restarts a container holds none, and may have the
address of somebody who comes too often."""


@dataclass(frozen=True)
class Guarded:
    """What is asked of requests.

    Attributes:
        hosts: the names that are answered to.
        tokens: None = nobody needs one.
        per_s: requests per second of one client, or of a token that has no rate of its own; 0 = any number.
        audit: None = nothing is written.
        rates: who has come how often.
    """

    hosts: Hosts = field(default_factory=lambda: Hosts(()))
    tokens: Tokens | None = None
    per_s: float = 0.0
    audit: Audit | None = None
    rates: Rates = field(default_factory=Rates)


@final
class Guard:
    """Answers what is refused, lets through the rest, and writes the audit log."""

    def __init__(self, app: ASGIApp, *, guarded: Guarded) -> None:
        self._app = app
        self._guarded = guarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._guarded.audit is None:
            await self._answer(scope, receive, send)
        else:
            await self._written(self._guarded.audit, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._require(scope)
        except Refused as refused:
            await refused.response()(scope, receive, send)
            return
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # Answered as GET is; the server sends no body, because the request itself still says HEAD.
        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, send)
        finally:
            scope.update({key: value for key, value in inner.items() if key == "route"})

    def _require(self, scope: Scope) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if b"transfer-encoding" in headers and b"content-length" in headers:
            # Two servers in a row that believe different ones take one request for two.
            detail = "a request has a Content-Length or a Transfer-Encoding, not both"
            raise Refused(400, detail, headers={"Connection": "close"})
        host = headers.get(b"host", b"localhost").decode("latin-1")
        if not self._guarded.hosts.include(host):
            name = host[:80]
            raise Refused(421, f"this server has no name {name}; `--allow-host` gives it one (serve.allowed_hosts)")
        owner = self._owner(scope, headers)
        scope["secateur.owner"] = owner
        if owner is None and scope["path"] in PROBES:
            return
        per_s = self._guarded.per_s if owner is None or owner.per_s is None else owner.per_s
        self._count(f"client {_client(scope)}" if owner is None else f"token {owner.name}", per_s)

    def _owner(self, scope: Scope, headers: dict[bytes, bytes]) -> Token | None:
        tokens = self._guarded.tokens
        if tokens is None:
            return None
        owner = tokens.owner(headers.get(b"authorization", b"").decode("latin-1"))
        if owner is None and scope["path"] not in PROBES:
            self._count(f"client {_client(scope)}", self._guarded.per_s)
            raise Refused(401, "a bearer token is needed", headers={"WWW-Authenticate": "Bearer"})
        return owner

    def _count(self, who: str, per_s: float) -> None:
        wait_s = self._guarded.rates.wait_s(who, per_s=per_s)
        if wait_s:
            detail = f"{per_s:g} requests per second are answered; come again later"
            raise Refused(429, detail, retry_after_s=math.ceil(wait_s))

    async def _written(self, audit: Audit, scope: Scope, receive: Receive, send: Send) -> None:
        start, status = time.perf_counter(), 500

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._answer(scope, receive, watching)
        finally:
            owner: Token | None = scope.get("secateur.owner")
            audit.write(
                who=None if owner is None else owner.name,
                client=_client(scope),
                method=scope["method"],
                route=route_of(scope),
                status=status,
                seconds=time.perf_counter() - start,
            )


def route_of(scope: Scope) -> str:
    """Return which route has answered; of unknown paths there are as many as somebody cares to try."""
    route: Any = scope.get("route")
    return "other" if route is None else str(route.path)


def _client(scope: Scope) -> str:
    client = scope.get("client")
    if client is None:
        return "unknown"
    try:
        # What a proxy says, or whoever asks from this machine as one, may be any text; so may a zone after %.
        return str(ip_address(str(client[0]).partition("%")[0]))
    except ValueError:
        return "unknown"
