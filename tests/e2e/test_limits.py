"""The limits of one client, of one address and of many clients, which affect nobody else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from tests.support.hub import WEBSOCKET, Hub, added, close_code, new_user, receive, running_hub, token

TOO_MANY = 4429
GONE_WITHIN = 10.0


@pytest_asyncio.fixture(scope="module")
async def hub(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hub]:
    """Behind one proxy, with an address limit that a test can reach."""
    own = {**environment, "PROXIES_COUNT": "1", "WS_MAX_PER_ADDRESS": "2"}
    async with running_hub(own, tmp_path_factory.mktemp("limits") / "log") as running:
        yield running


def come_from(hub: Hub, forwarded: str) -> connect:
    user = new_user()
    headers = {"Authorization": f"Bearer {token(user)}", "X-Forwarded-For": forwarded}
    return hub.socket(user, additional_headers=headers)


async def test_an_address_has_so_many_connections_and_another_is_not_affected(hub: Hub) -> None:
    async with AsyncExitStack() as opened:
        for _ in range(2):
            await opened.enter_async_context(come_from(hub, "203.0.113.7"))
        # what a client wrote there itself stands further left, and counts for nothing
        async with come_from(hub, "198.51.100.1, 203.0.113.7") as third:
            assert await close_code(third) == TOO_MANY
            assert third.close_reason == "too many connections from this address"
        other = await opened.enter_async_context(come_from(hub, "203.0.113.8"))
        user = other.request.path.rsplit("/", 1)[1] if other.request else ""
        await hub.publish(added(user))
        await receive(other)
    async with come_from(hub, "203.0.113.7") as again:
        user = again.request.path.rsplit("/", 1)[1] if again.request else ""
        await hub.publish(added(user))
        await receive(again)


async def test_ipv6_neighbours_count_as_one(hub: Hub) -> None:
    async with AsyncExitStack() as opened:
        for number in range(2):
            await opened.enter_async_context(come_from(hub, f"2001:db8:1:2::{number}"))
        async with come_from(hub, "2001:db8:1:2:ffff::1") as third:
            assert await close_code(third) == TOO_MANY


async def test_a_client_that_stops_reading_is_gone_within_seconds_and_delays_nobody(hub: Hub) -> None:
    user = new_user()
    async with hub.socket(user) as reading:
        with stopped_reader(hub, user):
            assert await hub.metric("hub_connections") == 2
            end = asyncio.get_running_loop().time() + GONE_WITHIN
            count = 0
            while await hub.metric("hub_connections") == 2:
                assert asyncio.get_running_loop().time() < end, "it is still there"
                count += 1
                await hub.publish(added(user))
                assert (await receive(reading))["data"]["seq"] == count
        assert reading.state.name == "OPEN"


def stopped_reader(hub: Hub, user: str) -> socket.socket:
    """A client that completes the handshake and never reads again."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", hub.port))
    lines = (
        f"GET {WEBSOCKET}/notifications/users/{user} HTTP/1.1",
        "Host: hub",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {token(user)}",
    )
    raw.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert raw.recv(12) == b"HTTP/1.1 101"
    return raw
