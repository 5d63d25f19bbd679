"""The store, on a real Postgres: every row once, `seq` without a gap, and errors that say whose fault."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.event import listen, remove
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.errors import StoreRejected, Unavailable
from app.domain.notifications import InboxCounters, Notification, NotificationDraft, notification_id
from app.settings import Settings
from app.store.engine import make_engine
from app.store.inboxes import InboxStore
from app.store.notifications import NotificationStore
from app.store.writer import BatchWriter, EventRecord, WriteResult
from tests.support.hub import eventually, free_port

TIMEOUT = 5.0


def engine_on(database: str, **changes: Any) -> AsyncEngine:
    values = {
        "_env_file": None,
        "database_url": database,
        "database_timeout": TIMEOUT,
        "redis_url": "redis://redis",
        "user_service_url": "http://users",
        "kafka_bootstrap_servers": "kafka:9092",
        "jwt_algorithm": "HS256",
        "jwt_secret": "a secret for tests, long enough to be accepted",
    }
    return make_engine(Settings(**{**values, **changes}))


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


def draft(receivers: Sequence[UUID], **changes: Any) -> NotificationDraft:
    values: dict[str, Any] = {
        "group_id": UUID("123e4567-e89b-12d3-a456-426614174000"),
        "group_name": "Nhà mình",
        "receivers": receivers,
        "template_code": "GROUP_USER_LEFT",
        "raw_data": '{"a":[1,"Phở",null]}',
        "title": "title",
        "content": "content",
    }
    return NotificationDraft(**values | changes)


def entry(*receivers: UUID, event_id: str | None = None, **changes: Any) -> EventRecord:
    return EventRecord(event_id or str(uuid4()), [draft(receivers, **changes)])


async def stored_seqs(operator: asyncpg.Connection, user: UUID) -> list[int]:
    rows = await operator.fetch("select seq from notifications where receiver = $1 order by seq", user)
    return [row["seq"] for row in rows]


def seqs(written: WriteResult, user: UUID) -> list[int]:
    return [n.seq for n in written.notifications if n.receiver == user]


# The batch writer


async def test_seq_counts_from_1_in_the_order_of_the_entries(
    writer: BatchWriter, store: NotificationStore
) -> None:
    a, b = uuid4(), uuid4()
    first = await writer.write([entry(a, title="0"), entry(b, a, title="1"), entry(a, title="2")])
    second = await writer.write([entry(a, title="3"), entry(b, title="4")])
    assert seqs(first, a) == [1, 2, 3]
    assert seqs(first, b) == [1]
    assert (seqs(second, a), seqs(second, b)) == ([4], [2])
    assert [(n.seq, n.title) for n in await store.page(a, 10)] == [(4, "3"), (3, "2"), (2, "1"), (1, "0")]


async def test_a_notification_is_made_when_the_given_clock_says(
    engine: AsyncEngine, store: NotificationStore
) -> None:
    user, moment = uuid4(), datetime(2026, 11, 21, 12, tzinfo=UTC)
    written = await BatchWriter(engine, moment.timestamp).write([entry(user)])
    assert [n.created_at for n in (*written.notifications, *await store.page(user, 1))] == [moment] * 2


async def test_what_is_returned_is_what_is_stored(writer: BatchWriter, store: NotificationStore) -> None:
    user = uuid4()
    event = entry(user)
    written = await writer.write([event])
    (stored,) = await store.page(user, 10)
    (returned,) = written.notifications
    assert json.loads(bytes(stored.raw_data)) == json.loads(bytes(returned.raw_data))
    for name in Notification.__struct_fields__:
        if name != "raw_data":
            assert getattr(stored, name) == getattr(returned, name)
    assert stored.id == notification_id(event.event_id, user)
    assert not stored.is_read
    assert datetime.now(UTC) - stored.created_at < timedelta(minutes=1)


async def test_the_same_batch_twice_gives_no_second_row(
    writer: BatchWriter, operator: asyncpg.Connection
) -> None:
    a, b = uuid4(), uuid4()
    batch = [entry(a, b), entry(a), EventRecord(str(uuid4()))]
    assert (await writer.write(batch)).new == {event.event_id for event in batch}
    assert await writer.write(batch) == WriteResult(set(), [])
    assert await stored_seqs(operator, a) == [1, 2]
    assert (await writer.write([entry(a)])).notifications[0].seq == 3


async def test_of_a_batch_that_came_in_part_before_only_the_rest_is_written(
    writer: BatchWriter, operator: asyncpg.Connection
) -> None:
    user = uuid4()
    events = [entry(user) for _ in range(5)]
    await writer.write(events[1:4:2])
    written = await writer.write(events)
    assert written.new == {events[0].event_id, events[2].event_id, events[4].event_id}
    assert seqs(written, user) == [3, 4, 5]
    assert await stored_seqs(operator, user) == [1, 2, 3, 4, 5]


async def test_an_event_that_tells_nobody_is_recorded(writer: BatchWriter) -> None:
    event = EventRecord(str(uuid4()))
    assert await writer.write([event]) == WriteResult({event.event_id}, [])
    assert await writer.write([event]) == WriteResult(set(), [])


async def test_an_empty_batch_is_harmless(writer: BatchWriter) -> None:
    assert await writer.write([]) == WriteResult(set(), [])


async def test_ten_thousand_receivers_fit_in_one_event(
    writer: BatchWriter, operator: asyncpg.Connection
) -> None:
    event = entry(*(uuid4() for _ in range(10_000)))
    assert {n.seq for n in (await writer.write([event])).notifications} == {1}
    ids = [notification_id(event.event_id, user) for each in event.drafts for user in each.receivers]
    assert await operator.fetchval("select count(*) from notifications where id = any($1)", ids) == 10_000


@pytest.mark.parametrize("seed", range(4))
async def test_writers_at_once_neither_deadlock_nor_leave_a_gap(
    database: str, operator: asyncpg.Connection, seed: int
) -> None:
    """Four nodes write overlapping receivers in any order, some of the events twice."""
    chance = random.Random(seed)
    users = [uuid4() for _ in range(8)]
    events = [entry(*chance.sample(users, chance.randint(1, 8))) for _ in range(120)]
    nodes = [engine_on(database, database_pool_size=2) for _ in range(4)]
    got: defaultdict[UUID, list[int]] = defaultdict(list)

    async def work(node: AsyncEngine, mine: list[EventRecord]) -> None:
        writer = BatchWriter(node)
        while mine:
            size = chance.randint(1, 12)
            batch, mine = mine[:size], mine[size:]
            for n in (await writer.write(batch)).notifications:
                got[n.receiver].append(n.seq)

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(node, chance.sample(events, 60)) for node in nodes))
        await work(nodes[0], events)
    for node in nodes:
        await node.dispose()
    told = Counter(user for event in events for each in event.drafts for user in each.receivers)
    for user in users:
        everything = list(range(1, told[user] + 1))
        assert await stored_seqs(operator, user) == sorted(got[user]) == everything


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


# What goes wrong


REFUSED: list[dict[str, Any]] = [
    {"title": "a\0b"},
    {"content": "\0"},
    {"group_name": "\0"},
    {"raw_data": "{"},
    {"raw_data": ""},
    {"raw_data": '{"a": "\\u0000"}'},
    {"raw_data": '{"a": 1e999999}'},
    {"raw_data": '{"a": "\\ud800"}'},
    {"event_id": "a\0b"},
    {"event_id": "".join(chr(0x4E00 + n) for n in range(20_000))},
]


@pytest.mark.parametrize("wrong", REFUSED, ids=lambda wrong: repr(wrong)[:40])
async def test_what_postgres_can_not_take_is_rejected_and_the_pool_lives_on(
    database: str, operator: asyncpg.Connection, wrong: dict[str, Any]
) -> None:
    engine = engine_on(database, database_pool_size=2)
    writer, user = BatchWriter(engine), uuid4()
    good = entry(user)
    for _ in range(5):  # more often than the pool has connections
        with pytest.raises(StoreRejected) as rejected:
            await writer.write([good, entry(user, **wrong)])
    assert "insert into" not in str(rejected.value)
    assert await stored_seqs(operator, user) == []
    assert seqs(await writer.write([good]), user) == [1]
    await engine.dispose()


async def test_the_words_of_a_rejection_hold_nobodys_data(writer: BatchWriter) -> None:
    with pytest.raises(StoreRejected) as rejected:
        await writer.write([entry(uuid4(), content="my secret", title="\0")])
    assert "my secret" not in str(rejected.value)


async def waits_for_a_lock(operator: asyncpg.Connection) -> int:
    """The backend of the hub in this database that waits for one."""
    statement = """
        select pid from pg_stat_activity
        where application_name = 'notification-hub' and datname = current_database()
          and wait_event_type = 'Lock'
    """

    async def pid() -> int | None:
        found: int | None = await operator.fetchval(statement)
        return found

    return await eventually(pid, "a backend of the hub waits for a lock")


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


async def test_idle_connections_that_died_are_made_anew_unnoticed(
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
    assert seqs(await writer.write([entry(user)]), user) == [1]
    await engine.dispose()


async def test_a_postgres_that_is_not_there_is_unavailable() -> None:
    engine = engine_on(f"postgresql://hunter2:hunter2@127.0.0.1:{free_port()}/hub")
    for asking in (
        BatchWriter(engine).write([entry(uuid4())]),
        NotificationStore(engine).page(uuid4(), 1),
        NotificationStore(engine).mark_read(uuid4(), uuid4()),
        NotificationStore(engine).delete(uuid4(), uuid4()),
        NotificationStore(engine).find([uuid4()], datetime.now(UTC)),
    ):
        with pytest.raises(Unavailable) as unavailable:
            await asking
        assert "hunter2" not in str(unavailable.value)
    await engine.dispose()


# Single inboxes


async def filled(writer: BatchWriter, user: UUID, count: int) -> list[UUID]:
    """The ids of so many notifications of the user, in rising `seq`."""
    written = await writer.write([entry(user) for _ in range(count)])
    return [n.id for n in written.notifications]


async def test_a_page_is_the_newest_first_and_leads_on_by_seq(
    writer: BatchWriter, store: NotificationStore
) -> None:
    user = uuid4()
    await filled(writer, user, 5)
    await filled(writer, uuid4(), 5)
    assert [n.seq for n in await store.page(user, 2)] == [5, 4]
    assert [n.seq for n in await store.page(user, 2, before=4)] == [3, 2]
    assert [n.seq for n in await store.page(user, 100, before=2)] == [1]
    assert await store.page(user, 100, before=1) == []
    assert len(await store.page(user, 100, before=2**63 - 1)) == 5
    assert await store.page(uuid4(), 100) == []


async def test_a_page_of_unread_leaves_the_read_out(writer: BatchWriter, store: NotificationStore) -> None:
    user = uuid4()
    ids = await filled(writer, user, 4)
    await store.mark_read(ids[1], user)
    assert [n.seq for n in await store.page(user, 2, unread=True)] == [4, 3]
    assert [n.seq for n in await store.page(user, 2, before=3, unread=True)] == [1]
    assert [n.is_read for n in await store.page(user, 4)] == [False, False, True, False]


async def test_marking_read_answers_with_the_notification_as_often_as_asked(
    writer: BatchWriter, store: NotificationStore
) -> None:
    user = uuid4()
    one, _ = await filled(writer, user, 2)
    for _ in range(2):
        changed = await store.mark_read(one, user)
        assert changed is not None
        read, count = changed
        assert (read.id, read.is_read, count.unread) == (one, True, 1)
    assert [n.is_read for n in await store.page(user, 2)] == [False, True]


async def test_nobody_reads_or_deletes_what_is_not_theirs(
    writer: BatchWriter, store: NotificationStore
) -> None:
    user, stranger = uuid4(), uuid4()
    (one,) = await filled(writer, user, 1)
    assert await store.mark_read(one, stranger) is None
    assert await store.delete(one, stranger) is None
    assert await store.mark_read(uuid4(), user) is None
    assert await store.delete(uuid4(), user) is None
    (untouched,) = await store.page(user, 10)
    assert not untouched.is_read


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
            for wanted in (one, uuid4()):
                executed.clear()
                assert await act(wanted, stranger) is None
                told.append(executed.copy())
            assert told[0] == told[1]
            assert len(told[0]) > 0
    finally:
        remove(engine.sync_engine, "before_cursor_execute", note)


async def test_what_is_deleted_is_gone_and_its_seq_is_not_given_again(
    writer: BatchWriter, store: NotificationStore
) -> None:
    user = uuid4()
    ids = await filled(writer, user, 3)
    assert await store.delete(ids[2], user) == InboxCounters(unread=2, last_seq=3, rev=1)
    assert await store.delete(ids[2], user) is None
    assert [n.seq for n in await store.page(user, 10)] == [2, 1]
    await filled(writer, user, 1)
    assert [n.seq for n in await store.page(user, 10)] == [4, 2, 1]


async def test_a_deleted_notification_does_not_come_back_with_its_event(
    writer: BatchWriter, store: NotificationStore
) -> None:
    user = uuid4()
    event = entry(user)
    (written,) = (await writer.write([event])).notifications
    await store.delete(written.id, user)
    assert (await writer.write([event])).notifications == []
    assert await store.page(user, 10) == []


async def test_find_gives_the_young_ones_that_are_still_there_in_rising_seq(
    writer: BatchWriter, store: NotificationStore, operator: asyncpg.Connection
) -> None:
    user = uuid4()
    ids = await filled(writer, user, 5)
    await store.delete(ids[1], user)
    await operator.execute(
        "update notifications set created_at = now() - interval '2 hours' where id = $1", ids[2]
    )
    since = datetime.now(UTC) - timedelta(hours=1)
    found = await store.find([*reversed(ids[:4]), uuid4()], since)
    assert [n.id for n in found] == [ids[0], ids[3]]
    assert await store.find([], since) == []


async def test_marking_all_read_stops_at_the_seq_that_is_named(
    writer: BatchWriter, store: NotificationStore
) -> None:
    user, other = uuid4(), uuid4()
    await filled(writer, user, 5)
    await filled(writer, other, 1)
    assert await store.mark_all_read(user, 3) == (3, InboxCounters(unread=2, last_seq=5, rev=1))
    assert [n.seq for n in await store.page(user, 10, unread=True)] == [5, 4]
    assert await store.mark_all_read(user, None) == (5, InboxCounters(unread=0, last_seq=5, rev=2))
    assert await store.unread(user) == 0
    assert await store.unread(other) == 1


async def test_marking_all_read_says_nothing_of_those_that_are_still_to_come(
    writer: BatchWriter, store: NotificationStore
) -> None:
    user = uuid4()
    assert await store.mark_all_read(user, 9) == (0, InboxCounters(unread=0, last_seq=0, rev=0))
    await filled(writer, user, 2)
    assert await store.mark_all_read(user, 9) == (2, InboxCounters(unread=0, last_seq=2, rev=1))
    await filled(writer, user, 1)
    assert await store.unread(user) == 1


async def test_what_changes_nothing_has_no_revision(writer: BatchWriter, store: NotificationStore) -> None:
    user = uuid4()
    (one,) = await filled(writer, user, 1)
    assert await store.mark_read(uuid4(), user) is None
    assert await store.delete(uuid4(), user) is None
    assert await store.delete(one, user) == InboxCounters(unread=0, last_seq=1, rev=1)


@pytest.mark.parametrize("seed", range(5))
async def test_each_count_of_many_changes_at_once_is_that_of_its_revision(
    writer: BatchWriter, store: NotificationStore, engine: AsyncEngine, seed: int
) -> None:
    """What there was up to `last_seq`, less what the changes up to `rev` read and deleted: nothing else."""
    user, chance = uuid4(), random.Random(seed)
    ids = await filled(writer, user, 10)
    seq_of = {identity: seq for seq, identity in enumerate(ids, 1)}
    history: dict[int, tuple[set[int], InboxCounters]] = {}

    async def publish() -> None:
        for notification in (
            await writer.write([entry(user) for _ in range(chance.randint(1, 3))])
        ).notifications:
            seq_of[notification.id] = notification.seq
            ids.append(notification.id)

    async def change() -> None:
        one = chance.choice(ids)
        kind = chance.choice(("read", "read", "delete", "delete", "all"))
        if kind == "all":
            up_to, count = await store.mark_all_read(user, chance.randint(1, 12))
            history[count.rev] = set(range(1, up_to + 1)), count
        elif kind == "read" and (changed := await store.mark_read(one, user)):
            history[changed[1].rev] = {seq_of[one]}, changed[1]
        elif kind == "delete" and (gone := await store.delete(one, user)):
            history[gone.rev] = {seq_of[one]}, gone

    await asyncio.gather(*(chance.choice((publish, change, change))() for _ in range(60)))
    assert sorted(history) == list(range(1, len(history) + 1))
    done: set[int] = set()
    for rev in sorted(history):
        changed, count = history[rev]
        done |= changed
        assert count.unread == len(set(range(1, count.last_seq + 1)) - done), f"revision {rev}"
    [state] = await InboxStore(engine).states([(user, None)], 1)
    assert state.counted == InboxCounters(await store.unread(user), max(seq_of.values()), len(history))


async def test_the_states_of_many_inboxes_come_in_the_order_they_were_asked_for(
    writer: BatchWriter, store: NotificationStore, engine: AsyncEngine
) -> None:
    full, holed, empty = uuid4(), uuid4(), uuid4()
    await filled(writer, full, 6)
    ids = await filled(writer, holed, 4)
    await store.delete(ids[2], holed)
    wanted = [(empty, 0), (full, 1), (holed, 0), (full, None), (full, 6), (full, 99)]
    states = await InboxStore(engine).states(wanted, 3)
    found = [(s.last_seq, s.counted.unread, s.until, [n.seq for n in s.missed]) for s in states]
    assert found == [
        (0, 0, 0, []),
        (6, 6, 4, [2, 3, 4]),
        (4, 3, 3, [1, 2]),
        (6, 6, 6, []),
        (6, 6, 6, []),
        (6, 6, 6, []),
    ]
