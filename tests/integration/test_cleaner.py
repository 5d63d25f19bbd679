"""The cleaner on a real Postgres: what is old goes, what isn't stays, and one node at a time works at it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from app.store import cleaner as module
from app.store.cleaner import Cleaner
from app.store.cleaning import ADVISORY_LOCK_KEY, CleaningStore, Kind
from app.store.inboxes import InboxStore
from app.store.notifications import NotificationStore
from app.store.writer import BatchWriter
from tests.support.hub import eventually
from tests.support.store import engine_on, entry

KEPT = timedelta(days=30)
TABLES = tuple(kind.value[0] for kind in Kind)


@pytest_asyncio.fixture(scope="module")
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    pool = engine_on(database)
    yield pool
    await pool.dispose()


@pytest.fixture
def store(engine: AsyncEngine) -> CleaningStore:
    return CleaningStore(engine)


@pytest_asyncio.fixture
async def operator(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the hub's, on empty tables."""
    connection = await asyncpg.connect(database)
    await connection.execute(f"truncate {', '.join(TABLES)}, inboxes cascade")
    yield connection
    await connection.close()


async def make_event_ids(operator: asyncpg.Connection, count: int, age: timedelta) -> None:
    statement = """
    insert into processed_events select gen_random_uuid(), now() - $2::interval from generate_series(1, $1)
    """
    await operator.execute(statement, count, age)


async def rows(operator: asyncpg.Connection, table: str, column: str) -> list[str]:
    return [row[0] for row in await operator.fetch(f"select {column} from {table} order by 1")]


async def statistic(operator: asyncpg.Connection, table: str, name: str) -> int:
    found: int = await operator.fetchval(f"select {name} from pg_stat_user_tables where relname = $1", table)
    return found


async def test_what_is_old_is_removed_and_nothing_else(
    store: CleaningStore, operator: asyncpg.Connection
) -> None:
    await operator.execute("""
        insert into processed_events values
          ('new', now()), ('29 days', now() - interval '29 days'), ('31 days', now() - interval '31 days');
        insert into scheduled_events (event_id, body, send_at, status, created_at)
        select status || days, '', now() - make_interval(days => days), status, now() - interval '90 days'
        from unnest(array['scheduled', 'sent', 'failed', 'cancelled']) status, unnest(array[29, 31]) days;
        insert into idempotency_keys (service, key, fingerprint, handled_until, created_at)
        select 'a service', hours || ' hours', '', now(), now() - make_interval(hours => hours)
        from unnest(array[23, 25]) hours;
    """)
    cleaner = Cleaner(store, KEPT, None)
    await cleaner.clean()
    assert await rows(operator, "idempotency_keys", "key") == ["23 hours"]
    assert await rows(operator, "processed_events", "event_id") == ["29 days", "new"]
    left = ["cancelled29", "failed29", "scheduled29", "scheduled31", "sent29"]
    assert await rows(operator, "scheduled_events", "event_id") == left


async def test_much_is_removed_in_many_transactions_each_small(
    engine: AsyncEngine, operator: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS_PER_TRANSACTION", 100)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    await make_event_ids(operator, 1050, timedelta(days=31))
    await make_event_ids(operator, 1, timedelta(days=1))
    removed: list[int | None] = []

    class Watched(CleaningStore):
        async def remove(self, kind: Kind, older_than: timedelta, most: int) -> int | None:
            removed.append(await super().remove(kind, older_than, most))
            return removed[-1]

    cleaner = Cleaner(Watched(engine), KEPT, None)
    await cleaner.clean()
    assert len(await rows(operator, "processed_events", "event_id")) == 1
    assert removed[:11] == [100] * 10 + [50]


async def test_what_is_past_its_retention_goes_and_the_inbox_goes_on_counting(
    engine: AsyncEngine, store: CleaningStore, operator: asyncpg.Connection
) -> None:
    user, writer = uuid4(), BatchWriter(engine)
    await writer.write([entry(user) for _ in range(5)])
    await operator.execute("update notifications set created_at = now() - interval '91 days' where seq <= 3")
    await operator.execute("update notifications set is_read = true where seq in (1, 4)")
    cleaner = Cleaner(store, KEPT, timedelta(days=90))
    await cleaner.clean()
    assert await rows(operator, "notifications", "seq::text") == ["4", "5"]
    assert (await NotificationStore(engine).counters(user)).unread == 1
    [state] = await InboxStore(engine).states([(user, 1)], 500)
    assert (state.last_seq, state.counted.unread, state.until) == (5, 1, 5)
    assert [missed.seq for missed in state.missed] == [4, 5]
    await operator.execute("delete from notifications")
    written = await writer.write([entry(user)])
    assert [notification.seq for notification in written.notifications] == [6]


async def test_deliveries_go_with_their_attempts_but_never_one_that_is_to_be_tried_again(
    store: CleaningStore, operator: asyncpg.Connection
) -> None:
    await operator.execute("""
        insert into deliveries (id, event_id, channel, template, locale, data, event_at, created_at,
          next_attempt_at, finished_at)
        select gen_random_uuid(), what || days, 'email', '', '', '{}', now(),
          now() - make_interval(days => days), case what when 'waits' then now() end,
          case what when 'done' then now() end
        from unnest(array['done', 'waits']) what, unnest(array[89, 91]) days;
        insert into delivery_attempts select id, 1, now(), 0.1, 'failed' from deliveries;
    """)
    assert await store.remove(Kind.DELIVERIES, timedelta(days=90), 10) == 1
    assert await rows(operator, "deliveries", "event_id") == ["done89", "waits89", "waits91"]
    assert await operator.fetchval("select count(*) from delivery_attempts") == 3


async def test_a_row_that_someone_is_changing_is_waited_for_by_nobody(
    engine: AsyncEngine, store: CleaningStore, operator: asyncpg.Connection
) -> None:
    """A user marks all as read while those rows go: if both waited, it could be for each other."""
    await BatchWriter(engine).write([entry(uuid4()) for _ in range(3)])
    async with operator.transaction():
        await operator.execute(
            "update notifications set is_read = true where id = (select id from notifications limit 1)"
        )
        assert await store.remove(Kind.NOTIFICATIONS, timedelta(0), 10) == 2
    assert await store.remove(Kind.NOTIFICATIONS, timedelta(0), 10) == 1


async def test_an_event_that_comes_again_after_its_id_was_forgotten_is_a_new_one(
    engine: AsyncEngine, store: CleaningStore, operator: asyncpg.Connection
) -> None:
    writer, event = BatchWriter(engine), entry(uuid4())
    await writer.write([event])
    assert await store.remove(Kind.EVENT_IDS, timedelta(0), 10) == 1
    again = await writer.write([event])
    assert again.new == {event.event_id}
    assert await rows(operator, "processed_events", "event_id") == [event.event_id]


async def test_while_another_node_is_at_it_nothing_is_done(
    store: CleaningStore, operator: asyncpg.Connection
) -> None:
    await make_event_ids(operator, 5, timedelta(days=31))
    await operator.execute(f"select pg_advisory_lock({ADVISORY_LOCK_KEY})")
    assert await store.remove(Kind.EVENT_IDS, KEPT, 10) is None
    await operator.execute(f"select pg_advisory_unlock({ADVISORY_LOCK_KEY})")
    assert await store.remove(Kind.EVENT_IDS, KEPT, 2) == 2
    assert await store.remove(Kind.EVENT_IDS, KEPT, 10) == 3
    assert await store.remove(Kind.EVENT_IDS, KEPT, 10) == 0


@pytest.mark.parametrize("kind", Kind)
async def test_no_table_is_read_whole_not_even_by_a_plan_made_while_it_was_empty(
    database: str, operator: asyncpg.Connection, kind: Kind
) -> None:
    table = kind.value[0]
    removed_before = await statistic(operator, table, "n_tup_del")
    read_before = await statistic(operator, table, "seq_tup_read")
    engine = engine_on(database)
    store = CleaningStore(engine)
    for _ in range(10):  # from the sixth on one plan serves all
        assert await store.remove(kind, KEPT, 5000) == 0
    columns, values = {
        Kind.EVENT_IDS: ("event_id", "number"),
        Kind.SCHEDULED: ("event_id, body, send_at, status", "number, '', now(), 'sent'"),
        Kind.PARKED: (
            "position, event_id, dedup_key, source, lane, body, deadline, finished_at",
            "number, '', '', '', gen_random_uuid(), '', now(), now()",
        ),
        Kind.DECISIONS: ("event_id, channel, reason", "number, 'email', ''"),
        Kind.WEBHOOKS: (
            "endpoint_id, kind, data, finished_at",
            "(select id from webhook_endpoints limit 1), '', '{}', now()",
        ),
        Kind.ADDRESSES: (
            "id, user_id, channel, address, expires_at",
            "gen_random_uuid(), gen_random_uuid(), '', '', now()",
        ),
        Kind.REQUESTS: ("service, key, fingerprint, handled_until", "'', number, '', now()"),
        Kind.NOTIFICATIONS: (
            "receiver, created_at, template_code, raw_data, title, content, seq",
            "gen_random_uuid(), now(), '', '{}', '', '', 1",
        ),
        Kind.ARCHIVED: (
            "id, receiver, created_at, template_code, raw_data, is_read, title, content, seq",
            "number, gen_random_uuid(), now(), '', '{}', true, '', '', 1",
        ),
        Kind.DELIVERIES: (
            "id, event_id, channel, template, locale, data, event_at, finished_at",
            "gen_random_uuid(), number, 'email', '', '', '{}', now(), now()",
        ),
        Kind.BROADCASTS: (
            "event_id, event_type, source, audience, body, finished_at",
            "number, '', '', '{}', '', now()",
        ),
    }[kind]
    if kind is Kind.WEBHOOKS:
        await operator.execute(
            "insert into webhook_endpoints (id, url, kinds, secret) values (gen_random_uuid(), '', '{}', '')"
        )
    many = "generate_series(1, 20000) number"
    await operator.execute(f"insert into {table} ({columns}) select {values} from {many}")
    assert await store.remove(kind, timedelta(0), 5000) == 5000
    assert await store.remove(kind, KEPT, 5000) == 0
    await engine.dispose()  # a connection tells what it did when it ends, at the latest

    async def told() -> bool:
        return await statistic(operator, table, "n_tup_del") == removed_before + 5000

    await eventually(told, "Postgres counted what was removed")
    assert await statistic(operator, table, "seq_tup_read") == read_before
