"""Writes what can't be processed to `<topic>.dlq`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from app.domain.errors import Unavailable
from app.domain.time import Now
from app.ingest.batch import Rejected
from app.runtime.backoff import Backoff
from app.sources.dead_letters import SUFFIX
from app.sources.kafka.dead_letter import ProducedRecord, dead_letter_records

log = logging.getLogger("hub.kafka")

RETRY_BACKOFF = Backoff(first=1.0, cap=1.0)


class KafkaDeadLetters:
    """Writes the dead letters of Kafka records."""

    def __init__(self, redact: Callable[[bytes, str], bytes], now: Now) -> None:
        """`redact` removes what no dead letter of a topic may hold; `now` gives unix seconds."""
        self._redact = redact
        self._now = now

    async def put(self, producer: Any, rejected: Iterable[Rejected]) -> None:
        """Return when the broker has them all. Retries until it is cancelled."""
        await asyncio.gather(*(self._put_one(producer, item) for item in rejected))

    async def put_parked(self, producer: Any, item: Rejected) -> None:
        """Return when the broker has the dead letter of an event that was parked. Raises `Unavailable`."""
        if producer is None:
            raise Unavailable("kafka", "this node isn't connected")
        try:
            await self._put_now(producer, item)
        except KafkaError as error:
            raise Unavailable("kafka", type(error).__name__) from None

    async def _put_one(self, producer: Any, item: Rejected) -> None:
        for delay in RETRY_BACKOFF.delays():
            try:
                await self._put_now(producer, item)
                return
            except KafkaError as problem:
                log.error("dead_letter_delayed", extra={"why": type(problem).__name__})
            await asyncio.sleep(delay)

    async def _put_now(self, producer: Any, item: Rejected) -> None:
        record, error = item.message.origin, item.error
        log.warning("event_rejected", extra={"dedup_key": item.message.dedup_key, "reason": error.reason})
        value = None if record.value is None else self._redact(record.value, record.topic)
        whole, cut = dead_letter_records(record, item.message.dedup_key, value, error)
        if not await self._sent(producer, record.topic + SUFFIX, (whole, cut)):
            log.error("dead_letter_lost", extra={"dedup_key": item.message.dedup_key})

    async def _sent(self, producer: Any, topic: str, dead_letter_records: Iterable[ProducedRecord]) -> bool:
        """Send the first of these that isn't too large for the broker; whether there was one."""
        for dead_letter in dead_letter_records:
            # A broker refuses what comes from more than an hour ahead: not by this machine's clock alone.
            written_at = round(self._now() * 1000)
            with suppress(MessageSizeTooLargeError):
                await producer.send_and_wait(topic, **dead_letter, timestamp_ms=written_at)
                return True
        return False
