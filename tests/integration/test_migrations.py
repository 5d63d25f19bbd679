"""The migrations: up, down, up again, and what they make is what the models say."""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import asyncpg
import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from app.domain.errors import ConfigurationError
from app.store import migrations
from app.store.engine import check_schema
from app.store.models import Base
from app.texts.shortening import shortened
from tests.support import prefork
from tests.support.command import run_command
from tests.support.hub import ROOT

TABLES = {
    *("notifications", "inboxes", "processed_events", "deliveries", "delivery_attempts"),
    *("preferences", "scheduled_events", "parked_events", "idempotency_keys"),
    *("suppressions", "delivery_events", "devices", "archived_notifications", "archive_sweeps"),
    *("decisions", "webhook_endpoints", "webhook_messages", "topics", "topic_followers", "addresses"),
    "broadcasts",
}

_SHAPE = """
select 'column', table_name::text, column_name::text,
       concat_ws(' ', data_type, is_nullable, column_default) as detail
from information_schema.columns where table_schema = 'public' and table_name <> 'alembic_version'
union all
select 'index', tablename::text, indexname::text, indexdef
from pg_indexes where schemaname = 'public' and tablename <> 'alembic_version'
union all
select 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
from pg_constraint
where connamespace = 'public'::regnamespace and conrelid::regclass::text <> 'alembic_version'
order by 1, 2, 3
"""


async def make_database(postgres: str) -> str:
    """The URL of a new database with nothing in it."""
    name = f"test_{uuid.uuid4().hex}"
    server = postgres.rsplit("/", 1)[0]
    connection = await asyncpg.connect(f"{server}/postgres")
    try:
        await connection.execute(f"create database {name}")
    finally:
        await connection.close()
    return f"{server}/{name}"


@pytest_asyncio.fixture
async def empty(postgres: str) -> str:
    return await make_database(postgres)


def engine_on(url: str) -> AsyncEngine:
    return create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)


async def upgrade(url: str, to: str = "head") -> None:
    await asyncio.to_thread(migrations.upgrade, url, to)


async def downgrade(url: str, to: str = "base") -> None:
    await asyncio.to_thread(migrations.downgrade, url, to)


async def shape(url: str) -> list[asyncpg.Record]:
    """Every column, index and constraint of the hub's tables."""
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(_SHAPE))
    finally:
        await connection.close()


def tables(found: list[asyncpg.Record]) -> set[str]:
    return {record["table_name"] for record in found}


async def test_up_down_and_up_again_ends_where_it_began(empty: str) -> None:
    await upgrade(empty)
    first = await shape(empty)
    assert tables(first) == TABLES
    await downgrade(empty)
    assert await shape(empty) == []
    await upgrade(empty)
    assert await shape(empty) == first


async def test_the_command_migrates_a_database_and_says_where_it_is(empty: str) -> None:
    ended = await asyncio.to_thread(run_command, ("migrate",), {"DATABASE_URL": empty})
    assert (ended.status, ended.errors) == (0, "")
    *steps, last = ended.output.decode().splitlines()
    assert [re.findall(r"-> (\w+),", step) for step in steps] == [[each] for each in versions()]
    assert last == f"The database is at migration {migrations.head()}."
    assert tables(await shape(empty)) == TABLES


async def test_going_up_twice_changes_nothing_and_keeps_the_data(empty: str) -> None:
    await upgrade(empty)
    connection = await asyncpg.connect(empty)
    try:
        await connection.execute("insert into processed_events (event_id) values ('kept')")
        await upgrade(empty)
        assert await connection.fetchval("select event_id from processed_events") == "kept"
    finally:
        await connection.close()


async def test_alembic_sees_no_difference_to_the_models(empty: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True}
        found: list[Any] = compare_metadata(
            MigrationContext.configure(connection, opts=options), Base.metadata
        )
        return found

    await upgrade(empty)
    engine = engine_on(empty)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_the_migrations_make_just_what_the_models_would(postgres: str, empty: str) -> None:
    """Alembic overlooks the condition of an index, for one."""
    await upgrade(empty)
    by_models = await make_database(postgres)
    engine = engine_on(by_models)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()
    assert await shape(empty) == await shape(by_models)


_OF_0012 = """
insert into notifications
  (id, group_name, receiver, created_at, template_code, raw_data, is_read, title, content, seq)
select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[], $5::text[],
  array_fill('{"a": 1}'::jsonb, array[cardinality($1)]), $6::bool[], $7::text[], $8::text[], $9::bigint[])
"""
_NEW = """
insert into notifications (receiver, created_at, template_code, raw_data, title, content, seq)
values ($1, '2020-01-01Z', 'C', '{}', '', '', $2) returning id
"""
_KEPT = "select receiver, seq, is_read, created_at, content, raw_data from notifications order by 1, 2"


async def _fill(connection: asyncpg.Connection, rows: list[tuple[Any, ...]]) -> None:
    await connection.execute(_OF_0012, *(list(column) for column in zip(*rows, strict=True)))


def _row(receiver: uuid.UUID, seq: int, hours: int, **changes: Any) -> tuple[Any, ...]:
    values = {"group": "G", "code": "C", "is_read": False, "title": f"title {seq}"} | changes
    at = datetime(2026, 11, 21, tzinfo=UTC) + timedelta(hours=hours)
    return (
        *(uuid.uuid4(), values["group"], receiver, at, values["code"]),
        *(values["is_read"], values["title"], f"content {seq}", seq),
    )


async def test_integer_ids_keep_every_row_its_order_and_its_state_in_both_directions(empty: str) -> None:
    a, b = sorted((uuid.uuid4(), uuid.uuid4()))
    await upgrade(empty, "0012")
    connection = await asyncpg.connect(empty)
    try:
        # The clock went back before the third of a; the fourth is of the same batch as b's second.
        await _fill(connection, [_row(a, 3, 2), _row(b, 1, 4, is_read=True), _row(a, 1, 1), _row(b, 2, 5)])
        await _fill(connection, [_row(a, 2, 3, is_read=True), _row(a, 4, 5)])
        kept = await connection.fetch(_KEPT)
        order = [(a, 1), (a, 2), (a, 3), (b, 1), (a, 4), (b, 2)]
        by_id = "select receiver, seq, id from notifications order by id"
        await upgrade(empty, "0013")
        numbered = [tuple(row) for row in await connection.fetch(by_id)]
        assert numbered == [(*row, number) for number, row in enumerate(order, 1)]
        assert await connection.fetch(_KEPT) == kept
        assert await connection.fetchval(_NEW, a, 5) == 7

        await downgrade(empty, "0012")
        assert [tuple(row)[:2] for row in await connection.fetch(by_id)] == [*order, (a, 5)]
        assert [row for row in await connection.fetch(_KEPT) if row["seq"] < 5] == kept
        await connection.execute("delete from notifications where seq = 2")
        await _fill(connection, [_row(a, 6, 0), _row(b, 3, 6)])  # by the release of before

        await upgrade(empty, "0013")
        left = [(a, 1, 1), (a, 3, 3), (b, 1, 4), (a, 4, 5), (a, 5, 7)]
        found = [tuple(row) for row in await connection.fetch(by_id)]
        assert (found[:5], [row[:2] for row in found[5:]]) == (left, [(a, 6), (b, 3)])
        assert await connection.fetchval(_NEW, b, 4) > found[-1][2]
    finally:
        await connection.close()


async def test_texts_longer_than_documented_are_cut_by_the_migration_and_no_others(empty: str) -> None:
    user, flag = uuid.uuid4(), "\U0001f1fb\U0001f1f3"
    titles = ["short", "x" * 255, "y" * 256, flag * 200, "Hội " * 1000]
    rows = [_row(user, seq, 1, title=title, group=title, code=title) for seq, title in enumerate(titles, 1)]
    await upgrade(empty, "0012")
    connection = await asyncpg.connect(empty)
    try:
        await _fill(connection, rows + [_row(user, seq, 1, group=None) for seq in range(6, 3000)])
        await _fill(connection, [_row(user, seq, 1, title="z" * 300) for seq in range(3000, 5000)])
        await upgrade(empty, "0013")
        found = await connection.fetch(
            "select title, group_name, template_code from notifications order by seq"
        )
        for row, title in zip(found, titles, strict=False):
            assert tuple(row) == (shortened(title, 255), shortened(title, 255), shortened(title, 100))
        assert {row["title"] for row in found[2999:]} == {shortened("z" * 300, 255)}
    finally:
        await connection.close()


_INBOX = """
insert into notifications (receiver, created_at, template_code, raw_data, is_read, title, content, seq)
select $1, now(), 'C', '{}', false, '', '', seq from generate_series($2::int + 1, $2 + 20) seq
"""
_RAISE = """
insert into inboxes (user_id, last_seq) values ($1, 20)
on conflict (user_id) do update set last_seq = inboxes.last_seq + 20
"""
_READ = "update notifications set is_read = true where receiver = $1 and seq % 7 = 1"
_DELETE = "delete from notifications where receiver = $1 and seq % 11 = 2"
_COUNTED = """
select last_seq - settled = (
  select count(*) from notifications where receiver = user_id and not is_read and seq > read_up_to
) from inboxes
"""


async def test_inboxes_are_counted_while_nodes_of_the_release_before_change_them(empty: str) -> None:
    users = [uuid.uuid4() for _ in range(250)]
    await upgrade(empty, "0015")
    connection = await asyncpg.connect(empty)
    try:
        await connection.executemany(_RAISE, [(user,) for user in users])
        await connection.executemany(_INBOX, [(user, 0) for user in users])
        for change in (_READ, _DELETE):
            await connection.executemany(change, [(user,) for user in users[::2]])
        upgrading = asyncio.create_task(upgrade(empty, "0016"))
        for old in users[:100]:
            for user, last_seq in ((old, 20), (uuid.uuid4(), 0)):
                async with connection.transaction():
                    await connection.execute(_RAISE, user)
                    await connection.execute(_INBOX, user, last_seq)
                for change in (_READ, _DELETE):
                    await connection.execute(change, user)
        await upgrading
        assert {row[0] for row in await connection.fetch(_COUNTED)} == {True}

        # It was interrupted, say.
        await connection.execute("update alembic_version set version_num = '0015'")
        await connection.execute("alter table inboxes alter settled drop not null")
        await connection.execute("update inboxes set settled = null where user_id = any($1)", users[100:])
        await upgrade(empty, "0016")
        assert {row[0] for row in await connection.fetch(_COUNTED)} == {True}
    finally:
        await connection.close()


async def test_what_was_read_by_the_watermark_is_read_after_a_downgrade(empty: str) -> None:
    user = uuid.uuid4()
    await upgrade(empty, "0016")
    connection = await asyncpg.connect(empty)
    try:
        await connection.execute(_RAISE, user)
        await connection.execute(_INBOX, user, 0)
        await connection.execute("update inboxes set read_up_to = 12")
        await downgrade(empty, "0015")
        read = await connection.fetch("select seq from notifications where is_read order by 1")
        assert [row["seq"] for row in read] == [*range(1, 13)]
    finally:
        await connection.close()


async def test_what_was_deleted_with_all_is_gone_after_a_downgrade_and_counters_hold(empty: str) -> None:
    user = uuid.uuid4()
    await upgrade(empty, "0025")
    connection = await asyncpg.connect(empty)
    try:
        await connection.execute(_RAISE, user)
        await connection.execute(_INBOX, user, 0)
        await connection.execute("update inboxes set read_up_to = 12, settled = 10, removed_up_to = 5")
        await connection.execute("update inboxes set unread_again = '{7,9}'")
        await downgrade(empty, "0024")
        left = await connection.fetch("select seq from notifications order by 1")
        assert [row["seq"] for row in left] == [*range(6, 21)]
        assert await connection.fetchval(_COUNTED) is True
    finally:
        await connection.close()


async def test_a_migrated_database_is_accepted(empty: str) -> None:
    await upgrade(empty)
    engine = engine_on(empty)
    await check_schema(engine, migrations.head())
    await engine.dispose()


async def test_the_hub_refuses_a_database_without_migrations_and_says_what_to_run(empty: str) -> None:
    engine = engine_on(empty)
    for refused_after in (None, downgrade):
        if refused_after:
            await upgrade(empty)
            await refused_after(empty)
        with pytest.raises(ConfigurationError) as refused:
            await check_schema(engine, migrations.head())
        assert str(refused.value) == (
            f"The database is at migration none, this hub needs {migrations.head()}. "
            "Run: alembic upgrade head"
        )
    await engine.dispose()


async def test_the_hub_refuses_a_database_of_another_version(empty: str) -> None:
    await upgrade(empty)
    engine = engine_on(empty)
    with pytest.raises(ConfigurationError, match=f"is at migration {migrations.head()}, this hub needs 9999"):
        await check_schema(engine, "9999")
    await engine.dispose()


class Ended(NamedTuple):
    """How alembic ended, and what it printed."""

    returncode: int
    printed: str


async def alembic(*arguments: str, cwd: Path, **environment: str) -> Ended:
    command = ("-m", "alembic", "-c", f"{ROOT}/alembic.ini", *arguments)
    with TemporaryFile() as log:
        process = prefork.start(command, {"PATH": os.environ["PATH"], **environment}, log, cwd)
        status = await asyncio.to_thread(process.wait, 60)
        log.seek(0)
        return Ended(status, log.read().decode())


async def test_alembic_reads_dotenv_in_any_working_directory_and_says_what_it_does(
    empty: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"JWT_SECRET=\nDATABASE_URL={with_password(empty)}\n")
    first = await alembic("upgrade", "head", cwd=tmp_path)
    assert first.returncode == 0, first.printed
    assert tables(await shape(empty)) == TABLES
    database, *steps, last = first.printed.splitlines()
    assert str(make_url(empty).database) in database
    assert str(tmp_path / ".env") in database
    assert "hunter2" not in first.printed
    assert [re.findall(r"-> (\w+),", step) for step in steps] == [[each] for each in versions()]
    assert last == f"The database is at migration {migrations.head()}."
    again = await alembic("upgrade", "head", cwd=tmp_path)
    assert again.printed.splitlines()[1:] == [
        f"The database is at migration {migrations.head()}, as it was before."
    ]


async def test_the_environment_stands_before_dotenv(empty: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://hub@127.0.0.1:1/other\n")
    ended = await alembic("current", cwd=tmp_path, DATABASE_URL=empty)
    assert ended.returncode == 0, ended.printed
    refused = await alembic("upgrade", "head", cwd=tmp_path)
    assert refused.returncode == 1
    assert len(refused.printed.splitlines()) == 2
    missing = await alembic("upgrade", "head", cwd=tmp_path, DATABASE_URL=empty + "_missing")
    assert missing.returncode == 1
    assert len(missing.printed.splitlines()) == 2, missing.printed
    nothing = await alembic("upgrade", "head", cwd=make(tmp_path / "empty"))
    assert nothing.returncode == 1
    assert nothing.printed.startswith("DATABASE_URL is not set.")


def versions() -> list[str]:
    """All migrations, the oldest first."""
    return sorted(path.name.partition("_")[0] for path in (ROOT / "migrations/versions").glob("*.py"))


def with_password(url: str) -> str:
    """The test's Postgres asks for none, and takes any."""
    return make_url(url).set(password="hunter2").render_as_string(hide_password=False)


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder
