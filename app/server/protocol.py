"""HTTP connections with per-connection and global admission limits.

A connection is a `PendingConnection` (app/server/pending_connection.py) until the head of its first request
is complete, then Sanic's. A client can't keep it open by sending slowly, and each request waits for its turn
on the event loop.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from sanic.compat import Header
from sanic.exceptions import (
    BadRequest,
    ExpectationFailed,
    PayloadTooLarge,
    RequestTimeout,
    ServiceUnavailable,
)
from sanic.http import Http
from sanic.http.constants import Stage
from sanic.server.protocols.http_protocol import HttpProtocol

from app.api.errors import head_too_large, overloaded
from app.api.prefixes import REST
from app.realtime.connection import Connection
from app.runtime.http1 import ChunkedBody, Head, MalformedRequest, check_incomplete, head_end, parse_head
from app.runtime.rate_limit import AdmissionQueue, ByteBudget

TIMEOUT_RESPONSE_SECONDS = 1.0  # for the answer 408 to leave, before the connection is aborted
MAX_QUEUED_REQUESTS = 3000  # some three seconds of work; further requests get 503
MAX_QUEUED_UPGRADES = 10_000  # clients that come back at once wait for an upgrade, rather than to be refused
RECEIVE_BYTES = 16 * 1024  # read from a connection at a time
_EVENTS = re.compile(rf"{REST}/notifications/users/[^/]+/events/?")
MAX_CHUNKS_PER_TURN = 64  # of a body
MAX_BODIES_BYTES = 32 * 1024 * 1024  # of all connections, unless the settings say otherwise

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def opens_connection(head: Head) -> bool:
    """Whether a request asks for a WebSocket or an event stream."""
    return head.websocket or bool(head.method == "GET" and _EVENTS.fullmatch(head.target.partition("?")[0]))


def begin_connection(
    transport: asyncio.Transport, connection: Connection, answer: bytes, received: bytes
) -> None:
    """Make the transport the connection's: send the head of the answer, then pass on what was received behind
    the head of the request.
    """
    transport.set_protocol(connection)
    transport.write(answer)
    connection.connection_made(transport)
    transport.resume_reading()
    if received:
        connection.data_received(received)


class AdmissionQueues:
    """The admission limits that all connections of one event loop share.

    An upgrade costs about 0.45 ms of CPU when others share its round trips, and 0.9 ms alone; other requests
    mostly less than 0.5 ms, a close 0.1 ms. A queue admits at most its burst in one turn of the loop, so a
    busy loop admits fewer a second.
    """

    def __init__(self, max_bodies: int = MAX_BODIES_BYTES) -> None:
        """`max_bodies` is in bytes: of the bodies of all requests that are being handled."""
        self.bodies = ByteBudget(max_bodies)
        self.upgrades = AdmissionQueue(0.00025, 4)
        self.sanic_upgrades = AdmissionQueue(
            0.001, 2
        )  # those that Sanic serves or refuses, and event streams
        self.requests = AdmissionQueue(0.0005, 2)
        self.later_requests = AdmissionQueue(0.0005, 2)  # on a kept connection, and chunks of bodies
        self.discards = AdmissionQueue(0.004, 2)  # pieces, of up to 64 KB, of bodies that were refused
        self.ends = AdmissionQueue(0.0002, 5)
        self.delayed_refusals = 0
        self.receive_buffer = memoryview(bytearray(RECEIVE_BYTES))
        """What is read from any connection, until its protocol takes it in the same callback."""


class FairHttp(Http):
    """Sanic's `Http` with the hub's parser; later requests, and every `MAX_CHUNKS_PER_TURN` chunks of a body,
    are queued.

    Sanic's own parser is lenient (decision 031), and it processes its whole buffer without yielding to
    the loop: a thousand requests in one packet, or a body in ten thousand chunks.
    """

    __slots__ = (
        "_at_end",
        "_chunks",
        "_first",
        "_pieces",
        "_queues",
        "_refusal",
        "queued",
    )  # Sanic's classes have no __dict__
    request_body: Any  # True, or "chunked"; None when all of it was read
    request_bytes: Any
    request_bytes_left: Any

    def __init__(self, protocol: FairProtocol) -> None:
        super().__init__(protocol)  # type: ignore[no-untyped-call]
        self._queues = protocol.queues
        self._first: Head | None = protocol.first
        self._refusal = protocol.refusal
        protocol.refusal = None
        self._at_end: list[Callable[[], None]] = []
        self._chunks = ChunkedBody()
        self._pieces = 0
        self.queued = False
        """Whether a request waits for admission."""

    async def http1(self) -> None:
        """Serve the requests of the connection, then release what they hold."""
        try:
            await super().http1()  # type: ignore[no-untyped-call]
        finally:
            self._end()
            # Breaks reference cycles, which the garbage collector would otherwise collect in long pauses.
            self.request = self.response = self.response_func = None  # type: ignore[assignment]

    def init_for_request(self) -> None:
        """End the turn of the previous request."""
        self._end()
        super().init_for_request()  # type: ignore[no-untyped-call]

    def at_end(self, call: Callable[[], None]) -> None:
        """Call it when the request is done: its response was sent, or its connection was lost."""
        self._at_end.append(call)

    def _end(self) -> None:
        calls, self._at_end = self._at_end, []
        for call in calls:
            call()

    async def http1_request_header(self) -> None:
        """Read a request's head with the strict parser, and wait for admission."""
        head, self._first = self._first, None
        if head is not None:  # `PendingConnection` has parsed it, and waited
            self._begin(head)
            return
        await self._wait_in(self._queues.later_requests)
        head = await self._receive_head()
        self._begin(head)
        if opens_connection(head):
            await self._wait_in(self._queues.sanic_upgrades)

    async def _receive_head(self) -> Head:
        buffer, searched = self.recv_buffer, 0
        try:
            while (size := head_end(buffer, searched)) < 0 and len(buffer) <= self.HEADER_MAX_SIZE:
                check_incomplete(buffer, searched)
                searched = len(buffer)
                await self._receive_more()
            if not 0 <= size <= self.HEADER_MAX_SIZE:
                raise head_too_large(buffer[: self.HEADER_MAX_SIZE])
            return parse_head(bytes(buffer[:size]))
        except MalformedRequest:
            raise BadRequest from None

    def _begin(self, head: Head) -> None:
        """Take the head from the buffer, and make it the request."""
        self.url = head.target
        self.keep_alive = head.keep_alive and self.protocol.app.config.KEEP_ALIVE
        self.head_only = head.method == "HEAD"
        self.upgrade_websocket = head.websocket
        request = self.protocol.request_class(
            url_bytes=head.target.encode(),
            headers=Header(head.fields),
            version=head.version,
            method=head.method,
            transport=cast(Any, self.protocol.transport),
            app=self.protocol.app,
        )
        self.request_bytes_left = self.request_bytes = head.length or 0
        if head.has_body:
            self.expecting_continue = self._expects_continue(head)
            self.request_body = True
        if head.length is None:
            self.request_body, self._chunks = "chunked", ChunkedBody()
        del self.recv_buffer[: head.size]
        self.request, request.stream = request, self
        if self._refusal is not None:
            request.ctx.refusal, self._refusal = self._refusal, None
        self.protocol.state["requests_count"] += 1
        self._check_size(0)

    def hand_over(self, answer: bytes, connection: Connection) -> None:
        """Send the head of the answer, and give the transport away: Sanic waits for no response."""
        self.upgrade_websocket = True
        protocol: Any = self.protocol
        transport, received = protocol.transport, bytes(protocol.recv_buffer)
        protocol.connections.discard(protocol)
        protocol.transport = None
        begin_connection(transport, connection, answer, received)

    @staticmethod
    def _expects_continue(head: Head) -> bool:
        expected = head.values("expect") if head.version != "1.0" else []  # RFC 9110, 10.1.1
        if expected and [each.lower() for each in expected] != ["100-continue"]:
            raise ExpectationFailed
        return bool(expected)

    async def _wait_in(self, queue: AdmissionQueue) -> None:
        if len(queue) >= MAX_QUEUED_REQUESTS:
            raise overloaded()
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

    async def read_body(self, most: int) -> bytes:
        """Receive the body. Raises `PayloadTooLarge`, `BadRequest`, or `Problem` (503) if the node holds as
        many bytes of bodies as it may.
        """
        self.request_max_size = min(self.request_max_size, most)
        pieces = []
        async for piece in self:
            if not self._queues.bodies.take(len(piece)):
                self.keep_alive = False
                raise overloaded()
            self.at_end(partial(self._queues.bodies.give_back, len(piece)))
            pieces.append(piece)
        return b"".join(pieces)

    async def http1_response_header(self, data: bytes, end_stream: bool) -> None:
        """Send the response, and wait until the client has read most of it.

        Until then the request counts as one in flight. RESPONSE_TIMEOUT ends the wait, and the connection.
        """
        if self.expecting_continue:  # the client hasn't begun to send the body, and isn't to
            self.expecting_continue = False
            self.keep_alive = False
            self.request_body = None
        await super().http1_response_header(data, end_stream)
        writable: asyncio.Event = self.protocol._can_write
        if self.stage is Stage.IDLE and not writable.is_set():
            self.stage = Stage.RESPONSE
            await writable.wait()
            self.stage = Stage.IDLE
        if self.stage is Stage.IDLE and self.request_body:
            await self._discard_body()

    async def _discard_body(self) -> None:
        """Receive the rest of a body whose request has its response, for half of REQUEST_TIMEOUT at most.

        To close with data unread resets the connection, and the client may lose the response (RFC 9112, 9.6).
        """
        self._end()
        seconds = self.protocol.app.config.REQUEST_TIMEOUT / 2
        transport = self.protocol.transport
        if not self.keep_alive and transport is not None and not transport.is_closing():
            transport.write_eof()
        self.request_max_size, left = sys.maxsize, self.protocol.request_max_size
        try:
            async with asyncio.timeout(seconds):
                while (piece := await self.read()) is not None:
                    await self._turn(self._queues.discards)
                    left -= len(piece)
                    if left < 0:  # the client may read its response, and can't send more
                        await asyncio.sleep(seconds)
        except (BadRequest, TimeoutError):
            self.keep_alive = False
            self.request_body = None

    async def read(self) -> bytes | None:
        """Read some bytes of the body; None at its end."""
        self._pieces += 1
        if self._pieces % MAX_CHUNKS_PER_TURN == 0:
            await self._turn(self._queues.later_requests)
        if self.expecting_continue:
            self.expecting_continue = False
            await self._send(CONTINUE)
        if self.request_body == "chunked":
            return await self._read_chunk()
        self._check_size(0)
        if not self.request_bytes_left:
            self.request_body = None
            return None
        if not self.recv_buffer:
            await self._receive_more()
        data = bytes(self.recv_buffer[: self.request_bytes_left])
        del self.recv_buffer[: len(data)]
        self.request_bytes_left -= len(data)
        return data

    async def _read_chunk(self) -> bytes | None:
        buffer = self.recv_buffer
        try:
            while (left := self._chunks.size_of_next(buffer)) is None or (left and not buffer):
                await self._receive_more()
        except MalformedRequest:
            self.keep_alive = False
            raise BadRequest from None
        if not left:
            self.request_body = None
            return None
        data = self._chunks.take(buffer)
        self.request_bytes += len(data)
        self._check_size(left - len(data))
        return data

    def _check_size(self, announced: int) -> None:
        """Raises `PayloadTooLarge` if what was read and announced of the body is more than allowed."""
        if self.request_bytes + announced > self.request_max_size:
            self.keep_alive = False
            raise PayloadTooLarge


class FairProtocol(HttpProtocol):
    """Sanic's protocol, with time limits that run from the first byte of a request.

    The head must be complete within REQUEST_TIMEOUT, body and response within RESPONSE_TIMEOUT; otherwise the
    connection is closed. Sanic restarts its timer at each byte, so one byte every few seconds keeps a
    connection open for days (slowloris). It applies no limit to a request with a body and
    `Upgrade: websocket`, and after a 408 it waits for the rest of the body indefinitely.
    """

    HTTP_CLASS = FairHttp
    __slots__ = ("first", "queues", "refusal")

    def __init__(
        self, *, queues: AdmissionQueues, first: Head, refusal: Exception | None = None, **sanics: Any
    ) -> None:
        """`first` is the head of the first request; `data_received` gets its bytes all the same. `refusal` is
        what its handler raises, if it was handled before and only the answer is left.
        """
        super().__init__(**sanics)
        self.refusal = refusal
        self.queues = queues
        self.first = first

    def data_received(self, data: bytes) -> None:
        """Receive bytes. Those within a request do not restart its time limit."""
        begun = self._time
        between = self.http is None or (self.http.stage is Stage.IDLE and not self._unread)
        super().data_received(data)
        if not between:
            self._time = begun

    async def receive_more(self) -> None:
        """Wait for more bytes. Raises `CancelledError` if the connection was lost: Sanic would log a trace
        for each client that hangs up within a body.
        """
        if cast(Any, self.transport) is None:
            raise asyncio.CancelledError
        await super().receive_more()  # type: ignore[no-untyped-call]

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
