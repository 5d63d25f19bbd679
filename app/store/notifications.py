"""What clients ask of their inbox, and what a redelivered event finds again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    Text,
    cast,
    delete,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.details import from_columns
from app.domain.errors import TooManyUnreadAgain
from app.domain.identity import EventIdentity
from app.domain.notifications import (
    DETAILS_BYTES,
    ExpiredNotifications,
    FilteredCount,
    FilteredPage,
    InboxCounters,
    ListWindow,
    Notification,
    NotificationFilter,
    event_hash,
)
from app.store.engine import store_errors
from app.store.event_ids import recorded
from app.store.filtered import filtered_count, filtered_page
from app.store.models import NotificationRow as N
from app.store.sweeps import MOVE_ONE, SWEPT
from app.store.triage import ALL_CHANGED, CHANGED, DELETE_ARCHIVED, MARK_ARCHIVED_READ, notification_of
from app.store.watermarks import (
    COUNTS,
    GONE_UP_TO,
    IS_READ,
    LOCK,
    MAX_UNREAD_AGAIN,
    NO_COUNTERS,
    REMOVING,
    note_unread,
    raise_seen,
    raise_watermark,
)

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
_OF_EVENTS = f"""
select id, group_id, group_name, receiver, created_at, template_code, raw_data::text as raw_data,
       {IS_READ} as is_read, title, content, seq,
       details::text as details, thread_key, expires_at
from (
  select user_id, array_agg(hash) as hashes
  from unnest($1::uuid[], $2::bigint[]) as asked (user_id, hash) group by user_id
) as wanted
cross join lateral (
  select read_up_to, unread_again, {GONE_UP_TO} as gone_up_to from inboxes
  where user_id = wanted.user_id limit 1
) as inbox
cross join lateral (
  select * from (
    select * from notifications
    where receiver = wanted.user_id and seq > gone_up_to order by seq desc limit $3
  ) as newest
  where event_hash = any(wanted.hashes) limit cardinality(wanted.hashes)
) as found
order by seq
"""  # noqa: S608
# Text, not expressions: to build the statement took more CPU than Postgres takes to run it. A page ends by
# its bytes too, so that no more are read.
_PAGE = """
with inbox as materialized (
  select * from inboxes where user_id = $1
), page as (
  select id, group_id, group_name, receiver, created_at, template_code, raw_data::text as raw_data,
    is_read or (
      seq <= coalesce((select read_up_to from inbox), 0)
      and seq <> all(coalesce((select unread_again from inbox), '{{}}'::bigint[]))
    ) as is_read, title, content, seq, details::text as details, thread_key, expires_at
  from notifications
  where receiver = $1 and seq > coalesce((select {gone_up_to} from inbox), 0) and {which}
), sized as (
  select *, octet_length(raw_data) + octet_length(content)
    + case when num_nonnulls(details, thread_key, expires_at) > 0 then {details_bytes} else 0 end as size
  from page
), counted as (
  select *, sum(size) over (order by seq desc rows unbounded preceding) - size as bytes_before,
    row_number() over (order by seq desc) as number
  from sized
)
select id, group_id, group_name, receiver, created_at, template_code, raw_data, is_read, title, content, seq,
  details, thread_key, expires_at
from counted where bytes_before <= $5::bigint or number <= 2 order by seq desc
"""
_NEWEST = "seq < $3::bigint order by seq desc limit $2::bigint offset $4::bigint"
# From the index and the inbox's row alone. The walk ends when it has found as many as there are by the
# counter, so that it doesn't go through what was read one by one below the last of them. The inner limit is
# one that the planner knows.
_UNREAD = f"""seq = any(array(
    select seq from (
      (
        select seq from (
          select seq from notifications
          where receiver = $1 and not is_read and seq > coalesce((select read_up_to from inbox), 0)
            and seq < $3::bigint
          order by seq desc limit $2::bigint + $4::bigint
        ) as newest
        order by seq desc limit coalesce((
          select greatest(0, last_seq - settled - coalesce(cardinality(unread_again), 0) - case
            when last_seq - $3::bigint < {MAX_ROWS_COUNTED} then (
              select count(*) from notifications
              where receiver = $1 and not is_read and seq > read_up_to and seq >= $3::bigint)
            else 0 end)
          from inbox
        ), $2::bigint + $4::bigint)
      )
      union all
      (select again from inbox, unnest(unread_again) as again where again < $3::bigint)
    ) as unread
    order by seq desc limit $2::bigint offset $4::bigint
  ))"""  # noqa: S608
_PAGES = {
    unread: _PAGE.format(which=which, details_bytes=DETAILS_BYTES, gone_up_to=GONE_UP_TO)
    for unread, which in ((False, _NEWEST), (True, _UNREAD))
}
_MAX_BIGINT = 2**63 - 1
_AGES = """
select event_id, extract(epoch from clock_timestamp() - processed_at)::float8 as seconds
from unnest($1::text[]) as wanted (event_id)
cross join lateral (
  select processed_at from processed_events where event_id = wanted.event_id limit 1
) as found
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
_EXPIRE = f"""
with expired as materialized (
  select id from notifications where expires_at <= now() order by expires_at limit $1
)
delete from notifications where id = any(array(select id from expired)) and receiver = any($2::uuid[])
returning id, receiver,
  {SWEPT} or seq > (select {GONE_UP_TO} from inboxes where user_id = receiver) as shown
"""  # noqa: S608
_COUNTERS = f"select {COUNTS} from inboxes where user_id = $1"  # noqa: S608

_Theirs = Sequence[ColumnElement[bool]]


def newest_rows(receivers: int) -> int:
    """How many of the newest rows of each of so many inboxes are searched for those of an event."""
    return min(NEWEST_ROWS, MAX_ROWS_SEARCHED // max(1, receivers))


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

        As `Inboxes.page`.
        """
        values = (receiver, limit, before, skip, most_bytes)
        given = tuple(_MAX_BIGINT if value is None else value for value in values)
        with store_errors():
            async with self._engine.connect() as connection:
                return [_notification(row) for row in await connection.exec_driver_sql(_PAGES[unread], given)]

    async def filtered_page(
        self, receiver: UUID, wanted: NotificationFilter, window: ListWindow, most_bytes: int
    ) -> FilteredPage:
        """As `Inboxes.filtered_page`."""
        with store_errors():
            async with self._engine.begin() as connection:
                return await filtered_page(connection, receiver, wanted, window, most_bytes)

    async def filtered_count(self, receiver: UUID, wanted: NotificationFilter) -> FilteredCount:
        """As `Inboxes.filtered_count`."""
        with store_errors():
            async with self._engine.connect() as connection:
                return await filtered_count(connection, receiver, wanted)

    async def counters(self, receiver: UUID) -> InboxCounters:
        """How many notifications the receiver has not read, as of which `seq` and `rev`."""
        with store_errors():
            async with self._engine.connect() as connection:
                row = (await connection.exec_driver_sql(_COUNTERS, (receiver,))).one_or_none()
                return NO_COUNTERS if row is None else InboxCounters._make(row)

    async def mark_read(self, notification: int, receiver: UUID) -> tuple[Notification, InboxCounters] | None:
        """The notification, now read, and the count then; None when there is none with that id."""
        with store_errors():
            async with self._changing(receiver) as (connection, theirs):
                row = await _set_read(connection, notification, theirs, True)
                if row is not None:
                    return _notification(row), await _changed(connection, receiver)
                await connection.exec_driver_sql(MOVE_ONE, (notification, receiver))
                archived = await connection.exec_driver_sql(MARK_ARCHIVED_READ, (notification, receiver))
                row = archived.one_or_none()
                return None if row is None else (notification_of(row), await _changed(connection, receiver))

    async def mark_unread(
        self, notification: int, receiver: UUID
    ) -> tuple[Notification, InboxCounters] | None:
        """The notification, now unread, and the count then; None when there is none with that id.

        Raises `TooManyUnreadAgain`.
        """
        with store_errors():
            async with self._changing(receiver) as (connection, theirs):
                row = await _set_read(connection, notification, theirs, False)
                if row is None:
                    return None
                counted = await note_unread(connection, receiver, row.seq)
                if counted is None:
                    raise TooManyUnreadAgain(MAX_UNREAD_AGAIN)
                return _notification(row), InboxCounters._make(counted)

    async def mark_all_read(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """Mark all read up to and with this `seq`, or all there are; up to which `seq` that is, and the count
        then. It is never more than there are.

        One row changes, whatever the number of notifications.
        """
        return await self._raise_watermark(receiver, up_to)

    async def mark_all_seen(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """As `mark_all_read`: seen, which what is read is as well."""
        with store_errors():
            async with self._engine.begin() as connection:
                row = await raise_seen(connection, receiver, up_to)
                return (row.until, InboxCounters(*row[1:])) if row else (0, NO_COUNTERS)

    async def delete_all(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """Delete all up to and with this `seq`, or all there are; up to which `seq` that is, and the count
        then.

        One row changes. The others' space is freed later (`CleaningStore.clear_removed`).
        """
        return await self._raise_watermark(receiver, up_to, also=REMOVING)

    async def _raise_watermark(
        self, receiver: UUID, up_to: int | None, *, also: str = ""
    ) -> tuple[int, InboxCounters]:
        with store_errors():
            async with self._engine.begin() as connection:
                row = await raise_watermark(connection, receiver, up_to, also=also)
                return (row.until, InboxCounters(*row[1:])) if row else (0, NO_COUNTERS)

    async def delete(self, notification: int, receiver: UUID) -> InboxCounters | None:
        """The count after the notification was deleted; None when there is none with that id."""
        with store_errors():
            async with self._changing(receiver) as (connection, theirs):
                deleted = await connection.execute(delete(N).where(N.id == notification, *theirs))
                if deleted.rowcount == 0:
                    await connection.exec_driver_sql(MOVE_ONE, (notification, receiver))
                    archived = await connection.exec_driver_sql(DELETE_ARCHIVED, (notification, receiver))
                    if archived.rowcount == 0:
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
                    if row.shown:
                        ids[row.receiver].append(row.id)
                changed = await connection.exec_driver_sql(ALL_CHANGED, ([*ids],))
                return [
                    ExpiredNotifications(row.user_id, sorted(ids[row.user_id]), InboxCounters._make(row[1:]))
                    for row in changed
                ]

    @asynccontextmanager
    async def _changing(self, receiver: UUID) -> AsyncIterator[tuple[AsyncConnection, _Theirs]]:
        """A transaction on an inbox, which nothing else changes meanwhile: writers and other changes wait. So
        its count is exact for `last_seq`. With it come the conditions of what is in the inbox.
        """
        async with self._engine.begin() as connection:
            gone_up_to = (await connection.exec_driver_sql(LOCK, (receiver,))).scalar_one_or_none()
            yield connection, (N.receiver == receiver, N.seq > (gone_up_to or 0))

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


async def _set_read(connection: AsyncConnection, notification: int, theirs: _Theirs, is_read: bool) -> Any:
    statement = (
        update(N).where(N.id == notification, *theirs).values(is_read=is_read).returning(*_COLUMNS, N.is_read)
    )
    return (await connection.execute(statement)).one_or_none()


async def _changed(connection: AsyncConnection, receiver: UUID) -> InboxCounters:
    """The count after a change, which gets the next `rev`. A trigger has counted what the change settled."""
    row = (await connection.exec_driver_sql(CHANGED, (receiver,))).one_or_none()
    return InboxCounters._make(row) if row else NO_COUNTERS


def _notification(row: Any) -> Notification:
    values = row._asdict()
    details = from_columns(values["details"], values.pop("thread_key"), values.pop("expires_at"))
    return Notification(
        **{**values, "raw_data": msgspec.Raw(values["raw_data"].encode()), "details": details}
    )
