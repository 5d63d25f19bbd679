"""Many at once: half-open upgrades, pings, one user's sockets. Others are let in and served meanwhile.

How long that takes them, against calm: `python -m bench.attacks` (docs/explanation/security.md). That each
slow request ends by itself: tests/attacks/test_slow_requests.py.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from websockets.asyncio.client import connect

from app.auth.repeat_offenders import REFUSAL_DELAY_SECONDS
from app.server.serve import raise_file_limit
from bench.attacker import upgrade
from tests.attacks.one_hub.test_frames import close_frame, frame, raw_socket
from tests.support.hub import REST, WEBSOCKET, Hub, added, close_code, eventually, new_user, receive, token

HALF_OPEN = 400
SOCKETS = 200
MAX_PER_USER = 20  # WS_MAX_PER_USER, its default
PING = frame(b"", 9)


async def served(hub: Hub) -> None:
    """A new user connects and is notified; the time-outs of `receive` bound it."""
    user = new_user()
    async with hub.socket(user) as socket:
        await hub.publish(added(user))
        assert (await receive(socket))["data"]["receiver"] == user
    async with hub.client(user) as client:
        assert len((await client.get(f"/notifications/users/{user}")).json()) == 1


def head(user: str) -> bytes:
    return upgrade(f"{WEBSOCKET}/notifications/users/{user}", token(user))


@asynccontextmanager
async def opened(hub: Hub, count: int, say: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many connections that have said so much."""
    pairs = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", hub.port) for _ in range(count)))
    try:
        for _, writer in pairs:
            writer.write(say)
        yield [reader for reader, _ in pairs]
    finally:
        for _, writer in pairs:
            writer.close()


def test_a_process_may_have_as_many_connections_as_the_kernel_allows() -> None:
    before = _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        fewer = 1024 if hard == resource.RLIM_INFINITY else hard - 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (fewer, hard))
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_half_open_upgrades_delay_nobody_and_end_with_their_deadline(hub: Hub) -> None:
    said = head(new_user())
    async with opened(hub, HALF_OPEN, said[: len(said) // 2]) as readers:
        await served(hub)
        async with asyncio.timeout(25):  # ten seconds, and what a busy machine adds
            answers = await asyncio.gather(*(reader.read() for reader in readers))
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 408"}
    assert await hub.metric("hub_connections") == 0


@pytest.mark.parametrize(
    "flood", [PING, frame(b"", 10), frame(b"x"), frame(b"", 2)], ids=["ping", "pong", "text", "binary"]
)
async def test_a_flood_of_frames_ends_with_4429_and_delays_nobody(hub: Hub, flood: bytes) -> None:
    async with AsyncExitStack() as opened:
        user = new_user()
        flooding = [await opened.enter_async_context(raw_socket(hub, user)) for _ in range(5)]
        for _, writer in flooding:
            writer.write(flood * 40_000)
        await served(hub)
        for reader, _ in flooding:
            assert await close_frame(reader) == 4429


async def test_one_users_many_sockets_take_no_slot_from_others(hub: Hub) -> None:
    user = new_user()
    async with opened(hub, SOCKETS, head(user)) as readers:
        await served(hub)
        codes = await asyncio.gather(*(fate(reader) for reader in readers))
        assert codes.count(None) <= MAX_PER_USER
        assert set(codes) <= {None, 4429, 429, 503}

        async def only_some() -> bool:
            return await hub.metric("hub_connections") <= MAX_PER_USER

        await eventually(only_some, "the rest is gone")


async def fate(reader: asyncio.StreamReader) -> int | None:
    """429 or 503 at the handshake, the code of a close that soon follows, or None: it stays."""
    answer = await reader.readuntil(b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 101"):
        return int(answer[9:12])
    try:
        async with asyncio.timeout(2):
            first, length = await reader.readexactly(2)
            payload = await reader.readexactly(length)
    except TimeoutError:
        return None
    return int.from_bytes(payload[:2], "big") if first == 0x88 else None


async def answer(hub: Hub, user: str, held: str, before: bytes = b"") -> bytes:
    """The first line of the answer to an upgrade with this token, behind another request or not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    try:
        async with asyncio.timeout(REFUSAL_DELAY_SECONDS + 10):
            if before:
                writer.write(before)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                await reader.readuntil(b"}")
            writer.write(upgrade(f"{WEBSOCKET}/notifications/users/{user}", held))
            return await reader.readline()
    finally:
        writer.close()


async def test_who_flooded_is_kept_out_for_a_while_and_their_other_devices_are_not(hub: Hub) -> None:
    user = new_user()
    flooding, other = token(user), token(user)
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(upgrade(f"{WEBSOCKET}/notifications/users/{user}", flooding))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    writer.write(PING * 40_000)
    assert await close_frame(reader) == 4429
    health = f"GET {REST}/health HTTP/1.1\r\nHost: hub\r\n\r\n".encode()

    async def refused(before: bytes) -> float:
        began = asyncio.get_running_loop().time()
        assert (await answer(hub, user, flooding, before)).startswith(b"HTTP/1.1 429 ")
        return asyncio.get_running_loop().time() - began

    at_the_door, at_the_gate, elsewhere = await asyncio.gather(
        refused(b""), refused(health), answer(hub, user, other)
    )
    assert min(at_the_door, at_the_gate) >= REFUSAL_DELAY_SECONDS
    assert elsewhere.startswith(b"HTTP/1.1 101 ")
    assert await hub.metric('hub_connections_refused_total{reason="turned_away"}') >= 1
    writer.close()


async def test_one_too_many_is_let_in_as_soon_as_another_leaves(hub: Hub) -> None:
    user = new_user()
    held = token(user)

    def come() -> connect:
        return hub.socket(user, additional_headers={"Authorization": f"Bearer {held}"})

    async with AsyncExitStack() as opened:
        first, *_ = [await opened.enter_async_context(come()) for _ in range(MAX_PER_USER)]
        async with come() as refused:
            assert await close_code(refused) == 4429
        assert (await answer(hub, user, held)).startswith(b"HTTP/1.1 429 ")
        await first.close()

        async def let_in() -> bool:
            return (await answer(hub, user, held)).startswith(b"HTTP/1.1 101 ")

        await eventually(let_in, "there is room", within=3 * REFUSAL_DELAY_SECONDS)
