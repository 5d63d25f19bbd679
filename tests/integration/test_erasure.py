"""Erasing on a real Postgres and Redis: whose a row is, and what happens to those who write meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.deliveries import DeliveryDraft, Status
from app.domain.details import Actor, Details
from app.domain.erasure import NO_INBOX, Found, Subject
from app.erasure import connections as module
from app.erasure.connections import Connections
from app.realtime.presence import NodeId, Presence
from app.runtime.redis import connect
from app.runtime.tasks import end
from app.store import erasure
from app.store.deliveries import AttemptResult, DeliveryResult, DeliveryStore
from app.store.erasure import ErasingStore, likely, named_in
from app.store.notifications import NotificationStore
from app.store.records import DeliveryRecord, EventRecord
from app.store.writer import BatchWriter
from tests.support.settings import settings_on
from tests.support.store import engine_on, entry, stored_seqs

USER = UUID("456e7890-e89b-12d3-a456-426614174001")
SUBJECT = Subject(USER, [" Mai@Example.com ", "+84912345678", ""])


@pytest_asyncio.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    pool = engine_on(database)
    yield pool
    await pool.dispose()


@pytest.fixture
def store(engine: AsyncEngine) -> ErasingStore:
    return ErasingStore(engine)


@pytest_asyncio.fixture
async def operator(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


NAMED = {
    "456e7890-e89b-12d3-a456-426614174001": True,
    "456E7890E89B12D3A456426614174001": True,
    "welcome-456e7890-e89b-12d3-a456-426614174001-2": True,
    '{"to":"MAI@example.com"}': True,
    "write to mai@example.com.": True,
    "booked:mai@example.com": True,
    "call +84912345678!": True,
    r'{"text":"Hello\nmai@example.com"}': True,
    r'{"text":"\f456e7890-e89b-12d3-a456-426614174001"}': True,
    r'{"text":"Hello\\anna-mai@example.com"}': False,
    "0456e7890-e89b-12d3-a456-426614174001": False,
    "456e7890-e89b-12d3-a456-4266141740012": False,
    "anna-mai@example.com": False,
    "mai@example.com.vn": False,
    "mai@example.community": False,
    "mai@exampleXcom": False,
    "+849123456789": False,
    "84912345678": False,
    "": False,
}


async def is_named(operator: asyncpg.Connection, text: str, subject: Subject) -> bool:
    """As Postgres says it, with the expression that the tables are read with."""
    expression = named_in("$1::text").replace(":likely", "$2").replace(":named", "$3")
    found: bool = await operator.fetchval(f"select {expression}", text, likely(subject), subject.pattern)
    return found


@pytest.mark.parametrize("text", NAMED)
async def test_postgres_and_python_agree_on_who_is_named(operator: asyncpg.Connection, text: str) -> None:
    assert SUBJECT.addresses == ["+84912345678", "mai@example.com"]
    assert SUBJECT.named_in(b"nobody", text.encode()) is NAMED[text]
    assert await is_named(operator, text, SUBJECT) is NAMED[text]


@pytest.mark.parametrize(
    "message",
    [
        '{"to": "mai@example.com"}'.encode("utf-16"),
        '{"to": "mai@example.com"}'.encode("utf-32-be"),
        rb'{"to": "mai\u0040example.com"}',
        rb'{"to": "\u006D\u0061i@example.com"}',
        r'{"to": "mai\u0040example.com"}'.encode("utf-16-le"),
        b"\0mai@example.com",
        b"a\0mai@example.com",
        b"\xffmai@example.com",
        rb'{"users": ["\u0034' + b'56e7890-e89b-12d3-a456-426614174001"]}',
    ],
)
def test_who_is_named_in_a_message_is_found_however_it_is_written(message: bytes) -> None:
    assert SUBJECT.named_in(b"nobody", message)


def mail(user: UUID | None, address: str, **data: str) -> EventRecord:
    draft = DeliveryDraft("email", "plain", address, "en", data, user_id=user)
    return EventRecord(str(uuid4()), deliveries=[DeliveryRecord(draft)])


def number(found: list[Found], where: str) -> int:
    return next(each.number for each in found if each.where == where)


async def test_what_names_them_and_is_of_others_stays_and_is_counted(
    engine: AsyncEngine, store: ErasingStore, operator: asyncpg.Connection
) -> None:
    user, other = uuid4(), uuid4()
    shared = f"{user.hex}@example.com"
    await operator.execute(
        "insert into preferences (user_id, email) values ($1, $3), ($2, $3)", user, other, shared
    )
    await BatchWriter(engine).write(
        [
            mail(user, "second@example.com"),
            mail(None, shared.upper()),
            mail(other, shared),
            mail(None, "bank@example.com", message=f"{shared} has paid"),
            entry(user),
            entry(other, title=f"{user} says hello"),
            entry(other, details=Details(actor=Actor("A", f"/avatars/{user}.png"))),
            entry(other, details=Details(thread_key=f"user-{user}")),
        ]
    )
    addresses = await store.addresses(Subject(user))
    assert sorted(addresses) == sorted([shared, "second@example.com"])
    subject = Subject(user, addresses)
    await store.erase(subject)
    left = [found for found in await store.look(subject) if found.number]
    assert left == [
        Found("notifications of others", 3, "it is those people's data"),
        Found("deliveries of others", 2, "it is those people's data"),
        Found("preferences of others", 1, "it is those people's data"),
    ]
    assert await stored_seqs(operator, other) == [1, 2, 3]


async def test_large_tables_are_read_and_inboxes_removed_piece_by_piece(
    engine: AsyncEngine, operator: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "PIECE_BLOCKS_COUNT", 1)
    monkeypatch.setattr(erasure, "MAX_ROWS_PER_CHUNK", 10)
    user, other, writer = uuid4(), uuid4(), BatchWriter(engine)
    for _ in range(10):
        named = [entry(other, event_id=f"{user}-{uuid4()}", title=f"{user} says hello") for _ in range(3)]
        await writer.write([*named, *(entry(user, other) for _ in range(5))])
        await writer.write([mail(user, f"{user.hex}@example.com") for _ in range(3)])
    read: list[tuple[str, float]] = []
    store = ErasingStore(engine, lambda *progress: read.append(progress))
    found = [*await store.look(Subject(user))]
    expected = {"processed_events": 30, "deliveries": 30, "inboxes": 1, "notifications": 50}
    assert {where: number(found, where) for where in expected} == expected
    assert number(found, "notifications of others") == 30
    assert len([share for table, share in read if table == "notifications"]) > 1
    removed = [*await store.erase(Subject(user))]
    assert {where: number(removed, where) for where in expected} == expected
    left = [each for each in await store.look(Subject(user)) if each.number]
    assert [each.where for each in left] == ["notifications of others"]
    assert len(await stored_seqs(operator, other)) == 80


@pytest.mark.parametrize(
    "rows",
    [rows for group in erasure._THEIRS if group.read is None for rows in group.rows],
    ids=lambda rows: rows.table,
)
async def test_their_own_rows_are_found_by_an_index(engine: AsyncEngine, rows: erasure._Rows) -> None:
    async with engine.connect() as connection:
        plan = await connection.execute(
            text(f"explain (costs off) {rows.statement('select count(*)')}"), rows.values(SUBJECT)
        )
        lines = [line.strip() for line in plan.scalars()]
    scans = [line for line in lines if " Scan" in line and "Function Scan" not in line]
    assert scans
    assert not [line for line in scans if "Seq Scan" in line]
    assert "Index Cond:" in "\n".join(lines)


async def test_tables_whose_rows_never_change_are_read_whole_once(
    engine: AsyncEngine, operator: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "PIECE_BLOCKS_COUNT", 1)
    await operator.execute("truncate processed_events")
    user, writer, read = uuid4(), BatchWriter(engine), list[str]()
    old = "insert into processed_events (event_id, processed_at) values ($1, now() - interval '1 day')"
    await operator.executemany(old, [(f"other-{uuid4()}-{'x' * 80}",) for _ in range(300)])
    await operator.execute(old, f"of-{user}")
    store = ErasingStore(engine, lambda table, _: read.append(table))
    assert number([*await store.look(Subject(user))], "processed_events") == 1
    assert read.count("processed_events") > 3
    read.clear()
    await writer.write([entry(uuid4(), event_id=f"new-{user}")])
    assert number([*await store.look(Subject(user))], "processed_events") == 2
    assert number([*await store.erase(Subject(user))], "processed_events") == 2
    assert number([*await store.look(Subject(user))], "processed_events") == 0
    assert "processed_events" not in read
    assert await operator.fetchval("select count(*) from processed_events") == 300


async def test_an_inbox_shows_nothing_from_the_first_moment_and_goes_a_little_at_a_time(
    engine: AsyncEngine, operator: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "MAX_ROWS_PER_CHUNK", 4)
    user, shares = uuid4(), list[float]()
    await BatchWriter(engine).write([entry(user) for _ in range(10)])

    def note(table: str, share: float) -> None:
        if table == "notifications":
            shares.append(share)
            if len(shares) == 1:
                raise RuntimeError("the command was interrupted")

    with pytest.raises(RuntimeError):
        await ErasingStore(engine, note).erase(Subject(user))
    assert await stored_seqs(operator, user) == [5, 6, 7, 8, 9, 10]
    assert await NotificationStore(engine).page(user, 10) == []
    removed = [*await ErasingStore(engine, note).erase(Subject(user))]
    assert number(removed, "notifications") == 6
    assert number(removed, "inboxes") == 1
    assert shares == [0.4, 0.8, 1.0]


async def test_while_events_go_on_coming_the_new_inbox_counts_without_a_gap(
    engine: AsyncEngine, store: ErasingStore, operator: asyncpg.Connection
) -> None:
    user, others, writer = uuid4(), [uuid4() for _ in range(20)], BatchWriter(engine)

    async def write() -> None:
        while True:
            await writer.write([entry(user, *others), entry(user)])

    writers = [asyncio.create_task(write()) for _ in range(3)]
    for _ in range(10):
        await asyncio.sleep(0.05)
        await store.erase(Subject(user))
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in writers), "a writer failed"
    await end(*writers)
    async with operator.transaction(isolation="repeatable_read"):  # what was cancelled may commit even now
        seqs = await stored_seqs(operator, user)
        last = await operator.fetchval("select last_seq from inboxes where user_id = $1", user)
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) > 0
    assert last == len(seqs)


@pytest.mark.parametrize("done", [True, False])
async def test_of_a_delivery_erased_during_its_attempt_nothing_is_noted(
    engine: AsyncEngine, store: ErasingStore, operator: asyncpg.Connection, done: bool
) -> None:
    user, deliveries = uuid4(), DeliveryStore(engine)
    await operator.execute("truncate deliveries cascade")
    await BatchWriter(engine).write([mail(user, f"{user.hex}@example.com")])
    [each] = await deliveries.claim("email", 100, 60.0, [], codes=False)
    await store.erase(Subject(user))
    tried = AttemptResult(datetime.now(UTC), 0.1, "smtp_451", f"{user.hex}@example.com is busy")
    if done:
        await deliveries.finish([DeliveryResult(each.id, each.attempts, Status.SENT, None, tried)])
    else:
        await deliveries.reschedule(each.id, None, 1.0, tried, each.attempts)
    assert await store.addresses(Subject(user)) == []
    assert not [found for found in await store.look(Subject(user)) if found.number]
    assert await operator.fetchval("select count(*) from delivery_attempts") == 0


async def test_presence_that_a_dead_node_left_is_removed_and_a_living_one_s_stays(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT_SECONDS", 0.1)
    settings = settings_on(redis_url, redis_prefix=f"erasing-{uuid4().hex}")
    redis = connect(settings.redis)
    presence = Presence(redis, settings.redis.prefix)
    user, other, dead, alive = uuid4(), uuid4(), NodeId(b"dead...."), NodeId(b"alive...")
    await presence.change(dead, [user, other])
    await presence.change(alive, [user])
    await presence.beat(alive, 60.0)
    connections = Connections(settings.redis)
    try:
        [erased] = await connections.erase(Subject(user))
        assert erased.number == 1
        assert await presence.look_up([user, other]) == {user: [alive], other: [dead]}
        assert number([*await connections.look(Subject(user))], "nodes they are connected to") == 1
    finally:
        await connections.close()
        await redis.aclose()


async def test_what_the_user_service_keeps_is_named_and_stays(redis_url: str) -> None:
    user = uuid4()
    key = f"user-service:global_revoke_ts:{user}"
    redis = connect(settings_on(redis_url).redis)
    await redis.set(key, "1795000000")
    connections = Connections(settings_on(redis_url).redis)
    try:
        await connections.erase(Subject(user))
        [found] = [each for each in await connections.look(Subject(user)) if each.stays]
        assert (found.where, found.number) == (f"Redis key {key}", 1)
        assert await redis.get(key) == b"1795000000"
    finally:
        await redis.delete(key)
        await connections.close()
        await redis.aclose()


@pytest.mark.parametrize("user_id", [NO_INBOX, USER])
async def test_a_foreign_id_is_erased_with_its_deliveries_and_no_other(
    engine: AsyncEngine, store: ErasingStore, operator: asyncpg.Connection, user_id: UUID
) -> None:
    first, second = f"user_{uuid4()}", f"user_{uuid4()}"
    for foreign in (first, second):
        draft = DeliveryDraft("email", "plain", f"{foreign}@e.example", "en", foreign_user_id=foreign)
        await BatchWriter(engine).write([EventRecord(str(uuid4()), deliveries=[DeliveryRecord(draft)])])
    subject = Subject(user_id, await store.addresses(Subject(user_id, (), first)), first)
    assert subject.addresses == [f"{first}@e.example"]
    assert number([*await store.look(subject)], "deliveries") == 1
    await store.erase(subject)
    left = await operator.fetch(
        "select foreign_user_id from deliveries where foreign_user_id = any($1)", [first, second]
    )
    assert [row[0] for row in left] == [second]


@pytest.mark.parametrize(
    ("foreign", "text", "named"),
    [
        ("user_1", '{"user_id":"user_1"}', True),
        ("user_1", '{"receivers": ["a", "user_1"]}', True),
        ("user_1", '{"user_id":"user_12"}', False),
        ("user_1", "user_1 is here", False),
        ("a.c", '{"user_id":"abc"}', False),
        ('a"b', '{"user_id":"a\\"b"}', True),
        ("1", '{"user_id":1,"data":{}}', True),
        ("1", '{"userId" : "1"}', True),
        ("1", '{"user_id":12}', False),
        ("1", '{"plan_id":1}', False),
        ("1", '{"seats":["1"]}', False),
        ("100%_a", '{"user_id":"100%_a"}', True),
        ("100%_a", '{"user_id":"100xya"}', False),
        ("Phở", '{"user_id":"Phở"}', True),
        ("ở", '{"user_id":"ở"}', True),
        ("USER_Ж1", '{"user_id":"user_Ж1"}', True),
    ],
)
async def test_a_foreign_id_is_found_as_a_whole_value(
    operator: asyncpg.Connection, foreign: str, text: str, named: bool
) -> None:
    subject = Subject(NO_INBOX, (), foreign)
    assert subject.named_in(text.encode()) is named
    assert await is_named(operator, text, subject) is named
