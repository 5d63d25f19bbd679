"""A Kafka source on a real broker, whose pipeline the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from app.domain.events import Event
from app.ingest.batch import Batch, ParkedEvent, PreparedEvent, SourceMessage
from app.ingest.pipeline import Pipeline
from app.sources.kafka.source import KafkaSource
from tests.support.hub import eventually
from tests.support.settings import settings_on

STALLED_AFTER = 2.0
BATCH = 5


class SlowPipeline:
    """Writes while `free`."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.written: list[bytes] = []

    async def prepare_into(self, batch: Batch, messages: Sequence[SourceMessage]) -> None:
        event = Event("an event", "x", {})
        batch.events.extend(PreparedEvent(message, event, cast(Any, None)) for message in messages)

    async def write(
        self, events: Sequence[PreparedEvent | ParkedEvent], *, on_last: Callable[[], None]
    ) -> list[Any]:
        on_last()
        await self.free.wait()
        self.written += [item.message.value or b"" for item in events]
        return []


class Scene:
    def __init__(self, bootstrap: str, topic: str, **changes: Any) -> None:
        self.bootstrap, self.topic = bootstrap, topic
        self.pipeline = SlowPipeline()
        settings = {
            "kafka_bootstrap_servers": bootstrap,
            "kafka_group": f"group-{topic}",
            "kafka_session_timeout_ms": 3000,
            "kafka_fetch_max_wait_ms": 20,
            "kafka_stalled_after": STALLED_AFTER,
            "batch_size": BATCH,
            **changes,
        }
        self.settings = settings_on("redis://redis", **settings)
        self.source = KafkaSource(self.settings.kafka, cast(Pipeline, self.pipeline), {topic: None})
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
async def running(kafka: str, **changes: Any) -> AsyncIterator[Scene]:
    """A source that has consumed already. `changes` are settings."""
    scene = Scene(kafka, f"source-{uuid4().hex[:8]}", **changes)
    await scene.publish(1)
    await scene.source.start()
    try:
        await scene.all_written()
        yield scene
    finally:
        await scene.source.stop(within=5)
