"""A connection in this process, with a client that speaks websockets' own protocol at its other end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from app.auth.tokens import Claims
from app.domain.notifications import Notification
from app.realtime.connection import ClientInfo, Connection, ConnectionContext, Limits
from app.realtime.manager import WebSocketManager
from app.realtime.protocol import notification_frame
from app.realtime.publication import Push
from app.realtime.timer_wheel import TimerWheel
from app.realtime.websocket import FrameProtocol, WebSocketConnection
from app.runtime.rate_limit import AdmissionQueue
from tests.support.hub import eventually

LIMITS = Limits(ping_interval=20.0, answer_timeout=4.0, write_buffer=1000, max_frames=10)
MAX_MESSAGE = 1024
EMPTY_PING = bytes((0x89, 0x80, 0, 0, 0, 0))
LIFETIME = 3600


class FakeTransport(asyncio.Transport):
    """Keeps what was written until the peer reads; a `stalled` one counts as full of it."""

    def __init__(self) -> None:
        super().__init__()
        self.connection: Connection | None = None
        self.buffer = b""
        self.writes = 0
        self.stalled = False
        self.paused = False
        self.ended = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended
        self.buffer += data
        self.writes += 1

    def get_write_buffer_size(self) -> int:
        return len(self.buffer) if self.stalled else 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.ended = self.ended or "closed"
        if not self.stalled:
            self._lose()

    def abort(self) -> None:
        self.ended = "aborted"
        self._lose()

    def _lose(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            asyncio.get_running_loop().call_soon(connection.connection_lost, None)


class Peer:
    """A connection with the client at its other end, which speaks websockets' own protocol."""

    def __init__(
        self,
        user: UUID | None = None,
        on_lost: Callable[[Connection], None] | None = None,
        pace: AdmissionQueue | None = None,
        limits: Limits = LIMITS,
        on_message: Callable[[Connection, bytes], None] | None = None,
        info: ClientInfo | None = None,
    ) -> None:
        self.clock = TimerWheel()
        self.lost: list[Connection] = []
        self.transport = FakeTransport()
        self.now = now = asyncio.get_running_loop().time()
        self.connection = self.transport.connection = WebSocketConnection(
            FrameProtocol(state=OPEN, max_size=MAX_MESSAGE),
            Claims(user or uuid4(), "a token", 0, LIFETIME),
            ConnectionContext(
                limits,
                self.clock,
                AdmissionQueue(0.001, 2) if pace is None else pace,
                lambda seconds: now + seconds,
                on_lost or self.lost.append,
            ),
            info,
            on_message,
        )
        self.connection.connection_made(self.transport)
        self.client = client()
        self.pings = 0

    def read(self) -> list[Frame]:
        """What came since the last time; pings are only counted. The client answers them, and closing, as
        clients do.
        """
        data, self.transport.buffer = self.transport.buffer, b""
        self.client.receive_data(data)
        came = list(frames(self.client))
        self.pings += sum(frame.opcode is Opcode.PING for frame in came)
        return [frame for frame in came if frame.opcode is not Opcode.PING]

    def say(self) -> None:
        """Pass on what the client wants sent."""
        self.connection.data_received(b"".join(self.client.data_to_send()))

    def close_code(self) -> int | None:
        """Why the hub said it closes."""
        self.read()
        return self.client.close_rcvd.code if self.client.close_rcvd else None


def client() -> ClientProtocol:
    return ClientProtocol(parse_uri("ws://hub/"), state=OPEN, max_size=None)


def frames(protocol: ClientProtocol) -> Iterator[Frame]:
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        yield event


async def all_read(peer: Peer) -> None:
    """What is more than a few bytes is read in turns."""

    async def read() -> bool:
        return not peer.transport.paused

    await eventually(read, "all is read")


async def settled() -> None:
    """Return when what was called soon was called."""
    await asyncio.sleep(0)


def notification(receiver: UUID, seq: int, **changes: Any) -> Notification:
    values: dict[str, Any] = {
        "id": seq,
        "group_id": None,
        "group_name": None,
        "receiver": receiver,
        "created_at": datetime(2026, 11, 21, 7, tzinfo=UTC),
        "template_code": "GROUP_USER_ADDED",
        "raw_data": msgspec.Raw(b'{"a": 1}'),
        "is_read": False,
        "title": "Phở",
        "content": "",
        "seq": seq,
    }
    return Notification(**values | changes)


def nobody_cares(user: UUID) -> None:
    """That the user left."""


def pushes(*notifications: Notification) -> list[Push]:
    return [Push(each.receiver, each.seq, notification_frame(each)) for each in notifications]


def joined(
    manager: WebSocketManager,
    user: UUID,
    last_seq: int = 0,
    *,
    session: bool = False,
    info: ClientInfo | None = None,
) -> Peer:
    """A client of this user, connected, live and in the index; the inbox stood at `last_seq` then. A
    `session` speaks the session protocol; nobody answers what it says.
    """
    peer = Peer(user, manager.remove, on_message=_unanswered if session else None, info=info)
    assert not peer.connection.cursor.started(last_seq)
    manager.add(peer.connection)
    return peer


def _unanswered(connection: Connection, text: bytes) -> None:
    """What a client of the session protocol said."""


def seqs(peer: Peer) -> list[int]:
    return [json.loads(bytes(frame.data))["data"]["seq"] for frame in peer.read()]
