"""The connection to Redis: one server, or a cluster of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import hiredis
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from app.domain.errors import Unavailable
from app.settings.services import RedisSettings

Client: TypeAlias = Redis | RedisCluster

REDIS_ERRORS = (RedisError, RedisClusterException, OSError, TimeoutError)
"""Whatever a call may raise when Redis doesn't answer as it should."""

MAX_CONNECTIONS = 50
MAX_CLUSTER_CONNECTIONS = 1000  # a cluster's client refuses where the other waits for a free one


def connect(settings: RedisSettings) -> Client:
    """A client that connects when it is first used. Every reply is bounded by `settings.timeout`."""
    url = settings.url.get_secret_value()
    timeout = settings.timeout
    retry = Retry(NoBackoff(), 1)  # once, for a connection that died idle; a client waits for the answer
    if settings.cluster:
        return RedisCluster.from_url(
            url,
            max_connections=MAX_CLUSTER_CONNECTIONS,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=retry,
        )
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout,  # for a free connection: a storm of sign-ins queues here
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=retry,
    )
    pool.connection_class = type("PackingConnection", (_PacksInC, pool.connection_class), {})
    return Redis.from_pool(pool)


class _PacksInC(AbstractConnection):
    """Packs commands in C: 0.1 µs an argument instead of 3, which is felt where a command has thousands."""

    def pack_command(self, *args: Any) -> list[bytes]:
        name = args[0].encode() if isinstance(args[0], str) else args[0]  # may be of two words
        return [hiredis.pack_command((*name.split(), *args[1:]))]


async def check_redis(client: Client) -> None:
    """Raises `Unavailable` unless Redis answers."""
    try:
        await client.ping()
    except REDIS_ERRORS as error:
        raise Unavailable("redis", type(error).__name__) from None


@asynccontextmanager
async def subscription(client: Client, settings: RedisSettings, channel: str) -> AsyncIterator[PubSub]:
    """A subscription to `channel` that ends with an error when its connection does.

    In a cluster any server will do: what is published on one is passed to all.
    """
    place: dict[str, Any] = {}
    if isinstance(client, RedisCluster):
        await client.initialize()
        server = client.get_random_primary_node()
        place = {"host": server.host, "port": server.port}
    async with own_connection(settings, **place) as redis, redis.pubsub() as subscribed:
        await subscribed.subscribe(channel)
        if await subscribed.get_message(timeout=settings.timeout) is None:
            raise TimeoutError("Redis doesn't confirm a subscription")
        yield subscribed


@asynccontextmanager
async def own_connection(settings: RedisSettings, **changes: Any) -> AsyncIterator[Redis]:
    """A client of one connection, for what can't miss that it was lost.

    redis-py's own subscriptions would connect again without a word, and what was sent meanwhile would be
    missing. `changes` to the settings are redis-py's keywords.
    """
    place = {**parse_url(settings.url.get_secret_value()), **changes}
    place |= {"socket_timeout": settings.timeout, "socket_connect_timeout": settings.timeout}
    place |= {"max_connections": 1, "retry": Retry(NoBackoff(), 0)}
    async with Redis.from_pool(ConnectionPool(**place)) as redis:
        yield redis
