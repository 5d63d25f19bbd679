"""Removing records of a Kafka topic, all before one: the broker's DeleteRecords (KIP-107)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError, KafkaTimeoutError

from app.domain.errors import Unavailable
from app.settings.sources import KafkaSettings
from app.sources.kafka.clients import connection

RemoveBefore = Callable[[Mapping[TopicPartition, int]], Awaitable[None]]


class RemovalRefused(Unavailable):
    """The broker can't or mustn't remove records of these Kafka topics."""


@asynccontextmanager
async def removing(settings: KafkaSettings) -> AsyncIterator[RemoveBefore]:
    """Gives what removes all records before these offsets; with offset 0 it only tries whether it may.

    That raises `RemovalRefused`; `KafkaError` where it can't be known, as a broker is away for the moment.
    """
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()

    async def remove_before(offsets: Mapping[TopicPartition, int]) -> None:
        try:
            await admin.delete_records({place: RecordsToDelete(end) for place, end in offsets.items()})
        except KafkaError as error:
            if error.retriable or isinstance(error, KafkaTimeoutError):
                raise
            raise RemovalRefused(
                "kafka", (f"the broker does not delete records ({type(error).__name__})")
            ) from None

    try:
        yield remove_before
    finally:
        await admin.close()
