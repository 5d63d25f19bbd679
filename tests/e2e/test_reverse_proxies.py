"""What nginx and HAProxy make of live connections, of silent ones, and of those that end."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.event_source import event_source
from tests.support.hub import Hub, added, new_user, receive, running_hub, token
from tests.support.reverse_proxies import CONFIGURATIONS, IDLE_SECONDS, reverse_proxy

pytestmark = pytest.mark.slow
SHORT = 2  # seconds that these proxies let a connection be silent


@pytest_asyncio.fixture
async def hub(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Hub]:
    """One that knows that there is a proxy, and keeps its connections from being silent for `SHORT`."""
    own = {**environment, "PROXIES_COUNT": "1", "WS_PING_INTERVAL": "0.5", "WS_MAX_PER_ADDRESS": "2"}
    async with running_hub(own, tmp_path / "log") as running:
        yield running


@pytest.fixture(params=sorted(CONFIGURATIONS))
def proxied(request: pytest.FixtureRequest, hub: Hub, tmp_path: Path) -> Iterator[Hub]:
    """The hub as clients of the proxy see it."""
    with reverse_proxy(request.param, hub.port, tmp_path / request.param, idle=SHORT) as port:
        yield Hub(hub.environment, hub.log, port)


async def test_an_event_stream_passes_unbuffered_and_its_end_with_it(hub: Hub, proxied: Hub) -> None:
    user = new_user()
    async with event_source(proxied, user) as stream:
        for number in range(1, 6):
            await hub.publish(added(user))
            async with asyncio.timeout(3):
                assert await stream.seqs(1) == [number]
        async with event_source(proxied, user, last_event_id="2") as resumed:
            assert await resumed.seqs(3) == [3, 4, 5]
        stopping = asyncio.create_task(hub.stop())
        close = await stream.event("close")
        assert close.data["code"] == 1012
        assert await stream.next() is None
        await stopping


async def test_a_socket_is_told_that_the_node_restarts(hub: Hub, proxied: Hub) -> None:
    user = new_user()
    async with proxied.socket(user) as client:
        await hub.publish(added(user))
        await receive(client)
        stopping = asyncio.create_task(hub.stop())
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        await stopping


async def test_who_logs_out_is_disconnected(hub: Hub, proxied: Hub) -> None:
    user = new_user()
    async with proxied.socket(user) as client, event_source(proxied, user) as stream:
        logout = {"event_type": "account_logged_out", "user_id": user, "access_token_id": "x"}
        await hub.publish({**logout, "timestamp": time.time()}, topic=hub.logout_topic)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(client.recv(), 10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4500
        assert (await stream.event("close")).data["code"] == 4500


async def test_a_client_that_leaves_the_proxy_leaves_the_hub(hub: Hub, proxied: Hub) -> None:
    async with event_source(proxied, new_user()), proxied.socket(new_user()):
        assert await hub.metric("hub_event_streams") == 1
    for _ in range(100):
        if not await hub.metric("hub_event_streams"):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the stream is still open")


async def _outlives(hub: Hub, proxied: Hub, seconds: float) -> None:
    user = new_user()
    async with proxied.socket(user) as client, event_source(proxied, user) as stream:
        await asyncio.sleep(seconds)
        await hub.publish(added(user))
        assert (await receive(client))["data"]["seq"] == 1
        assert await stream.seqs(1) == [1]


async def test_a_quiet_connection_outlives_the_idle_timeout(hub: Hub, proxied: Hub) -> None:
    await _outlives(hub, proxied, 2.5 * SHORT)


async def test_a_quiet_connection_outlives_the_idle_timeout_of_a_minute(own_hub: Hub, tmp_path: Path) -> None:
    """With the defaults of the hub and of both proxies, at the same time."""
    with (
        reverse_proxy("nginx", own_hub.port, tmp_path / "nginx") as nginx,
        reverse_proxy("haproxy", own_hub.port, tmp_path / "haproxy") as haproxy,
    ):
        behind = [Hub(own_hub.environment, own_hub.log, port) for port in (nginx, haproxy)]
        await asyncio.gather(*(_outlives(own_hub, each, IDLE_SECONDS + 15) for each in behind))


def _own_address() -> str:
    """An address of this machine that isn't loopback; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has a loopback address only")
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("name", sorted(CONFIGURATIONS))
async def test_limits_are_of_the_clients_address_whatever_it_claims(
    hub: Hub, tmp_path: Path, name: str
) -> None:
    address = _own_address()
    with reverse_proxy(name, hub.port, tmp_path / name, host=address) as port:
        async with AsyncExitStack() as opened:

            async def another(**headers: str) -> ClientConnection:
                user = new_user()
                claims: dict[str, Any] = {"Authorization": f"Bearer {token(user)}", **headers}
                url = f"ws://{address}:{port}/ws/v2/notification-service/notifications/users/{user}"
                return await opened.enter_async_context(connect(url, additional_headers=claims))

            for number in range(2):
                await another(**{"X-Forwarded-For": f"203.0.113.{number}"})
            for claimed in ("203.0.113.7", "127.0.0.1", "203.0.113.8, 127.0.0.1"):
                one_too_many = await another(**{"X-Forwarded-For": claimed, "Forwarded": f"for={claimed}"})
                with pytest.raises(ConnectionClosed) as closed:
                    await asyncio.wait_for(one_too_many.recv(), 10)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4429
    assert f'"address": "{address}"' in hub.log.read_text()
