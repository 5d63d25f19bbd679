"""What clients ask of their inbox, and what a redelivered event finds again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ARRAY, Text, Uuid, any_, cast, delete, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.notifications import Notification
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
                return await _unread(connection, receiver)

    async def mark_read(self, notification: UUID, receiver: UUID) -> tuple[Notification, int] | None:
        """The notification, now read, and how many are unread then; None when there is none with that id."""
        statement = (
            update(N)
            .where(N.id == notification, N.receiver == receiver)
            .values(is_read=True)
            .returning(*_COLUMNS)
        )
        with store_errors():
            async with self._changing(receiver) as connection:
                row = (await connection.execute(statement)).one_or_none()
                return None if row is None else (_notification(row), await _unread(connection, receiver))

    async def mark_all_read(self, receiver: UUID, up_to: int | None) -> tuple[int, int]:
        """Mark all read up to and with this `seq`, or all there are; that `seq`, and how many are unread."""
        with store_errors():
            async with self._changing(receiver) as connection:
                if up_to is None:
                    newest = select(func.coalesce(func.max(N.seq), 0)).where(N.receiver == receiver)
                    up_to = int(await connection.scalar(newest) or 0)
                marking = update(N).where(N.receiver == receiver, N.seq <= up_to, ~N.is_read)
                await connection.execute(marking.values(is_read=True))
                return up_to, await _unread(connection, receiver)

    async def delete(self, notification: UUID, receiver: UUID) -> int | None:
        """How many are unread after the notification was deleted; None when there is none with that id."""
        statement = delete(N).where(N.id == notification, N.receiver == receiver)
        with store_errors():
            async with self._changing(receiver) as connection:
                if (await connection.execute(statement)).rowcount == 0:
                    return None
                return await _unread(connection, receiver)

    @asynccontextmanager
    async def _changing(self, receiver: UUID) -> AsyncIterator[AsyncConnection]:
        """A transaction on an inbox. One after the other, or each would count without what the others do."""
        async with self._engine.begin() as connection:
            await connection.execute(select(I.last_seq).where(I.user_id == receiver).with_for_update())
            yield connection

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


async def _unread(connection: AsyncConnection, receiver: UUID) -> int:
    counting = select(func.count()).where(N.receiver == receiver, ~N.is_read)
    return int(await connection.scalar(counting) or 0)


def _notification(row: Any) -> Notification:
    values = row._asdict()
    return Notification(**{**values, "raw_data": msgspec.Raw(values["raw_data"].encode())})
