"""Who wants the hub for himself: `python -m bench.attacker <way> <port> <token> <path>`, until it is killed.

It runs with the lowest priority: from elsewhere it would take no CPU from the machine it attacks.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import uvloop

_HALF_OPEN = 10_000
_SLOW = 1000
_SOCKETS = 1000
_AT_ONCE = 50  # of those, upgrades under way
_FLOODERS = 20  # WS_MAX_PER_USER
_LONGER_THAN_ANY_DEADLINE = 60.0  # seconds
_AGAIN = 0.05  # seconds
_PINGS = bytes((0x89, 0x80, 0, 0, 0, 0)) * 40_000

Attack = Callable[[int, bytes], Awaitable[None]]


def upgrade(path: str, token: str) -> bytes:
    """The head of an upgrade that would be let in."""
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: hub",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Authorization: Bearer {token}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def half_open(port: int, head: bytes) -> None:
    """The half of an upgrade, and then nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head[: len(head) // 2])
    await _until_closed(reader, writer)


async def slow_head(port: int, head: bytes) -> None:
    """A byte a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for byte in head:
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(1)
    finally:
        await _until_closed(reader, writer)


async def pings(port: int, head: bytes) -> None:
    """As many pings as fit, over a connection that was let in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + _PINGS)
    await _until_closed(reader, writer)


async def sockets(port: int, head: bytes) -> None:
    """A connection of a user who has too many."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    await _until_closed(reader, writer)


async def _until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_LONGER_THAN_ANY_DEADLINE):
            await reader.read()
    finally:
        writer.close()


WAYS: dict[str, tuple[Attack, int]] = {
    "half-open": (half_open, _HALF_OPEN),
    "slow-heads": (slow_head, _SLOW),
    "pings": (pings, _FLOODERS),
    "sockets": (sockets, _SOCKETS),
}
"""By name: what one of them does, again and again, and how many do it."""


async def _attack(attack: Attack, count: int, port: int, head: bytes) -> None:
    opening = asyncio.Semaphore(_AT_ONCE)

    async def again_and_again() -> None:
        async with opening:
            await asyncio.sleep(_AGAIN)
        while True:
            with suppress(OSError, TimeoutError):
                await attack(port, head)
            await asyncio.sleep(_AGAIN)

    await asyncio.gather(*(again_and_again() for _ in range(count)))


if __name__ == "__main__":
    os.nice(19)
    attack, count = WAYS[sys.argv[1]]
    uvloop.run(_attack(attack, count, int(sys.argv[2]), upgrade(sys.argv[4], sys.argv[3])))
