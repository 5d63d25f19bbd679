"""What publishers change of their notifications afterwards, in the transaction of the event (052).

By thread they are found in an index that has only those with a thread; by event and receiver among the newest
of each inbox, as a repeated event finds its own; by event alone among those that were written in its seconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from app.domain.amendments import NO_SUCH_EVENT, Amended, Amendment, Place, Update, updated
from app.domain.details import NOTHING, from_columns, to_column
from app.domain.errors import InvalidEvent
from app.domain.identity import chunk_names, page_name, scoped_id
from app.domain.notifications import InboxCounters, Notification, event_hash
from app.store.broadcasts import note, stop
from app.store.sweeps import moving
from app.store.watermarks import COUNTS, GONE_UP_TO, IS_READ, MAX_UNREAD_AGAIN, UNREAD_AGAIN
from handlers.registry import details_of

MAX_ROWS_AT_ONCE = 500
"""Notifications that are changed in one transaction, whose inboxes are locked until its end."""
NEWEST_ROWS_COUNT = 1000
"""Of each receiver's inbox, among which the notification of an event is looked for."""
PAGES_PER_QUERY = 100
# A batch takes its `created_at` from the clock of its node when it begins to write, and may have waited.
_BEFORE, _AFTER = timedelta(seconds=2), timedelta(seconds=10)
RETRACTED = "its publisher retracted the notification"
"""Why a delivery is suppressed, and a broadcast cancelled."""

_PLANNER = "select set_config('enable_seqscan', 'off', true), set_config('enable_nestloop', 'on', true)"
_TABLES = ("notifications", "archived_notifications")
_OF_THREAD = "\nunion all\n".join(
    f"""
select id, receiver, seq from unnest($1::uuid[]) as wanted (user_id) cross join lateral (
  select id, receiver, seq from {table}
  where receiver = user_id and thread_key = $2
    and (details ->> 'sender' is null or details ->> 'sender' = $3::text)
) as of_{table}
"""  # noqa: S608
    for table in _TABLES
)
_OF_PLACE = """
select id, receiver, seq from unnest($1::uuid[]) as wanted (user_id) cross join lateral (
  select id, receiver, seq, event_hash from {table}
  where receiver = user_id and {of} order by seq desc limit $3
) as {name}
where event_hash = $2
"""
_OF_RECEIVERS = "\nunion all\n".join(
    _OF_PLACE.format(table=table, of=of, name=name)
    for table, of, name in (
        ("notifications", "true", "newest"),
        ("archived_notifications", "snoozed_until is null", "archived"),
        ("archived_notifications", "snoozed_until is not null", "snoozed"),
    )
)
_OF_EVENT = "\nunion all\n".join(
    f"""
select id, receiver, seq from unnest($1::timestamptz[], $2::timestamptz[]) as written (since, until)
cross join lateral (
  select id, receiver, seq, event_hash from {table} where created_at >= since and created_at < until
) as of_{table}
where event_hash = $3
"""  # noqa: S608
    for table in _TABLES
)
_PROCESSED = """
select event_id, sender, processed_at from unnest($1::text[]) as wanted (name) cross join lateral (
  select event_id, sender, processed_at from processed_events where event_id = name limit 1
) as found
"""
_MOVE_SWEPT = moving("id = any($1::bigint[])")
_LOCK = "select 1 from inboxes where user_id = any($1::uuid[]) order by user_id for update"
_SHOWN = (
    "id, group_id, group_name, receiver, created_at, template_code, raw_data::text as raw_data, "
    "{read} as is_read, title, content, seq, details::text as details, thread_key, expires_at, "
    "{until} as snoozed_until, details ->> 'sender' as sender"
)
_ROWS = f"""
select {_SHOWN.format(read=IS_READ, until="null::timestamptz")}, false as kept
from notifications join inboxes on user_id = receiver
where id = any($1::bigint[]) and seq > {GONE_UP_TO}
union all
select {_SHOWN.format(read="is_read", until="snoozed_until")}, true as kept
from archived_notifications where id = any($1::bigint[])
order by receiver, seq
"""  # noqa: S608
_UPDATE = """
update {table} set title = new.title, content = new.content, template_code = new.template_code,
  raw_data = new.raw_data::jsonb, group_name = new.group_name, details = new.details::jsonb,
  expires_at = new.expires_at, is_read = {table}.is_read and not $9::boolean
from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::timestamptz[])
  as new (id, title, content, template_code, raw_data, group_name, details, expires_at)
where {table}.id = new.id
"""
_DELETE = "delete from {table} where id = any($1::bigint[])"
_CHANGED = f"""
update inboxes set rev = rev + 1 where user_id = any($1::uuid[]) returning user_id, {COUNTS}
"""  # noqa: S608
_LOCALES = "select user_id, locale from preferences where user_id = any($1::uuid[]) and locale is not null"
# A digest stays: it is about other events too, and looks at what is left of them when it is due.
_CANCEL = """
update deliveries set status = 'suppressed', reason = $2, secret = null, next_attempt_at = null,
  finished_at = now()
where {which} and status in ('pending', 'held') and digest_id is distinct from id
  and (cardinality($3::uuid[]) = 0 or user_id = any($3::uuid[]))
"""
_CANCEL_OF_EVENT = _CANCEL.format(which="event_id = $1")
_CANCEL_OF_THREAD = _CANCEL.format(which="user_id = any($3::uuid[]) and data #>> '{details,thread_key}' = $1")


class Target(NamedTuple):
    """The notifications that a publisher means: their ids, and the event as it is recorded."""

    ids: Sequence[int]
    event_id: str | None


async def find(connection: asyncpg.Connection, amendment: Amendment, sender: str | None) -> Target:
    """Find what this sender means, in the caller's transaction. A broadcast of which not all is written yet
    ends, or is changed from now on.

    Raises `InvalidEvent` (`NO_SUCH_EVENT`) if it sent no event with that id. What came over a broker is
    anybody's; what came over HTTP is that service's.
    """
    await connection.execute(_PLANNER)
    if amendment.thread_key is not None:
        await note(connection, None, sender, amendment)
        values = ([*amendment.receivers], amendment.thread_key, sender)
        rows = await connection.fetch(_OF_THREAD, *values)
        if amendment.update is not None:  # the newest of a thread is what it says now
            rows = [*{row["receiver"]: row for row in sorted(rows, key=lambda row: row["seq"])}.values()]
        return Target([row["id"] for row in rows], None)
    name, written = await _recorded(connection, amendment.original or "", sender)
    if amendment.update is None and not amendment.receivers:
        await stop(connection, name, RETRACTED)
    else:
        await note(connection, name, sender, amendment)
    if amendment.receivers:
        receivers = ([*amendment.receivers], event_hash(name), NEWEST_ROWS_COUNT)
        rows = await connection.fetch(_OF_RECEIVERS, *receivers)
    else:
        since, until = _spans([*written, *await _pages_written(connection, name)])
        rows = await connection.fetch(_OF_EVENT, since, until, event_hash(name))
    return Target([*dict.fromkeys(row["id"] for row in rows)], name)


async def _recorded(
    connection: asyncpg.Connection, original: str, sender: str | None
) -> tuple[str, Sequence[datetime]]:
    """The id under which the event is recorded, and when it, and its chunks if it has some, were written."""
    names = [original] if sender is None else [scoped_id(original, sender), original]
    chunks = {chunk: name for name in names for chunk in chunk_names(name)}
    found = await connection.fetch(_PROCESSED, [*names, *chunks])
    senders = {row["event_id"]: row["sender"] for row in found}
    for name in names:
        if name in senders and senders[name] in (None, sender):
            return name, [
                row["processed_at"] for row in found if name in (row["event_id"], chunks.get(row["event_id"]))
            ]
    raise InvalidEvent(
        NO_SUCH_EVENT,
        f"no event {original[:200]!r} of this publisher was processed; publish it first, then its changes",
    )


async def _pages_written(connection: asyncpg.Connection, name: str) -> list[datetime]:
    """When the pages of a broadcast were written, if it is one."""
    written: list[datetime] = []
    for first in itertools.count(0, PAGES_PER_QUERY):
        names = [page_name(name, number) for number in range(first, first + PAGES_PER_QUERY)]
        found = await connection.fetch(_PROCESSED, names)
        if not found:
            break
        written += [row["processed_at"] for row in found]
    return written


def _spans(written: Sequence[datetime]) -> tuple[list[datetime], list[datetime]]:
    """From when until when there may be notifications of events that were recorded then: no moment twice."""
    since, until = list[datetime](), list[datetime]()
    for at in sorted(written):
        if until and at - _BEFORE <= until[-1]:
            until[-1] = at + _AFTER
        else:
            since.append(at - _BEFORE)
            until.append(at + _AFTER)
    return since, until


async def apply(connection: asyncpg.Connection, amendment: Amendment, ids: Sequence[int]) -> list[Amended]:
    """Change those of the notifications that are there still, in the caller's transaction."""
    if not ids:
        return []
    await connection.execute(_PLANNER)
    receivers = await connection.fetch(
        "select receiver from notifications where id = any($1::bigint[]) "
        "union select receiver from archived_notifications where id = any($1::bigint[])",
        ids,
    )
    await connection.fetch(_LOCK, [row[0] for row in receivers])
    await connection.execute(_MOVE_SWEPT, ids)
    rows = await connection.fetch(_ROWS, ids)
    if amendment.update is None:
        return await _retract(connection, rows)
    return await _update(connection, amendment.update, rows)


async def cancel_deliveries(connection: asyncpg.Connection, amendment: Amendment, target: Target) -> None:
    """Suppress what of a retracted event is still to be sent."""
    if target.event_id is not None:
        await connection.execute(_CANCEL_OF_EVENT, target.event_id, RETRACTED, [*amendment.receivers])
    else:
        await connection.execute(_CANCEL_OF_THREAD, amendment.thread_key, RETRACTED, [*amendment.receivers])


async def _retract(connection: asyncpg.Connection, rows: Sequence[Any]) -> list[Amended]:
    for table, kept in zip(_TABLES, (False, True), strict=True):
        if ids := [row["id"] for row in rows if row["kept"] is kept]:
            await connection.execute(_DELETE.format(table=table), ids)
    counters = await _changed(connection, rows)
    return [Amended(row["id"], row["receiver"], counters[row["receiver"]], None, _place(row)) for row in rows]


async def _update(connection: asyncpg.Connection, update: Update, rows: Sequence[Any]) -> list[Amended]:
    locales: dict[UUID, str] = {}
    if len(update.texts) > 1:
        found = await connection.fetch(_LOCALES, [row["receiver"] for row in rows])
        locales = {row[0]: row[1] for row in found}
    new = []
    for row in rows:
        before = _notification(row)
        locale = locales.get(before.receiver, "")
        new.append(updated(update, before, locale, details_of(before).category))
    for table, kept in zip(_TABLES, (False, True), strict=True):
        changed = [
            _values(after, row["sender"]) for row, after in zip(rows, new, strict=True) if row["kept"] is kept
        ]
        if changed:
            columns = [list(column) for column in zip(*changed, strict=True)]
            await connection.execute(_UPDATE.format(table=table), *columns, update.unread)
    noted = await _unread_again(connection, rows) if update.unread else {}
    counters = await _changed(connection, [row for row in rows if row["id"] not in noted])
    return [
        Amended(
            after.id,
            after.receiver,
            noted.get(after.id) or counters[after.receiver],
            after,
            _place(row),
        )
        for row, after in zip(rows, new, strict=True)
    ]


async def _unread_again(connection: asyncpg.Connection, rows: Sequence[Any]) -> dict[int, InboxCounters]:
    """Count those of the inboxes as unread. One under the watermark stays read if there are too many."""
    noted = {}
    for row in rows:
        if not row["kept"]:
            values = (row["receiver"], row["seq"], MAX_UNREAD_AGAIN)
            counted = await connection.fetchrow(UNREAD_AGAIN, *values)
            if counted is not None:
                noted[row["id"]] = InboxCounters._make(counted)
    return noted


async def _changed(connection: asyncpg.Connection, rows: Sequence[Any]) -> dict[UUID, InboxCounters]:
    receivers = [*dict.fromkeys(row["receiver"] for row in rows)]
    if not receivers:
        return {}
    found = await connection.fetch(_CHANGED, receivers)
    return {row[0]: InboxCounters._make([*row][1:]) for row in found}


def _place(row: Any) -> Place:
    if not row["kept"]:
        return "inbox"
    return "archived" if row["snoozed_until"] is None else "snoozed"


def _notification(row: Any) -> Notification:
    values = dict(row)
    for name in ("kept", "sender"):
        del values[name]
    details = from_columns(values["details"], values.pop("thread_key"), values.pop("expires_at"))
    return Notification(
        **{**values, "raw_data": msgspec.Raw(values["raw_data"].encode()), "details": details}
    )


def _values(notification: Notification, sender: str | None) -> tuple[Any, ...]:
    details = notification.details or NOTHING
    return (
        notification.id,
        notification.title,
        notification.content,
        notification.template_code,
        bytes(notification.raw_data).decode(),
        notification.group_name,
        to_column(details, sender),
        details.expires_at,
    )
