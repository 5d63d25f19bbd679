"""Frames that no honest client sends: the connection ends with its code, and nobody else notices.

The cases of RFC 6455: docs/explanation/autobahn.md. The parsing of any bytes: tests/unit/test_connection.py.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest
from websockets.asyncio.client import connect

from tests.support.hub import WEBSOCKET, Hub, added, new_user, receive, token

LARGEST = 16 * 1024  # WS_MAX_MESSAGE, its default
BOMB = zlib.compressobj(9, wbits=-15)
ZEROS = b"\0" * 10_000_000
TEXT, BINARY, CONTINUED = 1, 2, 0
FIN, RSV1, RSV2, MASKED = 0x80, 0x40, 0x20, 0x80


def frame(payload: bytes, opcode: int = TEXT, *, first: int = FIN, length: int | None = None) -> bytes:
    """A client's frame, masked with zeros; `length` is what it claims."""
    size = len(payload) if length is None else length
    if size < 126:
        head = struct.pack("!BB", first | opcode, MASKED | size)
    elif size < 65536:
        head = struct.pack("!BBH", first | opcode, MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", first | opcode, MASKED | 127, size)
    return head + b"\0\0\0\0" + payload


def fragments(payload: bytes, each: int) -> bytes:
    """One message in frames of so many bytes."""
    parts = [payload[start : start + each] for start in range(0, len(payload), each)]
    return b"".join(
        frame(part, CONTINUED if number else TEXT, first=0 if number < len(parts) - 1 else FIN)
        for number, part in enumerate(parts)
    )


def deflated() -> bytes:
    """10 MB of zeros in 10 KB."""
    squeezed = BOMB.compress(ZEROS) + BOMB.flush(zlib.Z_SYNC_FLUSH)
    return squeezed.removesuffix(b"\0\0\xff\xff")


HOSTILE = {
    "too large": (frame(b"x" * (LARGEST + 1)), 1009),
    "too large, binary": (frame(b"x" * (LARGEST + 1), BINARY), 1009),
    "claims 2**63 - 1 bytes": (frame(b"x", length=2**63 - 1), 1009),
    "claims 2**64 - 1 bytes": (frame(b"x", length=2**64 - 1), 1009),
    "in fragments, too large together": (fragments(b"x" * (LARGEST + 100), 1000), 1009),
    "the last fragment claims too much": (
        frame(b"x" * 100, first=0) + frame(b"", CONTINUED, length=2**40),
        1009,
    ),
    "no UTF-8": (frame(b"\xff\xfe"), 1007),
    "a half letter at the end": (frame(b"ph\xe1\xbb"), 1007),
    "a surrogate": (frame(b"\xed\xa0\x80"), 1007),
    "overlong": (frame(b"\xc0\xaf"), 1007),
    "no UTF-8 in a later fragment": (frame(b"ok", first=0) + frame(b"\xff", CONTINUED, first=0), 1007),
    "deflated, which was not agreed on": (frame(deflated(), first=FIN | RSV1), 1002),
    "a reserved bit": (frame(b"x", first=FIN | RSV2), 1002),
    "an unknown opcode": (frame(b"x", 3), 1002),
    "not masked": (b"\x81\x01x", 1002),
    "a long ping": (frame(b"x" * 126, 9), 1002),
    "a ping in fragments": (frame(b"x", 9, first=0), 1002),
    "a continuation of nothing": (frame(b"x", CONTINUED), 1002),
    "a message inside another": (frame(b"x", first=0) + frame(b"y"), 1002),
    "a close without a right code": (frame(struct.pack("!H", 999), 8), 1002),
    "a close of one byte": (frame(b"x", 8), 1002),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n", 1002),
}


@asynccontextmanager
async def raw_socket(
    hub: Hub, user: str, *, extensions: str = ""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A WebSocket without a client behind it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    offered = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    writer.write(
        f"GET {WEBSOCKET}/notifications/users/{user} HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Version: 13\r\n{offered}Authorization: Bearer {token(user)}\r\n\r\n".encode()
    )
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert b"sec-websocket-extensions" not in head.lower()
        yield reader, writer
    finally:
        writer.close()


async def close_frame(reader: asyncio.StreamReader) -> int:
    """The code the hub closes with; pings before that are passed over."""
    async with asyncio.timeout(20):
        while True:
            first, length = await reader.readexactly(2)
            payload = await reader.readexactly(length)
            if first == FIN | 8:
                return int(struct.unpack("!H", payload[:2])[0])


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_frame_ends_its_connection_and_no_other(hub: Hub, name: str) -> None:
    data, code = HOSTILE[name]
    user = new_user()
    async with hub.socket(user) as other, raw_socket(hub, user) as (reader, writer):
        writer.write(data)
        assert await close_frame(reader) == code
        await hub.publish(added(user))
        assert (await receive(other))["data"]["receiver"] == user


async def test_no_compression_is_agreed_on_whoever_offers_it(hub: Hub) -> None:
    user = new_user()
    offers = "permessage-deflate; server_max_window_bits=15; client_no_context_takeover, permessage-deflate"
    async with raw_socket(hub, user, extensions=offers):
        pass
    headers = {"Authorization": f"Bearer {token(user)}"}
    async with connect(hub.socket_address(user), additional_headers=headers, compression="deflate") as socket:
        assert socket.protocol.extensions == []


async def test_bombs_take_no_memory(hub: Hub) -> None:
    assert hub.process is not None
    process = psutil.Process(hub.process.pid)
    bomb = frame(deflated(), first=FIN | RSV1)
    before = process.memory_info().rss
    for _ in range(20):
        async with raw_socket(hub, new_user(), extensions="permessage-deflate") as (reader, writer):
            writer.write(bomb + frame(ZEROS, length=2**62)[:LARGEST])
            assert await close_frame(reader) == 1002
    assert process.memory_info().rss - before < len(ZEROS)


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "resume", "after": -1}',
        '{"type": "resume", "after": 1e300}',
        '{"type": "resume", "after": "0; drop table notifications"}',
        '{"type": "read", "id": "x"}',
        '{"type": "read", "id": 9223372036854775808}',
        '{"type": "token", "jwt": null}',
        '{"type": "shutdown"}',
        "[" * 10_000,
        '{"type": "read", "id": {"$ne": null}}',
        "\u2028",
        "{}",
    ],
    ids=lambda text: text[:40],
)
async def test_a_text_that_says_nothing_of_the_protocol_is_answered_or_ends_its_connection(
    hub: Hub, text: str
) -> None:
    user = new_user()
    protocols = ["hub.v1", f"bearer.{token(user)}"]
    async with connect(hub.socket_address(user), subprotocols=protocols) as socket:  # type: ignore[arg-type]
        assert (await receive(socket))["type"] == "connected"
        await socket.send(text)
        answer = await receive(socket)
        assert answer["type"] == "error"
        await hub.publish(added(user))
        assert (await receive(socket))["data"]["receiver"] == user
