"""What clients ask of their inbox, and what a redelivered event finds again."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    Text,
    any_,
    case,
    cast,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.details import from_columns
from app.domain.identity import EventIdentity
from app.domain.notifications import (
    DETAILS_BYTES,
    ExpiredNotifications,
    InboxCounters,
    Notification,
    event_hash,
)
from app.store.engine import store_errors
from app.store.event_ids import recorded
from app.store.models import InboxRow as I
from app.store.models import NotificationRow as N

_COLUMNS = (
    N.id,
    N.group_id,
    N.group_name,
    N.receiver,
    N.created_at,
    N.template_code,
    cast(N.raw_data, Text).label(
        "raw_data"
    ),  # passed on as it is: clients get JSON, no one here looks into it
    N.title,
    N.content,
    N.seq,
    cast(N.details, Text).label("details"),
    N.thread_key,
    N.expires_at,
)

MAX_ROWS_COUNTED = 10_000
"""Of the index, above the page that is asked for: a millisecond."""
NEWEST_ROWS = 1000
MAX_ROWS_SEARCHED = 500_000  # about a second of Postgres

# The limits end both searches early; lateral with a limit is a look-up by index, however large the table is.
_OF_EVENTS = """
select id, group_id, group_name, receiver, created_at, template_code, raw_data::text as raw_data,
       is_read or seq <= read_up_to as is_read, title, content, seq,
       details::text as details, thread_key, expires_at
from (
  select user_id, array_agg(hash) as hashes
  from unnest($1::uuid[], $2::bigint[]) as asked (user_id, hash) group by user_id
) as wanted
cross join lateral (select read_up_to from inboxes where user_id = wanted.user_id limit 1) as inbox
cross join lateral (
  select * from (
    select * from notifications where receiver = wanted.user_id order by seq desc limit $3
  ) as newest
  where event_hash = any(wanted.hashes) limit cardinality(wanted.hashes)
) as found
order by seq
"""
_AGES = """
select event_id, extract(epoch from clock_timestamp() - processed_at)::float8 as seconds
from unnest($1::text[]) as wanted (event_id)
cross join lateral (
  select processed_at from processed_events where event_id = wanted.event_id limit 1
) as found
"""
_READ_ALL = """
update inboxes set read_up_to = last_seq, settled = last_seq, rev = rev + 1 where user_id = $1
returning last_seq as until, 0 as unread, last_seq, rev
"""
# What it counts are the unread ones on the shorter side of `until`, none of which is under `read_up_to`.
_LOOK = """
select until, last_seq, settled, read_up_to, case
  when until <= read_up_to then settled
  when last_seq - until < until - read_up_to then last_seq - (
    select count(*) from notifications where receiver = $1 and not is_read and seq > until)
  else settled + (
    select count(*) from notifications
    where receiver = $1 and not is_read and seq > read_up_to and seq <= until)
  end as settled_then
from (select *, least($2, last_seq) as until from inboxes where user_id = $1) as inbox
"""
# The inboxes first, as in every change. Who expires is found by its index, which has those rows only.
_NO_SCANS = "select set_config('enable_seqscan', 'off', true)"
_LOCK_EXPIRED = """
select array_agg(user_id) from (
  select user_id from inboxes where user_id = any(array(
    select receiver from notifications where expires_at <= now() order by expires_at limit $1
  ))
  order by user_id for update skip locked
) as locked
"""
_EXPIRE = """
with expired as materialized (
  select id from notifications where expires_at <= now() order by expires_at limit $1
)
delete from notifications where id = any(array(select id from expired)) and receiver = any($2::uuid[])
returning id, receiver
"""
_CHANGED = """
update inboxes set rev = rev + 1 where user_id = any($1::uuid[])
returning user_id, last_seq - settled as unread, last_seq, rev
"""
_LOCK = "select 1 from inboxes where user_id = $1 for update"
_READ_UP_TO = """
update inboxes set read_up_to = greatest(read_up_to, $2), settled = $3, rev = rev + 1
where user_id = $1 and settled = $4 and read_up_to = $5
returning $2::bigint as until, last_seq - settled as unread, last_seq, rev
"""
MAX_LOOKS_WITHOUT_LOCK = 3
NO_COUNTERS = InboxCounters(0, 0, 0)


def newest_rows(receivers: int) -> int:
    """How many of the newest rows of each of so many inboxes are searched for those of an event."""
    return min(NEWEST_ROWS, MAX_ROWS_SEARCHED // max(1, receivers))


def _within(query: Select[*tuple[Any, ...]], most_bytes: int) -> Select[*tuple[Any, ...]]:
    """The rows of the query that fit, as `fitting` counts, and the next one."""
    rows = query.subquery()
    shown = func.num_nonnulls(rows.c.details, rows.c.thread_key, rows.c.expires_at) > 0
    size = func.octet_length(rows.c.raw_data) + func.octet_length(rows.c.content)
    size += case((shown, DETAILS_BYTES), else_=0)
    newest_first = rows.c.seq.desc()
    before = func.sum(size).over(order_by=newest_first, rows=(None, 0)) - size
    number = func.row_number().over(order_by=newest_first)
    counted = select(rows, before.label("before"), number.label("number")).subquery()
    columns = [column for column in counted.c if column.name not in ("before", "number")]
    fits = or_(counted.c.before <= most_bytes, counted.c.number <= 2)
    return select(*columns).where(fits).order_by(counted.c.seq.desc())


def _watermark(receiver: UUID) -> ColumnElement[int]:
    return func.coalesce(select(I.read_up_to).where(I.user_id == receiver).scalar_subquery(), 0)


def _unread_seqs(receiver: UUID, limit: int, before: int | None, skip: int) -> ScalarSelect[int]:
    """The `seq`s of a page of unread notifications, newest first, from the index alone.

    The walk ends when it has found as many as there are by the counter, so that it doesn't go through what
    was read one by one below the last of them.
    """
    unread = (N.receiver == receiver, ~N.is_read, N.seq > _watermark(receiver))
    left: ColumnElement[int] = I.last_seq - I.settled
    newest = select(N.seq).where(*unread).order_by(N.seq.desc()).limit(limit + skip)
    if before is not None:
        newest = newest.where(N.seq < before)
        above = select(func.count()).where(*unread, N.seq >= before).scalar_subquery()
        left -= case((I.last_seq - before < MAX_ROWS_COUNTED, above), else_=0)
    wanted = select(func.least(limit, func.greatest(left - skip, 0))).where(I.user_id == receiver)
    found = newest.subquery()
    # The inner limit is one that the planner knows.
    page = select(found.c.seq).order_by(found.c.seq.desc()).offset(skip or None)
    return page.limit(func.coalesce(wanted.scalar_subquery(), limit)).scalar_subquery()


class NotificationStore:
    """Reads and changes single inboxes. Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self,
        receiver: UUID,
        limit: int,
        before: int | None = None,
        unread: bool = False,
        skip: int = 0,
        most_bytes: int | None = None,
    ) -> list[Notification]:
        """At most `limit` notifications, newest first: those with a `seq` under `before`, or only unread.

        As `Inboxes.page`. Postgres ends a page by its bytes, so that no more are read.
        """
        is_read = or_(N.is_read, N.seq <= _watermark(receiver)).label("is_read")
        query = select(*_COLUMNS, is_read).where(N.receiver == receiver).order_by(N.seq.desc())
        if unread:
            query = query.where(N.seq == any_(func.array(_unread_seqs(receiver, limit, before, skip))))
        else:
            query = query.limit(limit).offset(skip or None)
            if before is not None:
                query = query.where(N.seq < before)
        with store_errors():
            async with self._engine.connect() as connection:
                rows = await connection.execute(_within(query, most_bytes) if most_bytes else query)
                return [_notification(row) for row in rows]

    async def counters(self, receiver: UUID) -> InboxCounters:
        """How many notifications the receiver has not read, as of which `seq` and `rev`."""
        query = select(I.last_seq - I.settled, I.last_seq, I.rev).where(I.user_id == receiver)
        with store_errors():
            async with self._engine.connect() as connection:
                row = (await connection.execute(query)).one_or_none()
                return InboxCounters(0, 0, 0) if row is None else InboxCounters(*row)

    async def mark_read(self, notification: int, receiver: UUID) -> tuple[Notification, InboxCounters] | None:
        """The notification, now read, and the count then; None when there is none with that id."""
        statement = (
            update(N)
            .where(N.id == notification, N.receiver == receiver)
            .values(is_read=True)
            .returning(*_COLUMNS, N.is_read)
        )
        with store_errors():
            async with self._changing(receiver) as connection:
                row = (await connection.execute(statement)).one_or_none()
                return None if row is None else (_notification(row), await _changed(connection, receiver))

    async def mark_all_read(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """Mark all read up to and with this `seq`, or all there are; up to which `seq` that is, and the count
        then. It is never more than there are.

        One row changes, whatever the number of notifications.
        """
        with store_errors():
            async with self._engine.begin() as connection:
                if up_to is None:
                    row: Any = (await connection.exec_driver_sql(_READ_ALL, (receiver,))).one_or_none()
                else:
                    row = await _read_up_to(connection, receiver, up_to)
                return (row.until, InboxCounters(*row[1:])) if row else (0, NO_COUNTERS)

    async def delete(self, notification: int, receiver: UUID) -> InboxCounters | None:
        """The count after the notification was deleted; None when there is none with that id."""
        statement = delete(N).where(N.id == notification, N.receiver == receiver)
        with store_errors():
            async with self._changing(receiver) as connection:
                if (await connection.execute(statement)).rowcount == 0:
                    return None
                return await _changed(connection, receiver)

    async def expire(self, most: int) -> Sequence[ExpiredNotifications]:
        """Delete what has expired, as `Inboxes.expire`."""
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(_NO_SCANS)
                locked = (await connection.exec_driver_sql(_LOCK_EXPIRED, (most,))).scalar_one()
                if not locked:
                    return ()
                ids: defaultdict[UUID, list[int]] = defaultdict(list)
                for row in await connection.exec_driver_sql(_EXPIRE, (most, locked)):
                    ids[row.receiver].append(row.id)
                changed = await connection.exec_driver_sql(_CHANGED, ([*ids],))
                return [
                    ExpiredNotifications(
                        row.user_id,
                        sorted(ids[row.user_id]),
                        InboxCounters(row.unread, row.last_seq, row.rev),
                    )
                    for row in changed
                ]

    @asynccontextmanager
    async def _changing(self, receiver: UUID) -> AsyncIterator[AsyncConnection]:
        """A transaction on an inbox, which nothing else changes meanwhile: writers and other changes wait. So
        its count is exact for `last_seq`.
        """
        async with self._engine.begin() as connection:
            await connection.exec_driver_sql(_LOCK, (receiver,))
            yield connection

    async def find(self, events: Mapping[str, Sequence[UUID]]) -> list[Notification]:
        """The notifications of these events, by id, for these receivers, in rising `seq`. Those that are
        further down an inbox than `newest_rows` are not found.
        """
        if not events:
            return []
        receivers = [receiver for each in events.values() for receiver in each]
        hashes = [event_hash(event_id) for event_id, each in events.items() for _ in each]
        most = newest_rows(len(set(receivers)))
        with store_errors():
            async with self._engine.connect() as connection:
                rows = await connection.exec_driver_sql(_OF_EVENTS, (receivers, hashes, most))
                return [_notification(row) for row in rows]

    async def processed(self, event_ids: Collection[str]) -> list[tuple[str, float]]:
        """How many seconds ago each of the events was processed, by Postgres' clock."""
        with store_errors():
            async with self._engine.connect() as connection:
                rows = await connection.exec_driver_sql(_AGES, (list(event_ids),))
                return [(row.event_id, row.seconds) for row in rows]

    async def identities(self, event_ids: Collection[str]) -> Mapping[str, EventIdentity]:
        """What is recorded of each of the events that were processed."""
        with store_errors():
            async with self._engine.connect() as connection:
                return await recorded(connection, event_ids)


async def _changed(connection: AsyncConnection, receiver: UUID) -> InboxCounters:
    """The count after a change, which gets the next `rev`. A trigger has counted what the change settled."""
    raising = (
        update(I)
        .where(I.user_id == receiver)
        .values(rev=I.rev + 1)
        .returning(I.last_seq - I.settled, I.last_seq, I.rev)
    )
    row = (await connection.execute(raising)).one_or_none()
    return InboxCounters(*row) if row else NO_COUNTERS


async def _read_up_to(connection: AsyncConnection, receiver: UUID, up_to: int) -> Any:
    """Raise the watermark. The inbox isn't locked while unread notifications are counted.

    New notifications leave `settled` as it is, and what else changes the count raises it or the watermark. So
    if both are what they were, the count holds.
    """
    for look in itertools.count(1):
        if look > MAX_LOOKS_WITHOUT_LOCK:
            await connection.exec_driver_sql(_LOCK, (receiver,))
        seen = (await connection.exec_driver_sql(_LOOK, (receiver, up_to))).one_or_none()
        if seen is None:
            return None
        values = (receiver, seen.until, seen.settled_then, seen.settled, seen.read_up_to)
        row = (await connection.exec_driver_sql(_READ_UP_TO, values)).one_or_none()
        if row is not None:
            return row
    return None


def _notification(row: Any) -> Notification:
    values = row._asdict()
    details = from_columns(values["details"], values.pop("thread_key"), values.pop("expires_at"))
    return Notification(
        **{**values, "raw_data": msgspec.Raw(values["raw_data"].encode()), "details": details}
    )
