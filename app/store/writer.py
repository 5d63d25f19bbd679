"""The batch writer: any number of events in one transaction of three statements, each over arrays.

Only this statement shape is hand-made: decision 007 has the figures that led to it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

import msgspec
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain import exact_json
from app.domain.deliveries import SIGNAL, delivery_id
from app.domain.errors import InboxesLocked
from app.domain.notifications import Notification, NotificationDraft, event_hash
from app.domain.time import Now, moment
from app.store.engine import store_errors
from app.store.event_ids import claim
from app.store.inbox_locks import InboxLocks, lock_free
from app.store.parked import park, unpark
from app.store.records import EventRecord, WriteResult

# These answer with arrays, in one row: each row costs 2 to 3 µs of our CPU, in the driver and in SQLAlchemy.
_RAISE_SEQ = """
with raised as (
  insert into inboxes as inbox (user_id, last_seq) select * from unnest($1::uuid[], $2::bigint[])
  on conflict (user_id) do update set last_seq = inbox.last_seq + excluded.last_seq
  returning user_id, last_seq
)
select array_agg(last_seq order by user_id) from raised
"""
# Ids rise in the order of the rows: the defaults of an insert are evaluated after its `order by`.
_INSERT = """
with inserted as (
  insert into notifications
    (event_hash, group_id, group_name, receiver, created_at, template_code, raw_data, title, content, seq)
  select event_hash, group_id, group_name, receiver, $10, template_code, raw_data::jsonb, title, content, seq
  from unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[],
              $8::text[], $9::bigint[]) with ordinality
    as new (event_hash, group_id, group_name, receiver, template_code, raw_data, title, content, seq, number)
  order by number
  returning id
)
select array_agg(id order by id) from inserted
"""
_DELIVERIES = """
insert into deliveries (id, event_id, user_id, channel, template, address, locale, data, secret, replaces,
  limit_key, event_at, expires_at, attachments, reason, asked_at, status, next_attempt_at, finished_at,
  foreign_user_id, category)
select id, event_id, user_id, channel, template, address, locale, data::jsonb, secret, replaces,
  coalesce(limit_key, case when replaces is not null then address end), event_at,
  event_at + make_interval(secs => valid_for), attachments::jsonb, reason, coalesce(due_at, now()),
  case when suppressed then 'suppressed' else 'pending' end,
  case when suppressed then null else coalesce(due_at, now()) end,
  case when suppressed then now() end, foreign_user_id, category
from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::bytea[], $10::text[], $11::timestamptz[], $12::float8[], $13::text[], $14::text[],
            $15::bool[], $16::timestamptz[], $17::text[], $18::text[], $19::text[])
  as new (id, event_id, user_id, channel, template, address, locale, data, secret, replaces, event_at,
          valid_for, attachments, reason, suppressed, due_at, limit_key, foreign_user_id, category)
on conflict (id) do nothing
"""
# Of those with the same `replaces` only the newest is ever sent; the secrets of the others go at once.
_REPLACE = """
update deliveries d set status = 'suppressed', reason = 'a newer code took its place', secret = null,
  next_attempt_at = null, finished_at = now()
where d.replaces = any($1::text[]) and d.status = 'pending' and exists (
  select 1 from deliveries newer
  where newer.replaces = d.replaces and (newer.event_at, newer.number) > (d.event_at, d.number)
)
"""
_WAIT_FOR_LOCKS = "set local lock_timeout = 0"
LOCK_NOT_AVAILABLE = "55P03"
LOOK_AGAIN_SECONDS = 0.05
MAX_LOOKS_AT_LOCKS = 4
MAX_EVENTS_THAT_WAIT = 20
"""Of parked events that are resolved in one call: a longer transaction waits for no inbox."""


class BatchWriter:
    """Writes batches. Several nodes may at once: rows are locked in one order, so none can deadlock."""

    def __init__(self, engine: AsyncEngine, now: Now = time.time) -> None:
        """If the engine's connections have a `lock_timeout`, no batch waits longer for a locked inbox."""
        self._engine = engine
        self._now = now
        self._locks = InboxLocks(engine)

    async def write(
        self, entries: Sequence[EventRecord], resolved: Mapping[int, str] = MappingProxyType({})
    ) -> WriteResult:
        """Record the events and insert their notifications, all or nothing. `event_id`s are unique in a call.
        `resolved` are the parked events among them: they aren't parked any more, unless they are conflicts. A
        call with more than `MAX_EVENTS_THAT_WAIT` of them never waits for the lock of an inbox: its events
        have time. One with few waits as any other, so that others' locks can't starve it.

        Raises `StoreRejected` or `Unavailable`; after `Unavailable` the batch may have been committed
        (the answer got lost), so call again with the same entries: what is there stays as it is. After
        `InboxesLocked` nothing is.
        """
        with store_errors():
            suspects = self._locks.suspects_any and len(resolved) <= MAX_EVENTS_THAT_WAIT
            if suspects and (locked := await self._locks.suspected(_receivers(entries))):
                raise InboxesLocked(locked)
            try:
                return await self._write(entries, resolved)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                    raise
            if locked := await self._still_locked(_receivers(entries)):
                raise InboxesLocked(locked)
            return await self._write(entries, resolved, waiting=True)

    async def _still_locked(self, users: Set[UUID]) -> Set[UUID]:
        """Which inboxes are locked, and stay so for a moment: another batch that is being committed is waited
        for, as to park events takes longer.
        """
        locked = await self._locks.locked(users)
        for _ in range(MAX_LOOKS_AT_LOCKS - 1):
            if not locked:
                break
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            locked = await self._locks.locked(locked)
        return locked

    async def _write(
        self, entries: Sequence[EventRecord], resolved: Mapping[int, str], *, waiting: bool = False
    ) -> WriteResult:
        async with self._engine.begin() as connection:
            if waiting:
                await connection.exec_driver_sql(_WAIT_FOR_LOCKS)
            parked: Collection[str] = frozenset()
            if drafts_to_park := [(e.event_id, e.parked) for e in entries if e.parked is not None]:
                parked = await park(connection, drafts_to_park)
                entries = [entry for entry in entries if entry.event_id not in parked]
            claims = await claim(connection, entries)
            new = claims.new.values()
            if done := [number for number, name in resolved.items() if name not in claims.conflicts]:
                await unpark(connection, done)
            drafts = [(e.event_id, draft) for e in new for draft in e.drafts]
            backlog = len(resolved) > MAX_EVENTS_THAT_WAIT and drafts
            if backlog and (locked := await lock_free(connection, _receivers([*new]))):
                raise InboxesLocked(locked)
            notifications = await _insert(connection, drafts, self._now) if drafts else []
            if outgoing := [entry for entry in new if entry.deliveries]:
                await _insert_deliveries(connection, outgoing, moment(self._now()))
        return WriteResult(
            frozenset(claims.new), notifications, parked, claims.repeated, frozenset(claims.conflicts)
        )


def _receivers(entries: Sequence[EventRecord]) -> set[UUID]:
    """Into whose inboxes the entries go, if they aren't parked."""
    written = (entry for entry in entries if entry.parked is None or not entry.parked.needs_answer)
    return {receiver for entry in written for draft in entry.drafts for receiver in draft.receivers}


async def _insert(
    connection: AsyncConnection, drafts: Sequence[tuple[str, NotificationDraft]], now: Now
) -> list[Notification]:
    next_seq = await _reserve(connection, (receiver for _, draft in drafts for receiver in draft.receivers))
    created_at = moment(now())
    rows: list[tuple[NotificationDraft, int, msgspec.Raw, UUID, int]] = []
    for event_id, draft in drafts:
        hashed, raw_data = event_hash(event_id), msgspec.Raw(draft.raw_data.encode())
        for receiver in draft.receivers:
            rows.append((draft, hashed, raw_data, receiver, next(next_seq[receiver])))  # noqa: PERF401 - as a rule it is one
    if not rows:
        return []
    inserted = await connection.exec_driver_sql(_INSERT, _columns(rows, created_at))
    ids: list[int] = inserted.scalar_one()
    return [
        Notification(
            number,
            draft.group_id,
            draft.group_name,
            receiver,
            created_at,
            draft.template_code,
            raw_data,
            False,
            draft.title,
            draft.content,
            seq,
        )
        for number, (draft, _, raw_data, receiver, seq) in zip(ids, rows, strict=True)
    ]


def _columns(
    rows: Sequence[tuple[NotificationDraft, int, msgspec.Raw, UUID, int]], created_at: datetime
) -> tuple[object, ...]:
    """The parameters of `_INSERT`."""
    drafts, hashes, _, receivers, seqs = zip(*rows, strict=True)
    return (
        list(hashes),
        [draft.group_id for draft in drafts],
        [draft.group_name for draft in drafts],
        list(receivers),
        [draft.template_code for draft in drafts],
        [draft.raw_data for draft in drafts],
        [draft.title for draft in drafts],
        [draft.content for draft in drafts],
        list(seqs),
        created_at,
    )


async def _reserve(connection: AsyncConnection, receivers: Iterable[UUID]) -> dict[UUID, Iterator[int]]:
    """Raise each receiver's `last_seq` by what the batch brings; what counts on from there."""
    counts = sorted(Counter(receivers).items(), key=_user_number)
    if not counts:
        return {}
    parameters = ([user for user, _ in counts], [number for _, number in counts])
    last_seqs: list[int] = (await connection.exec_driver_sql(_RAISE_SEQ, parameters)).scalar_one()
    return {
        user: itertools.count(last_seq - number + 1)
        for (user, number), last_seq in zip(counts, last_seqs, strict=True)
    }


def _user_number(count: tuple[UUID, int]) -> int:
    """What orders users as Postgres does: comparing UUIDs themselves is done in Python."""
    return count[0].int


async def _insert_deliveries(
    connection: AsyncConnection, entries: Sequence[EventRecord], now: datetime
) -> None:
    rows = [
        (
            delivery_id(entry.event_id, draft),
            entry.event_id,
            draft.user_id,
            draft.channel,
            draft.template,
            draft.address,
            draft.locale,
            exact_json.encode(draft.data).decode(),
            secret,
            draft.replaces,
            min(entry.happened_at or now, now),  # publishers' clocks may be ahead
            draft.valid_for,
            msgspec.json.encode(draft.attachments).decode() if draft.attachments else None,
            reason,
            suppressed,
            due_at,
            draft.limit_key,
            draft.foreign_user_id,
            category,
        )
        for entry in entries
        for draft, secret, due_at, reason, suppressed, category in entry.deliveries
    ]
    columns = tuple(list(column) for column in zip(*rows, strict=True))
    await connection.exec_driver_sql(_DELIVERIES, columns)
    if replacing := sorted({row[9] for row in rows if row[9] is not None}):
        await connection.exec_driver_sql(_REPLACE, (replacing,))
    await connection.exec_driver_sql("select pg_notify($1, '')", (SIGNAL,))
