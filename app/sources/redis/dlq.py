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
from app.sources.dead_letters import SUFFIX, originals, own_headers, replay_headers
from app.sources.dlq import DeadLetter, drop_all
from app.sources.redis.messages import VALUE
from app.sources.redis.source import events_redis

PAGE_ENTRIES = 100  # dead letters read at once


@asynccontextmanager
async def open_dlq(settings: RedisStreamsSettings) -> AsyncIterator[RedisDlqReader]:
    """The dead letters of the stream and of the channel. Raises `Unavailable` when Redis doesn't answer."""
    if settings.url is None:
        raise ConfigurationError("REDIS_EVENTS_URL is not set. Set it to the Redis with the dead letters.")
    redis = events_redis(settings)
    try:
        yield RedisDlqReader(redis, settings.stream)
    except REDIS_ERRORS as error:
        raise Unavailable("redis_events", str(error) or type(error).__name__) from None
    finally:
        await redis.aclose()


class RedisDlqReader:
    """The dead letters of one stream, and of the channel that says the same."""

    def __init__(self, redis: Redis, stream: str) -> None:
        self._redis = redis
        self._stream = stream
        self.targets = [stream]
        self._dlq_stream = stream + SUFFIX

    async def dead_letters(self, done: bool) -> AsyncGenerator[DeadLetter, None]:
        """As `DlqReader.dead_letters`."""
        newest: Any = await self._redis.xrevrange(self._dlq_stream, count=1)
        after = "-"
        while newest:
            page: Any = await self._redis.xrange(self._dlq_stream, after, newest[0][0], count=PAGE_ENTRIES)
            for entry_id, fields in page:
                yield self._dead_letter(entry_id, fields)
            if len(page) < PAGE_ENTRIES:
                return
            after = f"({page[-1][0].decode()}"

    async def replay(self, dead_letter: DeadLetter) -> None:
        """What came over the channel goes to the stream: it keeps it until a node has it."""
        fields: dict[Any, Any] = {VALUE: dead_letter.body, **replay_headers(dead_letter.why)}
        async with self._redis.pipeline(transaction=True) as both:
            both.xadd(dead_letter.target, fields)
            both.xdel(self._dlq_stream, dead_letter.handle)
            await both.execute()

    async def drop(self, dead_letter: DeadLetter) -> None:
        """As `DlqReader.drop`."""
        await self._redis.xdel(self._dlq_stream, dead_letter.handle)

    async def remove(self, unwanted: Callable[[DeadLetter], bool]) -> Counter[str]:
        """As `DlqReader.remove`."""
        return await drop_all(self, unwanted)

    async def keeps(self) -> Mapping[str, str]:
        """As `DlqReader.keeps`."""
        return {}

    def _dead_letter(self, entry_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
        named = {name.decode(errors="replace"): value for name, value in fields.items()}
        return DeadLetter(
            id=f"redis:{self._dlq_stream}:{entry_id.decode()}",
            source="redis",
            target=self._stream,
            why=own_headers(named.items()),
            headers=[(name, value) for name, value in originals(named.items()) if name != VALUE],
            key=None,
            body=named.get(VALUE, b""),
            handle=entry_id,
        )
