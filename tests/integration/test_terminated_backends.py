"""Backends that are terminated in the middle of statements: each loss is one of the connection."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import uuid4

import asyncpg
from sqlalchemy import text

from app.domain.errors import Unavailable
from app.store.engine import make_engine, store_errors
from app.store.notifications import NotificationStore
from tests.support.settings import settings_on

SECONDS = 2.0
WORKERS = 16
_MUCH = "select repeat('x', 2000) from generate_series(1, 300)"


async def test_terminated_backends_are_lost_connections(database: str) -> None:
    settings = settings_on("redis://redis", database_url=database, database_pool_size=8).postgres
    engine = make_engine(settings)
    store, outcomes = NotificationStore(engine), Counter[str]()
    until = asyncio.get_running_loop().time() + SECONDS

    async def work() -> None:
        while asyncio.get_running_loop().time() < until:
            try:
                await store.page(uuid4(), 100)
                await store.mark_read(1, uuid4())
                with store_errors():
                    async with engine.begin() as connection:
                        await connection.execute(text(_MUCH))
                outcomes["done"] += 1
            except Unavailable:
                outcomes["unavailable"] += 1

    async def terminate() -> None:
        operator = await asyncpg.connect(database)
        while asyncio.get_running_loop().time() < until:
            await operator.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.02)
        await operator.close()

    try:
        await asyncio.gather(terminate(), *(work() for _ in range(WORKERS)))
        assert outcomes["unavailable"] > 0
        await store.page(uuid4(), 100)
    finally:
        await engine.dispose()
