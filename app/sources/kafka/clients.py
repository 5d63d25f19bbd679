"""The consumer and the producer of a Kafka source: configuration, start and stop."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from app.domain.events import MAX_EVENT_BYTES
from app.runtime.tasks import end, looked_at
from app.settings.sources import KafkaSettings
from app.sources.kafka import bounded_batches  # noqa: F401 - all consumers unpack within its bounds

ISOLATION_LEVEL = "read_committed"
"""Of every consumer: what a publisher aborts never happened, and what is open hasn't happened yet."""
METADATA_AGE_MS = 10_000  # a new topic is noticed within this time
LEAVE_TIMEOUT_SECONDS = 2.0  # a broker that doesn't answer removes the consumer after its session time-out


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """How each Kafka client of the hub connects: arguments that all classes of aiokafka take."""
    return {"bootstrap_servers": settings.bootstrap_servers}


async def start(settings: KafkaSettings) -> tuple[Any, Any]:
    """A consumer of the hub's group that commits nothing by itself, and a producer for dead letters.

    Raises what aiokafka raises.
    """
    consumer = AIOKafkaConsumer(
        **connection(settings),
        isolation_level=ISOLATION_LEVEL,
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
        **connection(settings),
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
    """Clients that are stopping.

    The wait is bounded, as a broker may not answer. They aren't cancelled then: a half-stopped consumer
    would go on sending heartbeats, and keep its partitions.
    """

    def __init__(self) -> None:
        self._stopping: set[asyncio.Task[None]] = set()

    async def close(self, *clients: Any) -> None:
        """Stop them; return when they have stopped, or after `LEAVE_TIMEOUT_SECONDS`."""
        leaving = [asyncio.create_task(client.stop(), name="kafka leave") for client in clients]
        for task in leaving:
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
            task.add_done_callback(looked_at)
        await asyncio.wait(leaving, timeout=LEAVE_TIMEOUT_SECONDS)

    async def abort(self) -> None:
        """Cancel those that are still stopping: none outlives the hub."""
        await end(*self._stopping)
