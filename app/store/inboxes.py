"""How an inbox stands, and what a client of it missed: for many at once, in two queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.details import from_columns
from app.domain.notifications import InboxCounters, Notification
from app.store.direct import direct
from app.store.engine import store_errors
from app.store.watermarks import COUNTS, GONE_UP_TO, IS_READ

# Lateral with a limit: a look-up by key, however large the tables are.
_STATES = f"""
select coalesce(unread, 0) as unread, coalesce(last_seq, 0) as last_seq, coalesce(rev, 0) as rev,
  coalesce(unseen, 0) as unseen, coalesce(seen_up_to, 0) as seen_up_to
from unnest($1::uuid[]) with ordinality as wanted (user_id, number)
left join lateral (
  select {COUNTS} from inboxes where user_id = wanted.user_id limit 1
) as inbox on true
order by number
"""  # noqa: S608
_MISSED = f"""
select number, id, group_id, group_name, receiver, created_at, template_code, raw_data::text as raw_data,
       {IS_READ} as is_read, title, content, seq,
       details::text as details, thread_key, expires_at
from unnest($1::uuid[], $2::bigint[], $3::bigint[]) with ordinality as wanted (user_id, after, until, number)
cross join lateral (
  select read_up_to, unread_again, {GONE_UP_TO} as gone_up_to from inboxes
  where user_id = wanted.user_id limit 1
) as inbox
cross join lateral (
  select * from notifications
  where receiver = wanted.user_id and seq > greatest(wanted.after, gone_up_to) and seq <= wanted.until
  order by seq
) as missed
order by number, seq
"""  # noqa: S608


class InboxState(NamedTuple):
    """`missed` holds what is there with a `seq` over the one asked for, up to and with `until`."""

    counted: InboxCounters
    until: int
    missed: list[Notification]

    @property
    def last_seq(self) -> int:
        """The `seq` of the newest notification; 0 for an empty inbox."""
        return self.counted.last_seq


class InboxStore:
    """Reads many inboxes at once. Raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connections = direct(engine)

    async def last_seqs(self, users: Sequence[UUID]) -> Sequence[tuple[UUID, int]]:
        """How far the inboxes of these users go; one that never got anything is left out."""
        query = "select user_id, last_seq from inboxes where user_id = any($1)"
        with store_errors():
            async with self._engine.connect() as connection:
                rows = await connection.exec_driver_sql(query, (list(users),))
                return [(row.user_id, row.last_seq) for row in rows]

    async def states(self, wanted: Sequence[tuple[UUID, int | None]], most: int) -> list[InboxState]:
        """The state of each (user, after); with an `after`, the next `most` notifications that follow it.

        What is committed before the call is in the answer. A call takes a connection beside the pool.
        """
        users = [user for user, _ in wanted]
        with store_errors():
            states = await self._connections.fetch(_STATES, users)
            until = [
                state["last_seq"] if after is None else min(state["last_seq"], after + most)
                for state, (_, after) in zip(states, wanted, strict=True)
            ]
            missed: list[list[Notification]] = [[] for _ in wanted]
            behind = [
                (number, user, after, end)
                for number, ((user, after), end) in enumerate(zip(wanted, until, strict=True))
                if after is not None and after < end
            ]
            if behind:
                numbers, *columns = (list(column) for column in zip(*behind, strict=True))
                for number, *values in await self._connections.fetch(_MISSED, *columns):
                    missed[numbers[number - 1]].append(_notification(values))
        return [
            InboxState(InboxCounters._make(state), end, found)
            for state, end, found in zip(states, until, missed, strict=True)
        ]


def _notification(values: list[object]) -> Notification:
    details = from_columns(*values[11:])  # type: ignore[arg-type]
    values[6], values[11:] = msgspec.Raw(str(values[6]).encode()), [details]
    return Notification(*values)  # type: ignore[arg-type]  # in the order of the fields
