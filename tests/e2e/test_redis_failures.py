"""Two nodes and a Redis that dies, freezes, forgets or drops a subscription."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from tests.e2e.one_hub.test_session import session
from tests.support.hub import NO_TLS, REST, Hub, added, close_code, eventually, new_user, receive, token
from tests.support.nodes import know_each_other, run_nodes
from tests.support.redis_server import RedisServer

NOTICED = 15.0  # seconds until a silent Redis must have been noticed
RECONCILED = 5.0  # seconds after its return until nobody misses anything


@pytest_asyncio.fixture(scope="module")
async def redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest_asyncio.fixture(scope="module")
async def nodes(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory, redis: RedisServer
) -> AsyncIterator[list[Hub]]:
    """Two nodes; each test leaves them and their Redis running."""
    own = {**environment, "REDIS_URL": redis.url}
    async with run_nodes(2, own, tmp_path_factory.mktemp("nodes")) as running:
        yield running


async def both(sockets: list[ClientConnection], seq: int, within: float) -> None:
    """Both get this notification next."""
    for socket in sockets:
        assert (await receive(socket, within))["data"]["seq"] == seq


async def joined(nodes: list[Hub], count: int = 2) -> None:
    for node in nodes:
        await know_each_other(node, count)


async def test_without_redis_who_is_connected_goes_on_and_nobody_new_comes_in(
    nodes: list[Hub], redis: RedisServer
) -> None:
    user = new_user()
    async with AsyncExitStack() as opened:
        sockets = [await opened.enter_async_context(node.socket(user)) for node in nodes]
        rest = await opened.enter_async_context(nodes[0].client(user))
        path = f"/notifications/users/{user}"
        assert (await rest.get(path)).status_code == 200
        redis.kill()
        for seq in range(1, 4):
            await nodes[0].publish(added(user))
            await both(sockets, seq, within=RECONCILED)
        answer = await rest.get(path)
        assert answer.status_code == 200
        assert len(answer.json()) == 3
        unknown = {"Authorization": f"Bearer {token(user)}"}
        assert (await rest.get(path, headers=unknown)).status_code == 503
        with pytest.raises(InvalidStatus) as refused:
            await nodes[1].socket(user)
        assert refused.value.response.status_code == 503
        redis.start()
        await joined(nodes)
        await nodes[0].publish(added(user))
        await both(sockets, 4, within=RECONCILED)


async def test_what_was_published_in_the_moment_of_its_return_arrives_too(
    nodes: list[Hub], redis: RedisServer
) -> None:
    users = [new_user() for _ in range(20)]
    async with AsyncExitStack() as opened:
        sockets = [[await opened.enter_async_context(node.socket(user)) for node in nodes] for user in users]
        redis.kill()
        await asyncio.sleep(1.0)
        publishing = asyncio.create_task(nodes[0].publish(*(added(user) for user in users * 10)))
        redis.start()
        await publishing
        for of_user in sockets:
            for seq in range(1, 11):
                await both(of_user, seq, within=RECONCILED)


async def test_an_unresponsive_redis_is_noticed_and_delays_nobody_here(
    nodes: list[Hub], redis: RedisServer
) -> None:
    user = new_user()
    async with AsyncExitStack() as opened:
        sockets = [await opened.enter_async_context(node.socket(user)) for node in nodes]
        before = [len(node.log.read_text()) for node in nodes]
        redis.freeze()
        try:

            async def noticed() -> bool:
                texts = [node.log.read_text()[start:] for node, start in zip(nodes, before, strict=True)]
                return all("not_joined" in text for text in texts)

            await eventually(noticed, "both nodes notice", within=NOTICED)
            await nodes[0].publish(added(user))
            await both(sockets, 1, within=RECONCILED)
            async with httpx.AsyncClient(verify=NO_TLS) as client:
                ready = await client.get(f"{nodes[0].http}{REST}/ready")
            assert ready.json()["dependencies"]["redis"]["status"] == "down"
        finally:
            redis.thaw()
        await joined(nodes)
        await nodes[0].publish(added(user))
        await both(sockets, 2, within=RECONCILED)


async def test_a_lost_subscription_loses_no_notification(nodes: list[Hub], redis: RedisServer) -> None:
    user = new_user()
    async with AsyncExitStack() as opened:
        sockets = [await opened.enter_async_context(node.socket(user)) for node in nodes]
        for seq in range(1, 4):
            with redis.client() as client:
                client.client_kill_filter(_type="pubsub")
            await nodes[0].publish(added(user))
            await both(sockets, seq, within=RECONCILED)


async def test_the_presence_of_a_dead_node_is_cleaned_away(nodes: list[Hub], redis: RedisServer) -> None:
    users = [new_user() for _ in range(30)]
    async with AsyncExitStack() as opened:
        for user in users:
            for node in nodes:
                await opened.enter_async_context(node.socket(user))
        await nodes[1].kill()
        await know_each_other(nodes[0], 1)

        async def cleaned() -> bool:
            with redis.client() as client:
                tables = client.keys("*:presence:*")
                held = [value for table in tables for value in client.hvals(table)]
                (names,) = client.keys("*:nodes")
                return client.zcard(names) == 1 and {len(value) for value in held} == {8}

        await eventually(cleaned, "only the living node is left in the tables")
        await nodes[0].publish(*(added(user) for user in users))
        await nodes[0].stored(users[-1], 1)
    await nodes[1].start()
    await joined(nodes)


async def test_a_logout_without_redis_reaches_the_other_node_when_it_is_back(
    nodes: list[Hub], redis: RedisServer
) -> None:
    user = new_user()
    async with AsyncExitStack() as opened:
        sockets = [await opened.enter_async_context(node.socket(user)) for node in nodes]
        redis.kill()
        logout = {"event_type": "account_logged_out", "user_id": user, "access_token_id": "x"}
        await nodes[0].publish(logout, topic=nodes[0].logout_topic)
        closing = [asyncio.create_task(close_code(socket)) for socket in sockets]
        _, waiting = await asyncio.wait(closing, return_when=asyncio.FIRST_COMPLETED)
        assert waiting, "the node that handled it can't reach the other"
        redis.start()
        assert await asyncio.gather(*closing) == [4500, 4500]
        await joined(nodes)
        async with nodes[0].socket(user) as again:
            await asyncio.sleep(RECONCILED)
            await nodes[1].publish(added(user))
            await receive(again)


async def test_what_another_device_read_meanwhile_is_known_when_redis_is_back(
    nodes: list[Hub], redis: RedisServer
) -> None:
    user = new_user()
    await nodes[0].publish(added(user), added(user))
    first, _ = await nodes[0].stored(user, 2)
    async with session(nodes[1], user) as socket, nodes[0].client(user) as rest:
        assert (await receive(socket))["unread"] == 2
        assert (await rest.get(f"/notifications/users/{user}")).status_code == 200
        redis.kill()
        answer = await rest.patch(f"/notifications/{first['id']}/users/{user}/read")
        assert answer.status_code == 200
        redis.start()
        again = await receive(socket)
        assert (again["type"], again["last_seq"], again["unread"]) == ("connected", 2, 1)
