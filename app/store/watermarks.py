"""What changes a whole inbox by its row alone: read-all and delete-all (033, 039).

A notification is read if its row says so, or if its `seq` is at or under `read_up_to` and not in
`unread_again`. It is deleted if its `seq` is at or under `removed_up_to`, which is never above `read_up_to`.
"""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

MAX_UNREAD_AGAIN = 1000
"""Of an inbox: notifications under its watermark that were marked as unread. They are in the inbox's row."""
MAX_LOOKS_WITHOUT_LOCK = 3

IS_READ = "(is_read or (seq <= read_up_to and coalesce(seq <> all(unread_again), true)))"
"""Of a notification beside its inbox's row."""
LOCK = "select removed_up_to from inboxes where user_id = $1 for update"

_ALL = """
update inboxes set read_up_to = last_seq, settled = last_seq, unread_again = null, rev = rev + 1{removing}
where user_id = $1
returning last_seq as until, 0 as unread, last_seq, rev
"""
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
_UP_TO = """
update inboxes set read_up_to = greatest(read_up_to, $2), settled = $3, rev = rev + 1,
  unread_again = (select array_agg(again) from unnest(unread_again) as again where again > $2){removing}
where user_id = $1 and settled = $4 and read_up_to = $5 and rev = $6
returning $2::bigint as until, last_seq - settled as unread, last_seq, rev
"""
_UNREAD_AGAIN = """
update inboxes set rev = rev + 1, settled = settled - appended::int,
  unread_again = case when appended then array_append(unread_again, $2) else unread_again end
from (
  select $2 <= read_up_to and coalesce($2 <> all(unread_again), true) as appended
  from inboxes where user_id = $1
) as inbox
where user_id = $1 and (not appended or coalesce(cardinality(unread_again), 0) < $3)
returning last_seq - settled as unread, last_seq, rev
"""


async def raise_watermark(
    connection: AsyncConnection, receiver: UUID, up_to: int | None, *, removing: bool
) -> Any:
    """Mark all as read up to and with this `seq`, or all there are, and delete them if `removing`.

    Returns:
        Up to which `seq` that is, and the counters after it; None if there is no such inbox.
    """
    if up_to is None:
        everything = _ALL.format(removing=", removed_up_to = last_seq" if removing else "")
        return (await connection.exec_driver_sql(everything, (receiver,))).one_or_none()
    raising = _UP_TO.format(removing=", removed_up_to = greatest(removed_up_to, $2)" if removing else "")
    return await _raise_up_to(connection, raising, receiver, up_to)


async def _raise_up_to(connection: AsyncConnection, raising: str, receiver: UUID, up_to: int) -> Any:
    """The inbox isn't locked while unread notifications are counted.

    New notifications leave `settled` as it is; a user's change raises `rev`, and what else removes
    notifications only raises `settled`. So if these are what they were, the count holds.
    """
    for look in itertools.count(1):
        if look > MAX_LOOKS_WITHOUT_LOCK:
            await connection.exec_driver_sql(LOCK, (receiver,))
        seen = (await connection.exec_driver_sql(_LOOK, (receiver, up_to))).one_or_none()
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
    return (await connection.exec_driver_sql(_UNREAD_AGAIN, values)).one_or_none()
