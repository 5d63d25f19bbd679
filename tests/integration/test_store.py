"""The store on a Postgres that locks, dies or hangs. What holds in memory too is in tests/contract."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.event import listen, remove
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.errors import Unavailable
from app.store.notifications import NotificationStore
from app.store.writer import BatchWriter
from tests.support.hub import eventually
from tests.support.store import engine_on, entry, seqs, stored_seqs


@pytest_asyncio.fixture(scope="module")
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    pool = engine_on(database)
    yield pool
    await pool.dispose()


@pytest.fixture
def writer(engine: AsyncEngine) -> BatchWriter:
    return BatchWriter(engine)


@pytest.fixture
def store(engine: AsyncEngine) -> NotificationStore:
    return NotificationStore(engine)


@pytest_asyncio.fixture(scope="module")
async def operator(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the hub's."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def test_a_reader_never_sees_a_part_of_a_batch(
    engine: AsyncEngine, operator: asyncpg.Connection
) -> None:
    user = uuid4()
    async with operator.transaction():
        await operator.execute("insert into inboxes values ($1, 0)", user)
        writing = asyncio.create_task(BatchWriter(engine).write([entry(user, event_id=f"part-{user}")]))
        await waits_for_a_lock(operator)
        recorded = "select count(*) from processed_events where event_id = $1"
        assert await operator.fetchval(recorded, f"part-{user}") == 0
    await writing
    assert await operator.fetchval(recorded, f"part-{user}") == 1


async def waits_for_a_lock(operator: asyncpg.Connection) -> int:
    """The backend of the hub in this database that waits for one."""
    statement = """
        select pid from pg_stat_activity
        where application_name = 'notification-hub' and datname = current_database()
          and wait_event_type = 'Lock'
    """

    async def pid() -> int | None:
        # In a transaction the first look would be kept, also one from before the lock was asked for.
        await operator.execute("select pg_stat_clear_snapshot()")
        found: int | None = await operator.fetchval(statement)
        return found

    return await eventually(pid, "a backend of the hub waits for a lock")


@pytest.mark.parametrize("array", [[1, 2], [[1], [2]]], ids=["list", "nested"])
async def test_a_list_is_an_array(operator: asyncpg.Connection, array: object) -> None:
    assert await operator.fetchval("select cardinality($1::int[])", array) == 2


@pytest.mark.parametrize("other", [(1,), {1: 1}.keys(), "{1}", b"1"], ids=["tuple", "view", "text", "bytes"])
async def test_nothing_else_is_an_array(operator: asyncpg.Connection, other: object) -> None:
    """The tuple, which asyncpg takes by itself, tells that it no longer asks abstract classes."""
    with pytest.raises(asyncpg.DataError, match="a sized iterable container expected"):
        await operator.fetchval("select cardinality($1::int[])", other)


async def test_a_batch_whose_backend_dies_midway_is_unavailable_and_can_be_written_again(
    database: str, writer: BatchWriter, operator: asyncpg.Connection
) -> None:
    user = uuid4()
    batch = [entry(user), entry(user)]
    async with operator.transaction():
        await operator.execute("insert into inboxes values ($1, 0)", user)
        writing = asyncio.create_task(writer.write(batch))
        await operator.execute("select pg_terminate_backend($1)", await waits_for_a_lock(operator))
        with pytest.raises(Unavailable, match="postgres"):
            await writing
    assert await stored_seqs(operator, user) == []
    assert seqs(await writer.write(batch), user) == [1, 2]


async def test_dead_idle_connections_are_replaced_unnoticed(
    database: str, operator: asyncpg.Connection
) -> None:
    engine = engine_on(database, database_pool_size=3)
    writer, user = BatchWriter(engine), uuid4()
    await asyncio.gather(*(writer.write([entry(user)]) for _ in range(3)))
    terminated = await operator.fetch(
        """
        select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where application_name = 'notification-hub' and datname = current_database()
        """
    )
    assert terminated
    for _ in range(3):
        await writer.write([entry(user)])
    assert await stored_seqs(operator, user) == [1, 2, 3, 4, 5, 6]
    await engine.dispose()


async def test_a_postgres_that_does_not_answer_is_waited_for_only_so_long(
    database: str, operator: asyncpg.Connection
) -> None:
    engine = engine_on(database, database_timeout=0.3, database_pool_size=2)
    writer, user = BatchWriter(engine), uuid4()
    async with operator.transaction():
        await operator.execute("insert into inboxes values ($1, 0)", user)
        start = time.monotonic()
        for _ in range(3):  # more often than the pool has connections
            with pytest.raises(Unavailable):
                await writer.write([entry(user)])
        assert time.monotonic() - start < 3 * 0.3 + 3
    # One of them may be committed as the lock is gone: Postgres gives up by its own clock.
    [last] = seqs(await writer.write([entry(user)]), user)
    assert await stored_seqs(operator, user) == [*range(1, last + 1)]
    await engine.dispose()


async def filled(writer: BatchWriter, user: UUID, count: int) -> list[int]:
    """The ids of so many notifications of the user, in rising `seq`."""
    written = await writer.write([entry(user) for _ in range(count)])
    return [n.id for n in written.notifications]


async def test_what_is_not_theirs_takes_the_same_statements_as_what_is_not_there(
    engine: AsyncEngine, writer: BatchWriter, store: NotificationStore
) -> None:
    """So nobody learns by the time whether an id is somebody's."""
    user, stranger = uuid4(), uuid4()
    await filled(writer, stranger, 1)
    (one,) = await filled(writer, user, 1)
    executed: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        executed.append(statement)

    listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        for act in (store.mark_read, store.delete):
            told = []
            for wanted in (one, one + 10**9):
                executed.clear()
                assert await act(wanted, stranger) is None
                told.append(executed.copy())
            assert told[0] == told[1]
            assert len(told[0]) > 0
    finally:
        remove(engine.sync_engine, "before_cursor_execute", note)
