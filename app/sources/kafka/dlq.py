"""The dead letters of Kafka: Kafka topics that can only be appended to (decision 016).

The state of a dead letter is written behind it, into its own partition, as a record of the hub's: the mark.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from app.domain.errors import Unavailable
from app.domain.events import MAX_EVENT_BYTES
from app.settings.sources import KafkaSettings
from app.sources.dead_letters import ATTEMPTS, SUFFIX, TOPIC, originals, own_headers, replay_headers
from app.sources.dlq import DeadLetter
from app.sources.kafka.clients import ISOLATION_LEVEL, connection
from app.sources.kafka.dead_letter import OFFSET, PARTITION, TIMESTAMP, encoded
from app.sources.kafka.delete_records import RemovalRefused, removing

# It logs every failed attempt; the command reports the failure once.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

MARK, MARKED = "dlq.done", "dlq.done_offset"
"""The headers of a mark: the new state of a dead letter (replayed, dropped), and its offset."""
POLL_MS = 200
_SAME = (TOPIC, PARTITION, OFFSET, TIMESTAMP, ATTEMPTS)  # what identifies a dead letter
MAX_DEAD_LETTER_BYTES = 2 * MAX_EVENT_BYTES

Marks = dict[TopicPartition, dict[int, str]]


class _Handle(NamedTuple):
    place: TopicPartition
    offset: int
    timestamp_ms: int


@asynccontextmanager
async def open_dlq(settings: KafkaSettings) -> AsyncIterator[KafkaDlqReader]:
    """The dead letters of all Kafka topics. Raises `Unavailable` when no broker answers, now or later."""
    topics = [f"{topic}{SUFFIX}" for topic in settings.topics.values()]
    producer = AIOKafkaProducer(**connection(settings), acks="all", max_request_size=MAX_DEAD_LETTER_BYTES)
    consumer = AIOKafkaConsumer(
        **connection(settings),
        isolation_level=ISOLATION_LEVEL,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=settings.fetch_max_wait_ms,
        max_partition_fetch_bytes=MAX_DEAD_LETTER_BYTES,
    )
    try:
        await producer.start()
        await consumer.start()
        yield KafkaDlqReader(consumer, producer, topics, settings)
    except (KafkaError, OSError) as error:
        why = str(error) or type(error).__name__
        raise Unavailable("kafka", f"{why}. Does a broker answer at {settings.bootstrap_servers}?") from None
    finally:
        await consumer.stop()
        await producer.stop()


class KafkaDlqReader:
    """The dead letters in some Kafka topics."""

    def __init__(self, consumer: Any, producer: Any, topics: Sequence[str], settings: KafkaSettings) -> None:
        """Both are started. `topics` that don't exist hold no dead letters."""
        self._consumer = consumer
        self._producer = producer
        self._topics = topics
        self._settings = settings
        self.targets = [topic.removesuffix(SUFFIX) for topic in topics]

    async def dead_letters(self, done: bool) -> AsyncGenerator[DeadLetter, None]:
        """As `DlqReader.dead_letters`."""
        self._consumer.assign(await self._places())
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        marks: Marks = defaultdict(dict)
        async for place, record in self._records(ends):
            headers = own_headers(record.headers)
            if MARK in headers and headers.get(MARKED, "").isdecimal():
                marks[place][int(headers[MARKED])] = headers[MARK]
        async for place, record in self._records(ends):
            what = marks[place].get(record.offset)
            if MARK not in own_headers(record.headers) and (done or what is None):
                yield _dead_letter(record, what)

    async def replay(self, dead_letter: DeadLetter) -> None:
        """As `DlqReader.replay`."""
        await self._producer.send_and_wait(
            dead_letter.target,
            dead_letter.body,
            key=dead_letter.key,
            partition=await self._partition(dead_letter),
            headers=[*dead_letter.headers, *encoded(replay_headers(dead_letter.why))],
        )
        await self._mark(dead_letter, "replayed")

    async def drop(self, dead_letter: DeadLetter) -> None:
        """As `DlqReader.drop`."""
        await self._mark(dead_letter, "dropped")

    async def remove(self, unwanted: Callable[[DeadLetter], bool]) -> Counter[str]:
        """Kafka removes all records before an offset, and no single one.

        Where there is an unwanted dead letter, those that are open and wanted are written again behind it,
        with new numbers; then all before is removed.
        """
        removed, found = Counter[str](), set[TopicPartition]()
        async for dead_letter in self.dead_letters(done=True):
            if unwanted(dead_letter):
                removed[dead_letter.target] += 1
                found.add(dead_letter.handle.place)
        if found:
            async with removing(self._settings) as remove_before:
                # raises if the broker refuses, before anything is written
                await remove_before(dict.fromkeys(found, 0))
                await remove_before(await self._write_again(found, unwanted))
        return removed

    async def keeps(self) -> dict[str, str]:
        """As `DlqReader.keeps`."""
        kept = {}
        async with removing(self._settings) as remove_before:
            for place in await self._places():
                try:
                    await remove_before({place: 0})
                except RemovalRefused as error:
                    kept[place.topic.removesuffix(SUFFIX)] = (
                        f"{error}; the Kafka topic's retention.ms removes them"
                    )
        return kept

    async def _places(self) -> list[TopicPartition]:
        cluster = await self._producer.client.fetch_all_metadata()
        return [
            TopicPartition(topic, number)
            for topic in self._topics
            for number in cluster.partitions_for_topic(topic) or ()
        ]

    async def _write_again(
        self, places: Collection[TopicPartition], unwanted: Callable[[DeadLetter], bool]
    ) -> dict[TopicPartition, int]:
        """Write the wanted dead letters behind all others; return the offsets before which all is redundant
        now.

        A dead letter that an interrupted call wrote twice is written once.
        """
        ends: dict[TopicPartition, int] = {}
        known = set[tuple[str | None, ...]]()
        written = []
        async for dead_letter in self.dead_letters(done=True):
            place, offset, timestamp_ms = dead_letter.handle
            if place not in places:
                continue
            ends[place] = offset + 1
            came_from = tuple(dead_letter.why.get(name) for name in _SAME)
            if dead_letter.done or unwanted(dead_letter) or came_from in known:
                continue
            if None not in came_from:
                known.add(came_from)
            sent = await self._producer.send(
                place.topic,
                dead_letter.body,
                key=dead_letter.key,
                partition=place.partition,
                timestamp_ms=timestamp_ms,  # as the broker took it before, and retention counts on from it
                headers=[*dead_letter.headers, *encoded(dict(dead_letter.why))],
            )
            written.append(sent)
        await asyncio.gather(*written)
        return ends

    async def _records(self, ends: dict[TopicPartition, int]) -> AsyncIterator[tuple[TopicPartition, Any]]:
        """All records before `ends`, each partition's in their order.

        All are assigned at once: aiokafka 0.14 was seen to stall when assignments follow each other
        closely.
        """
        if not ends:
            return
        if not await self._consumer.seek_to_beginning(*ends):
            raise KafkaTimeoutError("the broker does not report the first offsets of its Kafka topics")
        while any([await self._consumer.position(place) < end for place, end in ends.items()]):
            for place, records in (await self._consumer.getmany(timeout_ms=POLL_MS)).items():
                for record in records:
                    if record.offset < ends[place]:
                        yield place, record

    async def _partition(self, dead_letter: DeadLetter) -> int | None:
        """The one it came from: events with one key keep their partition, however its publisher chose it."""
        partition = dead_letter.why.get(PARTITION, "")
        there = await self._producer.partitions_for(dead_letter.target)
        return int(partition) if partition.isdecimal() and int(partition) in there else None

    async def _mark(self, dead_letter: DeadLetter, what: str) -> None:
        place, offset, _ = dead_letter.handle
        mark = encoded({MARK: what, MARKED: str(offset)})
        await self._producer.send_and_wait(place.topic, b"", partition=place.partition, headers=mark)


def _dead_letter(record: Any, done: str | None) -> DeadLetter:
    return DeadLetter(
        id=f"kafka:{record.topic}:{record.partition}:{record.offset}",
        source="kafka",
        target=record.topic.removesuffix(SUFFIX),
        why=own_headers(record.headers),
        headers=originals(record.headers),
        key=record.key,
        body=record.value or b"",
        handle=_Handle(TopicPartition(record.topic, record.partition), record.offset, record.timestamp),
        done=done,
    )
