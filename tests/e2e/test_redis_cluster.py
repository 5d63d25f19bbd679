"""The hub on a Redis Cluster of three servers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from tests.support.hub import added, close_code, new_user, receive
from tests.support.nodes import run_nodes
from tests.support.redis_server import RedisCluster


async def test_the_nodes_of_a_redis_cluster(environment: dict[str, str], tmp_path: Path) -> None:
    cluster = RedisCluster(tmp_path / "cluster")
    try:
        cluster.start()
        own = {**environment, "REDIS_URL": cluster.url, "REDIS_CLUSTER": "true"}
        async with run_nodes(2, own, tmp_path) as nodes, AsyncExitStack() as opened:
            users = [new_user() for _ in range(40)]
            sockets = [
                [await opened.enter_async_context(node.socket(user)) for node in nodes] for user in users
            ]
            await nodes[0].publish(*(added(user) for user in users * 3))
            for of_user in sockets:
                for socket in of_user:
                    assert [(await receive(socket, within=5))["data"]["seq"] for _ in range(3)] == [1, 2, 3]
            with cluster.servers[0].client() as client:
                slot = client.execute_command("CLUSTER KEYSLOT", f"user-service:global_revoke_ts:{users[0]}")
            with cluster.owner(slot).client() as client:
                client.set(f"user-service:global_revoke_ts:{users[0]}", 4_000_000_000)
            assert await asyncio.gather(*map(close_code, sockets[0])) == [4501, 4501]
            logout = {"event_type": "account_logged_out", "user_id": users[1], "access_token_id": "x"}
            await nodes[0].publish(logout, topic=nodes[0].logout_topic)
            assert await asyncio.gather(*map(close_code, sockets[1])) == [4500, 4500]
    finally:
        cluster.kill()
