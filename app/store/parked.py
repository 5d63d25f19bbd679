"""Parked events, in Postgres: they wait for a dependency that only they need, and keep their order.

A parked event belongs to a lane. Those of one lane are resolved one after the other, oldest first; lanes
don't wait for each other. Events that need the same group are in one lane, and so are events with the same
order key (the key of a Kafka record).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from itertools import starmap
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.engine import store_errors

PARKING_LOCK_KEY = 7209481362550184
"""The advisory lock of transactions that park: two of them never give one group two lanes."""
CLAIM_LOCK_KEY = 7209481362550185
"""The advisory lock of claims: two nodes never claim parts of one lane."""
MAX_BYTES_PER_CLAIM = 16 * 1024 * 1024
"""Of the bodies of events that are claimed together, but for the last one."""

_LOCK = "select pg_advisory_xact_lock($1)"
# While the table is empty all its indexes cost the same, and a plan lives on while the table grows. So each
# statement has the conditions of one index only: that of a group holds no row without one, and what looks
# for an id says `coalesce(…)` in place of `finished_at is null`, which the indexes of lanes have.
_LANES = """
select g.id as needed, null::bytea as key, (
  select lane from parked_events p
  where p.group_id = g.id and p.finished_at is null and not p.optional order by p.id limit 1) as lane
from unnest($1::uuid[]) as g(id)
union all
select null, k.key, (
  select lane from parked_events p where p.order_key = k.key and p.finished_at is null order by p.id limit 1)
from unnest($2::bytea[]) as k(key)
"""
_JOIN_LANES = """
update parked_events p set lane = joined.lane from unnest($1::uuid[], $2::uuid[]) as joined (other, lane)
where p.lane = joined.other and p.finished_at is null
"""
_PARK = """
insert into parked_events (position, lane, group_id, order_key, event_id, event_type, source, dedup_key,
  sender, happened_at, body, labels, fresh, optional, fingerprint, deadline)
select position, lane, group_id, order_key, event_id, event_type, source, dedup_key, sender, happened_at,
  body, labels, fresh, optional, fingerprint, clock_timestamp() + make_interval(secs => $16)
from unnest($1::text[], $2::uuid[], $3::uuid[], $4::bytea[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::text[], $10::timestamptz[], $11::bytea[], $12::bytea[],
            $13::bool[], $14::bool[], $15::bigint[])
  with ordinality as new (position, lane, group_id, order_key, event_id, event_type, source, dedup_key,
                          sender, happened_at, body, labels, fresh, optional, fingerprint, number)
order by number
on conflict (position) do nothing
"""
_DELETE = "delete from parked_events where id = any($1::bigint[])"
# `skip locked`: an operator may be dropping one. What needs no answer comes before any backlog that does.
_CLAIM = """
with heads as (
  select distinct on (lane) lane, id, group_id, optional, next_attempt_at, leased_until, deadline
  from parked_events where finished_at is null order by lane, id
), due as (
  select lane, group_id is not null as asks from heads
  where (leased_until is null or leased_until < now()) and (next_attempt_at <= now() or deadline <= now())
    and ($4 or group_id is null or optional or deadline <= now())
  order by asks, next_attempt_at, id limit $2
), oldest as (
  select p.id, due.asks, octet_length(p.body) as bytes
  from parked_events p join due using (lane) where p.finished_at is null
  order by due.asks, p.id limit $1
), fitting as (
  select id from (select id, sum(bytes) over (order by asks, id) - bytes as before from oldest) as each
  where before < $5
), chosen as (
  select id from parked_events where id in (select id from fitting) for update skip locked
)
update parked_events p set leased_until = now() + make_interval(secs => $3)
from chosen where p.id = chosen.id
returning p.id, p.lane, p.group_id, p.event_id, p.event_type, p.source, p.dedup_key, p.sender, p.happened_at,
  p.body, p.labels, p.attempts, p.fresh, p.optional, p.deadline <= now() as overdue,
  p.deadline = '-infinity' as dropped, p.fingerprint
"""
_RETRY = """
update parked_events set attempts = attempts + 1, reason = $2, leased_until = null,
  next_attempt_at = now() + make_interval(secs => $3)
where id = $1 and coalesce(finished_at, 'infinity') = 'infinity'
"""
_RELEASE = """
update parked_events set leased_until = null
where id = any($1::bigint[]) and coalesce(finished_at, 'infinity') = 'infinity'
"""
_RENEW = """
update parked_events set leased_until = now() + make_interval(secs => $2)
where id = any($1::bigint[]) and leased_until is not null and coalesce(finished_at, 'infinity') = 'infinity'
"""
_FINISH = """
update parked_events set finished_at = now(), reason = $2, body = '', labels = null, leased_until = null
where id = any($1::bigint[]) and coalesce(finished_at, 'infinity') = 'infinity'
"""
_FIND = (
    "select case when finished_at is not null then reason end, sender from parked_events where position = $1"
)
_STATE = """
select count(*), coalesce(extract(epoch from now() - min(parked_at)), 0)::float8
from parked_events where finished_at is null
"""
_NEXT_DUE = """
select extract(epoch from min(
    greatest(least(next_attempt_at, deadline), coalesce(leased_until, '-infinity'))) - now())::float8
from (
  select distinct on (lane) next_attempt_at, deadline, leased_until
  from parked_events where finished_at is null order by lane, id
) heads
"""


class ParkedDraft(NamedTuple):
    """How to park an event, should it have to be."""

    group_id: UUID | None
    """The group that it needs; None for one that only keeps the order of its key."""
    order_key: bytes | None
    source: str
    dedup_key: str
    attempts: int
    """How often it was dead-lettered and replayed: each replay is a separate event."""
    event_type: str | None
    sender: str | None
    happened_at: datetime | None
    body: bytes
    labels: Callable[[], bytes | None]
    """What its source needs to dead-letter it; called when it is parked."""
    needs_answer: bool
    """Whether it has to be parked, or only behind others."""
    retry_for: float
    """Seconds until it is dead-lettered."""
    fresh: bool = False
    """Whether a cached answer isn't enough."""
    optional: bool = False
    """Whether it is handled without an answer, if there is none at the first attempt. Such an event keeps no
    order in its group: it waits for no other, nor others for it.
    """
    follows: bytes | None = None
    """An order key of others that it comes after too. It has that key itself only if it does."""
    fingerprint: int | None = None
    """Of its content, if its publisher chose its id (`EventIdentity`)."""

    @property
    def position(self) -> str:
        """The same each time that the source delivers the message."""
        return f"{self.dedup_key}#{self.attempts}"


class ParkedEventRecord(NamedTuple):
    """A parked event that a node has leased."""

    id: int
    lane: UUID
    group_id: UUID | None
    event_id: str
    event_type: str | None
    source: str
    dedup_key: str
    sender: str | None
    happened_at: datetime | None
    body: bytes
    labels: bytes | None
    attempts: int
    fresh: bool
    optional: bool
    overdue: bool
    """Whether its retry deadline has passed."""
    dropped: bool = False
    """Whether an operator dropped it."""
    fingerprint: int | None = None


class ParkedState(NamedTuple):
    """How many are parked, and for how many seconds the oldest has been."""

    events: int
    oldest: float


class ParkedStatus(NamedTuple):
    """How an event stands that was parked: why it was dead-lettered (None: it is parked), and who sent it."""

    rejected: str | None
    sender: str | None


class Lanes:
    """Which of a batch's events are parked, and in which lanes, in the order of the batch. No I/O."""

    def __init__(self, known: dict[UUID | bytes, UUID]) -> None:
        """`known`: the lanes of groups and of order keys that have parked events."""
        self._lanes = known
        self.joined: dict[UUID, UUID] = {}
        """Lanes that become part of another, as an event belongs to both; and of which."""

    def lane_of(self, draft: ParkedDraft) -> UUID | None:
        """The event's lane; None if it need not be parked."""
        group_id = None if draft.optional else draft.group_id
        names = [name for name in (group_id, self.order_key_of(draft)) if name is not None]
        found = {self._lanes[name] for name in names if name in self._lanes}
        if not found and not draft.needs_answer:
            return None
        lane = min(found) if found else group_id or uuid4()
        if others := found - {lane}:
            self.joined = {each: lane if into in others else into for each, into in self.joined.items()}
            self.joined.update(dict.fromkeys(others, lane))
            self._lanes = {name: lane if known in others else known for name, known in self._lanes.items()}
        self._lanes.update(dict.fromkeys(names, lane))
        return lane

    def order_key_of(self, draft: ParkedDraft) -> bytes | None:
        """The order key that the event is parked with."""
        return draft.order_key or (draft.follows if draft.follows in self._lanes else None)


async def park(connection: asyncpg.Connection, drafts: Sequence[tuple[str, ParkedDraft]]) -> set[str]:
    """Park those events (by id, with their drafts) that have to be; the ids of all that are parked.

    In the caller's transaction. One statement if none has to be.
    """
    if any(draft.needs_answer for _, draft in drafts):
        await connection.execute(_LOCK, PARKING_LOCK_KEY)
    groups = {draft.group_id for _, draft in drafts if draft.group_id is not None}
    keys = {key for _, draft in drafts for key in (draft.order_key, draft.follows) if key is not None}
    found = await connection.fetch(_LANES, list(groups), list(keys))
    lanes = Lanes(
        {key if needed is None else needed: lane for needed, key, lane in found if lane is not None}
    )
    parked = [
        (lane, lanes.order_key_of(draft), event_id, draft)
        for event_id, draft in drafts
        if (lane := lanes.lane_of(draft)) is not None
    ]
    if not parked:
        return set()
    rows = [_row(*each) for each in parked]
    columns = [list(column) for column in zip(*rows, strict=True)]
    await connection.execute(_PARK, *columns, parked[0][3].retry_for)
    if lanes.joined:
        await connection.execute(_JOIN_LANES, list(lanes.joined), list(lanes.joined.values()))
    return {event_id for _, _, event_id, _ in parked}


def _row(lane: UUID, order_key: bytes | None, event_id: str, draft: ParkedDraft) -> tuple[object, ...]:
    return (
        draft.position,
        lane,
        draft.group_id,
        order_key,
        event_id,
        draft.event_type,
        draft.source,
        draft.dedup_key,
        draft.sender,
        draft.happened_at,
        draft.body,
        draft.labels(),
        draft.fresh,
        draft.optional,
        draft.fingerprint,
    )


async def unpark(connection: asyncpg.Connection, ids: Collection[int]) -> None:
    """Remove events that are stored in the caller's transaction."""
    await connection.execute(_DELETE, list(ids))


class ParkedStore:
    """`ParkedEvents` in Postgres."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(
        self, most: int, lanes: int, lease: float, *, asking: bool
    ) -> Sequence[ParkedEventRecord]:
        """As `ParkedEvents.claim`."""
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(_LOCK, (CLAIM_LOCK_KEY,))
                values = (most, lanes, lease, asking, MAX_BYTES_PER_CLAIM)
                found = await connection.exec_driver_sql(_CLAIM, values)
                return sorted(starmap(ParkedEventRecord, found), key=lambda event: event.id)

    async def retry(self, event: int, reason: str, after: float) -> None:
        """As `ParkedEvents.retry`."""
        await self._change(_RETRY, (event, reason, after))

    async def release(self, events: Collection[int]) -> None:
        """As `ParkedEvents.release`."""
        await self._change(_RELEASE, (list(events),))

    async def renew(self, events: Collection[int], lease: float) -> None:
        """As `ParkedEvents.renew`."""
        if events:
            await self._change(_RENEW, (list(events), lease))

    async def finish(self, events: Collection[int], reason: str) -> None:
        """As `ParkedEvents.finish`."""
        await self._change(_FINISH, (list(events), reason))

    async def find(self, dedup_key: str) -> ParkedStatus | None:
        """As `ParkedEvents.find`."""
        with store_errors():
            async with self._engine.connect() as connection:
                found = await connection.exec_driver_sql(_FIND, (f"{dedup_key}#0",))
                row: Any = found.one_or_none()
                return row and ParkedStatus(*row)

    async def state(self) -> ParkedState:
        """As `ParkedEvents.state`."""
        return ParkedState(*await self._one(_STATE))

    async def next_due(self) -> float | None:
        """As `ParkedEvents.next_due`."""
        (seconds,) = await self._one(_NEXT_DUE)
        return None if seconds is None else max(0.0, seconds)

    async def _change(self, statement: str, values: tuple[object, ...]) -> int:
        with store_errors():
            async with self._engine.begin() as connection:
                return (await connection.exec_driver_sql(statement, values)).rowcount

    async def _one(self, statement: str) -> Any:
        with store_errors():
            async with self._engine.begin() as connection:
                return (await connection.exec_driver_sql(statement)).one()
