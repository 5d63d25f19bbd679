"""Which keys were written lately, as Redis tells it: its client-side caching, in broadcast mode.

Redis remembers nothing for it but the prefixes, and sends as much as is written below them; see
https://redis.io/docs/latest/develop/reference/client-side-caching/.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio.client import PubSub
from redis.asyncio.connection import AbstractConnection

from app.runtime.redis import own_connection
from app.settings.services import RedisSettings

_CHANNEL = "__redis__:invalidate"


class TrackedKeys:
    """The keys below some prefixes that are written, expire or are removed."""

    def __init__(self, subscription: PubSub, timeout: float) -> None:
        self._subscription = subscription
        self._timeout = timeout

    async def written(self) -> set[bytes]:
        """Read the names of the keys that were written since the last call.

        It ends with Redis' answer to a ping, so all that was written a moment before the call is in it.

        Raises:
            TimeoutError: Redis did not answer in time. As after any other error of Redis, names may be
                missing from now on.
        """
        # Not `PubSub.ping`, which connects again when the connection was lost, without a word.
        await _connection(self._subscription).send_command("PING")
        names: set[bytes] = set()
        while True:
            message = await self._subscription.get_message(timeout=self._timeout)
            if message is None:
                raise TimeoutError("Redis does not answer a ping")
            if message["type"] == "pong":
                return names
            names.update(message["data"] or ())  # none: all keys were removed at once


@asynccontextmanager
async def tracked_keys(settings: RedisSettings, prefixes: Sequence[str]) -> AsyncIterator[TrackedKeys]:
    """Keys of one Redis server, on a separate connection.

    Raises:
        ResponseError: This Redis can't do it (it is older than 6, or a stand-in), or doesn't allow it: an ACL
            user needs `+client|id +client|tracking +subscribe +ping` and the channel.
    """
    # In version 2 of the protocol names come on a channel; in version 3 they would come beside the answers.
    async with own_connection(settings, protocol=2) as redis, redis.pubsub() as subscription:
        await _track(subscription, prefixes)
        await subscription.subscribe(_CHANNEL)
        if await subscription.get_message(timeout=settings.timeout) is None:
            raise TimeoutError("Redis does not confirm a subscription")
        yield TrackedKeys(subscription, settings.timeout)


async def _track(subscription: PubSub, prefixes: Sequence[str]) -> None:
    await subscription.connect()  # type: ignore[no-untyped-call]
    connection = _connection(subscription)
    await connection.send_command("CLIENT", "ID")
    itself = await connection.read_response()
    named = [part for prefix in prefixes for part in ("PREFIX", prefix)]
    await connection.send_command("CLIENT", "TRACKING", "ON", "REDIRECT", itself, "BCAST", *named)
    await connection.read_response()


def _connection(subscription: PubSub) -> AbstractConnection:
    connection: AbstractConnection | None = subscription.connection
    if connection is None:
        raise ConnectionError("the connection is closed")
    return connection
