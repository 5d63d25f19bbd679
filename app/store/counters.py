"""The counters of inboxes, compared with the rows that they count (`run.py check counters`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.engine import store_errors
from app.store.watermarks import COUNTS

# One statement, so one snapshot: right also while nodes write.
_COMPARE = f"""
select user_id, counts.last_seq, counts.unread, newest.seq as newest_row, rows.unread as unread_rows,
  counts.unseen, unseen.unseen as unseen_rows
from (
  select * from inboxes where user_id >= $1 order by user_id limit $2
) as inbox
cross join lateral (select {COUNTS}) as counts
cross join lateral (
  select count(*) as unread from (
    select from notifications where receiver = user_id and not is_read and seq > read_up_to
    union all
    select from notifications where receiver = user_id and not is_read and seq = any(unread_again)
  ) as unread_rows
) as rows
cross join lateral (
  select count(*) as unseen from notifications
  where receiver = user_id and not is_read and seq > counts.seen_up_to
) as unseen
cross join lateral (
  select coalesce(max(seq), 0) as seq from notifications where receiver = user_id
) as newest
order by user_id
"""  # noqa: S608
_LAST = UUID(int=2**128 - 1)
_LOCK = "select 1 from inboxes where user_id = $1 for update"
_REPAIR = """
update inboxes set last_seq = right_values.last_seq, unread_again = right_values.unread_again,
  settled = right_values.last_seq - right_values.unread - coalesce(cardinality(right_values.unread_again), 0),
  seen_settled = right_values.last_seq - right_values.unseen
from (
  select greatest(last_seq, (select max(seq) from notifications where receiver = $1)) as last_seq, (
    select count(*) from notifications where receiver = $1 and not is_read and seq > read_up_to) as unread, (
    select count(*) from notifications
    where receiver = $1 and not is_read and seq > greatest(seen_up_to, read_up_to)) as unseen, (
    select array_agg(seq) from notifications
    where receiver = $1 and not is_read and seq = any(inbox.unread_again) and seq <= read_up_to
  ) as unread_again
  from inboxes as inbox where user_id = $1
) as right_values
where user_id = $1
"""


class InboxCheck(NamedTuple):
    """What an inbox's row says, and what its notifications say."""

    user_id: UUID
    last_seq: int
    unread: int
    newest_row: int
    unread_rows: int
    unseen: int
    unseen_rows: int

    @property
    def right(self) -> bool:
        """Whether the counters agree with the rows."""
        counted, rows = (self.unread, self.unseen), (self.unread_rows, self.unseen_rows)
        return counted == rows and self.last_seq >= self.newest_row


class CounterStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def compare(self, after: UUID | None, most: int) -> Sequence[InboxCheck]:
        """The next `most` inboxes behind this user id, in the order of ids."""
        if after == _LAST:
            return []
        first = UUID(int=0 if after is None else after.int + 1)
        with store_errors():
            async with self._engine.connect() as connection:
                rows = await connection.exec_driver_sql(_COMPARE, (first, most))
                return [*starmap(InboxCheck, rows)]

    async def repair(self, user_id: UUID) -> None:
        """Set the counters of an inbox to what its rows say."""
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(_LOCK, (user_id,))
                await connection.exec_driver_sql(_REPAIR, (user_id,))
