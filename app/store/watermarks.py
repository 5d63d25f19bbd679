"""What changes a whole inbox by its row alone: read-all, delete-all and all seen (033, 039, 045).

A notification is read if its row says so, or if its `seq` is at or under `read_up_to` and not in
`unread_again`. It is deleted if its `seq` is at or under `removed_up_to`, and in the archive if it is at or
under `archived_up_to` (`app.store.sweeps`). Neither is ever above `read_up_to`.
It is unseen if it is unread, and its `seq` is above both `seen_up_to` and `read_up_to`.
"""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.notifications import InboxCounters

MAX_UNREAD_AGAIN = 1000
"""Of an inbox: notifications under its watermark that were marked as unread. They are in the inbox's row."""
MAX_LOOKS_WITHOUT_LOCK = 3
NO_COUNTERS = InboxCounters(0, 0, 0)
"""Of an inbox that never got anything."""
REMOVING = ", removed_up_to = greatest(removed_up_to, {until})"
"""Deletes what is marked as read by `raise_watermark`."""

IS_READ = "(is_read or (seq <= read_up_to and coalesce(seq <> all(unread_again), true)))"
"""Of a notification beside its inbox's row."""
COUNTS = """last_seq - settled as unread, last_seq, rev, case
    when seen_up_to > read_up_to then last_seq - seen_settled
    else last_seq - settled - coalesce(cardinality(unread_again), 0)
  end as unseen, greatest(seen_up_to, read_up_to) as seen_up_to"""
"""The `InboxCounters` of an inbox's row."""
GONE_UP_TO = "greatest(removed_up_to, archived_up_to)"
"""No notification at or under it is in the inbox, whatever rows there are."""
LOCK = f"select {GONE_UP_TO} as gone_up_to from inboxes where user_id = $1 for update"  # noqa: S608

_ALL = f"""
update inboxes set read_up_to = last_seq, settled = last_seq, unread_again = null, rev = rev + 1{{also}}
where user_id = $1
returning last_seq as until, {COUNTS}
"""  # noqa: S608
# What it counts are the unread ones on the shorter side of `until`.
_LOOK = """
select until, last_seq, settled, read_up_to, rev, case
  when until <= read_up_to then settled + (
    select count(*) from unnest(unread_again) as again where again <= until)
  when last_seq - until < until - read_up_to then last_seq - (
    select count(*) from notifications where receiver = $1 and not is_read and seq > until)
  else settled + coalesce(cardinality(unread_again), 0) + (
    select count(*) from notifications
    where receiver = $1 and not is_read and seq > read_up_to and seq <= until)
  end as settled_then
from (select *, least($2, last_seq) as until from inboxes where user_id = $1) as inbox
"""
_UP_TO = f"""
update inboxes set read_up_to = greatest(read_up_to, $2), settled = $3, rev = rev + 1,
  unread_again = (select array_agg(again) from unnest(unread_again) as again where again > $2){{also}}
where user_id = $1 and settled = $4 and read_up_to = $5 and rev = $6
returning $2::bigint as until, {COUNTS}
"""  # noqa: S608
_ALL_SEEN = f"""
update inboxes set seen_up_to = last_seq, seen_settled = last_seq, rev = rev + 1 where user_id = $1
returning last_seq as until, {COUNTS}
"""  # noqa: S608
_LOOK_SEEN = f"""
select until, last_seq, settled, read_up_to, rev, case
  when until <= seen then seen_settled
  when last_seq - until < until - seen then last_seq - (
    select count(*) from notifications where receiver = $1 and not is_read and seq > until)
  else last_seq - unseen + (
    select count(*) from notifications where receiver = $1 and not is_read and seq > seen and seq <= until)
  end as settled_then
from (
  select least($2, inbox.last_seq) as until, inbox.last_seq, settled, read_up_to, inbox.rev, seen_settled,
    unseen, counts.seen_up_to as seen
  from inboxes as inbox cross join lateral (select {COUNTS}) as counts where user_id = $1
) as inbox
"""  # noqa: S608
_SEEN_UP_TO = f"""
update inboxes set seen_up_to = greatest(seen_up_to, $2), seen_settled = $3, rev = rev + 1
where user_id = $1 and settled = $4 and read_up_to = $5 and rev = $6
returning $2::bigint as until, {COUNTS}
"""  # noqa: S608
UNREAD_AGAIN = f"""
update inboxes set rev = rev + 1, settled = settled - appended::int,
  unread_again = case when appended then array_append(unread_again, $2) else unread_again end
from (
  select $2 <= read_up_to and coalesce($2 <> all(unread_again), true) as appended
  from inboxes where user_id = $1
) as inbox
where user_id = $1 and (not appended or coalesce(cardinality(unread_again), 0) < $3)
returning {COUNTS}
"""  # noqa: S608


async def raise_watermark(
    connection: AsyncConnection,
    receiver: UUID,
    up_to: int | None,
    *,
    also: str = "",
    around: str = "{raising}",
) -> Any:
    """Mark all as read up to and with this `seq`, or all there are.

    Args:
        connection: Its transaction locks the inbox.
        receiver: The inbox.
        up_to: The `seq`; None for all.
        also: What else changes in the inbox's row; `{until}` is that `seq`.
        around: The statement that `{raising}`, which gives what this returns, is a part of.

    Returns:
        Up to which `seq` that is, and the counters after it; None if there is no such inbox.
    """
    if up_to is None:
        everything = around.format(raising=_ALL.format(also=also.format(until="last_seq")))
        return (await connection.exec_driver_sql(everything, (receiver,))).one_or_none()
    raising = around.format(raising=_UP_TO.format(also=also.format(until="$2::bigint")))
    return await _raise_up_to(connection, (_LOOK, raising), receiver, up_to)


async def raise_seen(connection: AsyncConnection, receiver: UUID, up_to: int | None) -> Any:
    """Note that all up to and with this `seq`, or all there are, were seen. Returns as `raise_watermark`."""
    if up_to is None:
        return (await connection.exec_driver_sql(_ALL_SEEN, (receiver,))).one_or_none()
    return await _raise_up_to(connection, (_LOOK_SEEN, _SEEN_UP_TO), receiver, up_to)


async def _raise_up_to(
    connection: AsyncConnection, statements: tuple[str, str], receiver: UUID, up_to: int
) -> Any:
    """The inbox isn't locked while unread notifications are counted.

    New notifications leave `settled` as it is; a user's change raises `rev`, and what else removes
    notifications only raises `settled`. So if these are what they were, the count holds.
    """
    looking, raising = statements
    for look in itertools.count(1):
        if look > MAX_LOOKS_WITHOUT_LOCK:
            await connection.exec_driver_sql(LOCK, (receiver,))
        seen = (await connection.exec_driver_sql(looking, (receiver, up_to))).one_or_none()
        if seen is None:
            return None
        values = (receiver, seen.until, seen.settled_then, seen.settled, seen.read_up_to, seen.rev)
        row = (await connection.exec_driver_sql(raising, values)).one_or_none()
        if row is not None:
            return row
    return None


async def note_unread(connection: AsyncConnection, receiver: UUID, seq: int) -> Any:
    """Count a notification as unread whose row is already; its inbox is locked.

    Returns:
        The counters after it; None if the inbox has `MAX_UNREAD_AGAIN` of them.
    """
    values = (receiver, seq, MAX_UNREAD_AGAIN)
    return (await connection.exec_driver_sql(UNREAD_AGAIN, values)).one_or_none()
