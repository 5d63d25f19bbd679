"""An inbox that someone holds the lock of: its events wait, and nobody else's do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.errors import InboxesLocked
from app.domain.identity import CHUNKS_PER_EVENT
from app.domain.planning import Planner
from app.domain.preferences import Evaluator
from app.ingest.batch import Rejected, SourceMessage
from app.ingest.chunks import MAX_ROWS_AT_ONCE
from app.ingest.parked import ParkedPorts, ParkedWorker
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.runtime.backoff import Backoff
from app.store.engine import INTAKE_LOCK_TIMEOUT_MS, make_engines
from app.store.inboxes import InboxStore
from app.store.notifications import NotificationStore
from app.store.parked import ParkedStore
from app.store.preferences import PreferenceStore
from app.store.writer import MAX_EVENTS_THAT_WAIT, BatchWriter
from app.testing import MemoryBus, MemoryGroups
from handlers.registry import HANDLERS
from tests.support.settings import settings_on
from tests.support.store import engine_on, entry

QUICK, LATER = Backoff(0.02, 0.02), Backoff(1.0, 1.0)
SHORTLY = 2 * INTAKE_LOCK_TIMEOUT_MS / 1000
"""Seconds: a lock that is waited for, with room for a busy machine."""


class Node:
    """What takes events in, on Postgres."""

    def __init__(self, intake: AsyncEngine) -> None:
        self.bus, groups = MemoryBus(), MemoryGroups()
        planner = Planner(PreferenceStore(intake), Evaluator(()), "en")
        ports = PipelinePorts(groups, planner, BatchWriter(intake), NotificationStore(intake), self.bus)
        self.pipeline = Pipeline(HANDLERS, ports, "en", msgspec.json.encode, backoff=QUICK)
        parked = ParkedPorts(ParkedStore(intake), groups, lambda _: None)
        self.worker = ParkedWorker(self.pipeline, parked, LATER)

    async def take(self, *messages: SourceMessage) -> float:
        """How long it took to write or park them."""
        batch = self.pipeline.prepare(messages)
        start = time.monotonic()
        rejected: list[Rejected] = await self.pipeline.write(batch.events)
        assert batch.rejected + rejected == []
        return time.monotonic() - start

    def pushed(self, user: UUID) -> list[tuple[int, str]]:
        return [(each.seq, each.title) for each in self.bus.pushed(user)]


@pytest_asyncio.fixture
async def engines(database: str) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    values: dict[str, Any] = {"database_url": database, "database_timeout": 5.0}
    pools = make_engines(settings_on("redis://redis", **values).postgres)
    yield pools
    for pool in pools:
        await pool.dispose()


@pytest.fixture
def node(engines: tuple[AsyncEngine, AsyncEngine]) -> Node:
    return Node(engines[0])


@pytest_asyncio.fixture
async def operator(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@asynccontextmanager
async def locked(operator: asyncpg.Connection, node: Node, *users: UUID) -> AsyncIterator[None]:
    """Someone holds the locks of these inboxes."""
    await node.take(*(event(user, "first") for user in users))
    async with operator.transaction():
        await operator.execute("select 1 from inboxes where user_id = any($1) for update", [*users])
        yield


def event(user: UUID, title: str, *, key: bytes | None = None, **changes: Any) -> SourceMessage:
    body = {"event_id": str(uuid4()), "type": "inapp", "user_id": user, "title": title, "message": "M"}
    encoded = msgspec.json.encode(body | changes)
    return SourceMessage("kafka", str(uuid4()), encoded, None, order_key=key, labels=lambda _: b"")


async def test_nobody_waits_for_the_events_of_a_locked_inbox(
    node: Node, operator: asyncpg.Connection, engines: tuple[AsyncEngine, AsyncEngine]
) -> None:
    user, other, new = uuid4(), uuid4(), uuid4()
    await node.take(event(other, "first"))
    async with locked(operator, node, user):
        took = await node.take(event(user, "a"), event(other, "b"), event(user, "c"), event(new, "d"))
        assert took < SHORTLY + 1
        assert node.pushed(other) == [(1, "first"), (2, "b")]
        assert node.pushed(new) == [(1, "d")]
        again = [await node.take(event(user, f"{n}"), event(other, f"{n}")) for n in range(5)]
        assert min(again) < INTAKE_LOCK_TIMEOUT_MS / 1000, "it is known now, and waited for no more"
        await node.worker.resolve_due()
        assert node.pushed(user) == [(1, "first")]
    await asyncio.sleep(1.1)
    await node.worker.resolve_due()
    assert node.pushed(user)[0] == (1, "first")
    assert {title for _, title in node.pushed(user)} == {"first", "a", "c", *map(str, range(5))}
    [state] = await InboxStore(engines[1]).states([(user, 0)], 100)
    assert [each.seq for each in state.missed] == [*range(1, 9)]
    assert await node.take(event(user, "last")) < 1
    assert node.pushed(user)[-1] == (9, "last")


async def test_events_of_one_key_keep_their_order_over_a_locked_inbox(
    node: Node, operator: asyncpg.Connection
) -> None:
    user, other = uuid4(), uuid4()
    async with locked(operator, node, user):
        await node.take(event(other, "0", key=b"k"), event(user, "1", key=b"k"), event(other, "2", key=b"k"))
        await node.take(event(other, "3", key=b"k"), event(other, "x", key=b"l"))
        assert node.pushed(other) == [(1, "0"), (2, "x")]
    await node.worker.resolve_due()
    assert node.pushed(user) == [(1, "first"), (2, "1")]
    assert node.pushed(other)[2:] == [(3, "2"), (4, "3")]


async def test_after_the_deadline_an_event_of_a_locked_inbox_is_dead_lettered_with_the_reason(
    node: Node, operator: asyncpg.Connection, engines: tuple[AsyncEngine, AsyncEngine]
) -> None:
    user = uuid4()
    async with locked(operator, node, user):
        message = event(user, "late")
        await node.take(message)
        async with engines[1].begin() as connection:
            await connection.exec_driver_sql("update parked_events set deadline = now()")
        await node.worker.resolve_due()
    found = await ParkedStore(engines[1]).find(f"{message.dedup_key}")
    assert found is not None
    assert (found.rejected or "").startswith("inbox_locked: ")


async def test_a_writer_names_the_locked_inboxes_and_writes_nothing(
    node: Node, operator: asyncpg.Connection, engines: tuple[AsyncEngine, AsyncEngine]
) -> None:
    user, other = uuid4(), uuid4()
    writer = BatchWriter(engines[0])
    async with locked(operator, node, user):
        for _ in range(2):
            with pytest.raises(InboxesLocked) as error:
                await writer.write([entry(user, other), entry(other)])
            assert error.value.users == {user}
        written = await writer.write([entry(other)])
        assert [each.seq for each in written.notifications] == [1]
    written = await writer.write([entry(user, other)])
    assert {(each.receiver, each.seq) for each in written.notifications} == {(user, 2), (other, 2)}


async def test_a_lock_of_something_else_is_waited_for(
    operator: asyncpg.Connection, engines: tuple[AsyncEngine, AsyncEngine]
) -> None:
    user = uuid4()
    async with operator.transaction():
        await operator.execute("lock table processed_events in exclusive mode")
        writing = asyncio.create_task(BatchWriter(engines[0]).write([entry(user)]))
        await asyncio.sleep(3 * INTAKE_LOCK_TIMEOUT_MS / 1000)
        assert not writing.done()
    assert [each.seq for each in (await writing).notifications] == [1]


async def test_parked_events_wait_for_no_lock_and_hold_none_meanwhile(
    operator: asyncpg.Connection, database: str
) -> None:
    """On connections without a `lock_timeout`: a write that waited would never end here."""
    user, other = uuid4(), uuid4()
    engine = engine_on(database)
    writer = BatchWriter(engine)
    await writer.write([entry(user), entry(other)])
    events = [entry(user, other), *(entry(other) for _ in range(MAX_EVENTS_THAT_WAIT))]
    resolved = dict(enumerate(each.event_id for each in events))
    try:
        async with operator.transaction():
            await operator.execute("select 1 from inboxes where user_id = $1 for update", user)
            for _ in range(2):
                with pytest.raises(InboxesLocked) as error:
                    await writer.write(events, resolved)
                assert error.value.users == {user}
            live = await writer.write([entry(other)])
            assert [each.seq for each in live.notifications] == [2]
        written = await writer.write(events, resolved)
    finally:
        await engine.dispose()
    assert {(each.receiver, each.seq) for each in written.notifications[:2]} == {(user, 2), (other, 3)}


async def test_few_parked_events_wait_for_a_lock_so_that_others_can_not_starve_them(
    operator: asyncpg.Connection, database: str
) -> None:
    user = uuid4()
    engine = engine_on(database)
    writer = BatchWriter(engine)
    await writer.write([entry(user)])
    event = entry(user)
    try:
        async with operator.transaction():
            await operator.execute("select 1 from inboxes where user_id = $1 for update", user)
            writing = asyncio.create_task(writer.write([event], {1: event.event_id}))
            await asyncio.sleep(0.1)
            assert not writing.done()
        assert [each.seq for each in (await writing).notifications] == [2]
    finally:
        await engine.dispose()


async def test_lanes_of_other_inboxes_are_resolved_while_one_is_locked(
    node: Node, operator: asyncpg.Connection
) -> None:
    user, others = uuid4(), [uuid4() for _ in range(5)]
    async with locked(operator, node, user, *others):
        await node.take(*(event(each, "b") for each in [user, *others]))
    async with operator.transaction():
        await operator.execute("select 1 from inboxes where user_id = $1 for update", user)
        await node.worker.resolve_due()
        assert [node.pushed(each) for each in others] == [[(1, "first"), (2, "b")]] * 5
        assert node.pushed(user) == [(1, "first")]


async def test_a_locked_inbox_delays_one_chunk_of_a_large_event(
    node: Node, operator: asyncpg.Connection
) -> None:
    """All others have it at once."""
    crowd = [uuid4() for _ in range(MAX_ROWS_AT_ONCE + 1)]
    user = crowd[-1]
    same_chunk = [each for each in crowd if each.int % CHUNKS_PER_EVENT == user.int % CHUNKS_PER_EVENT]
    data = {"unit_name": "x", "storage_name": "s", "group_name": "Family"}
    async with locked(operator, node, user):
        large = event(
            user, "", event_type="food_expired", type=None, group_id=uuid4(), receivers=crowd, data=data
        )
        await node.take(large)
        await node.worker.resolve_due()
        without = [each for each in crowd[:-1] if not node.pushed(each)]
        assert without == [each for each in same_chunk if each != user]
    await asyncio.sleep(1.1)
    await node.worker.resolve_due()
    assert {len(node.pushed(each)) for each in crowd[:-1]} == {1}
    assert len(node.pushed(user)) == 2
