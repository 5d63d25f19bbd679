"""Archive-all: by the inbox's row at once, and then row by row (046).

A sweep is a row beside the inbox's: all above `from_seq`, up to and with `up_to`, is archived, as read as it
was then. Until its notifications are in `archived_notifications`, the inbox hides them by `archived_up_to`.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.watermarks import GONE_UP_TO, LOCK, raise_watermark

_IS_SWEPT = "{row}.receiver = sweep.receiver and {row}.seq > sweep.from_seq and {row}.seq <= sweep.up_to"
SWEPT = f"exists (select from archive_sweeps as sweep where {_IS_SWEPT.format(row='notifications')})"
"""Of a notification that is archived, and not moved yet."""
WAS_READ = "(is_read or (seq <= sweep.read_up_to and coalesce(seq <> all(sweep.unread_again), true)))"
"""Of a notification beside its sweep."""
_KEPT = (
    "id, group_id, group_name, receiver, created_at, template_code, raw_data, title, content, seq, "
    "event_hash, details, thread_key, expires_at"
)
# As they were before the change: the statement that changes the row sees it only after it.
_SWEEPING = f"""
with old as (
  select user_id, read_up_to, unread_again, {GONE_UP_TO} as gone_up_to from inboxes where user_id = $1
), raised as (
{{raising}}
), swept as (
  insert into archive_sweeps (receiver, from_seq, up_to, read_up_to, unread_again)
  select user_id, gone_up_to, until, read_up_to, unread_again from old, (select until from raised) as raised
  where until > gone_up_to
)
select * from raised
"""  # noqa: S608
_RAISING = f", archived_up_to = case when {{until}} > {GONE_UP_TO} then {{until}} else archived_up_to end"
_SWEEP = """
select receiver, from_seq, up_to from archive_sweeps where $1::uuid is null or receiver = $1
order by receiver, up_to limit 1 for update skip locked
"""
_INTO_ARCHIVE = f"""
insert into archived_notifications (is_read, {_KEPT})
select was_read, {_KEPT} from moved
"""  # noqa: S608
_MOVE = f"""
with moved as (
  delete from notifications using archive_sweeps as sweep
  where notifications.id = any(array(
      select id from notifications where receiver = $1 and seq > $2 and seq <= $3 order by seq limit $4
    )) and sweep.receiver = $1 and sweep.up_to = $3
  returning notifications.*, {WAS_READ} as was_read
)
{_INTO_ARCHIVE}
"""  # noqa: S608


def moving(which: str) -> str:
    """The statement that moves those of these notifications that are archived, and not moved yet."""
    return f"""
with moved as (
  delete from notifications using archive_sweeps as sweep
  where {which} and {_IS_SWEPT.format(row="notifications")}
  returning notifications.*, {WAS_READ} as was_read
)
{_INTO_ARCHIVE}
"""  # noqa: S608


MOVE_ONE = moving("id = $1 and notifications.receiver = $2")
"""Of a notification by its id: what looks into the archive finds it there."""
_DONE = """
with done as (
  delete from archive_sweeps where receiver = $1 and up_to = $2 returning receiver
)
update inboxes set archived_up_to = 0
where user_id = $1 and not exists (select from archive_sweeps where receiver = $1 and up_to <> $2)
  and exists (select from done)
"""
_NO_SCANS = "select set_config('enable_seqscan', 'off', true)"


async def sweep(connection: AsyncConnection, receiver: UUID, up_to: int | None) -> Any:
    """Archive all of the inbox up to and with this `seq`, or all there are. Returns as `raise_watermark`."""
    if up_to is None:  # nothing is counted, so the lock is short; what the row was is known
        await connection.exec_driver_sql(LOCK, (receiver,))
    return await raise_watermark(connection, receiver, up_to, also=_RAISING, around=_SWEEPING)


async def move_swept(connection: AsyncConnection, most: int, receiver: UUID | None = None) -> int:
    """Move up to `most` notifications of one sweep, or of one of this inbox; how many. The call after the
    last of them ends the sweep.

    What is hidden isn't counted, so no inbox is locked while rows are: whoever has its lock may wait for
    them.
    """
    await connection.exec_driver_sql(_NO_SCANS)
    found = (await connection.exec_driver_sql(_SWEEP, (receiver,))).one_or_none()
    if found is None:
        return 0
    moved = (await connection.exec_driver_sql(_MOVE, (*found, most))).rowcount
    if not moved:
        await connection.exec_driver_sql(_DONE, (found.receiver, found.up_to))
    return moved
