"""The dead letters of Redis: a stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from app.domain.errors import ConfigurationError, Unavailable
from app.runtime.redis import REDIS_ERRORS
from app.settings.sources import RedisStreamsSettings
from app.sources.dead_letters import SUFFIX, again, of_letter, originals
from app.sources.dlq import DeadLetter, drop_all
from app.sources.redis.messages import VALUE
from app.sources.redis.source import events_redis

PAGE_ENTRIES = 100  # letters read at once


@asynccontextmanager
async def open_dlq(settings: RedisStreamsSettings) -> AsyncIterator[RedisDlqReader]:
    """The letters of the stream and of the channel. Raises `Unavailable` when Redis doesn't answer."""
    if settings.url is None:
        raise ConfigurationError("REDIS_EVENTS_URL is not set. Set it to the Redis that holds the letters.")
    redis = events_redis(settings)
    try:
        yield RedisDlqReader(redis, settings.stream)
    except REDIS_ERRORS as error:
        raise Unavailable("redis_events", str(error) or type(error).__name__) from None
    finally:
        await redis.aclose()


class RedisDlqReader:
    """The letters of one stream, and of the channel that says the same."""

    def __init__(self, redis: Redis, stream: str) -> None:
        self._redis = redis
        self._stream = stream
        self.targets = [stream]
        self._letters = stream + SUFFIX

    async def letters(self, done: bool) -> AsyncGenerator[DeadLetter, None]:
        newest: Any = await self._redis.xrevrange(self._letters, count=1)
        after = "-"
        while newest:
            page: Any = await self._redis.xrange(self._letters, after, newest[0][0], count=PAGE_ENTRIES)
            for entry_id, fields in page:
                yield self._letter(entry_id, fields)
            if len(page) < PAGE_ENTRIES:
                return
            after = f"({page[-1][0].decode()}"

    async def replay(self, letter: DeadLetter) -> None:
        """What came over the channel goes to the stream: it keeps it until a node has it."""
        fields: dict[Any, Any] = {VALUE: letter.body, **again(letter.why)}
        async with self._redis.pipeline(transaction=True) as both:
            both.xadd(letter.target, fields)
            both.xdel(self._letters, letter.handle)
            await both.execute()

    async def drop(self, letter: DeadLetter) -> None:
        await self._redis.xdel(self._letters, letter.handle)

    async def remove(self, unwanted: Callable[[DeadLetter], bool]) -> Counter[str]:
        return await drop_all(self, unwanted)

    async def keeps(self) -> Mapping[str, str]:
        return {}

    def _letter(self, entry_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
        named = {name.decode(errors="replace"): value for name, value in fields.items()}
        return DeadLetter(
            id=f"redis:{self._letters}:{entry_id.decode()}",
            source="redis",
            target=self._stream,
            why=of_letter(named.items()),
            headers=[(name, value) for name, value in originals(named.items()) if name != VALUE],
            key=None,
            body=named.get(VALUE, b""),
            handle=entry_id,
        )
