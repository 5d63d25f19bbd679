"""One live event stream (Server-Sent Events): the response to a GET, open until either side ends it."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import suppress

from app.auth.tokens import Claims
from app.realtime.connection import (
    CLOSE_TIMEOUT_SECONDS,
    ClientInfo,
    Connection,
    ConnectionContext,
    DetailsShown,
)
from app.realtime.event_format import HEARTBEAT, closing, events_of, opening
from app.realtime.protocol import CloseCode
from app.runtime.metrics import EVENT_STREAMS

# When browsers come back after any loss: at random, as a node that stops ends all its streams at once.
RETRY_MS = (1000, 5000)
MAX_RECEIVED_BYTES = 16 * 1024  # from a client, which has nothing to say
# What the kernel keeps for a client that doesn't read. Sockets detect such a client by an unanswered ping.
SEND_BUFFER_BYTES = 128 * 1024


class EventStreamConnection(Connection):
    """One event stream of one user.

    A client can't answer a ping, so two things detect one that is gone or doesn't read: the kernel, by
    data that isn't acknowledged within a ping interval, and `tick`, by data that it couldn't write.
    """

    __slots__ = ("_received", "_unwritten")
    details_without_session = DetailsShown.PUBLISHED

    def __init__(
        self, claims: Claims, context: ConnectionContext, client: ClientInfo, *, session: bool, resumes: bool
    ) -> None:
        super().__init__(claims, context, client, session=session, resumes=resumes)
        self._received = 0
        self._unwritten = 0

    # From the hub

    @property
    def open(self) -> bool:
        """As `Connection.open`."""
        return self._transport is not None and self.close_code is None

    def begin(self, start: int) -> None:
        """Send the first bytes: the client has all up to and with `start`."""
        assert self._transport is not None
        self._transport.write(opening(start, random.randint(*RETRY_MS)))  # noqa: S311 - jitter

    def send(self, frame: bytes) -> None:
        """Send bytes that are whole text frames of a WebSocket, as events."""
        if self._held is not None:
            self._held.append(frame)
            return
        transport = self._transport
        if transport is None or self.close_code is not None:
            return
        transport.write(events_of(frame))
        if transport.get_write_buffer_size() > self._limits.write_buffer:
            self.close(CloseCode.TOO_SLOW, "too slow: reconnect and resume")

    def _begin_to_close(self, code: int, reason: str) -> None:
        assert self._transport is not None
        self._transport.write(closing(code, reason))
        self._transport.close()

    def tick(self, now: float) -> float | None:
        """Abort a client for which as much waits as an interval ago, close if the token expired, else send a
        heartbeat.
        """
        if not self.open:
            self.abort()
            return None
        if now >= self._expires:
            self.close(CloseCode.TOKEN_EXPIRED, "token expired")
            return now + CLOSE_TIMEOUT_SECONDS
        assert self._transport is not None
        before, self._unwritten = self._unwritten, self._transport.get_write_buffer_size()
        if self._unwritten >= before > 0:
            self.abort()
            return None
        if not self._unwritten:
            self._transport.write(HEARTBEAT)
        return min(now + self._limits.ping_interval, self._expires)

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As `Connection.connection_made`, and count the stream."""
        super().connection_made(transport)
        EVENT_STREAMS.inc()
        if kernel := transport.get_extra_info("socket"):
            _limit(kernel, self._limits.ping_interval)

    def data_received(self, data: bytes) -> None:
        """Discard what the client sends; end the connection if that is too much."""
        self._received += len(data)
        if self._received > MAX_RECEIVED_BYTES:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """As `Connection.connection_lost`, and count the end of the stream."""
        if self._transport is not None:
            EVENT_STREAMS.dec()
        super().connection_lost(exc)


def _limit(kernel: socket.socket, seconds: float) -> None:
    """Bound what the kernel keeps for the client, and how long it waits for an acknowledgement of it (RFC
    5482; Linux).
    """
    with suppress(OSError):  # it may be gone already
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            kernel.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))
