"""What clients ask of their inbox, and what a redelivered event finds again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import ARRAY, Select, Text, Uuid, any_, cast, delete, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.notifications import InboxCounters, Notification
from app.store.engine import store_errors
from app.store.models import InboxRow as I
from app.store.models import NotificationRow as N
from app.store.models import ProcessedEventRow as E

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

    async def mark_read(
        self, notification: UUID, receiver: UUID
    ) -> tuple[Notification, InboxCounters] | None:
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

    async def delete(self, notification: UUID, receiver: UUID) -> InboxCounters | None:
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

    async def find(self, ids: Sequence[UUID], since: datetime) -> list[Notification]:
        """Those of the given notifications that were made at or after `since`, in rising `seq`."""
        query = (
            select(*_COLUMNS)
            .where(N.id == any_(literal(list(ids), ARRAY(Uuid))), N.created_at >= since)
            .order_by(N.seq)
        )
        with store_errors():
            async with self._engine.connect() as connection:
                return [_notification(row) for row in await connection.execute(query)]

    async def processed(self, event_ids: Collection[str]) -> list[tuple[str, float]]:
        """How many seconds ago each of the events was processed, by Postgres' clock."""
        seconds = func.extract("epoch", func.clock_timestamp() - E.processed_at)
        query = select(E.event_id, seconds).where(E.event_id == any_(literal(list(event_ids), ARRAY(Text))))
        with store_errors():
            async with self._engine.connect() as connection:
                return [(event_id, float(ago)) for event_id, ago in await connection.execute(query)]


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
