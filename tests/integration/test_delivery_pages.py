"""Each filter of `GET /deliveries` has an index: a page reads about as many rows as it shows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.dialects import postgresql

from app.store.deliveries import page_of_deliveries
from app.store.direct import direct
from tests.support.store import engine_on

ROWS, BATCH_ROWS, PAGE_ROWS = 12_000, 1_000, 50
"""Rows of one batch have one time."""
MOST_READ_COUNT = 3 * PAGE_ROWS
USER, EVENT, FOREIGN = UUID(int=1), "a broadcast", "4711"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_FILL = f"""
insert into deliveries
  (id, event_id, user_id, foreign_user_id, channel, template, address, locale, data, status, event_at,
    created_at)
select md5(n::text)::uuid,
  case when n < {ROWS} / 3 then '{EVENT}' else 'event ' || n end,
  case when n % 4 = 1 and n < {ROWS} / 2 then '{USER}' when n % 4 = 2 then md5('user ' || n)::uuid end,
  case when n % 4 = 0 then case when n % 8 = 0 and n < {ROWS} / 2 then '{FOREIGN}' else n::text end end,
  case when n % 50 = 0 then 'sms' else 'email' end, 'plain', 'an@example.com', 'en', '{{}}',
  case when n % 100 = 0 then 'failed' else 'sent' end, made, made
from (
  select n, timestamptz '2026-01-01 00:00+00' + n / {BATCH_ROWS} * interval '1 minute' as made
  from generate_series(1, {ROWS}) n
) rows
"""
_MIDDLE = BEGIN + timedelta(minutes=ROWS // BATCH_ROWS // 2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(database: str) -> AsyncIterator[asyncpg.Connection]:
    engine = engine_on(database)
    async with direct(engine).connection() as connection:
        await connection.execute(_FILL)
        await connection.execute("analyze deliveries")
        yield connection
    await engine.dispose()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("place", [None, (_MIDDLE, UUID(int=2**127))], ids=["first page", "a page behind"])
@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"status": "sent"},
        {"status": "failed"},
        {"channel": "email"},
        {"channel": "sms"},
        {"event_id": EVENT},
        {"event_id": "event 1"},
        {"user_id": USER},
        {"foreign_user_id": FOREIGN},
        {"since": BEGIN},
        {"until": _MIDDLE},
        {"since": BEGIN + timedelta(minutes=1), "until": _MIDDLE},
        {"status": "failed", "until": _MIDDLE},
        {"event_id": EVENT, "since": BEGIN},
        {"status": "expired"},
    ],
    ids=lambda wanted: " ".join(f"{name}={value}" for name, value in wanted.items()) or "all",
)
async def test_a_page_reads_as_many_rows_as_it_shows(
    filled: asyncpg.Connection, wanted: Mapping[str, object], place: tuple[datetime, UUID] | None
) -> None:
    dialect: Any = postgresql.dialect  # untyped
    query = page_of_deliveries(PAGE_ROWS, place, wanted).compile(
        dialect=dialect(), compile_kwargs={"literal_binds": True}
    )
    (plan,) = json.loads(await filled.fetchval(f"explain (analyze, format json) {query}"))
    assert sum(_rows_read(plan["Plan"])) <= MOST_READ_COUNT


def _rows_read(plan: dict[str, Any]) -> list[float]:
    below = [rows for part in plan.get("Plans", ()) for rows in _rows_read(part)]
    if "Scan" not in plan["Node Type"]:
        return below
    left_out = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    return [*below, (plan["Actual Rows"] + left_out) * plan["Actual Loops"]]
