"""Several nodes of one hub: real processes that share Postgres, Redis and Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.hub import Hub, added, close_code, new_user, quiet, receive
from tests.nodes import run_nodes

LOGGED_OUT = 4500


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
