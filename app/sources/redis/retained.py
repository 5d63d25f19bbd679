"""The Redis stream of events, which their publishers trim: erasure searches it, and removes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.domain.erasure import Found, Subject
from app.domain.errors import Unavailable
from app.runtime.redis import REDIS_ERRORS
from app.settings.sources import RedisStreamsSettings
from app.sources.redis.source import events_redis

PAGE_ENTRIES = 500  # stream entries of one answer


class EventStream:
    """The stream that services publish to (see `app.domain.erasure.Place`): it is searched only."""

    def __init__(self, settings: RedisStreamsSettings) -> None:
        """`settings.url` must be set."""
        self._redis = events_redis(settings)
        self._stream = settings.stream

    async def look(self, subject: Subject) -> Sequence[Found]:
        """As `Place.look`."""
        try:
            number = await self._naming(subject)
        except REDIS_ERRORS as error:
            raise Unavailable("redis_events", type(error).__name__) from None
        return [Found(f"Redis stream {self._stream}", number, "the publishers', who trim it")]

    async def erase(self, subject: Subject) -> Sequence[Found]:
        """As `Place.erase`."""
        return ()

    async def close(self) -> None:
        """As `Place.close`."""
        await self._redis.aclose()

    async def _naming(self, subject: Subject) -> int:
        number, after = 0, b"-"
        while True:
            entries: Any = await self._redis.xrange(self._stream, after, "+", PAGE_ENTRIES)
            if not entries:
                return number
            number += sum(subject.named_in(*fields.keys(), *fields.values()) for _, fields in entries)
            after = b"(" + entries[-1][0]
