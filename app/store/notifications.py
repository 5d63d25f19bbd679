"""What clients ask of their inbox, and what a redelivered event finds again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Select, Text, cast, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.identity import EventIdentity
from app.domain.notifications import InboxCounters, Notification, event_hash
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
    N.is_read,
    N.title,
    N.content,
    N.seq,
)

NEWEST_ROWS = 1000
MAX_ROWS_SEARCHED = 500_000  # about a second of Postgres

# The limits end both searches early; lateral with a limit is a look-up by index, however large the table is.
_OF_EVENTS = """
select id, group_id, group_name, receiver, created_at, template_code, raw_data::text as raw_data, is_read,
       title, content, seq
from (
  select user_id, array_agg(hash) as hashes
  from unnest($1::uuid[], $2::bigint[]) as asked (user_id, hash) group by user_id
) as wanted
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


def newest_rows(receivers: int) -> int:
    """How many of the newest rows of each of so many inboxes are searched for those of an event."""
    return min(NEWEST_ROWS, MAX_ROWS_SEARCHED // max(1, receivers))


class NotificationStore:
    """Reads and changes single inboxes. Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self, receiver: UUID, limit: int, before: int | None = None, unread: bool = False
    ) -> list[Notification]:
        """At most `limit` notifications, newest first: those with a `seq` under `before`, or only unread."""
        query = select(*_COLUMNS).where(N.receiver == receiver).order_by(N.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(N.seq < before)
        if unread:
            query = query.where(~N.is_read)
        with store_errors():
            async with self._engine.connect() as connection:
                return [_notification(row) for row in await connection.execute(query)]

    async def unread(self, receiver: UUID) -> int:
        """How many notifications the receiver has not read."""
        with store_errors():
            async with self._engine.connect() as connection:
                return int(await connection.scalar(_unread_of(receiver)) or 0)

    async def mark_read(self, notification: int, receiver: UUID) -> tuple[Notification, InboxCounters] | None:
        """The notification, now read, and the count then; None when there is none with that id."""
        statement = (
            update(N)
            .where(N.id == notification, N.receiver == receiver)
            .values(is_read=True)
            .returning(*_COLUMNS)
        )
        with store_errors():
            async with self._changing(receiver) as change:
                row = (await change.connection.execute(statement)).one_or_none()
                return None if row is None else (_notification(row), await change.counted())

    async def mark_all_read(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """Mark all read up to and with this `seq`, or all there are; up to which `seq` that is, and the count
        then. It is never more than there are.
        """
        with store_errors():
            async with self._changing(receiver) as change:
                until = change.last_seq if up_to is None else min(up_to, change.last_seq)
                marking = update(N).where(N.receiver == receiver, N.seq <= until, ~N.is_read)
                await change.connection.execute(marking.values(is_read=True))
                return until, await change.counted()

    async def delete(self, notification: int, receiver: UUID) -> InboxCounters | None:
        """The count after the notification was deleted; None when there is none with that id."""
        statement = delete(N).where(N.id == notification, N.receiver == receiver)
        with store_errors():
            async with self._changing(receiver) as change:
                if (await change.connection.execute(statement)).rowcount == 0:
                    return None
                return await change.counted()

    @asynccontextmanager
    async def _changing(self, receiver: UUID) -> AsyncIterator[_Change]:
        """A transaction on an inbox, which nothing else changes meanwhile: writers and other changes wait. So
        what is counted in it is exact for `last_seq`.
        """
        query = select(I.last_seq).where(I.user_id == receiver).with_for_update()
        async with self._engine.begin() as connection:
            yield _Change(connection, receiver, await connection.scalar(query) or 0)

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


class _Change(NamedTuple):
    connection: AsyncConnection
    receiver: UUID
    last_seq: int

    async def counted(self) -> InboxCounters:
        """The count after the change, which gets the next `rev`."""
        if not self.last_seq:
            return InboxCounters(0, 0, 0)  # nothing to change; what comes meanwhile comes after it
        unread = _unread_of(self.receiver).scalar_subquery()
        raising = update(I).where(I.user_id == self.receiver).values(rev=I.rev + 1).returning(unread, I.rev)
        number, rev = (await self.connection.execute(raising)).one()
        return InboxCounters(number, self.last_seq, rev)


def _unread_of(receiver: UUID) -> Select[int]:
    return select(func.count()).where(N.receiver == receiver, ~N.is_read)


def _notification(row: Any) -> Notification:
    values = row._asdict()
    return Notification(**{**values, "raw_data": msgspec.Raw(values["raw_data"].encode())})
