"""The watchdog of a Kafka consumer.

After a broker's restart or a rebalance aiokafka can stop without an error (aiokafka issues 703, 1154): polls
bring nothing, or never return. Only a new consumer helps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from app.settings.sources import KafkaSettings
from app.sources.kafka.clients import ISOLATION_LEVEL, connection
from app.sources.kafka.stall import StallDetector

MIN_CHECKS_PER_STALL = 3  # within the time that a consumer may stall
END_OFFSETS_TIMEOUT_SECONDS = 5.0
POSITION_TIMEOUT_SECONDS = 0.2
UNKNOWN_OFFSET = -1  # the position of a partition for which the consumer hasn't found one

Ends = Callable[[Collection[TopicPartition]], Awaitable[dict[TopicPartition, int]]]


class ConsumerStalled(Exception):  # noqa: N818
    """The consumer has more to read, and doesn't read it."""


class ConsumerWatchdog:
    """Watches a consumer that is polled inside `poll`.

    A stall is a poll that hangs, or a partition whose position doesn't move although polls emptied the
    consumer's buffer and the broker has more records. Times don't count in which a slow batch or Postgres
    keeps the hub from polling, or the broker doesn't answer.
    """

    def __init__(self, patience: float, ends: Ends) -> None:
        """`patience` is in seconds; `ends` asks a broker, not by way of the consumer."""
        self._patience = patience
        self._ends = ends
        self._stalls: StallDetector[TopicPartition] = StallDetector(patience)
        self._polling_since: float | None = None
        self._emptied = False

    @contextmanager
    def poll(self) -> Iterator[None]:
        """Around each poll."""
        self._polling_since = _now()
        try:
            yield
        finally:
            self._polling_since = None

    def emptied(self) -> None:
        """A poll returned all that the consumer had buffered, of every partition."""
        self._emptied = True

    def assigned(self) -> None:
        """The group has rebalanced: a poll that waited for that didn't hang."""
        self._stalls.forget()
        if self._polling_since is not None:
            self._polling_since = _now()

    async def run(self, consumer: Any) -> None:
        """Watch a new consumer. Raises `ConsumerStalled` when it has to be replaced."""
        self._stalls.forget()
        self._emptied = False
        while True:
            await asyncio.sleep(self._patience / MIN_CHECKS_PER_STALL)
            await self._look(consumer)

    async def _look(self, consumer: Any) -> None:
        emptied, self._emptied = self._emptied, False
        if not emptied and not self._hangs():
            self._stalls.forget()
            return
        try:
            async with asyncio.timeout(END_OFFSETS_TIMEOUT_SECONDS):
                ends = await self._ends(consumer.assignment())
        except (KafkaError, OSError, TimeoutError):
            self.assigned()  # no broker answers: the time starts again
            return
        if self._hangs():
            raise ConsumerStalled("a poll doesn't return")
        positions = await _positions(consumer, ends)
        if stalled := self._stalls.look(_now(), positions, ends):
            raise ConsumerStalled(
                ", ".join(f"{p.topic}/{p.partition} at {positions[p]} of {ends[p]}" for p in stalled)
            )

    def _hangs(self) -> bool:
        return self._polling_since is not None and _now() - self._polling_since >= self._patience


async def _positions(consumer: Any, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    found = {}
    for partition in partitions:
        try:
            async with asyncio.timeout(POSITION_TIMEOUT_SECONDS):
                found[partition] = await consumer.position(partition)
        except TimeoutError:
            found[partition] = UNKNOWN_OFFSET
        except IllegalStateError:
            continue  # it was taken away meanwhile
    return found


async def ask_ends(
    settings: KafkaSettings, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """The offset after the last record that a consumer may read, over a separate connection.

    That is the last stable offset: an open transaction, and what is behind it, counts as not there yet.

    Raises what aiokafka raises; also when there is no partition to ask for and no broker answers.
    """
    asker = AIOKafkaConsumer(**connection(settings), isolation_level=ISOLATION_LEVEL)
    try:
        await asker.start()
        ends: dict[TopicPartition, int] = await asker.end_offsets(list(partitions))
        return ends
    finally:
        await asker.stop()


def _now() -> float:
    return asyncio.get_running_loop().time()
