"""Every filter of the log of deliveries is answered by an index, however rare its value is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.deliveries import DeliveryStore
from tests.support.store import engine_on

ROWS, RARE, PAGE = 20_000, 30, 10
USER = uuid4()
_FILL = """
insert into deliveries (id, event_id, user_id, foreign_user_id, channel, template, locale, data, event_at,
  created_at, status)
select md5(n::text)::uuid, coalesce($3, 'e' || n), coalesce($4, md5('u' || n % 5000)::uuid), $5,
  coalesce($6, 'email'), '', 'en', '{}', now(), now() - interval '1 day' * $7 - n * interval '1 s',
  coalesce($8, 'sent')
from generate_series($1::int, $2::int) n
"""
# The rare ones are the oldest, so that a walk along the list meets them last.
FILTERS: dict[str, tuple[Any, int]] = {
    "event_id": ("rare", 0),
    "user_id": (USER, 1),
    "foreign_user_id": ("F-17", 2),
    "channel": ("sms", 3),
    "status": ("simulated", 5),
}


@pytest_asyncio.fixture(scope="module")
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    connection = await asyncpg.connect(database)
    nothing: list[Any] = [None] * 6
    await connection.execute(_FILL, 1, ROWS, *nothing[:4], 0, None)
    for number, (value, place) in enumerate(FILTERS.values(), 1):
        values = [*nothing[:4], 100, None]
        values[place] = value
        await connection.execute(_FILL, ROWS * 10 * number, ROWS * 10 * number + RARE - 1, *values)
    await connection.execute("analyze deliveries")
    await connection.close()
    pool = engine_on(database)
    yield pool
    await pool.dispose()


async def rows_read(database: str) -> int:
    """How many rows of deliveries were read since ever, by connections that have ended."""
    connection = await asyncpg.connect(database)
    counts = "seq_tup_read + coalesce(idx_tup_fetch, 0)"
    found: int = await connection.fetchval(
        f"select {counts} from pg_stat_user_tables where relname = 'deliveries'"
    )
    await connection.close()
    return found


@pytest.mark.parametrize("name", FILTERS)
async def test_a_filter_reads_only_what_it_finds(database: str, engine: AsyncEngine, name: str) -> None:
    await engine.dispose()
    before = await rows_read(database)
    store, value = DeliveryStore(engine), FILTERS[name][0]
    times = 8  # from the sixth on one plan serves all
    for _ in range(times):
        first = await store.find(PAGE, **{name: value})
        second = await store.find(PAGE, first[-1].id, **{name: value})
        assert len({each.id for each in first + second}) == 2 * PAGE
        assert {getattr(each, name) for each in first + second} == {value}
    await engine.dispose()
    assert await rows_read(database) - before <= times * 3 * RARE


async def test_the_next_page_is_found_by_its_place_not_by_walking_to_it(
    database: str, engine: AsyncEngine
) -> None:
    store, deep = DeliveryStore(engine), datetime.now(UTC) - timedelta(seconds=ROWS - 100)
    (last, *_) = await store.find(1, until=deep)
    await engine.dispose()
    before = await rows_read(database)
    page = await store.find(PAGE, last.id)
    assert [each.created_at < last.created_at for each in page] == [True] * PAGE
    assert await store.find(PAGE, uuid4()) == []
    await engine.dispose()
    assert await rows_read(database) - before <= 3 * PAGE
