"""Writes records to Kafka topics for others: what webhook endpoints of `kafka:` URLs get."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from app.runtime.outbound import OutboundError
from app.settings.sources import KafkaSettings
from app.sources.kafka.clients import LEAVE_TIMEOUT_SECONDS, connection


class KafkaRecords:
    """A producer that connects with its first record, and again after it failed to."""

    def __init__(self, settings: KafkaSettings, timeout: float) -> None:
        """`timeout`: seconds that a record may take, the connection included."""
        self._settings = settings
        self._timeout = timeout
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def send(self, topic: str, key: str | None, headers: Mapping[str, str], value: bytes) -> None:
        """Return when all in-sync replicas have the record. Raises `OutboundError`: it may be there all the
        same.
        """
        try:
            async with asyncio.timeout(self._timeout):
                producer = await self._started()
                await producer.send_and_wait(
                    topic,
                    value,
                    key=None if key is None else key.encode(),
                    headers=[(name, text.encode()) for name, text in headers.items()],
                )
        except TimeoutError:
            raise OutboundError(f"Kafka has not taken it in {self._timeout:g} s", timeout=True) from None
        except KafkaError as error:
            raise OutboundError(f"Kafka: {type(error).__name__}") from None

    async def close(self) -> None:
        """Disconnect. A record that is on its way is waited for, 2 s at most."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(producer.stop(), LEAVE_TIMEOUT_SECONDS)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(**connection(self._settings), acks="all")
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer
