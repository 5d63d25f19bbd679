"""Dead letters that are permanently removed from a Kafka topic: what stays is whole, once, and can be
replayed.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from app.domain.erasure import Subject
from app.erasure.dead_letters import dead_letters
from app.settings import Settings
from app.sources import dead_letters as dead_letter_format
from app.sources.dlq import DeadLetter
from app.sources.kafka.dead_letter import dead_letter_records
from app.sources.kafka.dlq import open_dlq
from tests.support.services import BROKER
from tests.support.settings import settings_on
from tests.unit.test_dead_letter_format import ERROR, Record


@pytest.fixture(autouse=True)
def _a_broker_that_removes(pytestconfig: pytest.Config) -> None:
    if "mock" in pytestconfig.stash[BROKER].description:
        pytest.skip("the embedded broker removes no records")


@pytest.fixture
def settings(kafka: str, redis_url: str) -> Settings:
    return settings_on(
        redis_url,
        kafka_bootstrap_servers=kafka,
        notification_topic=f"events-{uuid.uuid4().hex}",
        logout_events_topic=f"logouts-{uuid.uuid4().hex}",
    )


@pytest_asyncio.fixture
async def producer(kafka: str) -> AsyncIterator[AIOKafkaProducer]:
    started = AIOKafkaProducer(bootstrap_servers=kafka)
    await started.start()
    yield started
    await started.stop()


async def put(producer: AIOKafkaProducer, topic: str, value: bytes, offset: int) -> None:
    headers = (("theirs", b"\xff"),)
    record = Record(value, b"key", headers, topic=topic, offset=offset)
    dead_letter, _ = dead_letter_records(record, f"kafka:{topic}:0:{offset}:1", value, ERROR)
    await producer.send_and_wait(f"{topic}.dlq", **dead_letter)


async def on_shelf(settings: Settings, done: bool = False) -> list[DeadLetter]:
    async with open_dlq(settings.kafka) as reader:
        return [dead_letter async for dead_letter in reader.dead_letters(done)]


def names_mai(dead_letter: DeadLetter) -> bool:
    return any(b"mai" in text for text in dead_letter.texts)


async def readable(settings: Settings, topic: str) -> list[bytes | None]:
    """All values that anyone can still read, but for marks, which are empty."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=settings.kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        found: list[bytes | None] = []
        while records := await consumer.getmany(timeout_ms=2000):
            found += [record.value for batch in records.values() for record in batch if record.value]
        return found
    finally:
        await consumer.stop()


async def test_the_unwanted_is_gone_and_the_others_are_as_before(
    settings: Settings, producer: AIOKafkaProducer
) -> None:
    topic = settings.kafka.notification_topic
    for number, value in enumerate((b"one", b"of mai", b"two", b"mai again", b"dropped")):
        await put(producer, topic, value, number)
    before = {dead_letter.body: dead_letter for dead_letter in await on_shelf(settings)}
    async with open_dlq(settings.kafka) as reader:
        await reader.drop([dead_letter async for dead_letter in reader.dead_letters(False)][-1])
        assert await reader.keeps() == {}
        assert await reader.remove(names_mai) == {topic: 2}
    after = await on_shelf(settings, done=True)
    assert [dead_letter.body for dead_letter in after] == [b"one", b"two"]
    for dead_letter in after:
        was = before[dead_letter.body]
        assert (dead_letter.key, dead_letter.headers, dead_letter.why) == (was.key, was.headers, was.why)
        assert dead_letter.hindrance is None
    assert await readable(settings, f"{topic}.dlq") == [b"one", b"two"]


async def test_interrupted_before_the_deletion_it_leaves_no_dead_letter_twice(
    settings: Settings, producer: AIOKafkaProducer
) -> None:
    topic = settings.kafka.notification_topic
    for number, value in ((0, b"one"), (1, b"mai"), (2, b"two"), (0, b"one"), (2, b"two")):
        await put(producer, topic, value, number)
    async with open_dlq(settings.kafka) as reader:
        await reader.remove(names_mai)
    assert [dead_letter.body for dead_letter in await on_shelf(settings)] == [b"one", b"two"]


async def test_where_nothing_is_unwanted_nothing_is_written_again(
    settings: Settings, producer: AIOKafkaProducer
) -> None:
    await put(producer, settings.kafka.notification_topic, b"one", 0)
    [before] = await on_shelf(settings)
    async with open_dlq(settings.kafka) as reader:
        assert await reader.remove(names_mai) == {}
    assert await on_shelf(settings) == [before]


async def test_a_kafka_topic_that_keeps_its_records_keeps_no_others(
    settings: Settings, producer: AIOKafkaProducer
) -> None:
    """A compacted one, as an operator made it: the broker refuses DeleteRecords."""
    person, kept, other = uuid.uuid4(), settings.kafka.notification_topic, settings.kafka.logout_topic
    compacted = NewTopic(f"{kept}.dlq", 1, 1, topic_configs={"cleanup.policy": "compact"})
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([compacted])
    finally:
        await admin.close()
    for topic in (kept, other):
        await put(producer, topic, f"for {person}".encode(), 0)
    [place, *_] = dead_letters(settings)
    removed = {found.where: found.number for found in await place.erase(Subject(person)) if found.number}
    assert removed == {f"Kafka topic {other}.dlq": 1}
    [left] = [found for found in await place.look(Subject(person)) if found.number]
    assert (left.where, left.number) == (f"Kafka topic {kept}.dlq", 1)
    assert "PolicyViolation" in left.stays


async def test_a_dead_letter_keeps_its_age_whatever_its_headers_say(
    settings: Settings, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node whose clock was wrong wrote it; a broker refuses records from more than an hour ahead."""
    topic = settings.kafka.notification_topic
    ahead = SimpleNamespace(now=lambda zone: datetime.now(zone) + timedelta(hours=2))
    monkeypatch.setattr(dead_letter_format, "datetime", ahead)
    for number, value in enumerate((b"one", b"of mai")):
        await put(producer, topic, value, number)
    [before] = [dead_letter for dead_letter in await on_shelf(settings) if dead_letter.body == b"one"]
    assert before.time is not None
    assert before.time > datetime.now(UTC) + timedelta(hours=1)
    async with open_dlq(settings.kafka) as reader:
        assert await reader.remove(names_mai) == {topic: 1}
    [after] = await on_shelf(settings, done=True)
    assert after.handle.timestamp_ms == before.handle.timestamp_ms
