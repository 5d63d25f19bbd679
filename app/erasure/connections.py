"""The open connections of a person, and the person's keys in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from app.auth.revocations import revoked_at_keys
from app.domain.erasure import Found, Subject
from app.domain.errors import Unavailable
from app.realtime.membership import UNRESPONSIVE_AFTER_SECONDS
from app.realtime.presence import NodeId, Presence
from app.realtime.publication import Publication, pack
from app.runtime.redis import REDIS_ERRORS, connect
from app.settings.services import RedisSettings

CLOSE_TIMEOUT_SECONDS = 5.0  # for a node to close a connection and report it
CLOSE_POLL_SECONDS = 0.05


class Connections:
    """The nodes that a person is connected to, as they report it in Redis. See `app.domain.erasure.Place`."""

    def __init__(self, settings: RedisSettings) -> None:
        self._redis = connect(settings)
        self._presence = Presence(self._redis, settings.prefix)

    async def look(self, subject: Subject) -> Sequence[Found]:
        """As `Place.look`."""
        with _redis_errors():
            nodes = len(await self._nodes(subject))
            keys = revoked_at_keys(subject.foreign_id or subject.user_id)
            revoked = {key: int(await self._redis.exists(key)) for key in keys}
        why = "owned by the user service: without it old tokens are valid again"
        first, *others = revoked
        shown = [first, *(key for key in others if revoked[key])]
        return [
            Found("nodes they are connected to", nodes),
            *(Found(f"Redis key {key}", revoked[key], why) for key in shown),
        ]

    async def erase(self, subject: Subject) -> Sequence[Found]:
        """Close the connections on every node as a logout does, and remove those of nodes that died."""
        with _redis_errors():
            before = await self._nodes(subject)
            alive = await self._presence.alive(UNRESPONSIVE_AFTER_SECONDS)
            publication = pack(Publication(logged_out=[(subject.user_id, 0.0)]))
            await self._presence.publish([(node, publication) for node in alive])
            for _ in range(round(CLOSE_TIMEOUT_SECONDS / CLOSE_POLL_SECONDS)):
                if not alive & await self._nodes(subject):
                    break
                await asyncio.sleep(CLOSE_POLL_SECONDS)
            for node in before - alive:
                await self._presence.change(node, (), (subject.user_id,))
            after = await self._nodes(subject)
        return [Found("nodes they are connected to", len(before - after))]

    async def close(self) -> None:
        """As `Place.close`."""
        await self._redis.aclose()

    async def _nodes(self, subject: Subject) -> frozenset[NodeId]:
        return frozenset((await self._presence.look_up([subject.user_id])).get(subject.user_id, ()))


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except REDIS_ERRORS as error:
        raise Unavailable("redis", type(error).__name__) from None
