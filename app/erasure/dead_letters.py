"""Dead letters that name a person, and the stream of events that others write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from types import MappingProxyType
from typing import Any

from app.domain.erasure import Found, Subject
from app.domain.errors import Unavailable
from app.runtime.redis import REDIS_ERRORS
from app.settings import Settings
from app.sources.dead_letters import SUFFIX
from app.sources.dlq import DeadLetter, DlqReader
from app.sources.kafka import dlq as kafka
from app.sources.rabbitmq import dlq as rabbitmq
from app.sources.redis import dlq as redis
from app.sources.redis.source import events_redis

PAGE_ENTRIES = 500  # stream entries of one answer


class DeadLetterPlace:
    """The dead letters of one source (see `app.erasing.subject.Place`)."""

    def __init__(self, what: str, open_dlq: Callable[[], AbstractAsyncContextManager[DlqReader]]) -> None:
        """`what` such as Kafka topic: where letters of that source are."""
        self._what = what
        self._open = open_dlq

    async def look(self, subject: Subject) -> Sequence[Found]:
        named: Counter[str] = Counter()
        async with self._open() as reader:
            async with aclosing(reader.letters(done=True)) as letters:
                async for letter in letters:
                    named[letter.target] += _names(subject, letter)
            return self._found(reader, named, await reader.keeps() if named.total() else {})

    async def erase(self, subject: Subject) -> Sequence[Found]:
        async with self._open() as reader:
            kept = await reader.keeps()
            removed = await reader.remove(
                lambda letter: letter.target not in kept and _names(subject, letter)
            )
            return self._found(reader, removed)

    async def close(self) -> None:
        """There is a connection only during a call."""

    def _found(
        self, reader: DlqReader, number: Counter[str], stays: Mapping[str, str] = MappingProxyType({})
    ) -> list[Found]:
        return [
            Found(f"{self._what} {each}{SUFFIX}", number[each], stays.get(each, ""))
            for each in reader.targets
        ]


def dead_letters(settings: Settings) -> list[DeadLetterPlace]:
    """Those of all sources there are."""
    found = [DeadLetterPlace("Kafka topic", lambda: kafka.open_dlq(settings))]
    if settings.rabbitmq_url is not None:
        found.append(DeadLetterPlace("RabbitMQ queue", lambda: rabbitmq.open_dlq(settings)))
    if settings.redis_events_url is not None:
        found.append(DeadLetterPlace("Redis stream", lambda: redis.open_dlq(settings)))
    return found


class EventStream:
    """The Redis stream of events (see `app.erasing.subject.Place`): looked into only."""

    def __init__(self, settings: Settings) -> None:
        """`settings.redis_events_url` is set."""
        self._redis = events_redis(settings)
        self._stream = settings.low_stock_stream

    async def look(self, subject: Subject) -> Sequence[Found]:
        try:
            number = await self._naming(subject)
        except REDIS_ERRORS as error:
            raise Unavailable("redis_events", type(error).__name__) from None
        return [Found(f"Redis stream {self._stream}", number, "the publishers', who trim it")]

    async def erase(self, subject: Subject) -> Sequence[Found]:
        return ()

    async def close(self) -> None:
        await self._redis.aclose()

    async def _naming(self, subject: Subject) -> int:
        number, after = 0, b"-"
        while True:
            entries: Any = await self._redis.xrange(self._stream, after, "+", PAGE_ENTRIES)
            if not entries:
                return number
            number += sum(subject.named_in(*fields.keys(), *fields.values()) for _, fields in entries)
            after = b"(" + entries[-1][0]


def _names(subject: Subject, letter: DeadLetter) -> bool:
    return subject.named_in(*letter.texts)
