"""The migrations: up, down, up again, and what they make is what the models say."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

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
from tests.support.hub import ROOT

TABLES = {
    *("notifications", "inboxes", "processed_events", "deliveries", "delivery_attempts"),
    *("preferences", "scheduled_events", "idempotency_keys"),
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
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "run.py", "migrate"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": empty},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    *steps, last = ended.stdout.splitlines()
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


async def alembic(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "alembic", "-c", f"{ROOT}/alembic.ini", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_alembic_reads_dotenv_in_any_working_directory_and_says_what_it_does(
    empty: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"JWT_SECRET=\nDATABASE_URL={with_password(empty)}\n")
    first = await alembic("upgrade", "head", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert tables(await shape(empty)) == TABLES
    database, *steps, last = first.stderr.splitlines()
    assert str(make_url(empty).database) in database
    assert str(tmp_path / ".env") in database
    assert "hunter2" not in first.stderr
    assert [re.findall(r"-> (\w+),", step) for step in steps] == [[each] for each in versions()]
    assert last == f"The database is at migration {migrations.head()}."
    again = await alembic("upgrade", "head", cwd=tmp_path)
    assert again.stderr.splitlines()[1:] == [
        f"The database is at migration {migrations.head()}, as it was before."
    ]


async def test_the_environment_stands_before_dotenv(empty: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://hub@127.0.0.1:1/other\n")
    ended = await alembic("current", cwd=tmp_path, DATABASE_URL=empty)
    assert ended.returncode == 0, ended.stderr
    refused = await alembic("upgrade", "head", cwd=tmp_path)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 2
    missing = await alembic("upgrade", "head", cwd=tmp_path, DATABASE_URL=empty + "_missing")
    assert missing.returncode == 1
    assert len(missing.stderr.splitlines()) == 2, missing.stderr
    nothing = await alembic("upgrade", "head", cwd=make(tmp_path / "empty"))
    assert nothing.returncode == 1
    assert nothing.stderr.startswith("DATABASE_URL is not set.")


def versions() -> list[str]:
    """All migrations, the oldest first."""
    return sorted(path.name.partition("_")[0] for path in (ROOT / "migrations/versions").glob("*.py"))


def with_password(url: str) -> str:
    """The test's Postgres asks for none, and takes any."""
    return make_url(url).set(password="hunter2").render_as_string(hide_password=False)


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder
