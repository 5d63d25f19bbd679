"""Several nodes of one hub: real processes that share Postgres, Redis and Kafka."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.hub import Hub, added, close_code, eventually, new_user, quiet, receive
from tests.support.nodes import run_nodes
from tests.support.resuming_client import Client

LOGGED_OUT = 4500
LIVE = 2.0  # seconds: over the bus, and not by the comparison with Postgres that makes good what it loses
PAUSE_SECONDS = 0.05  # between batches of ten events: as fast as it goes takes the CPU that the restarts need


@pytest_asyncio.fixture(scope="module")
async def nodes(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[Hub]]:
    """Three nodes, each of which knows the other two."""
    async with run_nodes(3, environment, tmp_path_factory.mktemp("nodes")) as running:
        yield running


async def test_a_user_on_three_nodes_sees_each_notification_once_on_each(nodes: list[Hub]) -> None:
    user = new_user()
    async with AsyncExitStack() as opened:
        sockets = [await opened.enter_async_context(node.socket(user)) for node in nodes]
        await nodes[0].publish(*(added(user, f"user_{i}") for i in range(20)))
        for socket in sockets:
            seqs = [(await receive(socket, LIVE))["data"]["seq"] for _ in range(20)]
            assert seqs == list(range(1, 21))
        assert all([await quiet(socket) for socket in sockets])


async def test_a_logout_ends_the_connections_on_all_nodes(nodes: list[Hub]) -> None:
    user = new_user()
    async with AsyncExitStack() as opened:
        sockets = [await opened.enter_async_context(node.socket(user)) for node in nodes]
        logout = {"event_type": "account_logged_out", "user_id": user, "access_token_id": "x"}
        await nodes[0].publish(logout, topic=nodes[0].logout_topic)
        async with asyncio.timeout(LIVE):
            assert await asyncio.gather(*map(close_code, sockets)) == [LOGGED_OUT] * 3


async def test_a_rolling_restart_under_load_loses_and_doubles_nothing(nodes: list[Hub]) -> None:
    users = [new_user() for _ in range(10)]
    clients = [Client(nodes, user) for user in users for _ in range(3)]
    for client in clients:
        client.start()
    published = 0
    restarting = asyncio.create_task(restart_all(nodes))
    try:
        while not restarting.done():
            await nodes[0].publish(*(added(user) for user in users))
            published += 1
            await asyncio.sleep(PAUSE_SECONDS)
        await restarting

        async def complete() -> bool:
            return all(len(client.seen) >= published for client in clients)

        await eventually(complete, f"every client has its {published}", within=40)
        for client in clients:
            assert not client.wrong
            assert client.seen == [str(row["id"]) for row in await nodes[0].stored(client.user, published)]
    finally:
        for client in clients:
            await client.disconnect(abruptly=True)


@pytest.mark.slow
async def test_a_snooze_ends_on_time_whichever_node_stops_or_starts_meanwhile(nodes: list[Hub]) -> None:
    user = new_user()
    await nodes[0].publish(added(user))
    (snoozed,) = await nodes[0].stored(user, 1)
    until = datetime.now(UTC) + timedelta(seconds=3)
    async with nodes[0].client(user) as http:
        path = f"/notifications/{snoozed['id']}/users/{user}/snooze"
        (await http.patch(path, params={"until": until.isoformat()})).raise_for_status()
    client = Client(nodes, user)
    client.start()
    try:
        await restart_all(nodes)

        async def is_back() -> bool:
            return len(client.seen) == 1

        await eventually(is_back, "the notification is back", within=20)
        (back,) = await nodes[0].stored(user, 1)
        assert timedelta(0) <= back["created_at"] - until < timedelta(seconds=2)
        assert (client.seen, client.wrong) == ([str(back["id"])], [])
    finally:
        await client.disconnect(abruptly=True)


async def restart_all(nodes: list[Hub]) -> None:
    """One after the other, as orchestrators do: the next when the last is ready."""
    for node in nodes:
        assert await node.stop() == 0
        await node.start()


async def test_a_logout_that_a_dying_node_did_not_publish_ends_the_connections_all_the_same(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The node dies when it has committed the logout; its successor finds it processed, and ends what was
    open before it, but not what was opened since.
    """
    own = {**environment, "KAFKA_GROUP": f"dying-{new_user()}", "REDIS_PREFIX": f"dying-{new_user()}"}
    own["LOGOUT_EVENTS_TOPIC"] = f"logouts-{new_user()}"  # of those of earlier tests it would die
    dying = Hub(own, tmp_path / "dying", command=("-m", "faults.failing_hub", "before-logout", "die"))
    living = Hub(own, tmp_path / "living")
    user = new_user()
    await dying.start()
    logout = {"event_type": "account_logged_out", "user_id": user, "access_token_id": "x"}
    other = {**own, "KAFKA_GROUP": f"watching-{new_user()}", "LOGOUT_EVENTS_TOPIC": f"none-{new_user()}"}
    watching = Hub(other, tmp_path / "watching")
    await watching.start()
    try:
        async with watching.socket(user) as before:
            await dying.publish(logout, topic=dying.logout_topic)
            assert await dying.wait() == -signal.SIGKILL
            await asyncio.sleep(1.0)  # a sign-in in the same moment might count as before it
            async with watching.socket(user) as since:
                await living.start()
                assert await close_code(before) == LOGGED_OUT
                await watching.publish(added(user))
                await receive(since)
    finally:
        for hub in (living, watching):
            if hub.process is not None:
                await hub.stop()
