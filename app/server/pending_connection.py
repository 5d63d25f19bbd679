"""Connections before their first request, and how all of them read: cheap, and in small pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from sanic import Request
from sanic.exceptions import ServiceUnavailable
from sanic.http import Http

from app.api.errors import bare_answer, head_too_large, malformed, overloaded, too_many, too_slow
from app.auth.repeat_offenders import MAX_DELAYED_CONNECTIONS, REFUSAL_DELAY_SECONDS
from app.realtime.connection import Connection
from app.runtime.http1 import Head, MalformedRequest, check_incomplete, head_end, parse_head
from app.runtime.log import bind_to_request
from app.runtime.metrics import REFUSED
from app.server.direct_upgrades import DirectUpgrades
from app.server.protocol import (
    MAX_QUEUED_REQUESTS,
    MAX_QUEUED_UPGRADES,
    RECEIVE_BYTES,
    AdmissionQueues,
    FairProtocol,
    begin_connection,
    opens_connection,
)

TOO_SLOW = bare_answer(too_slow())
OVERLOADED = bare_answer(overloaded())
MALFORMED = bare_answer(malformed())
MAX_DISCARDED_BYTES = 256 * 1024  # and seconds, that are still read from a connection after it was refused
DISCARD_SECONDS = 1.0


class Receiver(asyncio.BufferedProtocol):
    """Hands what a connection receives to Sanic's protocol, in pieces of at most `RECEIVE_BYTES`.

    Otherwise uvloop reads 256 KB at a time: 800 connections with a body held 200 MB before their tokens were
    checked (docs/explanation/decisions/034).
    """

    __slots__ = ("_buffer", "_protocol")

    def __init__(self, protocol: FairProtocol, buffer: memoryview) -> None:
        self._protocol = protocol
        self._buffer = buffer

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer that all connections of the node share."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Pass what was received to the protocol."""
        self._protocol.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool | None:
        """Pass on that the client sends no more."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection has ended."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on that the write buffer is full."""
        self._protocol.pause_writing()  # type: ignore[no-untyped-call]

    def resume_writing(self) -> None:
        """Pass on that the write buffer has room."""
        self._protocol.resume_writing()  # type: ignore[no-untyped-call]


class PendingConnection(asyncio.BufferedProtocol):
    """A connection until the head of its first request is complete and admitted. If that opens a WebSocket,
    until it is open: then it is the stream of the request.

    It costs a buffer and a timer, where Sanic needs a task and 12 KB. Ten thousand connections that send
    nothing, or half a request, are cheap to keep and cheap to close.
    """

    __slots__ = (
        "_connections",
        "_deadline",
        "_direct",
        "_discarded_left",
        "_first",
        "_http",
        "_queued",
        "_queues",
        "_received",
        "_refused_seconds",
        "_timed_out_upgrade",
        "_transport",
        "_upgrading",
    )

    def __init__(
        self,
        queues: AdmissionQueues,
        repeat_offenders: Callable[[Head], int],
        patience: float,
        direct: DirectUpgrades | None = None,
        **sanics: Any,
    ) -> None:
        """`repeat_offenders` returns for how many seconds the sender of this head would still be refused.
        `patience` is in seconds, from the connection to the end of the head. `direct` serves upgrades;
        without it Sanic does. `sanics` are what Sanic gives its own protocol.
        """
        self._direct = direct
        self._upgrading: asyncio.Task[None] | None = None
        self._timed_out_upgrade = False
        self._queues = queues
        self._refused_seconds = repeat_offenders
        self._http: Callable[..., FairProtocol] = partial(FairProtocol, queues=queues, **sanics)
        self._connections: set[asyncio.BaseProtocol] = sanics["connections"]
        self._deadline = asyncio.get_running_loop().call_later(patience, self._timed_out)
        self._received = bytearray()
        self._first: Head | None = None
        self._queued = False
        self._discarded_left: int | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection, so that it is closed when the hub stops."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer that all pending connections of the node share."""
        return self._queues.receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse the head; queue the connection once it is complete."""
        if self._discarded_left is not None:
            self._discard(nbytes)
            return
        searched = len(self._received)
        self._received += self._queues.receive_buffer[:nbytes]
        assert self._transport is not None
        if len(self._received) >= RECEIVE_BYTES:
            self._transport.pause_reading()
        if self._first is not None or self._transport.is_closing():
            return
        try:
            self._first = self._parsed(searched)
        except MalformedRequest:
            self._deadline.cancel()
            self._refuse("malformed", MALFORMED)
            return
        if self._first is not None:
            self._deadline.cancel()
            self._wait(self._first)

    def _parsed(self, searched: int) -> Head | None:
        """The head, once it is complete. Refuses one that is too large. Raises `MalformedRequest`."""
        size = head_end(self._received, searched)
        if size > Http.HEADER_MAX_SIZE or (size < 0 and len(self._received) > Http.HEADER_MAX_SIZE):
            self._deadline.cancel()
            problem = head_too_large(self._received[: Http.HEADER_MAX_SIZE])
            self._refuse(problem.code, bare_answer(problem))
            return None
        if size < 0:
            check_incomplete(self._received, searched)
            return None
        return parse_head(bytes(self._received[:size]))

    def _wait(self, head: Head) -> None:
        if self._direct is not None and self._direct.user_of(head) is not None:
            queue, most = self._queues.upgrades, MAX_QUEUED_UPGRADES
        elif opens_connection(head):
            queue, most = self._queues.sanic_upgrades, MAX_QUEUED_UPGRADES
        else:
            queue, most = self._queues.requests, MAX_QUEUED_REQUESTS
        if len(queue) >= most:
            self._refuse("crowd", OVERLOADED)  # a label of the metric # term
        elif not self._delays_refusal(head):
            self._queued = True
            queue.take(self._enter)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline and the upgrade, and release what was received."""
        self._transport = None
        self._deadline.cancel()
        if self._upgrading is not None:
            self._queues.ends.take(self._upgrading.cancel)
        self._connections.discard(self)
        self._received.clear()

    def close_if_idle(self) -> bool:
        """Close it when the hub stops, unless it waits with a request that can still be answered, or is being
        upgraded.
        """
        if self._upgrading is not None:
            return False
        if self._queued and self._first is not None and not opens_connection(self._first):
            return False
        if self._transport is not None:
            if self._queued:
                self._transport.write(OVERLOADED)
            self._transport.close()
        return True

    def abort(self) -> None:
        """Close it at once, without a response."""
        if self._transport is not None:
            self._transport.abort()

    def _enter(self) -> bool:
        transport, head = self._transport, self._first
        if transport is None or head is None or transport.is_closing() or self._delays_refusal(head):
            return False
        self._queued = False
        found = self._direct.request_of(head, transport) if self._direct is not None else None
        if self._direct is None or found is None:
            self._leave_to_sanic()
            return True
        request, user_id = found
        request.stream = cast(Any, self)
        loop = asyncio.get_running_loop()
        self._upgrading = loop.create_task(self._upgrade(self._direct, request, user_id), name="upgrade")
        self._deadline = loop.call_later(self._direct.max_seconds, self._end_upgrade)
        return True

    async def _upgrade(self, direct: DirectUpgrades, request: Request, user_id: str) -> None:
        """Make the request a connection. What is raised before that, Sanic answers as for any request."""
        bind_to_request(request.id)
        try:
            await direct.connect(request, user_id)
        except asyncio.CancelledError:
            if not self._timed_out_upgrade:
                raise
            self._leave_to_sanic(ServiceUnavailable())
        except Exception as error:
            if self._first is None:  # it is a connection
                raise
            self._refuse_upgrade(error)
        finally:
            request.stream = None
            self._upgrading = None
            self._deadline.cancel()

    def _refuse_upgrade(self, error: Exception) -> None:
        """Let Sanic answer, which takes more than to find out that the token is invalid, at a lower rate."""
        if len(self._queues.sanic_upgrades) < MAX_QUEUED_UPGRADES:
            self._queued = True
            self._queues.sanic_upgrades.take(partial(self._leave_to_sanic, error))
        elif self._transport is not None and not self._transport.is_closing():
            self._refuse("crowd", OVERLOADED)  # a label of the metric # term

    def _end_upgrade(self) -> None:
        if self._upgrading is not None:
            self._timed_out_upgrade = True
            self._upgrading.cancel()

    def hand_over(self, answer: bytes, connection: Connection) -> None:
        """Send the head of the answer, and give the transport to the connection."""
        transport, head = self._transport, self._first
        assert transport is not None
        assert head is not None
        received = bytes(self._received[head.size :])
        self._received.clear()
        self._connections.discard(self)
        self._transport = self._first = None
        begin_connection(transport, connection, answer, received)

    def _leave_to_sanic(self, refusal: Exception | None = None) -> bool:
        """Let Sanic serve the connection, if it is still there. With `refusal`, the handler of the first
        request raises it.
        """
        transport, head = self._transport, self._first
        if transport is None or head is None or transport.is_closing():
            return False
        self._queued = False
        self._connections.discard(self)
        self._transport = None
        http = self._http(first=head, refusal=refusal)
        transport.set_protocol(Receiver(http, self._queues.receive_buffer))
        transport.resume_reading()
        http.connection_made(transport)  # type: ignore[no-untyped-call]
        http.data_received(bytes(self._received))
        return True

    def _delays_refusal(self, head: Head) -> bool:
        """Refuse a repeat offender after `REFUSAL_DELAY_SECONDS`, in which nothing is read. Returns whether
        the sender is one; it may have become one while this connection was queued.
        """
        seconds = self._refused_seconds(head) if opens_connection(head) else 0
        if not seconds:
            return False
        assert self._transport is not None
        self._queued = False
        self._received.clear()
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
        if self._received:
            self._refuse("too_slow", TOO_SLOW)
        else:
            self._refuse("silent", b"")

    def _refuse(self, reason: str, answer: bytes) -> None:
        assert self._transport is not None
        REFUSED.labels(reason).inc()
        self._transport.write(answer)
        if answer:
            self._close_when_read()
        else:
            self._transport.close()

    def _close_when_read(self) -> None:
        """Read on for a moment: to close with data unread resets the connection, and the client may lose the
        answer (RFC 9112, 9.6).
        """
        assert self._transport is not None
        self._discarded_left = MAX_DISCARDED_BYTES
        self._transport.write_eof()
        self._transport.resume_reading()
        self._deadline = asyncio.get_running_loop().call_later(DISCARD_SECONDS, self._transport.close)

    def _discard(self, count: int) -> None:
        assert self._transport is not None
        assert self._discarded_left is not None
        self._discarded_left -= count
        if self._discarded_left < 0:
            self._transport.close()
