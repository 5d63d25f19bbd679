"""One live WebSocket: websockets' sans-I/O protocol directly on the transport. No task, no queue, no lock."""

from __future__ import annotations

import asyncio
import codecs
import logging
from collections.abc import Callable
from typing import cast

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from app.auth.tokens import Claims
from app.realtime.connection import CLOSE_TIMEOUT_SECONDS, ClientInfo, Connection, ConnectionContext
from app.realtime.protocol import CloseCode

PING = b"\x89\x00"  # a whole frame (RFC 6455, 5.5.2)
# A ping behind this many bytes may be answered one second later.
MIN_BYTES_PER_SECOND = 64 * 1024
# Frames read in a row, and the bytes between two checks of their count; then the rest waits for its turn. The
# kernel delivers up to 256 KB, and 43,000 empty frames in there would delay all other clients by 0.6 s.
MAX_CONTROL_FRAMES_IN_A_ROW = 40
MAX_BYTES_PER_READ = 256

# The sans-I/O layer logs every closed connection and every client's error, both of which are routine here.
logger = logging.getLogger("hub.websocket")
logger.setLevel(logging.CRITICAL)


class FrameProtocol(ServerProtocol):
    """websockets' sans-I/O layer, except that a client may close in the middle of a message (RFC 6455, 5.4),
    and that texts have to be UTF-8 (8.1). The first error decides the close code, however bytes are split.
    """

    _utf8: codecs.IncrementalDecoder | None = None

    def recv_frame(self, frame: Frame) -> None:
        """Check that texts are UTF-8, and let a close frame interrupt a message."""
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


class WebSocketConnection(Connection):
    """One WebSocket of one user.

    A ping is sent with each burst of frames: a client that stopped reading is detected by the missing answer,
    long before the buffers of both kernels are full.
    """

    __slots__ = (
        "_answered",
        "_frames",
        "_frames_since",
        "_ignores_input",
        "_on_message",
        "_parts",
        "_pinged",
        "_queued",
        "_reading_queue",
        "_unanswered_bytes",
        "_unread",
        "_ws",
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
        session = on_message is not None
        super().__init__(claims, context, client or ClientInfo(), session=session, resumes=session)
        self._ws = ws
        self._reading_queue = context.reading
        self._on_message = on_message
        self._unread = b""
        self._queued = False
        self._ignores_input = False
        self._parts: list[bytes] | None = None
        self._frames = 0
        self._frames_since = 0.0
        self._answered = True
        self._pinged = False
        self._unanswered_bytes = 0

    # From the hub

    @property
    def open(self) -> bool:
        """As `Connection.open`."""
        return self._transport is not None and self._ws.state is OPEN

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

    def _ping(self) -> bytes:
        """A ping; the timer is set to check for its answer."""
        self._pinged = True
        self._answered = False
        time_limit = self._limits.answer_timeout + self._unanswered_bytes / MIN_BYTES_PER_SECOND
        moment = asyncio.get_running_loop().time() + time_limit
        self._schedule(min(moment, self._expires))
        return PING

    def _begin_to_close(self, code: int, reason: str) -> None:
        self._ws.send_close(code, reason)
        self._flush()

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

    def data_received(self, data: bytes) -> None:
        """Process what was received; frames beyond the share of one turn wait for the next turn."""
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
        """The client sends no more: finish the close handshake."""
        self._ws.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """As `Connection.connection_lost`."""
        self._unread = b""
        super().connection_lost(exc)
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

        `end_only` drops all but that: a client that still pings after its close gets no answers, which
        would accumulate.
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
