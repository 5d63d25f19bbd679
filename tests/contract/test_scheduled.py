"""Scheduled events, on Postgres and in memory: they happen once, whatever clocks and nodes do, or never."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest_asyncio

from app.store.ports import EventWriter, ScheduledEvents
from app.store.records import EventRecord, ScheduledEvent
from app.store.scheduled import ScheduledState
from tests.contract.conftest import Store

PAST = timedelta(seconds=-1)


class Scene:
    def __init__(self, store: ScheduledEvents, writer: EventWriter) -> None:
        self.store = store
        self.writer = writer

    async def schedule(self, after: timedelta = PAST, sender: str | None = "kitchen") -> str:
        event_id = str(uuid4())
        later = ScheduledEvent(datetime.now(UTC) + after, b"{}", sender)
        assert (await self.writer.write([EventRecord(event_id, later=later)])).new == {event_id}
        return event_id


@pytest_asyncio.fixture
async def scheduled(store: Store) -> Scene:
    """Nothing that an earlier test scheduled is still to happen."""
    left = [each.event_id for each in await store.scheduled.claim(1000, 0.0)]
    await store.scheduled.finish(left, ScheduledState.SENT)
    return Scene(store.scheduled, store.writer)


async def test_what_is_due_is_taken_by_one_and_after_the_lease_by_another(scheduled: Scene) -> None:
    due = await scheduled.schedule()
    await scheduled.schedule(timedelta(hours=1))
    claimed = await asyncio.gather(*(scheduled.store.claim(10, 0.3) for _ in range(3)))
    assert [each.event_id for part in claimed for each in part] == [due]
    assert await scheduled.store.claim(10, 60.0) == []
    await asyncio.sleep(0.4)
    assert [each.event_id for each in await scheduled.store.claim(10, 60.0)] == [due]
    await scheduled.store.finish([due], ScheduledState.SENT)
    assert await scheduled.store.claim(10, 0.0) == []


async def test_what_is_cancelled_in_transit_does_not_happen(scheduled: Scene) -> None:
    event_id = await scheduled.schedule()
    assert [each.event_id for each in await scheduled.store.claim(10, 60.0)] == [event_id]
    assert await scheduled.store.cancel(event_id, "kitchen")
    assert (await scheduled.writer.write([EventRecord(event_id)])).new == set(), "it counts as processed"
    await scheduled.store.finish([event_id], ScheduledState.SENT)
    found = await scheduled.store.get(event_id)
    assert found is not None
    assert found.status is ScheduledState.CANCELLED


async def test_what_has_happened_can_not_be_cancelled(scheduled: Scene) -> None:
    event_id = await scheduled.schedule()
    assert (await scheduled.writer.write([EventRecord(event_id)])).new == {event_id}
    assert not await scheduled.store.cancel(event_id, "kitchen"), "though it isn't noted yet"
    found = await scheduled.store.get(event_id)
    assert found is not None
    assert found.status is ScheduledState.SCHEDULED
    assert not await scheduled.store.cancel(str(uuid4()), "kitchen")


async def test_only_its_sender_cancels_an_event(scheduled: Scene) -> None:
    event_id, anybodys = await scheduled.schedule(), await scheduled.schedule(sender=None)
    assert not await scheduled.store.cancel(event_id, "other")
    assert await scheduled.store.cancel(anybodys, "other")
    assert await scheduled.store.cancel(event_id, "kitchen")
