"""The consumer and the producer of a Kafka source: how they are set, start, and leave."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from app.domain.events import MAX_EVENT_BYTES
from app.runtime.tasks import end, looked_at
from app.settings.sources import KafkaSettings

METADATA_AGE_MS = 10_000  # how late a Kafka topic that someone makes is noticed
LEAVE_TIMEOUT_SECONDS = 2.0  # seconds; a broker that says nothing finds out by itself


async def start(settings: KafkaSettings) -> tuple[Any, Any]:
    """A consumer of the hub's group that commits nothing by itself, and a producer for dead letters. Raises
    what aiokafka raises.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers,
        group_id=settings.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=settings.batch_size,
        fetch_max_wait_ms=settings.fetch_max_wait_ms,
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.session_timeout_ms // 4,
        metadata_max_age_ms=METADATA_AGE_MS,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap_servers,
        acks="all",
        max_request_size=2 * MAX_EVENT_BYTES,
    )
    try:
        await producer.start()
        await consumer.start()
    except BaseException:
        await asyncio.gather(consumer.stop(), producer.stop(), return_exceptions=True)
        raise
    return consumer, producer


class ClosingClients:
    """Clients that stop. They are waited for only so long, as a broker may say nothing; but not broken off: a
    consumer that is half stopped would go on telling its group that it lives, and keep its partitions.
    """

    def __init__(self) -> None:
        self._stopping: set[asyncio.Task[None]] = set()

    async def close(self, *clients: Any) -> None:
        """Stop them; returns when they have, or after `LEAVE_TIMEOUT_SECONDS`."""
        leaving = [asyncio.create_task(client.stop(), name="kafka leave") for client in clients]
        for task in leaving:
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
            task.add_done_callback(looked_at)
        await asyncio.wait(leaving, timeout=LEAVE_TIMEOUT_SECONDS)

    async def abort(self) -> None:
        """Break off what still goes on: nothing of it outlives the hub."""
        await end(*self._stopping)
