"""HTTP connections with per-connection and global admission limits.

A connection is a `PendingConnection` until the head of its first request is complete, then Sanic's. A client
can't keep it open by sending slowly, and each request waits for its turn on the event loop.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from sanic.http import Http
from sanic.http.constants import Stage
from sanic.server.protocols.http_protocol import HttpProtocol

from app.api.errors import bare_answer, too_many, too_slow, unavailable
from app.auth.repeat_offenders import MAX_DELAYED_CONNECTIONS, REFUSAL_DELAY_SECONDS
from app.runtime.metrics import REFUSED
from app.runtime.rate_limit import AdmissionQueue

TIMEOUT_RESPONSE_SECONDS = 1.0  # seconds that an answer to a request which came too slowly may take to leave
MAX_QUEUED_REQUESTS = (
    3000  # requests that wait for their turn, some three seconds; who comes then is told to come back
)
MAX_UNREAD_BYTES = 64 * 1024  # bytes after which no more is read of who waits for the turn
MAX_CHUNKS_PER_TURN = 64  # pieces of a body that are read in one turn
UPGRADE = re.compile(rb"\r\nupgrade:[^a-z]*websocket")  # in lower case; Sanic takes off more than blanks

TOO_SLOW = bare_answer(too_slow())
CROWDED = bare_answer(unavailable("hub"))
HEAD_END = b"\r\n\r\n"


class AdmissionQueues:
    """How fast connections get on, those of one event loop together.

    A sign-in takes some 1.1 ms of CPU in all, another request as a rule less, an end 0.1. No more than `most`
    go in one turn of the loop, so a loop that has much else to do lets in fewer.
    """

    def __init__(self) -> None:
        self.upgrades = AdmissionQueue(0.001, 2)
        self.requests = AdmissionQueue(0.0005, 2)
        self.further = AdmissionQueue(0.0005, 2)  # requests behind the first, and pieces of bodies
        self.ends = AdmissionQueue(0.0002, 5)
        self.held = 0


class FairHttp(Http):
    """Sanic's, but that each request behind the first, and each bit of a body, waits for its turn.

    Sanic works off what stands in its buffer without a pause: a thousand requests in one packet, or a body in
    ten thousand chunks.
    """

    __slots__ = ("_first", "_paces", "_pieces", "in_line")  # Sanic's classes have no __dict__

    def __init__(self, protocol: FairProtocol) -> None:
        super().__init__(protocol)  # type: ignore[no-untyped-call]
        self._paces = protocol.paces
        self._first = True
        self._pieces = 0
        self.in_line = False
        """Whether a request waits for its turn."""

    async def http1(self) -> None:
        try:
            await super().http1()  # type: ignore[no-untyped-call]
        finally:
            # They refer to this in turn, and it to a method of its own: circles for the garbage collector.
            self.request = self.response = self.response_func = None  # type: ignore[assignment]

    async def http1_request_header(self) -> None:
        if self._first:  # the arrival has waited
            self._first = False
            await super().http1_request_header()  # type: ignore[no-untyped-call]
            return
        await self._get_in_line(self._paces.further)
        await super().http1_request_header()  # type: ignore[no-untyped-call]
        if self.upgrade_websocket:
            await self._get_in_line(self._paces.upgrades)

    async def _get_in_line(self, pace: AdmissionQueue) -> None:
        if len(pace) >= MAX_QUEUED_REQUESTS:
            raise unavailable("hub")
        self.in_line = True
        try:
            await self._turn(pace)
        finally:
            self.in_line = False
            self.protocol._time = time.monotonic()  # the wait doesn't count as the client's

    async def _turn(self, pace: AdmissionQueue) -> None:
        try:
            await pace.turn()
        except asyncio.CancelledError:
            if cast(Any, self.request) is None:
                self.create_empty_request()  # Sanic's log wants one
            raise

    async def read(self) -> bytes | None:
        self._pieces += 1
        if self._pieces % MAX_CHUNKS_PER_TURN == 0:
            await self._turn(self._paces.further)
        return await super().read()


class FairProtocol(HttpProtocol):
    """Sanic's, but that a request's time runs from its first byte, whatever follows.

    The head is there within REQUEST_TIMEOUT, body and answer within RESPONSE_TIMEOUT, or the connection ends.
    Sanic begins anew with each byte, so that one byte every few seconds holds a connection for days
    (slowloris); it has no limit at all for whoever writes `Upgrade: websocket` over a body; and after
    answering that time is up it waits for the rest of the body, for ever.
    """

    HTTP_CLASS = FairHttp
    __slots__ = ("paces",)

    def __init__(self, *, paces: AdmissionQueues, **sanics: Any) -> None:
        super().__init__(**sanics)
        self.paces = paces

    def data_received(self, data: bytes) -> None:
        begun = self._time
        between = self.http is None or (self.http.stage is Stage.IDLE and not self._unread)
        super().data_received(data)
        if not between:
            self._time = begun

    def connection_lost(self, exc: Exception | None) -> None:
        """In its turn: ten thousand may go at once, and Sanic takes its time with each."""
        self.paces.ends.take(partial(super().connection_lost, exc))

    def check_timeouts(self) -> None:
        """Upgrades too: one that was let in has left this protocol."""
        http, again = self.http, self._callback_check_timeouts
        if getattr(http, "in_line", False):
            self._time = time.monotonic()
        upgrading = getattr(http, "upgrade_websocket", False)
        if upgrading:
            http.upgrade_websocket = False
        super().check_timeouts()  # type: ignore[no-untyped-call]
        if upgrading:
            http.upgrade_websocket = True
        if self._callback_check_timeouts is again:  # time is up, and nobody will look again
            self.loop.call_later(TIMEOUT_RESPONSE_SECONDS, self.abort)

    @property
    def _unread(self) -> bool:
        """Whether the rest of a body is still to come. Before the first request Sanic has no such thing."""
        return bool(getattr(self.http, "request_body", None))


class PendingConnection(asyncio.Protocol):
    """A connection until the head of its first request is there and its turn has come.

    It costs a buffer and a timer, where Sanic makes a task and 12 KB for each: ten thousand that open and say
    nothing, or half of something, are cheap to keep and cheap to lose.
    """

    __slots__ = (
        "_connections",
        "_deadline",
        "_head",
        "_http",
        "_in_line",
        "_paces",
        "_transport",
        "_turned_away",
        "_upgrade",
    )

    def __init__(
        self, paces: AdmissionQueues, repeat_offenders: Callable[[bytes], int], patience: float, **sanics: Any
    ) -> None:
        """`repeat_offenders` returns for how many seconds the sender of this head would still be refused.
        `patience` is in seconds, from the connection to the end of the head. `sanics` are what Sanic gives
        its own protocol.
        """
        self._paces = paces
        self._turned_away = repeat_offenders
        self._http: Callable[[], FairProtocol] = partial(FairProtocol, paces=paces, **sanics)
        self._connections: set[asyncio.Protocol] = sanics["connections"]
        self._deadline = asyncio.get_running_loop().call_later(patience, self._late)
        self._head = bytearray()
        self._in_line = False
        self._upgrade = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        seen = max(0, len(self._head) + 1 - len(HEAD_END))
        self._head += data
        assert self._transport is not None
        if len(self._head) > MAX_UNREAD_BYTES:
            self._transport.pause_reading()
        whole = self._head.find(HEAD_END, seen) >= 0 or len(self._head) > Http.HEADER_MAX_SIZE
        if self._in_line or not whole:
            return
        self._deadline.cancel()
        end = self._head.find(HEAD_END)
        if 0 <= end <= Http.HEADER_MAX_SIZE:  # else it is refused by its length
            head = bytes(self._head[:end])
            self._upgrade = head if UPGRADE.search(head.lower()) else b""
        pace = self._paces.upgrades if self._upgrade else self._paces.requests
        if len(pace) >= MAX_QUEUED_REQUESTS:
            self._refuse("crowd", CROWDED)
        elif not self._held_back():
            self._in_line = True
            pace.take(self._enter)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._deadline.cancel()
        self._connections.discard(self)
        self._head.clear()

    def close_if_idle(self) -> bool:
        """The hub stops: end it, but not who waits with a request that can still be answered."""
        if self._in_line and not self._upgrade:
            return False
        if self._transport is not None:
            self._transport.write(CROWDED if self._in_line else b"")
            self._transport.close()
        return True

    def abort(self) -> None:
        """End it at once, without a word."""
        if self._transport is not None:
            self._transport.abort()

    def _enter(self) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing() or self._held_back():
            return False
        self._connections.discard(self)
        self._transport = None
        http = self._http()
        transport.set_protocol(http)
        transport.resume_reading()
        http.connection_made(transport)  # type: ignore[no-untyped-call]
        http.data_received(bytes(self._head))
        return True

    def _held_back(self) -> bool:
        """Whether it is of someone who was turned away, maybe while this one waited. That is said after a
        while, and nothing is heard until then.
        """
        seconds = self._turned_away(self._upgrade) if self._upgrade else 0
        if not seconds:
            return False
        assert self._transport is not None
        self._in_line = False
        self._head.clear()
        self._upgrade = b""
        self._transport.pause_reading()
        if self._paces.held < MAX_DELAYED_CONNECTIONS:
            self._paces.held += 1
            loop = asyncio.get_running_loop()
            say_no = partial(self._say_no, max(1, seconds - int(REFUSAL_DELAY_SECONDS)))
            loop.call_later(REFUSAL_DELAY_SECONDS, self._paces.ends.take, say_no)
        else:
            self._refuse("turned_away", b"")
        return True

    def _say_no(self, seconds: int) -> bool:
        self._paces.held -= 1
        if self._transport is None:
            return False
        self._refuse("turned_away", bare_answer(too_many(seconds)))
        return True

    def _late(self) -> None:
        if self._head:
            self._refuse("too_slow", TOO_SLOW)
        else:
            self._refuse("silent", b"")

    def _refuse(self, reason: str, answer: bytes) -> None:
        assert self._transport is not None
        REFUSED.labels(reason).inc()
        self._transport.write(answer)
        self._transport.close()
