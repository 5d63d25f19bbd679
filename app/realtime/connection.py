"""One live connection of a user, whatever carries it: a WebSocket or an event stream (Server-Sent Events)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import ClassVar, NamedTuple, cast
from uuid import UUID

from app.auth.tokens import Claims
from app.domain.notifications import Notification
from app.realtime.cursor import InboxCursor
from app.realtime.timer_wheel import TimerWheel
from app.runtime.metrics import CLOSED
from app.runtime.rate_limit import AdmissionQueue

# A stalled client never answers a close: after this time its transport is aborted.
CLOSE_TIMEOUT_SECONDS = 5.0


class Limits(NamedTuple):
    """Limits of one connection; see the settings of the same names."""

    ping_interval: float
    answer_timeout: float
    write_buffer: int
    max_frames: int


class ConnectionContext(NamedTuple):
    """What all connections of a node share."""

    limits: Limits
    timer_wheel: TimerWheel
    reading: AdmissionQueue
    """Where a connection that has more to read than a few frames waits for its turn."""
    loop_time: Callable[[float], float]
    """Converts unix seconds to the event loop's time."""
    on_lost: Callable[[Connection], None]
    """Called once for each connection, when nothing more can be sent over it."""


class ClientInfo(NamedTuple):
    """Where a connection comes from."""

    address: str | None = None
    """What connections of the client's address are counted by; None for one that isn't limited."""
    token_key: bytes = b""
    """What the token it came with is remembered by."""
    asked_at: float = 0.0
    """The loop time before its token was verified: a logout after that ends the connection."""
    locale: str | None = None
    """The language of the texts that it gets; None: each as it is stored."""


class DetailsShown(IntEnum):
    """Which of the details of notifications a client gets (038)."""

    NONE = 0
    PUBLISHED = 1
    """All, of notifications whose publisher set any."""
    ALL = 2


class Connection(asyncio.Protocol):
    """What the hub does with any connection. A subclass says how frames are sent, and what the client sends.

    `send` never waits. What the client doesn't read stays in the transport's buffer, up to
    `Limits.write_buffer`: a slow consumer is closed with 4001 and never delays the others.
    """

    __slots__ = (
        "_drained",
        "_expires",
        "_held",
        "_limits",
        "_loop_time",
        "_on_lost",
        "_timer_wheel",
        "_transport",
        "claims",
        "client",
        "close_code",
        "cursor",
        "details",
        "due",
        "session",
    )
    details_without_session: ClassVar[DetailsShown] = DetailsShown.NONE
    """Which details a client gets that doesn't speak the session protocol."""

    def __init__(
        self, claims: Claims, context: ConnectionContext, client: ClientInfo, *, session: bool, resumes: bool
    ) -> None:
        """Args:
        session: Whether the client gets the frames of the session protocol.
        resumes: Whether the client asks for what it missed before it connected.
        """
        self.claims = claims
        self.client = client
        self.session = session
        self.details = DetailsShown.ALL if session else self.details_without_session
        self.cursor = InboxCursor(resumes=resumes)
        self.due = 0
        self.close_code: int | None = None
        self._limits = context.limits
        self._timer_wheel = context.timer_wheel
        self._loop_time = context.loop_time
        self._expires = self._loop_time(claims.expires_at)
        self._on_lost: Callable[[Connection], None] | None = context.on_lost
        self._transport: asyncio.Transport | None = None
        self._drained: asyncio.Future[None] | None = None
        self._held: list[bytes] | None = None

    # From the hub

    @property
    def open(self) -> bool:
        """Whether frames can be sent."""
        raise NotImplementedError

    @property
    def user_id(self) -> UUID:
        """The user of the token."""
        return self.claims.user_id

    @property
    def connected(self) -> bool:
        """Whether the transport is open, if only to finish the closing handshake."""
        return self._transport is not None

    def hold(self) -> None:
        """Hold back all frames from now on until `release`; may be called before there is a transport."""
        if self._held is None:
            self._held = []

    def release(self, first: bytes = b"") -> None:
        """Send `first`, then what was held, and stop holding."""
        held, self._held = self._held or [], None
        self.send(b"".join((first, *held)))

    def send(self, frame: bytes) -> None:
        """Send bytes that are whole frames. Does nothing on a connection that is closing."""
        raise NotImplementedError

    async def drained(self) -> None:
        """Return when the transport accepts more, or the client is gone. For what is too much to be sent at
        once; live notifications never wait.
        """
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close: nothing is delivered after this. Does nothing when already begun.

        A connection without a transport is only marked, by `close_code`, and is never opened.
        """
        if self._transport is None and self.close_code is None:
            self.close_code = code
            self._lost()
        if not self.open:
            return
        self.close_code = code
        CLOSED.labels(code).inc()
        self._begin_to_close(code, reason)
        self._lost()
        self._schedule(asyncio.get_running_loop().time() + CLOSE_TIMEOUT_SECONDS)

    def _begin_to_close(self, code: int, reason: str) -> None:
        """Tell the client why; the transport is closed after that, or aborted by `tick`."""
        raise NotImplementedError

    def renew(self, claims: Claims) -> None:
        """The client sent a new token."""
        self.claims = claims
        self._expires = self._loop_time(claims.expires_at)
        if self._expires < self.due:  # never later: a client that renews all the time is checked as often
            self._schedule(self._expires)

    def abort(self) -> None:
        """End the connection at once, without a word to the client."""
        if self._transport is not None:
            self._transport.abort()

    def tick(self, now: float) -> float | None:
        """Do what is due (loop time); see `Timed`."""
        raise NotImplementedError

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Schedule the first heartbeat and the expiry of the token."""
        self._transport = cast(asyncio.Transport, transport)
        now = asyncio.get_running_loop().time()
        self._schedule(min(now + self._limits.ping_interval, self._expires))

    def pause_writing(self) -> None:
        """The write buffer is above its high-water mark: senders wait."""
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The write buffer is below its low-water mark."""
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release what waits for the connection, and unregister it."""
        self._transport = None
        self.resume_writing()
        self._schedule(None)
        self._lost()

    def _schedule(self, moment: float | None) -> None:
        self._timer_wheel.schedule(self, moment)

    def _lost(self) -> None:
        if self._on_lost is not None:
            on_lost, self._on_lost = self._on_lost, None
            on_lost(self)


def details_needed(notification: Notification) -> DetailsShown:
    """What a client has to get to see the details of this notification."""
    return DetailsShown.ALL if notification.details is None else DetailsShown.PUBLISHED
