"""The pipeline on Postgres and in memory: what is committed, when it is pushed, what comes twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from app.domain.notifications import Notification
from app.domain.planning import Planner
from app.domain.preferences import Evaluator
from app.ingest.batch import SourceMessage
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.store.ports import PreferencesPort
from app.testing import MemoryBus, MemoryGroups
from handlers.registry import HANDLERS
from tests.contract.conftest import Store


class ReadingBus(MemoryBus):
    """Looks into the store at the moment of each push, as a client does who is told of something new."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self.found: list[asyncio.Task[list[Notification]]] = []

    def publish(self, notifications: Sequence[Notification], *, redelivered: bool = False) -> None:
        super().publish(notifications, redelivered=redelivered)
        for each in notifications:
            looking = self._store.inboxes.page(each.receiver, 1, before=each.seq + 1)
            self.found.append(asyncio.ensure_future(looking))


@pytest.fixture
def bus(store: Store) -> ReadingBus:
    return ReadingBus(store)


@pytest.fixture
def pipeline(store: Store, people: PreferencesPort, bus: ReadingBus) -> Pipeline:
    planner = Planner(people, Evaluator(()), "en")
    return Pipeline(
        HANDLERS,
        PipelinePorts(MemoryGroups(), planner, store.writer, store.processed, bus),
        "en",
        msgspec.json.encode,
        time.time,
    )


def event(user: UUID, source: str = "kafka", **changes: Any) -> SourceMessage:
    body = {
        "event_id": str(uuid4()),
        "type": "inapp",
        "user_id": user,
        "title": "T",
        "message": "M",
        **changes,
    }
    return SourceMessage(source, str(uuid4()), msgspec.json.encode(body), None)


async def write(pipeline: Pipeline, *messages: SourceMessage) -> None:
    batch = pipeline.prepare(messages)
    assert not batch.rejected
    assert await pipeline.write(batch.ready) == []


async def test_what_is_pushed_is_committed(pipeline: Pipeline, bus: ReadingBus) -> None:
    users = [uuid4() for _ in range(5)]
    await asyncio.gather(*(write(pipeline, *(event(user) for user in users)) for _ in range(4)))
    assert len(bus.published) == len(bus.found) == 20
    found = [each.id for page in await asyncio.gather(*bus.found) for each in page]
    assert found == [each.id for each in bus.published]


async def test_pushes_keep_the_order_of_seq_whoever_writes_at_once(
    pipeline: Pipeline, bus: ReadingBus
) -> None:
    users = [uuid4() for _ in range(3)]
    await asyncio.gather(*(write(pipeline, *(event(user) for user in users)) for _ in range(10)))
    for user in users:
        assert [each.seq for each in bus.pushed(user)] == [*range(1, 11)]


async def test_the_same_event_over_two_transports_at_once_has_its_effects_once(
    pipeline: Pipeline, store: Store, bus: ReadingBus
) -> None:
    user, inapp, email = uuid4(), str(uuid4()), str(uuid4())
    client = bus.connect(user, session=True)
    messages = [
        event(user, source, event_id=event_id, **changes)
        for source in ("kafka", "http")
        for event_id, changes in ((inapp, {}), (email, {"type": "email", "to": "mai@example.com"}))
    ]
    await asyncio.gather(*(write(pipeline, message) for message in messages * 2))
    told = await store.inboxes.page(user, 10)
    assert [each.id for each in reversed(told)] == [each.id for each in client.notifications]
    assert {each.id for each in bus.pushed(user)} == {each.id for each in told}
    assert len(told) == len(await store.processed.find({inapp: [user]})) == 1
    assert len(await store.deliveries.find(10, event_id=email)) == 1


async def test_a_scheduled_event_waits_in_the_store_and_has_no_effect_yet(
    pipeline: Pipeline, store: Store, bus: ReadingBus
) -> None:
    user, event_id = uuid4(), str(uuid4())
    await write(pipeline, event(user, event_id=event_id, send_at="2999-01-01T00:00:00Z"))
    assert await store.inboxes.page(user, 10) == []
    assert bus.pushed(user) == []
    assert await store.processed.processed([event_id]) == []
    found = await store.scheduled.get(event_id)
    assert found is not None
    assert found.send_at.year == 2999
