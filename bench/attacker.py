"""An attacker of the hub: `python -m bench.attacker <attack> <port> <user> <path>`, until SIGTERM.

The environment has ATTACK_SECRET, by which tokens are signed. It runs with the lowest priority: from
elsewhere it would take no CPU from the machine it attacks. At its end it says what it did, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import uvloop

from app.api.prefixes import REST
from app.dev import tokens
from app.server.serve import raise_file_limit

_HALF_OPEN = 10_000
_SLOW = 1000
_SOCKETS = 1000
_AT_ONCE = 50  # of those, upgrades in progress
_FLOODERS = 20  # WS_MAX_PER_USER
_LONGER_THAN_ANY_DEADLINE = 60.0  # seconds
_AGAIN = 0.05  # seconds
_BODIES = 800
_BODY_BYTES = 1_030_000  # of 1,040,000 that are announced
_BODY = (
    f"POST {REST}/notifications HTTP/1.1\r\nHost: hub\r\nContent-Length: {_BODY_BYTES + 10_000}\r\n\r\n"
).encode() + b"x" * _BODY_BYTES
_PINGS = bytes((0x89, 0x80, 0, 0, 0, 0)) * 40_000

Answered = Callable[[str], None]
Attack = Callable[[int, bytes, Answered], Awaitable[None]]
"""From the port, the head of an upgrade, and what is called with the status of an answer as it comes."""


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


def stream(path: str, token: str) -> bytes:
    """The head of a request for an event stream of the same user."""
    user = path.rsplit("/", 1)[1]
    return (
        f"GET {REST}/notifications/users/{user}/events HTTP/1.1\r\n"
        f"Host: hub\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


async def half_open(port: int, head: bytes, answered: Answered) -> None:
    """The half of an upgrade, and then nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head[: len(head) // 2])
    await _until_closed(reader, writer, answered)


async def slow_head(port: int, head: bytes, answered: Answered) -> None:
    """A byte a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.create_task(_until_closed(reader, writer, answered))
    for byte in head:
        if answer.done():
            break
        writer.write(bytes((byte,)))
        await asyncio.sleep(1)
    await answer


async def pings(port: int, head: bytes, answered: Answered) -> None:
    """As many pings as fit, over a connection that was let in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + _PINGS)
    await _until_closed(reader, writer, answered)


async def bodies(port: int, _: bytes, answered: Answered) -> None:
    """Nearly all of a large body, without a token."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_BODY)
    await _until_closed(reader, writer, answered)


async def sockets(port: int, head: bytes, answered: Answered) -> None:
    """A connection of a user who has too many."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    await _until_closed(reader, writer, answered)


async def _until_closed(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answered: Answered
) -> None:
    try:
        async with asyncio.timeout(_LONGER_THAN_ANY_DEADLINE):
            line = await reader.readline()
            answered(line[9:12].decode() or "no answer")  # the status
            with suppress(OSError):  # how it ends doesn't matter
                await reader.read()
    finally:
        writer.close()


@dataclass(frozen=True)
class AttackKind:
    """What one of so many does, again and again."""

    attack: Attack
    count: int
    answers: frozenset[str]
    """The statuses that show that the attack took place: at least one of them has to come."""
    head: Callable[[str, str], bytes] = upgrade
    """From the path of the WebSocket and a token to the head of a request."""
    new_tokens: bool = False
    """Each time with a token that was never seen, of one user all the same."""


ATTACKS: dict[str, AttackKind] = {
    "half-open": AttackKind(half_open, _HALF_OPEN, frozenset({"408"})),
    "slow-heads": AttackKind(slow_head, _SLOW, frozenset({"408"})),
    "pings": AttackKind(pings, _FLOODERS, frozenset({"101", "429"})),
    "sockets": AttackKind(sockets, _SOCKETS, frozenset({"101", "429"})),
    "streams": AttackKind(sockets, _SOCKETS, frozenset({"200", "429"}), stream),
    "bodies": AttackKind(bodies, _BODIES, frozenset({"401"})),
    "pings-new-tokens": AttackKind(pings, _FLOODERS, frozenset({"101"}), new_tokens=True),
    "sockets-new-tokens": AttackKind(sockets, _SOCKETS, frozenset({"101"}), new_tokens=True),
}


@dataclass
class Done:
    """What was done, and how it was answered."""

    answers: Counter[str] = field(default_factory=Counter)
    in_progress: int = 0
    most: int = 0

    def begin(self) -> None:
        self.in_progress += 1
        self.most = max(self.most, self.in_progress)

    def end(self) -> None:
        self.in_progress -= 1

    def answered(self, answer: str) -> None:
        self.answers[answer] += 1


async def _attack(kind: AttackKind, port: int, user: str, path: str) -> Done:
    opening, done, over = asyncio.Semaphore(_AT_ONCE), Done(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    secret = os.environ["ATTACK_SECRET"]
    head = kind.head(path, tokens.sign(user, secret))

    async def again_and_again() -> None:
        async with opening:
            await asyncio.sleep(_AGAIN)
        while True:
            mine = kind.head(path, tokens.sign(user, secret)) if kind.new_tokens else head
            done.begin()
            try:
                await kind.attack(port, mine, done.answered)
            except (OSError, TimeoutError) as error:
                done.answered(type(error).__name__)
            done.end()
            await asyncio.sleep(_AGAIN)

    attacking = [asyncio.create_task(again_and_again()) for _ in range(kind.count)]
    await over.wait()
    done.answers["open at the end"] = done.in_progress
    for each in attacking:
        if each.done():
            each.result()  # which has failed: it would go on indefinitely
        each.cancel()
    return done


if __name__ == "__main__":
    os.nice(19)
    raise_file_limit()
    done = uvloop.run(_attack(ATTACKS[sys.argv[1]], int(sys.argv[2]), sys.argv[3], sys.argv[4]))
    print(json.dumps({"most at once": done.most, **done.answers}), flush=True)
