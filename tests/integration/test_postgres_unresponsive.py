"""A Postgres that says nothing, and connections that ended without notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from time import monotonic
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.deliveries import SIGNAL
from app.domain.errors import Unavailable
from app.domain.notifications import NotificationDraft
from app.runtime.backoff import Backoff
from app.settings.services import PostgresSettings
from app.store import deliveries
from app.store.deliveries import DeliverySignal
from app.store.engine import make_engine, store_errors
from app.store.liveness import PING_TIMEOUT_SECONDS
from app.store.records import EventRecord
from app.store.writer import BatchWriter
from tests.support.hub import eventually
from tests.support.network import FaultyProxy, open_proxy
from tests.support.settings import settings_on

TIMEOUT = 3.0
POOL = 5


@pytest_asyncio.fixture
async def proxy(database: str) -> AsyncIterator[FaultyProxy]:
    """The proxy between the hub and Postgres."""
    port = urlsplit(database).port
    assert port is not None
    async with open_proxy(port) as proxy:
        yield proxy


@pytest.fixture
def settings(database: str, proxy: FaultyProxy) -> PostgresSettings:
    url = database.replace(f":{proxy.port_behind}/", f":{proxy.port}/")
    changes = {"database_url": url, "database_timeout": TIMEOUT, "database_pool_size": POOL}
    return settings_on("redis://redis", **changes).postgres


@pytest_asyncio.fixture
async def engine(settings: PostgresSettings) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(settings)
    yield engine
    await engine.dispose()


async def backend(engine: AsyncEngine, work: float = 0.0) -> int:
    """Which backend served a transaction that takes so many seconds."""
    with store_errors():
        async with engine.begin() as connection:
            found: int = (await connection.execute(text("select pg_backend_pid()"))).scalar_one()
            await connection.execute(text("select pg_sleep(:work)"), {"work": work})
            return found


async def fill(engine: AsyncEngine) -> None:
    """All connections of the pool are made."""
    assert len(set(await asyncio.gather(*(backend(engine, work=0.3) for _ in range(POOL))))) == POOL


async def test_connections_that_ended_in_silence_cost_one_ping_and_no_error(
    engine: AsyncEngine, proxy: FaultyProxy
) -> None:
    await fill(engine)
    proxy.detour()
    begun = monotonic()
    for _ in range(2 * POOL):
        await backend(engine)
    assert monotonic() - begun < POOL * PING_TIMEOUT_SECONDS, "each was waited for"


async def test_an_unresponsive_postgres_is_abandoned_in_time_and_used_again_at_once(
    engine: AsyncEngine, proxy: FaultyProxy
) -> None:
    await fill(engine)
    working = asyncio.create_task(backend(engine, work=1.0))
    await asyncio.sleep(0.2)
    proxy.silence()
    for statement in (working, asyncio.create_task(backend(engine))):
        async with asyncio.timeout(3 * TIMEOUT + PING_TIMEOUT_SECONDS):
            with pytest.raises(Unavailable, match="TimeoutError"):
                await statement
    proxy.repair()
    assert await asyncio.gather(*(backend(engine) for _ in range(POOL)))


def entry(receiver: UUID) -> EventRecord:
    draft = NotificationDraft(None, None, (receiver,), "PLAN_EXPIRED", "{}", "title", "content")
    return EventRecord(uuid4().hex, (draft,), happened_at=datetime.now(UTC))


async def test_what_a_lost_transaction_had_locked_is_free_again_soon(
    engine: AsyncEngine, proxy: FaultyProxy
) -> None:
    """Its backend hears of nothing: TCP would tell it after two hours."""
    writer, user = BatchWriter(engine), uuid4()
    await writer.write([entry(user)])
    with store_errors():
        connection = await engine.connect()
        await connection.execute(
            text("update inboxes set last_seq = 7 where user_id = :user"), {"user": user}
        )
    proxy.detour()

    async def written() -> bool:
        try:
            await writer.write([entry(user)])
        except Unavailable:
            return False
        return True

    await eventually(written, "the next writer gets the row", within=6 * TIMEOUT)
    await connection.invalidate()
    await connection.close()


async def test_the_signal_outlives_the_look_whether_its_connection_does(
    settings: PostgresSettings, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "LISTEN_CHECK_SECONDS", 0.05)
    heard = asyncio.Event()
    signal = DeliverySignal(settings, heard.set, Backoff(3600.0, 3600.0))
    await signal.start()
    async with asyncio.timeout(10):
        await heard.wait()
        await asyncio.sleep(0.5)
        heard.clear()
        with store_errors():
            async with engine.begin() as connection:
                await connection.execute(text(f"select pg_notify('{SIGNAL}', '')"))
        await heard.wait()
    await signal.stop()


async def test_a_signal_whose_connection_died_in_silence_listens_again(
    settings: PostgresSettings, engine: AsyncEngine, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "LISTEN_CHECK_SECONDS", 0.05)
    heard = asyncio.Event()
    signal = DeliverySignal(settings, heard.set, Backoff(0.05, 0.05))
    await signal.start()
    async with asyncio.timeout(10 + TIMEOUT):
        await heard.wait()
        heard.clear()
        proxy.detour()
        await heard.wait()
    await signal.stop()
