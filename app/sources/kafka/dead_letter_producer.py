"""Putting what can't be handled into `<topic>.dlq`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from app.domain.time import Now
from app.ingest.batch import Rejected
from app.sources.dead_letters import SUFFIX
from app.sources.kafka.dead_letter import letters

log = logging.getLogger("hub.kafka")

RETRY_SECONDS = 1.0


class KafkaDeadLetters:
    """Writes the dead letters of Kafka records."""

    def __init__(self, redact: Callable[[bytes], bytes], now: Now) -> None:
        """`redact` takes out of a message what no dead letter may hold; `now` gives unix seconds."""
        self._redact = redact
        self._now = now

    async def put(self, producer: Any, rejected: Iterable[Rejected]) -> None:
        """Returns when the broker has them all; tries for ever (cancel it to stop)."""
        await asyncio.gather(*(self._put_one(producer, item) for item in rejected))

    async def _put_one(self, producer: Any, item: Rejected) -> None:
        record, error = item.message.origin, item.error
        log.warning("event_rejected", extra={"position": item.message.position_id, "reason": error.reason})
        value = None if record.value is None else self._redact(record.value)
        whole, cut = letters(record, item.message.position_id, value, error)
        while True:
            for letter in (whole, cut):
                # A broker refuses what comes from more than an hour ahead: not by this machine's clock alone.
                written_at = round(self._now() * 1000)
                try:
                    await producer.send_and_wait(record.topic + SUFFIX, **letter, timestamp_ms=written_at)
                    return
                except MessageSizeTooLargeError:
                    continue  # the cut one is small enough for any broker
                except KafkaError as problem:
                    log.error("dead_letter_delayed", extra={"why": type(problem).__name__})
                    break
            else:
                log.error("dead_letter_lost", extra={"position": item.message.position_id})
                return
            await asyncio.sleep(RETRY_SECONDS)
