"""The store, and a whole hub, behind pgbouncer in transaction mode, which keeps no named statement."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.domain.errors import ConfigurationError
from app.settings.services import PostgresSettings
from app.store.engine import INTAKE_LOCK_TIMEOUT_MS, check_schema, connect_arguments, make_engines
from app.store.migrations import head
from app.store.notifications import NotificationStore
from app.store.preferences import PreferenceStore
from app.store.writer import BatchWriter
from tests.support.hub import added, new_user, receive, running_hub
from tests.support.pgbouncer import SERVER_CONNECTIONS, pgbouncer
from tests.support.settings import settings_on
from tests.support.store import entry

CLIENTS = 2 * SERVER_CONNECTIONS


@pytest.fixture(scope="module")
def pooled(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the database through pgbouncer."""
    with pgbouncer(database, tmp_path_factory.mktemp("pgbouncer")) as url:
        yield url


def postgres_settings(url: str, direct: str | None, **changes: Any) -> PostgresSettings:
    values = {"database_url": url, "database_direct_url": direct, **changes}
    return settings_on("redis://redis", **values).postgres


async def test_statements_of_many_clients_share_few_server_connections(database: str, pooled: str) -> None:
    intake, shared = make_engines(postgres_settings(pooled, database, database_pool_size=CLIENTS))
    await check_schema(shared, head())
    writer, inboxes, people = BatchWriter(intake), NotificationStore(shared), PreferenceStore(shared)

    async def use() -> None:
        user = uuid4()
        for number in range(1, 4):
            await writer.write([entry(user)])
            assert [n.seq for n in await inboxes.page(user, 1)] == [number]
            assert await people.people([user]) == {}
            assert (await inboxes.counters(user)).last_seq == number

    try:
        await asyncio.gather(*(use() for _ in range(CLIENTS)))
    finally:
        await intake.dispose()
        await shared.dispose()


async def test_time_limits_hold_in_each_transaction_and_stay_with_no_one_else(
    database: str, pooled: str
) -> None:
    engines = make_engines(postgres_settings(pooled, database, database_timeout=7))
    shown = []
    for engine in (*engines, *engines):
        async with engine.connect() as connection:
            names = ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout")
            shown.append([await connection.scalar(text(f"show {name}")) for name in names])
        await engine.dispose()
    assert shown == [["7s", "7s", f"{INTAKE_LOCK_TIMEOUT_MS}ms"], ["7s", "7s", "0"]] * 2


async def test_without_a_direct_url_the_hub_says_what_to_set(pooled: str) -> None:
    _, shared = make_engines(postgres_settings(pooled, None))
    with pytest.raises(ConfigurationError, match="DATABASE_DIRECT_URL"):
        await check_schema(shared, head())
    await shared.dispose()


def test_what_listens_does_so_on_the_direct_connection() -> None:
    settings = postgres_settings("postgresql://hub@pooler:6432/hub", "postgresql://hub@db:5432/hub")
    assert (connect_arguments(settings)["host"], connect_arguments(settings)["port"]) == ("db", 5432)
    assert settings.session_url.get_secret_value() == "postgresql://hub@db:5432/hub"


@pytest.mark.slow
async def test_a_hub_behind_pgbouncer_serves_events_and_wakes_its_outbox(
    environment: dict[str, str], pooled: str, tmp_path: Path
) -> None:
    behind = {**environment, "DATABASE_URL": pooled, "DATABASE_DIRECT_URL": environment["DATABASE_URL"]}
    users = [new_user() for _ in range(30)]
    async with running_hub(behind, tmp_path / "log") as hub:
        hub.environment["DATABASE_URL"] = environment["DATABASE_URL"]  # what the test itself asks
        async with hub.socket(users[0]) as socket:
            for _ in range(10):
                await hub.publish(*map(added, users))
                assert (await receive(socket))["data"]["receiver"] == users[0]
        async with hub.client(users[1]) as client:
            answers = await asyncio.gather(
                *(client.get(f"/notifications/users/{users[1]}") for _ in range(40)),
                *(client.patch(f"/notifications/users/{users[1]}/read") for _ in range(40)),
            )
        assert {answer.status_code for answer in answers} == {200}
        log = hub.log.read_text()
        for failure in ("not_listening", "failed", "PreparedStatement"):
            assert failure not in log
