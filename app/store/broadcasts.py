"""Broadcasts, in Postgres: accepted with the batch of their event, processed a page a transaction.

The transaction that writes the notifications of a page also moves its broadcast on, from the page that its
node believes in. So whoever else works on it, and whenever a node dies, each page is written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.amendments import Amendment, noted
from app.domain.audiences import Broadcast, BroadcastAudience, BroadcastState, BroadcastWork
from app.domain.errors import PageTaken
from app.store.engine import store_errors

_ACCEPT = """
insert into broadcasts (event_id, event_type, source, sender, audience, body, happened_at, thread_key)
select event_id, event_type, source, sender, audience::jsonb, body, happened_at, thread_key
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::timestamptz[],
            $8::text[])
  as new (event_id, event_type, source, sender, audience, body, happened_at, thread_key)
on conflict (event_id) do nothing
"""
# The row's lock keeps others from the same page until the commit; then the number is another one.
_ADVANCE = """
update broadcasts set pages = pages + 1, cursor = $3, exhausted = $4, deferred = $5::uuid[],
  passed = passed + $6, notified = notified + $7, deliveries = deliveries + $8,
  next_page_at = now() + make_interval(secs => $9),
  leased_until = case when $10 then null else now() + make_interval(secs => $11) end,
  state = case when $10 then 'done' else state end, body = case when $10 then '' else body end,
  amendments = case when $10 then '[]' else amendments end, finished_at = case when $10 then now() end
where event_id = $1 and pages = $2 and amended = $12 and state = 'running'
returning event_id
"""
_CLAIM = """
with next as (
  select event_id from broadcasts
  where state = 'running' and next_page_at <= now() and (leased_until is null or leased_until < now())
  order by next_page_at limit 1 for update skip locked
)
update broadcasts b set leased_until = now() + make_interval(secs => $1)
from next where b.event_id = next.event_id
returning b.event_id, b.event_type, b.source, b.sender, b.body, b.happened_at, b.created_at as accepted_at,
  b.audience::text as audience, b.pages, b.cursor, b.exhausted, b.deferred, b.people is not null as counted,
  b.amendments::text as amendments, b.amended
"""
_RELEASE = """
update broadcasts set leased_until = null,
  next_page_at = greatest(next_page_at, now() + make_interval(secs => $3))
where event_id = $1 and pages = $2 and state = 'running'
"""
_COUNTED = "update broadcasts set people = $2 where event_id = $1"
_SHOWN = """
select event_id as id, event_type, audience::text as audience, state, reason, people, passed, notified,
  deliveries, cardinality(deferred) as deferred, created_at, finished_at
from broadcasts
"""
_GET = f"{_SHOWN} where event_id = $1 and ($2::text is null or sender is null or sender = $2)"
_LIST = f"""{_SHOWN}
where ($1::text is null or sender is null or sender = $1)
  and ($2::text is null
    or (created_at, event_id) < (select created_at, event_id from broadcasts where event_id = $2))
order by created_at desc, event_id desc limit $3
"""  # noqa: S608
_MOVE = """
update broadcasts set state = $3, leased_until = null, next_page_at = now()
where event_id = $1 and state = $2
"""
_END = """
update broadcasts set state = $2, reason = $3, body = '', amendments = '[]', deferred = '{}',
  leased_until = null,
  finished_at = now()
where event_id = $1 and state in ('running', 'paused')
"""
TOPIC_DELETED = "its topic was deleted"
"""Why a broadcast is cancelled."""
END_OF_TOPIC = f"""
update broadcasts set state = 'cancelled', reason = '{TOPIC_DELETED}', body = '', amendments = '[]',
  deferred = '{{}}',
  leased_until = null, finished_at = now()
where audience ->> 'topic' = $1 and state in ('running', 'paused')
"""  # noqa: S608
"""Cancels all broadcasts to a topic. Pages that are being written are waited for."""
_OPEN_BROADCASTS = """
select event_id, amendments::text as amendments from broadcasts
where {which} and state in ('running', 'paused') order by event_id for update
"""
_OPEN_OF_EVENT = _OPEN_BROADCASTS.format(which="event_id = $1")
_OPEN_OF_THREAD = _OPEN_BROADCASTS.format(
    which="thread_key = $1 and finished_at is null and (sender is null or sender = $2)"
)
_NOTE = """
update broadcasts set amendments = $2::jsonb, amended = amended + 1, leased_until = null where event_id = $1
"""
_RUNNING = """
select count(*), coalesce(extract(epoch from now() - min(created_at)), 0)::float8
from broadcasts where state = 'running'
"""


class BroadcastDraft(NamedTuple):
    """An event for an audience, to be recorded as a broadcast."""

    event_type: str
    source: str
    audience: BroadcastAudience
    body: bytes
    happened_at: datetime | None
    thread_key: str | None = None


class PageRecord(NamedTuple):
    """What a page that is written makes of its broadcast."""

    event_id: str
    number: int
    """How many pages were written before."""
    cursor: UUID
    exhausted: bool
    deferred: Sequence[UUID]
    """People whose inbox is locked: they follow at the end."""
    passed: int
    """People for whom it is decided with this page."""
    pause: float
    """Seconds until the next page is due."""
    lease: float
    """Seconds that it stays with its node."""
    amended: int = 0
    """The changes by its publisher that the page has: see `BroadcastWork.amended`."""

    @property
    def is_last(self) -> bool:
        """Whether the broadcast is done with it."""
        return self.exhausted and not self.deferred


async def accept(
    connection: asyncpg.Connection, drafts: Sequence[tuple[str, str | None, BroadcastDraft]]
) -> None:
    """Record broadcasts (the event's id, its sender, the draft) in the caller's transaction."""
    rows = [
        (
            event_id,
            draft.event_type,
            draft.source,
            sender,
            _json(draft.audience),
            draft.body,
            draft.happened_at,
            draft.thread_key,
        )
        for event_id, sender, draft in drafts
    ]
    await connection.execute(_ACCEPT, *(list(column) for column in zip(*rows, strict=True)))


async def advance(connection: asyncpg.Connection, page: PageRecord, notified: int, deliveries: int) -> None:
    """Move the broadcast on in the caller's transaction, which writes the page.

    Raises `PageTaken` if the page was written before, its publisher has changed the event since it was
    planned, or the broadcast doesn't run any more.
    """
    values = (page.event_id, page.number, page.cursor, page.exhausted, list(page.deferred), page.passed)
    timing = (notified, deliveries, page.pause, page.is_last, page.lease, page.amended)
    if await connection.fetchrow(_ADVANCE, *values, *timing) is None:
        raise PageTaken(page.event_id)


async def stop(connection: asyncpg.Connection, event_id: str, reason: str) -> None:
    """Cancel the broadcast, if it is one that hasn't ended, in the caller's transaction. A page that is being
    written is waited for.
    """
    await connection.execute(_END, event_id, BroadcastState.CANCELLED.value, reason)


async def note(
    connection: asyncpg.Connection, event_id: str | None, sender: str | None, amendment: Amendment
) -> None:
    """Have the later pages of a broadcast be as its publisher wants them now, in the caller's transaction. A
    page that is being written is waited for: what this transaction then reads has all that lack the change.

    Args:
        connection: That of the transaction.
        event_id: The event as it is recorded; None: the broadcasts of the thread.
        sender: Who changes it.
        amendment: The change.
    """
    if event_id is None:
        rows = await connection.fetch(_OPEN_OF_THREAD, amendment.thread_key, sender)
    else:
        rows = await connection.fetch(_OPEN_OF_EVENT, event_id)
    for row in rows:
        changes = noted(_amendments(row["amendments"]), amendment)
        await connection.execute(_NOTE, row["event_id"], msgspec.json.encode(changes).decode())


def _amendments(column: str) -> Sequence[Amendment]:
    return msgspec.json.decode(column, type=list[Amendment])


class BroadcastStore:
    """`Broadcasts` in Postgres."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(self, lease: float) -> BroadcastWork | None:
        """As `Broadcasts.claim`."""
        for row in await self._rows(_CLAIM, lease):
            audience = msgspec.json.decode(row.audience, type=BroadcastAudience)
            changes = _amendments(row.amendments)
            return BroadcastWork(**row._asdict() | {"audience": audience, "amendments": changes})
        return None

    async def release(self, event_id: str, pages: int, pause: float = 0.0) -> None:
        """As `Broadcasts.release`."""
        await self._change(_RELEASE, event_id, pages, pause)

    async def counted(self, event_id: str, people: int) -> None:
        """As `Broadcasts.counted`."""
        await self._change(_COUNTED, event_id, people)

    async def fail(self, event_id: str, reason: str) -> None:
        """As `Broadcasts.fail`."""
        await self._change(_END, event_id, BroadcastState.FAILED.value, reason)

    async def get(self, event_id: str, sender: str | None = None) -> Broadcast | None:
        """As `Broadcasts.get`."""
        return next(map(_shown, await self._rows(_GET, event_id, sender)), None)

    async def newest(
        self, limit: int, before: str | None = None, sender: str | None = None
    ) -> Sequence[Broadcast]:
        """As `Broadcasts.newest`."""
        return [_shown(row) for row in await self._rows(_LIST, sender, before, limit)]

    async def pause(self, event_id: str) -> bool:
        """As `Broadcasts.pause`."""
        return await self._change(_MOVE, event_id, BroadcastState.RUNNING, BroadcastState.PAUSED) > 0

    async def resume(self, event_id: str) -> bool:
        """As `Broadcasts.resume`."""
        return await self._change(_MOVE, event_id, BroadcastState.PAUSED, BroadcastState.RUNNING) > 0

    async def cancel(self, event_id: str) -> bool:
        """As `Broadcasts.cancel`."""
        return await self._change(_END, event_id, BroadcastState.CANCELLED.value, None) > 0

    async def running(self) -> tuple[int, float]:
        """As `Broadcasts.running`."""
        ((number, oldest),) = await self._rows(_RUNNING)
        return number, oldest

    async def _rows(self, statement: str, *values: object) -> Sequence[Any]:
        with store_errors():
            async with self._engine.begin() as connection:
                return (await connection.exec_driver_sql(statement, values)).all()

    async def _change(self, statement: str, *values: object) -> int:
        with store_errors():
            async with self._engine.begin() as connection:
                return (await connection.exec_driver_sql(statement, values)).rowcount


def _shown(row: Any) -> Broadcast:
    values = row._asdict()
    values["audience"] = msgspec.json.decode(row.audience, type=BroadcastAudience)
    values["state"] = BroadcastState(row.state)
    return Broadcast(**values)


def _json(audience: BroadcastAudience) -> str:
    return msgspec.json.encode(audience).decode()
