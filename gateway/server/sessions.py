"""Sessions: who is logged in, on which channel, and everything that ends with a session.

A session belongs to one secure channel at a time, and every request must show its token on that
channel (OPC 10000-4 section 5.7.2). It outlives its connection only while it has subscriptions, and
then only until its time-out.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from asyncua import ua

from gateway.clock import Clock
from gateway.model import NS_PER_MS
from gateway.server.continuation import ContinuationPoints, Room
from gateway.server.publisher import Publisher
from gateway.server.settings import Limits, Role, User
from gateway.server.subscription import Subscription

_CODES = ua.StatusCodes
TOKEN_BYTES: Final = 32
NONCE_BYTES: Final = 32


class Channel(Protocol):
    """The secure channel of a session, as the session sees it."""

    @property
    def congested(self) -> bool:
        """Whether the client is slow to take what it was sent."""

    def answer(self, request: PublishRequest, response: Any) -> None:
        """Send the response to a publish request."""


@dataclass(slots=True)
class PublishRequest:
    """A publish request that waits for something to report; `expires_ns` 0 is never."""

    handle: int
    sequence_header: Any
    results: list[ua.StatusCode]
    expires_ns: int


@dataclass(eq=False, slots=True)
class Session:
    """One session; `account` is None until it was activated."""

    token: bytes
    session_id: ua.NodeId
    name: str
    timeout_ns: int
    certificate: bytes | None
    clock: Clock
    channel: Channel | None
    nonce: bytes
    last_ns: int
    history_points: ContinuationPoints
    browse_points: ContinuationPoints
    account: User | None = None
    closed: bool = False
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    requests: deque[PublishRequest] = field(default_factory=deque)
    write_order: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def activated(self) -> bool:
        return self.account is not None and not self.closed

    def touch(self) -> None:
        """The client spoke: the session lives on."""
        self.last_ns = self.clock.monotonic_ns()

    def idle(self, now_ns: int) -> bool:
        """Whether the session has timed out."""
        return now_ns - self.last_ns > self.timeout_ns

    # The publisher's view of a session.

    def may_publish(self) -> bool:
        """Whether a publish request waits and the client takes what it is sent."""
        if self.channel is None or self.channel.congested:
            return False
        self._expire()
        return bool(self.requests)

    def send(self, response: ua.PublishResponse) -> None:
        """Answer the oldest publish request."""
        request = self.requests.popleft()
        response.Parameters.Results = request.results
        assert self.channel is not None
        self.channel.answer(request, response)

    def forget(self, subscription_id: int) -> None:
        """The subscription expired."""
        self.subscriptions.pop(subscription_id, None)

    def may_see_audit(self) -> bool:
        """Whether its user is told who did what: those who may operate the plant are."""
        return self.account is not None and self.account.role >= Role.OPERATOR

    def enqueue(self, request: PublishRequest, limit: int) -> None:
        """Keep a publish request; the oldest is answered Bad_TooManyPublishRequests beyond it."""
        self._expire()
        while self.requests and len(self.requests) >= limit:
            self._fault(self.requests.popleft(), _CODES.BadTooManyPublishRequests)
        self.requests.append(request)

    def drop_requests(self, status: int) -> None:
        """Answer every waiting publish request with a fault."""
        while self.requests:
            self._fault(self.requests.popleft(), status)

    def _expire(self) -> None:
        now_ns = self.clock.monotonic_ns()
        while self.requests and 0 < self.requests[0].expires_ns <= now_ns:
            self._fault(self.requests.popleft(), _CODES.BadTimeout)

    def _fault(self, request: PublishRequest, status: int) -> None:
        if self.channel is not None:
            fault = ua.ServiceFault()
            fault.ResponseHeader.ServiceResult = ua.StatusCode(status)
            self.channel.answer(request, fault)


class Sessions:
    """All sessions of the server, by token."""

    def __init__(self, publisher: Publisher, clock: Clock, limits: Limits) -> None:
        self._publisher = publisher
        self._clock = clock
        self._limits = limits
        self._by_token: dict[bytes, Session] = {}
        self.room = Room(limits.max_continuation_bytes)

    def __len__(self) -> int:
        return len(self._by_token)

    def __iter__(self) -> Any:
        return iter(list(self._by_token.values()))

    def create(
        self, name: str, asked_timeout_ms: float, certificate: bytes | None, channel: Channel
    ) -> Session:
        """A new session on a channel, not yet activated. Raises UaStatusCodeError."""
        limits = self._limits
        on_channel = sum(1 for found in self._by_token.values() if found.channel is channel)
        if on_channel >= limits.max_sessions_per_connection:
            raise ua.UaStatusCodeError(_CODES.BadTooManySessions)
        if len(self._by_token) >= limits.max_sessions:
            raise ua.UaStatusCodeError(_CODES.BadTooManySessions)
        lowest, highest = limits.min_session_ms, limits.max_session_ms
        timeout_ms = (
            min(max(asked_timeout_ms, lowest), highest) if asked_timeout_ms > 0 else highest
        )
        token = secrets.token_bytes(TOKEN_BYTES)
        session = Session(
            token=token,
            session_id=ua.NodeId(secrets.token_bytes(16), 1, ua.NodeIdType.ByteString),
            name=name,
            timeout_ns=int(timeout_ms) * NS_PER_MS,
            certificate=certificate,
            clock=self._clock,
            channel=channel,
            nonce=secrets.token_bytes(NONCE_BYTES),
            last_ns=self._clock.monotonic_ns(),
            history_points=ContinuationPoints(
                self.room, limits.max_history_points, limits.history_point_ms * NS_PER_MS
            ),
            browse_points=ContinuationPoints(self.room, limits.max_browse_points),
        )
        self._by_token[token] = session
        return session

    def find(self, token: ua.NodeId) -> Session | None:
        """The session of a token, whatever its channel."""
        if not isinstance(token.Identifier, bytes):
            return None
        return self._by_token.get(token.Identifier)

    def on(self, channel: Channel, token: ua.NodeId) -> Session:
        """The session of a token that belongs to this channel. Raises UaStatusCodeError."""
        session = self.find(token)
        if session is None or session.closed:
            raise ua.UaStatusCodeError(_CODES.BadSessionIdInvalid)
        if session.channel is not channel:
            raise ua.UaStatusCodeError(_CODES.BadSecureChannelIdInvalid)
        return session

    def activate(self, session: Session, account: User, channel: Channel) -> None:
        """A user proved who they are: bind the session to the channel, with a new nonce."""
        if session.channel is not channel:
            session.requests.clear()
            session.channel = channel
        session.account = account
        session.nonce = secrets.token_bytes(NONCE_BYTES)
        session.touch()

    def close(self, session: Session, delete_subscriptions: bool = True, status: int = 0) -> None:
        """End a session; subscriptions that are kept live until taken over or expired."""
        if session.closed:
            return
        session.closed = True
        self._by_token.pop(session.token, None)
        if delete_subscriptions:
            for subscription in list(session.subscriptions.values()):
                self._publisher.remove(subscription)
        session.drop_requests(status or _CODES.BadSessionClosed)
        session.history_points.clear()
        session.browse_points.clear()
        session.channel = None

    def channel_lost(self, channel: Channel) -> None:
        """A connection is gone: sessions with subscriptions wait for their client, others end."""
        for session in list(self._by_token.values()):
            if session.channel is channel:
                session.requests.clear()
                session.channel = None
                if not session.activated or not session.subscriptions:
                    self.close(session)

    def sweep(self) -> None:
        """End the sessions that have timed out, and the continuation points that grew old."""
        now_ns = self._clock.monotonic_ns()
        for session in list(self._by_token.values()):
            session.history_points.expire(now_ns)
            if session.idle(now_ns):
                self.close(session, status=_CODES.BadTimeout)

    def users_changed(self, users: Mapping[str, User], guest: User) -> None:
        """Roles hold at once; who is no user any more, or has other secrets, is logged out."""
        for session in list(self._by_token.values()):
            account = session.account
            if account is None or account is guest:
                continue
            now = users.get(account.name)
            if now is None or now.secrets != account.secrets:
                self.close(session, status=_CODES.BadUserAccessDenied)
            else:
                session.account = now

    def close_all(self, status: int) -> None:
        """End every session: the endpoint closes."""
        for session in list(self._by_token.values()):
            self.close(session, status=status)
