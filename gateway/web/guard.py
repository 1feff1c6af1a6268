"""What stands before every route over TCP: log-in, headers, and the bounds of a request.

An ASGI application around another one. Who is not logged in gets 401 before a byte of the body is
read, so only /health, the log-in itself and the files of the page are there for everybody.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

from gateway.web.rights import Caller

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("hotpair")

HEADER: Final = b"x-hotpair"
"""A page of another site can't send it unasked: what changes something must, with a cookie."""
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_MAX: Final = 16 * 2**20
"""The texts of a site with 100,000 points."""
STRANGERS_BODY_MAX: Final = 8 * 2**10
READ_S: Final = 30.0
ACT_S: Final = 120.0
"""Until the answer begins; a verify and an apply ask devices and the other node."""
SEND_S: Final = 30.0
"""How long a client may leave a piece of its answer unread."""
SECURITY: Final = [
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
LASTING: Final = (b"strict-transport-security", b"max-age=31536000")
"""Only with a certificate that an authority issued: a browser lets nobody past a wrong one then."""


class Door(Protocol):
    """Knows callers by what they send."""

    def caller(self, cookie: str, authorization: str) -> Caller | None:
        """Who sends these headers; None: nobody that is known."""


class Guard:
    """Lets through who may; `public` are paths, and beginnings of paths that end with `/`."""

    def __init__(self, app: Asgi, door: Door, public: tuple[str, ...], lasting: bool) -> None:
        self._app = app
        self._door = door
        self._exact = frozenset(path for path in public if path == "/" or not path.endswith("/"))
        self._below = tuple(path for path in public if path != "/" and path.endswith("/"))
        self._headers = [*SECURITY, LASTING] if lasting else SECURITY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return  # there are no web sockets here, and nothing to do at the start
        answer = _Answer(send, self._headers)
        headers = dict(scope["headers"])
        try:
            most = self._look(scope, headers)
            limit_s = READ_S if scope["method"] in SAFE else ACT_S
            async with asyncio.timeout(limit_s) as answer.limit:
                await self._app(scope, _Bounded(receive, most, answer), answer)
        except _Refused as refused:
            await answer.refuse(refused)
        except TimeoutError:
            await answer.refuse(_Refused(503, "this took too long", "Ask for less at once"))
        except Exception:  # a fault of ours in one request: said here, and the node goes on
            log.exception("%s %s failed", scope["method"], scope["path"])
            await answer.refuse(_Refused(500, "this is a fault of the program", "Look at its log"))

    def _look(self, scope: Scope, headers: dict[bytes, bytes]) -> int:
        """Find out who asks; how large the body may be. Raises _Refused."""
        path, most = scope["path"], STRANGERS_BODY_MAX
        if not (path in self._exact or path.startswith(self._below)):
            cookie, token = (headers.get(name, b"") for name in (b"cookie", b"authorization"))
            caller = self._door.caller(cookie.decode("latin-1"), token.decode("latin-1"))
            if caller is None:
                raise _Refused(401, "log in, or send a token", "`hotpair token make` makes one")
            scope.setdefault("state", {})["caller"] = caller
            most = BODY_MAX
            if caller.session and scope["method"] not in SAFE and HEADER not in headers:
                raise _Refused(403, "the header X-Hotpair is missing", "Send `X-Hotpair: page`")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > most:
            raise _Refused(413, f"the body has more than {most} bytes", "Send less at once")
        return most


class _Refused(Exception):
    def __init__(self, status: int, detail: str, remedy: str) -> None:
        self.status, self.detail, self.remedy = status, detail, remedy


class _Bounded:
    """A body that ends the request once it is too large."""

    def __init__(self, receive: Receive, most: int, answer: _Answer) -> None:
        self._receive, self._left, self._most, self._answer = receive, most, most, answer

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            detail = f"the body has more than {self._most} bytes"
            # Who reads the body may make something else of the exception.
            self._answer.refused = _Refused(413, detail, "Send less at once")
            raise self._answer.refused
        return message


class _Answer:
    """The way back: headers are added, and who does not read is given up."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers
        self._begun = False
        self.limit: asyncio.Timeout
        self.refused: _Refused | None = None

    async def __call__(self, message: Message) -> None:
        if self.refused is not None:
            await self.refuse(self.refused)
            return
        if message["type"] == "http.response.start":
            self._begun = True
            self.limit.reschedule(None)
            own = {name for name, _ in message["headers"]}
            added = [header for header in self._headers if header[0] not in own]
            message = {**message, "headers": [*message["headers"], *added]}
        async with asyncio.timeout(SEND_S):
            await self._send(message)

    async def refuse(self, refused: _Refused) -> None:
        """Say why; nothing where an answer was begun: the connection ends then."""
        if self._begun:
            return
        self._begun = True
        body = json.dumps({"detail": refused.detail, "remedy": refused.remedy}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *self._headers,
        ]
        if refused.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if refused.status == 413:
            headers.append((b"connection", b"close"))
        start = {"type": "http.response.start", "status": refused.status, "headers": headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})
