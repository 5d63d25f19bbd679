"""What retention costs: `python -m bench.retention` (decision 017).

A million notifications and a million deliveries with an attempt each, half of them too old, on a real
Postgres. How long a batch of removals takes, and how long a writer, who writes 100 notifications every 20 ms,
waits for each commit: without removals, and with them.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg

from app.dev.postgres import run_postgres
from app.domain.notifications import NotificationDraft
from app.runtime.tasks import end
from app.store import migrations
from app.store.cleaner import PAUSE_SECONDS
from app.store.cleaning import CleaningStore, Kind
from app.store.engine import make_engine
from app.store.records import EventRecord
from app.store.writer import BatchWriter
from tests.support.settings import settings_on

ROWS = 1_000_000
USERS = 20_000
SIZES = (1000, 5000)
BATCHES = 40  # of each size
PAUSE_OF_WRITER = 0.02  # seconds
CALM = 5.0  # seconds the writer is watched alone
KEPT = timedelta(days=90)
# Row by row in time, as they come: the older half is past its time.
_FILL = f"""
insert into inboxes select md5(n::text)::uuid, {ROWS // USERS} from generate_series(0, {USERS - 1}) n;
insert into notifications
  (group_name, receiver, created_at, template_code, raw_data, is_read, title, content, seq)
select 'Family Group', md5((n % {USERS})::text)::uuid,
  now() - interval '180 days' + n * interval '180 days' / {ROWS}, 'GROUP_USER_ADDED',
  '{{"requester_username": "john_doe"}}', n % 3 = 0, 'A title of some words', repeat('content ', 12),
  n / {USERS} + 1
from generate_series(0, {ROWS - 1}) n;
insert into deliveries (id, event_id, user_id, channel, template, address, locale, data, status, attempts,
  event_at, created_at, finished_at)
select md5('d' || n)::uuid, n, md5((n % {USERS})::text)::uuid, 'email', 'plain', n || '@example.com', 'en',
  '{{"title": "A title of some words"}}', 'sent', 1, at, at, at
from generate_series(0, {ROWS - 1}) n, lateral (
  select now() - interval '180 days' + n * interval '180 days' / {ROWS} as at) moment;
insert into delivery_attempts select id, 1, created_at, 0.1, 'sent' from deliveries;
"""


async def _measure(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(_FILL)
    await connection.execute("vacuum analyze")
    await connection.execute("checkpoint")
    await connection.close()
    engine = make_engine(settings_on("redis://redis", database_url=url, database_timeout=60.0).postgres)
    writer, store = BatchWriter(engine), CleaningStore(engine)
    async with _writing(writer) as waits:
        await asyncio.sleep(CALM)
    _show("writer alone", waits)
    for kind in (Kind.NOTIFICATIONS, Kind.DELIVERIES):
        for size in SIZES:
            batches = []
            async with _writing(writer) as waits:
                for _ in range(BATCHES):
                    batches.append(await _seconds(store.remove(kind, KEPT, size)))
                    await asyncio.sleep(PAUSE_SECONDS)
            _show(f"{size} {kind.name.lower()} removed", batches)
            _show("  the writer meanwhile", waits)
    await engine.dispose()


@asynccontextmanager
async def _writing(writer: BatchWriter) -> AsyncIterator[list[float]]:
    """A writer at work; the seconds that each of its batches took."""
    waits: list[float] = []

    async def write() -> None:
        while True:
            entries = [_entry(uuid4()) for _ in range(100)]
            waits.append(await _seconds(writer.write(entries)))
            await asyncio.sleep(PAUSE_OF_WRITER)

    writing = asyncio.create_task(write())
    try:
        yield waits
    finally:
        await end(writing)


def _entry(receiver: UUID) -> EventRecord:
    draft = NotificationDraft(None, "A group", [receiver], "GROUP_USER_ADDED", "{}", "A title", "Content")
    return EventRecord(str(uuid4()), [draft])


async def _seconds(work: Awaitable[object]) -> float:
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


def _show(what: str, seconds: Sequence[float]) -> None:
    figures = (statistics.median(seconds), statistics.quantiles(seconds, n=100)[98], max(seconds))
    p50, p99, most = (f"{figure * 1000:.1f}" for figure in figures)
    print(f"{what:32} p50 {p50:>7} ms  p99 {p99:>7}  max {most:>7}  ({len(seconds)})", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with run_postgres(Path(folder)) as url:
            migrations.upgrade(url)
            asyncio.run(_measure(url))
