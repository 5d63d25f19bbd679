"""Dead letters that name a person: removed where a broker can remove one, named where it can't."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from app.erasing.subject import Found, Subject
from app.errors import Unavailable
from app.redis import REDIS_ERRORS
from app.settings import Settings
from app.sources import (
    amqp,  # noqa: F401 - it makes all messages readable
    dead_letters,
    rabbitmq,
    redis_stream,
)

PAGE = 500  # stream entries of one answer
POLL_MS = 500
ANSWER_WITHIN = 30.0  # seconds a broker may take to connect, or to give the next letters


class RedisLetters:
    """The stream of dead letters (see `app.erasing.subject.Place`); that of events is the publishers' own."""

    def __init__(self, settings: Settings) -> None:
        """`settings.redis_events_url` is set."""
        self._redis = redis_stream.events_redis(settings)
        self._events = settings.low_stock_stream
        self._letters = settings.low_stock_stream + dead_letters.SUFFIX

    async def look(self, subject: Subject) -> Sequence[Found]:
        with _errors("redis_events"):
            letters = len([entry async for entry in self._naming(self._letters, subject)])
            events = len([entry async for entry in self._naming(self._events, subject)])
        return [
            Found(f"Redis stream {self._letters}", letters),
            Found(f"Redis stream {self._events}", events, "the publishers', who trim it"),
        ]

    async def erase(self, subject: Subject) -> Sequence[Found]:
        with _errors("redis_events"):
            ids = [entry_id async for entry_id in self._naming(self._letters, subject)]
            for start in range(0, len(ids), PAGE):
                await self._redis.xdel(self._letters, *ids[start : start + PAGE])
        return [Found(f"Redis stream {self._letters}", len(ids))]

    async def close(self) -> None:
        await self._redis.aclose()

    async def _naming(self, stream: str, subject: Subject) -> AsyncIterator[bytes]:
        after = b"-"
        while True:
            entries: Any = await self._redis.xrange(stream, after, "+", PAGE)
            if not entries:
                return
            for entry_id, fields in entries:
                if subject.named_in(*fields.keys(), *fields.values()):
                    yield entry_id
            after = b"(" + entries[-1][0]


class RabbitLetters:
    """The queues of dead letters (see `app.erasing.subject.Place`). All letters of a queue are taken in hand;
    when its channel closes the broker puts those that weren't acknowledged back in their places.
    """

    def __init__(self, settings: Settings) -> None:
        """`settings.rabbitmq_url` is set."""
        assert settings.rabbitmq_url is not None
        self._url = settings.rabbitmq_url
        self._queues = [queue + dead_letters.SUFFIX for queue in rabbitmq.queues(settings)]

    async def look(self, subject: Subject) -> Sequence[Found]:
        return await self._sift(subject, remove=False)

    async def erase(self, subject: Subject) -> Sequence[Found]:
        return await self._sift(subject, remove=True)

    async def close(self) -> None:
        """There is a connection only during a call."""

    async def _sift(self, subject: Subject, *, remove: bool) -> list[Found]:
        with _errors("rabbitmq"):
            connection = await aio_pika.connect(self._url.get_secret_value(), timeout=ANSWER_WITHIN)
            async with connection:
                return [
                    Found(f"RabbitMQ queue {queue}", await _sift_queue(connection, queue, subject, remove))
                    for queue in self._queues
                ]


async def _sift_queue(connection: Any, name: str, subject: Subject, remove: bool) -> int:
    named = 0
    with suppress(ChannelNotFoundEntity):  # nothing was ever dead-lettered
        async with connection.channel() as channel:
            queue = await channel.get_queue(name)
            for _ in range(queue.declaration_result.message_count):
                letter: AbstractIncomingMessage | None = await queue.get(fail=False)
                if letter is None:
                    break
                if subject.named_in(letter.body, repr(dict(letter.properties)).encode()):
                    named += 1
                    if remove:
                        await letter.ack()
    return named


class KafkaLetters:
    """The Kafka topics of dead letters (see `app.erasing.subject.Place`). Kafka can't remove one record."""

    def __init__(self, settings: Settings) -> None:
        self._servers = settings.kafka_bootstrap_servers
        self._topics = [topic + dead_letters.SUFFIX for topic in settings.topics.values()]

    async def look(self, subject: Subject) -> Sequence[Found]:
        with _errors("kafka"):
            async with AsyncExitStack() as opened:
                admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
                opened.push_async_callback(admin.close)
                await asyncio.wait_for(admin.start(), ANSWER_WITHIN)
                consumer = AIOKafkaConsumer(bootstrap_servers=self._servers)
                opened.push_async_callback(consumer.stop)
                await asyncio.wait_for(consumer.start(), ANSWER_WITHIN)
                there = [topic for topic in await admin.describe_topics() if topic["topic"] in self._topics]
                times = await _times_of_letters(consumer, there, subject)
                return [await _found(admin, topic["topic"], times[topic["topic"]]) for topic in there]

    async def erase(self, subject: Subject) -> Sequence[Found]:
        return ()

    async def close(self) -> None:
        """There is a connection only during a call."""


async def _times_of_letters(
    consumer: Any, topics: Sequence[Mapping[str, Any]], subject: Subject
) -> Mapping[str, list[int]]:
    """When each letter that names them came (ms), by Kafka topic. All are read at once: the broker answers
    slowly where there is nothing to read.
    """
    times: defaultdict[str, list[int]] = defaultdict(list)
    partitions = [TopicPartition(t["topic"], each["partition"]) for t in topics for each in t["partitions"]]
    if not partitions:
        return times
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        for partition, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
            named = [record.timestamp for record in records if subject.named_in(*_parts(record))]
            times[partition.topic] += named
    return times


async def _found(admin: Any, topic: str, times: Sequence[int]) -> Found:
    stays = "Kafka removes no single record"
    if times:
        stays += await _kept_until(admin, topic, max(times))
    return Found(f"Kafka topic {topic}", len(times), stays)


def _parts(record: Any) -> Sequence[bytes]:
    return [part for part in (record.key, record.value, *dict(record.headers).values()) if part is not None]


async def _kept_until(admin: Any, topic: str, newest: int) -> str:
    """When the newest of the records (ms) is gone, as far as the broker says."""
    milliseconds = await _retention(admin, topic)
    if milliseconds is None:
        return "; this broker doesn't say how long it keeps them"
    if milliseconds < 0:
        return ", and keeps these for ever: set the topic's retention.ms"
    gone = datetime.fromtimestamp((newest + milliseconds) / 1000, UTC)
    return f"; these are past retention.ms at {gone:%Y-%m-%d %H:%M} UTC"


async def _retention(admin: Any, topic: str) -> int | None:
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic)]
    try:
        answers = await asyncio.wait_for(admin.describe_configs(asked), ANSWER_WITHIN)
    except (KafkaError, TimeoutError):  # librdkafka's broker, for one, doesn't know the question
        return None
    entries = [entry for answer in answers for *_, configs in answer.resources for entry in configs]
    return next((int(value) for name, value, *_ in entries if name == "retention.ms"), None)


@contextmanager
def _errors(dependency: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, AMQPError, *REDIS_ERRORS) as error:
        raise Unavailable(dependency, type(error).__name__) from None
