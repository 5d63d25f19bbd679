"""What a user does with single notifications besides reading: unread, archive, snooze.

What is archived or snoozed is in a table beside the inbox, so inboxes, their counts and batches know nothing
of it (039). A trigger counts what leaves an inbox; what comes back is counted here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.details import from_columns
from app.domain.errors import Unavailable
from app.domain.notifications import (
    ArchivePlace,
    ExpiredNotifications,
    InboxCounters,
    Notification,
    fitting,
)
from app.store.engine import store_errors
from app.store.sweeps import MOVE_ONE, WAS_READ, move_swept, sweep
from app.store.watermarks import COUNTS, GONE_UP_TO, IS_READ, NO_COUNTERS, note_unread

Changed = tuple[Notification, InboxCounters]
"""A notification after a change, and the counters then."""
MAX_MOVED_AT_ONCE = 500
"""Notifications that are moved before archive-all answers: most inboxes have no more."""
_KEPT = (
    "group_id, group_name, receiver, template_code, raw_data, title, content, event_hash, details, "
    "thread_key, expires_at"
)
_SHOWN = (
    "id, group_id, group_name, receiver, created_at, template_code, raw_data::text as raw_data, "
    "{read} as is_read, title, content, seq, details::text as details, thread_key, expires_at, "
    "{until} as snoozed_until"
)
_OF_INBOX = _SHOWN.format(read="is_read", until="null::timestamptz")
_OF_ARCHIVE = _SHOWN.format(read="is_read", until="snoozed_until")


def _sql(statement: str, **more: str) -> str:
    """The statement with the lists of columns filled in."""
    return statement.format(
        kept=_KEPT,
        of_inbox=_OF_INBOX,
        of_archive=_OF_ARCHIVE,
        shown=_SHOWN.format(read=IS_READ, until="null::timestamptz"),
        is_read=IS_READ,
        gone_up_to=GONE_UP_TO,
        was_read=WAS_READ,
        **more,
    )


_LOCK = "select read_up_to from inboxes where user_id = $1 for update"
CHANGED = f"update inboxes set rev = rev + 1 where user_id = $1 returning {COUNTS}"  # noqa: S608
_MOVE_OUT = _sql("""
with moved as (
  delete from notifications using inboxes
  where id = $1 and receiver = $2 and user_id = receiver and seq > {gone_up_to}
  returning notifications.*, {is_read} as was_read
), kept as (
  insert into archived_notifications (id, created_at, is_read, seq, {kept}, snoozed_until)
  select id, created_at, was_read, seq, {kept}, $3::timestamptz from moved
  returning *
)
select {of_archive} from kept
""")
_MOVE_WITHIN = _sql("""
update archived_notifications set snoozed_until = $3::timestamptz where id = $1 and receiver = $2
returning {of_archive}
""")
_MOVE_BACK = _sql("""
with moved as (
  delete from archived_notifications where id = $1 and receiver = $2 returning *
)
insert into notifications (id, created_at, is_read, seq, {kept})
select id, created_at, is_read, seq, {kept} from moved
returning {of_inbox}
""")
_IN_INBOX = _sql("""
select {shown} from notifications join inboxes on user_id = receiver
where id = $1 and receiver = $2 and seq > {gone_up_to}
""")
_IS_BELOW = f"""
select 1 from archived_notifications join inboxes on user_id = receiver
where id = $1 and receiver = $2 and seq <= {GONE_UP_TO}
"""  # noqa: S608
_ONE_MORE = """
update inboxes set settled = settled - 1, seen_settled = seen_settled - ($2 > seen_up_to)::int
where user_id = $1
"""
_SNOOZED = _sql("""
select {of_archive} from archived_notifications
where receiver = $1 and seq < $2 and snoozed_until is not null
order by seq desc limit $3
""")
_SWEPT = _SHOWN.format(read=WAS_READ, until="null::timestamptz")
_ARCHIVED = f"""
(
  select {_OF_ARCHIVE} from archived_notifications
  where receiver = $1 and seq < $2 and snoozed_until is null
  order by seq desc limit $3
) union all (
  select found.* from (select * from archive_sweeps where receiver = $1) as sweep cross join lateral (
    select {_SWEPT.replace("receiver,", "notifications.receiver,")} from notifications
    where notifications.receiver = $1 and seq > from_seq and seq <= least(up_to, $2::bigint - 1)
    order by seq desc limit $3
  ) as found
)
order by seq desc limit $3
"""  # noqa: S608
ARCHIVE_PAGES: dict[ArchivePlace, str] = {"archived": _ARCHIVED, "snoozed": _SNOOZED}
MARK_ARCHIVED_READ = _sql("""
update archived_notifications set is_read = true where id = $1 and receiver = $2 returning {of_archive}
""")
DELETE_ARCHIVED = "delete from archived_notifications where id = $1 and receiver = $2"
# The inboxes first, as in every change, and none that something else changes: it is this one's turn later.
_NO_SCANS = "select set_config('enable_seqscan', 'off', true)"
_LOCK_DUE = """
select array_agg(user_id) from (
  select user_id from inboxes where user_id = any(array(
    select receiver from archived_notifications where {due} <= now() order by {due} limit $1
  ))
  order by user_id for update skip locked
) as locked
"""
_TAKE_DUE = """
with due as materialized (
  select id from archived_notifications where {due} <= now() order by {due} limit $1
), gone as (
  delete from archived_notifications where id = any(array(select id from due)) and receiver = any($2::uuid[])
  returning *
)"""
_TAKE_ONE = """
with gone as (
  delete from archived_notifications where id = $1 and receiver = $2 returning *
)"""
_AS_NEW = _sql("""{{taking}}, numbered as (
  select *, row_number() over (partition by receiver order by snoozed_until desc, id desc) as from_end
  from gone
), raised as (
  update inboxes set last_seq = last_seq + number
  from (select receiver, count(*) as number from gone group by receiver) as more
  where user_id = more.receiver
  returning user_id, last_seq
), inserted as (
  insert into notifications (created_at, is_read, seq, {kept})
  select now(), false, last_seq - from_end + 1, {kept}
  from numbered join raised on user_id = receiver
  order by receiver, from_end desc
  returning *
)
select {of_inbox} from inserted order by receiver, seq
""")
_WAKE, _REVIVE = (_AS_NEW.format(taking=each) for each in (_TAKE_DUE.format(due="snoozed_until"), _TAKE_ONE))
_EXPIRE = _sql(
    "{taking} select id, receiver from gone order by id", taking=_TAKE_DUE.format(due="expires_at")
)
ALL_CHANGED = f"""
update inboxes set rev = rev + 1 where user_id = any($1::uuid[]) returning user_id, {COUNTS}
"""  # noqa: S608


_IS_ANYTHING_DUE = """
select exists (select from notifications where expires_at <= now())
  or exists (select from archived_notifications where expires_at <= now())
  or exists (select from archived_notifications where snoozed_until <= now())
  or exists (select from archive_sweeps)
"""


class TriageStore:
    """The port `Triage`, on Postgres. Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def archive(self, notification: int, receiver: UUID) -> Changed | None:
        """As `Triage.archive`."""
        return await self._move_out(notification, receiver, None)

    async def snooze(self, notification: int, receiver: UUID, until: datetime) -> Changed | None:
        """As `Triage.snooze`."""
        return await self._move_out(notification, receiver, until)

    async def _move_out(self, notification: int, receiver: UUID, until: datetime | None) -> Changed | None:
        async with self._changing(receiver) as connection:
            found = await _outcome(connection, receiver, _MOVE_OUT, notification, until)
            if found is None:
                await connection.exec_driver_sql(MOVE_ONE, (notification, receiver))
                found = await _outcome(connection, receiver, _MOVE_WITHIN, notification, until)
            return found

    async def archive_all(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """As `Triage.archive_all`."""
        with store_errors():
            async with self._engine.begin() as connection:
                row = await sweep(connection, receiver, up_to)
        with suppress(Unavailable):  # what is left is moved by `move_swept`
            if await self.move_swept(MAX_MOVED_AT_ONCE, receiver) < MAX_MOVED_AT_ONCE:
                await self.move_swept(MAX_MOVED_AT_ONCE, receiver)
        return (row.until, InboxCounters(*row[1:])) if row else (0, NO_COUNTERS)

    async def move_swept(self, most: int, receiver: UUID | None = None) -> int:
        """As `Triage.move_swept`."""
        with store_errors():
            async with self._engine.begin() as connection:
                return await move_swept(connection, most, receiver)

    async def unarchive(self, notification: int, receiver: UUID) -> Changed | None:
        """As `Triage.unarchive`."""
        values = (notification, receiver)
        async with self._changing(receiver) as connection:
            await connection.exec_driver_sql(MOVE_ONE, values)
            if await _is_below(connection, values):
                return await _outcome(connection, receiver, _REVIVE, notification)
            row = (await connection.exec_driver_sql(_MOVE_BACK, values)).one_or_none()
            if row is None:
                return await _outcome(connection, receiver, _IN_INBOX, notification)
            counters = None if row.is_read else await _unread_again(connection, receiver, row.seq)
            return notification_of(row), counters or await _changed(connection, receiver)

    async def archive_page(
        self, receiver: UUID, place: ArchivePlace, limit: int, before: int | None, most_bytes: int
    ) -> list[Notification]:
        """As `Triage.archive_page`."""
        values = (receiver, before or 2**63 - 1, limit)
        with store_errors():
            async with self._engine.connect() as connection:
                rows = await connection.exec_driver_sql(ARCHIVE_PAGES[place], values)
                page = [notification_of(row) for row in rows]
                return page[: fitting(page, most_bytes) + 1]

    async def is_anything_due(self) -> bool:
        """As `Triage.is_anything_due`."""
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(_NO_SCANS)
                return bool((await connection.exec_driver_sql(_IS_ANYTHING_DUE)).scalar_one())

    async def wake(self, most: int) -> Sequence[Notification]:
        """As `Triage.wake`."""
        return [notification_of(row) for row in await self._take_due("snoozed_until", _WAKE, most)]

    async def expire_archived(self, most: int) -> Sequence[ExpiredNotifications]:
        """As `Triage.expire_archived`."""
        with store_errors():
            async with self._engine.begin() as connection:
                rows = await _due(connection, "expires_at", _EXPIRE, most)
                ids: dict[UUID, list[int]] = {}
                for row in rows:
                    ids.setdefault(row.receiver, []).append(row.id)
                if not ids:
                    return ()
                changed = await connection.exec_driver_sql(ALL_CHANGED, ([*ids],))
                return [
                    ExpiredNotifications(row.user_id, ids[row.user_id], InboxCounters._make(row[1:]))
                    for row in changed
                ]

    async def _take_due(self, due: str, statement: str, most: int) -> Sequence[Any]:
        with store_errors():
            async with self._engine.begin() as connection:
                return await _due(connection, due, statement, most)

    @asynccontextmanager
    async def _changing(self, receiver: UUID) -> AsyncIterator[AsyncConnection]:
        """A transaction on an inbox, which nothing else changes meanwhile."""
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(_LOCK, (receiver,))
                yield connection


async def _due(connection: AsyncConnection, due: str, statement: str, most: int) -> Sequence[Any]:
    await connection.exec_driver_sql(_NO_SCANS)
    locked = (await connection.exec_driver_sql(_LOCK_DUE.format(due=due), (most,))).scalar_one()
    if not locked:
        return ()
    return (await connection.exec_driver_sql(statement, (most, locked))).all()


async def _is_below(connection: AsyncConnection, values: tuple[int, UUID]) -> bool:
    """Whether it is kept, and everything up to it was deleted from the inbox."""
    return (await connection.exec_driver_sql(_IS_BELOW, values)).one_or_none() is not None


async def _unread_again(connection: AsyncConnection, receiver: UUID, seq: int) -> InboxCounters | None:
    """Count one that came back unread. None if that isn't done yet, or it counts as read: there are too many
    of them under the watermark.
    """
    watermark = (await connection.exec_driver_sql(_LOCK, (receiver,))).one().read_up_to
    if seq > watermark:
        await connection.exec_driver_sql(_ONE_MORE, (receiver, seq))
        return None
    row = await note_unread(connection, receiver, seq)
    return None if row is None else InboxCounters._make(row)


async def _outcome(
    connection: AsyncConnection, receiver: UUID, statement: str, notification: int, *values: object
) -> Changed | None:
    """What the statement made of a notification, and the counters then; None if it found none."""
    row = (await connection.exec_driver_sql(statement, (notification, receiver, *values))).one_or_none()
    return None if row is None else (notification_of(row), await _changed(connection, receiver))


async def _changed(connection: AsyncConnection, receiver: UUID) -> InboxCounters:
    row: Any = (await connection.exec_driver_sql(CHANGED, (receiver,))).one()
    return InboxCounters._make(row)


def notification_of(row: Any) -> Notification:
    """A row as the statements here give it."""
    values = row._asdict()
    details = from_columns(values["details"], values.pop("thread_key"), values.pop("expires_at"))
    return Notification(
        **{**values, "raw_data": msgspec.Raw(values["raw_data"].encode()), "details": details}
    )
