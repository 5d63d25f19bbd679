"""How long brokers may collect records before they answer a fetch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.sources.kafka import paced_consumer
from app.sources.kafka.paced_consumer import (
    BUSY_PER_SECOND,
    BUSY_POLL_MS,
    COLLECT_BYTES,
    COLLECT_MS,
    WINDOW_SECONDS,
    FetchPace,
    PacedConsumer,
)

P = TopicPartition("events", 0)
BUSY_COUNT = round(BUSY_PER_SECOND * WINDOW_SECONDS)


def judged(*polls: tuple[float, int]) -> bool:
    pace = FetchPace()
    return [pace.polled(now, count) for now, count in polls][-1]


@pytest.mark.parametrize(
    ("polls", "busy"),
    [
        ([(100.0, 0)], False),
        ([(100.0, 1)], False),
        ([(100.0, BUSY_COUNT)], True),
        ([(100.0, 1000), (100.001, 0)], True),
        ([(100.0, 1000), (100.0 + 1.1 * WINDOW_SECONDS, 0)], False),
        ([(100.0 + number / BUSY_PER_SECOND, 1) for number in range(2 * BUSY_COUNT)], True),
        ([(100.0 + number / 50, 1) for number in range(200)], False),
    ],
)
def test_records_are_collected_while_many_come(polls: list[tuple[float, int]], busy: bool) -> None:
    assert judged(*polls) is busy


class _Played:
    """aiokafka's part, and the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.count, self.timeout_ms = 100.0, 0, 0
        self.fetcher = SimpleNamespace(_fetch_min_bytes=1, _fetch_max_wait_ms=500)
        monkeypatch.setattr(paced_consumer, "monotonic", lambda: self.now)
        monkeypatch.setattr(AIOKafkaConsumer, "getmany", self._getmany)
        monkeypatch.setattr(AIOKafkaConsumer, "__del__", lambda _: None)

    async def _getmany(self, *_: Any, timeout_ms: int, max_records: int | None) -> dict[TopicPartition, Any]:
        self.timeout_ms = timeout_ms
        return {P: [None] * self.count} if self.count else {}


async def test_a_busy_consumer_fetches_what_brokers_collect_and_an_idle_one_the_first_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played = _Played(monkeypatch)
    consumer = PacedConsumer(bootstrap_servers="unused", fetch_max_wait_ms=500)
    consumer._fetcher = played.fetcher

    async def poll(count: int, after: float) -> tuple[int, int, int]:
        played.now, played.count = played.now + after, count
        await consumer.getmany(timeout_ms=200)
        fetcher = played.fetcher
        return fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms, played.timeout_ms

    assert await poll(1, after=1) == (1, 500, 200)
    assert await poll(BUSY_COUNT, after=0.001) == (COLLECT_BYTES, COLLECT_MS, 200)
    assert await poll(0, after=0.02) == (COLLECT_BYTES, COLLECT_MS, BUSY_POLL_MS)
    assert await poll(0, after=WINDOW_SECONDS) == (1, 500, BUSY_POLL_MS)
    assert await poll(0, after=0.2) == (1, 500, 200)
