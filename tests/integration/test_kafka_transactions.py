"""Transactional publishers: what is aborted never happened, what is open has not happened yet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from app.sources.kafka.dlq import open_dlq
from app.sources.kafka.watchdog import ask_ends
from tests.support.kafka_source import BATCH, running
from tests.support.services import BROKER

STALLED_AFTER = 1.0
PARTITION = 0


@pytest.fixture(autouse=True)
def _a_broker_with_transactions(pytestconfig: pytest.Config) -> None:
    if "mock" in pytestconfig.stash[BROKER].description:
        pytest.skip("the embedded broker knows no last stable offset")


@asynccontextmanager
async def producing(kafka: str, transactional_id: str | None = None) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=transactional_id)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def test_only_committed_events_are_handled_and_an_open_transaction_is_no_stall(kafka: str) -> None:
    """Aborted, committed and plain events on one partition; then one that hangs, with a plain one behind."""
    async with (
        running(kafka, kafka_stalled_after=STALLED_AFTER) as scene,
        producing(kafka) as plain,
        producing(kafka, f"one-{scene.topic}") as one,
        producing(kafka, f"hangs-{scene.topic}") as hanging,
    ):
        consumer, written = scene.consumer, scene.pipeline.written
        del written[:]

        async def send(producer: AIOKafkaProducer, value: bytes) -> None:
            await producer.send_and_wait(scene.topic, value, partition=PARTITION)

        await one.begin_transaction()
        await send(one, b"aborted")
        await send(plain, b"beside it")
        await send(one, b"aborted too")
        await one.abort_transaction()
        async with one.transaction():
            await send(one, b"committed")
        await scene.until(lambda: b"committed" in written, "the committed event is handled")
        await hanging.begin_transaction()
        await send(hanging, b"open")
        await send(plain, b"behind it")
        await asyncio.sleep(3 * STALLED_AFTER)
        assert written == [b"beside it", b"committed"]
        assert scene.consumer is consumer, "an open transaction was taken for a stall"
        await hanging.abort_transaction()
        await scene.until(lambda: b"behind it" in written, "it is handled when the transaction has ended")
        assert written == [b"beside it", b"committed", b"behind it"]


async def test_a_transaction_that_is_aborted_after_several_batches_never_happened(kafka: str) -> None:
    """Each of its records is at the broker before the next, between those of a plain publisher."""
    async with (
        running(kafka) as scene,
        producing(kafka) as plain,
        producing(kafka, f"long-{scene.topic}") as long,
    ):
        written = scene.pipeline.written
        del written[:]
        await long.begin_transaction()
        for _ in range(3 * BATCH):
            await long.send_and_wait(scene.topic, b"aborted", partition=PARTITION)
            await plain.send_and_wait(scene.topic, b"plain", partition=PARTITION)
        await long.abort_transaction()
        async with long.transaction():
            for _ in range(3 * BATCH):
                await long.send_and_wait(scene.topic, b"committed", partition=PARTITION)
        await scene.until(lambda: written.count(b"committed") == 3 * BATCH, "what is committed is handled")
        assert Counter(written) == {b"plain": 3 * BATCH, b"committed": 3 * BATCH}


async def test_a_dead_letter_topic_with_aborted_records_is_read_to_its_end(kafka: str) -> None:
    """The end is a control record; an open transaction is not waited for."""
    async with (
        running(kafka, notification_topic="unused") as scene,
        producing(kafka, f"dlq-{scene.topic}") as producer,
    ):
        settings = scene.settings.kafka.model_copy(update={"notification_topic": scene.topic})
        dlq = f"{scene.topic}.dlq"
        async with producer.transaction():
            await producer.send_and_wait(dlq, b"committed", partition=PARTITION)
        await producer.begin_transaction()
        await producer.send_and_wait(dlq, b"aborted", partition=PARTITION)
        await producer.abort_transaction()
        await producer.begin_transaction()
        await producer.send_and_wait(dlq, b"open", partition=PARTITION)
        place = TopicPartition(dlq, PARTITION)
        assert await ask_ends(settings, [place]) == {place: 4}, "two records with a control record each"
        async with asyncio.timeout(10), open_dlq(settings) as reader:
            assert [letter.body async for letter in reader.dead_letters(False)] == [b"committed"]
        await producer.abort_transaction()
