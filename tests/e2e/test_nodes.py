"""Several nodes of one hub: real processes that share Postgres, Redis and Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.conftest import running_hub
from tests.hub import Hub, added, eventually, new_user, quiet, receive

LOGGED_OUT = 4500


@pytest_asyncio.fixture(scope="module")
async def nodes(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[Hub]]:
    """Three nodes, each of which knows the other two."""
    folder = tmp_path_factory.mktemp("nodes")
    async with AsyncExitStack() as running:
        entering = (running.enter_async_context(running_hub(environment, folder / f"{i}")) for i in range(3))
        started = [await each for each in entering]
        for node in started:
            await know_each_other(node, 3)
        yield started


async def know_each_other(node: Hub, count: int) -> None:
    async def known() -> bool:
        return await node.metric("hub_nodes") == count

    await eventually(known, f"a node knows of {count}")


async def close_code(socket: ClientConnection) -> int | None:
    """Read on until the hub closes."""
    try:
        async with asyncio.timeout(20):
            while True:
                await socket.recv()
    except ConnectionClosed:
        return socket.close_code


async def test_a_user_on_three_nodes_sees_each_notification_once_on_each(nodes: list[Hub]) -> None:
    user = new_user()
    async with AsyncExitStack() as opened:
        sockets = [await opened.enter_async_context(node.socket(user)) for node in nodes]
        await nodes[0].publish(*(added(user, f"user_{i}") for i in range(20)))
        for socket in sockets:
            seqs = [(await receive(socket))["data"]["seq"] for _ in range(20)]
            assert seqs == list(range(1, 21))
        assert all([await quiet(socket) for socket in sockets])


async def test_a_logout_ends_the_connections_on_all_nodes(nodes: list[Hub]) -> None:
    user = new_user()
    async with AsyncExitStack() as opened:
        sockets = [await opened.enter_async_context(node.socket(user)) for node in nodes]
        logout = {"event_type": "account_logged_out", "user_id": user, "access_token_id": "x"}
        await nodes[0].publish(logout, topic=nodes[0].logout_topic)
        assert await asyncio.gather(*map(close_code, sockets)) == [LOGGED_OUT] * 3


async def test_workers_are_nodes_that_share_a_port_and_are_replaced_when_they_fall(
    environment: dict[str, str], tmp_path: Path
) -> None:
    hub = Hub(environment, tmp_path / "log", command=("run.py", "--workers", "3"))
    user = new_user()
    await hub.start()
    try:
        await know_each_other(hub, 3)
        async with AsyncExitStack() as opened:
            sockets = [await opened.enter_async_context(hub.socket(user)) for _ in range(12)]
            await hub.publish(added(user), added(user))
            for socket in sockets:
                assert [(await receive(socket))["data"]["seq"] for _ in range(2)] == [1, 2]
            assert await hub.metric("hub_connections") == 12
            assert hub.process is not None
            fallen, *others = psutil.Process(hub.process.pid).children()
            fallen.kill()
            await eventually(lambda: replaced(hub, others), "the worker is replaced")
            await know_each_other(hub, 3)
        async with hub.socket(user) as socket:
            await hub.publish(added(user))
            assert (await receive(socket))["data"]["seq"] == 3
    finally:
        assert await hub.stop() == 0
        print(hub.log.read_text()[-8000:])


async def replaced(hub: Hub, others: list[psutil.Process]) -> bool:
    assert hub.process is not None
    now = psutil.Process(hub.process.pid).children()
    return len(now) == 3 and set(others) < set(now) and "worker_fell" in hub.log.read_text()
