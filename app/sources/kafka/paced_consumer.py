"""A consumer whose brokers collect records while many come: fewer fetches, with more records each.

A broker answers a fetch with the first record that it has. At 1,000 records a second a fetch brings one to
three, and costs the hub and the broker more than those (decision 007).
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any

from aiokafka import AIOKafkaConsumer

BUSY_PER_SECOND = 200  # records
WINDOW_SECONDS = 0.05  # over which they are counted
COLLECT_MS = 5  # that a busy consumer's broker delays its answer, unless it has `COLLECT_BYTES` before
COLLECT_BYTES = 16 * 1024
BUSY_POLL_MS = 20  # after which a poll without a record ends, so that the pace is judged again


class FetchPace:
    """Whether records come so fast that brokers should collect them. No I/O."""

    def __init__(self) -> None:
        self._polls: deque[tuple[float, int]] = deque()
        self._count = 0

    def polled(self, now: float, count: int) -> bool:
        """A poll brought `count` records at `now` (seconds). Returns whether to collect from here on."""
        if count:
            self._polls.append((now, count))
            self._count += count
        while self._polls and self._polls[0][0] <= now - WINDOW_SECONDS:
            self._count -= self._polls.popleft()[1]
        return self._count >= BUSY_PER_SECOND * WINDOW_SECONDS


class PacedConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's consumer, whose fetches follow the pace of the records."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._pace = FetchPace()
        self._busy = False
        self._max_wait_ms: int = arguments["fetch_max_wait_ms"]

    async def getmany(self, *partitions: Any, timeout_ms: int = 0, max_records: int | None = None) -> Any:
        """Like `AIOKafkaConsumer.getmany`, but without records it may return after `BUSY_POLL_MS`."""
        timeout_ms = min(timeout_ms, BUSY_POLL_MS) if self._busy else timeout_ms
        found = await super().getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        busy = self._pace.polled(monotonic(), sum(map(len, found.values())))
        if busy != self._busy:
            self._busy = busy
            fetcher: Any = self._fetcher
            fetcher._fetch_min_bytes = COLLECT_BYTES if busy else 1
            fetcher._fetch_max_wait_ms = min(COLLECT_MS, self._max_wait_ms) if busy else self._max_wait_ms
        return found
