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

from sanic.exceptions import RequestTimeout, ServiceUnavailable
from sanic.http import Http
from sanic.http.constants import Stage
from sanic.server.protocols.http_protocol import HttpProtocol

from app.api.errors import bare_answer, too_many, too_slow, unavailable
from app.api.headers import offers_websocket
from app.auth.repeat_offenders import MAX_DELAYED_CONNECTIONS, REFUSAL_DELAY_SECONDS
from app.runtime.metrics import REFUSED
from app.runtime.rate_limit import AdmissionQueue

TIMEOUT_RESPONSE_SECONDS = 1.0  # for the answer 408 to leave, before the connection is aborted
MAX_QUEUED_REQUESTS = 3000  # some three seconds of work; further requests get 503
MAX_UNREAD_BYTES = 64 * 1024  # reading from a connection pauses when it has sent as much while it is queued
MAX_CHUNKS_PER_TURN = 64  # of a body
# In lower case. What other protocols a list names, `offers_websocket` knows: this only chooses the queue.
UPGRADE = re.compile(rb"\r\nupgrade:(?:[^\r]|\r(?!\n))*websocket")

TOO_SLOW = bare_answer(too_slow())
OVERLOADED = bare_answer(unavailable("hub"))
HEAD_END = b"\r\n\r\n"


class AdmissionQueues:
    """The admission limits that all connections of one event loop share.

    A sign-in costs about 1.1 ms of CPU, other requests mostly less, a close 0.1 ms. A queue admits at most
    its burst in one turn of the loop, so a busy loop admits fewer a second.
    """

    def __init__(self) -> None:
        self.upgrades = AdmissionQueue(0.001, 2)
        self.requests = AdmissionQueue(0.0005, 2)
        self.later_requests = AdmissionQueue(0.0005, 2)  # on a kept connection, and chunks of bodies
        self.ends = AdmissionQueue(0.0002, 5)
        self.delayed_refusals = 0


class FairHttp(Http):
    """Sanic's `Http`; later requests, and every `MAX_CHUNKS_PER_TURN` chunks of a body, are queued.

    Sanic processes its whole buffer without yielding to the loop: a thousand requests in one packet, or a
    body in ten thousand chunks.
    """

    __slots__ = ("_first", "_pieces", "_queues", "queued")  # Sanic's classes have no __dict__

    def __init__(self, protocol: FairProtocol) -> None:
        super().__init__(protocol)  # type: ignore[no-untyped-call]
        self._queues = protocol.queues
        self._first = True
        self._pieces = 0
        self.queued = False
        """Whether a request waits for admission."""

    async def http1(self) -> None:
        try:
            await super().http1()  # type: ignore[no-untyped-call]
        finally:
            # Breaks reference cycles, which the garbage collector would otherwise collect in long pauses.
            self.request = self.response = self.response_func = None  # type: ignore[assignment]

    async def http1_request_header(self) -> None:
        first, self._first = self._first, False
        if not first:  # else `PendingConnection` has waited
            await self._wait_in(self._queues.later_requests)
        await super().http1_request_header()  # type: ignore[no-untyped-call]
        self.upgrade_websocket = offers_websocket(self.request)  # Sanic reads one protocol of one line
        if self.upgrade_websocket and not first:
            await self._wait_in(self._queues.upgrades)

    async def _wait_in(self, queue: AdmissionQueue) -> None:
        if len(queue) >= MAX_QUEUED_REQUESTS:
            raise unavailable("hub")
        self.queued = True
        try:
            await self._turn(queue)
        finally:
            self.queued = False
            self.protocol._time = time.monotonic()  # waiting in the queue doesn't count against the client

    async def _turn(self, queue: AdmissionQueue) -> None:
        try:
            await queue.turn()
        except asyncio.CancelledError:
            if cast(Any, self.request) is None:
                self.create_empty_request()  # Sanic logs the request
            raise

    async def read(self) -> bytes | None:
        self._pieces += 1
        if self._pieces % MAX_CHUNKS_PER_TURN == 0:
            await self._turn(self._queues.later_requests)
        return await super().read()


class FairProtocol(HttpProtocol):
    """Sanic's protocol, with time limits that run from the first byte of a request.

    The head must be complete within REQUEST_TIMEOUT, body and response within RESPONSE_TIMEOUT; otherwise the
    connection is closed. Sanic restarts its timer at each byte, so one byte every few seconds keeps a
    connection open for days (slowloris). It applies no limit to a request with a body and
    `Upgrade: websocket`, and after a 408 it waits for the rest of the body indefinitely.
    """

    HTTP_CLASS = FairHttp
    __slots__ = ("queues",)

    def __init__(self, *, queues: AdmissionQueues, **sanics: Any) -> None:
        super().__init__(**sanics)
        self.queues = queues

    def data_received(self, data: bytes) -> None:
        begun = self._time
        between = self.http is None or (self.http.stage is Stage.IDLE and not self._unread)
        super().data_received(data)
        if not between:
            self._time = begun

    def connection_lost(self, exc: Exception | None) -> None:
        """Queued: ten thousand connections may close at once, and Sanic's clean-up of each is slow."""
        self.queues.ends.take(partial(super().connection_lost, exc))

    def check_timeouts(self) -> None:
        """Applies to upgrades too: an accepted upgrade has left this protocol."""
        http, again = self.http, self._callback_check_timeouts
        if getattr(http, "queued", False):
            self._time = time.monotonic()
        upgrading = getattr(http, "upgrade_websocket", False)
        if upgrading:
            http.upgrade_websocket = False
        super().check_timeouts()  # type: ignore[no-untyped-call]
        if upgrading:
            http.upgrade_websocket = True
        if isinstance(getattr(http, "exception", None), ServiceUnavailable) and self._unread:
            http.exception = RequestTimeout()  # the client is slow, not the hub
        if self._callback_check_timeouts is again:  # it has timed out, and Sanic scheduled no further check
            self.loop.call_later(TIMEOUT_RESPONSE_SECONDS, self.abort)

    @property
    def _unread(self) -> bool:
        """Whether the rest of a body is unread. Sanic has no `request_body` before the first request."""
        return bool(getattr(self.http, "request_body", None))


class PendingConnection(asyncio.Protocol):
    """A connection until the head of its first request is complete and admitted.

    It costs a buffer and a timer, where Sanic needs a task and 12 KB. Ten thousand connections that send
    nothing, or half a request, are cheap to keep and cheap to close.
    """

    __slots__ = (
        "_connections",
        "_deadline",
        "_head",
        "_http",
        "_queued",
        "_queues",
        "_refused_seconds",
        "_transport",
        "_upgrade",
    )

    def __init__(
        self,
        queues: AdmissionQueues,
        repeat_offenders: Callable[[bytes], int],
        patience: float,
        **sanics: Any,
    ) -> None:
        """`repeat_offenders` returns for how many seconds the sender of this head would still be refused.
        `patience` is in seconds, from the connection to the end of the head. `sanics` are what Sanic gives
        its own protocol.
        """
        self._queues = queues
        self._refused_seconds = repeat_offenders
        self._http: Callable[[], FairProtocol] = partial(FairProtocol, queues=queues, **sanics)
        self._connections: set[asyncio.Protocol] = sanics["connections"]
        self._deadline = asyncio.get_running_loop().call_later(patience, self._timed_out)
        self._head = bytearray()
        self._queued = False
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
        if self._queued or not whole:
            return
        self._deadline.cancel()
        end = self._head.find(HEAD_END)
        if 0 <= end <= Http.HEADER_MAX_SIZE:  # else Sanic refuses it for its length
            head = bytes(self._head[:end])
            self._upgrade = head if UPGRADE.search(head.lower()) else b""
        queue = self._queues.upgrades if self._upgrade else self._queues.requests
        if len(queue) >= MAX_QUEUED_REQUESTS:
            self._refuse("crowd", OVERLOADED)
        elif not self._delays_refusal():
            self._queued = True
            queue.take(self._enter)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._deadline.cancel()
        self._connections.discard(self)
        self._head.clear()

    def close_if_idle(self) -> bool:
        """Close it when the hub stops, unless it waits with a request that can still be answered."""
        if self._queued and not self._upgrade:
            return False
        if self._transport is not None:
            self._transport.write(OVERLOADED if self._queued else b"")
            self._transport.close()
        return True

    def abort(self) -> None:
        """Close it at once, without a response."""
        if self._transport is not None:
            self._transport.abort()

    def _enter(self) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing() or self._delays_refusal():
            return False
        self._connections.discard(self)
        self._transport = None
        http = self._http()
        transport.set_protocol(http)
        transport.resume_reading()
        http.connection_made(transport)  # type: ignore[no-untyped-call]
        http.data_received(bytes(self._head))
        return True

    def _delays_refusal(self) -> bool:
        """Refuse a repeat offender after `REFUSAL_DELAY_SECONDS`, in which nothing is read. Returns whether
        the sender is one; it may have become one while this connection was queued.
        """
        seconds = self._refused_seconds(self._upgrade) if self._upgrade else 0
        if not seconds:
            return False
        assert self._transport is not None
        self._queued = False
        self._head.clear()
        self._upgrade = b""
        self._transport.pause_reading()
        if self._queues.delayed_refusals < MAX_DELAYED_CONNECTIONS:
            self._queues.delayed_refusals += 1
            loop = asyncio.get_running_loop()
            refusal = partial(self._send_refusal, max(1, seconds - int(REFUSAL_DELAY_SECONDS)))
            loop.call_later(REFUSAL_DELAY_SECONDS, self._queues.ends.take, refusal)
        else:
            self._refuse("turned_away", b"")
        return True

    def _send_refusal(self, seconds: int) -> bool:
        self._queues.delayed_refusals -= 1
        if self._transport is None:
            return False
        self._refuse("turned_away", bare_answer(too_many(seconds)))
        return True

    def _timed_out(self) -> None:
        if self._head:
            self._refuse("too_slow", TOO_SLOW)
        else:
            self._refuse("silent", b"")

    def _refuse(self, reason: str, answer: bytes) -> None:
        assert self._transport is not None
        REFUSED.labels(reason).inc()
        self._transport.write(answer)
        self._transport.close()
