"""Batches that are planned by what people had set when it was last read: what they changed since holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.planning import Planner
from app.domain.preferences import Evaluator, Person
from app.ingest.batch import SourceMessage
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.store.engine import make_engines
from app.store.notifications import NotificationStore
from app.store.preferences import PreferenceStore
from app.store.writer import BatchWriter
from app.testing import MemoryBus, MemoryGroups
from handlers.registry import HANDLERS
from tests.support.settings import settings_on

CHOICE = "messages.inapp"


class People(PreferenceStore):
    """Counts how often it is read."""

    reads = 0

    async def people(self, users: Collection[UUID]) -> dict[UUID, Person]:
        self.reads += 1
        return await super().people(users)


class Scene:
    """A node, and another one on which people change what they have set."""

    def __init__(self, intake: AsyncEngine, elsewhere: AsyncEngine, off: Collection[str] = ()) -> None:
        self.people, self.elsewhere, self.bus = People(intake), PreferenceStore(elsewhere), MemoryBus()
        planner = Planner(self.people, Evaluator(off), "en")
        ports = PipelinePorts(
            MemoryGroups(), planner, BatchWriter(intake), NotificationStore(intake), self.bus
        )
        self.pipeline = Pipeline(HANDLERS, ports, "en", msgspec.json.encode)

    async def happen(self, *users: UUID, **changes: Any) -> Mapping[UUID, int]:
        """A message to each in one batch; how many each of them got so far."""
        batch = self.pipeline.prepare([message(user, **changes) for user in users])
        assert await self.pipeline.write(batch.events) == batch.rejected == []
        return {user: len(self.bus.pushed(user)) for user in users}

    async def reads_of(self, *users: UUID) -> int:
        before = self.people.reads
        await self.happen(*users)
        return self.people.reads - before


def message(user: UUID, **changes: Any) -> SourceMessage:
    body = {"event_id": str(uuid4()), "type": "inapp", "user_id": user, "title": "T", "message": "M"}
    return SourceMessage("kafka", str(uuid4()), msgspec.json.encode(body | changes), None)


@pytest_asyncio.fixture
async def engines(database: str) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    pools = make_engines(settings_on("redis://redis", database_url=database).postgres)
    yield pools
    for pool in pools:
        await pool.dispose()


@pytest.fixture
def scene(engines: tuple[AsyncEngine, AsyncEngine]) -> Scene:
    return Scene(*engines)


async def test_what_a_user_changed_elsewhere_holds_for_the_next_event(scene: Scene) -> None:
    user, other = uuid4(), uuid4()
    assert await scene.happen(user, other) == {user: 1, other: 1}
    await scene.elsewhere.set_choice(user, CHOICE, False)
    assert await scene.happen(user, other) == {user: 1, other: 2}
    await scene.elsewhere.set_choice(user, CHOICE, True)
    assert await scene.happen(user, other) == {user: 2, other: 3}
    await scene.elsewhere.set_choice(user, CHOICE, False)
    await scene.happen(other)
    assert await scene.happen(user) == {user: 2}


async def test_what_was_deleted_holds_no_more(scene: Scene, engines: tuple[AsyncEngine, AsyncEngine]) -> None:
    user, other = uuid4(), uuid4()
    await scene.elsewhere.set_choice(user, CHOICE, False)
    assert await scene.happen(user, other) == {user: 0, other: 1}
    async with engines[1].begin() as connection:
        await connection.execute(text("delete from preferences where user_id = :user"), {"user": user})
    await scene.happen(other)
    assert await scene.happen(user, other) == {user: 1, other: 3}


async def test_who_gets_nothing_by_default_gets_what_was_switched_on(
    engines: tuple[AsyncEngine, AsyncEngine],
) -> None:
    scene, user = Scene(*engines, off=(CHOICE,)), uuid4()
    assert await scene.happen(user) == {user: 0}
    await scene.elsewhere.set_choice(user, CHOICE, True)
    assert await scene.happen(user) == {user: 1}


async def test_who_changes_nothing_is_read_once(scene: Scene) -> None:
    user, nobody = uuid4(), uuid4()
    assert await scene.reads_of(nobody) == 0
    await scene.elsewhere.set_choice(user, CHOICE, True)
    assert await scene.reads_of(user, nobody) == 1
    assert await scene.reads_of(user, nobody) == 1, "the batch after one whose assumption was outdated"
    for _ in range(3):
        assert await scene.reads_of(user, user, nobody) == 0


async def test_it_holds_where_a_batch_takes_more_than_one_statement(scene: Scene) -> None:
    user, due = uuid4(), "2100-01-01T00:00:00Z"
    await scene.elsewhere.set_choice(user, CHOICE, False)
    later, now = message(user, send_at=due), message(user)
    batch = scene.pipeline.prepare([later, now, message(uuid4())])
    assert await scene.pipeline.write(batch.events) == []
    assert scene.bus.pushed(user) == []


async def test_changes_during_many_batches_hold_for_the_event_that_follows_them(scene: Scene) -> None:
    """Two nodes write at the same time, while the user switches on and off."""
    user, expected = uuid4(), 0
    crowd = [uuid4() for _ in range(20)]

    async def others() -> None:
        while True:
            await scene.happen(*crowd)

    busy = asyncio.create_task(others())
    for number in range(30):
        on = number % 3 > 0
        await scene.elsewhere.set_choice(user, CHOICE, on)
        expected += on
        assert (await scene.happen(user))[user] == expected
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)
