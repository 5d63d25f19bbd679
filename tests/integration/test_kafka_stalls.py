"""The Kafka source on a real broker: a consumer that stalls is made anew, one that waits is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from app.domain.events import Event
from app.ingest.batch import Batch, PreparedEvent, SourceMessage
from app.ingest.pipeline import Pipeline
from app.sources.kafka import clients as kafka_clients
from app.sources.kafka.source import KafkaSource
from tests.support.hub import eventually
from tests.support.settings import settings_on

STALLED_AFTER = 2.0
MAX_POLL_INTERVAL = 2.0
BATCH = 5


class SlowPipeline:
    """Writes while `free`."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.written: list[bytes] = []

    async def prepare_into(self, batch: Batch, messages: Sequence[SourceMessage]) -> None:
        event = Event("an event", "x", {})
        batch.ready.extend(PreparedEvent(message, event, cast(Any, None)) for message in messages)

    async def write(self, ready: Sequence[PreparedEvent]) -> list[Any]:
        await self.free.wait()
        self.written += [item.message.value or b"" for item in ready]
        return []


class Scene:
    def __init__(self, bootstrap: str, topic: str) -> None:
        self.bootstrap, self.topic = bootstrap, topic
        self.pipeline = SlowPipeline()
        settings = settings_on(
            "redis://redis",
            kafka_bootstrap_servers=bootstrap,
            kafka_group=f"group-{topic}",
            kafka_session_timeout_ms=3000,
            kafka_fetch_max_wait_ms=20,
            kafka_stalled_after=STALLED_AFTER,
            batch_size=BATCH,
        )
        self.source = KafkaSource(settings.kafka, cast(Pipeline, self.pipeline), {topic: None})
        self.published = 0

    @property
    def consumer(self) -> Any:
        return self.source._consumer

    async def publish(self, count: int) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        try:
            for number in range(self.published, self.published + count):
                await producer.send_and_wait(self.topic, str(number).encode())
        finally:
            await producer.stop()
        self.published += count

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        async def ask() -> bool:
            return holds()

        await eventually(ask, what, within=40)

    async def all_written(self) -> None:
        await self.until(
            lambda: set(map(int, self.pipeline.written)) == set(range(self.published)), "all are"
        )

    async def anew(self, before: Any) -> None:
        await self.until(lambda: self.consumer not in (None, before), "there is a new consumer")


@asynccontextmanager
async def running(kafka: str) -> AsyncIterator[Scene]:
    """A source that has consumed already."""
    scene = Scene(kafka, f"stalls-{uuid4().hex[:8]}")
    await scene.publish(1)
    await scene.source.start()
    try:
        await scene.all_written()
        yield scene
    finally:
        await scene.source.stop(within=5)


def stop_fetching(consumer: Any) -> None:
    """Polls bring nothing any more, and no error."""
    consumer._fetcher._fetch_task.cancel()


def lose_the_group(consumer: Any) -> None:
    """Polls wait for the group's agreement, for ever."""
    consumer._subscription.begin_reassignment()


def end_coordination(consumer: Any) -> None:
    """Polls are cancelled, though nobody cancelled them."""
    consumer._coordinator._coordination_task.cancel()


@pytest.mark.parametrize("stall", [stop_fetching, lose_the_group, end_coordination])
async def test_a_stalled_consumer_is_recreated_and_continues(
    kafka: str, stall: Callable[[Any], None]
) -> None:
    async with running(kafka) as scene:
        before = scene.consumer
        stall(before)
        await scene.publish(3 * BATCH)
        await scene.anew(before)
        await scene.all_written()


async def test_while_a_batch_waits_its_consumer_stays_and_so_does_its_membership(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than a poll may be away, and than a consumer may stand still."""
    monkeypatch.setattr(
        kafka_clients,
        "AIOKafkaConsumer",
        partial(AIOKafkaConsumer, max_poll_interval_ms=int(MAX_POLL_INTERVAL * 1000)),
    )
    async with running(kafka) as scene:
        before, member = scene.consumer, scene.consumer._coordinator.member_id
        generation = scene.consumer._coordinator.generation
        scene.pipeline.free.clear()
        await scene.publish(10 * BATCH)
        await asyncio.sleep(3 * max(STALLED_AFTER, MAX_POLL_INTERVAL))
        assert scene.consumer is before
        assert scene.consumer._coordinator.member_id == member
        assert scene.consumer._coordinator.generation == generation
        assert len(scene.pipeline.written) == 1
        scene.pipeline.free.set()
        await scene.all_written()
        assert len(scene.pipeline.written) == scene.published, "none came again"


async def test_a_consumer_with_nothing_to_read_stays(kafka: str) -> None:
    async with running(kafka) as scene:
        before = scene.consumer
        await asyncio.sleep(2 * STALLED_AFTER)
        assert scene.consumer is before
