"""One live WebSocket: websockets' sans-I/O protocol directly on the transport. No task, no queue, no lock."""

from __future__ import annotations

import asyncio
import codecs
import logging
from collections.abc import Callable
from typing import NamedTuple, cast
from uuid import UUID

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from app.auth.tokens import Claims
from app.realtime.cursor import InboxCursor
from app.realtime.protocol import CloseCode
from app.realtime.timer_wheel import TimerWheel
from app.runtime.metrics import CLOSED
from app.runtime.rate_limit import AdmissionQueue

# A stalled client never answers a close frame: after this time its transport is aborted.
CLOSE_TIMEOUT_SECONDS = 5.0
PING = b"\x89\x00"  # a whole frame (RFC 6455, 5.5.2)
# A ping behind this many bytes may be answered one second later.
MIN_BYTES_PER_SECOND = 64 * 1024
# Frames read in a row, and the bytes between two checks of their count; then the rest waits for its turn. The
# kernel hands over up to 256 KB, and 43,000 empty frames in there would delay all other clients by 0.6 s.
MAX_CONTROL_FRAMES_IN_A_ROW = 40
MAX_BYTES_PER_READ = 256

# The sans-I/O layer logs every closed connection and every client's error, both of which are routine here.
logger = logging.getLogger("hub.websocket")
logger.setLevel(logging.CRITICAL)


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


class FrameProtocol(ServerProtocol):
    """websockets' sans-I/O layer, except that a client may close in the middle of a message (RFC 6455, 5.4),
    and that texts have to be UTF-8 (8.1). The first error decides the close code, however bytes are split.
    """

    _utf8: codecs.IncrementalDecoder | None = None

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None  # the message that is abandoned; without this it would be a 1002
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._check_text(frame)
        super().recv_frame(frame)

    def _check_text(self, frame: Frame) -> None:
        """Raises `UnicodeDecodeError`, which closes with 1007, when a text isn't UTF-8 up to and with this
        frame.
        """
        if frame.opcode is Opcode.TEXT:
            self._utf8 = codecs.getincrementaldecoder("utf-8")()
        if self._utf8 is None:
            return  # a fragment of a binary message
        self._utf8.decode(frame.data, final=frame.fin)
        if frame.fin:
            self._utf8 = None

    def dispose(self) -> None:
        """Break the reference cycles among its parts. When thousands of clients disconnect at once, the
        garbage collector would otherwise stop the node for 70 ms.
        """
        vars(self).clear()


class Connection(asyncio.Protocol):
    """One WebSocket of one user.

    `send` never waits: what the client doesn't read stays in the transport's buffer. Beyond
    `Limits.write_buffer` the connection is closed with 4001, so a slow consumer never delays the others.
    A ping is sent with each burst of frames: a client that stopped reading is detected by the missing answer,
    long before the buffers of both kernels are full.
    """

    __slots__ = (
        "_answered",
        "_drained",
        "_expires",
        "_frames",
        "_frames_since",
        "_held",
        "_ignores_input",
        "_limits",
        "_loop_time",
        "_on_lost",
        "_on_message",
        "_parts",
        "_pinged",
        "_queued",
        "_reading_queue",
        "_timer_wheel",
        "_transport",
        "_unanswered_bytes",
        "_unread",
        "_ws",
        "claims",
        "client",
        "close_code",
        "cursor",
        "due",
    )

    def __init__(
        self,
        ws: FrameProtocol,
        claims: Claims,
        context: ConnectionContext,
        client: ClientInfo | None = None,
        on_message: Callable[[Connection, bytes], None] | None = None,
    ) -> None:
        """`ws` has accepted the handshake.

        `on_message` gets each text of a client that speaks the session protocol; None means a plain client,
        whose messages are ignored.
        """
        self.claims = claims
        self.client = client or ClientInfo()
        self.cursor = InboxCursor(resumes=on_message is not None)
        self.due = 0
        self.close_code: int | None = None
        self._ws = ws
        self._limits, self._timer_wheel, self._reading_queue, self._loop_time, on_lost = context
        self._expires = self._loop_time(claims.expires_at)
        self._on_lost: Callable[[Connection], None] | None = on_lost
        self._on_message = on_message
        self._unread = b""
        self._queued = False
        self._ignores_input = False
        self._parts: list[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._frames = 0
        self._frames_since = 0.0
        self._answered = True
        self._pinged = False
        self._unanswered_bytes = 0
        self._drained: asyncio.Future[None] | None = None
        self._held: list[bytes] | None = None

    # From the hub

    @property
    def open(self) -> bool:
        return self._transport is not None and self._ws.state is OPEN

    @property
    def user_id(self) -> UUID:
        return self.claims.user_id

    @property
    def session(self) -> bool:
        """Whether the client speaks the session protocol."""
        return self._on_message is not None

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
        if self._held is not None:
            self._held.append(frame)
            return
        transport = self._transport
        if transport is None or self._ws.state is not OPEN:  # `open`, without a call for each frame
            return
        self._unanswered_bytes += len(frame)
        transport.write(frame if self._pinged else frame + self._ping())
        if transport.get_write_buffer_size() > self._limits.write_buffer:
            self.close(CloseCode.TOO_SLOW, "too slow: reconnect and resume")

    async def drained(self) -> None:
        """Return when the transport accepts more, or the client is gone. For what is too much to be sent at
        once; live notifications never wait.
        """
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def _ping(self) -> bytes:
        """A ping; the timer is set to check for its answer."""
        self._pinged = True
        self._answered = False
        time_limit = self._limits.answer_timeout + self._unanswered_bytes / MIN_BYTES_PER_SECOND
        moment = asyncio.get_running_loop().time() + time_limit
        self._schedule(min(moment, self._expires))
        return PING

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake: nothing is delivered after this. Does nothing when already begun.

        A connection without a transport is only marked, by `close_code`, and is never opened.
        """
        if self._transport is None and self.close_code is None:
            self.close_code = code
            self._lost()
        if not self.open:
            return
        self.close_code = code
        CLOSED.labels(code).inc()
        self._ws.send_close(code, reason)
        self._flush()
        self._lost()
        self._schedule(asyncio.get_running_loop().time() + CLOSE_TIMEOUT_SECONDS)

    def renew(self, claims: Claims) -> None:
        """The client sent a new token."""
        self.claims = claims
        self._expires = self._loop_time(claims.expires_at)
        if self._expires < self.due:  # never later: a client that renews all the time is checked as often
            self._schedule(self._expires)

    def abort(self) -> None:
        """End the connection at once, without a closing handshake."""
        if self._transport is not None:
            self._transport.abort()

    def tick(self, now: float) -> float | None:
        """Abort if the last ping is unanswered, close if the token expired, else ping."""
        if not self.open:
            self.abort()
            return None
        if now >= self._expires:
            self.close(CloseCode.TOKEN_EXPIRED, "token expired")
            return now + CLOSE_TIMEOUT_SECONDS
        if not self._answered and not self._queued:
            self.abort()
            return None
        if now - self._frames_since >= self._limits.ping_interval - 1:
            self._frames_since = now
            self._frames = 0
        if self._pinged:
            self._pinged = False
        else:
            self._answered = False
            cast(asyncio.Transport, self._transport).write(PING)
        return min(now + self._limits.ping_interval, self._expires)

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        now = asyncio.get_running_loop().time()
        self._schedule(min(now + self._limits.ping_interval, self._expires))

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if not self._queued:
            self._read_some()

    def _read_some(self) -> bool:
        """Read some frames; if there are more, pause reading until it is this connection's turn. False if it
        has no transport any more.
        """
        if self._transport is None:
            self._unread = b""
            return False
        data, frames_before, start = self._unread, self._frames, 0
        while (
            start < len(data)
            and not self._ignores_input
            and self._frames - frames_before < MAX_CONTROL_FRAMES_IN_A_ROW
        ):
            self._read(data[start : start + MAX_BYTES_PER_READ])
            start += MAX_BYTES_PER_READ
        self._unread = b"" if self._ignores_input or self._transport is None else data[start:]
        was_queued, self._queued = self._queued, bool(self._unread)
        if self._unread:
            self._transport.pause_reading()
            self._reading_queue.take(self._read_some)
        elif was_queued and self._transport is not None and not self._ignores_input:
            self._transport.resume_reading()
        return True

    def _stop_reading(self) -> None:
        """Leave the rest unread. The timer wheel aborts the connection soon; until then the close frame can
        reach the client, which keeps it from reconnecting at once.
        """
        self._ignores_input = True
        if self._transport is not None:
            self._transport.pause_reading()

    def _read(self, data: bytes) -> None:
        closing = self._ws.state is not OPEN
        self._ws.receive_data(data)
        if self.open:
            self._flush()  # a pong goes before what a message behind the ping is answered with
        for frame in self._ws.events_received():
            self._received(cast(Frame, frame))
        self._flush(end_only=closing)

    def eof_received(self) -> None:
        self._ws.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._unread = b""
        self.resume_writing()
        self._schedule(None)
        self._lost()
        self._ws.dispose()

    def _received(self, frame: Frame) -> None:
        self._answered = True
        self._unanswered_bytes = 0
        self._frames += 1
        if self._frames > self._limits.max_frames:
            self.close(CloseCode.TOO_MANY, "too many frames")
            self._stop_reading()
        elif (
            frame.opcode in (Opcode.TEXT, Opcode.CONT)
            and self._on_message is not None
            and self._on_lost is not None
        ):
            self._collect(frame, self._on_message)

    def _collect(self, frame: Frame, on_message: Callable[[Connection, bytes], None]) -> None:
        """Pass a text on when its last fragment has arrived; `max_size` bounds its size."""
        if frame.opcode is Opcode.TEXT:
            self._parts = []
        if self._parts is None:
            return  # a fragment of a binary message
        self._parts.append(bytes(frame.data))
        if frame.fin:
            text, self._parts = b"".join(self._parts), None
            on_message(self, text)

    def _flush(self, end_only: bool = False) -> None:
        """Write what the sans-I/O layer wants sent; an empty part means the end of the stream.

        `end_only` drops all but that: a client that was closed and goes on pinging gets no answers, which
        would pile up.
        """
        if self._transport is None:
            return
        for data in self._ws.data_to_send():
            if data:
                if not end_only:
                    self._transport.write(data)
            else:
                self._transport.close()
                self._schedule(asyncio.get_running_loop().time() + CLOSE_TIMEOUT_SECONDS)
        if self._ws.state is not OPEN:
            self._lost()

    def _schedule(self, moment: float | None) -> None:
        self._timer_wheel.schedule(self, moment)

    def _lost(self) -> None:
        if self._on_lost is not None:
            on_lost, self._on_lost = self._on_lost, None
            on_lost(self)
