"""Which messages are one event: the same answer for all who ask, whenever they ask again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest_asyncio
from redis.asyncio import Redis

from app.sources.redis.dedup import WINDOW_MS, Deduplicator

NOON = 1_795_262_400_000


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest_asyncio.fixture
async def once(redis: Redis) -> Deduplicator:
    return Deduplicator(redis, f"once-{uuid4().hex}")


async def test_what_is_said_again_within_a_minute_is_the_same_and_later_another(once: Deduplicator) -> None:
    times = [NOON, NOON + 1, NOON + WINDOW_MS, NOON + WINDOW_MS + 1, NOON + 2 * WINDOW_MS]
    later = str(NOON + WINDOW_MS + 1)
    assert await once.first_seen([("a", at) for at in times]) == [str(NOON)] * 3 + [later] * 2


async def test_two_messages_are_never_the_same(once: Deduplicator) -> None:
    assert await once.first_seen([("a", NOON), ("b", NOON + 1)]) == [str(NOON), str(NOON + 1)]


async def test_without_a_time_it_is_redis_clock(once: Deduplicator, redis: Redis) -> None:
    seconds, _ = await redis.time()
    [heard] = await once.first_seen([("a", None)])
    assert 0 <= int(heard) - seconds * 1000 < 10_000
    assert await once.first_seen([("a", int(heard) + 5), ("a", None)]) == [heard, heard]


async def test_an_answer_never_changes_whatever_comes_before_or_after_it(once: Deduplicator) -> None:
    chance = random.Random(7)
    for message in range(20):
        times = [NOON + chance.randrange(10 * WINDOW_MS) for _ in range(50)]
        first = await once.first_seen([(str(message), at) for at in times])
        assert await once.first_seen([(str(message), at) for at in reversed(times)]) == first[::-1]
        assert all(abs(int(found) - at) <= WINDOW_MS for found, at in zip(first, times, strict=True))


async def test_all_who_ask_at_once_hear_the_same(once: Deduplicator) -> None:
    answers = await asyncio.gather(*(once.first_seen([("a", None)]) for _ in range(20)))
    assert len({time for [time] in answers}) == 1


async def test_a_restarted_redis_learns_the_scripts_again(once: Deduplicator, redis: Redis) -> None:
    before = await once.first_seen([("a", NOON)])
    await redis.script_flush()
    assert await once.first_seen([("a", NOON + 1)]) == before


async def test_who_rejects_the_same_event_writes_one_dead_letter_together(
    once: Deduplicator, redis: Redis
) -> None:
    stream = f"letters-{uuid4().hex}"
    dead_letter: dict[str, bytes | str] = {"value": b"\xff{", "dlq.reason": "not_json"}
    for _ in range(2):
        await once.add_dead_letters(stream, [("one", dead_letter), ("two", dead_letter)])
    dead_letters: Any = await redis.xrange(stream)
    assert [fields for _, fields in dead_letters] == [{b"value": b"\xff{", b"dlq.reason": b"not_json"}] * 2


async def test_what_is_remembered_is_forgotten_in_a_day(redis: Redis) -> None:
    prefix = f"once-{uuid4().hex}"
    await Deduplicator(redis, prefix).first_seen([("a", NOON)])
    assert 0 < await redis.pttl(f"{prefix}:heard:a") <= 24 * 3600 * 1000
