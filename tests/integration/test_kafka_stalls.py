"""The Kafka source on a real broker: a consumer that stalls is recreated, one that waits is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from app.sources.kafka import clients as kafka_clients
from app.sources.kafka.paced_consumer import PacedConsumer
from tests.support.kafka_source import BATCH, STALLED_AFTER, running

MAX_POLL_INTERVAL = 2.0


def stop_fetching(consumer: Any) -> None:
    """Polls bring nothing any more, and no error."""
    consumer._fetcher._fetch_task.cancel()


def lose_the_group(consumer: Any) -> None:
    """Polls wait for the group's rebalance indefinitely."""
    consumer._subscription.begin_reassignment()


def end_coordination(consumer: Any) -> None:
    """Polls are cancelled, though nobody cancelled them."""
    consumer._coordinator._coordination_task.cancel()


@pytest.mark.parametrize("stall", [stop_fetching, lose_the_group, end_coordination])
async def test_a_stalled_consumer_is_recreated_and_continues(
    kafka: str, stall: Callable[[Any], None]
) -> None:
    async with running(kafka) as scene:
        before = scene.consumer
        stall(before)
        await scene.publish(3 * BATCH)
        await scene.anew(before)
        await scene.all_written()


async def test_while_a_batch_waits_its_consumer_stays_and_so_does_its_membership(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than a poll may be away, and than a consumer may stall."""
    monkeypatch.setattr(
        kafka_clients,
        "PacedConsumer",
        partial(PacedConsumer, max_poll_interval_ms=int(MAX_POLL_INTERVAL * 1000)),
    )
    async with running(kafka) as scene:
        before, member = scene.consumer, scene.consumer._coordinator.member_id
        generation = scene.consumer._coordinator.generation
        scene.pipeline.free.clear()
        await scene.publish(10 * BATCH)
        await asyncio.sleep(3 * max(STALLED_AFTER, MAX_POLL_INTERVAL))
        assert scene.consumer is before
        assert scene.consumer._coordinator.member_id == member
        assert scene.consumer._coordinator.generation == generation
        assert len(scene.pipeline.written) == 1
        scene.pipeline.free.set()
        await scene.all_written()
        assert len(scene.pipeline.written) == scene.published, "none came again"


async def test_a_consumer_with_nothing_to_read_stays(kafka: str) -> None:
    async with running(kafka) as scene:
        before = scene.consumer
        await asyncio.sleep(2 * STALLED_AFTER)
        assert scene.consumer is before
