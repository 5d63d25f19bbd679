"""Backends that are terminated in the middle of anything: each loss is one of the connection, and passes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.errors import Unavailable
from app.domain.planning import Planner
from app.domain.preferences import Evaluator
from app.ingest.batch import SourceMessage
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.runtime.backoff import Backoff
from app.store.deliveries import DeliverySignal, DeliveryStore
from app.store.engine import make_engine, store_errors
from app.store.inboxes import InboxStore
from app.store.notifications import NotificationStore
from app.store.preferences import PreferenceStore
from app.store.writer import BatchWriter
from app.testing import MemoryBus, MemoryGroups
from handlers.registry import HANDLERS
from tests.support.settings import settings_on

SECONDS = 1.0
WORKERS = 16
QUICK = Backoff(0.01, 0.01)
_MUCH = "select repeat('x', 2000) from generate_series(1, 300)"
_TERMINATE = (
    "select pg_terminate_backend(pid) from pg_stat_activity "
    "where datname = current_database() and pid <> pg_backend_pid()"
)


@asynccontextmanager
async def engine_on(database: str, **values: Any) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(settings_on("redis://redis", database_url=database, **values).postgres)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def terminating(database: str) -> AsyncIterator[None]:
    """All other backends of the database are terminated 50 times a second."""
    operator = await asyncpg.connect(database)

    async def work() -> None:
        while True:
            await operator.execute(_TERMINATE)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        operator.terminate()


async def outcomes_of(call: Callable[[], Awaitable[Any]]) -> Counter[str]:
    """What many workers get from a call; anything but an answer and `Unavailable` fails the test."""
    outcomes, until = Counter[str](), asyncio.get_running_loop().time() + SECONDS

    async def work() -> None:
        while asyncio.get_running_loop().time() < until:
            try:
                await call()
                outcomes["done"] += 1
            except Unavailable:
                outcomes["unavailable"] += 1

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return outcomes


async def test_requests_and_claims_find_postgres_away(database: str) -> None:
    async with engine_on(database, database_pool_size=8) as engine:
        store, deliveries, inboxes = NotificationStore(engine), DeliveryStore(engine), InboxStore(engine)

        async def request() -> None:
            await store.page(uuid4(), 100)
            await store.mark_read(1, uuid4())
            await inboxes.states([(uuid4(), 0)], 10)
            with store_errors():
                async with engine.begin() as connection:
                    await connection.execute(text(_MUCH))
            await deliveries.claim("email", 10, 60.0, codes=False)
            await deliveries.claim("email", 10, 60.0, codes=True)

        async with terminating(database):
            outcomes = await outcomes_of(request)
        assert outcomes["unavailable"] > 0
        await store.page(uuid4(), 100)
        await deliveries.claim("email", 10, 60.0, codes=True)


async def test_batches_are_stored_once_each(database: str) -> None:
    users = [uuid4() for _ in range(3)]
    async with engine_on(database) as engine:
        planner = Planner(PreferenceStore(engine), Evaluator(()), "en")
        bus = MemoryBus()
        ports = PipelinePorts(MemoryGroups(), planner, BatchWriter(engine), NotificationStore(engine), bus)
        pipeline = Pipeline(HANDLERS, ports, "en", msgspec.json.encode, backoff=QUICK)

        async def write(number: int) -> None:
            batch = pipeline.prepare([event(user, number) for user in users])
            assert await pipeline.write(batch.events) == []

        writing = asyncio.gather(*(write(number) for number in range(40)))
        async with terminating(database):
            await asyncio.sleep(SECONDS)
        async with asyncio.timeout(60):
            await writing
        for state in await InboxStore(engine).states([(user, 0) for user in users], 100):
            assert [each.seq for each in state.missed] == [*range(1, 41)]


async def test_new_deliveries_are_heard_of_again(database: str) -> None:
    heard = asyncio.Event()
    signal = DeliverySignal(settings_on("redis://redis", database_url=database).postgres, heard.set, QUICK)
    await signal.start()
    operator = await asyncpg.connect(database)
    try:
        for _ in range(3):
            async with asyncio.timeout(20):
                await heard.wait()
            heard.clear()
            await operator.execute(_TERMINATE)
    finally:
        await signal.stop()
        await operator.close()


async def test_a_pool_without_a_free_connection_is_a_postgres_that_is_away(database: str) -> None:
    async with engine_on(database, database_pool_size=2, database_timeout=1.0) as engine:
        store = NotificationStore(engine)
        async with engine.connect(), engine.connect():
            with pytest.raises(Unavailable):
                await store.page(uuid4(), 10)
        await store.page(uuid4(), 10)


def event(user: UUID, number: int) -> SourceMessage:
    body = {"event_id": f"{user}{number}", "type": "inapp", "user_id": user, "title": "T", "message": "M"}
    return SourceMessage("kafka", f"{user}{number}", msgspec.json.encode(body), None)
